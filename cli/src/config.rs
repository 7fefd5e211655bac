//! `config`: every setting of this program, and what it is now.

use std::collections::BTreeMap;

use anyhow::Context;
use clap::{Arg, CommandFactory};
use serde::Serialize;

use crate::{
    Exit,
    arguments::{Arguments, ConfigCommand, OutputFormat},
    output,
};

/// Settings that are no arguments, for a list of processes shows arguments, or because they count before there are any.
const OF_THE_ENVIRONMENT: [(&str, &str, Shown); 12] = [
    ("STREAMCOMMERCE_SECRET_KEY", "Seals connections and variables, and signs tokens", Shown::Never),
    ("STREAMCOMMERCE_ADMIN_PASSWORD", "With it the user admin is made where there is no admin yet", Shown::Never),
    (
        "STREAMCOMMERCE_TRUSTED_PROXIES",
        "Networks whose X-Forwarded-For is believed, for example `10.0.0.0/8`",
        Shown::Plainly,
    ),
    ("STREAMCOMMERCE_UNAUTHENTICATED", "Who may come in without signing in: loopback or accept", Shown::Plainly),
    ("STREAMCOMMERCE_TLS_CERT", "The certificate for HTTPS, a PEM file", Shown::Plainly),
    ("STREAMCOMMERCE_TLS_KEY", "Its key, a PEM file", Shown::Plainly),
    ("STREAMCOMMERCE_OIDC_ISSUER", "The address of an OpenID provider where people sign in", Shown::Plainly),
    ("STREAMCOMMERCE_OIDC_CLIENT_ID", "What this server is called there", Shown::Plainly),
    ("STREAMCOMMERCE_OIDC_CLIENT_SECRET", "What it shows there", Shown::Never),
    (
        "STREAMCOMMERCE_OIDC_ROLES",
        "Which role stands for what the provider says, for example `data=user,*=viewer`",
        Shown::Plainly,
    ),
    ("STREAMCOMMERCE_OIDC_ROLES_CLAIM", "Where the provider says it: groups", Shown::Plainly),
    ("STREAMCOMMERCE_LOG", "What is logged, for example `info,sqlx=warn`", Shown::Plainly),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    Plainly,
    Never,
}

/// One setting.
#[derive(Debug, Serialize)]
struct Setting {
    name: String,
    /// None if it has none; stars if it is a secret.
    value: Option<String>,
    from: &'static str,
    about: String,
}

pub(crate) fn dispatch(command: &ConfigCommand, format: OutputFormat) -> anyhow::Result<Exit> {
    let mut settings = settings();
    match command {
        ConfigCommand::List => {
            let rows: Vec<_> = settings.into_values().collect();
            output::list(format, &["setting", "value", "from", "about"], &rows, |setting| {
                let value = setting.value.clone().unwrap_or_else(|| "-".to_owned());
                vec![setting.name.clone(), value, setting.from.to_owned(), setting.about.clone()]
            })?;
        }
        ConfigCommand::GetValue { name } => {
            let setting = settings.remove(name).with_context(|| format!("there is no setting {name}"))?;
            let value = setting.value.with_context(|| format!("{name} is not set, and has no default"))?;
            output::say(&value);
        }
    }
    Ok(Exit::Done)
}

/// Those of all commands, by name.
fn settings() -> BTreeMap<String, Setting> {
    let mut settings = BTreeMap::new();
    let mut commands = vec![Arguments::command()];
    while let Some(command) = commands.pop() {
        settings.extend(command.get_arguments().filter_map(of_argument).map(named));
        commands.extend(command.get_subcommands().cloned());
    }
    settings.extend(OF_THE_ENVIRONMENT.map(|(name, about, shown)| named(read(name, about.to_owned(), None, shown))));
    settings
}

fn named(setting: Setting) -> (String, Setting) {
    (setting.name.clone(), setting)
}

fn of_argument(argument: &Arg) -> Option<Setting> {
    let name = argument.get_env()?.to_str()?;
    let default: Vec<_> = argument.get_default_values().iter().filter_map(|value| value.to_str()).collect();
    let default = (!default.is_empty()).then(|| default.join(","));
    let about = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let shown = if argument.is_hide_env_values_set() { Shown::Never } else { Shown::Plainly };
    Some(read(name, about, default, shown))
}

fn read(name: &str, about: String, default: Option<String>, shown: Shown) -> Setting {
    let given = std::env::var(name).ok();
    let from = match (&given, &default) {
        (Some(_), _) => "environment",
        (None, Some(_)) => "default",
        (None, None) => "-",
    };
    let given = given.map(|value| if shown == Shown::Never { "***".to_owned() } else { value });
    Setting { name: name.to_owned(), value: given.or(default), from, about }
}
