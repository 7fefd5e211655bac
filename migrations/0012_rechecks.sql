-- What happened in a run and matters to others of its DAG (depends_on_past, wait_for_downstream, the count of failed
-- runs). Written in the transaction in which it happened; looked at after that, for no transaction may lock another run
-- later.
create table recheck (
    recheck_id  bigint generated always as identity primary key,
    run_key     bigint not null
);
