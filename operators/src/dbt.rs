//! dbt, as it is: a project and a command.

use anyhow::Context as _;
use orchestrator::prelude::*;

use crate::command::Command;

/// Runs a dbt command on the project that the settings name: `STREAMCOMMERCE_DBT` (the program; `dbt` by default),
/// `STREAMCOMMERCE_DBT_PROJECT` (the folder), `STREAMCOMMERCE_DBT_STATE` (where it may write). A failed test fails the
/// task, with dbt's own words in the log.
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

    async fn run(&self, _: Context) -> TaskResult<()> {
        let setting = |name: &str| std::env::var(name).ok();
        let program = setting("STREAMCOMMERCE_DBT").unwrap_or_else(|| "dbt".to_owned());
        let project = setting("STREAMCOMMERCE_DBT_PROJECT").context("STREAMCOMMERCE_DBT_PROJECT is not set")?;
        let state = setting("STREAMCOMMERCE_DBT_STATE").unwrap_or_else(|| format!("{project}/target"));
        Command::new(program)
            .arg(&self.command)
            .arg("--project-dir")
            .arg(&project)
            .arg("--profiles-dir")
            .arg(&project)
            .env("DBT_TARGET_PATH", format!("{state}/target"))
            .env("DBT_LOG_PATH", format!("{state}/logs"))
            .env("DBT_SEND_ANONYMOUS_USAGE_STATS", "false")
            .env("DBT_USE_COLORS", "false")
            .current_dir(&project)
            .execute()
            .await
    }
}
