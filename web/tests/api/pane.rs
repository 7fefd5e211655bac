//! The grid beside a run and a task.

use axum::http::{Method, StatusCode};
use sqlx::PgPool;

use crate::world::World;

#[sqlx::test(migrations = "../migrations")]
async fn a_run_is_shown_beside_one_of_a_newer_program(pool: PgPool) {
    let world = World::new(pool.clone()).await;
    for run in ["ours", "theirs"] {
        let body = format!(r#"{{"logical_date": null, "dag_run_id": "{run}"}}"#);
        assert_eq!(world.call(Method::POST, "/dags/typed/dagRuns", &body).await.0, 200);
    }
    let newer = r#"with newer as (insert into dag_version (dag_id, number, graph_hash, graph)
                                   values ('typed', 2, 'newer', '{"written": "by a newer binary"}') returning version_id)
                   update dag_run set version_id = newer.version_id from newer where run_id = 'theirs'"#;
    sqlx::query(newer).execute(&pool).await.unwrap();
    let (status, page) = world.page("/dags/typed/runs/ours").await;
    assert_eq!(status, StatusCode::OK);
    for shown in [
        r#"<a class="queued" href="/dags/typed/runs/theirs""#,
        r#"class="cell none" href="/dags/typed/runs/ours/tasks/"#,
    ] {
        assert!(page.contains(shown), "{shown} is not in {page}");
    }
    assert!(!page.contains(r#"class="cell none" href="/dags/typed/runs/theirs/"#));
}
