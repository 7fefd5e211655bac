-- How many runs of a DAG are running is asked at every admission that shares; its queued runs may be many.
create index dag_run_running on dag_run (dag_id) where state = 'running';
