-- No transaction of ours waits for anything but the database. One that stands idle belongs to a process that was frozen or
-- cut off, and may hold the lock of a run: Postgres ends it.
do $$
begin
    execute format('alter database %I set idle_in_transaction_session_timeout = ''10s''', current_database());
exception when insufficient_privilege then
    raise warning 'cannot set idle_in_transaction_session_timeout on database %: ask its owner', current_database();
end
$$;
