//! Pictures of things that follow each other: the tasks of a DAG, DAGs and assets. Where everything goes is the layout
//! library's business.

use std::collections::HashMap;

use dagre::{
    EdgeLabel, LayoutOptions, NodeLabel, RankDir,
    graph::{Graph as Layout, GraphOptions},
    layout,
};
use orchestrator::{dag::Graph, ids::Node, readiness::TriggerRule, state::TaskState};

use super::words;

/// A picture that is ready to be drawn.
pub(crate) struct Drawing {
    pub(crate) width: i64,
    pub(crate) height: i64,
    pub(crate) places: Vec<Place>,
    pub(crate) paths: Vec<String>,
}

/// Something in the picture, and where.
pub(crate) struct Place {
    pub(crate) sketch: Sketch,
    pub(crate) x: i64,
    pub(crate) y: i64,
    pub(crate) width: i64,
    pub(crate) height: i64,
}

/// Something that is to be drawn.
pub(crate) struct Sketch {
    pub(crate) name: String,
    /// What stands before its name.
    pub(crate) sign: &'static str,
    /// Its classes in the style sheet.
    pub(crate) class: String,
    /// What is told of it in words.
    pub(crate) title: String,
    pub(crate) link: Option<String>,
    /// What stands above it.
    pub(crate) above: Option<&'static str>,
}

/// How a task looks in a run; without one, nothing of this is there.
#[derive(Clone, Default)]
pub(crate) struct Look {
    pub(crate) state: Option<TaskState>,
    pub(crate) link: Option<String>,
}

const HEIGHT: f64 = 34.0;
const MARGIN: f64 = 12.0;

/// About as wide as a name is in the page's font.
fn width_of(name: &str) -> f64 {
    name.chars().count() as f64 * 7.0 + 42.0
}

/// Those tasks of a DAG that are to be shown.
pub(crate) fn draw(graph: &Graph, is_shown: impl Fn(Node) -> bool, look: impl Fn(Node) -> Look) -> Drawing {
    let shown = || graph.nodes().zip(graph.tasks()).filter(|(node, _)| is_shown(*node));
    let sketches = shown().map(|(node, task)| {
        let Look { state, link } = look(node);
        let name = task.task_id.to_string();
        Sketch {
            sign: words::sign(&state),
            class: state.map(|state| format!("task {state}")).unwrap_or_else(|| "task".to_owned()),
            title: state.map(|state| format!("{name}: {}", words::spoken(state))).unwrap_or_else(|| name.clone()),
            name,
            link,
            above: (task.trigger_rule != TriggerRule::AllSuccess).then(|| task.trigger_rule.as_str()),
        }
    });
    let places: HashMap<_, _> = shown().enumerate().map(|(place, (node, _))| (node, place)).collect();
    let edges = graph.edges().iter().filter_map(|edge| Some((*places.get(&edge.from)?, *places.get(&edge.to)?)));
    lay_out(sketches.collect(), &edges.collect::<Vec<_>>())
}

/// Lays sketches out from left to right; the edges say which follows which, by their places in the list.
pub(crate) fn lay_out(sketches: Vec<Sketch>, edges: &[(usize, usize)]) -> Drawing {
    let mut drawn: Layout<NodeLabel, EdgeLabel> =
        Layout::with_options(GraphOptions { directed: true, multigraph: false, compound: false });
    for (at, sketch) in sketches.iter().enumerate() {
        let label = NodeLabel { width: width_of(&sketch.name), height: HEIGHT, ..NodeLabel::default() };
        drawn.set_node(at.to_string(), Some(label));
    }
    for (from, to) in edges {
        drawn.set_edge(from.to_string(), to.to_string(), Some(EdgeLabel::default()), None);
    }
    let options = LayoutOptions { rankdir: RankDir::LR, nodesep: 14.0, ranksep: 44.0, ..LayoutOptions::default() };
    layout(&mut drawn, Some(options));
    let place = |(at, sketch): (usize, Sketch)| {
        let label = drawn.node(&at.to_string())?;
        let (x, y) = (label.x? - label.width / 2.0 + MARGIN, label.y? - HEIGHT / 2.0 + MARGIN);
        Some(Place { sketch, x: x as i64, y: y as i64, width: label.width as i64, height: HEIGHT as i64 })
    };
    let places: Vec<_> = sketches.into_iter().enumerate().filter_map(place).collect();
    let path = |(from, to): &(usize, usize)| {
        let label = drawn.edge(&from.to_string(), &to.to_string(), None)?;
        let points: Vec<_> =
            label.points.iter().map(|point| format!("{:.0},{:.0}", point.x + MARGIN, point.y + MARGIN)).collect();
        Some(format!("M{}", points.join(" L")))
    };
    Drawing {
        width: places.iter().map(|place| place.x + place.width).max().unwrap_or(0) + MARGIN as i64,
        height: places.iter().map(|place| place.y + place.height).max().unwrap_or(0) + MARGIN as i64,
        paths: edges.iter().filter_map(path).collect(),
        places,
    }
}
