-- One execution of a DAG, its task instances, and the counts that make a hop cheap.

create type run_state as enum ('queued', 'running', 'success', 'failed');
create type run_type as enum ('scheduled', 'manual', 'backfill', 'asset_triggered');
create type task_state as enum (
    'none', 'queued', 'running', 'restarting', 'up_for_retry',
    'success', 'failed', 'skipped', 'upstream_failed', 'removed'
);

create table dag_run (
    run_key              bigint generated always as identity primary key,
    dag_id               text not null references dag,
    run_id               text not null,
    version_id           bigint not null references dag_version,
    run_type             run_type not null,
    state                run_state not null default 'queued',
    logical_date         timestamptz,
    data_interval_start  timestamptz,
    data_interval_end    timestamptz,
    run_after            timestamptz not null,
    conf                 jsonb not null default '{}',
    note                 text,
    triggered_by         text not null,
    queued_at            timestamptz not null,
    start_date           timestamptz,
    end_date             timestamptz,
    clear_number         integer not null default 0,
    -- The day whose partitions hold this run's tries, logs and values, however long it lives.
    run_day              date not null,
    -- Task instances that have not finished; the run ends when it reaches zero.
    unfinished           integer not null check (unfinished >= 0),

    unique (dag_id, run_id),
    unique (dag_id, logical_date),
    constraint finished_if_and_only_if_ended check ((state in ('success', 'failed')) = (end_date is not null)),
    constraint started_unless_queued check ((state = 'queued') = (start_date is null))
) with (fillfactor = 75);

create index dag_run_active on dag_run (dag_id, run_after) where state in ('queued', 'running');
create index dag_run_latest on dag_run (dag_id, run_after desc, run_key desc);

-- How many upstream task instances of a node (a task in a run) have ended, and how. A finished task adds itself to
-- its direct successors; nobody ever scans.
create table run_node (
    run_key          bigint not null references dag_run on delete cascade,
    node             integer not null,
    upstream         integer not null,
    success          integer not null default 0,
    skipped          integer not null default 0,
    failed           integer not null default 0,
    upstream_failed  integer not null default 0,
    removed          integer not null default 0,
    primary key (run_key, node),
    constraint counted_at_most_once
        check (success + skipped + failed + upstream_failed + removed between 0 and upstream)
) with (fillfactor = 75);

create table task_instance (
    instance_key  bigint generated always as identity primary key,
    run_key       bigint not null references dag_run on delete cascade,
    node          integer not null,
    map_index     integer not null default -1 check (map_index >= -1),
    dag_id        text not null,
    task_id       text not null,
    state         task_state not null default 'none',
    try_number    integer not null default 0 check (try_number >= 0),
    max_tries     integer not null check (max_tries >= 0),
    queue         text not null default 'default',
    priority      integer not null default 1,
    due_at        timestamptz,
    queued_at     timestamptz,
    start_date    timestamptz,
    end_date      timestamptz,
    -- The fencing token of the claim that runs it now. Not a number: a clear makes numbers repeat.
    attempt       uuid,
    worker_id     uuid,

    unique (run_key, node, map_index),
    constraint claimed_if_and_only_if_running
        check ((state in ('running', 'restarting')) = (attempt is not null) and (attempt is null) = (worker_id is null)),
    constraint due_if_and_only_if_up_for_retry check ((state = 'up_for_retry') = (due_at is not null)),
    constraint ended_if_finished
        check (state not in ('success', 'failed', 'skipped', 'upstream_failed', 'removed') or end_date is not null),
    constraint running_has_started check (state not in ('running', 'restarting') or start_date is not null)
) with (
    fillfactor = 75,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.05,
    autovacuum_vacuum_cost_limit = 1000
);

create index task_instance_claimable on task_instance (queue, priority desc, instance_key) where state = 'queued';
create index task_instance_retry_due on task_instance (due_at) where state = 'up_for_retry';
create index task_instance_claimed on task_instance (worker_id) where state in ('running', 'restarting');
