//! What a task reads besides its inputs: params, variables, connections.

use orchestrator::{
    commands::{self, By, ManualRun, NewVariable, Refused},
    lookup::Connection,
    prelude::*,
    secrets::{Keys, new_key},
    state::RunState,
    worker::Settings,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgPool;

use super::world::World;

#[derive(Serialize, Deserialize, JsonSchema)]
struct Load {
    /// Where the shop is.
    region: String,
    #[schemars(range(min = 1, max = 90))]
    days: u32,
}

async fn load(context: Context) -> TaskResult<String> {
    let Load { region, days } = context.params()?;
    Ok(format!("{days} days of {region}"))
}

#[sqlx::test(migrations = "../migrations")]
async fn a_run_has_the_defaults_of_its_params_unless_its_conf_says_otherwise(pool: PgPool) {
    let dag = Dag::new("d").params(Load { region: "eu".to_owned(), days: 7 });
    dag.task("load", load);
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    world.unpause("d").await;
    for (conf, expected) in [
        (json!({}), "7 days of eu"),
        (json!({ "days": 30, "more": "than the dag asks for" }), "30 days of eu"),
        (json!({ "region": "us" }), "7 days of us"),
    ] {
        let run = world.trigger("d", ManualRun { conf: Some(conf), ..ManualRun::default() }).await;
        assert_eq!(world.finished("d", &run).await, RunState::Success);
        assert_eq!(world.results("d", &run, "load").await, [json!(expected)]);
    }
    worker.stop().await;
    let mut conn = world.pool.acquire().await.unwrap();
    for (conf, told) in
        [(json!({ "days": 91 }), "days: 91 is greater than"), (json!({ "region": 5 }), "region: 5 is not")]
    {
        let run = ManualRun { conf: Some(conf), ..ManualRun::default() };
        let refused = commands::trigger(&mut conn, &world.graphs, &"d".into(), run, &By::test()).await.unwrap_err();
        assert!(matches!(refused, Refused::Params(..)) && refused.to_string().contains(told), "{refused}");
    }
}

#[test]
fn defaults_that_do_not_fit_are_told_when_the_dag_is_built() {
    let dag = Dag::new("d").params(Load { region: "eu".to_owned(), days: 0 });
    dag.task("load", load);
    let faults = dag.build().unwrap_err();
    assert!(faults[0].to_string().starts_with("dag d: the defaults of its params do not fit"), "{}", faults[0]);
    let dag = Dag::new("d").params(5_u32);
    dag.task("load", load);
    assert_eq!(dag.build().unwrap_err()[0].to_string(), "dag d: its params must be a struct with named fields");
}

#[sqlx::test(migrations = "../migrations")]
async fn a_task_reads_variables_and_connections_and_its_log_masks_their_secrets(pool: PgPool) {
    let dag = Dag::new("d");
    dag.task("look", async |context: Context| -> TaskResult<()> {
        let region = context.variable("region").await?;
        let token = context.variable("api_token").await?;
        let db = context.connection("db").await?;
        let password = db.password.unwrap_or_default();
        tracing::info!("region {region}, token {token}, password {password}");
        anyhow::bail!("cannot sign in with {password} and {token}")
    });
    let world = World::new(pool, vec![dag]).await;
    let keys = Keys::parse(&new_key()).unwrap();
    let mut conn = world.pool.acquire().await.unwrap();
    for (key, value) in [("region", "europe"), ("api_token", "hunter22")] {
        let new = NewVariable { key, value, description: None };
        commands::create_variable(&mut conn, &keys, new, &By::test()).await.unwrap();
    }
    let db = Connection { password: Some("s3cr3t!".to_owned()), ..Connection::default() };
    commands::create_connection(&mut conn, &keys, "db", &db, &By::test()).await.unwrap();
    drop(conn);
    let worker = world.worker(Settings { keys, ..Settings::default() });
    let run = world.start("d").await;
    assert_eq!(world.finished("d", &run).await, RunState::Failed);
    worker.stop().await;
    let log = world.log("d", &run, "look").await.join("\n");
    let cause = world.tries("d", &run, "look").await[0].1.clone().unwrap();
    assert_eq!(cause, "cannot sign in with *** and ***");
    assert!(!log.contains("hunter22") && !log.contains("s3cr3t!"), "{log}");
    // Whether the line itself is caught depends on the layer that `main` installs; its cause is always there.
    assert!(log.contains("cannot sign in with *** and ***"), "{log}");
    let texts = sqlx::query_scalar::<_, String>(
        "select sealed::text from variable union select sealed_password::text from connection",
    );
    for text in texts.fetch_all(&world.pool).await.unwrap() {
        assert!(!text.contains("68756e746572") && !text.contains("733363723374"), "in clear: {text}");
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn a_template_takes_what_the_run_and_the_database_have(pool: PgPool) {
    let dag = Dag::new("d").schedule(Schedule::cron("0 3 * * *"));
    let list = dag.task("list", async |_: Context| TaskResult::Ok(vec!["a", "b"]));
    let load = dag.task("load", async |context: Context| {
        context.render("{{ var.value.region }}: {{ ti.xcom_pull('list')[1] }} of {{ data_interval_start | ds }} {{ run_id[:9] }}").await
    });
    dag.chain(list >> load);
    let world = World::new(pool, vec![dag]).await;
    let keys = Keys::parse(&new_key()).unwrap();
    let new = NewVariable { key: "region", value: "europe", description: None };
    commands::create_variable(&mut world.pool.acquire().await.unwrap(), &keys, new, &By::test()).await.unwrap();
    let worker = world.worker(Settings { keys, ..Settings::default() });
    world.unpause("d").await;
    let manual = ManualRun { logical_date: Some("2024-02-29T03:00:00Z".parse().unwrap()), ..ManualRun::default() };
    let run = world.trigger("d", manual).await;
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    assert_eq!(world.results("d", &run, "load").await, [json!("europe: b of 2024-02-29 manual__2")]);
    worker.stop().await;
}
