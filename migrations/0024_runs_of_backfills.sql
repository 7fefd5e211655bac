-- no-transaction
create index concurrently if not exists dag_run_of_backfill on dag_run (backfill_id, backfill_ordinal) where backfill_id is not null;
