//! Templated values: Airflow's Jinja templates, with its variables, filters and macros.
//!
//! A template is rendered as often as it takes: what it looks up and is not there yet is fetched, and then it is
//! rendered anew.

mod lookups;
mod scope;
mod time;

use std::sync::{Arc, LazyLock};

use anyhow::anyhow;
use minijinja::{Environment, UndefinedBehavior, Value, syntax::SyntaxConfig};
use minijinja_contrib::pycompat;

use self::{
    lookups::{Lookup, Lookups},
    scope::Scope,
};
use crate::context::{Context, TaskResult};

/// What every template is rendered with. What is not defined is an error, as with Airflow's `StrictUndefined`; there
/// is no HTML to be escaped.
static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
    environment.set_syntax(syntax.unwrap_or_default());
    environment.set_unknown_method_callback(pycompat::unknown_method_callback);
    time::add_filters(&mut environment);
    environment
});

/// Whether it can be read as a template.
///
/// # Errors
/// What is wrong with it, and where.
pub fn check(source: &str) -> Result<(), String> {
    ENVIRONMENT.template_from_str(source).map(drop).map_err(|error| error.to_string())
}

/// Renders a template for a try.
///
/// # Errors
/// It cannot be read, or wants what is not there.
pub(crate) async fn render(context: &Context, source: &str) -> TaskResult<String> {
    let lookups = Arc::new(Lookups::default());
    let scope = Value::from_object(Scope::new(context.facts().clone(), Arc::clone(&lookups)));
    loop {
        let rendered = ENVIRONMENT.render_str(source, scope.clone());
        let wanted = lookups.take_wanted();
        if wanted.is_empty() {
            return rendered.map_err(|error| explain(&error, &lookups));
        }
        for lookup in wanted {
            let found = fetch(context, &lookup, &lookups).await?;
            lookups.put(lookup, found);
        }
    }
}

fn explain(error: &minijinja::Error, lookups: &Lookups) -> anyhow::Error {
    let missing = lookups.missing();
    let missing = if missing.is_empty() { String::new() } else { format!("; there is no {}", missing.join(", no ")) };
    anyhow!("a template cannot be rendered: {error}{missing}")
}

async fn fetch(context: &Context, lookup: &Lookup, lookups: &Arc<Lookups>) -> TaskResult<Option<Value>> {
    Ok(match lookup {
        Lookup::Variable(key) => context.find_variable(key).await?.map(Value::from),
        Lookup::Connection(id) => context.find_connection(id).await?.map(|found| scope::connection(&found)),
        Lookup::Result(task) => context.find_result(task).await?.map(scope::json),
        Lookup::Run => context.run_dates().await?.map(|dates| scope::dates(&dates)),
        // That there is none yet is no fault of the template.
        Lookup::PreviousSuccess => {
            Some(context.previous_success().await?.map_or(Value::from(()), |dates| scope::dates(&dates)))
        }
        Lookup::AssetEvents => Some(scope::asset_events(context.asset_events().await?, lookups)),
        Lookup::SourceRun(dag, run) => context.run_dates_of(dag, run).await?.map(|dates| scope::dates(&dates)),
    })
}

#[cfg(test)]
mod tests;
