//! What is ticked in lists: what would change, who may do it, and what became of it.

use axum::{
    body::Body,
    http::{Method, header},
};
use orchestrator::{
    accounts::Role,
    commands::{self, By},
};
use serde_json::json;
use sqlx::PgPool;

use crate::{
    auth::with_users,
    world::{World, request},
};

impl World {
    /// Sends a form.
    async fn act(&self, path: &str, form: &str) -> (u16, String) {
        let post = request(Method::POST, path).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let (status, body) = self.send(post.body(form.to_owned().into()).unwrap()).await;
        (status.as_u16(), body)
    }

    /// A run that has ended.
    async fn ended(&self, dag: &str, run: &str) {
        self.call(Method::PATCH, &format!("/dags/{dag}"), r#"{"is_paused": false}"#).await;
        let body = json!({ "dag_run_id": run, "logical_date": null }).to_string();
        assert_eq!(self.call(Method::POST, &format!("/dags/{dag}/dagRuns"), &body).await.0, 200);
        self.ends_of(dag, run).await;
    }
}

/// The keys of the task instances that can be ticked, by their names.
fn ticks(page: &str) -> Vec<(String, String)> {
    let boxes = page.split("name=\"instance\" value=\"").skip(1);
    let tick = |rest: &str| {
        let (key, rest) = rest.split_once('"').unwrap();
        let name = rest.split_once("aria-label=\"Choose ").unwrap().1.split_once('"').unwrap().0;
        (name.to_owned(), key.to_owned())
    };
    boxes.map(tick).collect()
}

#[sqlx::test(migrations = "../migrations")]
async fn a_page_does_something_with_the_runs_that_are_ticked(pool: PgPool) {
    let world = World::new(pool.clone()).await;
    for run in ["one", "two"] {
        world.ended("typed", run).await;
    }
    let (_, page) = world.page("/runs/chosen?deed=clear&run=typed/one&run=typed/two").await;
    assert!(page.contains("Clear 2 runs?") && page.contains("2 task instances will be cleared"), "{page}");
    for (path, status) in [
        ("deed=paint&run=typed/one", 404),
        ("deed=clear&run=typed/none", 404),
        ("deed=clear&run=one", 404),
        ("deed=clear", 200),
    ] {
        assert_eq!(world.page(&format!("/runs/chosen?{path}")).await.0.as_u16(), status, "{path}");
    }
    let act = async |form: &str| world.act("/runs/chosen", form).await;
    assert_eq!(act("deed=failed&run=typed/one&run=typed/two").await.0, 303);
    assert_eq!(world.get("/dags/typed/dagRuns/two").await.1["state"], "failed");
    assert_eq!(act("deed=clear_failed&run=typed/two").await.0, 303);
    world.ends_of("typed", "two").await;

    // One that is refused does not hold back the others, and says why.
    world.call(Method::PATCH, "/dags/typed", r#"{"is_paused": true}"#).await;
    sqlx::query("update dag_run set state = 'running', end_date = null where run_id = 'one'")
        .execute(&pool)
        .await
        .unwrap();
    let (status, told) = act("deed=delete&run=typed/one&run=typed/two&run=typed/two&run=typed/gone").await;
    assert_eq!(status, 200);
    assert!(
        told.contains("Done to 1 run, refused for 2 runs.") && told.contains("cannot be deleted in running state"),
        "{told}"
    );
    assert_eq!(world.get("/dags/typed/dagRuns/two").await.0, 404);
    assert_eq!(world.get("/dags/typed/dagRuns/one").await.0, 200);
}

#[sqlx::test(migrations = "../migrations")]
async fn tasks_of_several_dags_are_ticked(pool: PgPool) {
    let world = World::new(pool).await;
    world.ended("example", "mine").await;
    world.ended("typed", "two").await;
    let page = world.page("/tasks").await.1;
    let key = |name: &str| ticks(&page).into_iter().find(|(known, _)| known == name).unwrap().1;
    let chosen = format!("instance={}&instance={}", key("boom in mine"), key("load in two"));

    let asked = world.page(&format!("/tasks/chosen?deed=success&{chosen}")).await.1;
    assert!(asked.contains("Mark as success 2 task instances?"), "boom, and after begins again: {asked}");
    let asked = world.page(&format!("/tasks/chosen?deed=clear&downstream=true&{chosen}")).await.1;
    assert!(asked.contains("Clear 3 task instances?"), "boom, after and load: {asked}");
    let asked = world.page(&format!("/tasks/chosen?deed=clear&only_failed=true&{chosen}")).await.1;
    assert!(asked.contains("Clear 1 task instance?"), "{asked}");
    for (path, status) in [
        ("deed=paint&instance=1", 404),
        ("deed=clear&instance=x", 404),
        ("deed=clear", 200),
        ("deed=clear&instance=0", 200),
    ] {
        assert_eq!(world.page(&format!("/tasks/chosen?{path}")).await.0.as_u16(), status, "{path}");
    }

    let many: String = (0..1_001).map(|key| format!("&instance={key}")).collect();
    assert_eq!(world.act("/tasks/chosen", &format!("deed=clear{many}")).await.0, 400, "all or nothing");

    // The page from which they came tells it; no other site does.
    let form = format!("deed=skipped&{chosen}&back=/tasks%3Fstate%3Dfailed");
    let post = request(Method::POST, "/tasks/chosen").header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    let done = tower::ServiceExt::oneshot(world.router(), post.body(Body::from(form)).unwrap()).await.unwrap();
    assert_eq!(done.headers()[header::LOCATION], "/tasks?done=skipped&count=2&state=failed");
    let told = world.page("/tasks?done=skipped&count=2&state=failed").await.1;
    assert!(told.contains("Marked as skipped."), "{told}");
    let (_, task) = world.get("/dags/typed/dagRuns/two/taskInstances/load").await;
    assert_eq!(task["state"], "skipped");
    let asked = world.page(&format!("/tasks/chosen?deed=clear&{chosen}&back=//evil.example")).await.1;
    assert!(!asked.contains("evil.example"), "{asked}");
}

#[sqlx::test(migrations = "../migrations")]
async fn who_works_on_one_dag_does_nothing_to_another(pool: PgPool) {
    let world = with_users(&pool).await;
    let admin = world.bearer("admin").await;
    for dag in ["example", "typed"] {
        let body = json!({ "dag_run_id": "one", "logical_date": null }).to_string();
        let path = format!("/api/v2/dags/{dag}/dagRuns");
        assert_eq!(world.call_as(&admin, Method::POST, &path, &body).await.0, 200);
    }
    let mut conn = pool.acquire().await.unwrap();
    commands::grant_dag(&mut conn, "viewer", &"example".into(), Role::User, &By::test()).await.unwrap();
    let viewer = world.bearer("viewer").await;
    let as_viewer = async |method: Method, path: &str, form: &str| {
        let request = request(method, path).header(header::AUTHORIZATION, &viewer);
        let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let (status, body) = world.send(request.body(Body::from(form.to_owned())).unwrap()).await;
        (status.as_u16(), body)
    };
    let page = as_viewer(Method::GET, "/tasks", "").await.1;
    let offered: Vec<_> = ticks(&page).into_iter().map(|(name, _)| name).collect();
    assert_eq!(offered, ["after in one", "boom in one", "ok in one"], "a Viewer ticks what was granted");
    let keys = sqlx::query_scalar::<_, i64>(
        "select min(instance_key) from task_instance t join dag_run r using (run_key) group by r.dag_id order by r.dag_id",
    );
    let keys = keys.fetch_all(&pool).await.unwrap();
    let (mine, other) = (format!("instance={}", keys[0]), format!("instance={}", keys[1]));
    for (path, form, status) in [
        ("/tasks/chosen", format!("deed=skipped&{mine}&{other}"), 403),
        ("/runs/chosen", "deed=failed&run=example/one&run=typed/one".to_owned(), 403),
        ("/tasks/chosen", format!("deed=skipped&{mine}"), 303),
        ("/runs/chosen", "deed=failed&run=example/one".to_owned(), 303),
    ] {
        let asked = as_viewer(Method::GET, &format!("{path}?{form}"), "").await.0;
        assert_eq!(asked, if status == 303 { 200 } else { status }, "{path}: {form}");
        assert_eq!(as_viewer(Method::POST, path, &form).await.0, status, "{path}: {form}");
    }
    let typed = sqlx::query_scalar::<_, String>(
        "select string_agg(distinct t.state::text, ' ') from task_instance t join dag_run r using (run_key) where r.dag_id = 'typed'",
    );
    assert!(!typed.fetch_one(&pool).await.unwrap().contains("skipped"), "refused whole");
}

#[sqlx::test(migrations = "../migrations")]
async fn the_tasks_of_a_run_are_ordered(pool: PgPool) {
    let world = World::new(pool).await;
    world.ended("example", "mine").await;
    for (order, expected) in [
        ("", ["ok", "boom", "after"]),
        ("task", ["after", "boom", "ok"]),
        ("-task", ["ok", "boom", "after"]),
        ("-try", ["boom", "ok", "after"]),
        ("start_date", ["ok", "boom", "after"]),
        ("-start_date", ["boom", "ok", "after"]),
        ("-;drop", ["ok", "boom", "after"]),
    ] {
        let page = world.page(&format!("/dags/example/runs/mine?order={order}")).await.1;
        let names: Vec<_> = ticks(&page).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, expected, "{order}");
    }
    let page = world.page("/dags/example/runs/mine?order=-duration&q=o").await.1;
    assert!(page.contains(r#"aria-sort="descending""#) && page.contains("?q=o&#38;order=duration"), "{page}");
    assert!(page.contains("value=\"/dags/example/runs/mine?q=o&#38;order=-duration\""), "it leads back: {page}");
}
