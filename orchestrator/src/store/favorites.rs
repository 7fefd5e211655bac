//! `dag_favorite`: the DAGs that somebody has marked as theirs, as Airflow's `dag_favorite`.

use std::collections::BTreeSet;

use sqlx::PgConnection;

use crate::ids::DagId;

/// Those of a user; whoever need not sign in has no name, and theirs are those of all of them.
///
/// # Errors
/// The database is down.
pub async fn of(conn: &mut PgConnection, user: Option<&str>) -> sqlx::Result<BTreeSet<DagId>> {
    let found = sqlx::query_scalar!(
        r#"select dag_id as "dag_id: DagId" from dag_favorite where user_name = $1"#,
        user.unwrap_or_default()
    );
    Ok(found.fetch_all(conn).await?.into_iter().collect())
}

/// Adds a DAG that there is, if it is not one of them.
///
/// # Errors
/// The database is down.
pub async fn insert(conn: &mut PgConnection, user: Option<&str>, dag: &DagId) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into dag_favorite (user_name, dag_id) select $1, dag_id from dag where dag_id = $2
         on conflict do nothing",
        user.unwrap_or_default(),
        dag.as_str()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes a DAG away; false if it was none of them.
///
/// # Errors
/// The database is down.
pub async fn delete(conn: &mut PgConnection, user: Option<&str>, dag: &DagId) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "delete from dag_favorite where user_name = $1 and dag_id = $2",
        user.unwrap_or_default(),
        dag.as_str()
    );
    Ok(done.execute(conn).await?.rows_affected() == 1)
}
