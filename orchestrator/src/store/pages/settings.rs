//! Variables, connections, pools and tags.

use sqlx::PgConnection;

use super::{
    Listed, Page,
    select::{self, Column, Selection, Source, Sql},
};
use crate::store::{connections::ConnectionRow, variables::VariableRow};

/// What variables are chosen and ordered by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VariableColumn {
    /// Its name.
    Key,
    /// What it is for.
    Description,
}

impl Column for VariableColumn {
    fn sql(self) -> Sql {
        match self {
            Self::Key => Sql::of("v.key", "text"),
            Self::Description => Sql::maybe("v.description", "text"),
        }
    }
}

const VARIABLES: Source = Source {
    columns: "v.key, v.sealed, v.description",
    from: "variable v",
    joins: "",
    key: &[Sql::of("v.key", "text")],
};

/// Variables; if nothing else is said, in the order of their names.
///
/// # Errors
/// The database is down.
pub async fn variables(
    conn: &mut PgConnection,
    filter: &Selection<VariableColumn>,
    page: Page,
) -> sqlx::Result<Listed<VariableRow>> {
    select::list(conn, VARIABLES, filter, page).await
}

/// What connections are chosen and ordered by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConnectionColumn {
    /// Its name.
    ConnId,
    /// What it leads to.
    ConnType,
    /// What it is for.
    Description,
    /// The host.
    Host,
    /// The port.
    Port,
}

impl Column for ConnectionColumn {
    fn sql(self) -> Sql {
        match self {
            Self::ConnId => Sql::of("c.conn_id", "text"),
            Self::ConnType => Sql::of("c.conn_type", "text"),
            Self::Description => Sql::maybe("c.description", "text"),
            Self::Host => Sql::maybe("c.host", "text"),
            Self::Port => Sql::maybe("c.port", "int"),
        }
    }
}

const CONNECTIONS: Source = Source {
    columns: "c.conn_id, c.conn_type, c.description, c.host, c.login, c.schema, c.port, c.sealed_password, c.sealed_extra",
    from: "connection c",
    joins: "",
    key: &[Sql::of("c.conn_id", "text")],
};

/// Connections; if nothing else is said, in the order of their names.
///
/// # Errors
/// The database is down.
pub async fn connections(
    conn: &mut PgConnection,
    filter: &Selection<ConnectionColumn>,
    page: Page,
) -> sqlx::Result<Listed<ConnectionRow>> {
    select::list(conn, CONNECTIONS, filter, page).await
}

/// What has nothing but a name to be chosen and ordered by: pools and tags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Name;

impl Column for Name {
    fn sql(self) -> Sql {
        Sql::of("n.name", "text")
    }
}

/// Of DAGs as they are now.
const TAGS: &str = "(select distinct tag as name from dag d join dag_version v on v.version_id = d.current_version_id
    cross join lateral jsonb_array_elements_text(coalesce(v.graph -> 'tags', '[]')) as t(tag)) n";

/// The names of pools.
///
/// # Errors
/// The database is down.
pub async fn pools(conn: &mut PgConnection, filter: &Selection<Name>, page: Page) -> sqlx::Result<Listed<String>> {
    names(conn, "pool n", filter, page).await
}

/// The tags of the DAGs that are there.
///
/// # Errors
/// The database is down.
pub async fn tags(conn: &mut PgConnection, filter: &Selection<Name>, page: Page) -> sqlx::Result<Listed<String>> {
    names(conn, TAGS, filter, page).await
}

const NAME: &[Sql] = &[Sql::of("n.name", "text")];

async fn names(
    conn: &mut PgConnection,
    from: &'static str,
    filter: &Selection<Name>,
    page: Page,
) -> sqlx::Result<Listed<String>> {
    let source = Source { columns: "n.name", from, joins: "", key: NAME };
    let Listed { rows, total } = select::list::<_, (String,)>(conn, source, filter, page).await?;
    Ok(Listed { rows: rows.into_iter().map(|(name,)| name).collect(), total })
}
