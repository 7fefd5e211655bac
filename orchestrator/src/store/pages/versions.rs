//! The versions of DAGs.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{
    Listed, Page,
    select::{self, Column, Selection, Source, Sql},
};
use crate::ids::{DagId, VersionId};

/// A version of a DAG. What its graph says is not here: ask for the graph of the version.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct VersionListed {
    /// The database's key.
    pub version: VersionId,
    /// Its DAG.
    pub dag_id: DagId,
    /// Its number among those of its DAG.
    pub number: i32,
    /// When it was stored.
    pub created_at: DateTime<Utc>,
}

/// What versions are chosen and ordered by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VersionColumn {
    /// In the order of their making.
    Key,
    /// Their DAG.
    DagId,
    /// Their number.
    Number,
}

impl Column for VersionColumn {
    fn sql(self) -> Sql {
        match self {
            Self::Key => Sql::of("v.version_id", "bigint"),
            Self::DagId => Sql::of("v.dag_id", "text"),
            Self::Number => Sql::of("v.number", "int"),
        }
    }
}

/// Which versions.
pub type VersionFilter = Selection<VersionColumn>;

const VERSIONS: Source = Source {
    columns: "v.version_id as version, v.dag_id, v.number, v.created_at",
    from: "dag_version v",
    joins: "",
    key: &[Sql::of("v.version_id", "bigint")],
};

/// Versions; if nothing else is said, the oldest first.
///
/// # Errors
/// The database is down.
pub async fn list(conn: &mut PgConnection, filter: &VersionFilter, page: Page) -> sqlx::Result<Listed<VersionListed>> {
    select::list(conn, VERSIONS, filter, page).await
}

/// The source of a version, if its author gave it; of the latest version if none is named.
///
/// # Errors
/// The database is down.
pub async fn source(conn: &mut PgConnection, dag: &DagId, number: Option<i32>) -> sqlx::Result<Option<SourceOf>> {
    sqlx::query_as!(
        SourceOf,
        "select number, source from dag_version where dag_id = $1 and ($2::int is null or number = $2)
         order by number desc limit 1",
        dag.as_str(),
        number
    )
    .fetch_optional(conn)
    .await
}

/// What a version was written as.
#[derive(Clone, Debug)]
pub struct SourceOf {
    /// The version.
    pub number: i32,
    /// Its text, if its author gave it.
    pub source: Option<String>,
}
