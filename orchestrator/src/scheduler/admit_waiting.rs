//! Duty: let those go on for whom there is room though nobody handed it to them: a pool was made or has grown.

use sqlx::{Connection, PgConnection};

use crate::{
    engine::{Freed, Gate, Graphs, move_on},
    store::slots,
};

pub(super) async fn run_once(conn: &mut PgConnection, graphs: &Graphs) -> anyhow::Result<u64> {
    let mut queued = 0;
    for gate in slots::gates_with_room(conn).await? {
        match admit_at(conn, graphs, gate.clone()).await {
            Ok(more) => queued += more,
            Err(error) => {
                tracing::error!(gate = gate.as_str(), error = format!("{error:#}"), "cannot let its line go on");
            }
        }
    }
    Ok(queued)
}

async fn admit_at(conn: &mut PgConnection, graphs: &Graphs, gate: Gate) -> anyhow::Result<u64> {
    let mut tx = conn.begin().await?;
    let queued = move_on(&mut tx, graphs, &[], Freed::nothing_at(gate)).await?.queued;
    tx.commit().await?;
    Ok(queued)
}
