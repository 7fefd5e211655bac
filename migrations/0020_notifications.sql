-- What callbacks are to be told. Written in the transaction in which it happened, delivered after that, at least once.
create table notification (
    notification_id  bigint generated always as identity primary key,
    event            text not null,
    dag_id           text not null,
    run_id           text not null,
    logical_date     timestamptz,
    task_id          text,
    map_index        integer not null default -1,
    try_number       integer,
    cause            text,
    -- Of a missed deadline: which one of the DAG's.
    ordinal          integer not null default 0,
    happened_at      timestamptz not null default statement_timestamp(),
    due_at           timestamptz not null default statement_timestamp(),
    attempts         integer not null default 0
);

create index notification_due on notification (due_at);

-- When a run that has not ended by then is late.
create table deadline (
    run_key  bigint not null references dag_run on delete cascade,
    ordinal  integer not null,
    due_at   timestamptz not null,
    primary key (run_key, ordinal)
);

create index deadline_due on deadline (due_at);
