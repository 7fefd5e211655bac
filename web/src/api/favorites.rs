//! The DAGs that somebody has marked as theirs.

use axum::{Extension, extract::State, http::StatusCode};
use orchestrator::{commands::By, ids::DagId, store::favorites};

use super::{
    dags::find,
    error::{ApiError, ApiResult},
    path::Path,
};
use crate::App;

pub(crate) async fn favorite(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path(dag_id): Path<DagId>,
) -> ApiResult<StatusCode> {
    let mut conn = app.pool.acquire().await?;
    let dag = find(&mut conn, dag_id).await?;
    favorites::insert(&mut conn, by.user.as_deref(), &dag.dag_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn unfavorite(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path(dag_id): Path<DagId>,
) -> ApiResult<StatusCode> {
    let mut conn = app.pool.acquire().await?;
    let dag = find(&mut conn, dag_id).await?;
    if favorites::delete(&mut conn, by.user.as_deref(), &dag.dag_id).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(ApiError::new(StatusCode::CONFLICT, "Dag is not marked as favorite"))
    }
}
