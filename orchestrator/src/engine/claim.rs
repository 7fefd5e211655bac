//! What a worker takes at the end of a settle.

use sqlx::PgConnection;

use super::{abilities::Abilities, graphs::Graphs};
use crate::{
    ids::ProcessId,
    store::instances::{self, Claim},
};

/// Who claims after a settle.
#[derive(Clone, Copy, Debug)]
pub struct Claimant<'a> {
    /// The worker.
    pub worker: ProcessId,
    /// What it can run.
    pub abilities: &'a Abilities,
    /// The worker queues that it serves.
    pub queues: &'a [String],
    /// Its free slots.
    pub free: i64,
}

/// Claims what else there is. What has begun at once was all there was, unless something was queued beside it.
pub(super) async fn claim_more(
    conn: &mut PgConnection,
    graphs: &Graphs,
    mut claims: Vec<Claim>,
    queued: i64,
    claimant: Option<Claimant<'_>>,
) -> anyhow::Result<Vec<Claim>> {
    let Some(claimant) = claimant else { return Ok(Vec::new()) };
    let free = claimant.free - claims.len() as i64;
    if free > 0 && (claims.is_empty() || queued > 0) {
        claims.extend(claim_known(conn, graphs, Claimant { free, ..claimant }).await?);
    }
    Ok(claims)
}

/// Claims what is queued, but for tasks that the claimant's binary does not have, or whose graph it cannot read: those go
/// back before anybody sees it.
async fn claim_known(conn: &mut PgConnection, graphs: &Graphs, claimant: Claimant<'_>) -> anyhow::Result<Vec<Claim>> {
    let mut known: Vec<Claim> = Vec::new();
    loop {
        let free = claimant.free - known.len() as i64;
        let claimed = instances::claim(conn, Claimant { free, ..claimant }).await?;
        let mut is_strange = false;
        for claim in claimed {
            if !claimant.abilities.can_run(&claim.dag_id, &claim.task_id) {
                claimant.abilities.leave_task(&claim.dag_id, &claim.task_id);
            } else if !graphs.can_read(conn, claim.version).await? {
                claimant.abilities.leave_version(&claim.dag_id, claim.version);
            } else {
                // Its graph is known now: whoever runs it needs no database to begin.
                known.push(claim);
                continue;
            }
            is_strange = true;
            instances::hand_back_if_current(conn, claim.instance, claim.attempt).await?;
        }
        if !is_strange {
            return Ok(known);
        }
    }
}
