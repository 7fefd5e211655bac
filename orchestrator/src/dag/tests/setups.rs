//! Setups and teardowns, as an author writes them.

use super::*;

#[test]
fn a_teardown_makes_setups_and_leaves_are_what_only_teardowns_come_after() {
    let built = with_setup();
    let graph = built.graph();
    let of = |task: &str| graph.tasks()[node(graph, task).0 as usize].clone();
    assert_eq!((of("make").role, of("take").role), (Role::Setup, Role::Teardown));
    assert_eq!(of("take").trigger_rule, TriggerRule::AllDoneSetupSuccess);
    assert_eq!(of("use").role, Role::Work);
    assert_eq!(named(graph, &graph.leaves()), ["other", "last"]);
    assert_eq!(named(graph, graph.setups(node(graph, "use"))), ["make"]);
    // Nothing takes it away after that.
    assert!(graph.setups(node(graph, "last")).is_empty());
    assert!(graph.setups(node(graph, "make")).is_empty());
    assert!(graph.is_teardown(node(graph, "take")) && !graph.is_teardown(node(graph, "use")));
    assert!(!graph.looks_back());

    let dag = Dag::new("d");
    let (make, work) = (dag.task("make", nothing).as_setup(), dag.task("work", nothing));
    let take = dag.task("take", nothing).as_teardown(make).on_failure_fail_dagrun();
    dag.chain(make >> work >> take);
    let built = dag.build().unwrap();
    assert_eq!(named(built.graph(), &built.graph().leaves()), ["work", "take"]);

    // Each of several becomes a setup, and nothing else does.
    let dag = Dag::new("d");
    let [work, make, fill, take] = ["work", "make", "fill", "take"].map(|task| dag.task(task, nothing));
    dag.chain((make, fill) >> work);
    dag.chain(work >> take.as_teardown((make, fill)));
    let built = dag.build().unwrap();
    let roles: Vec<_> = built.graph().tasks().iter().map(|task| task.role).collect();
    assert_eq!(roles, [Role::Work, Role::Setup, Role::Setup, Role::Teardown]);

    // A setup that nothing takes away counts for all that comes after it.
    let dag = Dag::new("d");
    let [make, work, end] = ["make", "work", "end"].map(|task| dag.task(task, nothing));
    dag.chain(make.as_setup() >> work >> end);
    let built = dag.build().unwrap();
    assert_eq!(named(built.graph(), built.graph().setups(node(built.graph(), "end"))), ["make"]);

    // One may need another, also where there is nothing else.
    let dag = Dag::new("d");
    let [first, second] = ["first", "second"].map(|task| dag.task(task, nothing).as_setup());
    dag.chain(first >> second);
    let built = dag.build().unwrap();
    assert_eq!(named(built.graph(), built.graph().setups(node(built.graph(), "second"))), ["first"]);
}

#[test]
fn a_teardown_looks_beyond_what_is_directly_before_it() {
    let built = with_setup();
    let graph = built.graph();
    // For one of these alone: whose setup succeeded; what is between; a setup further up.
    assert!(graph.looks_beyond(node(graph, "take")));
    assert!(!graph.looks_beyond(node(graph, "use")) && !graph.looks_beyond(node(graph, "last")));
    let dag = Dag::new("d");
    let [make, first, second, take] = ["make", "first", "second", "take"].map(|task| dag.task(task, nothing));
    dag.chain(make >> first >> second >> take.as_teardown(make).trigger_rule(TriggerRule::AllDone));
    let built = dag.build().unwrap();
    let graph = built.graph();
    assert!(graph.near_setups(node(graph, "take")).next().is_none());
    assert_eq!(named(graph, graph.scope(node(graph, "take"))), ["first"]);
    assert!(graph.looks_beyond(node(graph, "take")));
    assert!(graph.looks_beyond(node(graph, "second")) && !graph.looks_beyond(node(graph, "first")));
}
