//! `/dagStats` and `/dagTags`.

use std::collections::BTreeMap;

use axum::{Extension, Json, extract::State, http::Uri};
use orchestrator::{
    accounts::Sight,
    ids::DagId,
    state::RunState,
    store::pages::{
        dags::{self as page, StateCount},
        settings::{self, Name},
    },
};
use serde_json::{Value, json};

use super::{
    error::ApiResult,
    filters::Filters,
    query::{Params, listed},
};
use crate::App;

/// How many runs each DAG has in each state.
pub(crate) async fn dags(State(app): State<App>, Extension(sight): Extension<Sight>, uri: Uri) -> ApiResult {
    let counts = match sight.among(Params::of(&uri)?.all("dag_ids")) {
        Some(wanted) => page::count_states(&mut *app.pool.acquire().await?, &wanted).await?,
        None => Vec::new(),
    };
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
    let filter = Filters::new(&params).pattern("tag_name", Name).order(&[("name", Name)], &[])?;
    let found = settings::tags(&mut *app.pool.acquire().await?, &filter, params.page()?).await?;
    Ok(Json(listed("tags", found.rows.into_iter().map(Value::from).collect(), found.total)))
}
