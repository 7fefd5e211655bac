-- Mapped groups: a task of one has a decision of its own for each index (its lane), from the counts of the upstream tasks
-- of that index. Everything else has one decision, whose lane is -1, also a mapped task with its many instances.
-- `removed` is not counted any more: a removed task instance is nobody's upstream.
alter table run_node add column lane integer not null default -1 check (lane >= -1);
