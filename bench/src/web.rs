//! `bench web`: what lists and pages cost with 1,000 DAGs and millions of finished task instances, beside the shortest question
//! that the same database answers through the same pool; and what many clients at once do to the server.

mod clients;
mod history;
mod paint;

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Args;
use local::{
    ports::Ports,
    postgres::Postgres,
    state::{State, postgres_data_of_root},
};
use orchestrator::{
    accounts::{Password, Role},
    commands::{self, By},
    prelude::*,
    store,
};
use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderMap};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{
    standalone::{Dags, PATIENCE, Standalone},
    stopwatch::quantile_ms,
};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many DAGs there are.
    #[arg(long, default_value_t = 1_000)]
    dags: usize,
    /// How many finished task instances, over all DAGs.
    #[arg(long, default_value_t = 3_000_000)]
    finished: i64,
    /// How often each thing is asked for.
    #[arg(long, default_value_t = 200)]
    times: usize,
    /// How many clients ask at once, in the end.
    #[arg(long, default_value_t = 500)]
    clients: usize,
    /// For how many seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// What is printed.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    dags: usize,
    finished: i64,
    /// `select 1` through a pool like the server's.
    select_1_p50_ms: f64,
    select_1_p95_ms: f64,
    /// The way to the server and back: an answer for which it asks neither who it is nor the database.
    way_p50_ms: f64,
    lists: Vec<Figure>,
    paints: Vec<paint::Figure>,
    many_clients: clients::Figures,
    /// The bars that were not reached.
    pub(crate) missed: Vec<String>,
}

/// One thing that was asked for, on one connection, one after the other: as the client sees it.
#[derive(Debug, Serialize)]
struct Figure {
    what: String,
    p50_ms: f64,
    p95_ms: f64,
    /// What the server takes, without the way: of `select 1`, the medians.
    of_select_1: f64,
    /// The same of the 95th percentiles.
    p95_of_select_1: f64,
    /// As it goes over the wire.
    kilobytes: f64,
}

/// Its graph is wide, and it has 25 runs.
const WIDE: (&str, usize) = ("wide", 5_000);

/// It has one run of so many tasks.
const HUGE: (&str, usize) = ("huge", 10_000);

/// It has so many runs of one task.
const BUSY: (&str, i64) = ("busy", 8_000);

/// Tasks of each other DAG.
const TASKS: usize = 10;

/// What is answered to anybody, without a question to the database.
const WAY: &str = "/api/v2/version";

/// What people and programs ask for.
const QUESTIONS: [&str; 14] = [
    "/api/v2/dags?limit=100",
    "/api/v2/dags?limit=100&offset=900",
    "/api/v2/dags/~/dagRuns?limit=100&order_by=-run_after",
    "/api/v2/dags/busy/dagRuns?limit=100&offset=7900",
    "/api/v2/dags/huge/dagRuns/old_1/taskInstances?limit=100",
    "/api/v2/dags/huge/dagRuns/old_1/taskInstances?limit=100&offset=9900",
    "/",
    "/dags",
    "/dags/wide",
    "/dags/wide/graph",
    "/dags/busy/runs",
    "/dags/huge/runs/old_1",
    "/tasks",
    "/tasks?state=failed&q=t7",
];

/// The heaviest pages, which a browser is to paint.
const PAINTED: [&str; 3] = ["/dags/wide", "/dags/busy/runs", "/dags"];

pub(crate) fn dags(count: usize) -> Vec<Dag> {
    let with = |name: &str, tasks: usize| {
        let dag = Dag::new(name).max_active_tasks(tasks as u32).tag(if tasks > TASKS { "large" } else { "small" });
        for number in 0..tasks {
            dag.task(&format!("t{number}"), async |_: Context| TaskResult::Ok(()));
        }
        dag
    };
    let large = [with(WIDE.0, WIDE.1), with(HUGE.0, HUGE.1), with(BUSY.0, 1)];
    let small = (large.len()..count).map(|number| with(&format!("small_{number}"), TASKS));
    small.chain(large).collect()
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<Figures> {
    let folder = std::env::current_dir()?.join("target").join(format!("web-{}", std::process::id()));
    let state = State::take(&folder)?;
    let ports = Ports::free()?;
    let postgres = Postgres::start(&state, ports.postgres).await?;
    let url = postgres.database("web").await?;
    let pool = store::pool(&url, 2)?;
    let dags = Dags::Web { dags: options.dags };
    let standalone = Standalone { state: &state, pool: &pool, url: &url, port: ports.web, dags };
    let figures = measure(&standalone, options).await;
    postgres.stop().await;
    let of_root = postgres_data_of_root(state.root());
    for folder in [folder, of_root] {
        std::fs::remove_dir_all(folder).ok();
    }
    figures
}

async fn measure(standalone: &Standalone<'_>, options: &Options) -> anyhow::Result<Figures> {
    store::migrate(standalone.pool).await?;
    let (process, _) = standalone.start().await?;
    history::write(standalone.pool, options.finished).await?;
    let password = Password::random();
    let client = sign_in(standalone, &password).await?;
    let select_1 = select_1(standalone.pool, options.times).await?;
    let way = format!("{}{WAY}", standalone.address());
    let way_p50_ms = quantile_ms(&timed(&reqwest::Client::new(), &way, options.times).await?.0, 0.5);
    let baseline = Baseline { select_1: &select_1, way_p50_ms };
    let mut lists = Vec::new();
    for path in QUESTIONS {
        lists.push(ask(&client, &standalone.address(), path, options.times, baseline).await?);
    }
    let who = (NAME, password.reveal());
    let paints = paint::of(&PAINTED, &standalone.address(), who, standalone.state.root()).await?;
    let length = Duration::from_secs(options.seconds);
    let many_clients = clients::storm(&client, &standalone.address(), &process, options.clients, length).await?;
    process.stop(PATIENCE).await;
    let missed = [missed(&lists, &many_clients), missed_by_pages(&lists, &paints)].concat();
    Ok(Figures {
        dags: options.dags,
        finished: options.finished,
        select_1_p50_ms: quantile_ms(&select_1, 0.5),
        select_1_p95_ms: quantile_ms(&select_1, 0.95),
        way_p50_ms,
        lists,
        paints,
        many_clients,
        missed,
    })
}

/// What programs ask for all day must take at most so many times what the shortest question takes, at the 95th percentile.
const BAR: f64 = 20.0;

fn missed(lists: &[Figure], many: &clients::Figures) -> Vec<String> {
    let barred = |list: &&Figure| list.what.starts_with("/api/v2/dags?") || list.what.contains("/taskInstances");
    let slow = lists.iter().filter(barred).filter(|list| list.p95_of_select_1 > BAR);
    let mut missed: Vec<_> =
        slow.map(|list| format!("{}: {:.1} times select 1, not {BAR}", list.what, list.p95_of_select_1)).collect();
    if many.errors > 0 {
        missed.push(format!("{} errors", many.errors));
    }
    if many.resident_after_mb > many.resident_warm_mb * 1.1 {
        missed.push(format!("{:.0} MB grew to {:.0}", many.resident_warm_mb, many.resident_after_mb));
    }
    missed
}

/// What the server may take for a page, what goes over the wire, when something is seen, and what its scripts weigh.
const PAGE_MS: f64 = 100.0;
const PAGE_KILOBYTES: f64 = 500.0;
const PAINT_MS: f64 = 300.0;
const SCRIPT_KILOBYTES: f64 = 100.0;

fn missed_by_pages(lists: &[Figure], paints: &[paint::Figure]) -> Vec<String> {
    let pages = lists.iter().filter(|list| PAINTED.contains(&list.what.as_str()));
    let heavy = pages.flat_map(|page| {
        let slow = (page.p50_ms > PAGE_MS).then(|| format!("{}: {:.0} ms, not {PAGE_MS}", page.what, page.p50_ms));
        let large = page.kilobytes > PAGE_KILOBYTES;
        slow.into_iter().chain(large.then(|| format!("{}: {:.0} kB, not {PAGE_KILOBYTES}", page.what, page.kilobytes)))
    });
    let late = paints.iter().flat_map(|page| {
        let late = page.first_paint_p50_ms > PAINT_MS;
        let late = late.then(|| format!("{}: seen after {:.0} ms, not {PAINT_MS}", page.what, page.first_paint_p50_ms));
        let heavy = page.script_kilobytes > SCRIPT_KILOBYTES;
        late.into_iter().chain(heavy.then(|| format!("{}: {:.0} kB of scripts", page.what, page.script_kilobytes)))
    });
    heavy.chain(late).collect()
}

/// Who asks.
const NAME: &str = "bench";

/// A client with a token, as programs have it.
async fn sign_in(standalone: &Standalone<'_>, password: &Password) -> anyhow::Result<reqwest::Client> {
    let mut conn = standalone.pool.acquire().await?;
    commands::create_user(&mut conn, NAME, password, Role::Admin, &By::test()).await?;
    let body = json!({ "username": NAME, "password": password.reveal() });
    let asked = reqwest::Client::new().post(format!("{}/auth/token", standalone.address())).json(&body).send().await?;
    let answer: Value = asked.error_for_status()?.json().await?;
    let token = answer["access_token"].as_str().context("no token")?;
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, format!("Bearer {token}").parse()?);
    headers.insert(ACCEPT_ENCODING, "gzip".parse()?);
    Ok(reqwest::Client::builder().default_headers(headers).timeout(Duration::from_secs(30)).build()?)
}

async fn select_1(pool: &PgPool, times: usize) -> anyhow::Result<Vec<Duration>> {
    let mut took = Vec::with_capacity(times);
    for _ in 0..times {
        let began = Instant::now();
        sqlx::query("select 1").execute(pool).await?;
        took.push(began.elapsed());
    }
    took.sort();
    Ok(took)
}

/// Asks so many times: how long each took, the shortest first, and the bytes of an answer.
async fn timed(client: &reqwest::Client, url: &str, times: usize) -> anyhow::Result<(Vec<Duration>, usize)> {
    let (mut took, mut bytes) = (Vec::with_capacity(times), 0);
    for _ in 0..times {
        let began = Instant::now();
        let answer = client.get(url).send().await?;
        ensure!(answer.status().is_success(), "{url}: {}", answer.status());
        bytes = answer.bytes().await?.len();
        took.push(began.elapsed());
    }
    took.sort();
    Ok((took, bytes))
}

/// What an answer is held against.
#[derive(Clone, Copy)]
struct Baseline<'b> {
    select_1: &'b [Duration],
    way_p50_ms: f64,
}

async fn ask(
    client: &reqwest::Client,
    address: &str,
    path: &str,
    times: usize,
    Baseline { select_1, way_p50_ms }: Baseline<'_>,
) -> anyhow::Result<Figure> {
    let (took, bytes) = timed(client, &format!("{address}{path}"), times).await?;
    let [(p50_ms, of_select_1), (p95_ms, p95_of_select_1)] = [0.5, 0.95].map(|q| {
        let ms = quantile_ms(&took, q);
        (ms, (ms - way_p50_ms) / quantile_ms(select_1, q))
    });
    Ok(Figure {
        what: path.to_owned(),
        p50_ms,
        p95_ms,
        of_select_1,
        p95_of_select_1,
        kilobytes: bytes as f64 / 1_000.0,
    })
}
