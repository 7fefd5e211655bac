-- Who may do what.

create table app_user (
    user_id bigint generated always as identity primary key,
    username text not null unique check (username <> ''),
    -- argon2id, in the PHC format.
    password_hash text not null,
    role text not null check (role in ('viewer', 'user', 'op', 'admin')),
    -- What was signed before it, is nobody's any more.
    password_set_at timestamptz not null default now(),
    created_at timestamptz not null default now(),
    last_sign_in_at timestamptz
);

-- What a browser or a program holds instead of a password; only its hash is kept.
create table app_token (
    token_id bigint generated always as identity primary key,
    token_hash bytea not null unique,
    user_id bigint not null references app_user on delete cascade,
    -- What its owner calls it; none: the session of a browser.
    name text check (name <> ''),
    created_at timestamptz not null default now(),
    last_used_at timestamptz,
    expires_at timestamptz not null,
    unique (user_id, name)
);

create index app_token_expires on app_token (expires_at);

-- Who has given a wrong password lately: a name from an address.
create table sign_in_failure (
    username text not null,
    from_address text not null,
    failures integer not null,
    last_at timestamptz not null default now(),
    primary key (username, from_address)
);

alter table event
    -- By which way: rest_api, ui, cli, ...
    add column way text,
    -- From where.
    add column from_address text;

-- The user who triggered it, if somebody had signed in.
alter table dag_run add column triggering_user text;
