//! All DAGs: which there are, how their latest runs went, when the next one comes; and the switch that pauses them.

use std::collections::{BTreeSet, HashMap};

use askama::Template;
use axum::{
    Extension, Form,
    extract::{OriginalUri, Path, Query, State},
    response::Redirect,
};
use chrono::{DateTime, Utc};
use orchestrator::{
    accounts::Sight,
    commands::{self, By},
    ids::DagId,
    state::RunState,
    store::{
        self, favorites,
        pages::{
            Page as Part,
            dags::{self as page, DagColumn, DagFilter, DagListed, RecentRun},
            select::{Direction, Selection, Test},
            settings,
        },
    },
};
use serde::Deserialize;

use super::{
    bars::{Bar, Pace, bars},
    links, local,
    page::{Frame, Page, PageError, PageResult},
    pager::Pager,
    sorting::{self, Heading},
    ticking::Away,
    words::Moment,
};
use crate::App;

/// DAGs on a page.
const DAGS: i64 = 50;

/// All of them.
const TAGS: Part = Part { limit: 1_000, offset: 0 };

/// Runs beside each DAG.
const RECENT: i64 = 14;

/// What they can be ordered by.
const ORDERS: [(&str, DagColumn); 3] =
    [("dag_id", DagColumn::DagId), ("next_run", DagColumn::NextRun), ("last_run", DagColumn::LastRunStart)];

#[derive(Template)]
#[template(path = "dags.html")]
pub(crate) struct DagsPage {
    rows: Vec<Row>,
    tags: Vec<String>,
    wanted: Wanted,
    pager: Pager,
    here: String,
}

struct Row {
    dag_id: DagId,
    link: String,
    description: Option<String>,
    owner: String,
    tags: Vec<String>,
    is_paused: bool,
    is_favorite: bool,
    schedule: String,
    next_run: Option<(Moment, Away)>,
    recent: Vec<Bar>,
    /// When the latest run started, and where it is.
    latest: Option<(Moment, String)>,
    /// How many of how many runs that ended succeeded.
    success: Option<(usize, usize)>,
    pace: Option<Pace>,
}

/// What the list is asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Wanted {
    q: String,
    tag: String,
    state: String,
    paused: String,
    favorite: String,
    owner: String,
    order: String,
    offset: i64,
}

impl Wanted {
    fn pairs(&self) -> [(&'static str, &str); 7] {
        [
            ("q", &self.q),
            ("tag", &self.tag),
            ("state", &self.state),
            ("paused", &self.paused),
            ("favorite", &self.favorite),
            ("owner", &self.owner),
            ("order", &self.order),
        ]
    }

    /// The list with another value of one of these.
    fn with(&self, name: &str, value: &str) -> String {
        let pairs = self.pairs().map(|(key, now)| (key, if key == name { value } else { now }));
        format!("/dags{}", links::query(&pairs))
    }

    /// The headings by which it is ordered, each with its link.
    fn heading(&self, name: &'static str, key: &str) -> (Heading, String) {
        let heading = sorting::heading(name, key, Direction::Ascending, &self.order);
        let link = self.with("order", &heading.next);
        (heading, link)
    }

    fn is_empty(&self) -> bool {
        self.pairs().iter().all(|(_, value)| value.is_empty())
    }

    fn filter(&self, favorites: &BTreeSet<DagId>) -> DagFilter {
        let (column, direction) =
            sorting::read(&self.order, &ORDERS).unwrap_or((DagColumn::DagId, Direction::Ascending));
        let mut filter = DagFilter::default().order_by(column, direction);
        if let Ok(wanted) = self.favorite.parse() {
            filter = filter.favorite(wanted, favorites);
        }
        if !self.q.is_empty() {
            filter = filter.with(DagColumn::DagId, Test::Contains(self.q.clone()));
        }
        if !self.owner.is_empty() {
            filter = filter.only(DagColumn::Owner, &self.owner);
        }
        if !self.tag.is_empty() {
            filter = filter.with(DagColumn::Tags, Test::HasAny(vec![self.tag.clone()]));
        }
        let states = RunState::ALL.into_iter().filter(|state| state.as_str() == self.state);
        let paused = self.paused.parse::<bool>().ok();
        filter.one_of(DagColumn::LastRunState, states).one_of(DagColumn::IsPaused, paused)
    }
}

impl Frame for DagsPage {
    const SECTION: &'static str = "dags";

    fn is_live(&self) -> bool {
        !self.rows.is_empty()
    }
}

pub(crate) async fn show(
    State(app): State<App>,
    Extension(sight): Extension<Sight>,
    Extension(by): Extension<By>,
    Query(wanted): Query<Wanted>,
    OriginalUri(uri): OriginalUri,
) -> PageResult<DagsPage> {
    let mut conn = app.pool.acquire().await?;
    let part = Part { limit: DAGS, offset: wanted.offset.max(0) };
    let favorites = favorites::of(&mut conn, by.user.as_deref()).await?;
    let filter = wanted.filter(&favorites).seen_by(&sight, DagColumn::DagId);
    let listed = page::list(&mut conn, &filter, part).await?;
    let now = store::now(&mut conn).await?;
    let ids: Vec<_> = listed.rows.iter().map(|dag| dag.dag_id.as_str().to_owned()).collect();
    let mut recent: HashMap<DagId, Vec<RecentRun>> = HashMap::new();
    for run in page::recent_runs(&mut conn, &ids, RECENT).await? {
        recent.entry(run.dag_id.clone()).or_default().insert(0, run);
    }
    let mut rows = Vec::new();
    for dag in listed.rows {
        let graph = app.graphs.get(&mut conn, dag.version).await?;
        rows.push(row(recent.remove(&dag.dag_id).unwrap_or_default(), &graph, dag, &favorites, now));
    }
    Ok(Page(DagsPage {
        tags: match sight {
            Sight::Everything => settings::tags(&mut conn, &Selection::default(), TAGS).await?.rows,
            Sight::Only(_) => tags_of(&rows),
        },
        rows,
        pager: Pager::new(part, listed.total, &wanted.pairs()),
        wanted,
        here: uri.to_string(),
    }))
}

fn tags_of(rows: &[Row]) -> Vec<String> {
    let tags: BTreeSet<_> = rows.iter().flat_map(|row| row.tags.iter().cloned()).collect();
    tags.into_iter().collect()
}

fn row(
    recent: Vec<RecentRun>,
    graph: &orchestrator::dag::Graph,
    dag: DagListed,
    favorites: &BTreeSet<DagId>,
    now: DateTime<Utc>,
) -> Row {
    let ended: Vec<_> = recent.iter().filter(|run| run.state.is_finished()).collect();
    let succeeded = ended.iter().filter(|run| run.state == RunState::Success).count();
    let took = ended.iter().filter_map(|run| Some((run.end_date? - run.start_date?).num_milliseconds()));
    let pace = Pace::of(&took.collect::<Vec<_>>());
    let mut tags = graph.tags().to_vec();
    tags.sort();
    Row {
        link: links::dag(&dag.dag_id),
        description: graph.description().map(ToOwned::to_owned),
        owner: graph.owner().to_owned(),
        tags,
        is_paused: dag.is_paused,
        is_favorite: favorites.contains(&dag.dag_id),
        schedule: graph.schedule().in_words(),
        next_run: dag.next_run_at.filter(|_| !dag.is_paused).map(|at| (at.into(), Away { at, now })),
        success: (!ended.is_empty()).then_some((succeeded, ended.len())),
        pace,
        latest: recent.last().and_then(|run| Some((run.start_date?.into(), links::run(&run.dag_id, &run.run_id)))),
        recent: bars(&recent, now),
        dag_id: dag.dag_id,
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Pause {
    paused: bool,
    #[serde(default)]
    back: String,
}

pub(crate) async fn pause(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path(dag_id): Path<DagId>,
    Form(form): Form<Pause>,
) -> Result<Redirect, PageError> {
    let mut conn = app.pool.acquire().await?;
    commands::set_paused(&mut conn, &app.graphs, &dag_id, form.paused, &by).await?;
    app.wake.everybody();
    Ok(Redirect::to(&local(&form.back)))
}

#[derive(Debug, Deserialize)]
pub(crate) struct Favorite {
    favorite: bool,
    #[serde(default)]
    back: String,
}

pub(crate) async fn favorite(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path(dag_id): Path<DagId>,
    Form(form): Form<Favorite>,
) -> Result<Redirect, PageError> {
    let mut conn = app.pool.acquire().await?;
    if form.favorite {
        favorites::insert(&mut conn, by.user.as_deref(), &dag_id).await?;
    } else {
        favorites::delete(&mut conn, by.user.as_deref(), &dag_id).await?;
    }
    Ok(Redirect::to(&local(&form.back)))
}
