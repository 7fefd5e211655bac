//! A branch chooses which of the tasks after it run; the others are skipped. `join` runs when nothing has failed and
//! something has succeeded.

use orchestrator::prelude::*;

pub(crate) fn dag() -> Dag {
    let dag = Dag::new("example_branching")
        .source(include_str!("branching.rs"))
        .description(r#"Trigger it with {"full": true}, and it reloads."#)
        .tag("example");
    let choice = dag.task("choose", choose);
    let (append, reload) = (dag.task("append", work), dag.task("reload", work));
    let join = dag.task("join", work).trigger_rule(TriggerRule::NoneFailedMinOneSuccess);
    dag.chain(choice >> [append, reload] >> join);
    dag
}

async fn choose(context: Context) -> TaskResult<Branch> {
    Ok(Branch::to([if context.conf()["full"] == true { "reload" } else { "append" }]))
}

async fn work(_: Context) -> TaskResult<()> {
    Ok(())
}
