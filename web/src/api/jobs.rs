//! `/jobs`: the processes.

use axum::{Json, extract::State, http::Uri};
use orchestrator::store::pages::{
    processes::{self as page, ProcessColumn},
    select::Test,
};

use super::{
    error::ApiResult,
    filters::Filters,
    query::{Params, listed},
    wire,
};
use crate::App;

const ORDERS: [(&str, ProcessColumn); 7] = [
    ("id", ProcessColumn::Number),
    ("state", ProcessColumn::State),
    ("job_type", ProcessColumn::Kind),
    ("start_date", ProcessColumn::StartedAt),
    ("end_date", ProcessColumn::EndedAt),
    ("latest_heartbeat", ProcessColumn::HeartbeatAt),
    ("hostname", ProcessColumn::Hostname),
];

/// Airflow's states of jobs that ours can be in.
pub(crate) const STATES: [(&str, &str); 3] = [("running", "alive"), ("success", "stopped"), ("failed", "lost")];

pub(crate) async fn list(State(app): State<App>, uri: Uri) -> ApiResult {
    let params = Params::of(&uri)?;
    let states = match params.flag("is_alive")? {
        Some(true) => vec!["alive"],
        Some(false) => vec!["stopped", "lost"],
        None => vec![],
    };
    let in_state = params.one("job_state").map(|asked| {
        let ours = STATES.iter().filter(|(name, _)| *name == asked).map(|(_, state)| (*state).to_owned());
        Test::OneOf(ours.collect())
    });
    // As Airflow calls them; a kind that is none of ours has no jobs.
    let kinds = params.all("job_type");
    let kinds = kinds.iter().map(|kind| match kind.as_str() {
        "SchedulerJob" => Some("scheduler"),
        "WorkerJob" => Some("worker"),
        "WebJob" => Some("web"),
        _ => None,
    });
    let Some(kinds) = kinds.collect::<Option<Vec<_>>>() else { return Ok(Json(listed("jobs", vec![], 0))) };
    let filter = Filters::new(&params)
        .any("hostname", ProcessColumn::Hostname)
        .instants("start_date", ProcessColumn::StartedAt)?
        .instants("end_date", ProcessColumn::EndedAt)?
        .when(ProcessColumn::State, in_state)
        .none_has(&["executor_class"], ProcessColumn::Number)
        .order(&ORDERS, &[ProcessColumn::Number])?
        .one_of(ProcessColumn::State, states)
        .one_of(ProcessColumn::Kind, kinds);
    let found = page::list(&mut *app.pool.acquire().await?, &filter, params.page()?).await?;
    Ok(Json(listed("jobs", found.rows.iter().map(wire::job).collect(), found.total)))
}
