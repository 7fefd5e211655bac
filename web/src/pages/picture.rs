//! The graph of a DAG with the states of a run: all of it, or what is around a task.

use std::collections::{HashMap, HashSet};

use orchestrator::{
    dag::Graph,
    ids::{Node, TaskId},
    state::TaskState,
    store::pages::{instances, runs::RunListed},
};
use serde::Deserialize;
use sqlx::PgConnection;

use super::{
    drawing::{Drawing, Look, draw},
    links,
};
use crate::App;

/// More tasks than this are no picture, and take the layout seconds.
const DRAWN: usize = 400;

/// How many edges away from the chosen task a task may be.
const HOPS: usize = 2;

/// Which part of a graph is asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Focus {
    /// The task around which is drawn; empty: everything.
    pub(crate) around: String,
}

/// A graph to be shown.
pub(crate) struct Picture {
    /// None if it would be too large.
    pub(crate) drawing: Option<Drawing>,
    pub(crate) focus: Focus,
    /// How many tasks there are.
    pub(crate) tasks: usize,
}

impl Picture {
    /// That of a graph, with the states and links of a run, which may be of another version.
    pub(crate) async fn of(
        app: &App,
        conn: &mut PgConnection,
        graph: &Graph,
        run: Option<&RunListed>,
        focus: Focus,
    ) -> anyhow::Result<Self> {
        let tasks = graph.tasks().len();
        let shown: HashSet<_> = match graph.node(&TaskId::from(focus.around.as_str())) {
            Some(node) => neighbours(graph, node),
            None => graph.nodes().collect(),
        };
        if shown.len() > DRAWN {
            return Ok(Self { drawing: None, focus, tasks });
        }
        let names = shown.iter().filter_map(|node| graph.task(*node)).map(|task| &task.task_id);
        let states = match run {
            Some(run) => states(app, conn, run, names).await?,
            None => HashMap::new(),
        };
        let look = |node: Node| {
            let (Some(run), Some(task)) = (run, graph.task(node)) else { return Look::default() };
            let Some(state) = states.get(&task.task_id).copied() else { return Look::default() };
            let link = match graph.mapped(node).is_some() {
                true => {
                    let query = links::query(&[("q", task.task_id.as_str())]);
                    format!("{}{query}", links::run(&run.dag_id, &run.run_id))
                }
                false => links::task(&run.dag_id, &run.run_id, &task.task_id, -1),
            };
            Look { state: Some(state), link: Some(link) }
        };
        Ok(Self { drawing: Some(draw(graph, |node| shown.contains(&node), look)), focus, tasks })
    }

    /// Whether a part of it may be asked for.
    pub(crate) fn is_large(&self) -> bool {
        self.tasks > 20
    }
}

/// What is so few edges away, against and along them.
fn neighbours(graph: &Graph, from: Node) -> HashSet<Node> {
    let walk = |next: &dyn Fn(Node) -> Vec<Node>| {
        let (mut seen, mut edge) = (HashSet::from([from]), vec![from]);
        for _ in 0..HOPS {
            edge = edge.into_iter().flat_map(next).filter(|node| seen.insert(*node)).collect();
        }
        seen
    };
    let before = walk(&|node| graph.upstream(node).to_vec());
    before.union(&walk(&|node| graph.downstream(node).to_vec())).copied().collect()
}

async fn states(
    app: &App,
    conn: &mut PgConnection,
    run: &RunListed,
    tasks: impl Iterator<Item = &TaskId>,
) -> anyhow::Result<HashMap<TaskId, TaskState>> {
    let graph = app.graphs.get(conn, run.version).await?;
    let nodes: Vec<_> = tasks.filter_map(|task| graph.node(task)).collect();
    let cells = instances::cells(conn, &[run.run_key], &nodes).await?;
    Ok(cells.into_iter().map(|cell| (cell.task_id, cell.state)).collect())
}

#[cfg(test)]
mod tests {
    use orchestrator::prelude::*;

    use super::*;

    #[test]
    fn around_a_task_is_what_is_two_edges_away_before_and_after_it() {
        let dag = Dag::new("line");
        let names = ["a", "b", "c", "d", "e", "f"];
        let [a, b, c, d, e, f] = names.map(|name| dag.task(name, async |_: Context| TaskResult::Ok(())));
        dag.chain(a >> b >> c >> d >> e >> f);
        dag.chain(a >> f);
        let built = dag.build().unwrap();
        let graph = built.graph();
        let around = |task: &str| {
            let nodes = neighbours(graph, graph.node(&task.into()).unwrap()).into_iter();
            let mut names: Vec<_> = nodes.map(|node| graph.task(node).unwrap().task_id.to_string()).collect();
            names.sort();
            names.concat()
        };
        assert_eq!((around("c"), around("a"), around("f")), ("abcde".to_owned(), "abcf".to_owned(), "adef".to_owned()));
    }
}
