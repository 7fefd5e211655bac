//! What an author writes is what the graph says: every setting, every edge, and what follows from its shape.

mod setups;

use std::time::Duration;

use chrono::{TimeZone, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Definition, Graph, Mapped, Next, Past, Registry, Role, SensorSpec};
use crate::{
    ids::{Node, TaskId},
    notify::{Deadline, Event, Notice},
    prelude::*,
};

async fn nothing(_: Context) -> TaskResult<()> {
    Ok(())
}

async fn double(_: Context, item: u32) -> TaskResult<u32> {
    Ok(item * 2)
}

async fn sum(_: Context, all: Vec<u32>) -> TaskResult<u32> {
    Ok(all.into_iter().sum())
}

async fn tell(_: Notice) -> anyhow::Result<()> {
    Ok(())
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Days {
    days: u32,
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn named(graph: &Graph, nodes: &[Node]) -> Vec<String> {
    nodes.iter().map(|node| graph.task(*node).unwrap().task_id.to_string()).collect()
}

fn node(graph: &Graph, task: &str) -> Node {
    graph.node(&TaskId::from(task)).unwrap()
}

/// With every setting that a DAG has.
fn all_settings() -> Dag {
    let instant = |day| Utc.with_ymd_and_hms(2026, 1, day, 0, 0, 0).unwrap();
    Dag::new("all")
        .source("its text")
        .description("does all")
        .schedule(Schedule::cron("@daily"))
        .start_date(instant(1))
        .end_date(instant(9))
        .catchup(true)
        .jitter(secs(7))
        .max_active_runs(3)
        .max_active_tasks(4)
        .max_map_length(5)
        .dagrun_timeout(secs(60))
        .fail_fast()
        .max_consecutive_failed_dag_runs(2)
        .params(Days { days: 1 })
        .on_success(tell)
        .on_failure(tell)
        .deadline(Deadline::AfterQueued(secs(1)), tell)
        .deadline(Deadline::AfterQueued(secs(2)), tell)
        .tag("a")
        .owner("ada")
        .is_paused_upon_creation(false)
        .retries(8)
        .retry_delay(secs(9))
        .retry_exponential_backoff(3.0)
        .execution_timeout(secs(10))
}

#[test]
fn every_setting_of_a_dag_is_in_its_graph() {
    let dag = all_settings();
    assert_eq!(dag.dag_id().as_str(), "all");
    dag.task("task", nothing);
    let built = dag.build().unwrap();
    let graph = built.graph();
    let told = json!({
        "dag_id": graph.dag_id(), "description": graph.description(), "schedule": graph.schedule(),
        "window": graph.window(), "jitter": graph.jitter(), "max_active_runs": graph.max_active_runs(),
        "max_active_tasks": graph.max_active_tasks(), "max_map_length": graph.max_map_length(),
        "dagrun_timeout": graph.dagrun_timeout(), "fail_fast": graph.fail_fast(), "tags": graph.tags(),
        "max_consecutive_failed_dag_runs": graph.max_consecutive_failed_dag_runs(), "owner": graph.owner(),
        "callbacks": graph.callbacks(), "deadlines": graph.deadlines(),
        "is_paused_upon_creation": graph.is_paused_upon_creation(), "params": graph.params(),
    });
    let in_secs = |secs: u64| json!({ "secs": secs, "nanos": 0 });
    assert_eq!(graph.params().unwrap().defaults()["days"], 1);
    assert_eq!(graph.params().unwrap().schema()["properties"]["days"]["type"], "integer");
    let expected = json!({
        "dag_id": "all", "description": "does all", "schedule": Schedule::cron("@daily"),
        "window": { "start": "2026-01-01T00:00:00Z", "end": "2026-01-09T00:00:00Z", "catchup": true },
        "jitter": in_secs(7), "max_active_runs": 3, "max_active_tasks": 4, "max_map_length": 5,
        "dagrun_timeout": in_secs(60), "fail_fast": true, "tags": ["a"], "max_consecutive_failed_dag_runs": 2,
        "owner": "ada", "callbacks": ["run_success", "run_failure"],
        "deadlines": [{ "after_queued": in_secs(1) }, { "after_queued": in_secs(2) }],
        "is_paused_upon_creation": false, "params": told["params"],
    });
    assert_eq!(told, expected);
    let task = &graph.tasks()[0];
    assert_eq!((task.retry.retries, task.retry.delay, task.retry.backoff), (8, secs(9), Some(3.0)));
    assert_eq!(task.execution_timeout, Some(secs(10)));
    assert_eq!(built.written().source, Some("its text"));
    assert!(built.written().file.ends_with("dag/tests.rs"));
}

#[test]
fn a_graph_is_read_as_it_was_stored_and_says_no_more_than_was_said() {
    let dag = all_settings();
    dag.task("task", nothing).pool("p").pool_slots(2).weight_rule(WeightRule::Upstream).isolation(Isolation::Process);
    dag.task("sensor", nothing).soft_fail().depends_on_past().role(Role::Setup);
    let full = dag.build().unwrap();
    let stored = serde_json::to_value(full.graph()).unwrap();
    let read = Graph::from_json(stored.clone()).unwrap();
    assert_eq!((serde_json::to_value(&read).unwrap(), read.hash()), (stored, full.graph().hash()));
    assert_eq!((read.tasks(), read.max_map_length()), (full.graph().tasks(), 5));

    let plain = Dag::new("plain");
    plain.task("task", nothing);
    let plain = plain.build().unwrap();
    assert!(plain.graph().is_paused_upon_creation() && !plain.graph().fail_fast());
    let mut stored = serde_json::to_value(plain.graph()).unwrap();
    let words = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(
        words(&stored),
        "dag_id description edges is_paused_upon_creation max_active_runs max_active_tasks owner schedule tags tasks window"
    );
    let of_task = "execution_timeout operator priority_weight queue retry task_id trigger_rule";
    assert_eq!(words(&stored["tasks"][0]), of_task);
    // A version that was stored before there were limits.
    stored.as_object_mut().unwrap().remove("max_active_tasks");
    let old = Graph::from_json(stored).unwrap();
    assert_eq!((old.max_active_tasks(), old.max_map_length()), (16, 1_024));
    assert_eq!((old.tasks()[0].pool.as_str(), old.tasks()[0].pool_slots), ("default_pool", 1));
    assert_ne!(plain.graph().hash(), full.graph().hash());
    assert!(format!("{plain:?}").contains("plain"));
}

#[test]
fn every_setting_of_a_task_is_in_its_spec() {
    let dag = Dag::new("d");
    dag.task("task", nothing)
        .retries(1)
        .retry_delay(secs(2))
        .retry_exponential_backoff(1.5)
        .max_retry_delay(secs(3))
        .execution_timeout(secs(4))
        .trigger_rule(TriggerRule::AllDone)
        .pool("pool")
        .pool_slots(2)
        .max_active_tis_per_dag(5)
        .max_active_tis_per_dagrun(6)
        .isolation(Isolation::Process)
        .queue("big")
        .depends_on_past()
        .poke_interval(secs(7))
        .timeout(secs(8))
        .soft_fail()
        .outlet("asset")
        .on_success(tell)
        .on_failure(tell)
        .on_retry(tell)
        .on_skipped(tell)
        .on_skipped(tell)
        .priority_weight(9)
        .weight_rule(WeightRule::Downstream);
    let policy = RetryPolicy { retries: 4, ..RetryPolicy::default() };
    dag.task("other", nothing).wait_for_downstream().role(Role::Setup).retry_policy(policy);
    let built = dag.build().unwrap();
    let [task, other] = built.graph().tasks() else { panic!("two tasks") };
    let retry = (task.retry.retries, task.retry.delay, task.retry.backoff, task.retry.max_delay);
    assert_eq!(retry, (1, secs(2), Some(1.5), Some(secs(3))));
    assert_eq!((task.execution_timeout, task.trigger_rule), (Some(secs(4)), TriggerRule::AllDone));
    assert_eq!((task.pool.as_str(), task.pool_slots, task.queue.as_str()), ("pool", 2, "big"));
    assert_eq!((task.max_active_tis_per_dag, task.max_active_tis_per_dagrun), (Some(5), Some(6)));
    assert_eq!((task.isolation, task.past), (Isolation::Process, Past::Itself));
    let sensor = SensorSpec { poke_interval: secs(7), timeout: secs(8), soft_fail: true };
    assert_eq!((task.sensor, task.outlets.as_slice()), (sensor, ["asset".to_owned()].as_slice()));
    let [skipped, skipped_too] = [Event::TaskSkipped; 2];
    let callbacks = [Event::TaskSuccess, Event::TaskFailure, Event::TaskRetry, skipped, skipped_too];
    assert_eq!(task.callbacks, callbacks);
    assert_eq!((task.priority_weight, task.weight_rule.as_str()), (9, "downstream"));
    assert_eq!(task.operator, "function");
    assert_eq!((other.past, other.role, &other.retry), (Past::WithDownstream, Role::Setup, &policy));
    assert!(built.graph().looks_back());
    let limits: Vec<_> = built.graph().limits_per_run().collect();
    assert_eq!(limits, [(Node(0), 6)]);
    let of = |event| built.notifiers(Some(&TaskId::from("task")), event, 0).len();
    assert_eq!((of(Event::TaskSkipped), of(Event::TaskRetry), of(Event::RunFailure)), (2, 1, 0));
}

/// An operator with a setting that is rendered.
struct Echo(&'static str);

impl Operator for Echo {
    type Output = ();

    fn templates(&self) -> Vec<&str> {
        vec![self.0]
    }

    async fn run(&self, _: Context) -> TaskResult<()> {
        Ok(())
    }
}

#[test]
fn an_operator_has_its_name_and_its_templates_are_read_when_the_dag_is_built() {
    let dag = Dag::new("d");
    dag.task("echo", Echo("{{ ds }}"));
    dag.task("each", super::partial(|_: u32| Echo("{{ ds }}")).expand([1_u32, 2]));
    let built = dag.build().unwrap();
    let operators: Vec<_> = built.graph().tasks().iter().map(|task| task.operator.as_str()).collect();
    assert_eq!(operators, ["Echo", "Echo"]);
    let [once, each] = ["echo", "each"].map(|task| built.graph().mapped(node(built.graph(), task)).is_some());
    assert!(!once && each);
    let dag = Dag::new("d");
    dag.task("echo", Echo("{{ ds"));
    let told = dag.build().unwrap_err()[0].to_string();
    assert!(told.starts_with("dag d: a template of the task echo cannot be read: "), "{told}");
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Load {
    days: u8,
    table: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    later: Option<u8>,
}

#[test]
fn conf_is_held_against_the_params_and_goes_before_their_defaults() {
    let dag = Dag::new("d").params(Load { days: 3, table: None, later: None });
    dag.task("t", nothing);
    let built = dag.build().unwrap();
    let params = built.graph().params().unwrap();
    assert_eq!(params.with_conf(&json!({ "table": "a", "other": 1 })), json!({ "days": 3, "table": "a" }));
    // One without a default is a param, too.
    assert_eq!(params.with_conf(&json!({ "later": 2 }))["later"], 2);
    params.check(&json!({ "days": 4, "other": "anything" })).unwrap();
    let told = params.check(&json!({ "days": "four", "table": 5 })).unwrap_err().to_string();
    assert!(told.contains("days: \"four\" is not of type \"integer\"") && told.contains("; table: 5 "), "{told}");
}

#[test]
fn words_for_people_name_what_they_are_about() {
    let dag = Dag::new("d");
    let group = dag.group("each").expand([1_u32]);
    let task = group.task("task", double.with(group.item()));
    assert_eq!(format!("{task:?} {group:?} {:?}", group.item()), "Task(each.task) Group(each) Item(GroupIndex(0))");
    assert!(format!("{dag:?}").contains("each.task"));
    let names = [WeightRule::Absolute, WeightRule::Upstream].map(WeightRule::as_str);
    assert_eq!(names, ["absolute", "upstream"]);
}

/// `make >> (use, other) >> take`, where take is the teardown of make, and after `use` comes `last`.
fn with_setup() -> Definition {
    let dag = Dag::new("d");
    let [make, used, other, last, take] = ["make", "use", "other", "last", "take"].map(|task| dag.task(task, nothing));
    dag.chain(make >> (used, other) >> take.as_teardown(make));
    dag.chain(used >> last);
    dag.build().unwrap()
}

#[test]
fn edges_are_told_from_both_ends_and_in_an_order() {
    let built = with_setup();
    let graph = built.graph();
    let [make, used, take] = ["make", "use", "take"].map(|task| node(graph, task));
    assert_eq!(named(graph, graph.downstream(make)), ["use", "other", "take"]);
    assert_eq!(named(graph, graph.upstream(take)), ["make", "use", "other"]);
    assert!(graph.upstream(make).is_empty() && graph.downstream(Node(-1)).is_empty());
    assert_eq!((graph.task(Node(5)), graph.task(Node(-1)), graph.node(&"none".into())), (None, None, None));
    let order = graph.in_order();
    let place = |wanted| order.iter().position(|node| *node == wanted).unwrap();
    assert!(graph.edges().iter().all(|edge| place(edge.from) < place(edge.to)));
    assert_eq!(named(graph, &graph.reachable(&[used], Graph::downstream)), ["use", "last", "take"]);
    assert_eq!(graph.nodes().count(), 5);
}

#[test]
fn a_choice_skips_what_is_not_reached_from_what_it_chose() {
    let dag = Dag::new("d");
    let [choose, a, b, c, end] = ["choose", "a", "b", "c", "end"].map(|task| dag.task(task, nothing));
    dag.chain(choose >> (a, b, c));
    dag.chain(a >> b >> end);
    dag.chain(choose >> dag.task("take", nothing).role(Role::Teardown));
    let built = dag.build().unwrap();
    let graph = built.graph();
    let skipped = |next: Next| named(graph, &graph.skipped_by(node(graph, "choose"), &next).unwrap());
    assert!(skipped(Next::All).is_empty());
    // b can be reached from a.
    assert_eq!(skipped(Next::Only(vec!["a".into()])), ["c", "take"]);
    assert_eq!(skipped(Next::Only(vec!["c".into()])), ["a", "b", "take"]);
    assert_eq!(skipped(Next::NothingDirectly), ["a", "b", "c"], "a teardown is never short-circuited");
    assert_eq!(skipped(Next::Nothing), ["a", "b", "c", "end"]);
    let wrong = graph.skipped_by(node(graph, "choose"), &Next::Only(vec!["end".into()])).unwrap_err();
    assert_eq!(wrong.to_string(), "the branch chose end, which does not come directly after it; a, b, c, take do");
}

#[test]
fn a_choice_may_name_a_group() {
    let dag = Dag::new("d");
    let [choose, other] = ["choose", "other"].map(|task| dag.task(task, nothing));
    let full = dag.group("full");
    let inner = full.group("inner");
    dag.chain(full.task("a", nothing) >> full.task("later", nothing));
    inner.task("b", nothing);
    let far = dag.group("far");
    far.task("c", nothing);
    dag.chain(choose >> full);
    dag.chain(choose >> other >> far);
    let built = dag.build().unwrap();
    let graph = built.graph();
    let skipped = |name: &str| {
        let next = Next::Only(vec![name.into()]);
        graph.skipped_by(node(graph, "choose"), &next).map(|skipped| named(graph, &skipped))
    };
    assert_eq!(skipped("full").unwrap(), ["other"]);
    assert_eq!(skipped("full.inner").unwrap(), ["other", "full.a"]);
    assert_eq!(skipped("other").unwrap(), ["full.a", "full.inner.b"]);
    assert!(skipped("far").unwrap_err().to_string().starts_with("the branch chose far, which does not come directly"));
    assert!(skipped("full.later").is_err());
}

#[test]
fn what_tasks_return_says_what_comes_next() {
    use super::{Branch, Output, Poke, Progress, ShortCircuit};
    let branch = Branch::to(["a", "b"]).into_returned().unwrap();
    assert_eq!((branch.value, branch.next), (json!(["a", "b"]), Next::Only(vec!["a".into(), "b".into()])));
    assert_eq!(Branch::none().into_returned().unwrap().next, Next::Only(Vec::new()));
    let circuit = |condition| ShortCircuit::go_on_if(condition);
    assert_eq!(circuit(true).into_returned().unwrap().next, Next::All);
    assert_eq!(circuit(false).into_returned().unwrap().next, Next::Nothing);
    let gentle = circuit(false).respecting_trigger_rules().into_returned().unwrap();
    assert_eq!((gentle.next, gentle.value), (Next::NothingDirectly, json!(false)));
    assert_eq!(circuit(true).respecting_trigger_rules().into_returned().unwrap().next, Next::All);
    let progress = |poke: Poke<u8>| poke.into_returned().unwrap().progress;
    assert_eq!(progress(Poke::Done(1)), Progress::Done);
    assert_eq!(progress(Poke::NotYet), Progress::NotYet);
    assert_eq!(progress(Poke::Until(Utc.timestamp_nanos(1))), Progress::Until(Utc.timestamp_nanos(1)));
    assert_eq!(progress(Poke::OnSignal("s".into())), Progress::Signal("s".into()));
    assert_eq!(Poke::Done(7).into_returned().unwrap().value, 7);
}

#[test]
fn what_is_mapped_over_what_is_known() {
    let dag = Dag::new("d");
    let listed = dag.task("list", async |_: Context| TaskResult::Ok(vec![1_u32]));
    let doubled = dag.task("double", double.expand(listed));
    dag.task("sum", sum.with(doubled));
    dag.task("literal", double.expand([1_u32, 2]));
    let each = dag.group("each").expand(listed);
    let inner = each.group("inner");
    let inside = inner.task("double", double.with(each.item()));
    let again = each.task("again", double.with(inside));
    dag.task("all", sum.with(again.collected()));
    let built = dag.build().unwrap();
    let graph = built.graph();
    let [list, double, sum, literal, inside, again, all] =
        ["list", "double", "sum", "literal", "each.inner.double", "each.again", "all"].map(|task| node(graph, task));
    let group = graph.mapped_group(inside).unwrap();
    assert_eq!(graph.groups()[group.0].group_id.as_str(), "each");
    assert_eq!((graph.mapped(double), graph.mapped(sum)), (Some(Mapped::Task(double)), None));
    assert_eq!(graph.mapped(inside), Some(Mapped::Group(group)));
    assert_eq!(graph.mapped_group(double), None);
    assert_eq!(graph.members(Mapped::Group(group)), [inside, again]);
    assert_eq!(graph.members(Mapped::Task(double)), [double]);
    assert_eq!((graph.source(double), graph.source(inside), graph.source(literal)), (Some(list), Some(list), None));
    assert_eq!(graph.over(Mapped::Task(sum)), None);
    assert!(graph.comes_after_source(double) && !graph.comes_after_source(again) && !graph.comes_after_source(sum));
    assert!(graph.is_source(list) && !graph.is_source(double));
    assert!(graph.is_source_of_group(list) && !graph.is_source_of_group(double));
    assert!(graph.share_lanes(inside, again) && !graph.share_lanes(inside, all) && !graph.share_lanes(double, sum));
    assert!(graph.edge(inside, again).within_lane && !graph.edge(again, all).within_lane);
    let plain = with_setup();
    assert_eq!((plain.graph().mapped_group(Node(0)), plain.graph().mapped(Node(9))), (None, None));
}

#[test]
fn priorities_are_weights_and_what_the_rule_adds() {
    let priorities = |rule| {
        let dag = Dag::new("d");
        let [a, b] = ["a", "b"].map(|task| dag.task(task, nothing).priority_weight(2).weight_rule(rule));
        let end = dag.task("end", nothing).priority_weight(5).weight_rule(rule);
        dag.chain(a >> b >> end);
        let built = dag.build().unwrap();
        [0, 1, 2, 3].map(|node| built.graph().priority(Node(node)))
    };
    assert_eq!(priorities(WeightRule::Absolute), [2, 2, 5, 0]);
    assert_eq!(priorities(WeightRule::Downstream), [9, 7, 5, 0]);
    assert_eq!(priorities(WeightRule::Upstream), [2, 4, 9, 0]);
}

#[test]
fn a_group_stands_in_chains_for_its_first_and_its_last_tasks() {
    let dag = Dag::new("d");
    let [before, after] = ["before", "after"].map(|task| dag.task(task, nothing));
    let outer = dag.group("outer");
    dag.chain(before >> outer >> after);
    let (inner, alone) = (outer.group("inner"), outer.task("alone", nothing));
    let [a, b] = ["a", "b"].map(|task| inner.task(task, nothing));
    dag.chain(a >> b);
    dag.chain(alone >> inner);
    let built = dag.build().unwrap();
    let graph = built.graph();
    let name = |node: Node| graph.task(node).unwrap().task_id.as_str();
    let edges: Vec<_> = graph.edges().iter().map(|edge| format!("{} {}", name(edge.from), name(edge.to))).collect();
    assert_eq!(
        edges,
        ["before outer.alone", "outer.alone outer.inner.a", "outer.inner.a outer.inner.b", "outer.inner.b after"]
    );
}

#[test]
fn a_registry_has_each_dag_once_in_the_order_of_ids() {
    let dag = |name: &str, tasks: &[&str]| {
        let dag = Dag::new(name);
        for task in tasks {
            dag.task(task, nothing);
        }
        dag
    };
    let registry = Registry::build(vec![dag("b", &["t"]), dag("a", &["t"])]).unwrap();
    let ids: Vec<_> = registry.dag_ids().iter().map(ToString::to_string).collect();
    assert_eq!(ids, ["a", "b"]);
    let first = registry.definitions()[0];
    assert_eq!(first.graph().dag_id().as_str(), "a");
    assert!(first.body(&"t".into()).is_some() && first.body(&"u".into()).is_none());
    assert!(registry.get(&"b".into()).is_some() && registry.get(&"c".into()).is_none());
    let same = Registry::build(vec![dag("a", &["t"]), dag("b", &["t"])]).unwrap();
    let other = Registry::build(vec![dag("a", &["t"]), dag("b", &["u"])]).unwrap();
    assert_eq!(registry.fingerprint(), same.fingerprint());
    assert_ne!(registry.fingerprint(), other.fingerprint());
    let faults = Registry::build(vec![dag("a", &["t"]), dag("a", &["t"]), dag("e", &[])]).unwrap_err();
    assert_eq!(faults.to_string(), "two dags are called a\ndag e: it has no tasks");
}
