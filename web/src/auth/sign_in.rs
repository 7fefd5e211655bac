//! Signing in: a page for people, `/auth/token` for programs, as in Airflow.

use askama::Template;
use axum::{
    Extension, Form, Json,
    body::Bytes,
    extract::Query,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use chrono::TimeDelta;
use orchestrator::{
    accounts::{Password, Token},
    commands::{self, By, NotSignedIn},
    store::{self, tokens, users::UserRow},
};
use serde::Deserialize;
use serde_json::json;
use sqlx::PgConnection;

use super::{Access, Gate, guard::is_loopback};
use crate::pages::{Frame, Page, PageError, PageResult, local, part};

/// How long a browser stays signed in.
const SESSION: TimeDelta = TimeDelta::hours(12);

const COOKIE: &str = "session";

/// Who wants to come in.
#[derive(Debug, Deserialize)]
pub(crate) struct Credentials {
    username: String,
    password: String,
    #[serde(default)]
    next: String,
}

/// `POST /auth/token`, with JSON or a form.
pub(crate) async fn token(
    Extension(gate): Extension<Gate>,
    Extension(by): Extension<By>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let is_form =
        headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-www"));
    let credentials = match is_form {
        true => serde_html_form(&body),
        false => serde_json::from_slice::<Credentials>(&body).ok(),
    };
    let Some(Credentials { username, password, .. }) = credentials else {
        let fault = json!([{
            "type": "missing", "loc": ["body"], "msg": "Input should have a username and a password", "input": null,
        }]);
        return (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({ "detail": fault }))).into_response();
    };
    let signed = async {
        let user = commands::sign_in(gate.app.pool.pool(), &username, Password::from(password), &by).await?;
        Ok::<_, NotSignedIn>(gate.signer.sign(&user.username)?)
    };
    match signed.await {
        Ok(token) => (StatusCode::CREATED, Json(json!({ "access_token": token }))).into_response(),
        Err(refused) => told(&refused),
    }
}

fn serde_html_form(body: &Bytes) -> Option<Credentials> {
    let uri = format!("/?{}", std::str::from_utf8(body).ok()?).parse().ok()?;
    Query::try_from_uri(&uri).ok().map(|Query(credentials)| credentials)
}

fn told(refused: &NotSignedIn) -> Response {
    let detail = |status: StatusCode, text: String| (status, Json(json!({ "detail": text }))).into_response();
    let mut response = match refused {
        NotSignedIn::Wrong => detail(StatusCode::UNAUTHORIZED, refused.to_string()),
        NotSignedIn::TooOften(_) | NotSignedIn::Crowd => detail(StatusCode::TOO_MANY_REQUESTS, refused.to_string()),
        NotSignedIn::Failed(error) => {
            tracing::error!(error = format!("{error:#}"), "nobody can sign in");
            detail(StatusCode::SERVICE_UNAVAILABLE, "the database does not answer; try again in a moment".to_owned())
        }
    };
    if let Some(wait) = refused.wait() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs()));
    }
    response
}

/// `GET /auth/token`: for anybody, where everybody is an admin; Airflow's `simple_auth_manager_all_admins`.
pub(crate) async fn token_for_anybody(Extension(gate): Extension<Gate>) -> Response {
    if gate.entrance.access == Access::Users {
        let text = "This method is only allowed if nobody need sign in (STREAMCOMMERCE_UNAUTHENTICATED)";
        return (StatusCode::FORBIDDEN, Json(json!({ "detail": text }))).into_response();
    }
    match gate.signer.sign("anonymous") {
        Ok(token) => (StatusCode::CREATED, Json(json!({ "access_token": token }))).into_response(),
        Err(error) => told(&NotSignedIn::Failed(error)),
    }
}

#[derive(Template)]
#[template(path = "login.html")]
pub(crate) struct LoginPage {
    next: String,
    refused: Option<String>,
    /// Where else one can sign in.
    provider: Option<String>,
}

impl LoginPage {
    fn of(gate: &Gate, next: String, refused: Option<String>) -> Self {
        Self { next, refused, provider: gate.entrance.provider.as_ref().map(|provider| provider.name()) }
    }

    fn elsewhere(&self) -> String {
        format!("/auth/oidc?next={}", part(&self.next))
    }
}

impl Frame for LoginPage {}

#[derive(Debug, Deserialize)]
pub(crate) struct Next {
    #[serde(default)]
    next: String,
}

pub(crate) async fn page(Extension(gate): Extension<Gate>, Query(Next { next }): Query<Next>) -> PageResult<LoginPage> {
    Ok(Page(LoginPage::of(&gate, local(&next), None)))
}

/// The form of the page: a session, in a cookie that no script can read.
pub(crate) async fn submit(
    Extension(gate): Extension<Gate>,
    Extension(by): Extension<By>,
    headers: HeaderMap,
    Form(Credentials { username, password, next }): Form<Credentials>,
) -> Result<Response, PageError> {
    let next = local(&next);
    let user = match commands::sign_in(gate.app.pool.pool(), &username, Password::from(password), &by).await {
        Ok(user) => user,
        Err(NotSignedIn::Failed(error)) => return Err(error.into()),
        Err(refused) => {
            let status = match refused.wait() {
                Some(_) => StatusCode::TOO_MANY_REQUESTS,
                None => StatusCode::UNAUTHORIZED,
            };
            return Ok((status, Page(LoginPage::of(&gate, next, Some(refused.to_string())))).into_response());
        }
    };
    enter(&mut *gate.app.pool.acquire().await?, &user, &next, &headers).await
}

/// Begins a session of somebody who has signed in.
pub(super) async fn enter(
    conn: &mut PgConnection,
    user: &UserRow,
    next: &str,
    headers: &HeaderMap,
) -> Result<Response, PageError> {
    let session = Token::random();
    let expires_at = store::now(conn).await? + SESSION;
    tokens::insert(conn, user.user_id, &session.hash(), None, expires_at).await?;
    let cookie = cookie(session.reveal(), SESSION, headers);
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(next)).into_response())
}

/// Ends the session of a browser.
pub(crate) async fn sign_out(Extension(gate): Extension<Gate>, headers: HeaderMap) -> Result<Response, PageError> {
    if let Some(session) = session_of(&headers) {
        tokens::end_session(&mut *gate.app.pool.acquire().await?, &session.hash()).await?;
    }
    Ok(([(header::SET_COOKIE, cookie("", TimeDelta::zero(), &headers))], Redirect::to("/login")).into_response())
}

/// The session that a browser shows.
pub(super) fn session_of(headers: &HeaderMap) -> Option<Token> {
    cookie_of(headers, COOKIE).map(Token::from)
}

/// What a cookie holds.
pub(crate) fn cookie_of<'h>(headers: &'h HeaderMap, wanted: &str) -> Option<&'h str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value)
}

/// Over a network a cookie is sent encrypted, or not at all.
pub(super) fn secure(headers: &HeaderMap) -> &'static str {
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if is_loopback(host) { "" } else { "; Secure" }
}

fn cookie(value: &str, length: TimeDelta, headers: &HeaderMap) -> String {
    let secure = secure(headers);
    format!("{COOKIE}={value}; Path=/; Max-Age={}; HttpOnly; SameSite=Lax{secure}", length.num_seconds())
}
