//! dbt, as it is: a project and a command.

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use orchestrator::prelude::*;
use serde::Deserialize;

use crate::command::Command;

/// Runs a dbt command on the project that the settings name: `STREAMCOMMERCE_DBT` (the program; `dbt` by default),
/// `STREAMCOMMERCE_DBT_PROJECT` (the folder), `STREAMCOMMERCE_DBT_STATE` (where it may write). A failed test fails the
/// task, with dbt's own words in the log; what became of each model and test stands on the task's page.
#[derive(Clone, Debug)]
pub struct Dbt {
    command: String,
}

impl Dbt {
    /// `dbt build`: models and their tests, in order.
    #[must_use]
    pub fn build() -> Self {
        Self { command: "build".to_owned() }
    }
}

impl Operator for Dbt {
    type Output = ();

    async fn run(&self, context: Context) -> TaskResult<()> {
        let setting = |name: &str| std::env::var(name).ok();
        let program = setting("STREAMCOMMERCE_DBT").unwrap_or_else(|| "dbt".to_owned());
        let project = setting("STREAMCOMMERCE_DBT_PROJECT").context("STREAMCOMMERCE_DBT_PROJECT is not set")?;
        let state = setting("STREAMCOMMERCE_DBT_STATE").unwrap_or_else(|| format!("{project}/target"));
        let (target, begun) = (format!("{state}/target"), Utc::now());
        let ended = Command::new(program)
            .arg(&self.command)
            .arg("--project-dir")
            .arg(&project)
            .arg("--profiles-dir")
            .arg(&project)
            .env("DBT_TARGET_PATH", &target)
            .env("DBT_LOG_PATH", format!("{state}/logs"))
            .env("DBT_SEND_ANONYMOUS_USAGE_STATS", "false")
            .env("DBT_USE_COLORS", "false")
            .current_dir(&project)
            .execute(&context)
            .await;
        let results = tokio::fs::read(format!("{target}/run_results.json")).await;
        if let Some(table) = results.ok().and_then(|json| table_of(&json, begun)) {
            context.rendered("dbt results", &table);
        }
        ended
    }
}

/// dbt's `run_results.json`.
#[derive(Deserialize)]
struct Results {
    metadata: Metadata,
    results: Vec<Outcome>,
}

#[derive(Deserialize)]
struct Metadata {
    generated_at: DateTime<Utc>,
}

#[derive(Deserialize)]
struct Outcome {
    unique_id: String,
    status: String,
    execution_time: f64,
    message: Option<String>,
}

/// What became of each model and test, a line each; none if the file is of an earlier command.
fn table_of(json: &[u8], begun: DateTime<Utc>) -> Option<String> {
    let results: Results = serde_json::from_slice(json).ok()?;
    let line = |Outcome { unique_id, status, execution_time, message }: &Outcome| {
        let message = message.as_deref().unwrap_or_default();
        format!("{status:<8}{execution_time:>8.2} s  {unique_id}  {message}").trim_end().to_owned()
    };
    let lines: Vec<_> = results.results.iter().map(line).collect();
    (results.metadata.generated_at >= begun).then(|| lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_each_model_is_a_line() {
        let json = br#"{"metadata": {"generated_at": "2026-01-02T00:00:00.5Z", "dbt_version": "1"}, "results": [
            {"unique_id": "model.p.facts", "status": "success", "execution_time": 1.234, "message": "MERGE (3 rows)"},
            {"unique_id": "test.p.unique", "status": "fail", "execution_time": 12.0, "message": null, "failures": 2}]}"#;
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let table = table_of(json, at("2026-01-02T00:00:00Z")).unwrap();
        assert_eq!(table, "success     1.23 s  model.p.facts  MERGE (3 rows)\nfail       12.00 s  test.p.unique");
        assert_eq!(table_of(json, at("2026-01-02T00:00:01Z")), None, "of an earlier command");
        assert_eq!(table_of(b"no json", at("2026-01-02T00:00:00Z")), None);
    }
}
