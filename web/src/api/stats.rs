//! `/dagStats` and `/dagTags`.

use std::collections::BTreeMap;

use axum::{Json, extract::State, http::Uri};
use orchestrator::{
    ids::DagId,
    state::RunState,
    store::pages::dags::{self as page, StateCount},
};
use serde_json::{Value, json};

use super::{
    error::{ApiError, ApiResult},
    query::{Params, listed},
};
use crate::App;

/// How many runs each DAG has in each state.
pub(crate) async fn dags(State(app): State<App>, uri: Uri) -> ApiResult {
    let wanted = Params::of(&uri)?.all("dag_ids");
    let counts = page::count_states(&mut *app.pool.acquire().await?, &wanted).await?;
    let mut by_dag: BTreeMap<DagId, Vec<StateCount>> = BTreeMap::new();
    for count in counts {
        by_dag.entry(count.dag_id.clone()).or_default().push(count);
    }
    let rows: Vec<_> = by_dag.into_iter().map(|(dag, counts)| write(&dag, &counts)).collect();
    let total = rows.len() as i64;
    Ok(Json(listed("dags", rows, total)))
}

fn write(dag: &DagId, counts: &[StateCount]) -> Value {
    let count = |state| counts.iter().find(|count| count.state == state).map_or(0, |count| count.runs);
    let stats = RunState::ALL.map(|state| json!({ "state": state.as_str(), "count": count(state) }));
    json!({ "dag_id": dag, "dag_display_name": dag, "stats": stats })
}

/// The tags of all DAGs.
pub(crate) async fn tags(State(app): State<App>, uri: Uri) -> ApiResult {
    let params = Params::of(&uri)?;
    let page = params.page()?;
    let mut tags = page::tags(&mut *app.pool.acquire().await?).await?;
    if let Some(text) = params.one("tag_name_pattern").filter(|text| *text != "~") {
        let text = text.trim_matches('%').to_lowercase();
        tags.retain(|tag| tag.to_lowercase().contains(&text));
    }
    if let Some(text) = params.one("tag_name_prefix_pattern") {
        tags.retain(|tag| tag.starts_with(text));
    }
    match params.one("order_by") {
        None | Some("name") => {}
        Some("-name") => tags.reverse(),
        Some(other) => {
            let attribute = other.trim_start_matches('-');
            let text =
                format!("Ordering with '{attribute}' is disallowed or the attribute does not exist on the model");
            return Err(ApiError::bad_request(text));
        }
    }
    let total = tags.len() as i64;
    let rows = tags.into_iter().skip(page.offset as usize).take(page.limit as usize);
    Ok(Json(listed("tags", rows.map(Value::from).collect(), total)))
}
