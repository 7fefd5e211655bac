//! What can be wrong with a DAG that compiles.

use petgraph::algo::tarjan_scc;
use serde_json::Value;

use super::{body::InputFrom, graph::Graph, params::BadParams, spec::Over};
use crate::{
    ids::{DagId, Node, TaskId, is_valid_key},
    schedule::{Schedule, ScheduleError},
};

/// A fault of a DAG, told with the names that it is about.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// Tasks wait for each other.
    #[error("dag {dag}: the tasks {} wait for each other", names(.tasks))]
    Cycle {
        /// The DAG.
        dag: DagId,
        /// The tasks of the cycle.
        tasks: Vec<TaskId>,
    },
    /// Two tasks of one name.
    #[error("dag {dag}: two tasks or groups are called {task}")]
    DuplicateTask {
        /// The DAG.
        dag: DagId,
        /// The name.
        task: TaskId,
    },
    /// Two DAGs of one name.
    #[error("two dags are called {0}")]
    DuplicateDag(DagId),
    /// An edge to a task of another DAG.
    #[error("dag {dag}: an edge leads to the task {task}, which belongs to another dag")]
    ForeignTask {
        /// The DAG that has the edge.
        dag: DagId,
        /// The task that it does not have.
        task: TaskId,
    },
    /// A name that Airflow's API and our URLs do not allow.
    #[error("dag {dag}: {name:?} cannot be an id: use letters, digits, `_`, `-` and `.`, at most 250 of them")]
    BadKey {
        /// The DAG.
        dag: DagId,
        /// The name.
        name: String,
    },
    /// A schedule that cannot be used.
    #[error("dag {dag}: {error}")]
    BadSchedule {
        /// The DAG.
        dag: DagId,
        /// What is wrong with it.
        error: ScheduleError,
    },
    /// A list to be mapped over that JSON cannot hold.
    #[error("dag {dag}: a list that is mapped over cannot be written as JSON: {why}")]
    Unwritable {
        /// The DAG.
        dag: DagId,
        /// What is wrong with it.
        why: String,
    },
    /// A setting of an operator that cannot be read as a template.
    #[error("dag {dag}: a template of the task {task} cannot be read: {why}")]
    BadTemplate {
        /// The DAG.
        dag: DagId,
        /// The task.
        task: TaskId,
        /// What is wrong with it.
        why: String,
    },
    /// The item of a group of another DAG.
    #[error("dag {dag}: a task takes the item of a group that belongs to another dag")]
    ForeignItem {
        /// The DAG of the task.
        dag: DagId,
    },
    /// The item of a mapped group is taken outside of it.
    #[error("dag {dag}: the task {task} takes the item of the mapped group {group}, and is not in it")]
    ItemOutside {
        /// The DAG.
        dag: DagId,
        /// The task.
        task: TaskId,
        /// The group.
        group: TaskId,
    },
    /// One result is taken where there is one for each index.
    #[error(
        "dag {dag}: the task {task} takes one result of {from}, which has one for each index of its mapped group: take \
         `.collected()`, all of them"
    )]
    NotCollected {
        /// The DAG.
        dag: DagId,
        /// The task that takes it.
        task: TaskId,
        /// The task that returns it.
        from: TaskId,
    },
    /// All results are taken where there is one.
    #[error("dag {dag}: the task {task} takes the collected results of {from}, which has one result for it")]
    NothingToCollect {
        /// The DAG.
        dag: DagId,
        /// The task that takes them.
        task: TaskId,
        /// The task that returns it.
        from: TaskId,
    },
    /// A mapped task or group within a mapped group.
    #[error("dag {dag}: {inner} is mapped, and is in the mapped group {group}; only one of them can be")]
    NestedMapping {
        /// The DAG.
        dag: DagId,
        /// The task or group inside.
        inner: TaskId,
        /// The group around it.
        group: TaskId,
    },
    /// More items than instances are allowed.
    #[error("dag {dag}: {mapped} is mapped over {length} items, and max_map_length is {most}")]
    TooManyItems {
        /// The DAG.
        dag: DagId,
        /// The task or group.
        mapped: TaskId,
        /// How many items there are.
        length: usize,
        /// How many there may be.
        most: usize,
    },
    /// Params that are not fields.
    #[error("dag {0}: its params must be a struct with named fields")]
    NoParams(DagId),
    /// Defaults that a trigger would be refused for.
    #[error("dag {dag}: the defaults of its params do not fit their type: {why}")]
    BadDefaults {
        /// The DAG.
        dag: DagId,
        /// What does not fit.
        why: BadParams,
    },
    /// A continuous DAG of which several runs might run.
    #[error("dag {0}: a continuous schedule needs max_active_runs(1)")]
    Continuous(DagId),
    /// A DAG that would never do anything.
    #[error("dag {0}: it has no tasks")]
    NoTasks(DagId),
    /// A task that could never run.
    #[error("dag {dag}: the {what} of the task {task} must be at least 1")]
    NoRoom {
        /// The DAG.
        dag: DagId,
        /// The task.
        task: TaskId,
        /// The setting.
        what: &'static str,
    },
    /// A DAG whose tasks could never run.
    #[error("dag {0}: max_active_tasks must be at least 1")]
    NoActiveTasks(DagId),
    /// A DAG that could never run.
    #[error("dag {0}: max_active_runs must be at least 1")]
    NoActiveRuns(DagId),
}

/// Everything that is wrong with the graph.
pub(super) fn faults(graph: &Graph) -> Vec<Fault> {
    let dag = graph.dag_id();
    let mut faults = Vec::new();
    if graph.tasks().is_empty() {
        faults.push(Fault::NoTasks(dag.clone()));
    }
    if graph.max_active_runs() == 0 {
        faults.push(Fault::NoActiveRuns(dag.clone()));
    }
    if *graph.schedule() == Schedule::Continuous && graph.max_active_runs() > 1 {
        faults.push(Fault::Continuous(dag.clone()));
    }
    if let Some(Err(why)) = graph.params().map(|params| params.check(&Value::Null)) {
        faults.push(Fault::BadDefaults { dag: dag.clone(), why });
    }
    if graph.max_active_tasks() < 1 {
        faults.push(Fault::NoActiveTasks(dag.clone()));
    }
    for task in graph.tasks() {
        let limits = [
            ("pool_slots", Some(task.pool_slots)),
            ("max_active_tis_per_dag", task.max_active_tis_per_dag),
            ("max_active_tis_per_dagrun", task.max_active_tis_per_dagrun),
        ];
        for (what, _) in limits.into_iter().filter(|(_, limit)| limit.is_some_and(|limit| limit < 1)) {
            faults.push(Fault::NoRoom { dag: dag.clone(), task: task.task_id.clone(), what });
        }
    }
    if let Err(error) = graph.schedule().parse() {
        faults.push(Fault::BadSchedule { dag: dag.clone(), error });
    }
    let groups = graph.groups().iter().map(|group| group.group_id.as_str());
    let names = graph.tasks().iter().map(|task| task.task_id.as_str()).chain(groups);
    faults.extend(
        std::iter::once(dag.as_str())
            .chain(names)
            .filter(|name| !is_valid_key(name))
            .map(|name| Fault::BadKey { dag: dag.clone(), name: name.to_owned() }),
    );
    let duplicates = duplicates(graph);
    faults.extend(duplicates.into_iter().map(|task| Fault::DuplicateTask { dag: dag.clone(), task }));
    faults.extend(cycles(graph).into_iter().map(|tasks| Fault::Cycle { dag: dag.clone(), tasks }));
    faults.extend(mapping_faults(graph));
    faults
}

/// Names that more than one task or group has.
fn duplicates(graph: &Graph) -> Vec<TaskId> {
    let groups = graph.groups().iter().map(|group| &group.group_id);
    let mut names: Vec<_> = graph.tasks().iter().map(|task| &task.task_id).chain(groups).collect();
    names.sort_unstable();
    let mut twice: Vec<_> = names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0].clone()).collect();
    twice.dedup();
    twice
}

fn mapping_faults(graph: &Graph) -> Vec<Fault> {
    let (dag, most) = (graph.dag_id(), graph.max_map_length());
    let tasks = graph.tasks().iter().map(|task| (&task.task_id, task.over.as_ref(), task.group));
    let groups = graph.groups().iter().map(|group| (&group.group_id, group.over.as_ref(), group.parent));
    let mut faults = Vec::new();
    for (name, over, group) in tasks.chain(groups) {
        let Some(over) = over else { continue };
        if let Some(around) = graph.mapped_around(group) {
            let group = graph.groups()[around.0].group_id.clone();
            faults.push(Fault::NestedMapping { dag: dag.clone(), inner: name.clone(), group });
        }
        if let Over::Values(values) = over
            && values.len() > most
        {
            faults.push(Fault::TooManyItems { dag: dag.clone(), mapped: name.clone(), length: values.len(), most });
        }
    }
    faults
}

/// What tasks take and cannot have.
pub(super) fn input_faults(graph: &Graph, inputs: &[(usize, InputFrom)]) -> Vec<Fault> {
    let dag = graph.dag_id().clone();
    let mut faults = Vec::new();
    for (node, from) in inputs {
        let (task, node) = (graph.tasks()[*node].task_id.clone(), Node(*node as i32));
        match from {
            InputFrom::Item(group) if graph.mapped_group(node) != Some(*group) => {
                let group = graph.groups()[group.0].group_id.clone();
                faults.push(Fault::ItemOutside { dag: dag.clone(), task, group });
            }
            InputFrom::Item(_) => {}
            InputFrom::Result { node: from, task_id, collected } => {
                let from_node = Node(*from as i32);
                let is_many = graph.mapped_group(from_node).is_some() && !graph.share_lanes(from_node, node);
                match (is_many, collected) {
                    (true, false) => {
                        faults.push(Fault::NotCollected { dag: dag.clone(), task, from: task_id.clone() });
                    }
                    (false, true) => {
                        faults.push(Fault::NothingToCollect { dag: dag.clone(), task, from: task_id.clone() });
                    }
                    _ => {}
                }
            }
        }
    }
    faults
}

fn cycles(graph: &Graph) -> Vec<Vec<TaskId>> {
    let petgraph = graph.as_petgraph();
    let waits_for_itself =
        |component: &Vec<_>| component.len() > 1 || petgraph.contains_edge(component[0], component[0]);
    tarjan_scc(&petgraph)
        .into_iter()
        .filter(waits_for_itself)
        .map(|mut component| {
            component.sort_unstable();
            component.into_iter().map(|place| petgraph[place].clone()).collect()
        })
        .collect()
}

fn names(tasks: &[TaskId]) -> String {
    tasks.iter().map(TaskId::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use crate::prelude::*;

    async fn nothing(_: Context) -> TaskResult<()> {
        Ok(())
    }

    #[track_caller]
    fn check(dag: Dag, expected: &[&str]) {
        let faults = dag.build().err().unwrap_or_default();
        let told: Vec<_> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn every_fault_is_told_with_its_names() {
        check(Dag::new("empty"), &["dag empty: it has no tasks"]);

        let dag = Dag::new("circle");
        let [a, b, c] = ["a", "b", "c"].map(|task| dag.task(task, nothing));
        dag.chain(a >> b >> c >> a);
        check(dag, &["dag circle: the tasks a, b, c wait for each other"]);

        let (here, elsewhere) = (Dag::new("here"), Dag::new("elsewhere"));
        let (mine, theirs) = (here.task("mine", nothing), elsewhere.task("theirs", nothing));
        here.chain(mine >> theirs);
        check(here, &["dag here: an edge leads to the task theirs, which belongs to another dag"]);

        let dag = Dag::new("twice");
        dag.task("same", nothing);
        dag.task("same", nothing);
        check(dag, &["dag twice: two tasks or groups are called same"]);

        let dag = Dag::new("bad id").schedule(Schedule::cron_in("@daily", "Mars"));
        dag.task("ok", nothing);
        check(
            dag,
            &[
                "dag bad id: time zone \"Mars\" is not known: use an IANA name such as Europe/Amsterdam",
                "dag bad id: \"bad id\" cannot be an id: use letters, digits, `_`, `-` and `.`, at most 250 of them",
            ],
        );
    }

    #[test]
    fn faults_of_mappings_are_told_with_their_names() {
        async fn double(_: Context, item: u32) -> TaskResult<u32> {
            Ok(item * 2)
        }
        async fn sum(_: Context, all: Vec<u32>) -> TaskResult<u32> {
            Ok(all.into_iter().sum())
        }
        let dag = Dag::new("d").max_map_length(3);
        let group = dag.group("outer").expand([1_u32, 2]);
        group.task("nested", double.expand([3_u32]));
        group.group("inner").expand([4_u32]);
        let inside = group.task("inside", double.with(group.item()));
        dag.task("outside", double.with(group.item()));
        dag.task("one_of_many", double.with(inside));
        let alone = dag.task("alone", async |_: Context| TaskResult::Ok(1_u32));
        dag.task("many_of_one", sum.with(alone.collected()));
        dag.task("enough", double.expand(vec![0_u32; 3]));
        dag.task("long", double.expand(vec![0_u32; 4]));
        dag.group("alone");
        check(
            dag,
            &[
                "dag d: two tasks or groups are called alone",
                "dag d: outer.nested is mapped, and is in the mapped group outer; only one of them can be",
                "dag d: long is mapped over 4 items, and max_map_length is 3",
                "dag d: outer.inner is mapped, and is in the mapped group outer; only one of them can be",
                "dag d: the task outside takes the item of the mapped group outer, and is not in it",
                "dag d: the task one_of_many takes one result of outer.inside, which has one for each index of its mapped \
                 group: take `.collected()`, all of them",
                "dag d: the task many_of_one takes the collected results of alone, which has one result for it",
            ],
        );
    }

    #[test]
    fn limits_that_nothing_could_pass_are_refused_and_one_is_enough() {
        let dag = Dag::new("d").max_active_runs(0).max_active_tasks(0);
        dag.task("t", nothing).pool_slots(0).max_active_tis_per_dag(0).max_active_tis_per_dagrun(0);
        check(
            dag,
            &[
                "dag d: max_active_runs must be at least 1",
                "dag d: max_active_tasks must be at least 1",
                "dag d: the pool_slots of the task t must be at least 1",
                "dag d: the max_active_tis_per_dag of the task t must be at least 1",
                "dag d: the max_active_tis_per_dagrun of the task t must be at least 1",
            ],
        );
        let dag = Dag::new("d").max_active_runs(1).max_active_tasks(1).schedule(Schedule::Continuous);
        dag.task("t", nothing).pool_slots(1).max_active_tis_per_dag(1).max_active_tis_per_dagrun(1);
        check(dag, &[]);
        let dag = Dag::new("d").max_active_runs(2).schedule(Schedule::Continuous);
        dag.task("t", nothing);
        check(dag, &["dag d: a continuous schedule needs max_active_runs(1)"]);
    }

    #[test]
    fn what_belongs_to_another_dag_is_refused() {
        async fn take(_: Context, one: u32) -> TaskResult<u32> {
            Ok(one)
        }
        let (here, there) = (Dag::new("here"), Dag::new("there"));
        let one = there.task("one", async |_: Context| TaskResult::Ok(1_u32));
        let many = there.task("many", async |_: Context| TaskResult::Ok(vec![1_u32]));
        let item = there.group("group").expand([1_u32]).item();
        here.task("a", take.with(one));
        here.task("b", take.with(item));
        here.task("c", take.expand(many));
        check(
            here,
            &[
                "dag here: an edge leads to the task one, which belongs to another dag",
                "dag here: a task takes the item of a group that belongs to another dag",
                "dag here: an edge leads to the task many, which belongs to another dag",
            ],
        );
    }

    #[test]
    fn a_task_that_waits_for_itself_and_wrong_params_are_told() {
        let dag = Dag::new("d").params(3_u32);
        let own = dag.task("own", nothing);
        dag.chain(own >> own);
        check(
            dag,
            &["dag d: its params must be a struct with named fields", "dag d: the tasks own wait for each other"],
        );
    }

    #[test]
    fn chains_tuples_arrays_and_crosses_make_the_edges_that_they_show() {
        let dag = Dag::new("d");
        let [a, b, c, d] = ["a", "b", "c", "d"].map(|task| dag.task(task, nothing));
        let number = dag.task("number", async |_: Context| TaskResult::Ok(1));
        dag.chain(a >> (b, number) >> c);
        dag.cross([a, b], [c, d]);
        let built = dag.build().unwrap();
        let graph = built.graph();
        let name = |node: &crate::ids::Node| graph.tasks()[node.0 as usize].task_id.as_str().to_owned();
        let edges: Vec<_> =
            graph.edges().iter().map(|edge| format!("{}-{}", name(&edge.from), name(&edge.to))).collect();
        assert_eq!(edges, ["a-b", "a-c", "a-d", "a-number", "b-c", "b-d", "number-c"]);
    }
}
