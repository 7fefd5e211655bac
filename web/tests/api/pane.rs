//! The grid beside a run, a task, and the views of a DAG.

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

#[sqlx::test(migrations = "../migrations")]
async fn the_views_of_a_dag_have_the_grid_beside_them(pool: PgPool) {
    let world = World::new(pool).await;
    let has_pane = async |path: &str| {
        let (status, page) = world.page(path).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        page.contains(r#"class="pane""#) && page.contains(r#"href="/dags/typed/runs/one/tasks/extract""#)
    };
    assert!(!has_pane("/dags/typed/runs").await, "it has never run");
    let body = r#"{"logical_date": null, "dag_run_id": "one"}"#;
    assert_eq!(world.call(Method::POST, "/dags/typed/dagRuns", body).await.0, 200);
    for view in ["runs", "calendar", "tasks", "backfills", "code", "versions", "details"] {
        assert!(has_pane(&format!("/dags/typed/{view}")).await, "{view}");
    }
    // The one is the grid, the other needs the width.
    assert!(!world.page("/dags/typed").await.1.contains(r#"class="pane""#));
    assert!(!world.page("/dags/typed/graph").await.1.contains(r#"class="pane""#));
}
