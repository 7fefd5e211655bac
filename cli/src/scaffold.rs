//! `dags new`: a commented start, and its line in `lib.rs`.

use std::path::Path;

use anyhow::{Context, bail};

use crate::{Exit, arguments::ScaffoldPaths, output::say};

/// The line after which `lib.rs` lists its DAGs.
const LIST: &str = "vec![";

pub(crate) fn new_dag(dag_id: &str) -> anyhow::Result<Exit> {
    let is_module = dag_id.starts_with(|c: char| c.is_ascii_lowercase())
        && dag_id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !is_module {
        bail!("{dag_id:?} cannot name a Rust module: use lower-case letters, digits and `_`, a letter first");
    }
    let paths = paths(dag_id)?;
    if paths.file.exists() {
        bail!("{} is there already", paths.file.display());
    }
    let list = std::fs::read_to_string(&paths.list).with_context(|| paths.list.display().to_string())?;
    let listed = add_to_list(&list, dag_id)
        .with_context(|| format!("{} has no `{LIST}` to add {dag_id}::dag() to", paths.list.display()))?;
    std::fs::write(&paths.file, template(dag_id))?;
    std::fs::write(&paths.list, listed)?;
    say(&format!("wrote {}; next: cargo run -- dags check", paths.file.display()));
    Ok(Exit::Done)
}

/// The source folder of the DAGs: in this folder, or in `dags/` of it.
fn paths(dag_id: &str) -> anyhow::Result<ScaffoldPaths> {
    let folder = ["dags/src", "src"]
        .map(Path::new)
        .into_iter()
        .find(|folder| folder.join("lib.rs").exists() || folder.join("main.rs").exists())
        .context("no dags/src or src folder here: call it from the root of the repository")?;
    let list = if folder.join("lib.rs").exists() { "lib.rs" } else { "main.rs" };
    Ok(ScaffoldPaths { file: folder.join(format!("{dag_id}.rs")), list: folder.join(list) })
}

fn add_to_list(source: &str, dag_id: &str) -> Option<String> {
    let first_mod = source.find("\nmod ").map(|at| at + 1).or_else(|| source.find("\nuse ").map(|at| at + 1))?;
    let with_mod = format!("{}mod {dag_id};\n{}", &source[..first_mod], &source[first_mod..]);
    let after_list = with_mod.find(LIST)? + LIST.len();
    Some(format!("{}{dag_id}::dag(), {}", &with_mod[..after_list], &with_mod[after_list..]))
}

fn template(dag_id: &str) -> String {
    format!(
        r#"//! What `{dag_id}` is for.

use std::time::Duration;

use orchestrator::prelude::*;

/// The DAG: settings first, then tasks, then edges. `dags check` says what is wrong with it, `dags test {dag_id}` runs
/// it here and now.
pub(crate) fn dag() -> Dag {{
    let dag = Dag::new("{dag_id}")
        .source(include_str!("{dag_id}.rs"))
        .description("What it is for, in a sentence.")
        .schedule(Schedule::cron("0 6 * * *"))
        .retries(2)
        .retry_delay(Duration::from_secs(60));

    // A task is an async function. Its handle stands for what it returns ...
    let rows = dag.task("extract", extract);
    // ... and a task that takes it comes after it. A wrong type does not compile.
    let loaded = dag.task("load", load.with(rows));
    // Tasks that only follow each other are chained: a >> [b, c] >> d.
    let tell = dag.task("tell", tell);
    dag.chain(loaded >> tell);
    dag
}}

async fn extract(_: Context) -> TaskResult<Vec<u32>> {{
    tracing::info!("what a task says is its log");
    Ok(vec![1, 2, 3])
}}

async fn load(_: Context, rows: Vec<u32>) -> TaskResult<usize> {{
    Ok(rows.len())
}}

async fn tell(context: Context) -> TaskResult<()> {{
    tracing::info!("run {{}} is done", context.run_id());
    Ok(())
}}
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_dag_gets_its_two_places_in_the_list() {
        let before = "//! Doc.\n\nmod first;\n\npub fn dags() -> Vec<Dag> {\n    vec![first::dag()]\n}\n";
        let after = add_to_list(before, "second").unwrap();
        assert!(
            after.contains("mod second;\nmod first;") && after.contains("vec![second::dag(), first::dag()]"),
            "{after}"
        );
    }
}
