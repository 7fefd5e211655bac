-- A DAG and its versions. The graph of a version never changes: whatever runs under it reads the graph from here,
-- not from the binary.

create table dag (
    dag_id              text primary key,
    is_paused           boolean not null default true,
    current_version_id  bigint not null,
    -- The last slot that the scheduler made a run for, and the next one (null: no schedule).
    last_slot           timestamptz,
    next_run_at         timestamptz,
    last_registered_at  timestamptz not null default now()
);

create table dag_version (
    version_id  bigint generated always as identity primary key,
    dag_id      text not null,
    number      integer not null check (number > 0),
    graph_hash  text not null,
    graph       jsonb not null,
    created_at  timestamptz not null default now(),
    unique (dag_id, number),
    unique (dag_id, graph_hash)
);

create index dag_due on dag (next_run_at) where not is_paused;
