//! Several task instances at once.

use std::collections::BTreeMap;

use askama::Template;
use axum::{
    Extension, Form,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use orchestrator::{
    accounts::Role,
    commands::{By, Change, Choice, NamedTask, Only, Refused, RunChoice, TaskChoice},
    ids::{DagId, RunId},
    state::TaskState,
    store::pages::{
        Page as Part,
        instances::{self, InstanceColumn, InstanceFilter},
    },
};
use sqlx::PgConnection;

use super::Back;
use crate::{
    App, auth,
    pages::{
        Frame, Page, PageError, PageResult,
        act::{self, Deed},
        links, words,
    },
};

/// Task instances that are chosen at once.
const MOST: i64 = 1_000;

/// Rows of a preview.
const SHOWN: usize = 500;

/// The deed, to what it is done, and what around that it takes along.
struct Wanted {
    deed: Deed,
    /// The database's keys.
    instances: Vec<i64>,
    /// Of [`OPTIONS`].
    along: Vec<&'static str>,
    back: Back,
}

/// What may be taken along, and how it is told.
const OPTIONS: [(&str, &str); 3] =
    [("upstream", "and all before them"), ("downstream", "and all after them"), ("only_failed", "only what failed")];

impl Wanted {
    fn of(pairs: &[(String, String)]) -> Result<Self, PageError> {
        let all =
            |name: &'static str| pairs.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str());
        let named = all("deed").next().unwrap_or_default();
        let deed = Deed::ALL.into_iter().find(|deed| deed.path() == named);
        let deed = deed.ok_or_else(|| PageError::not_found(format!("There is nothing {named:?} to do with tasks.")))?;
        let no_key = |text: &str| PageError::not_found(format!("{text:?} is no task instance: its number is."));
        let instances = all("instance").map(|text| text.parse().map_err(|_| no_key(text)));
        let instances = instances.collect::<Result<Vec<i64>, _>>()?;
        if instances.len() > MOST as usize {
            let text = format!("{} task instances are too many at once: choose at most {MOST}.", instances.len());
            return Err(PageError::new(StatusCode::BAD_REQUEST, text));
        }
        let along = OPTIONS.into_iter().map(|(name, _)| name).filter(|name| all(name).next() == Some("true"));
        Ok(Self { deed, instances, along: along.collect(), back: Back::of(pairs, "/tasks") })
    }

    /// What can be taken along, each with whether it is.
    fn options(&self) -> impl Iterator<Item = (&'static str, &'static str, bool)> {
        let fitting = OPTIONS.into_iter().filter(|(name, _)| *name != "only_failed" || self.deed == Deed::Clear);
        fitting.map(|(name, text)| (name, text, self.takes(name)))
    }

    fn takes(&self, option: &str) -> bool {
        self.along.contains(&option)
    }

    fn only(&self) -> Only {
        if self.takes("only_failed") { Only::Failed } else { Only::All }
    }

    /// One choice a run, with the id of that. Refused whole if whoever asks may not work on one of their DAGs.
    async fn choices(&self, conn: &mut PgConnection) -> Result<Vec<(RunId, Choice)>, PageError> {
        if self.instances.is_empty() {
            return Ok(Vec::new());
        }
        let filter = InstanceFilter::default().one_of(InstanceColumn::Key, &self.instances);
        let listed = instances::list(conn, &filter, Part { limit: MOST, offset: 0 }).await?;
        let mut runs = BTreeMap::<(DagId, RunId), Vec<NamedTask>>::new();
        for row in listed.rows {
            auth::needs(Role::User, &row.dag_id)?;
            let map_index = (row.map_index >= 0).then_some(row.map_index);
            runs.entry((row.dag_id, row.run_id)).or_default().push(NamedTask { task: row.task_id, map_index });
        }
        let (upstream, downstream) = (self.takes("upstream"), self.takes("downstream"));
        let choice = |((dag_id, run_id), named): ((_, RunId), _)| {
            let tasks = TaskChoice { named, upstream, downstream };
            (run_id.clone(), Choice { dag_id, runs: RunChoice::one(run_id), tasks })
        };
        Ok(runs.into_iter().map(choice).collect())
    }
}

#[derive(Template)]
#[template(path = "chosen/instances.html")]
pub(crate) struct ChosenPage {
    wanted: Wanted,
    count: usize,
    changes: Vec<(DagId, Change)>,
    /// Runs to whose tasks nothing was done, and why.
    refused: Vec<(String, RunId, String)>,
}

impl Frame for ChosenPage {
    const SECTION: &'static str = "tasks";
}

impl ChosenPage {
    fn outcome(&self) -> String {
        format!(
            "Done to {}, refused in {}.",
            words::number(self.count, "task instance"),
            words::number(self.refused.len(), "run")
        )
    }

    fn question(&self) -> String {
        format!("{} {}?", self.wanted.deed.title(), words::number(self.count, "task instance"))
    }
}

pub(crate) async fn ask(State(app): State<App>, Query(pairs): Query<Vec<(String, String)>>) -> PageResult<ChosenPage> {
    let wanted = Wanted::of(&pairs)?;
    let mut conn = app.pool.acquire().await?;
    let mut changes = Vec::new();
    for (_, choice) in wanted.choices(&mut conn).await? {
        let dag_id = choice.dag_id.clone();
        let foreseen = act::foresee_choice(&app, &mut conn, wanted.deed, (choice, wanted.only())).await?;
        changes.extend(foreseen.into_iter().map(|change| (dag_id.clone(), change)));
    }
    let count = changes.len();
    changes.truncate(SHOWN);
    Ok(Page(ChosenPage { wanted, count, changes, refused: Vec::new() }))
}

pub(crate) async fn act(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Form(pairs): Form<Vec<(String, String)>>,
) -> Result<Response, PageError> {
    let wanted = Wanted::of(&pairs)?;
    let mut conn = app.pool.acquire().await?;
    let (mut count, mut refused) = (0, Vec::new());
    for (run_id, choice) in wanted.choices(&mut conn).await? {
        let link = links::run(&choice.dag_id, &run_id);
        match act::act_on_choice(&app, &mut conn, wanted.deed, (choice, wanted.only()), &by).await {
            Ok(done) => count += done,
            Err(Refused::Failed(error)) => return Err(error.into()),
            // What was refused in one run is no reason to leave out the others.
            Err(reason) => refused.push((link, run_id, reason.to_string())),
        }
    }
    app.wake.everybody();
    if refused.is_empty() {
        return Ok(wanted.back.after(wanted.deed.path(), count).into_response());
    }
    Ok(Page(ChosenPage { wanted, count, changes: Vec::new(), refused }).into_response())
}
