-- Who may run next. A task instance that may run by its rule passes gates, in this order: its run (max_active_tasks),
-- its task (max_active_tis_per_dag, over all runs), its pool. It stands in line at the first one that has no room, in
-- state `scheduled`. What has passed the last gate is `queued`, and waits for a worker.

-- A limit that spans runs. `used` is what has passed and has not ended; whoever changes it holds the row.
create table slots (
    -- 'task:<dag>/<task>' or 'pool:<name>': taken in this order.
    gate         text primary key,
    -- -1: without limit.
    total        integer not null check (total >= -1),
    used         integer not null default 0 check (used >= 0)
);

create table pool (
    name              text primary key,
    description       text,
    include_deferred  boolean not null default false
);

insert into pool (name, description) values ('default_pool', 'Default pool');
insert into slots (gate, total) values ('pool:default_pool', 128);

alter table task_instance
    add column pool text not null default 'default_pool',
    add column pool_slots integer not null default 1 check (pool_slots >= 1),
    -- Where it stands in line: 'run' or the gate of a row of slots.
    add column waits_for text,
    -- Its place among those of the same priority: start-time fair queueing, in microseconds.
    add column ticket bigint not null default 0,
    add constraint in_line_if_and_only_if_scheduled check ((state = 'scheduled') = (waits_for is not null)) not valid;

-- How many of a run's task instances have passed its gate and have not ended, how many stand in line there, and its
-- last ticket.
alter table dag_run
    add column active integer not null default 0 check (active >= 0),
    add column in_line integer not null default 0 check (in_line >= 0),
    add column last_ticket bigint not null default 0;

-- Runs that were under way before there were counts.
update dag_run r
set active = (select count(*) from task_instance t
              where t.run_key = r.run_key and t.state in ('queued', 'running', 'restarting'))
where r.state in ('queued', 'running');
update slots set used = (select count(*) from task_instance where state in ('queued', 'running', 'restarting'));

create index task_instance_line on task_instance (waits_for, priority desc, ticket)
    where state = 'scheduled' and waits_for <> 'run';
create index task_instance_run_line on task_instance (run_key, priority desc, ticket)
    where state = 'scheduled' and waits_for = 'run';
create index task_instance_claimable_in_order on task_instance (queue, priority desc, ticket) where state = 'queued';
drop index task_instance_claimable;
