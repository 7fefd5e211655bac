//! Who comes in, and what they may do: every request passes here before a handler sees it.

mod access;
mod bearer;
mod guard;
mod oidc;
mod permit;
mod proxies;
mod roles;
mod sign_in;
mod tokens;
mod users;
mod visitor;

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Json, Router,
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
    routing::{delete, get, post, put},
};
use orchestrator::{
    accounts::Token,
    commands::{By, Way},
    store::{self, users::UserRow},
};
use serde_json::json;

pub use access::{Access, AccessError};
pub(crate) use bearer::Signer;
pub(crate) use guard::secured;
pub use oidc::Provider;
pub(crate) use permit::{Lacking, is_at_least, needs, permit, sees, sees_dag, works_on};
pub use proxies::Proxies;
pub(crate) use sign_in::cookie_of;
pub(crate) use visitor::Visitor;

use self::sign_in::session_of;
use crate::App;

/// What lets requests in.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    pub(crate) app: App,
    pub(crate) entrance: Entrance,
    pub(crate) signer: Arc<Signer>,
}

/// How one comes in.
#[derive(Clone, Debug)]
pub struct Entrance {
    /// Who may.
    pub access: Access,
    /// Where else people sign in.
    pub provider: Option<Arc<Provider>>,
    /// Who may say whom a request is from.
    pub proxies: Proxies,
}

impl From<Access> for Entrance {
    fn from(access: Access) -> Self {
        Self { access, provider: None, proxies: Proxies::default() }
    }
}

/// Where people and programs sign in and out.
pub(crate) fn routes(gate: Gate) -> Router<App> {
    Router::new()
        .route("/auth/token", get(sign_in::token_for_anybody).post(sign_in::token))
        .route("/auth/token/cli", post(sign_in::token))
        .route("/api/v2/auth/login", get(async || Redirect::temporary("/login")))
        .route("/api/v2/auth/logout", get(async || Redirect::temporary("/account")))
        .route("/auth/oidc", get(oidc::begin))
        .route("/auth/oidc/callback", get(oidc::end))
        .route("/login", get(sign_in::page).post(sign_in::submit))
        .route("/logout", post(sign_in::sign_out))
        .route("/api/tokens", get(tokens::list).post(tokens::create))
        .route("/api/tokens/{id}", delete(tokens::revoke))
        .merge(users_routes())
        .layer(axum::Extension(gate))
}

/// The users, for those who may manage them.
pub(crate) fn users_routes() -> Router<App> {
    Router::new()
        .route("/api/users", get(users::list).post(users::create))
        .route("/api/users/{name}", delete(users::delete).patch(users::patch))
        .route("/api/users/{name}/dags/{dag}", put(users::grant_dag).delete(users::revoke_dag))
        .route("/api/users/{name}/tokens", get(tokens::list_of))
        .route("/api/users/{name}/tokens/{id}", delete(tokens::revoke_of))
}

/// Finds out who a request is from.
pub(crate) async fn admit(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let (path, method) = (request.uri().path().to_owned(), request.method().clone());
    if let Some(fault) = guard::fault(gate.entrance.access, &method, request.headers()) {
        return refuse(&path, StatusCode::FORBIDDEN, &fault);
    }
    // Postgres has no text with a NUL character: nothing here is called so.
    if request.uri().to_string().contains("%00") {
        return refuse(&path, StatusCode::BAD_REQUEST, "an address may not have a NUL character");
    }
    let visitor = match gate.visitor(&method, request.headers()).await {
        Ok(visitor) => visitor,
        Err(refused) => return refused.into_response(&path),
    };
    let way = if path.starts_with("/api/") { Way::RestApi } else { Way::Ui };
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    let from = peer.map(|peer| gate.entrance.proxies.sender(peer, request.headers()));
    let user = visitor.as_ref().and_then(|visitor| visitor.user.as_ref()).map(|user| user.username.clone());
    request.extensions_mut().insert(By { way, user, from });
    request.extensions_mut().insert(visitor);
    next.run(request).await
}

/// Why what a request shows does not let it in.
enum NotAdmitted {
    /// It is not, or no longer, anybody's.
    Invalid,
    /// It was sent by a page of somebody else, or by nobody knows whom.
    Forged,
    /// The database does not say.
    Failed(sqlx::Error),
}

impl From<sqlx::Error> for NotAdmitted {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error)
    }
}

impl NotAdmitted {
    fn into_response(self, path: &str) -> Response {
        match self {
            Self::Invalid => refuse(path, StatusCode::FORBIDDEN, "Invalid JWT token"),
            Self::Forged => refuse(path, StatusCode::FORBIDDEN, "only a page of this server may do this"),
            Self::Failed(error) => {
                tracing::error!(%error, "cannot find out who it is");
                let text = "the database does not answer; try again in a moment";
                refuse(path, StatusCode::SERVICE_UNAVAILABLE, text)
            }
        }
    }
}

impl Gate {
    /// Who it is; nobody, if nothing was shown.
    async fn visitor(&self, method: &Method, headers: &HeaderMap) -> Result<Option<Visitor>, NotAdmitted> {
        if self.entrance.access != Access::Users {
            return Ok(Some(Visitor::anybody()));
        }
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let user = match bearer.and_then(|value| value.strip_prefix("Bearer ")) {
            Some(token) => Some(self.of_bearer(token).await?.ok_or(NotAdmitted::Invalid)?),
            None => match session_of(headers) {
                Some(session) => self.of_session(&session, method, headers).await?,
                None => None,
            },
        };
        Ok(user.map(Visitor::from))
    }

    async fn of_bearer(&self, token: &str) -> Result<Option<UserRow>, NotAdmitted> {
        if token.starts_with(orchestrator::accounts::TOKEN_PREFIX) {
            let mut conn = self.app.pool.acquire().await?;
            return Ok(store::tokens::user_of(&mut conn, &Token::from(token).hash()).await?);
        }
        let Some((name, signed_at)) = self.signer.verify(token) else { return Ok(None) };
        let user = store::users::list(&mut *self.app.pool.acquire().await?, Some(&name)).await?.pop();
        // Another password ends what was signed for the one before.
        Ok(user.filter(|user| user.password_set_at.timestamp() <= signed_at))
    }

    /// A browser sends its cookie with whatever another site makes it send: a write must say that a page of ours did it.
    async fn of_session(
        &self,
        session: &Token,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<Option<UserRow>, NotAdmitted> {
        if guard::is_write(method) && !guard::is_from_here(headers) {
            return Err(NotAdmitted::Forged);
        }
        Ok(store::tokens::user_of(&mut *self.app.pool.acquire().await?, &session.hash()).await?)
    }
}

fn is_page(path: &str) -> bool {
    !path.starts_with("/api/") && !path.starts_with("/auth/") && path != "/metrics"
}

fn not_signed_in(path: &str) -> Response {
    if is_page(path) {
        return Redirect::to(&format!(
            "/login?next={}",
            path.replace('%', "%25").replace('+', "%2B").replace('&', "%26")
        ))
        .into_response();
    }
    let mut response = refuse(path, StatusCode::UNAUTHORIZED, "Not authenticated");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
    response
}

fn refuse(path: &str, status: StatusCode, detail: &str) -> Response {
    match is_page(path) {
        true => crate::pages::refused(status, detail),
        false => (status, Json(json!({ "detail": detail }))).into_response(),
    }
}
