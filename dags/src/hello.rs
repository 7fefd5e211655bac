//! The smallest DAG that shows the whole: a result that travels along a typed handle, and a chain.

use orchestrator::prelude::*;

pub(crate) fn dag() -> Dag {
    let dag = Dag::new("hello")
        .source(include_str!("hello.rs"))
        .description("Greets, and counts the letters.")
        .tag("example");
    let greeting = dag.task("greet", greet);
    let letters = dag.task("count", count.with(greeting));
    let done = dag.task("done", done);
    dag.chain(letters >> done);
    dag
}

async fn greet(context: Context) -> TaskResult<String> {
    let name = context.conf()["name"].as_str().unwrap_or("world").to_owned();
    tracing::info!("hello, {name}");
    Ok(format!("hello, {name}"))
}

async fn count(_: Context, greeting: String) -> TaskResult<usize> {
    let letters = greeting.chars().filter(|c| c.is_alphabetic()).count();
    tracing::info!("{letters} letters");
    Ok(letters)
}

async fn done(context: Context) -> TaskResult<()> {
    tracing::info!("run {} is done", context.run_id());
    Ok(())
}
