//! The router on a real Postgres, with a scheduler and a worker behind it.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Method, Request, StatusCode},
};
use orchestrator::{
    dag::Registry,
    engine::Graphs,
    prelude::*,
    scheduler::{Scheduler, register},
    secrets::{Keys, new_key},
    store,
    wake::Wake,
    worker::{Figures, Settings, Worker},
};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use web::{Access, App, Entrance};

pub(crate) struct World {
    router: Router,
    pub(crate) app: App,
    pub(crate) keys: Keys,
    stop: CancellationToken,
}

pub(crate) const HOSTILE: &str = "<script>alert('dag')</script>";

async fn boom(_: Context) -> TaskResult<()> {
    anyhow::bail!("boom on purpose: {HOSTILE}")
}

async fn extract(_: Context) -> TaskResult<Value> {
    Ok(json!({ "rows": 3 }))
}

async fn load(_: Context, _rows: Value) -> TaskResult<()> {
    Ok(())
}

async fn nothing(_: Context) -> TaskResult<()> {
    Ok(())
}

fn three_dags() -> Vec<Dag> {
    let dag = Dag::new("example").description(HOSTILE).tag("b").tag("a").schedule(Schedule::cron("@daily"));
    dag.chain(dag.task("ok", nothing) >> dag.task("boom", boom) >> dag.task("after", nothing));
    let typed = Dag::new("typed").source("// what its author wrote").tag("c");
    let rows = typed.task("extract", extract).outlet("orders");
    typed.task("load", load.with(rows));
    let consumer = Dag::new("consumer").schedule(Schedule::any_asset(["orders"]));
    let group = consumer.group("all");
    consumer.chain(group.task("consume", nothing) >> consumer.task("tell", nothing));
    vec![dag, typed, consumer]
}

impl World {
    /// With a scheduler and a worker, as in `standalone`.
    pub(crate) async fn new(pool: PgPool) -> Self {
        Self::with(pool, Access::Loopback).await
    }

    pub(crate) async fn with(pool: PgPool, entrance: impl Into<Entrance>) -> Self {
        Self::of(pool, entrance, three_dags()).await
    }

    pub(crate) async fn of(pool: PgPool, entrance: impl Into<Entrance>, dags: Vec<Dag>) -> Self {
        let registry = Arc::new(Registry::build(dags).unwrap());
        let mut conn = pool.acquire().await.unwrap();
        store::ensure_partitions(&mut conn).await.unwrap();
        register(&mut conn, &registry).await.unwrap();
        let (graphs, wake, stop) = (Graphs::default(), Wake::default(), CancellationToken::new());
        let scheduler = Scheduler::new(pool.clone(), Arc::clone(&registry), graphs.clone(), wake.clone());
        tokio::spawn(scheduler.run(stop.clone()));
        let figures = Figures::default();
        let settings = Settings { figures: figures.clone(), ..Settings::default() };
        let worker = Worker::new(pool.clone(), registry, graphs.clone(), wake.clone(), settings);
        tokio::spawn(worker.run(stop.clone()));
        let keys = Keys::parse(&new_key()).unwrap();
        let app = App { pool: pool.into(), graphs, wake, keys: keys.clone(), overflow: None, figures };
        Self { router: web::router(app.clone(), entrance), app, keys, stop }
    }

    pub(crate) fn router(&self) -> Router {
        self.router.clone()
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> (StatusCode, String) {
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let status = answer.status();
        let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    pub(crate) async fn page(&self, path: &str) -> (StatusCode, String) {
        self.send(request(Method::GET, path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        let (status, body) = self.page(&format!("/api/v2{path}")).await;
        (status.as_u16(), serde_json::from_str(&body).unwrap())
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: &str) -> (u16, Value) {
        let request = request(method, &format!("/api/v2{path}")).header("content-type", "application/json");
        let (status, body) = self.send(request.body(Body::from(body.to_owned())).unwrap()).await;
        // 204 has no body.
        let body = if body.is_empty() { Value::Null } else { serde_json::from_str(&body).unwrap() };
        (status.as_u16(), body)
    }

    pub(crate) async fn ends(&self, run: &str) -> Value {
        self.ends_of("example", run).await
    }

    pub(crate) async fn ends_of(&self, dag: &str, run: &str) -> Value {
        let ended = tokio::time::timeout(Duration::from_secs(60), async {
            loop {
                let (_, found) = self.get(&format!("/dags/{dag}/dagRuns/{run}")).await;
                if found["state"] == "success" || found["state"] == "failed" {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        ended.await.unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(crate) fn request(method: Method, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path).header("host", "localhost:8080")
}
