//! `/wait`: says where a run is until it has ended, a line of JSON each time.

use std::{collections::BTreeMap, convert::Infallible, time::Duration};

use axum::{
    body::Body,
    extract::State,
    http::{Uri, header},
    response::{IntoResponse, Response},
};
use futures::{StreamExt, stream};
use orchestrator::{
    commands::Refused,
    ids::{DagId, RunId},
    store::pages::{
        Page,
        runs::{self, RunListed},
        xcoms::{self, XcomColumn, XcomFilter},
    },
};
use serde_json::{Value, json};

use super::{
    error::{ApiError, ApiResult},
    path::Path,
    query::Params,
    xcom,
};
use crate::App;

/// Whoever asks for less would ask the database all the time.
const INTERVAL_MIN: Duration = Duration::from_millis(50);

/// What is asked for.
#[derive(Clone)]
struct Wait {
    app: App,
    dag_id: DagId,
    run_id: RunId,
    interval: Duration,
    /// The tasks whose values are told at the end.
    results: Vec<String>,
}

pub(crate) async fn wait(
    State(app): State<App>,
    Path((dag_id, run_id)): Path<(DagId, RunId)>,
    uri: Uri,
) -> ApiResult<Response> {
    let params = Params::of(&uri)?;
    let interval = params
        .number("interval")?
        .ok_or_else(|| ApiError::invalid("missing", json!(["query", "interval"]), "Field required", Value::Null))?;
    let interval =
        Duration::try_from_secs_f64(interval).ok().filter(|interval| !interval.is_zero()).ok_or_else(|| {
            ApiError::invalid(
                "greater_than",
                json!(["query", "interval"]),
                "Input should be greater than 0",
                json!(interval),
            )
        })?;
    let interval = interval.max(INTERVAL_MIN);
    let wait = Wait { app, dag_id, run_id, interval, results: params.all("result") };
    // A run that is not there is told by the status, not by a line.
    let first = wait.find().await?;
    let lines = stream::unfold(Some((wait, Some(first))), next);
    // Compression asks once more after the end.
    let lines = lines.map(Ok::<_, Infallible>).fuse();
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

/// The next line, and what comes after it: nothing, once the run has ended or cannot be read.
async fn next(state: Option<(Wait, Option<RunListed>)>) -> Option<(String, Option<(Wait, Option<RunListed>)>)> {
    let (wait, known) = state?;
    let run = match known {
        Some(run) => Ok(run),
        None => {
            tokio::time::sleep(wait.interval).await;
            wait.find().await
        }
    };
    let (line, is_last) = match run {
        Ok(run) if !run.state.is_finished() => (json!({ "state": run.state.as_str() }), false),
        Ok(run) => (wait.last(&run).await, true),
        Err(_) => (json!({ "error": "the run cannot be read any more" }), true),
    };
    Some((format!("{line}\n"), (!is_last).then_some((wait, None))))
}

impl Wait {
    async fn find(&self) -> ApiResult<RunListed> {
        let run = runs::get(&mut *self.app.pool.acquire().await?, &self.dag_id, &self.run_id).await?;
        Ok(run.ok_or_else(|| Refused::NoRun(self.dag_id.clone(), self.run_id.clone()))?)
    }

    async fn last(&self, run: &RunListed) -> Value {
        let mut line = json!({ "state": run.state.as_str() });
        if !self.results.is_empty() {
            match self.values().await {
                Ok(values) => line["results"] = json!(values),
                Err(_) => line["error"] = json!("the results cannot be read"),
            }
        }
        line
    }

    /// What each task returned; a mapped one, a list.
    async fn values(&self) -> ApiResult<BTreeMap<String, Value>> {
        let filter = XcomFilter::default()
            .only(XcomColumn::DagId, &self.dag_id)
            .only(XcomColumn::RunId, &self.run_id)
            .only(XcomColumn::Key, "return_value")
            .one_of(XcomColumn::TaskId, &self.results)
            .order_by(XcomColumn::MapIndex, orchestrator::store::pages::select::Direction::Ascending);
        let mut conn = self.app.pool.acquire().await?;
        let mut values = BTreeMap::new();
        for entry in xcoms::list(&mut conn, &filter, Page { limit: i64::MAX, offset: 0 }).await?.rows {
            let value = xcom::value(&self.app, &mut conn, &entry).await?;
            match entry.map_index < 0 {
                true => drop(values.insert(entry.task_id.to_string(), value)),
                false => {
                    let list = values.entry(entry.task_id.to_string()).or_insert_with(|| json!([]));
                    list.as_array_mut().into_iter().for_each(|list| list.push(value.clone()));
                }
            }
        }
        Ok(values)
    }
}
