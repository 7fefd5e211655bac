//! The API without a socket, for the program that has it: the command line on the database.

use anyhow::Context;
use axum::{
    Extension, Router,
    body::{Body, to_bytes},
    http::{Request, header},
};
use orchestrator::{accounts::Sight, commands::By};
use serde_json::Value;
use tower::ServiceExt;

use crate::{App, api, auth};

/// The API for whoever may run the program on the database: they may do everything.
#[derive(Clone, Debug)]
pub struct Own(Router);

/// What it says.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status of HTTP.
    pub status: u16,
    /// The body.
    pub text: String,
}

impl Own {
    /// That of an app.
    #[must_use]
    pub fn new(app: App) -> Self {
        let routes = Router::new().nest("/api/v2", api::router()).merge(auth::users_routes());
        Self(routes.layer(Extension(By::cli())).layer(Extension(Sight::Everything)).with_state(app))
    }

    /// Asks for something.
    ///
    /// # Errors
    /// The path is none, or the method.
    pub async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> anyhow::Result<Answer> {
        let request = Request::builder().method(method).uri(path);
        let request = request.header(header::CONTENT_TYPE, "application/json");
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let request = request.body(body).with_context(|| format!("{path} is no path"))?;
        let answer = match self.0.clone().oneshot(request).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        };
        let status = answer.status().as_u16();
        let bytes = to_bytes(answer.into_body(), usize::MAX).await?;
        Ok(Answer { status, text: String::from_utf8_lossy(&bytes).into_owned() })
    }
}
