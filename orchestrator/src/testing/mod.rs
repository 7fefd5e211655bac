//! A DAG run in this process, without a server and without a database: `streamcommerce dags test`, and the tests of a
//! DAG author. Retries are made at once, and the clock is the caller's.

mod book;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::book::{Book, ReadsBook};
use crate::{
    context::{Context, Facts, FailWithoutRetry, Skip, TaskResult},
    dag::{self, Body, Definition, Returned},
    ids::{InstanceKey, Node, RunId, TaskId},
    state::{RunType, TaskState},
    store::run_dates::RunDates,
    task_log::{self, LogLine, LogOf, LogSink},
};

/// What a test run tells while it goes on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Progress {
    /// A try begins.
    Started(TaskId, u32),
    /// A task said something.
    Said(TaskId, String, String),
    /// A try failed, and the next one follows at once (in production: after this delay).
    Retrying(TaskId, String, Duration),
    /// A task ended.
    Ended(TaskId, TaskState, Option<String>),
}

/// The end of a test run.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct TestRun {
    /// How each task ended; of a mapped one, the worst that happened to an instance.
    pub states: BTreeMap<TaskId, TaskState>,
    /// What each task returned; of a mapped one, the list of what its instances did.
    pub results: BTreeMap<TaskId, Value>,
    leaf_failed: bool,
}

impl TestRun {
    /// Whether no leaf failed: Airflow's verdict.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        !self.leaf_failed
    }
}

/// Runs the tasks of a DAG one after the other, in an order that its edges allow.
pub async fn run(definition: &Definition, at: DateTime<Utc>, conf: Value, mut tell: impl FnMut(Progress)) -> TestRun {
    let graph = definition.graph();
    let dates = dates_of(at);
    let mut book = Book::new(Arc::clone(graph), dates.clone());
    loop {
        let (ready, ended) = book.advance();
        for (node, state) in ended {
            tell(Progress::Ended(graph.tasks()[node.0 as usize].task_id.clone(), state, None));
        }
        let Some((node, map_index)) = ready.first().copied() else { break };
        let facts = Facts {
            dag_id: graph.dag_id().clone(),
            run_id: dates.run_id.clone(),
            task_id: graph.tasks()[node.0 as usize].task_id.clone(),
            try_number: 1,
            map_index,
            logical_date: Some(at),
            conf: conf.clone(),
            params: graph.params().map_or(Value::Null, |params| params.with_conf(&conf)),
        };
        let results = Arc::new(book.results((node, map_index)));
        let (state, returned) = run_task(definition, node, facts, &results, &mut tell).await;
        book.set((node, map_index), state);
        if let Some((value, skips)) = returned {
            book.keep((node, map_index), value, skips);
        }
    }
    let named = || graph.nodes().zip(graph.tasks()).map(|(node, task)| (node, task.task_id.clone()));
    TestRun {
        states: named().map(|(node, task)| (task, book.state(node))).collect(),
        results: named().filter_map(|(node, task)| Some((task, book.result(node)?))).collect(),
        leaf_failed: graph.leaves().into_iter().any(|leaf| book.state(leaf).is_failure()),
    }
}

/// Those of a manual run that starts now.
fn dates_of(at: DateTime<Utc>) -> RunDates {
    RunDates {
        run_id: RunId::from(format!("test__{}", at.to_rfc3339())),
        run_type: RunType::Manual,
        logical_date: Some(at),
        run_after: at,
        start_date: Some(Utc::now()),
        end_date: None,
        data_interval_start: Some(at),
        data_interval_end: Some(at),
    }
}

async fn run_task(
    definition: &Definition,
    node: Node,
    mut facts: Facts,
    results: &Arc<ReadsBook>,
    tell: &mut impl FnMut(Progress),
) -> (TaskState, Option<(Value, Vec<Node>)>) {
    let task = &definition.graph().tasks()[node.0 as usize];
    let mut looks = 0;
    let Some(body) = definition.body(&task.task_id) else { return (TaskState::Removed, None) };
    loop {
        tell(Progress::Started(task.task_id.clone(), facts.try_number));
        let (end, said) = run_body(body, facts.clone(), results).await;
        for line in said {
            tell(Progress::Said(task.task_id.clone(), line.level.to_owned(), line.message));
        }
        // Nothing else happens while it waits, so it looks again at once, for as many times as its timeout has intervals.
        if matches!(&end, Ok(Returned { progress, .. }) if *progress != dag::Progress::Done) {
            looks += 1;
            let interval = task.sensor.poke_interval.max(Duration::from_millis(1));
            if interval.saturating_mul(looks) < task.sensor.timeout {
                tell(Progress::Retrying(task.task_id.clone(), "not yet".to_owned(), interval));
                continue;
            }
        }
        let end = end.and_then(|returned| {
            if returned.progress != dag::Progress::Done {
                let cause = format!("looked in vain {looks} times");
                return Err(if task.sensor.soft_fail { Skip(cause).into() } else { FailWithoutRetry(cause).into() });
            }
            let skips = definition.graph().skipped_by(node, &returned.next)?;
            Ok((returned.value, skips))
        });
        let error = match end {
            Ok(returned) => {
                tell(Progress::Ended(task.task_id.clone(), TaskState::Success, None));
                return (TaskState::Success, Some(returned));
            }
            Err(error) => error,
        };
        let cause = format!("{error:#}");
        if error.downcast_ref::<Skip>().is_some() {
            tell(Progress::Ended(task.task_id.clone(), TaskState::Skipped, Some(cause)));
            return (TaskState::Skipped, None);
        }
        if facts.try_number > task.retry.retries || error.downcast_ref::<FailWithoutRetry>().is_some() {
            tell(Progress::Ended(task.task_id.clone(), TaskState::Failed, Some(cause)));
            return (TaskState::Failed, None);
        }
        tell(Progress::Retrying(task.task_id.clone(), cause, task.retry.delay));
        facts.try_number += 1;
    }
}

/// Lines that a try may say in a test run before the rest is left out.
const LINES_MAX: usize = 10_000;

/// One try of it, with what it has left to be seen through, and what it said.
async fn run_body(body: &Body, facts: Facts, results: &Arc<ReadsBook>) -> (TaskResult<Returned>, Vec<LogLine>) {
    let (results, cancelled, endings) =
        (Arc::<ReadsBook>::clone(results), CancellationToken::new(), TaskTracker::new());
    let context = Context::new(facts, results, cancelled.clone(), endings.clone());
    with_log(async {
        let end = body(context).await;
        cancelled.cancel();
        endings.close();
        endings.wait().await;
        end
    })
    .await
}

async fn with_log<F: Future>(body: F) -> (F::Output, Vec<LogLine>) {
    let (sender, mut lines) = mpsc::channel(LINES_MAX);
    let of = LogOf { instance: InstanceKey(0), try_number: 1, run_day: chrono::NaiveDate::default() };
    let end = task_log::scope(LogSink::new(of, sender), body).await;
    let mut said = Vec::new();
    while let Ok((_, line)) = lines.try_recv() {
        said.push(line);
    }
    (end, said)
}
