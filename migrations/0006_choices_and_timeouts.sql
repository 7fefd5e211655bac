-- Which nodes a branch or a short-circuit decided to skip (on the node that decided), and when a run times out.
-- Columns without a default are added without touching a row.

alter table run_node add column skips integer[];
alter table dag_run add column timeout_at timestamptz;

create index dag_run_times_out on dag_run (timeout_at) where state = 'running' and timeout_at is not null;
