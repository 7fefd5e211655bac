//! Signing in at an `OpenID` provider: the browser is sent there with what it has to bring back, in a sealed cookie.

mod provider;

use axum::{
    Extension,
    extract::Query,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use openidconnect::RedirectUrl;
use orchestrator::{
    commands::{self, By},
    secrets::Sealed,
};
use serde::Deserialize;

use self::provider::Begun;
pub use self::provider::Provider;
use super::{Gate, guard::is_loopback, sign_in};
use crate::pages::{PageError, local};

/// The cookie with what a browser has to bring back.
const COOKIE: &str = "streamcommerce_oidc";

/// So many seconds somebody has to sign in there.
const PATIENCE: i64 = 600;

#[derive(Debug, Deserialize)]
pub(crate) struct Wanted {
    #[serde(default)]
    next: String,
}

/// Sends the browser to the provider.
pub(crate) async fn begin(
    Extension(gate): Extension<Gate>,
    Query(Wanted { next }): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let provider = gate.provider()?;
    let (url, begun) = provider.begin(redirect(&headers)?, local(&next)).await.map_err(away)?;
    let sealed = gate.app.keys.seal(Sealed::SignIn, &serde_json::to_string(&begun).map_err(anyhow::Error::from)?);
    let sealed = URL_SAFE_NO_PAD.encode(sealed.map_err(anyhow::Error::from)?);
    Ok(([(header::SET_COOKIE, cookie(&sealed, PATIENCE, &headers)?)], Redirect::to(&url)).into_response())
}

/// What the provider sends the browser back with.
#[derive(Debug, Deserialize)]
pub(crate) struct Answer {
    #[serde(default)]
    code: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    error: String,
}

/// Takes the browser back: a session, if the provider says who it is.
pub(crate) async fn end(
    Extension(gate): Extension<Gate>,
    Extension(by): Extension<By>,
    Query(Answer { code, state, error }): Query<Answer>,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let provider = gate.provider()?;
    if !error.is_empty() {
        return Err(refused(format!("{} says: {error}", provider.name())));
    }
    let begun = begun(&gate, &headers).filter(|begun| *begun.state.secret() == state && !state.is_empty());
    let begun =
        begun.ok_or_else(|| refused("this sign-in was not begun here, or too long ago: begin again".to_owned()))?;
    let next = begun.next.clone();
    let identity = provider.end(redirect(&headers)?, code, begun).await.map_err(away)?;
    let mut conn = gate.app.pool.acquire().await?;
    let user = commands::sign_in_as(&mut conn, &identity, &by).await?;
    let mut response = sign_in::enter(&mut conn, &user, &next, &headers).await?;
    response.headers_mut().append(header::SET_COOKIE, cookie("", 0, &headers)?);
    Ok(response)
}

impl Gate {
    fn provider(&self) -> Result<&Provider, PageError> {
        self.entrance.provider.as_deref().ok_or_else(|| PageError::not_found("Nobody signs in elsewhere here."))
    }
}

fn begun(gate: &Gate, headers: &HeaderMap) -> Option<Begun> {
    let sealed = URL_SAFE_NO_PAD.decode(sign_in::cookie_of(headers, COOKIE)?).ok()?;
    serde_json::from_str(&gate.app.keys.open(Sealed::SignIn, &sealed).ok()?).ok()
}

fn refused(text: String) -> PageError {
    PageError::new(StatusCode::FORBIDDEN, text)
}

/// The provider did not answer as it should: its words are for the log.
fn away(error: anyhow::Error) -> PageError {
    tracing::warn!(error = format!("{error:#}"), "nobody can sign in at the provider");
    PageError::new(StatusCode::BAD_GATEWAY, "The provider did not say who you are; the log of the server says why.")
}

/// Where the provider sends browsers back to: the address that this one uses, which the provider has to know.
fn redirect(headers: &HeaderMap) -> Result<RedirectUrl, PageError> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let scheme = if is_loopback(host) { "http" } else { "https" };
    let url = RedirectUrl::new(format!("{scheme}://{host}/auth/oidc/callback"));
    Ok(url.map_err(anyhow::Error::from)?)
}

/// The provider sends the browser back from its own site, so it is not `Strict`.
fn cookie(value: &str, secs: i64, headers: &HeaderMap) -> Result<HeaderValue, PageError> {
    let secure = sign_in::secure(headers);
    let text = format!("{COOKIE}={value}; Path=/auth/oidc; Max-Age={secs}; HttpOnly; SameSite=Lax{secure}");
    Ok(HeaderValue::from_str(&text).map_err(anyhow::Error::from)?)
}
