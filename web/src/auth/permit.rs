//! Whether somebody may do what they ask for, with all DAGs or with the one that they ask about.

use axum::{
    RequestExt,
    extract::{MatchedPath, RawPathParams, Request},
    http::{Method, StatusCode},
    middleware::Next,
    response::Response,
};
use orchestrator::{
    accounts::{Role, Sight},
    ids::DagId,
};

use super::{Visitor, not_signed_in, refuse, roles};

/// What everybody may read who has signed in: there is no more in it than they may see ([`Sight`]).
const SIFTED: [&str; 11] = [
    "/",
    "/dags",
    "/runs",
    "/tasks",
    "/live",
    "/api/v2/dags",
    "/api/v2/dagStats",
    "/api/v2/dags/{dag_id}/dagRuns",
    "/api/v2/dags/{dag_id}/dagRuns/list",
    "/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances",
    "/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/list",
];

/// What is about a DAG that only the handler finds out: it asks [`needs`]. Everybody gets there who has signed in.
const OF_SOME_DAG: [&str; 9] = [
    "/runs/chosen",
    "/tasks/chosen",
    "/backfills/{id}/{deed}",
    "/api/v2/backfills",
    "/api/v2/backfills/dry_run",
    "/api/v2/backfills/{id}",
    "/api/v2/backfills/{id}/pause",
    "/api/v2/backfills/{id}/unpause",
    "/api/v2/backfills/{id}/cancel",
];

tokio::task_local! {
    /// Who looks at the page that is made.
    static VISITOR: Option<Visitor>;
}

/// Lets a request through to its handler if who it is from may do that.
pub(crate) async fn permit(mut request: Request, next: Next) -> Response {
    let visitor = request.extensions().get::<Option<Visitor>>().cloned().flatten();
    let route = request.extensions().get::<MatchedPath>().map(|route| route.as_str().to_owned());
    let params = request.extract_parts::<RawPathParams>().await.ok();
    let dag = params.iter().flatten().find(|(name, _)| *name == "dag_id").map(|(_, dag)| DagId::from(dag));
    let asked = Asked { method: request.method(), path: request.uri().path(), route: route.as_deref(), dag };
    let allowed = asked.is_allowed(visitor.as_ref());
    let sight = visitor.as_ref().map_or(Sight::Only(Vec::new()), Visitor::sight);
    let path = request.uri().path().to_owned();
    request.extensions_mut().insert(sight);
    let answer = async {
        match allowed {
            Ok(()) => next.run(request).await,
            Err(Denied::NotSignedIn) => not_signed_in(&path),
            Err(Denied::Needs(role)) => refuse(&path, StatusCode::FORBIDDEN, &Lacking(role).to_string()),
        }
    };
    VISITOR.scope(visitor, answer).await
}

/// Whether whoever looks at the page that is made may look at another one.
pub(crate) fn sees(path: &str) -> bool {
    let asked = Asked { method: &Method::GET, path, route: Some(path), dag: None };
    VISITOR.try_with(|visitor| visitor.is_some() && asked.is_allowed(visitor.as_ref()).is_ok()).unwrap_or(false)
}

/// Whether whoever is answered may look at a DAG. Without a request nobody asks but the program itself.
pub(crate) fn sees_dag(dag: &DagId) -> bool {
    let sees =
        |visitor: &Option<Visitor>| visitor.as_ref().is_some_and(|visitor| visitor.role_with(dag) >= Role::Viewer);
    VISITOR.try_with(sees).unwrap_or(true)
}

/// Whether whoever looks at the page that is made may work on a DAG.
pub(crate) fn works_on(dag: &DagId) -> bool {
    is_visitor(|visitor| visitor.role_with(dag) >= Role::User)
}

/// Refuses what whoever asks may not do with a DAG.
pub(crate) fn needs(role: Role, dag: &DagId) -> Result<(), Lacking> {
    if is_visitor(|visitor| visitor.role_with(dag) >= role) { Ok(()) } else { Err(Lacking(role)) }
}

/// Whoever asks has not the role for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("this needs the role {0}")]
pub(crate) struct Lacking(Role);

/// Whether whoever looks at the page that is made has this role, or a stronger one.
pub(crate) fn is_at_least(role: Role) -> bool {
    is_visitor(|visitor| visitor.role >= role)
}

fn is_visitor(test: impl Fn(&Visitor) -> bool) -> bool {
    VISITOR.try_with(|visitor| visitor.as_ref().is_some_and(test)).unwrap_or(false)
}

/// What somebody asks for.
struct Asked<'r> {
    method: &'r Method,
    path: &'r str,
    /// The path as the router knows it; none: there is no such path.
    route: Option<&'r str>,
    /// The DAG that the path names.
    dag: Option<DagId>,
}

/// Why somebody may not.
#[derive(PartialEq, Eq, Debug)]
enum Denied {
    NotSignedIn,
    Needs(Role),
}

impl Asked<'_> {
    fn is_allowed(&self, visitor: Option<&Visitor>) -> Result<(), Denied> {
        let Some(required) = roles::required(self.method, self.path) else { return Ok(()) };
        let visitor = visitor.ok_or(Denied::NotSignedIn)?;
        let role = match self.dag.as_ref().filter(|dag| dag.as_str() != "~") {
            Some(dag) => visitor.role_with(dag),
            None if self.is_one_of(&OF_SOME_DAG) => return Ok(()),
            None if self.is_one_of(&SIFTED) => visitor.role.max(Role::Viewer),
            None => visitor.role,
        };
        if role < required { Err(Denied::Needs(required)) } else { Ok(()) }
    }

    fn is_one_of(&self, routes: &[&str]) -> bool {
        self.route.is_some_and(|route| routes.contains(&route))
    }
}
