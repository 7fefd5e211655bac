//! Duty: let those go on for whom there is room though nobody handed it to them: a pool was made or has grown.

use sqlx::{Connection, PgConnection};

use crate::{
    engine::{Freed, Graphs, move_on},
    store::admission,
};

pub(super) async fn run_once(conn: &mut PgConnection, graphs: &Graphs) -> anyhow::Result<u64> {
    let mut queued = 0;
    for gate in admission::gates_with_room(conn).await? {
        let mut tx = conn.begin().await?;
        queued += move_on(&mut tx, graphs, &[], Freed::nothing_at(gate)).await?.queued;
        tx.commit().await?;
    }
    Ok(queued)
}
