-- Every scheduler, worker and web server that runs, with its lease. A worker's tasks are rescued when its lease is
-- over, by the database's clock.

create type process_kind as enum ('scheduler', 'worker', 'web');
create type process_state as enum ('alive', 'lost', 'stopped');

create table process (
    process_id    uuid primary key,
    kind          process_kind not null,
    hostname      text not null,
    pid           integer not null,
    slots         integer not null default 0,
    state         process_state not null default 'alive',
    started_at    timestamptz not null default now(),
    heartbeat_at  timestamptz not null default now()
);

create index process_alive on process (heartbeat_at) where state = 'alive';
