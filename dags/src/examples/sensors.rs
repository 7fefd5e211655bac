//! Waiting costs nothing: between two looks a sensor holds no worker slot. One looks again and again, one sleeps until
//! an instant, one until somebody posts a signal (`PUT /api/signals/<run id>`).

use std::time::Duration;

use chrono::{SubsecRound, TimeDelta, Utc};
use orchestrator::prelude::*;

pub(crate) fn dag() -> Dag {
    let dag = Dag::new("example_sensors")
        .source(include_str!("sensors.rs"))
        .description("Waits in three ways.")
        .tag("example");
    let looks = dag.task("looks", looks).poke_interval(Duration::from_secs(2)).timeout(Duration::from_secs(60));
    let sleeps = dag.task("sleeps", sleeps);
    // Nobody need post it: after a minute it is skipped.
    let listens = dag.task("listens", listens).timeout(Duration::from_secs(60)).soft_fail();
    let done = dag.task("done", done).trigger_rule(TriggerRule::NoneFailed);
    dag.chain(looks >> done);
    dag.chain(sleeps >> done);
    dag.chain(listens >> done);
    dag
}

async fn looks(_: Context) -> TaskResult<Poke<()>> {
    Ok(if Utc::now().timestamp() % 3 == 0 { Poke::Done(()) } else { Poke::NotYet })
}

/// Until the next full ten seconds.
async fn sleeps(_: Context) -> TaskResult<Poke<()>> {
    let now = Utc::now().trunc_subsecs(0);
    Ok(match now.timestamp() % 10 {
        0 => Poke::Done(()),
        past => Poke::Until(now + TimeDelta::seconds(10 - past)),
    })
}

async fn listens(context: Context) -> TaskResult<Poke<()>> {
    let key = context.run_id().to_string();
    Ok(if context.signal(&key).await?.is_some() { Poke::Done(()) } else { Poke::OnSignal(key) })
}

async fn done(_: Context) -> TaskResult<()> {
    Ok(())
}
