//! Only requests that were meant for this server. A page of another site can make a browser send requests here; it
//! cannot make it lie about `Host`, `Origin` and `Sec-Fetch-Site`.

use std::net::IpAddr;

use axum::{
    http::{HeaderMap, Method, header},
    response::Response,
};

use super::Access;

/// What is wrong with it: a foreign `Host` where nobody signs in, or a write with a foreign `Origin`.
pub(crate) fn fault(access: Access, method: &Method, headers: &HeaderMap) -> Option<String> {
    let host = text(headers, &header::HOST);
    if access == Access::Loopback && !is_loopback(host) {
        return Some(format!("the host {host:?} is not this machine: without authentication only loopback is served"));
    }
    let origin = text(headers, &header::ORIGIN);
    let is_foreign = !origin.is_empty() && !is_of(origin, host);
    (is_write(method) && is_foreign).then(|| format!("a page of {origin:?} may not change anything here"))
}

/// Whether a page of this server sends it, and the browser says so.
pub(crate) fn is_from_here(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
    site == Some("same-origin") || is_of(text(headers, &header::ORIGIN), text(headers, &header::HOST))
}

pub(crate) fn is_write(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

fn is_of(origin: &str, host: &str) -> bool {
    origin.split_once("://").is_some_and(|(_, from)| from == host)
}

fn text<'h>(headers: &'h HeaderMap, name: &header::HeaderName) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Whether a `Host` names this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((ip, _)) => ip,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Tells browsers what pages of ours never do.
pub(crate) async fn secured(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
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
        super::fault(Access::Loopback, &method, &headers)
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

    #[test]
    fn a_browser_says_whose_page_it_is() {
        let from_here = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "example.org".parse().unwrap());
            headers.insert(name, value.parse().unwrap());
            is_from_here(&headers)
        };
        assert!(from_here("origin", "https://example.org") && from_here("sec-fetch-site", "same-origin"));
        assert!(!from_here("origin", "https://evil.example") && !from_here("sec-fetch-site", "same-site"));
        assert!(!from_here("accept", "*/*"), "who says nothing may be anybody");
    }
}
