//! Who comes in, and what they may do.

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use chrono::DateTime;
use orchestrator::{
    accounts::{Identity, Password, Role},
    commands::{self, By},
    secrets::{Keys, new_key},
    store::backfills::{self, NewBackfill, Reprocess},
};
use serde_json::{Value, json};
use sqlx::PgPool;
use tower::ServiceExt;
use web::{Access, App, Entrance};

use crate::world::{World, request};

const PASSWORD: &str = "correct horse";

/// One user of each role, whose names are those of the roles.
async fn with_users(pool: &PgPool) -> World {
    let world = World::with(pool.clone(), Access::Users).await;
    let mut conn = pool.acquire().await.unwrap();
    let password = Password::from(PASSWORD.to_owned());
    for role in Role::ALL {
        commands::create_user(&mut conn, role.as_str(), &password, role, &By::test()).await.unwrap();
    }
    world
}

impl World {
    async fn token(&self, username: &str, password: &str) -> (u16, Value) {
        let body = json!({ "username": username, "password": password }).to_string();
        let post = request(Method::POST, "/auth/token").header("content-type", "application/json");
        let (status, body) = self.send(post.body(Body::from(body)).unwrap()).await;
        (status.as_u16(), serde_json::from_str(&body).unwrap())
    }

    /// Signs in, and gives what stands for the user in the header of a request.
    async fn bearer(&self, username: &str) -> String {
        let (status, answer) = self.token(username, PASSWORD).await;
        assert_eq!(status, 201, "{answer}");
        format!("Bearer {}", answer["access_token"].as_str().unwrap())
    }

    async fn call_as(&self, bearer: &str, method: Method, path: &str, body: &str) -> (u16, Value) {
        let request = request(method, path).header("authorization", bearer).header("content-type", "application/json");
        let (status, body) = self.send(request.body(Body::from(body.to_owned())).unwrap()).await;
        (status.as_u16(), if body.is_empty() { Value::Null } else { serde_json::from_str(&body).unwrap() })
    }

    async fn answer(&self, request: Request<Body>) -> (StatusCode, HeaderMap, String) {
        let answer = tower::ServiceExt::oneshot(self.router(), request).await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (status, headers, String::from_utf8(body.to_vec()).unwrap())
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn nobody_comes_in_without_a_password(pool: PgPool) {
    let world = with_users(&pool).await;
    assert_eq!(world.get("/version").await.0, 200);
    assert_eq!(world.get("/monitor/health").await.0, 200);
    assert_eq!(world.get("/dags").await, (401, json!({ "detail": "Not authenticated" })));
    let (status, headers, _) =
        world.answer(request(Method::GET, "/dags/example?x=1").body(Body::empty()).unwrap()).await;
    assert_eq!(
        (status, headers[header::LOCATION].to_str().unwrap()),
        (StatusCode::SEE_OTHER, "/login?next=/dags/example")
    );

    assert_eq!(world.token("user", "wrong").await, (401, json!({ "detail": "Invalid credentials" })));
    assert_eq!(world.token("nobody", "wrong").await, (401, json!({ "detail": "Invalid credentials" })));
    let form = request(Method::POST, "/auth/token").header("content-type", "application/x-www-form-urlencoded");
    let (status, _) = world.send(form.body(Body::from("username=user&password=correct+horse")).unwrap()).await;
    assert_eq!(status, StatusCode::CREATED);
    let empty = request(Method::POST, "/auth/token").header("content-type", "application/json");
    assert_eq!(world.send(empty.body(Body::from("{}")).unwrap()).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    let anybody = request(Method::GET, "/auth/token").body(Body::empty()).unwrap();
    assert_eq!(world.send(anybody).await.0, StatusCode::FORBIDDEN);

    let bearer = world.bearer("viewer").await;
    assert_eq!(world.call_as(&bearer, Method::GET, "/api/v2/dags", "").await.0, 200);
    let refused = (403, json!({ "detail": "Invalid JWT token" }));
    for bad in [format!("{bearer}x"), "Bearer nothing".to_owned(), "Bearer sc_nothing".to_owned()] {
        assert_eq!(world.call_as(&bad, Method::GET, "/api/v2/dags", "").await, refused, "{bad}");
    }
    // A token outlives its user in its signature alone.
    commands::delete_user(&mut pool.acquire().await.unwrap(), "viewer", &By::test()).await.unwrap();
    assert_eq!(world.call_as(&bearer, Method::GET, "/api/v2/dags", "").await, refused);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_key_that_is_replaced_still_verifies_while_it_stands_behind_the_new_one(pool: PgPool) {
    let world = with_users(&pool).await;
    let (old, new) = (new_key(), new_key());
    let with = |keys: &str| {
        let app = App { keys: Keys::parse(keys).unwrap(), ..world.app.clone() };
        web::router(app, Access::Users)
    };
    let (before, rotated, after) = (with(&old), with(&format!("{new},{old}")), with(&new));
    let signed = async |router: &Router| {
        let form = request(Method::POST, "/auth/token").header("content-type", "application/x-www-form-urlencoded");
        let form = form.body(Body::from("username=viewer&password=correct+horse")).unwrap();
        let answer = router.clone().oneshot(form).await.unwrap();
        let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        serde_json::from_slice::<Value>(&body).unwrap()["access_token"].as_str().unwrap().to_owned()
    };
    let asked = async |router: &Router, token: &str| {
        let get = request(Method::GET, "/api/v2/dags").header("authorization", format!("Bearer {token}"));
        router.clone().oneshot(get.body(Body::empty()).unwrap()).await.unwrap().status().as_u16()
    };
    let (of_old, of_new) = (signed(&before).await, signed(&rotated).await);
    assert_eq!(
        [asked(&before, &of_old).await, asked(&rotated, &of_old).await, asked(&after, &of_old).await],
        [200, 200, 403]
    );
    assert_eq!(
        [asked(&before, &of_new).await, asked(&rotated, &of_new).await, asked(&after, &of_new).await],
        [403, 200, 200]
    );
}

#[sqlx::test(migrations = "../migrations")]
async fn a_change_of_a_user_is_made_whole_or_not_at_all(pool: PgPool) {
    let world = with_users(&pool).await;
    let admin = world.bearer("admin").await;
    let both = r#"{"role": "op", "password": "short"}"#;
    assert_eq!(world.call_as(&admin, Method::PATCH, "/api/users/viewer", both).await.0, 400);
    let (_, users) = world.call_as(&admin, Method::GET, "/api/users", "").await;
    let viewer = users["users"].as_array().unwrap().iter().find(|user| user["username"] == "viewer").unwrap();
    assert_eq!(viewer["role"], "viewer", "{users}");
}

#[sqlx::test(migrations = "../migrations")]
async fn a_role_may_do_what_it_may(pool: PgPool) {
    let world = with_users(&pool).await;
    let run = r#"{"logical_date": null, "dag_run_id": "mine"}"#;
    let pool_body = r#"{"name": "narrow", "slots": 1}"#;
    let user_body = r#"{"username": "ada", "password": "a long one", "role": "Viewer"}"#;
    let asks = [
        (Method::GET, "/api/v2/dags", "", Role::Public, 200),
        (Method::POST, "/api/v2/dags/~/dagRuns/list", "{}", Role::Public, 200),
        (Method::GET, "/api/v2/dags/example", "", Role::Viewer, 200),
        (Method::GET, "/api/v2/eventLogs", "", Role::Viewer, 200),
        (Method::POST, "/api/v2/dags/example/dagRuns", run, Role::User, 200),
        (Method::GET, "/api/v2/variables", "", Role::Op, 200),
        (Method::POST, "/api/v2/pools", pool_body, Role::Op, 201),
        (Method::GET, "/api/users", "", Role::Admin, 200),
        (Method::POST, "/api/users", user_body, Role::Admin, 201),
    ];
    for (method, path, body, weakest, done) in asks {
        for role in Role::ALL.into_iter().take_while(|role| *role <= weakest) {
            let bearer = world.bearer(role.as_str()).await;
            let (status, answer) = world.call_as(&bearer, method.clone(), path, body).await;
            assert_eq!(status, if role < weakest { 403 } else { done }, "{role} {method} {path}: {answer}");
        }
    }
    let admin = world.bearer("admin").await;
    let (_, log) = world.call_as(&admin, Method::GET, "/api/v2/eventLogs?event=trigger_dag_run", "").await;
    assert_eq!(log["event_logs"][0]["owner"], "user", "who did it stands in the log: {log}");
    let (_, runs) = world.call_as(&admin, Method::GET, "/api/v2/dags/example/dagRuns", "").await;
    assert_eq!(runs["dag_runs"][0]["triggering_user_name"], "user");
    let (status, answer) = world.call_as(&admin, Method::DELETE, "/api/users/admin", "").await;
    assert_eq!(status, 409, "the last admin stays: {answer}");
    let (status, _) = world.call_as(&admin, Method::PATCH, "/api/users/ada", r#"{"role": "admin"}"#).await;
    assert_eq!(status, 200);
    assert_eq!(world.call_as(&admin, Method::DELETE, "/api/users/admin", "").await.0, 204);
}

#[sqlx::test(migrations = "../migrations")]
async fn what_is_granted_of_one_dag_is_granted_of_no_other(pool: PgPool) {
    let world = with_users(&pool).await;
    let (admin, public) = (world.bearer("admin").await, world.bearer("public").await);
    let run = r#"{"logical_date": null, "dag_run_id": "mine"}"#;
    for dag in ["example", "typed"] {
        let path = format!("/api/v2/dags/{dag}/dagRuns");
        assert_eq!(world.call_as(&admin, Method::POST, &path, run).await.0, 200);
    }
    let get = async |path: &str| world.call_as(&public, Method::GET, path, "").await;
    assert_eq!(get("/api/v2/dags").await.1["total_entries"], 0, "nothing is granted yet");

    let grant = "/api/users/public/dags/example";
    assert_eq!(world.call_as(&public, Method::PUT, grant, r#"{"role": "user"}"#).await.0, 403);
    for (path, body, status) in [
        (grant, r#"{"role": "admin"}"#, 400),
        ("/api/users/public/dags/nothing", r#"{"role": "viewer"}"#, 404),
        ("/api/users/nobody/dags/example", r#"{"role": "viewer"}"#, 404),
        (grant, r#"{"role": "viewer"}"#, 200),
    ] {
        assert_eq!(world.call_as(&admin, Method::PUT, path, body).await.0, status, "{path} {body}");
    }

    // Every list of all DAGs has what is granted, and no more.
    for (path, rows) in [
        ("/api/v2/dags", "dags"),
        ("/api/v2/dags?dag_id_pattern=e", "dags"),
        ("/api/v2/dags/~/dagRuns", "dag_runs"),
        ("/api/v2/dags/~/dagRuns/~/taskInstances", "task_instances"),
        ("/api/v2/dagStats", "dags"),
        ("/api/v2/dagStats?dag_ids=typed&dag_ids=example", "dags"),
    ] {
        let (status, answer) = get(path).await;
        let dags: Vec<_> = answer[rows].as_array().unwrap().iter().map(|row| row["dag_id"].as_str().unwrap()).collect();
        assert!(status == 200 && !dags.is_empty() && dags.iter().all(|dag| *dag == "example"), "{path}: {answer}");
    }
    assert_eq!(get("/api/v2/dagStats?dag_ids=typed").await.1["dags"], json!([]));
    for list in ["/api/v2/dags/~/dagRuns/list", "/api/v2/dags/~/dagRuns/~/taskInstances/list"] {
        let (status, answer) = world.call_as(&public, Method::POST, list, r#"{"dag_ids": ["typed"]}"#).await;
        assert_eq!((status, &answer["total_entries"]), (200, &json!(0)), "{list}: {answer}");
    }
    for path in ["/api/v2/dags/example", "/dags/example", "/api/v2/dags/example/dagRuns/mine", "/dags/%65xample"] {
        let ask = request(Method::GET, path).header("authorization", &public).body(Body::empty()).unwrap();
        assert_eq!(world.send(ask).await.0, 200, "{path}");
    }
    for path in [
        "/api/v2/dags/typed",
        "/dags/typed",
        "/dags/typed/runs/mine",
        "/api/v2/dags/typed/dagRuns",
        "/api/v2/dagSources/typed",
        "/api/v2/dags/~/dagRuns/~/taskInstances/~/xcomEntries",
        "/api/v2/eventLogs",
        "/audit",
        "/health",
        "/assets",
        "/dags/~",
    ] {
        let ask = request(Method::GET, path).header("authorization", &public).body(Body::empty()).unwrap();
        assert_eq!(world.send(ask).await.0, 403, "{path}");
    }

    // A viewer of it may not work on it; a user may, and on no other.
    let pause = async |dag: &str| {
        let path = format!("/api/v2/dags/{dag}");
        world.call_as(&public, Method::PATCH, &path, r#"{"is_paused": true}"#).await.0
    };
    assert_eq!(pause("example").await, 403);
    assert_eq!(world.call_as(&admin, Method::PUT, grant, r#"{"role": "user"}"#).await.0, 200);
    assert_eq!((pause("example").await, pause("typed").await), (200, 403));
    let all = world.call_as(&public, Method::PATCH, "/api/v2/dags?dag_id_pattern=~", r#"{"is_paused": true}"#).await;
    assert_eq!(all.0, 403);
    backfills_are_those_of_the_granted_dag(&world, &pool, &public).await;

    assert_eq!(world.call_as(&admin, Method::DELETE, grant, "").await.0, 204);
    assert_eq!(world.call_as(&admin, Method::DELETE, grant, "").await.0, 404);
    assert_eq!(get("/api/v2/dags/example").await.0, 403);
    let (_, log) = world.call_as(&admin, Method::GET, "/api/v2/eventLogs?dag_id=example&order_by=-when", "").await;
    let told: Vec<_> = log["event_logs"].as_array().unwrap().iter().map(|event| event["event"].clone()).collect();
    assert!(told.contains(&json!("grant_dag")) && told.contains(&json!("revoke_dag")), "{log}");
}

/// They name their DAG in the body, or by their number.
async fn backfills_are_those_of_the_granted_dag(world: &World, pool: &PgPool, public: &str) {
    let wanted = |dag: &str| {
        json!({ "dag_id": dag, "from_date": "2026-01-01T00:00:00Z", "to_date": "2026-01-02T00:00:00Z" }).to_string()
    };
    let make = async |who: &str, path: &str, dag: &str| world.call_as(who, Method::POST, path, &wanted(dag)).await;
    for path in ["/api/v2/backfills", "/api/v2/backfills/dry_run"] {
        assert_eq!(make(public, path, "typed").await.0, 403, "{path}");
    }
    let others = NewBackfill {
        dag_id: &"typed".into(),
        from_date: DateTime::UNIX_EPOCH,
        to_date: DateTime::UNIX_EPOCH,
        conf: &json!({}),
        reprocess: Reprocess::None,
        max_active_runs: 1,
    };
    let others = backfills::insert_if_alone(&mut pool.acquire().await.unwrap(), &others).await.unwrap().unwrap();
    let (status, mine) = make(public, "/api/v2/backfills", "example").await;
    assert_eq!(status, 200, "{mine}");
    let (_, seen) = world.call_as(public, Method::GET, "/api/v2/backfills", "").await;
    assert_eq!((&seen["total_entries"], &seen["backfills"][0]["id"]), (&json!(1), &mine["id"]), "{seen}");
    for (method, deed) in
        [(Method::GET, ""), (Method::PUT, "/pause"), (Method::PUT, "/unpause"), (Method::PUT, "/cancel")]
    {
        for (backfill, status) in [(&json!(others), 403), (&mine["id"], 200)] {
            let path = format!("/api/v2/backfills/{backfill}{deed}");
            assert_eq!(world.call_as(public, method.clone(), &path, "").await.0, status, "{method} {path}");
        }
    }
    let pause = request(Method::POST, &format!("/backfills/{}/pause", json!(others))).header("authorization", public);
    let pause = pause.header("content-type", "application/x-www-form-urlencoded").body(Body::from("back=/dags"));
    assert_eq!(world.send(pause.unwrap()).await.0, 403, "nor on the page");
}

#[sqlx::test(migrations = "../migrations")]
async fn everybody_has_favorites_of_their_own(pool: PgPool) {
    let world = with_users(&pool).await;
    let (admin, viewer) = (world.bearer("admin").await, world.bearer("viewer").await);
    let post = async |who: &str, path: &str| world.call_as(who, Method::POST, path, "").await.0;
    let listed = async |who: &str, wanted: bool| {
        let path = format!("/api/v2/dags?is_favorite={wanted}");
        let (status, list) = world.call_as(who, Method::GET, &path, "").await;
        assert_eq!(status, 200, "{list}");
        list["dags"]
            .as_array()
            .unwrap()
            .iter()
            .map(|dag| dag["dag_id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(post(&viewer, "/api/v2/dags/typed/favorite").await, 204);
    assert_eq!(post(&viewer, "/api/v2/dags/typed/favorite").await, 204, "it is one already");
    assert_eq!(post(&viewer, "/api/v2/dags/none/favorite").await, 404);
    assert_eq!((listed(&viewer, true).await, listed(&admin, true).await), (vec!["typed".to_owned()], vec![]));
    assert_eq!(listed(&viewer, false).await, ["consumer", "example"]);
    let details = async |who: &str| {
        world.call_as(who, Method::GET, "/api/v2/dags/typed/details", "").await.1["is_favorite"].clone()
    };
    assert_eq!((details(&viewer).await, details(&admin).await), (json!(true), json!(false)));
    assert_eq!(post(&admin, "/api/v2/dags/typed/unfavorite").await, 409);
    assert_eq!(post(&viewer, "/api/v2/dags/typed/unfavorite").await, 204);
    assert!(listed(&viewer, true).await.is_empty());
    // They go with whom they were of.
    assert_eq!(post(&viewer, "/api/v2/dags/typed/favorite").await, 204);
    assert_eq!(world.call_as(&admin, Method::DELETE, "/api/users/viewer", "").await.0, 204);
    let left: i64 = sqlx::query_scalar("select count(*) from dag_favorite").fetch_one(&pool).await.unwrap();
    assert_eq!(left, 0);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_granted_run_does_not_tell_of_the_dag_that_caused_it(pool: PgPool) {
    let world = with_users(&pool).await;
    let (admin, public) = (world.bearer("admin").await, world.bearer("public").await);
    for dag in ["typed", "consumer"] {
        let path = format!("/api/v2/dags/{dag}");
        assert_eq!(world.call_as(&admin, Method::PATCH, &path, r#"{"is_paused": false}"#).await.0, 200);
    }
    let grant = "/api/users/public/dags/consumer";
    assert_eq!(world.call_as(&admin, Method::PUT, grant, r#"{"role": "viewer"}"#).await.0, 200);
    let run = r#"{"logical_date": null, "dag_run_id": "mine"}"#;
    assert_eq!(world.call_as(&admin, Method::POST, "/api/v2/dags/typed/dagRuns", run).await.0, 200);
    let runs = tokio::time::timeout(std::time::Duration::from_secs(60), async {
        loop {
            let (_, runs) = world.call_as(&public, Method::GET, "/api/v2/dags/~/dagRuns", "").await;
            if runs["total_entries"] == 1 {
                return runs;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    });
    let run = runs.await.unwrap()["dag_runs"][0]["dag_run_id"].as_str().unwrap().replace('+', "%2B");
    let path = format!("/api/v2/dags/consumer/dagRuns/{run}/upstreamAssetEvents");
    let sources = async |bearer: &str| {
        let (_, told) = world.call_as(bearer, Method::GET, &path, "").await;
        (told["asset_events"][0]["source_dag_id"].clone(), told["asset_events"][0]["source_run_id"].clone())
    };
    assert_eq!(sources(&admin).await, (json!("typed"), json!("mine")));
    assert_eq!(sources(&public).await, (Value::Null, Value::Null));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_provider_says_who_somebody_is(pool: PgPool) {
    let _world = with_users(&pool).await;
    let mut conn = pool.acquire().await.unwrap();
    let mut sign_in = async |id: &str, username: &str, role| {
        let identity = Identity { id: id.to_owned(), names: vec![username.to_owned()], role };
        commands::sign_in_as(&mut conn, &identity, &By::test()).await.map(|user| (user.username, user.role))
    };
    let named = |name: &str, role| (name.to_owned(), role);
    assert_eq!(sign_in("one", "grace", None).await.unwrap(), named("grace", Role::Public));
    assert_eq!(
        sign_in("one", "hopper", Some(Role::Op)).await.unwrap(),
        named("grace", Role::Op),
        "who she was, she is"
    );
    assert_eq!(sign_in("one", "grace", None).await.unwrap(), named("grace", Role::Op), "an admin says it then");
    for name in ["grace", "admin", "no name", ""] {
        assert!(sign_in("two", name, Some(Role::Admin)).await.is_err(), "{name:?} is somebody else's, or no name");
    }
    // The last admin stays one, whatever the provider says.
    assert_eq!(sign_in("three", "ada", Some(Role::Admin)).await.unwrap().1, Role::Admin);
    commands::delete_user(&mut pool.acquire().await.unwrap(), "admin", &By::test()).await.unwrap();
    assert_eq!(sign_in("three", "ada", Some(Role::Public)).await.unwrap().1, Role::Admin);
    assert_eq!(sign_in("one", "grace", Some(Role::Admin)).await.unwrap().1, Role::Admin);
    assert_eq!(sign_in("three", "ada", Some(Role::Public)).await.unwrap().1, Role::Public);
    // Without a password here, none is right.
    let password = Password::from(String::new());
    assert!(commands::sign_in(&pool, "grace", password, &By::test()).await.is_err());
}

#[sqlx::test(migrations = "../migrations")]
async fn the_navigation_shows_what_one_may_open(pool: PgPool) {
    let world = with_users(&pool).await;
    let nav = async |user: Option<&str>| {
        let mut ask = request(Method::GET, if user.is_some() { "/dags" } else { "/login" });
        if let Some(user) = user {
            ask = ask.header("authorization", world.bearer(user).await);
        }
        let page = world.send(ask.body(Body::empty()).unwrap()).await.1;
        ["/dags", "/audit", "/variables", "/users", "/account"].map(|path| page.contains(&format!("href=\"{path}\"")))
    };
    assert_eq!(nav(None).await, [false; 5]);
    assert_eq!(nav(Some("public")).await, [true, false, false, false, true]);
    assert_eq!(nav(Some("viewer")).await, [true, true, false, false, true]);
    assert_eq!(nav(Some("op")).await, [true, true, true, false, true]);
    assert_eq!(nav(Some("admin")).await, [true; 5]);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_browser_has_a_session_and_forged_requests_have_none(pool: PgPool) {
    let world = with_users(&pool).await;
    let sign_in = async |password: &str| {
        let body = format!("username=user&password={password}&next=%2Fdags%2Fexample");
        let post = request(Method::POST, "/login").header("content-type", "application/x-www-form-urlencoded");
        world.answer(post.header("origin", "http://localhost:8080").body(Body::from(body)).unwrap()).await
    };
    let (status, headers, page) = sign_in("wrong").await;
    assert_eq!((status, headers.get(header::SET_COOKIE)), (StatusCode::UNAUTHORIZED, None));
    assert!(page.contains("Invalid credentials") && page.contains(r#"value="/dags/example""#), "{page}");
    let (status, headers, _) = sign_in("correct+horse").await;
    assert_eq!((status, headers[header::LOCATION].to_str().unwrap()), (StatusCode::SEE_OTHER, "/dags/example"));
    let cookie = headers[header::SET_COOKIE].to_str().unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax") && !cookie.contains("Secure"), "{cookie}");
    let session = cookie.split(';').next().unwrap().to_owned();

    let with_session = |method, path: &str| request(method, path).header("cookie", format!("theme=dark; {session}"));
    let page = with_session(Method::GET, "/account").body(Body::empty()).unwrap();
    assert!(world.answer(page).await.2.contains("<strong>user</strong>"));
    let pause = |origin: Option<&str>| {
        let mut post = with_session(Method::POST, "/dags/example/pause");
        if let Some(origin) = origin {
            post = post.header("origin", origin);
        }
        post.header("content-type", "application/x-www-form-urlencoded").body(Body::from("paused=false")).unwrap()
    };
    assert_eq!(world.answer(pause(None)).await.0, StatusCode::FORBIDDEN, "nobody knows whose page it was");
    assert_eq!(world.answer(pause(Some("http://evil.example"))).await.0, StatusCode::FORBIDDEN);
    assert_eq!(world.answer(pause(Some("http://localhost:8080"))).await.0, StatusCode::SEE_OTHER);

    let out = with_session(Method::POST, "/logout").header("origin", "http://localhost:8080");
    assert_eq!(world.answer(out.body(Body::empty()).unwrap()).await.0, StatusCode::SEE_OTHER);
    let page = with_session(Method::GET, "/account").body(Body::empty()).unwrap();
    assert_eq!(world.answer(page).await.0, StatusCode::SEE_OTHER, "the session is over, whoever has kept the cookie");

    // Over a network the cookie goes encrypted or not at all.
    let post = Request::post("/login").header("host", "airflow.example").header("origin", "https://airflow.example");
    let post = post.header("content-type", "application/x-www-form-urlencoded");
    let (_, headers, _) = world.answer(post.body(Body::from("username=user&password=correct+horse")).unwrap()).await;
    assert!(headers[header::SET_COOKIE].to_str().unwrap().contains("; Secure"));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_program_has_a_token_until_it_is_revoked(pool: PgPool) {
    let world = with_users(&pool).await;
    let (user, other) = (world.bearer("user").await, world.bearer("op").await);
    let make = r#"{"name": "nightly", "days": 7}"#;
    let (status, made) = world.call_as(&user, Method::POST, "/api/tokens", make).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(world.call_as(&user, Method::POST, "/api/tokens", make).await.0, 400, "one of a name");
    let token = format!("Bearer {}", made["token"].as_str().unwrap());
    assert_eq!(world.call_as(&token, Method::GET, "/api/v2/dags", "").await.0, 200);
    assert_eq!(world.call_as(&token, Method::GET, "/api/v2/variables", "").await.0, 403, "it may do what its user may");
    let (_, listed) = world.call_as(&user, Method::GET, "/api/tokens", "").await;
    assert_eq!((&listed["tokens"][0]["name"], &listed["total_entries"]), (&json!("nightly"), &json!(1)));
    assert!(listed["tokens"][0]["last_used_at"].is_string() && !listed.to_string().contains("sc_"), "{listed}");
    let one = format!("/api/tokens/{}", listed["tokens"][0]["id"]);
    assert_eq!(world.call_as(&other, Method::DELETE, &one, "").await.0, 404, "it is somebody else's");
    assert_eq!(world.call_as(&user, Method::DELETE, &one, "").await.0, 204);
    assert_eq!(world.call_as(&token, Method::GET, "/api/v2/dags", "").await.0, 403);

    // Another password ends all that stood for the user.
    let (_, made) = world.call_as(&user, Method::POST, "/api/tokens", make).await;
    let token = format!("Bearer {}", made["token"].as_str().unwrap());
    let admin = world.bearer("admin").await;
    let (status, _) = world.call_as(&admin, Method::PATCH, "/api/users/user", r#"{"password": "another one"}"#).await;
    assert_eq!(status, 200);
    // A JWT says when it was signed to the second.
    sqlx::query("update app_user set password_set_at = password_set_at + interval '1 second' where username = 'user'")
        .execute(&pool)
        .await
        .unwrap();
    for ended in [&token, &user] {
        assert_eq!(world.call_as(ended, Method::GET, "/api/v2/dags", "").await.0, 403);
    }
    assert_eq!(world.token("user", PASSWORD).await.0, 401);
    let kept =
        "select jsonb_agg(extra)::text || (select string_agg(encode(token_hash, 'hex'), '') from app_token) from event";
    let kept = sqlx::query_scalar::<_, Option<String>>(kept).fetch_one(&pool).await.unwrap();
    assert!(!kept.unwrap_or_default().contains("another one"));
}

#[sqlx::test(migrations = "../migrations")]
async fn whoever_guesses_has_to_wait(pool: PgPool) {
    let world = with_users(&pool).await;
    for _ in 0..5 {
        assert_eq!(world.token("user", "guess").await.0, 401);
    }
    // The wait is a second: what a slow machine needs for five guesses must not use it up.
    sqlx::query("update sign_in_failure set last_at = now() + interval '1 hour'").execute(&pool).await.unwrap();
    let (status, answer) = world.token("user", PASSWORD).await;
    assert_eq!(status, 429, "also with the right one: {answer}");
    assert_eq!(world.token("op", PASSWORD).await.0, 201, "others are not held up");
    sqlx::query("update sign_in_failure set last_at = now() - interval '1 minute'").execute(&pool).await.unwrap();
    assert_eq!(world.token("user", PASSWORD).await.0, 201);
    let left = sqlx::query_scalar::<_, i64>("select count(*) from sign_in_failure").fetch_one(&pool).await.unwrap();
    assert_eq!(left, 0, "who comes in begins anew");

    // Many at once are as many: no more than five are looked at.
    let guesses = futures::future::join_all((0..20).map(|_| world.token("viewer", "guess"))).await;
    let looked_at = guesses.iter().filter(|(status, _)| *status == 401).count();
    assert!((1..=6).contains(&looked_at), "{looked_at} of 20");
    let log = sqlx::query_scalar::<_, Value>("select jsonb_agg(extra) from event where event = 'sign_in_failed'");
    world.token("hunter2 in the wrong field", "x").await;
    assert!(!log.fetch_one(&pool).await.unwrap().to_string().contains("hunter2"));
}

#[sqlx::test(migrations = "../migrations")]
async fn the_event_log_has_the_sender_that_a_trusted_proxy_names(pool: PgPool) {
    let proxies = "127.0.0.1".parse().unwrap();
    let world = World::with(pool.clone(), Entrance { proxies, ..Access::Loopback.into() }).await;
    for (peer, expected) in [([127, 0, 0, 1], "203.0.113.9"), ([10, 0, 0, 1], "10.0.0.1")] {
        let patch = request(Method::PATCH, "/api/v2/dags/example").header("x-forwarded-for", "203.0.113.9");
        let patch = patch.header("content-type", "application/json");
        let mut patch = patch.body(Body::from(r#"{"is_paused": false}"#)).unwrap();
        patch.extensions_mut().insert(ConnectInfo(std::net::SocketAddr::from((peer, 1))));
        assert_eq!(world.send(patch).await.0, StatusCode::OK);
        let from: Option<String> = sqlx::query_scalar("select from_address from event order by event_id desc limit 1")
            .fetch_one(&pool)
            .await
            .unwrap();
        assert_eq!(from.as_deref(), Some(expected));
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn a_page_offers_what_one_may_do(pool: PgPool) {
    let world = with_users(&pool).await;
    let admin = world.bearer("admin").await;
    let run = r#"{"logical_date": null, "dag_run_id": "one", "note": "look here"}"#;
    world.call_as(&admin, Method::POST, "/api/v2/dags/example/dagRuns", run).await;
    let dates = r#"{"dag_id": "example", "from_date": "2026-01-01T00:00:00Z", "to_date": "2026-01-02T00:00:00Z"}"#;
    let (status, made) = world.call_as(&admin, Method::POST, "/api/v2/backfills", dates).await;
    assert_eq!(status, 200, "{made}");
    let of_dags = [
        "/dags",
        "/backfills",
        "/dags/example",
        "/dags/example/runs",
        "/dags/example/backfills",
        "/dags/example/details",
        "/dags/example/runs/one",
        "/dags/example/runs/one/tasks/ok",
    ];
    let of_all = ["/pools", "/assets/1"];
    for (role, works, operates) in [("viewer", false, false), ("user", true, false), ("op", true, true)] {
        let bearer = world.bearer(role).await;
        for (path, may) in of_dags.map(|path| (path, works)).into_iter().chain(of_all.map(|path| (path, operates))) {
            let get = request(Method::GET, path).header("authorization", &bearer).body(Body::empty()).unwrap();
            let (status, page) = world.send(get).await;
            assert_eq!(status, 200, "{path}");
            let offers = [r#"method="post""#, "/act/", "/trigger\"", "/delete\"", "/chosen", r#"name="run" "#];
            // Everybody has favorites.
            let favorite = |dag| format!(r#"method="post" action="/dags/{dag}/favorite""#);
            let page = ["example", "typed", "consumer"].iter().fold(page, |page, dag| page.replace(&favorite(dag), ""));
            let offered: Vec<_> = offers.into_iter().filter(|offer| page.contains(offer)).collect();
            assert_eq!(!offered.is_empty(), may, "{role} at {path}: {offered:?}");
            assert!(!path.ends_with("/one") || page.contains("look here"), "a note may be read");
        }
    }
}
