-- What a run leaves behind, partitioned by the day of the run so that retention is a DROP. No foreign keys to hot
-- rows: a deleted run must not be searched for here.

create table task_try (
    run_day       date not null,
    instance_key  bigint not null,
    try_number    integer not null,
    attempt       uuid not null,
    state         task_state not null,
    start_date    timestamptz not null,
    end_date      timestamptz not null,
    worker_id     uuid not null,
    cause         text,
    primary key (instance_key, attempt, run_day)
) partition by range (run_day);

create table task_log (
    run_day       date not null,
    instance_key  bigint not null,
    try_number    integer not null,
    line          bigint generated always as identity,
    logged_at     timestamptz not null,
    level         text not null,
    logger        text not null,
    message       text not null
) partition by range (run_day);

create index task_log_of_try on task_log (instance_key, try_number, line);

create table xcom (
    run_day     date not null,
    run_key     bigint not null,
    task_id     text not null,
    map_index   integer not null default -1,
    key         text not null,
    value       jsonb not null,
    written_at  timestamptz not null default now(),
    primary key (run_key, task_id, map_index, key, run_day)
) partition by range (run_day);

create table event (
    happened_on  date not null default (now() at time zone 'utc')::date,
    event_id     bigint generated always as identity,
    happened_at  timestamptz not null default now(),
    event        text not null,
    dag_id       text,
    run_id       text,
    task_id      text,
    owner        text not null,
    extra        jsonb not null default '{}',
    primary key (event_id, happened_on)
) partition by range (happened_on);

-- A row of a day without a partition must be kept, not refused.
create table task_try_default partition of task_try default;
create table task_log_default partition of task_log default;
create table xcom_default partition of xcom default;
create table event_default partition of event default;

-- Makes the partitions of the days from first_day to last_day. A day that already has rows in a default partition
-- keeps them there: Postgres refuses the partition, and that is fine.
create function ensure_partitions(first_day date, last_day date) returns void language plpgsql as $$
declare
    parent text;
    day date;
begin
    foreach parent in array array['task_try', 'task_log', 'xcom', 'event'] loop
        day := first_day;
        while day <= last_day loop
            if to_regclass(format('%I', parent || to_char(day, '_YYYYMMDD'))) is null then
                begin
                    execute format('create table if not exists %I partition of %I for values from (%L) to (%L)',
                        parent || to_char(day, '_YYYYMMDD'), parent, day, day + 1);
                exception when check_violation or duplicate_table or unique_violation then
                    null;
                end;
            end if;
            day := day + 1;
        end loop;
    end loop;
end
$$;
