//! `GET /metrics`: what Prometheus asks for. What is counted is this process's; what is measured is the database's,
//! whoever is asked.

use std::sync::atomic::AtomicU64;

use axum::{
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use orchestrator::{
    store::{figures, pools},
    worker::Figures,
};
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::ConstCounter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};
use sqlx::PgConnection;

use crate::{App, api::ApiResult};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct InState {
    state: String,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct OfPool {
    pool: String,
    state: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct OfProcess {
    kind: String,
    hostname: String,
    number: i32,
}

pub(crate) async fn show(State(app): State<App>) -> ApiResult<Response> {
    let mut registry = Registry::with_prefix("streamcommerce");
    app.figures.register(&mut registry);
    let mut conn = app.pool.acquire().await?;
    queue(&mut conn, &mut registry).await?;
    slots(&mut conn, &mut registry).await?;
    processes(&mut conn, &mut registry).await?;
    write(&registry)
}

/// What is counted, alone: of a worker without pages. What is measured would be told twice.
pub(crate) async fn show_counted(State(figures): State<Figures>) -> ApiResult<Response> {
    let mut registry = Registry::with_prefix("streamcommerce");
    figures.register(&mut registry);
    write(&registry)
}

fn write(registry: &Registry) -> ApiResult<Response> {
    let mut written = String::new();
    text::encode(&mut written, registry).map_err(anyhow::Error::from)?;
    Ok(([(CONTENT_TYPE, OPEN_METRICS)], written).into_response())
}

async fn queue(conn: &mut PgConnection, registry: &mut Registry) -> sqlx::Result<()> {
    for (name, help, counts) in [
        ("task_instances", "Task instances that are not finished", figures::unfinished_instances(conn).await?),
        ("runs", "Runs that are not finished", figures::active_runs(conn).await?),
    ] {
        let family = Family::<InState, Gauge>::default();
        for count in counts {
            family.get_or_create(&InState { state: count.name }).set(count.number);
        }
        registry.register(name, help, family);
    }
    Ok(())
}

async fn slots(conn: &mut PgConnection, registry: &mut Registry) -> sqlx::Result<()> {
    let family = Family::<OfPool, Gauge>::default();
    for pool in pools::list(conn, None).await? {
        let taken = pool.running + pool.queued + if pool.include_deferred { pool.deferred } else { 0 };
        let open = if pool.slots < 0 { -1 } else { (i64::from(pool.slots) - taken).max(0) };
        for (state, slots) in [
            ("open", open),
            ("running", pool.running),
            ("queued", pool.queued),
            ("scheduled", pool.scheduled),
            ("deferred", pool.deferred),
        ] {
            family.get_or_create(&OfPool { pool: pool.name.clone(), state }).set(slots);
        }
    }
    registry.register("pool_slots", "Slots of pools; -1 open: without limit", family);
    Ok(())
}

async fn processes(conn: &mut PgConnection, registry: &mut Registry) -> sqlx::Result<()> {
    let family = Family::<OfProcess, Gauge<f64, AtomicU64>>::default();
    for beat in figures::heartbeats(conn).await? {
        let process = OfProcess { kind: beat.kind, hostname: beat.hostname, number: beat.number };
        family.get_or_create(&process).set(beat.age_secs);
    }
    registry.register_with_unit("heartbeat_age", "Since a living process was heard", Unit::Seconds, family);
    let commits = ConstCounter::new(figures::commits(conn).await?.cast_unsigned());
    registry.register("database_commits", "Transactions that the database committed", commits);
    Ok(())
}
