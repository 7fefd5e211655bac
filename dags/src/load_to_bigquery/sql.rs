//! The statements. Names of tables and columns come from the lake's contract; values are parameters.

use lake::event::{Event, Kind};

use super::batch::Batch;

/// Where staging is.
pub(super) const STAGING: &str = "staging_streamcommerce";

/// A table of staging, quoted.
fn table(project: &str, name: &str) -> String {
    format!("`{project}.{STAGING}.{name}`")
}

/// The external table of a batch; it goes when the batch is loaded.
fn external_name(batch: &Batch) -> String {
    format!("{}_external_{}", batch.event, batch.number)
}

/// The ledger of an event: one row, made atomically.
pub(super) fn create_ledger(project: &str, event: Event) -> String {
    let ledger = table(project, &format!("load_state_{event}"));
    format!("CREATE TABLE IF NOT EXISTS {ledger} AS SELECT 0 AS batch, '' AS batch_id, '{{}}' AS offsets")
}

/// Where the ledger stands.
pub(super) fn read_ledger(project: &str, event: Event) -> String {
    format!("SELECT batch, offsets FROM {}", table(project, &format!("load_state_{event}")))
}

/// An external table over exactly these files.
pub(super) fn create_external(project: &str, bucket: &str, batch: &Batch) -> String {
    let uris: Vec<_> = batch.files.iter().map(|uri| format!("'{uri}'")).collect();
    external(project, bucket, &external_name(batch), batch.event, &uris.join(",\n    "))
}

/// The external table over all files of an event, for people.
pub(super) fn create_external_of_all(project: &str, bucket: &str, event: Event) -> String {
    let all = format!("'gs://{bucket}/{}/*.parquet'", lake::layout::events_prefix(event));
    external(project, bucket, &format!("{event}_external"), event, &all)
}

fn external(project: &str, bucket: &str, name: &str, event: Event, uris: &str) -> String {
    // Explicit columns: files of before a column was added have none, and are read as null. Explicit types of the hive
    // columns: inference reads `hour=09` as text.
    format!(
        "CREATE OR REPLACE EXTERNAL TABLE {} (\n    {}\n)\n\
         WITH PARTITION COLUMNS (year INT64, month INT64, day INT64, hour INT64)\n\
         OPTIONS (format = 'PARQUET', uris = [{uris}], hive_partition_uri_prefix = 'gs://{bucket}/{}')",
        table(project, name),
        columns(event).join(",\n    "),
        lake::layout::events_prefix(event)
    )
}

/// The columns of an event's tables, with their types. Only what is there since the first file is not null.
fn columns(event: Event) -> Vec<String> {
    let fields = event.fields().iter().map(|field| format!("{} {}", field.name, type_of(field.kind)));
    let kafka = [
        "kafka_topic STRING",
        "kafka_partition INT64",
        "kafka_offset INT64",
        "kafka_timestamp TIMESTAMP",
        "ingestion_time TIMESTAMP NOT NULL",
    ];
    fields.chain(kafka.map(str::to_owned)).collect()
}

/// The native table of an event, with the columns that were added since it was made.
pub(super) fn create_native(project: &str, event: Event) -> String {
    let native = table(project, event.name());
    let may_be_new = event.fields().iter().filter(|field| !field.is_required);
    let added = may_be_new.map(|field| {
        format!("ALTER TABLE {native} ADD COLUMN IF NOT EXISTS {} {};\n", field.name, type_of(field.kind))
    });
    format!(
        "CREATE TABLE IF NOT EXISTS {native} (\n    {}\n) PARTITION BY DATE(ingestion_time) CLUSTER BY {};\n{}",
        columns(event).join(",\n    "),
        event.clustering().join(", "),
        added.collect::<String>()
    )
}

fn type_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Text { .. } => "STRING",
        Kind::Integer { .. } => "INT64",
        Kind::Float { .. } => "FLOAT64",
        Kind::Timestamp => "TIMESTAMP",
    }
}

/// Loads a batch once, whoever else tries, and answers whose batch is loaded. Changing the ledger's row is what makes
/// two transactions conflict (two INSERTs alone never would). Parameters: `@old`, `@new`, `@batch_id`, `@offsets`,
/// `@rows`.
pub(super) fn load(project: &str, batch: &Batch) -> String {
    let event = batch.event;
    let columns = event.columns().collect::<Vec<_>>().join(", ");
    let (ledger, native) = (table(project, &format!("load_state_{event}")), table(project, event.name()));
    let name = external_name(batch);
    let external = table(project, &name);
    format!(
        "IF (SELECT batch FROM {ledger}) = @old THEN\n\
         CREATE TEMP TABLE b AS SELECT {columns} FROM {external};\n\
         ASSERT (SELECT COUNT(*) FROM b) = @rows AS 'the files of {name} do not hold the rows that their manifests say';\n\
         BEGIN TRANSACTION;\n\
         UPDATE {ledger} SET batch = @new, batch_id = @batch_id, offsets = @offsets WHERE batch = @old;\n\
         IF @@row_count = 1 THEN\n\
         INSERT INTO {native} ({columns}) SELECT {columns} FROM b;\n\
         COMMIT TRANSACTION;\n\
         ELSE\n\
         ROLLBACK TRANSACTION;\n\
         END IF;\n\
         END IF;\n\
         DROP EXTERNAL TABLE IF EXISTS {external};\n\
         SELECT batch_id FROM {ledger};"
    )
}

/// How many rows of the batch's offsets staging has.
pub(super) fn count(project: &str, batch: &Batch) -> String {
    let of_range = |range: &super::batch::Range| {
        let super::batch::Range { partition, start, end } = range;
        format!("(kafka_partition = {partition} AND kafka_offset >= {start} AND kafka_offset < {end})")
    };
    let ranges: Vec<_> = batch.ranges.iter().map(of_range).collect();
    format!("SELECT COUNT(*) FROM {} WHERE {}", table(project, batch.event.name()), ranges.join(" OR "))
}
