-- Assets: what tasks make and DAGs wait for.

create table asset (
    name        text primary key,
    created_at  timestamptz not null default now()
);

-- Which DAGs run when an asset was updated.
create table dag_asset (
    dag_id  text not null references dag on delete cascade,
    asset   text not null references asset,
    primary key (dag_id, asset)
);

create index dag_asset_of_asset on dag_asset (asset);

create table asset_event (
    event_id          bigint generated always as identity primary key,
    asset             text not null,
    source_dag_id     text,
    source_run_id     text,
    source_task_id    text,
    source_map_index  integer,
    extra             jsonb not null default '{}',
    happened_at       timestamptz not null default statement_timestamp()
);

create index asset_event_of_asset on asset_event (asset, event_id desc);
create index asset_event_old on asset_event (happened_at);

-- The updates that a DAG has not run for yet. A row each, not the last one seen: updates do not commit in the order of
-- their numbers.
create table asset_queue (
    dag_id    text not null references dag on delete cascade,
    event_id  bigint not null,
    asset     text not null,
    primary key (dag_id, event_id)
);

-- What made a run.
create table run_asset_event (
    run_key   bigint not null references dag_run on delete cascade,
    event_id  bigint not null,
    primary key (run_key, event_id)
);
