-- A sensor that has looked in vain waits for its next poke as a row with a due time: no future, no slot.

alter table task_instance
    -- When the present try poked first: its timeout counts from here.
    add column first_poke_at timestamptz,
    drop constraint due_if_and_only_if_up_for_retry,
    add constraint due_if_and_only_if_it_waits_for_a_time
        check ((state in ('up_for_retry', 'up_for_reschedule')) = (due_at is not null)) not valid;

create index task_instance_due on task_instance (due_at) where state in ('up_for_retry', 'up_for_reschedule');
drop index task_instance_retry_due;
-- Of one run that is held, what is due.
create index task_instance_due_of_run on task_instance (run_key, due_at)
    where state in ('up_for_retry', 'up_for_reschedule');
