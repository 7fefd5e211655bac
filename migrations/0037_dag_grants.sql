-- What somebody may do with one DAG, beyond what their role lets them do with all.

alter table app_user drop constraint app_user_role_check;
alter table app_user add constraint app_user_role_check check (role in ('public', 'viewer', 'user', 'op', 'admin'));

create table dag_grant (
    user_id bigint not null references app_user on delete cascade,
    -- Not a reference: a DAG that is deleted and deployed again is the same for those who work on it.
    dag_id text not null,
    role text not null check (role in ('viewer', 'user')),
    primary key (user_id, dag_id)
);
