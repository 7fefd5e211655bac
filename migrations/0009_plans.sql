-- Every statement of ours reads by index. Generic plans are kept for as long as a connection lives, and the first one of
-- a young database is made while its tables are small: without this it scans them, and goes on when they have grown.
do $$
declare
    setting text;
begin
    foreach setting in array array['enable_seqscan', 'enable_hashjoin', 'enable_mergejoin', 'enable_bitmapscan'] loop
        execute format('alter database %I set %s = off', current_database(), setting);
    end loop;
exception when insufficient_privilege then
    raise warning 'cannot set the planner of database %: ask its owner', current_database();
end
$$;
