//! The main job, through the real programs: N events produced, some broken → worker → DAG run → production tables.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::time::Duration;

use lake::{
    Event, Schema, layout,
    schema::{Column, Holds},
};
use tests::{Committed, DAG, World, each_log_knows_the_id_of_its_topic};

const STAGING: &str = "staging_streamcommerce";
const PROD: &str = "prod_streamcommerce";

#[tokio::test]
async fn every_event_arrives_once() {
    let world = World::start("pipeline").await.unwrap();
    let standalone = world.standalone().await.unwrap();
    the_bucket_has_older_and_newer_schemas(&world).await;
    let worker = world.worker().await.unwrap();

    // A run with nothing to load succeeds, and dbt has its sources.
    let empty = world.trigger(DAG).await.unwrap();
    world.run_ends(DAG, &empty, "success").await.unwrap();
    assert_eq!(world.rows(STAGING, "").await.unwrap(), 0);
    // As an older program made it.
    let table = format!("`{}.{STAGING}.transactions`", local::bigquery::PROJECT);
    world.query(&format!("ALTER TABLE {table} DROP COLUMN {ADDED}")).await.unwrap();

    world.patch("/dags/example_new_files", serde_json::json!({ "is_paused": false })).await.unwrap();
    let produced = world.produce(300, "0.1").await.unwrap();
    let committed = world.committed(produced).await.unwrap();
    assert_eq!(committed.read, produced);
    assert_eq!(committed.valid + committed.invalid, produced);
    assert!(committed.invalid > 0, "no record was broken");
    each_log_knows_the_id_of_its_topic(&world.bucket().await.unwrap()).await.unwrap();
    new_files_start_a_run(&world).await;
    load_and_compare(&world, committed).await;

    // Again, with nothing new: nothing is added.
    load_and_compare(&world, committed).await;

    // A second batch adds exactly its rows.
    let more = world.produce(50, "0").await.unwrap();
    let after = world.committed(produced + more).await.unwrap();
    assert_eq!(after.valid, committed.valid + more);
    load_and_compare(&world, after).await;

    // A third batch meets several runs at once, past the limit that keeps runs apart: one of them loads it.
    let at_once = world.produce(40, "0").await.unwrap();
    let after = world.committed(produced + more + at_once).await.unwrap();
    runs_at_once_load_a_batch_once(&world, after).await;
    load_and_compare(&world, after).await;

    bad_input_is_refused(&world).await;
    schemas_only_grow(&world).await;
    the_books_of_the_bucket_are_whole(&world, after).await;

    worker.stop(Duration::from_secs(10)).await;
    let page = world.page("/streaming").await.unwrap();
    for text in ["financial_transactions", "malformed json", ">stopped</span>"] {
        assert!(page.contains(text), "the worker told nothing of {text}: {page}");
    }
    standalone.stop(Duration::from_secs(10)).await;
    world.stop().await;
}

/// A column that came with this program.
const ADDED: &str = "paymentMethod";

async fn write_schema(world: &World, number: u32, schema: &Schema) {
    let (name, contents) = (layout::schema(schema.event, number), serde_json::to_vec(schema).unwrap());
    world.bucket().await.unwrap().create(&name, contents.into()).await.unwrap();
}

/// Of a program before this one, and of one after it, whose workers run beside ours.
async fn the_bucket_has_older_and_newer_schemas(world: &World) {
    let (mut older, mut newer) = (Schema::of(Event::Transactions), Schema::of(Event::Views));
    older.columns.retain(|column| column.name != ADDED);
    newer.columns.push(Column { name: "from_tomorrow".to_owned(), holds: Holds::Text, required: false });
    write_schema(world, 1, &older).await;
    write_schema(world, 1, &newer).await;
}

/// What was added is written down, and loaded; a change that readers cannot bear is refused, and said.
async fn schemas_only_grow(world: &World) {
    for (event, versions) in [(Event::Transactions, 2), (Event::Views, 1), (Event::Feedback, 1)] {
        let known = world.bucket().await.unwrap().list(&layout::schemas_of(event), "").await.unwrap();
        assert_eq!(known.len(), versions, "{event}");
    }
    let with_added = format!("SELECT COUNT({ADDED}) FROM `{}.{STAGING}.transactions`", local::bigquery::PROJECT);
    assert!(world.number(&with_added).await.unwrap() > 0, "the column was not loaded");
    let mut other = Schema::of(Event::Feedback);
    other.columns.iter_mut().filter(|column| column.name == "rating").for_each(|column| column.holds = Holds::Text);
    write_schema(world, 2, &other).await;
    let refused = world.stack.streaming("refused", &["worker"]).unwrap().complete().await.unwrap_err().to_string();
    assert!(refused.contains("feedback: the schema of this program cannot follow"), "{refused}");
    assert!(refused.contains("rating was text and is an integer"), "{refused}");
}

/// The worker tells of what it has committed, and the DAG that waits for it runs.
async fn new_files_start_a_run(world: &World) {
    let runs = tokio::time::timeout(tests::PATIENCE, async {
        loop {
            let runs = world.get("/dags/example_new_files/dagRuns").await.unwrap();
            if runs["total_entries"] != 0 {
                return runs;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let runs = runs.await.unwrap();
    let run = &runs["dag_runs"][0];
    assert_eq!(run["run_type"], "asset_triggered", "{run}");
    let run = run["dag_run_id"].as_str().unwrap().replace('+', "%2B");
    let why = world.get(&format!("/dags/example_new_files/dagRuns/{run}/upstreamAssetEvents")).await.unwrap();
    assert_eq!(why["asset_events"][0]["extra"]["topic"], "financial_transactions", "{why}");
}

/// `streaming status`, `verify` and `dlq` say what is there; a replay brings back what it was told of, once.
async fn the_books_of_the_bucket_are_whole(world: &World, committed: Committed) {
    let books = async |arguments: &[&str]| -> serde_json::Value {
        let output = world.stack.streaming("books", arguments).unwrap().output().await.unwrap();
        serde_json::from_str(&output).unwrap_or_else(|error| panic!("{arguments:?}: {error}\n{output}"))
    };
    let sum = |rows: &serde_json::Value, of: &str| -> u64 {
        rows.as_array().unwrap().iter().map(|row| row[of].as_u64().unwrap()).sum()
    };
    let status = books(&["status", "-o", "json"]).await;
    assert_eq!((sum(&status, "lag"), sum(&status, "rows")), (0, committed.valid), "{status}");
    let verdict = books(&["verify", "--deep", "-o", "json"]).await;
    assert_eq!(verdict["faults"], serde_json::json!([]));
    assert_eq!((&verdict["rows"], &verdict["dead_letters"]), (&committed.valid.into(), &committed.invalid.into()));

    for (name, expected) in [
        ("rows_total", committed.valid),
        ("dead_letters_total", committed.invalid),
        ("commit_seconds_count", world.figure("streamcommerce_streaming_commits_total").await.unwrap() as u64),
    ] {
        assert_eq!(world.figure(&format!("streamcommerce_streaming_{name}")).await.unwrap() as u64, expected, "{name}");
    }

    let listed = books(&["dlq", "list", "-o", "json"]).await;
    assert_eq!(sum(&listed, "count"), committed.invalid, "{listed}");
    let place = format!("{}/{}", listed[0]["example"][0], listed[0]["example"][1]);
    let topic = listed[0]["topic"].as_str().unwrap();
    let shown = books(&["dlq", "show", "--topic", topic, "--at", &place, "-o", "json"]).await;
    assert_eq!((&shown[0]["code"], shown.as_array().unwrap().len()), (&listed[0]["code"], 1), "{shown}");

    let of_topic: u64 = listed
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["topic"] == topic)
        .map(|row| row["count"].as_u64().unwrap())
        .sum();
    let replayed = books(&["dlq", "replay", "--topic", topic]).await;
    assert_eq!(replayed["records"], of_topic);
    assert_eq!(books(&["dlq", "replay", "--topic", topic]).await["records"], 0, "replayed twice");
    let after = world.committed(committed.read + of_topic).await.unwrap();
    assert_eq!((after.valid, after.invalid), (committed.valid, committed.invalid + of_topic), "they are still broken");
    let again = books(&["dlq", "show", "--topic", topic, "--limit", "10000", "-o", "json"]).await;
    let origin = |letter: &&serde_json::Value| {
        letter["headers"].as_array().unwrap().iter().any(|header| header[0] == "streamcommerce-replay-of")
    };
    assert_eq!(again.as_array().unwrap().iter().filter(origin).count() as u64, of_topic);

    too_many_dead_letters_are_told(world, after.read).await;
}

/// Over the last thousand records.
async fn too_many_dead_letters_are_told(world: &World, mut read: u64) {
    for (invalid, alarm) in [("0", 0), ("0.5", 1), ("0", 0)] {
        read += world.produce(800, invalid).await.unwrap();
        world.committed(read).await.unwrap();
        let told = world.figure("streamcommerce_streaming_dead_letter_alarm").await.unwrap() as u64;
        assert_eq!(told, alarm, "of the last records a share of {invalid} was broken");
    }
}

/// Runs the DAG; then staging and the facts hold the valid records, each once.
async fn load_and_compare(world: &World, committed: Committed) {
    let run = world.trigger(DAG).await.unwrap();
    world.run_ends(DAG, &run, "success").await.unwrap();
    jobs_and_results_are_shown(world, &run).await;
    assert_eq!(world.rows(STAGING, "").await.unwrap(), committed.valid, "staged is not produced less dead-lettered");
    assert_eq!(world.rows(PROD, "fact_").await.unwrap(), committed.valid, "the facts are not what is staged");
    let twice = format!(
        "SELECT COUNT(*) - COUNT(DISTINCT CONCAT(kafka_topic, '/', CAST(kafka_partition AS STRING), '/', \
         CAST(kafka_offset AS STRING))) FROM `{}.{STAGING}.transactions`",
        local::bigquery::PROJECT
    );
    assert_eq!(world.number(&twice).await.unwrap(), 0, "a row is there twice");
}

/// Where the jobs are, and what dbt said of each model. Such lines are written beside the outcome of their task.
async fn jobs_and_results_are_shown(world: &World, run: &str) {
    let of = |task: &str| format!("/dags/{DAG}/dagRuns/{run}/taskInstances/{task}");
    let shown = async || {
        let links = world.get(&format!("{}/links", of("create_native_transactions_table"))).await.unwrap();
        let dbt = world.get(&of("run_dbt_insert")).await.unwrap();
        let job = links["extra_links"].as_object().unwrap().values().next().cloned();
        let results = dbt["rendered_fields"]["dbt results"].as_str().map(str::to_owned);
        job.zip(results)
    };
    let all = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            match shown().await {
                Some(shown) => break shown,
                None => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    });
    let (job, results) = all.await.unwrap();
    assert!(results.lines().any(|line| line.starts_with("success") && line.contains("model.")), "{results}");
    let job: serde_json::Value = reqwest::get(job.as_str().unwrap()).await.unwrap().json().await.unwrap();
    assert_eq!(job["status"]["state"], "DONE", "{job}");
}

/// `dags test` knows of no other run, so nothing but the ledger stands between these.
async fn runs_at_once_load_a_batch_once(world: &World, committed: Committed) {
    const RUNS: usize = 3;
    let run = || world.stack.streamcommerce("at-once", &["dags", "test", DAG]).unwrap().output();
    let runs = futures::future::join_all(std::iter::repeat_with(run).take(RUNS)).await;
    for said in runs.into_iter().map(Result::unwrap) {
        let loads = said.lines().filter(|line| line.starts_with("insert_into_native_") && line.ends_with(": success"));
        assert_eq!(loads.count(), Event::ALL.len(), "{said}");
    }
    assert_eq!(world.rows(STAGING, "").await.unwrap(), committed.valid, "a batch was loaded twice, or never");
}

async fn bad_input_is_refused(world: &World) {
    let error = async |path: &str| world.get(path).await.unwrap_err().to_string();
    assert!(error("/dags/nothing").await.contains("The Dag with ID: `nothing` was not found"));
    assert!(error("/dags?limit=-1").await.contains("greater_than_equal"));
    assert!(error("/nothing").await.contains("API route not found"));
    let missing = world.post(&format!("/dags/{DAG}/dagRuns"), serde_json::json!({})).await.unwrap_err().to_string();
    assert!(missing.contains("422") && missing.contains("Field required"), "{missing}");

    // A wrong setting is told before anything starts.
    let wrong = world.stack.streaming("wrong", &["produce", "--invalid", "2"]).unwrap().complete().await;
    assert!(wrong.unwrap_err().to_string().contains("--invalid must lie between 0 and 1"));
    let open = ["standalone", "--bind", "0.0.0.0:0"];
    let open = world.stack.streamcommerce("open", &open).unwrap().complete().await;
    assert!(open.unwrap_err().to_string().contains("STREAMCOMMERCE_UNAUTHENTICATED is loopback, and 0.0.0.0"));
}
