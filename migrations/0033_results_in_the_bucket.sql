-- A result that is too big for the database is an object in a bucket.

alter table xcom
    -- Its name; then the value is null.
    add column object text,
    -- How many items it has, if it is a list.
    add column items integer;
