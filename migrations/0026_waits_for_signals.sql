-- A deferred task instance waits for an instant, or for a signal: a row with a due time, no future, no slot.

alter table task_instance
    -- The signal that makes it due before its time.
    add column awaits text,
    drop constraint due_if_and_only_if_it_waits_for_a_time,
    add constraint due_if_and_only_if_it_waits_for_a_time
        check ((state in ('up_for_retry', 'up_for_reschedule', 'deferred')) = (due_at is not null)) not valid,
    add constraint awaits_only_if_deferred check (awaits is null or state = 'deferred') not valid;

-- That something has happened, for whoever waits for it now or later.
create table signal (
    key        text primary key,
    payload    jsonb not null,
    posted_at  timestamptz not null default now()
);
