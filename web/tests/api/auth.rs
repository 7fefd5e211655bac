//! Who comes in, and what they may do.

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use orchestrator::{
    accounts::{Identity, Password, Role},
    commands::{self, By},
    secrets::{Keys, new_key},
};
use serde_json::{Value, json};
use sqlx::PgPool;
use tower::ServiceExt;
use web::{Access, App, Entrance};

use crate::world::{World, request};

const PASSWORD: &str = "correct horse";

/// One user of each role, whose names are those of the roles.
pub(crate) async fn with_users(pool: &PgPool) -> World {
    let world = World::with(pool.clone(), Access::Users).await;
    let mut conn = pool.acquire().await.unwrap();
    let password = Password::from(PASSWORD.to_owned());
    for role in Role::ALL {
        commands::create_user(&mut conn, role.as_str(), &password, role, &By::test()).await.unwrap();
    }
    world
}

impl World {
    pub(crate) async fn token(&self, username: &str, password: &str) -> (u16, Value) {
        let body = json!({ "username": username, "password": password }).to_string();
        let post = request(Method::POST, "/auth/token").header("content-type", "application/json");
        let (status, body) = self.send(post.body(Body::from(body)).unwrap()).await;
        (status.as_u16(), serde_json::from_str(&body).unwrap())
    }

    /// Signs in, and gives what stands for the user in the header of a request.
    pub(crate) async fn bearer(&self, username: &str) -> String {
        let (status, answer) = self.token(username, PASSWORD).await;
        assert_eq!(status, 201, "{answer}");
        format!("Bearer {}", answer["access_token"].as_str().unwrap())
    }

    pub(crate) async fn call_as(&self, bearer: &str, method: Method, path: &str, body: &str) -> (u16, Value) {
        let request = request(method, path).header("authorization", bearer).header("content-type", "application/json");
        let (status, body) = self.send(request.body(Body::from(body.to_owned())).unwrap()).await;
        (status.as_u16(), if body.is_empty() { Value::Null } else { serde_json::from_str(&body).unwrap() })
    }

    pub(crate) async fn answer(&self, request: Request<Body>) -> (StatusCode, HeaderMap, String) {
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
    for (query, total) in [("pattern=SE", 1), ("prefix_pattern=us", 1), ("prefix_pattern=se", 0), ("pattern=admin", 0)]
    {
        let path = format!("/api/v2/dags/~/dagRuns?triggering_user_name_{query}");
        let (_, runs) = world.call_as(&admin, Method::GET, &path, "").await;
        assert_eq!(runs["total_entries"], total, "{query}");
    }
    let (status, answer) = world.call_as(&admin, Method::DELETE, "/api/users/admin", "").await;
    assert_eq!(status, 409, "the last admin stays: {answer}");
    let (status, _) = world.call_as(&admin, Method::PATCH, "/api/users/ada", r#"{"role": "admin"}"#).await;
    assert_eq!(status, 200);
    assert_eq!(world.call_as(&admin, Method::DELETE, "/api/users/admin", "").await.0, 204);
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

    // An admin takes away what somebody else has lost.
    let admin = world.bearer("admin").await;
    let (_, made) = world.call_as(&user, Method::POST, "/api/tokens", make).await;
    let lost = format!("Bearer {}", made["token"].as_str().unwrap());
    for (asks, seen) in [(&other, 403), (&user, 403), (&admin, 200)] {
        assert_eq!(world.call_as(asks, Method::GET, "/api/users/user/tokens", "").await.0, seen);
    }
    let (_, listed) = world.call_as(&admin, Method::GET, "/api/users/user/tokens", "").await;
    let id = listed["tokens"][0]["id"].to_string();
    assert!(listed["tokens"][0]["name"] == "nightly" && !listed.to_string().contains("sc_"), "{listed}");
    for (path, answer) in [("nobody/tokens/1", 404), ("op/tokens/1", 404)] {
        assert_eq!(world.call_as(&admin, Method::DELETE, &format!("/api/users/{path}"), "").await.0, answer, "{path}");
    }
    assert_eq!(world.call_as(&admin, Method::DELETE, &format!("/api/users/user/tokens/{id}"), "").await.0, 204);
    assert_eq!(world.call_as(&lost, Method::GET, "/api/v2/dags", "").await.0, 403);

    // Another password ends all that stood for the user.
    let (_, made) = world.call_as(&user, Method::POST, "/api/tokens", make).await;
    let token = format!("Bearer {}", made["token"].as_str().unwrap());
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
            let offers = [r#"method="post""#, "/act/", "/trigger\"", "/delete\"", "/runs/chosen", r#"name="run" "#];
            // Everybody has favorites, and chooses the colours.
            let favorite = |dag| format!(r#"method="post" action="/dags/{dag}/favorite""#);
            let page = ["example", "typed", "consumer"].iter().fold(page, |page, dag| page.replace(&favorite(dag), ""));
            let page = page.replace(r#"method="post" action="/theme""#, "");
            let offered: Vec<_> = offers.into_iter().filter(|offer| page.contains(offer)).collect();
            assert_eq!(!offered.is_empty(), may, "{role} at {path}: {offered:?}");
            assert!(!path.ends_with("/one") || page.contains("look here"), "a note may be read");
        }
    }
}
