//! Which routes a router has, asked of the router itself: `OPTIONS` reaches no handler of ours, and the refusal says which
//! methods the path has.

use std::collections::{BTreeMap, BTreeSet};

use axum::{
    Router,
    body::Body,
    extract::{MatchedPath, Request},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::Response,
};
use tower::ServiceExt;

/// The methods of each path, in small letters, as an `OpenAPI` document has them.
pub(crate) type Served = BTreeMap<String, BTreeSet<String>>;

const ROUTE: &str = "x-route";

/// Which of these paths, each with its parameters in braces, the router has.
pub(super) async fn served(router: Router, paths: Vec<String>) -> Served {
    let router = router.layer(middleware::from_fn(tell_route));
    let mut served = Served::new();
    for path in paths {
        let methods = methods(router.clone(), &path).await;
        if !methods.is_empty() {
            served.insert(path, methods);
        }
    }
    served
}

async fn methods(router: Router, path: &str) -> BTreeSet<String> {
    let request = Request::builder().method(Method::OPTIONS).uri(path.replace(['{', '}'], ""));
    let Ok(request) = request.body(Body::empty()) else { return BTreeSet::new() };
    let answer = match router.oneshot(request).await {
        Ok(answer) => answer,
        Err(never) => match never {},
    };
    let text = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // A longer path may be caught by a parameter of a shorter one.
    if answer.status() != StatusCode::METHOD_NOT_ALLOWED || shape(text(ROUTE)) != shape(path) {
        return BTreeSet::new();
    }
    text(header::ALLOW.as_str()).split(',').map(|method| method.trim().to_lowercase()).collect()
}

async fn tell_route(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().and_then(|path| HeaderValue::from_str(path.as_str()).ok());
    let mut answer = next.run(request).await;
    if let Some(route) = route {
        answer.headers_mut().insert(ROUTE, route);
    }
    answer
}

/// A path whose parameters have no names.
fn shape(path: &str) -> Vec<&str> {
    let parts = path.split('/').filter(|part| !part.is_empty());
    parts.map(|part| if part.starts_with('{') { "{}" } else { part }).collect()
}
