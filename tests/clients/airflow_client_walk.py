"""Airflow's own client, against this server: it refuses an answer that lacks a field or has a value it does not know.

usage: USERNAME=... PASSWORD=... airflow_client_walk.py URL
"""

import json
import os
import sys
import time
from datetime import datetime, timezone
from urllib.request import Request, urlopen

import airflow_client.client as client
from airflow_client.client import models
from airflow_client.client.api import (
    asset_api,
    backfill_api,
    config_api,
    connection_api,
    dag_api,
    dag_run_api,
    dag_source_api,
    dag_stats_api,
    dag_version_api,
    dag_warning_api,
    event_log_api,
    experimental_api,
    extra_links_api,
    import_error_api,
    job_api,
    monitor_api,
    plugin_api,
    pool_api,
    provider_api,
    task_api,
    task_instance_api,
    variable_api,
    version_api,
    x_com_api,
)
from airflow_client.client.exceptions import ApiException

ENDED = ("success", "failed")


def refused(status, call, *args, **kwargs):
    """The call is refused with that status, and says why in Airflow's shape."""
    try:
        answer = call(*args, **kwargs)
    except ApiException as error:
        assert error.status == status, f"{error.status} instead of {status}: {error.body}"
        assert "detail" in error.body, error.body
        return
    raise AssertionError(f"not refused: {answer}")


class Walk:
    """One method for each resource, in the order in which a person meets them."""

    def __init__(self, api):
        self.api = api
        self.dags = dag_api.DAGApi(api)
        self.runs = dag_run_api.DagRunApi(api)
        self.instances = task_instance_api.TaskInstanceApi(api)

    def trigger(self, dag, run, **body):
        self.dags.patch_dag(dag, models.DAGPatchBody(is_paused=False))
        body = models.TriggerDAGRunPostBody(dag_run_id=run, logical_date=None, **body)
        return self.runs.trigger_dag_run(dag, body)

    def ends(self, dag, run, state):
        deadline = time.monotonic() + 120
        while (found := self.runs.get_dag_run(dag, run)).state not in ENDED:
            assert time.monotonic() < deadline, found
            time.sleep(0.1)
        assert found.state == state, found
        return found

    def about_the_server(self):
        assert version_api.VersionApi(self.api).get_version().version
        health = monitor_api.MonitorApi(self.api).get_health()
        assert health.metadatabase.status == "healthy" and health.scheduler.status == "healthy", health
        refused(403, config_api.ConfigApi(self.api).get_config)
        jobs = job_api.JobApi(self.api).get_jobs(is_alive=True)
        assert {job.job_type for job in jobs.jobs} == {"SchedulerJob", "WorkerJob", "WebJob"}, jobs
        assert import_error_api.ImportErrorApi(self.api).get_import_errors().total_entries == 0
        assert plugin_api.PluginApi(self.api).get_plugins().total_entries == 0
        assert provider_api.ProviderApi(self.api).get_providers().total_entries == 0
        assert dag_warning_api.DagWarningApi(self.api).list_dag_warnings().total_entries == 0

    def dags_and_tasks(self):
        every = self.dags.get_dags(limit=100)
        assert every.total_entries == len(every.dags) >= 15, every.total_entries
        page = self.dags.get_dags(limit=2, offset=1, order_by=["-dag_id"], tags=["example"])
        assert [dag.dag_id for dag in page.dags] == sorted((dag.dag_id for dag in page.dags), reverse=True)
        assert self.dags.get_dags(dag_id_pattern="etl").dags[0].dag_id == "example_etl"
        assert self.dags.get_dag("example_daily").timetable_summary
        details = self.dags.get_dag_details("example_daily")
        assert details.start_date.year == 2024 and details.catchup is False, details
        self.dags.favorite_dag("example_daily")
        assert [dag.dag_id for dag in self.dags.get_dags(is_favorite=True).dags] == ["example_daily"]
        self.dags.unfavorite_dag("example_daily")
        refused(409, self.dags.unfavorite_dag, "example_daily")
        assert self.dags.get_dag_tags().tags
        refused(404, self.dags.get_dag, "none")
        paused = self.dags.patch_dags(models.DAGPatchBody(is_paused=True), dag_id_pattern="example_da")
        assert [dag.dag_id for dag in paused.dags] == ["example_daily"], paused
        tasks = task_api.TaskApi(self.api)
        assert [task.task_id for task in tasks.get_tasks("example_etl").tasks] == ["extract", "load", "transform"]
        assert tasks.get_task("example_etl", "extract").downstream_task_ids == ["transform"]
        source = dag_source_api.DagSourceApi(self.api).get_dag_source("example_etl")
        assert "extracted" in source.content
        versions = dag_version_api.DagVersionApi(self.api)
        assert versions.get_dag_versions("example_etl").dag_versions[0].version_number == 1
        assert versions.get_dag_version("example_etl", 1).dag_id == "example_etl"

    def a_run_and_its_values(self):
        made = self.trigger("example_etl", "first", conf={"a": 1}, note="by the client")
        assert (made.state, made.run_type, made.conf["a"]) == ("queued", "manual", 1), made
        refused(409, self.trigger, "example_etl", "first")
        refused(404, self.runs.get_dag_run, "example_etl", "none")
        waited = experimental_api.ExperimentalApi(self.api).wait_dag_run_until_finished_without_preload_content(
            "example_etl", "first", interval=0.1, result=["extract"]
        )
        assert waited.data.decode().splitlines()[-1] == '{"results":{"extract":{"rows":3}},"state":"success"}', waited.data
        assert self.runs.get_dag_runs("example_etl", order_by=["-run_after"]).total_entries == 1
        batch = models.DAGRunsBatchBody(dag_ids=["example_etl"], states=["success"])
        assert self.runs.get_list_dag_runs_batch("~", batch).total_entries == 1
        noted = self.runs.patch_dag_run("example_etl", "first", models.DAGRunPatchBody(note="looked at"))
        assert noted.note == "looked at"
        assert self.runs.get_upstream_asset_events("example_etl", "first").total_entries == 0
        xcoms = x_com_api.XComApi(self.api)
        of = {"dag_id": "example_etl", "dag_run_id": "first", "task_id": "extract"}
        assert xcoms.get_xcom_entries(**of).total_entries == 1
        assert xcoms.get_xcom_entry(**of, xcom_key="return_value").actual_instance.value == {"rows": 3}
        created = xcoms.create_xcom_entry(**of, x_com_create_body=models.XComCreateBody(key="mine", value=[1]))
        assert created.value == [1], created
        changed = models.XComUpdateBody(value="two")
        assert xcoms.update_xcom_entry(**of, xcom_key="mine", x_com_update_body=changed).value == "two"
        xcoms.delete_xcom_entry(**of, xcom_key="mine")
        refused(404, xcoms.get_xcom_entry, **of, xcom_key="mine")

    def task_instances(self):
        self.trigger("example_retry", "boom")
        self.ends("example_retry", "boom", "failed")
        of = ("example_retry", "boom")
        listed = self.instances.get_task_instances(*of)
        states = {task.task_id: task.state for task in listed.task_instances}
        assert states == {"ok": "success", "boom": "failed", "after": "upstream_failed"}, states
        assert self.instances.get_task_instance(*of, "boom").try_number == 1
        log = self.instances.get_log(*of, "boom", 1)
        assert any("boom on purpose" in line.event for line in log.content.actual_instance), log
        batch = models.TaskInstancesBatchBody(dag_ids=["example_retry"], state=["failed"])
        assert self.instances.get_task_instances_batch("~", "~", batch).total_entries == 1
        assert extra_links_api.ExtraLinksApi(self.api).get_extra_links(*of, "boom").total_entries == 0
        shown = self.instances.post_clear_task_instances("example_retry", models.ClearTaskInstancesBody(dag_run_id="boom"))
        assert {task.task_id for task in shown.task_instances} == {"boom", "after"}, shown
        boom = [models.ClearTaskInstancesBodyTaskIdsInner("boom")]
        body = models.ClearTaskInstancesBody(dag_run_id="boom", dry_run=False, task_ids=boom, include_downstream=True)
        self.instances.post_clear_task_instances("example_retry", body)
        self.ends("example_retry", "boom", "success")
        tries = self.instances.get_task_instance_tries(*of, "boom")
        assert [task.state for task in tries.task_instances] == ["failed", "success"], tries
        assert self.instances.get_task_instance_try_details(*of, "boom", 2).state == "success"
        mark = models.PatchTaskInstanceBody(new_state="failed", note="by hand")
        assert self.instances.patch_task_instance_dry_run(*of, "boom", patch_task_instance_body=mark).task_instances
        self.instances.patch_task_instance(*of, "boom", mark)
        marked = self.instances.get_task_instance(*of, "boom")
        assert (marked.state, marked.note) == ("failed", "by hand"), marked
        # The answer of a dry run fits two of the client's models, so it cannot read it, with Airflow as with us.
        self.runs.clear_dag_run(*of, models.DAGRunClearBody(dry_run=False))
        self.ends("example_retry", "boom", "success")
        noted = models.BulkDAGRunBody(dag_run_id="boom", note="in bulk")
        update = models.BulkUpdateActionBulkDAGRunBody(action="update", entities=[noted])
        actions = models.BulkBodyBulkDAGRunBody(actions=[models.ActionsInner(update)])
        told = self.runs.bulk_dag_runs("example_retry", actions)
        assert (told.update.success, told.update.errors) == (["example_retry.boom"], []), told
        assert self.runs.get_dag_run(*of).note == "in bulk"

    def mapped_task_instances(self):
        self.trigger("example_mapping", "mapped")
        self.ends("example_mapping", "mapped", "success")
        of = ("example_mapping", "mapped", "letters")
        mapped = self.instances.get_mapped_task_instances(*of, order_by=["-map_index"])
        assert [task.map_index for task in mapped.task_instances] == [2, 1, 0], mapped
        second = self.instances.get_mapped_task_instances(*of, rendered_map_index_pattern="1").task_instances
        assert [task.rendered_map_index for task in second] == ["1"], second
        assert self.instances.get_mapped_task_instance(*of, 1).state == "success"
        assert self.instances.get_mapped_task_instance_tries(*of, 1).total_entries == 1
        assert self.instances.get_mapped_task_instance_try_details(*of, 1, 1).map_index == 1
        values = x_com_api.XComApi(self.api)
        assert values.get_xcom_entry("example_mapping", of[2], of[1], "return_value", map_index=1).actual_instance.value == 6

    def a_run_is_stopped_and_deleted(self):
        self.trigger("example_slow", "nap")
        deadline = time.monotonic() + 60
        while self.instances.get_task_instance("example_slow", "nap", "nap").state != "running":
            assert time.monotonic() < deadline
            time.sleep(0.1)
        refused(409, self.runs.delete_dag_run, "example_slow", "nap")
        self.runs.patch_dag_run("example_slow", "nap", models.DAGRunPatchBody(state="failed"))
        while self.instances.get_task_instance("example_slow", "nap", "nap").hostname:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        self.runs.delete_dag_run("example_slow", "nap")
        refused(404, self.runs.get_dag_run, "example_slow", "nap")

    def pools_variables_connections(self):
        pools = pool_api.PoolApi(self.api)
        assert pools.post_pool(models.PoolBody(name="narrow", slots=2)).open_slots == 2
        refused(409, pools.post_pool, models.PoolBody(name="narrow", slots=2))
        body = models.PoolPatchBody(pool="narrow", slots=3, include_deferred=True)
        assert pools.patch_pool("narrow", body).slots == 3
        assert pools.get_pools(pool_name_pattern="narrow").total_entries == 1
        pools.delete_pool("narrow")
        refused(404, pools.get_pool, "narrow")
        refused(400, pools.delete_pool, "default_pool")

        variables = variable_api.VariableApi(self.api)
        assert variables.post_variable(models.VariableBody(key="region", value="eu")).value == "eu"
        assert variables.patch_variable("region", models.VariableBody(key="region", value="us")).value == "us"
        assert variables.get_variables().total_entries == 1
        variables.delete_variable("region")
        refused(404, variables.get_variable, "region")

        connections = connection_api.ConnectionApi(self.api)
        body = models.ConnectionBody(connection_id="db", conn_type="postgres", host="h", password="secret")
        assert connections.post_connection(body).password == "***"
        body = models.ConnectionBody(connection_id="db", conn_type="postgres", port=5432)
        assert connections.patch_connection("db", body).port == 5432
        assert connections.get_connections().connections[0].connection_id == "db"
        connections.delete_connection("db")
        refused(404, connections.get_connection, "db")

    def backfills(self):
        backfills = backfill_api.BackfillApi(self.api)
        body = models.BackfillPostBody(
            dag_id="example_daily",
            from_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
            to_date=datetime(2026, 1, 3, tzinfo=timezone.utc),
            max_active_runs=1,
        )
        assert backfills.create_backfill_dry_run(body).total_entries == 3
        self.dags.patch_dag("example_daily", models.DAGPatchBody(is_paused=False))
        made = backfills.create_backfill(body)
        refused(409, backfills.create_backfill, body)
        assert backfills.pause_backfill(made.id).is_paused
        assert not backfills.unpause_backfill(made.id).is_paused
        assert backfills.list_backfills("example_daily").total_entries == 1
        deadline = time.monotonic() + 60
        while backfills.get_backfill(made.id).completed_at is None:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        refused(409, backfills.cancel_backfill, made.id)

    def assets(self):
        assets = asset_api.AssetApi(self.api)
        asset = assets.get_assets(name_pattern="example_orders").assets[0]
        assert asset.scheduled_dags[0].dag_id == "example_asset_consumer", asset
        assert assets.get_asset(asset.id).producing_tasks[0].task_id == "write"
        self.dags.patch_dag("example_asset_consumer", models.DAGPatchBody(is_paused=False))
        self.dags.patch_dag("example_asset_producer", models.DAGPatchBody(is_paused=False))
        run = assets.materialize_asset(asset.id)
        self.ends("example_asset_producer", run.dag_run_id, "success")
        deadline = time.monotonic() + 60
        while not (events := assets.get_asset_events(asset_id=asset.id)).asset_events[0].created_dagruns:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert events.asset_events[0].source_task_id == "write", events
        body = models.CreateAssetEventsBody(asset_id=asset.id, extra={"from": "outside"})
        assert assets.create_asset_event(body).asset_id == asset.id
        assert assets.get_asset_aliases().total_entries == 0
        refused(404, assets.get_dag_asset_queued_events, "example_etl")

    def what_was_done(self):
        stats = dag_stats_api.DagStatsApi(self.api).get_dag_stats(["example_etl"])
        assert {count.state: count.count for count in stats.dags[0].stats}["success"] == 1, stats
        log = event_log_api.EventLogApi(self.api)
        listed = log.get_event_logs(dag_id="example_etl", order_by=["-when"])
        assert "trigger_dag_run" in {entry.event for entry in listed.event_logs}, listed
        assert log.get_event_log(listed.event_logs[0].event_log_id).event


def sign_in(url, username, password):
    """A token, as Airflow's documentation has programs get one."""
    body = json.dumps({"username": username, "password": password})
    request = Request(f"{url}/auth/token", body.encode(), {"content-type": "application/json"})
    with urlopen(request) as answer:
        assert answer.status == 201, answer.status
        return json.load(answer)["access_token"]


def main():
    configuration = client.Configuration(host=sys.argv[1])
    with client.ApiClient(configuration) as api:
        refused(401, dag_api.DAGApi(api).get_dags)
    configuration.access_token = sign_in(sys.argv[1], os.environ["USERNAME"], os.environ["PASSWORD"])
    with client.ApiClient(configuration) as api:
        walk = Walk(api)
        walk.about_the_server()
        walk.dags_and_tasks()
        walk.a_run_and_its_values()
        walk.task_instances()
        walk.mapped_task_instances()
        walk.a_run_is_stopped_and_deleted()
        walk.pools_variables_connections()
        walk.backfills()
        walk.assets()
        walk.what_was_done()
    print("walked")


if __name__ == "__main__":
    main()
