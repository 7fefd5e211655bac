//! Groups give tasks a common name, and stand in chains as one.

use orchestrator::prelude::*;

pub(crate) fn dag() -> Dag {
    let dag = Dag::new("example_groups")
        .source(include_str!("groups.rs"))
        .description("Reads two sources side by side, then joins them.")
        .tag("example");
    let begin = dag.task("begin", work);
    let [orders, users] = ["orders", "users"].map(|source| {
        let group = dag.group(source);
        dag.chain(group.task("read", work) >> group.task("check", work));
        group
    });
    let join = dag.task("join", work);
    dag.chain(begin >> orders >> join);
    dag.chain(begin >> users >> join);
    dag
}

async fn work(_: Context) -> TaskResult<()> {
    Ok(())
}
