//! The life of one attempt: find the body, give it its inputs, let it run, judge how it ended. Read [`execute`] from
//! top to bottom.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use chrono::Utc;
use serde_json::Value;
use tracing::Level;

use super::{
    body::{self, Failure, Setting},
    isolated::{BodyProcess, Isolated},
    reads::NO_BUCKET,
};
use crate::{
    context::{FailWithoutRetry, Skip},
    dag::{Graph, Isolation, Next, Progress, SensorSpec, TaskSpec},
    engine::{Ending, Outcome},
    ids::{Node, ProcessId},
    overflow::{self, Stored},
    retry::{self, FailedTry, delay_before_next_try},
    store::instances::Claim,
    task_log::LogSink,
};

/// What an attempt needs besides its claim.
#[derive(Debug)]
pub struct Attempt {
    /// The worker that runs it.
    pub worker: ProcessId,
    /// What its body needs.
    pub setting: Setting,
    /// How a body gets a process of its own.
    pub body_process: Option<BodyProcess>,
}

/// Runs one attempt.
pub async fn execute(attempt: Attempt, claim: Claim, sink: LogSink) -> Outcome {
    let spec = spec(&attempt, &claim);
    let began = Instant::now();
    let mut process = None;
    // What a body that is stopped leaves behind may panic when it is dropped.
    let end = body::caught(watch(&attempt, &spec, run(&attempt, &claim, &spec, &sink, &mut process))).await;
    // Before the end is told: nothing of this try goes on beside the next one.
    if let Some(process) = process {
        process.stop(&sink).await;
    }
    attempt.setting.at_rest().await;
    let (ending, skips) = match end {
        Ok(Kept { progress: Progress::Done, result, skips }) => (Ending::Success(result), skips),
        Ok(Kept { progress, skips, .. }) => {
            let poked_for = Duration::from_secs_f64(claim.poked_for_secs.unwrap_or(0.0).max(0.0)) + began.elapsed();
            (go_on_later(&progress, &spec.sensor, poked_for, &sink), skips)
        }
        Err(failure) => (judge(failure, &spec, &claim, &sink), Vec::new()),
    };
    sink.close().await;
    Outcome {
        instance: claim.instance,
        attempt: claim.attempt,
        worker: attempt.worker,
        run_key: claim.run_key,
        run_day: claim.run_day,
        version: claim.version,
        node: claim.node,
        map_index: claim.map_index,
        ending,
        skips,
    }
}

/// What a body returned, where the engine can use it.
struct Kept {
    progress: Progress,
    result: Stored,
    skips: Vec<Node>,
}

/// The body, and what its result needs to be kept: all of it within the time that the try has.
async fn run(
    attempt: &Attempt,
    claim: &Claim,
    spec: &TaskSpec,
    sink: &LogSink,
    process: &mut Option<Isolated>,
) -> Result<Kept, Failure> {
    let returned = match spec.isolation {
        Isolation::Worker => body::run(&attempt.setting, claim, sink).await?,
        Isolation::Process => process.insert(Isolated::start(attempt.body_process.as_ref())?).run(claim, sink).await?,
    };
    let graph = attempt.setting.graphs.known(claim.version);
    let skips = graph.as_ref().map_or(Ok(Vec::new()), |graph| skips(graph, claim, &returned.next))?;
    if returned.progress != Progress::Done {
        return Ok(Kept { progress: returned.progress, result: Stored::Inline(Value::Null), skips });
    }
    if let Some(graph) = graph {
        may_be_mapped_over(&graph, claim, &returned.value)?;
    }
    let result = store(attempt, claim, returned.value).await?;
    Ok(Kept { progress: Progress::Done, result, skips })
}

/// What a branch did not choose, as nodes of the run's version. A choice that the graph does not allow fails the try.
fn skips(graph: &Graph, claim: &Claim, next: &Next) -> anyhow::Result<Vec<Node>> {
    if *next == Next::All { Ok(Vec::new()) } else { Ok(graph.skipped_by(claim.node, next)?) }
}

/// Whoever is mapped over a result needs a list, and not too long a one: Airflow's `UnmappableXComTypePushed` and
/// `UnmappableXComLengthPushed` fail the try that returned something else.
fn may_be_mapped_over(graph: &Graph, claim: &Claim, value: &Value) -> anyhow::Result<()> {
    if !graph.is_source(claim.node) || graph.mapped(claim.node).is_some() {
        return Ok(());
    }
    let most = graph.max_map_length();
    let fault = match value {
        Value::Array(items) if items.len() <= most => return Ok(()),
        Value::Array(items) => format!("it has {} items, and max_map_length is {most}", items.len()),
        _ => "it is not a list".to_owned(),
    };
    anyhow::bail!("other tasks cannot be mapped over the result: {fault}")
}

/// What the graph of the run's version says of the task. The settle that claimed has read that graph.
fn spec(attempt: &Attempt, claim: &Claim) -> TaskSpec {
    attempt.setting.graphs.known(claim.version).and_then(|graph| graph.task(claim.node).cloned()).unwrap_or_default()
}

/// Until it ends, its time is over, or it is stopped.
async fn watch<T>(
    attempt: &Attempt,
    spec: &TaskSpec,
    body: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let (timeout, cancelled) = (spec.execution_timeout, &attempt.setting.cancelled);
    tokio::select! {
        end = body => end,
        () = tokio::time::sleep(timeout.unwrap_or(Duration::MAX)), if timeout.is_some() => {
            cancelled.cancel();
            Err(Failure::TimedOut(timeout.unwrap_or_default()))
        }
        () = cancelled.cancelled() => Err(Failure::Cancelled),
    }
}

/// What it waits for has not come. Airflow: one whose time is over has failed, and is not tried again.
fn go_on_later(progress: &Progress, sensor: &SensorSpec, poked_for: Duration, sink: &LogSink) -> Ending {
    if poked_for < sensor.timeout {
        let left = sensor.timeout.saturating_sub(poked_for);
        return match progress {
            Progress::Until(instant) => {
                sink.say(Level::INFO, format!("deferred until {}", instant.to_rfc3339()));
                let delay = (*instant - Utc::now()).to_std().unwrap_or_default();
                Ending::Defer { delay: delay.min(left), signal: None }
            }
            Progress::Signal(key) => {
                sink.say(Level::INFO, format!("deferred until the signal {key} comes"));
                Ending::Defer { delay: left, signal: Some(key.clone()) }
            }
            Progress::NotYet | Progress::Done => {
                sink.say(Level::INFO, format!("not yet; looking again in {:?}", sensor.poke_interval));
                Ending::Reschedule { delay: sensor.poke_interval }
            }
        };
    }
    let cause = format!("looked for {poked_for:.0?}, longer than its timeout of {:?}", sensor.timeout);
    if sensor.soft_fail {
        sink.say(Level::INFO, format!("skipped: {cause}"));
        return Ending::Skipped { cause };
    }
    sink.say(Level::ERROR, format!("failed, and is not tried again: {cause}"));
    Ending::Failed { cause }
}

/// Keeps a result that is too big for the database in the bucket.
async fn store(attempt: &Attempt, claim: &Claim, value: Value) -> anyhow::Result<Stored> {
    let Some(json) = json_beyond_inline(&value) else { return Ok(Stored::Inline(value)) };
    let bytes = json.len();
    if bytes > overflow::BYTES_MAX {
        anyhow::bail!("the task returned {bytes} bytes of JSON; the most that can be kept is {}", overflow::BYTES_MAX);
    }
    let bucket = attempt.setting.overflow.as_ref().with_context(|| {
        let most = overflow::INLINE_BYTES_MAX;
        format!("the task returned {bytes} bytes of JSON; what has more than {most} goes to a bucket, and {NO_BUCKET}")
    })?;
    let object = overflow::object_of(claim);
    bucket.put(&object, json).await.with_context(|| format!("cannot keep the result as {object}"))?;
    Ok(Stored::Object { object, items: value.as_array().and_then(|items| i32::try_from(items.len()).ok()) })
}

/// A value as JSON, if that is more than the database takes; it is not written where the answer is plain.
fn json_beyond_inline(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
        Value::String(text) if text.len() <= overflow::INLINE_BYTES_MAX / 6 => None,
        other => serde_json::to_vec(other).ok().filter(|json| json.len() > overflow::INLINE_BYTES_MAX),
    }
}

/// Turns the failure of a body into the end of the attempt, and says why in the log.
fn judge(failure: Failure, spec: &TaskSpec, claim: &Claim, sink: &LogSink) -> Ending {
    let cause = match failure {
        Failure::Error(error) => {
            if let Some(Skip(why)) = error.downcast_ref() {
                sink.say(Level::INFO, format!("skipped: {why}"));
                return Ending::Skipped { cause: storable(sink, why) };
            }
            let cause = storable(sink, &format!("{error:#}"));
            if error.downcast_ref::<FailWithoutRetry>().is_some() {
                sink.say(Level::ERROR, format!("failed, and is not tried again: {cause}"));
                return Ending::Failed { cause };
            }
            cause
        }
        Failure::Panicked(message) => storable(sink, &format!("the task panicked: {message}")),
        Failure::TimedOut(timeout) => format!("the try took longer than its execution timeout of {timeout:?}"),
        Failure::Cancelled => "the try was stopped".to_owned(),
    };
    match delay_before_next_try(
        &spec.retry,
        failed_try(claim, &retry::identity(&claim.dag_id, &claim.run_id, claim.node, claim.map_index)),
    ) {
        Some(delay) => {
            sink.say(
                Level::ERROR,
                format!("try {} failed, the next one is due in {delay:?}: {cause}", claim.try_number),
            );
            Ending::Retry { delay, cause }
        }
        None => {
            sink.say(Level::ERROR, format!("try {} failed: {cause}", claim.try_number));
            Ending::Failed { cause }
        }
    }
}

fn failed_try<'a>(claim: &Claim, identity: &'a str) -> FailedTry<'a> {
    FailedTry {
        identity,
        try_number: u32::try_from(claim.try_number).unwrap_or(1),
        max_tries: u32::try_from(claim.max_tries).unwrap_or(0),
    }
}

/// A cause as Postgres can store it: without secrets, without the one character that it cannot hold, and of a length that
/// people read.
fn storable(sink: &LogSink, cause: &str) -> String {
    let cause = sink.masked(cause.to_owned());
    cause.chars().take(CAUSE_CHARS_MAX).map(|c| if c == '\0' { '\u{fffd}' } else { c }).collect()
}

/// The log has all of it.
const CAUSE_CHARS_MAX: usize = 4_000;
