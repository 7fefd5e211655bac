//! What a task instance got from the tasks before it, what it worked with, and what it returned.

use orchestrator::{
    dag::Graph,
    ids::TaskId,
    overflow::Stored,
    store::pages::{
        Page as Part,
        instances::InstanceListed,
        select::Direction,
        xcoms::{self, XcomColumn, XcomFilter, XcomListed},
    },
    told::Told,
};
use sqlx::PgConnection;

use crate::App;

/// Values on a page, of each side.
const VALUES: Part = Part { limit: 100, offset: 0 };

/// The longest text of a value on a page.
const LENGTH_MAX: usize = 20_000;

/// All of it.
pub(super) struct Values {
    pub(super) rendered: Vec<Told>,
    pub(super) inputs: Vec<Value>,
    pub(super) outputs: Vec<Value>,
}

pub(super) struct Value {
    pub(super) task_id: TaskId,
    pub(super) map_index: i32,
    pub(super) key: String,
    pub(super) text: String,
}

impl Values {
    pub(super) async fn load(
        app: &App,
        conn: &mut PgConnection,
        instance: &InstanceListed,
        graph: &Graph,
        rendered: Vec<Told>,
    ) -> anyhow::Result<Self> {
        let of_run = XcomFilter::default()
            .only(XcomColumn::DagId, &instance.dag_id)
            .only(XcomColumn::RunId, &instance.run_id)
            .order_by(XcomColumn::TaskId, Direction::Ascending)
            .order_by(XcomColumn::MapIndex, Direction::Ascending);
        let own = of_run.clone().only(XcomColumn::TaskId, &instance.task_id);
        let own = own.only(XcomColumn::MapIndex, instance.map_index);
        let before: Vec<_> = graph
            .upstream(instance.node)
            .iter()
            .filter_map(|node| graph.task(*node))
            .map(|task| &task.task_id)
            .collect();
        let inputs = match before.is_empty() {
            true => Vec::new(),
            false => read(app, conn, of_run.one_of(XcomColumn::TaskId, before)).await?,
        };
        Ok(Self { rendered, inputs, outputs: read(app, conn, own).await? })
    }
}

async fn read(app: &App, conn: &mut PgConnection, filter: XcomFilter) -> anyhow::Result<Vec<Value>> {
    let mut values = Vec::new();
    for xcom in xcoms::list(conn, &filter, VALUES).await?.rows {
        let text = text(app, conn, &xcom).await?;
        values.push(Value { task_id: xcom.task_id, map_index: xcom.map_index, key: xcom.key, text });
    }
    Ok(values)
}

async fn text(app: &App, conn: &mut PgConnection, xcom: &XcomListed) -> anyhow::Result<String> {
    let mut text = match xcoms::value(conn, xcom).await? {
        None => String::new(),
        Some(Stored::Inline(value)) => serde_json::to_string_pretty(&value)?,
        Some(Stored::Object { object, .. }) => match &app.overflow {
            None => format!("the object {object}"),
            Some(bucket) => {
                let json = bucket.get(&object).await?;
                json.map_or_else(
                    || format!("the object {object}, which is gone"),
                    |json| String::from_utf8_lossy(&json).into_owned(),
                )
            }
        },
    };
    if let Some((end, _)) = text.char_indices().nth(LENGTH_MAX) {
        text.truncate(end);
        text.push('…');
    }
    Ok(text)
}
