//! What the API is, for programs (`/openapi.json`) and people (`/docs`).

mod document;
mod page;
mod routes;
pub(crate) mod unserved;

use std::sync::Arc;

use axum::{Extension, Json, Router, routing::get};
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::{App, api::ApiResult};

/// The document, made when somebody asks for it first.
#[derive(Clone, Debug)]
struct Document {
    api: Router,
    made: Arc<OnceCell<Arc<Value>>>,
}

impl Document {
    async fn get(&self) -> anyhow::Result<Arc<Value>> {
        let make = async || {
            let contract = document::contract()?;
            let paths = contract["paths"].as_object().map(|paths| paths.keys().cloned().collect()).unwrap_or_default();
            let served = routes::served(self.api.clone(), paths).await;
            anyhow::Ok(Arc::new(document::of(contract, &served)))
        };
        self.made.get_or_try_init(make).await.cloned()
    }
}

/// The routes, of a document that describes `api`.
pub(crate) fn routes(api: Router) -> Router<App> {
    let document = Document { api, made: Arc::default() };
    Router::new().route("/openapi.json", get(json)).route("/docs", get(page::show)).layer(Extension(document))
}

async fn json(Extension(document): Extension<Document>) -> ApiResult {
    Ok(Json(Value::clone(&*document.get().await?)))
}
