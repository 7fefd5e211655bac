//! A DAG run in this process, without a server and without a database: `streamcommerce dags test`, and the tests of a
//! DAG author. Retries are made at once, and the clock is the caller's.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    context::{Context, Facts, FailWithoutRetry, ResultsInMemory, Skip},
    dag::{self, Definition, Returned},
    engine::advance,
    ids::{InstanceKey, Node, RunId, TaskId},
    readiness::Counts,
    state::TaskState,
    store::nodes::NodeRow,
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
    /// How each task ended.
    pub states: BTreeMap<TaskId, TaskState>,
    /// What each task returned.
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
    let results = Arc::new(ResultsInMemory::default());
    let mut states = vec![TaskState::None; graph.tasks().len()];
    let mut skips = vec![Vec::new(); graph.tasks().len()];
    let mut test = TestRun::default();
    loop {
        let steps = advance(graph, &rows(definition, &states, &skips));
        for (node, state) in &steps.ended {
            states[node.0 as usize] = *state;
            tell(Progress::Ended(graph.tasks()[node.0 as usize].task_id.clone(), *state, None));
        }
        let Some(node) = steps.ready.first() else { break };
        let task = &graph.tasks()[node.0 as usize];
        let facts = Facts {
            dag_id: graph.dag_id().clone(),
            run_id: RunId::from(format!("test__{}", at.to_rfc3339())),
            task_id: task.task_id.clone(),
            try_number: 1,
            map_index: -1,
            logical_date: Some(at),
            conf: conf.clone(),
        };
        let (state, returned) = run_task(definition, *node, facts, &results, &mut tell).await;
        states[node.0 as usize] = state;
        if let Some((value, skipped)) = returned {
            skips[node.0 as usize] = skipped;
            if value.is_null() {
                continue;
            }
            results.keep(task.task_id.clone(), value.clone()).await;
            test.results.insert(task.task_id.clone(), value);
        }
    }
    test.leaf_failed = graph.leaves().iter().any(|leaf| states[leaf.0 as usize].is_failure());
    test.states = graph.tasks().iter().map(|task| task.task_id.clone()).zip(states).collect();
    test
}

async fn run_task(
    definition: &Definition,
    node: Node,
    mut facts: Facts,
    results: &Arc<ResultsInMemory>,
    tell: &mut impl FnMut(Progress),
) -> (TaskState, Option<(Value, Vec<Node>)>) {
    let task = &definition.graph().tasks()[node.0 as usize];
    let mut looks = 0;
    let Some(body) = definition.body(&task.task_id) else { return (TaskState::Removed, None) };
    loop {
        tell(Progress::Started(task.task_id.clone(), facts.try_number));
        let results: Arc<ResultsInMemory> = Arc::clone(results);
        let context = Context::new(facts.clone(), results, CancellationToken::new());
        let (end, said) = with_log(body(context)).await;
        for line in said {
            tell(Progress::Said(task.task_id.clone(), line.level.to_owned(), line.message));
        }
        // Nothing else happens while it waits, so it looks again at once, for as many times as its timeout has intervals.
        if matches!(&end, Ok(Returned { progress: dag::Progress::NotYet, .. })) {
            looks += 1;
            let interval = task.sensor.poke_interval.max(Duration::from_millis(1));
            if interval.saturating_mul(looks) < task.sensor.timeout {
                tell(Progress::Retrying(task.task_id.clone(), "not yet".to_owned(), interval));
                continue;
            }
        }
        let end = end.and_then(|returned| {
            if returned.progress == dag::Progress::NotYet {
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

/// The rows that the database would hold for these states.
fn rows(definition: &Definition, states: &[TaskState], skips: &[Vec<Node>]) -> Vec<NodeRow> {
    let graph = definition.graph();
    let count = |node: Node, state| {
        graph.upstream(node).iter().filter(|upstream| states[upstream.0 as usize] == state).count() as i32
    };
    graph
        .nodes()
        .map(|node| NodeRow {
            node,
            counts: Counts {
                upstream: graph.upstream(node).len() as i32,
                success: count(node, TaskState::Success),
                skipped: count(node, TaskState::Skipped),
                failed: count(node, TaskState::Failed),
                upstream_failed: count(node, TaskState::UpstreamFailed),
                removed: count(node, TaskState::Removed),
            },
            state: states[node.0 as usize],
            skips: skips[node.0 as usize].clone(),
        })
        .collect()
}
