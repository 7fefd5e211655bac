//! Until there is authentication: only requests that were meant for this server. A page of another site can make a
//! browser on this machine send requests here; it cannot make it lie about `Host` and `Origin`.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::Unauthenticated;

/// What is accepted.
#[derive(Debug)]
pub(crate) struct Guard {
    pub(crate) unauthenticated: Unauthenticated,
}

/// Refuses a foreign `Host`, and a write with a foreign `Origin`.
pub(crate) async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    match guard.fault(request.method(), request.headers()) {
        None => secured(next.run(request).await),
        Some(fault) => (StatusCode::FORBIDDEN, axum::Json(json!({ "detail": fault }))).into_response(),
    }
}

impl Guard {
    fn fault(&self, method: &Method, headers: &HeaderMap) -> Option<String> {
        let text =
            |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let host = text(header::HOST);
        if self.unauthenticated == Unauthenticated::Loopback && !is_loopback(host) {
            return Some(format!(
                "the host {host:?} is not this machine: without authentication only loopback is served"
            ));
        }
        let origin = text(header::ORIGIN);
        let is_write = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        let is_foreign = !origin.is_empty() && origin.split_once("://").is_none_or(|(_, from)| from != host);
        (is_write && is_foreign).then(|| format!("a page of {origin:?} may not change anything here"))
    }
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((ip, _)) => ip,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn secured(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'",
        ),
    ] {
        headers.insert(name, header::HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(method: Method, host: &'static str, origin: Option<&'static str>) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        Guard { unauthenticated: Unauthenticated::Loopback }.fault(&method, &headers)
    }

    #[test]
    fn only_what_was_meant_for_this_machine() {
        for host in ["127.0.0.1:8080", "localhost:8080", "localhost", "[::1]:8080"] {
            assert_eq!(fault(Method::GET, host, None), None, "{host}");
        }
        for host in ["evil.example", "evil.example:8080", "", "127.0.0.1.evil.example"] {
            assert!(fault(Method::GET, host, None).is_some(), "{host}");
        }
        assert_eq!(fault(Method::POST, "localhost:8080", Some("http://localhost:8080")), None);
        assert_eq!(fault(Method::POST, "localhost:8080", None), None, "a client that is no browser");
        for origin in ["http://evil.example", "null", "http://localhost:9090"] {
            assert!(fault(Method::POST, "localhost:8080", Some(origin)).is_some(), "{origin}");
            assert!(fault(Method::GET, "localhost:8080", Some(origin)).is_none(), "{origin}");
        }
    }
}
