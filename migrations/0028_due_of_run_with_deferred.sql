-- no-transaction
create index concurrently if not exists task_instance_waiting_due_of_run on task_instance (run_key, due_at) where state in ('up_for_retry', 'up_for_reschedule', 'deferred');
