"""The BigQuery emulator of the local stack: local-bigquery 0.3.2, with what it lacks.

    HOME=<state>/home GCS_LOCAL_ROOT=<state>/gcs python emulator.py serve --host 127.0.0.1 --port 9050 \
        --grpc-port 9060 --project <project> --dataset scratch --data-dir <state>/bigquery

local-bigquery runs BigQuery SQL on DuckDB. Six things are added here, each by replacing one of its
functions, which is why requirements.txt pins its version exactly:

1. DuckDB's extensions come from PyPI wheels, never from the network. (No GEOGRAPHY functions: their
   extension alone would be 80 MB.)
2. EXTERNAL tables over gs:// Parquet files, by DDL and by tables.insert.
   `gs://bucket/object` is the file $GCS_LOCAL_ROOT/bucket/object. Of the columns that the DDL names,
   those that no file has are null.
3. DROP EXTERNAL TABLE, alone or inside a script.
4. CREATE TABLE AS SELECT reports its destination table, as BigQuery does (dbt-bigquery reads it).
5. `SET (v) = (SELECT AS STRUCT ...)`, which dbt-bigquery writes for dynamic insert_overwrite.
6. Jobs that a killed emulator left RUNNING are failed at the next start: nobody would ever end them.

It is ready when GET /bigquery/v2/projects/<project>/datasets answers 200; the port opens earlier.
"""

import functools
import json
import pathlib
import re
import shutil
import sys

import duckdb

# ---- 1. DuckDB without a network. Before local_bigquery is imported: it opens DuckDB on first use. ----

_duckdb_connect = duckdb.connect


def install_extensions() -> None:
    """Put the extensions from the duckdb-extension-* wheels where DuckDB looks for installed ones."""
    platform = _duckdb_connect().execute("PRAGMA platform").fetchone()[0]
    version = f"v{duckdb.__version__}"
    installed = pathlib.Path.home() / ".duckdb" / "extensions" / version / platform
    installed.mkdir(parents=True, exist_ok=True)
    for folder in map(pathlib.Path, sys.path):
        for wheel_file in folder.glob(f"duckdb_extension_*/extensions/{version}/*.duckdb_extension"):
            target = installed / wheel_file.name
            if not target.exists():
                # Copy, then rename: a start that is killed half way leaves no torn file behind.
                partial = target.with_suffix(".partial")
                shutil.copyfile(wheel_file, partial)
                partial.replace(target)


def connect(*args, config=None, **kwargs):
    """duckdb.connect, but the time zone is set after opening.

    As a connect option it needs the ICU extension before ICU is loaded, and DuckDB would download it.
    """
    config = dict(config or {})
    time_zone = config.pop("TimeZone", None)
    connection = _duckdb_connect(*args, config=config, **kwargs)
    if time_zone:
        connection.execute(f"SET GLOBAL TimeZone='{time_zone}'")
    return connection


duckdb.connect = connect

from local_bigquery import cli  # noqa: E402
from local_bigquery.catalog import datasets, names, tables  # noqa: E402
from local_bigquery.engine import database, types  # noqa: E402
from local_bigquery.errors import BigQueryError, already_exists  # noqa: E402
from local_bigquery.jobs import query, storage  # noqa: E402
from local_bigquery.models import ExternalDataConfiguration, Table, TableFieldSchema  # noqa: E402
from local_bigquery.sql import script  # noqa: E402

# geography.sql loads DuckDB's spatial extension.
database.FUNCTIONS = [path for path in database.FUNCTIONS if path.stem != "geography"]

# ---- 6. Jobs of an emulator that was killed. ----

_database_connect = database._connect


@functools.cache
def connect_and_fail_lost_jobs() -> duckdb.DuckDBPyConnection:
    connection = _database_connect()
    lost = connection.execute(
        "SELECT project_id, job_id, resource FROM emulator.jobs WHERE state <> 'DONE'"
    ).fetchall()
    for project, job_id, resource in lost:
        job = json.loads(resource)
        error = {"reason": "backendError", "message": "The emulator was stopped while this job ran."}
        job["status"] = {"state": "DONE", "errorResult": error, "errors": [error]}
        job["statistics"]["endTime"] = job["statistics"]["creationTime"]
        connection.execute(
            "UPDATE emulator.jobs SET state = 'DONE', resource = ? WHERE project_id = ? AND job_id = ?",
            [json.dumps(job), project, job_id],
        )
    return connection


database._connect = connect_and_fail_lost_jobs

# ---- 2. EXTERNAL tables: a DuckDB view over read_parquet, plus the table's resource. ----

tables.STORED_TYPES = (*tables.STORED_TYPES, "EXTERNAL")


def local_glob(uri: str) -> str:
    """gs://bucket/a/* as DuckDB's glob: a star of GCS also crosses slashes, which DuckDB spells **."""
    return re.sub(r"/\*([^/*]*)$", r"/**/*\1", storage._local(uri))


def duckdb_type(type_: str) -> str:
    return types.duckdb_type(TableFieldSchema(name="_", type=type_))


def read_parquet(external: ExternalDataConfiguration, partition_columns: list[tuple[str, str]]) -> str:
    """The DuckDB table function that reads the files of an external table."""
    files = ", ".join(storage.literal(local_glob(uri)) for uri in external.sourceUris or [])
    options = "union_by_name=true"
    if hive := external.hivePartitioningOptions:
        options += ", hive_partitioning=true"
        # Mode CUSTOM names its columns in the prefix: gs://bucket/path/{year:INTEGER}/{month:INTEGER}
        columns = partition_columns or re.findall(r"\{(\w+):(\w+)\}", hive.sourceUriPrefix or "")
        if columns:
            pairs = (
                f"{storage.literal(name)}: "
                f"{storage.literal(duckdb_type(type_))}"
                for name, type_ in columns
            )
            options += f", hive_types={{{', '.join(pairs)}}}"
        elif hive.mode == "STRINGS":
            options += ", hive_types_autocast=false"
    return f"read_parquet([{files}], {options})"


def create_external_table(
    project: str,
    dataset: str,
    table: str,
    external: ExternalDataConfiguration,
    replace: bool = False,
    partition_columns: list[tuple[str, str]] = (),
    schema: list[tuple[str, str]] = (),
) -> Table:
    datasets.get(project, dataset)  # a missing dataset is its 404
    if tables.exists(project, dataset, table):
        if not replace:
            raise already_exists("Table", names.label(project, dataset, table))
        tables.delete(project, dataset, table)
    if (external.sourceFormat or "") != "PARQUET":
        raise BigQueryError(
            "invalid", f"the emulator reads external tables in PARQUET only, not {external.sourceFormat}"
        )
    source = read_parquet(external, partition_columns)
    with database.cursor() as cursor:
        try:
            found = cursor.sql(f"SELECT * FROM {source} LIMIT 0").columns
            wanted = [
                f'CAST({name if name in found else "NULL"} AS {duckdb_type(type_)}) AS {name}'
                for name, type_ in schema
            ]
            wanted += [name for name, _ in partition_columns] if schema else ["*"]
            columns = ", ".join(wanted)
            relation = cursor.sql(f"SELECT {columns} FROM {source} LIMIT 0")
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            raise BigQueryError("invalid", f"Failed to read external data: {reason}") from None
        fields = [types.field(name, type_, False) for name, type_ in zip(relation.columns, relation.types)]
        cursor.execute(f"CREATE VIEW {tables.name(project, dataset, table)} AS SELECT {columns} FROM {source}")
    resource = tables.defaults(project, dataset, table).merged(
        Table(
            type="EXTERNAL",
            externalDataConfiguration=external,
            schema={"fields": [field.dump() for field in fields]},
        )
    )
    tables.record(project, dataset, table, resource)
    return resource.replace(type="EXTERNAL")


_tables_create = tables.create


def tables_insert(project_id: str, dataset_id: str, body: Table, translate) -> Table:
    if body.externalDataConfiguration:
        table = body.tableReference.tableId
        return create_external_table(project_id, dataset_id, table, body.externalDataConfiguration)
    return _tables_create(project_id, dataset_id, body, translate)


tables.create = tables_insert

# ---- 3 to 5. Statements that local-bigquery does not know, caught before it parses them. ----

LEADING_COMMENTS = re.compile(r"(?s)\A(?:\s*(?:/\*.*?\*/|(?:--|#)[^\n]*(?:\n|\Z)))+")
CREATE_EXTERNAL = re.compile(
    r"""(?isx) \A \s* CREATE \s+ (?P<replace> OR \s+ REPLACE \s+)? EXTERNAL \s+ TABLE \s+
    (?P<if_not_exists> IF \s+ NOT \s+ EXISTS \s+)? (?P<name> [`\w.\-]+) \s*
    (?: \( (?P<schema> [^)]*) \) \s* )?
    (?: WITH \s+ PARTITION \s+ COLUMNS \s* (?: \( (?P<columns> [^)]*) \) )? \s* )?
    OPTIONS \s* \( (?P<options> .*) \) \s* ;? \s* \Z"""
)
DROP_EXTERNAL = re.compile(r"(?i)\ADROP\s+EXTERNAL\s+TABLE\b")
SET_ONE_FROM_STRUCT = re.compile(r"(?i)\bset\s*\(\s*(\w+)\s*\)\s*=\s*\(\s*select\s+as\s+struct\b")


_parse_statement = script.Parser.statement


def parse_statement(parser: script.Parser) -> script.Statement:
    """One statement of a query or script; an external table is dropped as what it is in DuckDB, a view."""
    statement = _parse_statement(parser)
    if statement.kind == "SQL":
        statement.text = DROP_EXTERNAL.sub("DROP VIEW", statement.text)
    return statement


script.Parser.statement = parse_statement


def string_option(options: str, key: str) -> str | None:
    found = re.search(rf"(?i)\b{key}\s*=\s*['\"]([^'\"]*)['\"]", options)
    return found and found[1]


def external_configuration(ddl: re.Match) -> ExternalDataConfiguration:
    """OPTIONS (format = ..., uris = [...], hive_partition_uri_prefix = ...) as the REST resource."""
    options = ddl["options"]
    uris = re.search(r"(?is)\buris\s*=\s*\[(.*?)\]", options)
    if not uris:
        raise BigQueryError("invalidQuery", "CREATE EXTERNAL TABLE needs the option uris = [...]")
    configuration = {
        "sourceFormat": (string_option(options, "format") or "").upper(),
        "sourceUris": re.findall(r"['\"](gs://[^'\"]*)['\"]", uris[1]),
    }
    if prefix := string_option(options, "hive_partition_uri_prefix"):
        configuration["hivePartitioningOptions"] = {
            "mode": "CUSTOM" if ddl["columns"] else "AUTO",
            "sourceUriPrefix": prefix,
        }
    return ExternalDataConfiguration.model_validate(configuration)


def table_reference(name: str, project: str, default_dataset) -> tuple[str, str, str]:
    parts = name.replace("`", "").split(".")
    if len(parts) == 1:
        if not (default_dataset and default_dataset.datasetId):
            raise BigQueryError(
                "invalid", f'Table "{name}" must be qualified with a dataset (e.g. dataset.table).'
            )
        parts = [default_dataset.datasetId, *parts]
    if len(parts) == 2:
        parts = [project, *parts]
    return tuple(parts)


def column_list(text: str | None) -> list[tuple[str, str]]:
    """The names and types of `a INT64, b STRING NOT NULL`."""
    return [tuple(column.split()[:2]) for column in (text or "").split(",") if column.strip()]


_query_execute = query.execute


def execute_create_external(ddl: re.Match, cursor, project_id, job_id, config, *args, **kwargs):
    reference = table_reference(ddl["name"], project_id, config.defaultDataset)
    existed = tables.exists(*reference)
    if ddl["if_not_exists"] and existed:
        operation = "SKIP"
    else:
        operation = "REPLACE" if ddl["replace"] and existed else "CREATE"
        create_external_table(
            *reference,
            external_configuration(ddl),
            replace=bool(ddl["replace"]),
            partition_columns=column_list(ddl["columns"]),
            schema=column_list(ddl["schema"]),
        )
    # An empty query gives the job its (empty) result; then its statistics are put right.
    nothing = config.replace(query="SELECT 1 AS _ LIMIT 0")
    statistics, children, destination = _query_execute(cursor, project_id, job_id, nothing, *args, **kwargs)
    statistics = statistics.replace(
        statementType="CREATE_EXTERNAL_TABLE",
        ddlOperationPerformed=operation,
        ddlTargetTable=dict(zip(("projectId", "datasetId", "tableId"), reference)),
    )
    return statistics, children, destination


def execute(cursor, project_id, job_id, config, *args, **kwargs):
    sql = config.query or ""
    if ddl := CREATE_EXTERNAL.match(LEADING_COMMENTS.sub("", sql)):
        return execute_create_external(ddl, cursor, project_id, job_id, config, *args, **kwargs)

    if SET_ONE_FROM_STRUCT.search(sql):
        config = config.replace(query=SET_ONE_FROM_STRUCT.sub(r"SET \1 = (SELECT ", sql))
    statistics, children, destination = _query_execute(cursor, project_id, job_id, config, *args, **kwargs)
    if destination is None and statistics.statementType == "CREATE_TABLE_AS_SELECT" and not children:
        destination = statistics.ddlTargetTable
    return statistics, children, destination


query.execute = execute

if __name__ == "__main__":
    install_extensions()
    cli.main()
