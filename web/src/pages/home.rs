//! What needs attention now, what is at work, and what comes next.

use askama::Template;
use axum::{Extension, extract::State, response::Redirect};
use chrono::{DateTime, TimeDelta, Utc};
use orchestrator::{
    accounts::Sight,
    ids::DagId,
    store::{
        self,
        figures::{self, Count},
        pages::{
            Page as Part,
            dags::{self, DagColumn, DagFilter},
            home::{self as page, FailedRun, Line, RunningRun, Unstarted, Untaken},
            processes::{self, ProcessColumn, ProcessFilter},
            select::Direction,
        },
        pools::{self, PoolListed},
    },
};
use sqlx::PgConnection;

use super::{
    links,
    page::{Frame, Page, PageError},
    streaming::Worker,
    ticking::{Away, Took},
    words::{self, Moment, grouped},
};
use crate::App;

/// Rows of a card.
const ROWS: i64 = 6;

/// Pools on the page.
const POOLS: usize = 4;

/// Runs that are read for a card, to be told together.
const READ: i64 = 200;

/// How long a DAG may be late, and a task may wait for a worker, before that needs attention.
const PATIENCE: TimeDelta = TimeDelta::minutes(1);

#[derive(Template)]
#[template(path = "home.html")]
pub(crate) struct HomePage {
    now: DateTime<Utc>,
    failed: Vec<Failure>,
    failures: i64,
    running: Vec<Busy>,
    lines: Vec<Line>,
    untaken: Vec<Untaken>,
    unstarted: Vec<Unstarted>,
    late: Vec<Coming>,
    next: Vec<Coming>,
    lost: i64,
    streaming: Vec<Worker>,
    /// Those that are fullest.
    pools: Vec<PoolListed>,
    alive: Vec<(&'static str, usize)>,
    instances: Vec<Count>,
    runs: Vec<Count>,
}

/// Runs of a DAG that failed by the same.
struct Failure {
    /// The latest of them.
    latest: FailedRun,
    runs: usize,
}

/// Runs of a DAG that are at work.
struct Busy {
    /// The longest of them.
    longest: RunningRun,
    runs: usize,
}

/// A DAG whose run is to come.
struct Coming {
    dag_id: DagId,
    link: String,
    at: Moment,
    away: Away,
}

impl Frame for HomePage {
    const SECTION: &'static str = "home";

    fn is_live(&self) -> bool {
        true
    }
}

impl HomePage {
    fn is_well(&self) -> bool {
        self.failed.is_empty()
            && self.late.is_empty()
            && self.untaken.is_empty()
            && self.missing().is_none()
            && self.troubles().next().is_none()
    }

    /// The kinds of process without which nothing goes on and that are not there.
    fn missing(&self) -> Option<String> {
        let missing: Vec<_> = self.alive.iter().filter(|(_, count)| *count == 0).map(|(kind, _)| *kind).collect();
        (!missing.is_empty()).then(|| missing.join(" and no "))
    }

    /// The streaming workers that somebody should look after, and why.
    fn troubles(&self) -> impl Iterator<Item = (&str, String)> {
        self.streaming.iter().filter_map(|worker| Some((worker.name.as_str(), worker.trouble(self.now)?)))
    }

    /// Records that no streaming worker has read.
    fn lag(&self) -> String {
        grouped(self.streaming.iter().fold(0, |sum: i64, worker| sum.saturating_add(worker.lag(self.now))))
    }

    /// Where one sees why a run failed.
    fn why(&self, run: &FailedRun) -> String {
        match &run.task_id {
            Some(task) => links::task(&run.dag_id, &run.run_id, task, run.map_index.unwrap_or(-1)),
            None => links::run(&run.dag_id, &run.run_id),
        }
    }

    /// How many runs are in a state.
    fn runs_that_are(&self, state: &str) -> i64 {
        self.runs.iter().find(|count| count.name == state).map_or(0, |count| count.number)
    }

    /// Where one sees the runs that are at work.
    fn of_busy(&self, busy: &Busy) -> String {
        match busy.runs {
            1 => links::run(&busy.longest.dag_id, &busy.longest.run_id),
            _ => format!("{}/runs?state=running", links::dag(&busy.longest.dag_id)),
        }
    }

    /// What a line is for.
    fn gate(&self, line: &Line) -> String {
        let gate = line.gate.as_str();
        match gate.split_once(':') {
            Some(("pool", name)) => format!("the pool {name}"),
            Some((_, task)) => format!("others of {task} (max_active_tis_per_dag)"),
            None => "others of their run (max_active_tasks), or until their DAG is unpaused".to_owned(),
        }
    }

    /// The tasks that stand in it.
    fn of_line(&self, line: &Line) -> String {
        let gate = line.gate.as_str();
        let pool = gate.strip_prefix("pool:").unwrap_or_default();
        let (dag, task) = gate.strip_prefix("task:").and_then(|of| of.rsplit_once('/')).unwrap_or_default();
        let pairs = [("state", "scheduled"), ("pool", pool), ("dag", dag), ("q", task)];
        format!("/tasks{}", links::query(&pairs))
    }

    fn since(&self, at: &DateTime<Utc>) -> Took {
        Took::since(*at, self.now)
    }

    fn ago(&self, at: &DateTime<Utc>) -> Away {
        Away { at: *at, now: self.now }
    }
}

/// Those who do not see everything see their DAGs instead.
pub(crate) async fn show(
    State(app): State<App>,
    Extension(sight): Extension<Sight>,
) -> Result<Result<Page<HomePage>, Redirect>, PageError> {
    if sight != Sight::Everything {
        return Ok(Err(Redirect::to("/dags")));
    }
    let mut conn = app.pool.acquire().await?;
    let now = store::now(&mut conn).await?;
    let (late, next) = coming(&mut conn, now).await?;
    let alive = ProcessFilter::default().only(ProcessColumn::State, "alive");
    let alive = processes::list(&mut conn, &alive, Part { limit: 1_000, offset: 0 }).await?.rows;
    let lost = ProcessFilter::default().only(ProcessColumn::State, "lost");
    let count = |kind: &str| alive.iter().filter(|process| process.kind.as_str() == kind).count();
    Ok(Ok(Page(HomePage {
        failures: page::count_failed(&mut conn, now - TimeDelta::days(1)).await?,
        failed: failures(page::failed_runs(&mut conn, now - TimeDelta::days(1), READ).await?),
        running: busy(page::running(&mut conn, READ).await?),
        lines: page::lines(&mut conn).await?,
        untaken: page::untaken(&mut conn, now - PATIENCE).await?,
        unstarted: page::unstarted(&mut conn, now - PATIENCE, ROWS).await?,
        lost: processes::list(&mut conn, &lost, Part { limit: 0, offset: 0 }).await?.total,
        alive: ["scheduler", "worker"].map(|kind| (kind, count(kind))).to_vec(),
        instances: figures::unfinished_instances(&mut conn).await?,
        runs: figures::active_runs(&mut conn).await?,
        streaming: Worker::all(&mut conn).await?,
        pools: fullest(pools::list(&mut conn, None).await?),
        late,
        next,
        now,
    })))
}

/// One row for what failed alike: a DAG that fails all the time hides no other.
fn failures(runs: Vec<FailedRun>) -> Vec<Failure> {
    let mut failures: Vec<Failure> = Vec::new();
    for run in runs {
        let alike = |known: &&mut Failure| (&known.latest.dag_id, &known.latest.task_id) == (&run.dag_id, &run.task_id);
        match failures.iter_mut().find(alike) {
            Some(known) => known.runs += 1,
            None => failures.push(Failure { latest: run, runs: 1 }),
        }
    }
    failures.truncate(ROWS as usize);
    failures
}

fn fullest(mut pools: Vec<PoolListed>) -> Vec<PoolListed> {
    pools.sort_by_key(|pool| std::cmp::Reverse((pool.taken_permille(), pool.taken())));
    pools.truncate(POOLS);
    pools
}

fn busy(runs: Vec<RunningRun>) -> Vec<Busy> {
    let mut busy: Vec<Busy> = Vec::new();
    for run in runs {
        match busy.iter_mut().find(|known| known.longest.dag_id == run.dag_id) {
            Some(known) => known.runs += 1,
            None => busy.push(Busy { longest: run, runs: 1 }),
        }
    }
    busy.truncate(ROWS as usize);
    busy
}

/// The DAGs that are late, and those that come next.
async fn coming(conn: &mut PgConnection, now: DateTime<Utc>) -> sqlx::Result<(Vec<Coming>, Vec<Coming>)> {
    let filter = DagFilter::default().only(DagColumn::IsPaused, false);
    let filter = filter.order_by(DagColumn::NextRun, Direction::Ascending);
    let listed = dags::list(conn, &filter, Part { limit: ROWS, offset: 0 }).await?.rows;
    let coming = listed.into_iter().filter_map(|dag| {
        let at = dag.next_run_at?;
        Some((at, Coming { link: links::dag(&dag.dag_id), at: at.into(), away: Away { at, now }, dag_id: dag.dag_id }))
    });
    let (late, next): (Vec<_>, Vec<_>) = coming.partition(|(at, _)| *at < now - PATIENCE);
    let without = |all: Vec<(DateTime<Utc>, Coming)>| all.into_iter().map(|(_, coming)| coming).collect();
    Ok((without(late), without(next)))
}
