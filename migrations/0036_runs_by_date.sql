-- no-transaction
-- The lists of all runs begin with the latest one. The table stays open to everybody meanwhile.
create index concurrently if not exists dag_run_by_date on dag_run (run_after desc, run_key desc);
