//! A mapped task has an instance for each item of a list that is known only while the DAG runs.

use orchestrator::prelude::*;

pub(crate) fn dag() -> Dag {
    let dag = Dag::new("example_mapping")
        .source(include_str!("mapping.rs"))
        .description("Counts the letters of each word; trigger it with words of your own.")
        .tag("example");
    let words = dag.task("words", words);
    let letters = dag.task("letters", letters.expand(words));
    dag.task("sum", sum.with(letters));
    dag
}

async fn words(context: Context) -> TaskResult<Vec<String>> {
    let given = context.conf()["words"].as_array().cloned().unwrap_or_default();
    let given: Vec<_> = given.iter().filter_map(|word| word.as_str().map(ToOwned::to_owned)).collect();
    Ok(if given.is_empty() { ["fast", "simple", "right"].map(ToOwned::to_owned).into() } else { given })
}

async fn letters(_: Context, word: String) -> TaskResult<usize> {
    tracing::info!("{word}");
    Ok(word.chars().count())
}

async fn sum(_: Context, letters: Vec<usize>) -> TaskResult<usize> {
    Ok(letters.into_iter().sum())
}
