use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::*;
use crate::{
    context::{Facts, Reads},
    ids::{DagId, RunId, TaskId},
    lookup::Connection,
    state::{RunState, RunType, TaskState},
    store::{assets::AssetEvent, run_dates::RunDates},
};

#[derive(Default)]
struct Shelf(BTreeMap<&'static str, &'static str>);

#[async_trait]
impl Reads for Shelf {
    async fn result_of(&self, task: &TaskId) -> anyhow::Result<Option<Value>> {
        Ok((task.as_str() == "list").then(|| json!({ "files": ["a", "b"], "key": "region" })))
    }

    async fn item(&self) -> anyhow::Result<Option<Value>> {
        Ok(None)
    }

    async fn variable(&self, key: &str) -> anyhow::Result<Option<String>> {
        Ok(self.0.get(key).map(ToString::to_string))
    }

    async fn connection(&self, conn_id: &str) -> anyhow::Result<Option<Connection>> {
        let extra = Some(json!({ "sslmode": "require" }));
        let db = || Connection { host: Some("db.local".to_owned()), port: Some(5432), extra, ..Connection::default() };
        Ok((conn_id == "db").then(db))
    }

    async fn asset_events(&self) -> anyhow::Result<Vec<AssetEvent>> {
        let event = |event_id, asset: &str| AssetEvent {
            event_id,
            asset: asset.to_owned(),
            source_dag_id: Some("extract".into()),
            source_run_id: (event_id > 1).then(|| RunId::from(format!("slot__{event_id}"))),
            source_task_id: None,
            source_map_index: None,
            extra: json!({ "rows": event_id }),
            happened_at: DateTime::UNIX_EPOCH,
        };
        Ok(vec![event(1, "orders"), event(2, "views"), event(3, "orders")])
    }

    async fn run_dates(&self) -> anyhow::Result<Option<RunDates>> {
        Ok(Some(RunDates {
            run_id: RunId::from("manual__1"),
            run_type: RunType::Manual,
            logical_date: at("2024-02-29T03:04:05Z"),
            run_after: at("2024-02-29T00:00:00Z").unwrap_or_default(),
            start_date: at("2024-02-29T00:00:01Z"),
            end_date: None,
            data_interval_start: at("2024-02-28T00:00:00Z").filter(|_| !self.0.contains_key("about_no_time")),
            data_interval_end: at("2024-02-29T00:00:00Z").filter(|_| !self.0.contains_key("about_no_time")),
        }))
    }

    async fn run_dates_of(&self, dag: &DagId, run: &RunId) -> anyhow::Result<Option<RunDates>> {
        let is_there = (dag.as_str(), run.as_str()) == ("extract", "slot__2");
        Ok(self.run_dates().await?.filter(|_| is_there))
    }

    async fn previous_success(&self) -> anyhow::Result<Option<RunDates>> {
        let own = self.run_dates().await?;
        let day_before = at("2024-02-27T00:00:00Z");
        Ok(own
            .filter(|_| !self.0.contains_key("first_run"))
            .map(|own| RunDates { data_interval_start: day_before, ..own }))
    }

    async fn signal(&self, _: &str) -> anyhow::Result<Option<Value>> {
        Ok(None)
    }

    async fn states(&self, _: &DagId, _: &TaskId, _: DateTime<Utc>) -> anyhow::Result<Vec<TaskState>> {
        Ok(Vec::new())
    }

    async fn run_state(&self, _: &DagId, _: DateTime<Utc>) -> anyhow::Result<Option<RunState>> {
        Ok(None)
    }
}

fn at(text: &str) -> Option<DateTime<Utc>> {
    text.parse().ok()
}

fn context(logical_date: Option<DateTime<Utc>>) -> Context {
    let shelf = [("region", "europe"), ("limits", r#"{"rows": 5}"#), ("broken", "{")];
    with(Shelf(shelf.into()), logical_date)
}

fn with(shelf: Shelf, logical_date: Option<DateTime<Utc>>) -> Context {
    let facts = Facts {
        dag_id: DagId::from("shop"),
        run_id: RunId::from("manual__1"),
        task_id: TaskId::from("load"),
        try_number: 2,
        map_index: -1,
        logical_date,
        conf: json!({ "full": true }),
        params: json!({ "region": "eu", "days": 7 }),
    };
    Context::new(facts, Arc::new(shelf), CancellationToken::new(), TaskTracker::new())
}

async fn rendered(source: &str) -> String {
    context(at("2024-02-29T03:04:05Z")).render(source).await.unwrap_or_else(|error| panic!("{source}: {error:#}"))
}

async fn told(source: &str) -> String {
    context(None).render(source).await.unwrap_err().to_string()
}

#[tokio::test]
async fn airflows_variables_filters_and_macros_mean_the_same_here() {
    for (source, expected) in [
        ("no template\n", "no template\n"),
        ("{{ ds }} {{ ds_nodash }}", "2024-02-29 20240229"),
        (
            "{{ ts }} {{ ts_nodash }} {{ ts_nodash_with_tz }}",
            "2024-02-29T03:04:05+00:00 20240229T030405 20240229T030405+0000",
        ),
        ("{{ logical_date }}", "2024-02-29 03:04:05+00:00"),
        ("{{ logical_date | ds }} {{ logical_date.add(days=1) | ds_nodash }}", "2024-02-29 20240301"),
        ("{{ logical_date.subtract(hours=4).strftime('%d/%m %H:%M:%S.%f') }}", "28/02 23:04:05.000000"),
        ("{{ logical_date.year }}-{{ logical_date.month }}", "2024-2"),
        ("{{ data_interval_start | ds }}/{{ data_interval_end | ds }}", "2024-02-28/2024-02-29"),
        ("{{ prev_data_interval_start_success | ds }} {{ prev_end_date_success is none }}", "2024-02-27 True"),
        (
            "{{ dag_run.run_type }} {{ dag_run.start_date | ts }} {{ dag_run.run_id }}",
            "manual 2024-02-29T00:00:01+00:00 manual__1",
        ),
        (
            "{% for asset, events in triggering_asset_events.items() %}{{ asset }}: {{ events[-1].extra.rows }} of {{ events | length }}, {% endfor %}",
            "orders: 3 of 2, views: 2 of 1, ",
        ),
        // Airflow's own example, but for the asset.
        (
            "{{ (triggering_asset_events.values() | last | first).source_dag_run.data_interval_start | ds }}",
            "2024-02-28",
        ),
        ("{{ triggering_asset_events.orders[0].source_dag_run is none }}", "True"),
        ("{{ macros.ds_format(ds, '%Y-%m-%d', '%z') }}", "+0000"),
        ("{{ macros.ds_add(ds, -1) }} {{ macros.ds_format(ds, '%Y-%m-%d', '%m/%d/%y') }}", "2024-02-28 02/29/24"),
        ("{{ dag.dag_id }}.{{ task.task_id }} {{ run_id }} {{ ti.try_number }}", "shop.load manual__1 2"),
        ("{{ task_instance_key_str }}", "shop__load__20240229"),
        ("{{ params.region.upper() }} {{ params.get('days') + 1 }}", "EU 8"),
        ("{% if dag_run.conf.full %}all{% else %}new{% endif %}", "all"),
        ("{{ var.value.region }} {{ var.json.limits.rows }}", "europe 5"),
        ("{{ var.value.get('nowhere', 'here') }} {{ var.value.nowhere | default('there') }}", "here there"),
        ("{{ conn.db.host }}:{{ conn.db.port }} {{ conn.db.extra_dejson.sslmode }}", "db.local:5432 require"),
        ("{{ ti.xcom_pull(task_ids='list').files | join(',') }}", "a,b"),
        ("{{ ti.xcom_pull(['list', 'nothing'])[0].files[1] }} {{ ti.xcom_pull('nothing') is none }}", "b True"),
        // What one lookup says may be what the next one asks for.
        ("{{ var.value[ti.xcom_pull('list').key] }}", "europe"),
        ("<b>{{ '<&>' }}</b>", "<b><&></b>"),
    ] {
        assert_eq!(rendered(source).await, expected, "{source}");
    }
}

#[tokio::test]
async fn before_the_first_success_there_is_none_and_that_is_no_fault() {
    let first = with(Shelf([("first_run", "")].into()), at("2024-02-29T03:04:05Z"));
    let source = "{{ prev_data_interval_end_success is none }} {{ prev_start_date_success or 'never' }}";
    assert_eq!(first.render(source).await.unwrap(), "True never");
}

#[tokio::test]
async fn what_a_run_about_no_time_lacks_is_told_with_what_to_do() {
    let timeless = with(Shelf([("about_no_time", "")].into()), None);
    for (source, expected) in [
        ("{{ ds }}", "there is no logical date (only a run that was made with a logical date has one)"),
        ("{{ task_instance_key_str }}", "there is no logical date"),
        (
            "{{ data_interval_end | ds }}",
            "there is no data interval (only a run that was made with a logical date has one)",
        ),
    ] {
        let told = timeless.render(source).await.unwrap_err().to_string();
        assert!(told.contains(expected), "{source}: {told}");
    }
    assert_eq!(timeless.render("{{ ds | default('never') }}").await.unwrap(), "never");
}

#[tokio::test]
async fn what_is_not_there_is_told_by_name() {
    for (source, expected) in [
        ("{{ nothing }}", "undefined value"),
        ("{{ var.value.nowhere }}", "there is no variable nowhere"),
        ("{{ conn.nowhere.host }}", "there is no connection nowhere"),
        ("{{ var.json.broken.rows }}", "the variable broken"),
        ("{{ ti.xcom_pull('list', key='other') }}", "tasks have one result"),
        (
            "{{ triggering_asset_events.orders[1].source_dag_run.run_type }}",
            "there is no run slot__3 of the dag extract (any more)",
        ),
        ("{{ macros.ds_add('yesterday', 1) }}", "\"yesterday\" is not a %Y-%m-%d"),
        ("{{ macros.ds_add('2024-01-01', 999999999999) }}", "the date is out of range"),
        ("{{ ", "syntax error"),
    ] {
        assert!(told(source).await.contains(expected), "{source}: {}", told(source).await);
    }
    assert!(check("{{ ds }}").is_ok() && check("{% if %}").unwrap_err().contains("syntax error"));
}
