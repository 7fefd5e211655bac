-- What the binary of a process can run, as a hash of its DAGs: a task that a deploy has removed is given up when the
-- last worker that has it is gone.
alter table process add column build text;
