//! Params: a struct with defaults. What somebody triggers is checked against it before there is a run, and a form is
//! made from it.

use orchestrator::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Settings {
    /// Whom to greet.
    name: String,
    /// How often.
    #[schemars(range(min = 1, max = 10))]
    times: u32,
}

pub(crate) fn dag() -> Dag {
    let dag = Dag::new("example_params")
        .source(include_str!("params.rs"))
        .description("Greets somebody some times.")
        .tag("example")
        .params(Settings { name: "world".to_owned(), times: 2 });
    dag.task("greet", greet);
    dag
}

async fn greet(context: Context) -> TaskResult<u32> {
    let Settings { name, times } = context.params()?;
    for _ in 0..times {
        tracing::info!("hello, {name}");
    }
    Ok(times)
}
