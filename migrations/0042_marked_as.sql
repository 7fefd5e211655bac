-- How a run is to end whose teardowns still run: people have said so.
alter table dag_run add column marked_as run_state;
