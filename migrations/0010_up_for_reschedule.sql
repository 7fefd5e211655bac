-- A value of an enum cannot be used in the transaction that adds it: its uses are in the next migration.
alter type task_state add value 'up_for_reschedule' after 'up_for_retry';
