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
    /// The groups, the outer ones first.
    pub(crate) frames: Vec<Place>,
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
    /// What stands below its name, in small.
    pub(crate) below: Option<String>,
    /// What stands above it.
    pub(crate) above: Option<&'static str>,
    /// The group that it is in, by its place among the groups.
    pub(crate) within: Option<usize>,
}

/// How a task looks in a run; without one, nothing of this is there.
#[derive(Clone, Default)]
pub(crate) struct Look {
    pub(crate) state: Option<TaskState>,
    pub(crate) link: Option<String>,
}

const MARGIN: f64 = 12.0;

impl Sketch {
    /// About as wide as its texts are in the page's font.
    fn width(&self) -> f64 {
        let width = |text: &str, of_letter: f64| text.chars().count() as f64 * of_letter;
        width(&self.name, 7.0).max(self.below.as_deref().map_or(0.0, |below| width(below, 6.2))) + 42.0
    }

    fn height(&self) -> f64 {
        if self.below.is_some() { 46.0 } else { 34.0 }
    }
}

/// Those tasks of a DAG that are to be shown, in their groups.
pub(crate) fn draw(graph: &Graph, is_shown: impl Fn(Node) -> bool, look: impl Fn(Node) -> Look) -> Drawing {
    let shown = || graph.nodes().zip(graph.tasks()).filter(|(node, _)| is_shown(*node));
    let groups: Vec<_> = graph.groups().iter().map(|group| group.group_id.as_str()).collect();
    let short = |name: &str, within: Option<usize>| {
        let prefix = within.and_then(|group| groups.get(group)).map_or_else(String::new, |group| format!("{group}."));
        name.strip_prefix(&prefix).unwrap_or(name).to_owned()
    };
    let sketches = shown().map(|(node, task)| {
        let (Look { state, link }, within) = (look(node), task.group.map(|group| group.0));
        let name = task.task_id.as_str();
        Sketch {
            sign: words::sign(&state),
            class: state.map(|state| format!("task {state}")).unwrap_or_else(|| "task".to_owned()),
            title: state.map(|state| format!("{name}: {}", words::spoken(state))).unwrap_or_else(|| name.to_owned()),
            name: short(name, within),
            below: Some(below(&task.operator, graph.mapped(node).is_some(), state)),
            link,
            above: (task.trigger_rule != TriggerRule::AllSuccess).then(|| task.trigger_rule.as_str()),
            within,
        }
    });
    let frames = graph.groups().iter().map(|group| {
        let (within, name) = (group.parent.map(|group| group.0), group.group_id.to_string());
        let (class, name, title) = ("group".to_owned(), short(&name, within), format!("the group {name}"));
        Sketch { name, sign: "", class, title, link: None, below: None, above: None, within }
    });
    let places: HashMap<_, _> = shown().enumerate().map(|(place, (node, _))| (node, place)).collect();
    let edges = graph.edges().iter().filter_map(|edge| Some((*places.get(&edge.from)?, *places.get(&edge.to)?)));
    lay_out(sketches.collect(), frames.collect(), &edges.collect::<Vec<_>>())
}

/// What a task is, and where it is in the run.
fn below(operator: &str, is_mapped: bool, state: Option<TaskState>) -> String {
    let mapped = is_mapped.then(|| "mapped".to_owned());
    [Some(operator.to_owned()), mapped, state.map(words::spoken)].into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

/// Lays sketches out from left to right, within their frames; the edges say which sketch follows which.
pub(crate) fn lay_out(sketches: Vec<Sketch>, frames: Vec<Sketch>, edges: &[(usize, usize)]) -> Drawing {
    let mut drawn: Layout<NodeLabel, EdgeLabel> =
        Layout::with_options(GraphOptions { directed: true, multigraph: false, compound: !frames.is_empty() });
    for (at, sketch) in sketches.iter().enumerate() {
        let label = NodeLabel { width: sketch.width(), height: sketch.height(), ..NodeLabel::default() };
        drawn.set_node(at.to_string(), Some(label));
    }
    for (at, inner) in sketches.iter().enumerate() {
        put_within(&mut drawn, &at.to_string(), inner.within, &frames);
    }
    for (from, to) in edges {
        drawn.set_edge(from.to_string(), to.to_string(), Some(EdgeLabel::default()), None);
    }
    let options = LayoutOptions { rankdir: RankDir::LR, nodesep: 14.0, ranksep: 44.0, ..LayoutOptions::default() };
    layout(&mut drawn, Some(options));
    let place = |name: String, sketch: Sketch| {
        let NodeLabel { width, height, x, y, .. } = drawn.node(&name)?;
        let (x, y) = ((*x)? - width / 2.0 + MARGIN, (*y)? - height / 2.0 + MARGIN);
        Some(Place { sketch, x: x as i64, y: y as i64, width: *width as i64, height: *height as i64 })
    };
    let named = |(at, sketch): (usize, Sketch)| place(at.to_string(), sketch);
    let places: Vec<_> = sketches.into_iter().enumerate().filter_map(named).collect();
    let framed = |(at, sketch): (usize, Sketch)| place(frame_name(at), sketch);
    let frames: Vec<_> = frames.into_iter().enumerate().filter_map(framed).collect();
    let path = |(from, to): &(usize, usize)| {
        let label = drawn.edge(&from.to_string(), &to.to_string(), None)?;
        let points: Vec<_> =
            label.points.iter().map(|point| format!("{:.0},{:.0}", point.x + MARGIN, point.y + MARGIN)).collect();
        Some(format!("M{}", points.join(" L")))
    };
    let all = || frames.iter().chain(&places);
    Drawing {
        width: all().map(|place| place.x + place.width).max().unwrap_or(0) + MARGIN as i64,
        height: all().map(|place| place.y + place.height).max().unwrap_or(0) + MARGIN as i64,
        paths: edges.iter().filter_map(path).collect(),
        frames,
        places,
    }
}

fn frame_name(at: usize) -> String {
    format!("frame {at}")
}

/// Only frames with something in them are there.
fn put_within(drawn: &mut Layout<NodeLabel, EdgeLabel>, inner: &str, within: Option<usize>, frames: &[Sketch]) {
    let Some((at, frame)) = within.and_then(|at| Some((at, frames.get(at)?))) else { return };
    let outer = frame_name(at);
    if drawn.node(&outer).is_none() {
        drawn.set_node(outer.clone(), Some(NodeLabel::default()));
        put_within(drawn, &outer, frame.within, frames);
    }
    drawn.set_parent(inner, Some(&outer));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sketch(name: String, within: Option<usize>) -> Sketch {
        let (class, title) = (String::new(), String::new());
        Sketch { name, sign: "", class, title, link: None, below: None, above: None, within }
    }

    fn is_inside(inner: &Place, outer: &Place) -> bool {
        // Places are whole pixels.
        inner.x + 1 >= outer.x
            && inner.y + 1 >= outer.y
            && inner.x + inner.width <= outer.x + outer.width + 1
            && inner.y + inner.height <= outer.y + outer.height + 1
    }

    proptest! {
        #[test]
        fn everything_is_drawn_within_its_frame(
            frames in proptest::collection::vec(any::<prop::sample::Index>(), 0..5),
            within in proptest::collection::vec(any::<prop::sample::Index>(), 1..16),
            edges in proptest::collection::vec((0_usize..16, 0_usize..16), 0..30),
        ) {
            // A frame is in one before it, or in none.
            let outer = |at: usize, index: &prop::sample::Index| index.index(at + 1).checked_sub(1);
            let frames: Vec<_> = frames.iter().enumerate().map(|(at, index)| outer(at, index)).collect();
            let within: Vec<_> = within.iter().map(|index| outer(frames.len(), index)).collect();
            let edges: Vec<_> = edges.into_iter().filter(|(from, to)| from < to && *to < within.len()).collect();
            let sketches = within.iter().enumerate().map(|(at, within)| sketch(format!("task {at}"), *within));
            let drawn = frames.iter().enumerate().map(|(at, outer)| sketch(at.to_string(), *outer));
            let drawing = lay_out(sketches.collect(), drawn.collect(), &edges);
            prop_assert_eq!((drawing.places.len(), drawing.paths.len()), (within.len(), edges.len()));
            for place in drawing.frames.iter().chain(&drawing.places) {
                let outer = place.sketch.within.map(|outer| outer.to_string());
                let frame = drawing.frames.iter().find(|frame| Some(&frame.sketch.name) == outer.as_ref());
                prop_assert!(place.x >= 0 && place.y >= 0 && place.x + place.width <= drawing.width);
                prop_assert_eq!(frame.is_some(), outer.is_some());
                prop_assert!(frame.is_none_or(|frame| is_inside(place, frame)), "{} is outside", place.sketch.name);
            }
        }
    }
}
