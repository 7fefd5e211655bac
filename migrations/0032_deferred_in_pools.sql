-- A deferred task instance names the pool's gate whose slots it keeps, if the pool includes the deferred.

alter table task_instance
    drop constraint in_line_if_and_only_if_scheduled,
    add constraint in_line_if_and_only_if_scheduled
        check (case state when 'scheduled' then waits_for is not null
                          when 'deferred' then true
                          else waits_for is null end) not valid;
