-- What Airflow's API names by number, and remarks on task instances.

alter table asset add column asset_id integer generated always as identity unique;
alter table process add column number integer generated always as identity;

-- Apart from the task instances, whose rows change all the time; it goes with the run.
create table instance_note (
    run_key bigint not null references dag_run on delete cascade,
    instance_key bigint not null,
    note text not null,
    primary key (run_key, instance_key)
);

alter table dag_version
    -- Where its author wrote it, as the compiler saw it.
    add column file text,
    -- What its author wrote, if the DAG carries it.
    add column source text;
