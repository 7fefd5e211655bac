-- no-transaction
create index concurrently if not exists task_instance_awaits on task_instance (awaits) where state = 'deferred' and awaits is not null;
