-- What tasks look up by name. Values that may be secret are sealed: without the key of the processes nobody reads them.

create table variable (
    key          text primary key,
    sealed       bytea not null,
    description  text,
    updated_at   timestamptz not null default now()
);

create table connection (
    conn_id          text primary key,
    conn_type        text not null,
    description      text,
    host             text,
    login            text,
    schema           text,
    port             integer check (port between 0 and 65535),
    sealed_password  bytea,
    sealed_extra     bytea,
    updated_at       timestamptz not null default now()
);
