//! The graph of a DAG as a picture. Where everything goes is the layout library's business.

use dagre::{
    EdgeLabel, LayoutOptions, NodeLabel, RankDir,
    graph::{Graph as Layout, GraphOptions},
    layout,
};
use orchestrator::{
    dag::{Edge, Graph},
    ids::{Node, TaskId},
    readiness::TriggerRule,
    state::TaskState,
};

/// A picture that is ready to be drawn.
pub(crate) struct Drawing {
    pub(crate) width: i64,
    pub(crate) height: i64,
    pub(crate) places: Vec<Place>,
    pub(crate) paths: Vec<String>,
}

/// A task in the picture.
pub(crate) struct Place {
    pub(crate) task_id: TaskId,
    pub(crate) x: i64,
    pub(crate) y: i64,
    pub(crate) width: i64,
    pub(crate) height: i64,
    /// Its trigger rule, if it is not the usual one.
    pub(crate) rule: Option<&'static str>,
    pub(crate) look: Look,
}

/// How a task looks in a run; without one, nothing of this is there.
#[derive(Clone, Default)]
pub(crate) struct Look {
    pub(crate) state: Option<TaskState>,
    pub(crate) link: Option<String>,
}

const HEIGHT: f64 = 34.0;
const MARGIN: f64 = 12.0;

/// About as wide as its name is in the page's font.
fn width_of(task: &TaskId) -> f64 {
    task.as_str().chars().count() as f64 * 7.0 + 42.0
}

/// Lays a graph out from left to right.
pub(crate) fn draw(graph: &Graph, look: impl Fn(Node) -> Look) -> Drawing {
    let mut drawn: Layout<NodeLabel, EdgeLabel> =
        Layout::with_options(GraphOptions { directed: true, multigraph: false, compound: false });
    for (node, task) in graph.nodes().zip(graph.tasks()) {
        let label = NodeLabel { width: width_of(&task.task_id), height: HEIGHT, ..NodeLabel::default() };
        drawn.set_node(node.to_string(), Some(label));
    }
    for Edge { from, to, .. } in graph.edges() {
        drawn.set_edge(from.to_string(), to.to_string(), Some(EdgeLabel::default()), None);
    }
    let options = LayoutOptions { rankdir: RankDir::LR, nodesep: 14.0, ranksep: 44.0, ..LayoutOptions::default() };
    layout(&mut drawn, Some(options));
    let places = graph.nodes().zip(graph.tasks()).filter_map(|(node, task)| {
        let label = drawn.node(&node.to_string())?;
        let (x, y) = (label.x? - label.width / 2.0 + MARGIN, label.y? - HEIGHT / 2.0 + MARGIN);
        Some(Place {
            task_id: task.task_id.clone(),
            x: x as i64,
            y: y as i64,
            width: label.width as i64,
            height: HEIGHT as i64,
            rule: (task.trigger_rule != TriggerRule::AllSuccess).then(|| task.trigger_rule.as_str()),
            look: look(node),
        })
    });
    let places: Vec<_> = places.collect();
    let path = |Edge { from, to, .. }: &Edge| {
        let label = drawn.edge(&from.to_string(), &to.to_string(), None)?;
        let points: Vec<_> =
            label.points.iter().map(|point| format!("{:.0},{:.0}", point.x + MARGIN, point.y + MARGIN)).collect();
        Some(format!("M{}", points.join(" L")))
    };
    Drawing {
        width: places.iter().map(|place| place.x + place.width).max().unwrap_or(0) + MARGIN as i64,
        height: places.iter().map(|place| place.y + place.height).max().unwrap_or(0) + MARGIN as i64,
        paths: graph.edges().iter().filter_map(path).collect(),
        places,
    }
}
