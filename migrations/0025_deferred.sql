-- A value of an enum cannot be used in the transaction that adds it: its uses are in the next migrations.
alter type task_state add value 'deferred' after 'up_for_reschedule';
