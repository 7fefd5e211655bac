//! The assets: which DAGs make them, which run when they are updated, drawn as one picture.

pub(crate) mod one;

use std::collections::HashMap;

use askama::Template;
use axum::extract::{Query, State};
use orchestrator::{
    ids::DagId,
    store::{
        self,
        pages::{
            Page as Part,
            assets::{self, AssetColumn, AssetFilter, AssetListed, Producer},
            select::{Direction, Test},
        },
    },
};
use serde::Deserialize;

use super::{
    drawing::{Drawing, Sketch, lay_out},
    links,
    page::{Frame, Page, PageResult},
    pager::Pager,
    ticking::Away,
    words,
};
use crate::App;

/// Assets on a page, and in its picture.
const ROWS: i64 = 100;

#[derive(Template)]
#[template(path = "assets/list.html")]
pub(crate) struct AssetsPage {
    rows: Vec<Row>,
    drawing: Drawing,
    wanted: Wanted,
    pager: Pager,
}

impl Frame for AssetsPage {
    const SECTION: &'static str = "assets";

    fn is_live(&self) -> bool {
        true
    }
}

pub(super) struct Row {
    asset: AssetListed,
    link: String,
    /// How long ago it was updated.
    ago: Option<Away>,
    producers: Vec<Producer>,
    /// The DAGs that run when it is updated.
    consumers: Vec<DagId>,
}

/// What the list is asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Wanted {
    q: String,
    offset: i64,
}

pub(crate) async fn show(State(app): State<App>, Query(wanted): Query<Wanted>) -> PageResult<AssetsPage> {
    let mut filter = AssetFilter::default();
    if !wanted.q.is_empty() {
        filter = filter.with(AssetColumn::Name, Test::Contains(wanted.q.clone()));
    }
    let filter = filter.order_by(AssetColumn::Name, Direction::Ascending);
    let part = Part { limit: ROWS, offset: wanted.offset.max(0) };
    let mut conn = app.pool.acquire().await?;
    let listed = assets::list(&mut conn, &filter, part).await?;
    let rows = rows(&mut conn, listed.rows).await?;
    let pager = Pager::new(part, listed.total, &[("q", &wanted.q)]);
    Ok(Page(AssetsPage { drawing: lineage(&rows), rows, wanted, pager }))
}

async fn rows(conn: &mut sqlx::PgConnection, listed: Vec<AssetListed>) -> sqlx::Result<Vec<Row>> {
    let now = store::now(conn).await?;
    let names: Vec<_> = listed.iter().map(|asset| asset.name.clone()).collect();
    let producers = assets::producers(conn, &names).await?;
    let consumers = assets::waiting(conn, &names).await?;
    let row = |asset: AssetListed| Row {
        link: format!("/assets/{}", asset.asset_id),
        ago: asset.last_event_at.map(|at| Away { at, now }),
        producers: producers.iter().filter(|of| of.asset == asset.name).cloned().collect(),
        consumers: consumers.iter().filter(|(of, _)| *of == asset.name).map(|(_, dag)| dag.clone()).collect(),
        asset,
    };
    Ok(listed.into_iter().map(row).collect())
}

/// From the DAGs that make an asset to it, and from it to those that run when it is updated.
fn lineage(rows: &[Row]) -> Drawing {
    let (mut sketches, mut places, mut edges) = (Vec::new(), HashMap::new(), Vec::new());
    let mut dag = |sketches: &mut Vec<Sketch>, id: &DagId| {
        *places.entry(id.clone()).or_insert_with(|| {
            sketches.push(sketch(id.to_string(), "dag", "⚙", links::dag(id)));
            sketches.len() - 1
        })
    };
    for row in rows {
        sketches.push(sketch(row.asset.name.clone(), "asset", "◆", row.link.clone()));
        let asset = sketches.len() - 1;
        edges.extend(row.producers.iter().map(|of| (dag(&mut sketches, &of.dag_id), asset)).collect::<Vec<_>>());
        edges.extend(row.consumers.iter().map(|of| (asset, dag(&mut sketches, of))).collect::<Vec<_>>());
    }
    edges.sort_unstable();
    edges.dedup();
    lay_out(sketches, Vec::new(), &edges)
}

fn sketch(name: String, class: &str, sign: &'static str, link: String) -> Sketch {
    let title = if class == "dag" { format!("The DAG {name}") } else { format!("The asset {name}") };
    Sketch {
        name,
        sign,
        class: format!("task {class}"),
        title,
        link: Some(link),
        below: None,
        above: None,
        within: None,
    }
}
