-- Which DAGs somebody has marked as theirs. Nobody's name is that of whoever need not sign in.
create table dag_favorite (
    user_name text not null,
    dag_id    text not null references dag on delete cascade,
    primary key (user_name, dag_id)
);
