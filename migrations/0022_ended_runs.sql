-- no-transaction
-- What retention deletes first. The table stays open to everybody meanwhile.
create index concurrently if not exists dag_run_ended on dag_run (end_date) where state in ('success', 'failed');
