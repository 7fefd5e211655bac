//! Which role a request needs: the table of Airflow's simple auth manager.

use axum::http::Method;
use orchestrator::accounts::Role;

/// The weakest role that may do this; none: anybody, whoever it is.
pub(crate) fn required(method: &Method, path: &str) -> Option<Role> {
    let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    match (parts.next(), parts.next(), parts.next()) {
        (Some("auth" | "login" | "logout" | "theme" | "static" | "docs" | "openapi.json"), _, _) => None,
        (Some("api"), Some("v2"), Some("version" | "monitor" | "auth")) => None,
        (Some("api"), Some("v2"), Some(resource)) => {
            Some(of_resource(resource, reads || is_batch(method, path) || is_favorite(method, path)))
        }
        (Some("api"), Some("users"), _) => Some(Role::Admin),
        (Some("account"), _, _) | (Some("api"), Some("tokens"), _) => Some(Role::Public),
        (Some("api"), Some("streaming"), _) => Some(Role::Op),
        (Some("users"), _, _) => Some(Role::Admin),
        (Some("variables" | "connections"), _, _) => Some(Role::Op),
        _ if reads || is_favorite(method, path) => Some(Role::Viewer),
        (Some("pools" | "assets"), _, _) => Some(Role::Op),
        _ => Some(Role::User),
    }
}

/// A POST that only reads: a list whose conditions are longer than a path may be. Something else may be called `list`.
fn is_batch(method: &Method, path: &str) -> bool {
    *method == Method::POST && (path.ends_with("/dagRuns/list") || path.ends_with("/taskInstances/list"))
}

/// What somebody remembers for themselves changes nothing for others.
fn is_favorite(method: &Method, path: &str) -> bool {
    let of_dag = path.strip_prefix("/api/v2").unwrap_or(path).strip_prefix("/dags/");
    let what = of_dag.and_then(|rest| rest.split_once('/')).map(|(_, what)| what);
    *method == Method::POST && matches!(what, Some("favorite" | "unfavorite"))
}

fn of_resource(resource: &str, reads: bool) -> Role {
    match resource {
        "connections" | "variables" | "config" => Role::Op,
        "pools" | "assets" if !reads => Role::Op,
        _ if reads => Role::Viewer,
        _ => Role::User,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_do_what_airflow_lets_it() {
        let get = |path| required(&Method::GET, path);
        for path in [
            "/api/v2/version",
            "/api/v2/monitor/health",
            "/login",
            "/auth/token",
            "/static/style.css",
            "/docs",
            "/openapi.json",
        ] {
            assert_eq!(get(path), None, "{path}");
        }
        for path in ["/", "/dags", "/api/v2/dags", "/api/v2/pools", "/api/v2/assets", "/api/v2/eventLogs"] {
            assert_eq!(get(path), Some(Role::Viewer), "{path}");
        }
        for path in ["/api/v2/variables", "/api/v2/connections/db", "/api/v2/config"] {
            assert_eq!(get(path), Some(Role::Op), "{path}");
        }
        let post = |path| required(&Method::POST, path);
        for path in ["/api/v2/dags/d/dagRuns", "/dags/d/trigger", "/api/v2/backfills", "/api/signals/paid"] {
            assert_eq!(post(path), Some(Role::User), "{path}");
        }
        for path in ["/api/v2/dags/~/dagRuns/list", "/api/v2/dags/d/favorite", "/dags/d/favorite"] {
            assert_eq!(post(path), Some(Role::Viewer), "{path}");
        }
        let delete = |path| required(&Method::DELETE, path);
        assert_eq!((delete("/api/v2/pools/list"), delete("/api/v2/dags/list")), (Some(Role::Op), Some(Role::User)));
        assert_eq!(delete("/api/v2/dags/d/dagRuns/list"), Some(Role::User), "a run of that name");
        assert_eq!(
            (post("/api/v2/pools"), post("/pools"), get("/pools")),
            (Some(Role::Op), Some(Role::Op), Some(Role::Viewer))
        );
        assert_eq!(post("/api/v2/assets/events"), Some(Role::Op));
        for path in ["/pools/favorite", "/api/v2/pools/favorite", "/assets/unfavorite"] {
            assert_eq!(post(path), Some(Role::Op), "{path}: something else is called so");
        }
        assert_eq!(post("/dags/favorite"), Some(Role::User));
        assert_eq!((get("/streaming"), post("/api/streaming/reports")), (Some(Role::Viewer), Some(Role::Op)));
        assert_eq!((get("/users"), post("/users")), (Some(Role::Admin), Some(Role::Admin)));
        assert_eq!((get("/variables"), get("/connections")), (Some(Role::Op), Some(Role::Op)));
        assert_eq!((get("/assets"), post("/assets/1")), (Some(Role::Viewer), Some(Role::Op)));
        assert_eq!((post("/account/tokens"), post("/backfills/1/cancel")), (Some(Role::Public), Some(Role::User)));
        assert_eq!((get("/api/users"), post("/api/tokens")), (Some(Role::Admin), Some(Role::Public)));
    }
}
