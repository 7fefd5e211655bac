//! What `--help` shows below the options of each group of commands.

pub(super) const SERVE: &str = "Examples:
  streamcommerce standalone --database-url postgres://app@localhost/app
  streamcommerce standalone --examples --slots 64";

pub(super) const DB: &str = "Examples:
  streamcommerce db migrate
  streamcommerce db check
  streamcommerce db clean --days 90";

pub(super) const DAGS: &str = "Examples:
  streamcommerce dags list
  streamcommerce dags trigger orders --conf '{\"region\": \"eu\"}'
  streamcommerce dags test orders
  streamcommerce dags list -o json --url https://orchestrator.example --token TOKEN";

pub(super) const RUNS: &str = "Examples:
  streamcommerce runs list orders --state failed
  streamcommerce runs wait orders manual__2026-01-31";

pub(super) const USERS: &str = "Examples:
  streamcommerce users create ada --role op
  streamcommerce users grant grace orders user
  streamcommerce users token ada laptop --days 30
  streamcommerce users tokens ada
  streamcommerce users revoke-token ada 7";

pub(super) const TASKS: &str = "Examples:
  streamcommerce tasks list orders manual__2026-01-31
  streamcommerce tasks logs orders manual__2026-01-31 extract --follow
  streamcommerce tasks clear orders manual__2026-01-31 --only-failed --downstream --yes";

pub(super) const BACKFILL: &str = "Examples:
  streamcommerce backfill create orders --from-date 2026-01-01 --to-date 2026-01-31 --dry-run
  streamcommerce backfill pause 7";

pub(super) const ASSETS: &str = "Examples:
  streamcommerce assets list
  streamcommerce assets materialize --name orders";

pub(super) const POOLS: &str = "Examples:
  streamcommerce pools set warehouse 4 'queries at once'
  streamcommerce pools export pools.json";

pub(super) const VARIABLES: &str = "Examples:
  streamcommerce variables set region eu
  streamcommerce variables import variables.json";

pub(super) const CONNECTIONS: &str = "Examples:
  streamcommerce connections add warehouse --conn-type postgres --conn-host db --conn-port 5432 --password-stdin
  streamcommerce connections import connections.json";

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use crate::arguments::Arguments;

    /// A line as a shell parts it: by spaces, but not between single quotes.
    fn words(line: &str) -> Vec<String> {
        let quoted = line.split('\'').enumerate().flat_map(|(at, part)| match at % 2 {
            0 => part.split_whitespace().map(ToOwned::to_owned).collect(),
            _ => vec![part.to_owned()],
        });
        quoted.collect()
    }

    #[test]
    fn every_group_of_commands_has_examples_that_can_be_typed() {
        for group in Arguments::command().get_subcommands().filter(|command| command.has_subcommands()) {
            let name = group.get_name();
            if name == "config" {
                continue; // `list` and `get-value NAME` are their own examples
            }
            let help = group.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples: Vec<_> = help.lines().filter(|line| line.starts_with("  streamcommerce ")).collect();
            assert!(examples.len() >= 2, "{name}");
            for line in examples {
                let typed = Arguments::try_parse_from(words(line));
                assert!(typed.is_ok(), "{line}: {}", typed.err().map(|error| error.to_string()).unwrap_or_default());
                assert_eq!(words(line)[1], name, "{line}");
            }
        }
    }
}
