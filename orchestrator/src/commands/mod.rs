//! What people ask for: trigger, clear, mark, pause. One function each, used by the API, the pages and the CLI alike.

mod asset;
mod backfill;
mod choose;
mod clear;
mod delete;
mod lookup;
mod mark;
mod pause;
mod pools;
mod sign_in;
mod signal;
mod trigger;
mod users;
mod xcom;

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

pub use self::{
    asset::{forget_updates, update_asset},
    backfill::{Backfill, cancel_backfill, create_backfill, find_backfill, pause_backfill, preview_backfill},
    choose::{Choice, NamedTask, OnVersion, RunChoice, TaskChoice},
    clear::{Clear, Only, Running, clear, preview_clear},
    delete::{delete_dag, delete_run},
    lookup::{
        NewVariable, create_connection, create_variable, delete_connection, delete_variable, update_connection,
        update_variable,
    },
    mark::{
        Change, Mark, Marked, MarkedRun, foresee_mark, foresee_mark_run, mark, mark_run, preview_mark, set_note,
        set_task_note,
    },
    pause::{set_paused, set_paused_within},
    pools::{create_pool, delete_pool, update_pool},
    sign_in::{NotSignedIn, sign_in, sign_in_as},
    signal::post_signal,
    trigger::{ManualRun, trigger},
    users::{
        GRANTABLE, create_token, create_user, delete_user, grant_dag, revoke_dag, revoke_token, set_password, set_role,
    },
    xcom::{delete_xcom, put_xcom},
};
use crate::{
    dag::BadParams,
    ids::{BackfillId, DagId, RunId, TaskId},
    state::RunState,
    store::events,
};

/// Why a command was refused.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There is no such DAG.
    #[error("The Dag with ID: `{0}` was not found")]
    NoDag(DagId),
    /// There is no such run.
    #[error("The DagRun with dag_id: `{0}` and run_id: `{1}` was not found")]
    NoRun(DagId, RunId),
    /// The DAG has no such task.
    #[error("The Task with ID: `{1}` was not found in the Dag `{0}`")]
    NoTask(DagId, TaskId),
    /// There is no such pool.
    #[error("The Pool with name: `{0}` was not found")]
    NoPool(String),
    /// There is a pool of that name.
    #[error("The Pool with name: `{0}` already exists")]
    PoolExists(String),
    /// There is no such variable.
    #[error("The Variable with key: `{0}` was not found")]
    NoVariable(String),
    /// There is a variable of that name.
    #[error("The Variable with key: `{0}` already exists")]
    VariableExists(String),
    /// There is no such connection.
    #[error("The Connection with connection_id: `{0}` was not found")]
    NoConnection(String),
    /// There is a connection of that name.
    #[error("The Connection with connection_id: `{0}` already exists")]
    ConnectionExists(String),
    /// There is no such asset.
    #[error("The Asset with name: `{0}` was not found")]
    NoAsset(String),
    /// There is no such user.
    #[error("The User with username `{0}` was not found")]
    NoUser(String),
    /// There is a user of that name.
    #[error("The User with username `{0}` already exists")]
    UserExists(String),
    /// The user was granted nothing with the DAG.
    #[error("nothing of the Dag `{dag}` is granted to {user}")]
    NoGrant {
        /// The user.
        user: String,
        /// The DAG.
        dag: DagId,
    },
    /// Nobody else could let anybody in.
    #[error("{0} is the last admin: make another one first")]
    LastAdmin(String),
    /// The user has no such token.
    #[error("The Token with id `{0}` was not found")]
    NoToken(i64),
    /// There is no such backfill.
    #[error("Could not find backfill with id {0}")]
    NoBackfill(BackfillId),
    /// The DAG has a backfill that is not completed.
    #[error("There is already a running backfill for dag {0}")]
    BackfillExists(DagId),
    /// The backfill is completed, so there is nothing to change.
    #[error("Backfill {0} is already completed.")]
    BackfillCompleted(BackfillId),
    /// The task runs, and was not to be stopped.
    #[error("Task '{0}' of the run {1} is running, stopping attempt to clear")]
    Running(TaskId, RunId),
    /// The run cannot go over to the latest version now.
    #[error("the run {0} has tasks that run or stand in line: it can go over to the latest version when it is at rest")]
    NotAtRest(RunId),
    /// The run stands for no date, so nothing lies before or after it.
    #[error("Cannot use include_past or include_future with no logical_date")]
    NoLogicalDate,
    /// The DAG has a run of that id or logical date.
    #[error("the dag {dag_id} already has a run with the id {run_id} or the logical date {logical_date:?}")]
    RunExists {
        /// The DAG.
        dag_id: DagId,
        /// The id that was asked for.
        run_id: RunId,
        /// The logical date that was asked for.
        logical_date: Option<DateTime<Utc>>,
    },
    /// The conf does not fit the params of the DAG.
    #[error("the conf does not fit the params of the dag {0}: {1}")]
    Params(DagId, BadParams),
    /// The run has not ended.
    #[error("The DagRun with dag_id: `{0}` and run_id: `{1}` cannot be deleted in {2} state")]
    NotDeletable(DagId, RunId, RunState),
    /// The DAG has runs that have not ended.
    #[error("The Dag `{0}` has runs that have not ended: it can be deleted when it is at rest")]
    DagNotAtRest(DagId),
    /// The request contradicts itself.
    #[error("{0}")]
    Invalid(String),
    /// The database, or what it holds, failed.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

/// What kind of refusal it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// What it is about is not there.
    Missing,
    /// There is one like it already.
    Duplicate,
    /// What it is about is in a state in which this cannot be done.
    Conflict,
    /// It cannot be done as it was asked for.
    Unfit,
    /// It may have been right, and could not be done.
    Failed,
}

impl Refused {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::NoDag(_)
            | Self::NoRun(..)
            | Self::NoTask(..)
            | Self::NoPool(_)
            | Self::NoVariable(_)
            | Self::NoConnection(_)
            | Self::NoAsset(_)
            | Self::NoUser(_)
            | Self::NoToken(_)
            | Self::NoGrant { .. }
            | Self::NoBackfill(_) => Kind::Missing,
            Self::UserExists(_)
            | Self::PoolExists(_)
            | Self::VariableExists(_)
            | Self::ConnectionExists(_)
            | Self::RunExists { .. } => Kind::Duplicate,
            Self::LastAdmin(_)
            | Self::BackfillExists(_)
            | Self::BackfillCompleted(_)
            | Self::Running(..)
            | Self::NotAtRest(_)
            | Self::NotDeletable(..)
            | Self::DagNotAtRest(_) => Kind::Conflict,
            Self::NoLogicalDate | Self::Params(..) | Self::Invalid(_) => Kind::Unfit,
            Self::Failed(_) => Kind::Failed,
        }
    }
}

impl From<sqlx::Error> for Refused {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// Who asks, and by which way: it stands in the event log beside what was done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct By {
    /// The way.
    pub way: Way,
    /// The user, if somebody has signed in.
    pub user: Option<String>,
    /// From where.
    pub from: Option<IpAddr>,
}

impl By {
    /// Whoever may run the command line.
    #[must_use]
    pub const fn cli() -> Self {
        Self { way: Way::Cli, user: None, from: None }
    }

    /// A rule of the DAG.
    #[must_use]
    pub const fn scheduler() -> Self {
        Self { way: Way::Scheduler, user: None, from: None }
    }

    /// A test.
    #[must_use]
    pub const fn test() -> Self {
        Self { way: Way::Test, user: None, from: None }
    }

    /// The user; without one, the way stands for it.
    #[must_use]
    pub fn owner(&self) -> &str {
        self.user.as_deref().unwrap_or(self.way.as_str())
    }
}

/// By which way somebody asks, in Airflow's words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// The command line.
    Cli,
    /// The API.
    RestApi,
    /// A page.
    Ui,
    /// A rule of the DAG, carried out by a scheduler.
    Scheduler,
    /// A test.
    Test,
}

impl Way {
    /// As the API writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cli => "cli",
            Self::RestApi => "rest_api",
            Self::Ui => "ui",
            Self::Scheduler => "scheduler",
            Self::Test => "test",
        }
    }
}

async fn write_down(
    tx: &mut PgConnection,
    event: &str,
    dag: &DagId,
    run: Option<&RunId>,
    by: &By,
    extra: Value,
) -> sqlx::Result<()> {
    let event = events::Event { event, dag_id: Some(dag), run_id: run, by, extra };
    events::append(tx, &event).await
}
