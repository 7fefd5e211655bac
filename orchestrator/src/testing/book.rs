//! What Postgres would hold of a test run.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::{
    context::Reads,
    dag::{Graph, Mapped, Over},
    engine::{At, Lengths, Steps, advance},
    ids::{DagId, Node, RunId, TaskId},
    lookup::{self, Connection},
    readiness::Counts,
    state::{RunState, TaskState},
    store::{assets::AssetEvent, nodes::NodeRow, run_dates::RunDates},
};

/// The task instances of a test run, and what they returned.
#[derive(Debug)]
pub(super) struct Book {
    graph: Arc<Graph>,
    instances: BTreeMap<At, TaskState>,
    skips: BTreeMap<At, Vec<Node>>,
    returned: Arc<Mutex<BTreeMap<At, Value>>>,
    dates: RunDates,
}

impl Book {
    pub(super) fn new(graph: Arc<Graph>, dates: RunDates) -> Self {
        let instances = graph.nodes().map(|node| ((node, -1), TaskState::None)).collect();
        Self { graph, instances, skips: BTreeMap::new(), returned: Arc::default(), dates }
    }

    pub(super) fn set(&mut self, instance: At, state: TaskState) {
        self.instances.insert(instance, state);
    }

    pub(super) fn keep(&mut self, instance: At, value: Value, skips: Vec<Node>) {
        self.skips.insert(instance, skips);
        if !value.is_null() {
            self.returned.lock().unwrap_or_else(PoisonError::into_inner).insert(instance, value);
        }
    }

    /// What a try of that instance may read.
    pub(super) fn results(&self, (node, map_index): At) -> ReadsBook {
        let (returned, dates) = (Arc::clone(&self.returned), self.dates.clone());
        ReadsBook { graph: Arc::clone(&self.graph), node, map_index, returned, dates }
    }

    /// What may run now, after everything that ends without running has been written down; says what that was.
    pub(super) fn advance(&mut self) -> (Vec<At>, Vec<(Node, TaskState)>) {
        let mut lengths = Lengths::new();
        let steps = loop {
            let steps = advance(&self.graph, &self.rows(), &lengths);
            if steps.unmeasured.is_empty() && steps.resize.is_empty() {
                break steps;
            }
            for mapped in &steps.unmeasured {
                lengths.insert(*mapped, self.results((Node(-1), -1)).items(*mapped).map(|items| items.len()));
            }
            for (mapped, length) in &steps.resize {
                for node in self.graph.members(*mapped) {
                    self.instances.remove(&(node, -1));
                    self.instances.extend((0..*length as i32).map(|index| ((node, index), TaskState::None)));
                }
            }
        };
        let Steps { ready, ended, .. } = steps;
        for decided in &ended {
            let is_it = |(node, index): At| node == decided.node && [-1, index].contains(&decided.lane);
            for (instance, state) in &mut self.instances {
                if is_it(*instance) && *state == TaskState::None {
                    *state = decided.state;
                }
            }
        }
        (ready, ended.into_iter().map(|decided| (decided.node, decided.state)).collect())
    }

    fn rows(&self) -> Vec<NodeRow> {
        self.graph.nodes().flat_map(|node| self.rows_of(node)).collect()
    }

    fn rows_of(&self, node: Node) -> Vec<NodeRow> {
        let of_node: Vec<_> = self.of(node).collect();
        if self.graph.mapped_group(node).is_some() {
            return of_node.into_iter().map(|(index, state)| self.row(node, index, vec![(index, state)])).collect();
        }
        vec![self.row(node, -1, of_node)]
    }

    fn row(&self, node: Node, lane: i32, instances: Vec<(i32, TaskState)>) -> NodeRow {
        let mut counts = Counts::default();
        for upstream in self.graph.upstream(node) {
            let within_lane = self.graph.share_lanes(*upstream, node);
            for (_, state) in self.of(*upstream).filter(|(index, _)| !within_lane || *index == lane) {
                counts.upstream += 1;
                counts.success += i32::from(state == TaskState::Success);
                counts.skipped += i32::from(state == TaskState::Skipped);
                counts.failed += i32::from(state == TaskState::Failed);
                counts.upstream_failed += i32::from(state == TaskState::UpstreamFailed);
            }
        }
        let skips = instances.iter().filter_map(|(index, _)| self.skips.get(&(node, *index))).flatten().copied();
        NodeRow { node, lane, counts, skips: skips.collect(), instances }
    }

    fn of(&self, node: Node) -> impl Iterator<Item = (i32, TaskState)> {
        self.instances.range((node, -1)..=(node, i32::MAX)).map(|((_, index), state)| (*index, *state))
    }

    /// How a task ended: of a mapped one, the worst that happened to an instance.
    pub(super) fn state(&self, node: Node) -> TaskState {
        let found = |wanted| self.of(node).any(|(_, state)| state == wanted);
        let worst_first = [TaskState::Failed, TaskState::UpstreamFailed, TaskState::Removed, TaskState::Success];
        worst_first.into_iter().find(|state| found(*state)).unwrap_or(TaskState::Skipped)
    }

    /// What a task returned.
    pub(super) fn result(&self, node: Node) -> Option<Value> {
        self.results((Node(-1), -1)).of(node)
    }
}

/// What the tasks of a test run returned.
pub(super) struct ReadsBook {
    graph: Arc<Graph>,
    node: Node,
    map_index: i32,
    returned: Arc<Mutex<BTreeMap<At, Value>>>,
    dates: RunDates,
}

impl ReadsBook {
    fn one(&self, instance: At) -> Option<Value> {
        self.returned.lock().unwrap_or_else(PoisonError::into_inner).get(&instance).cloned()
    }

    fn of(&self, node: Node) -> Option<Value> {
        if self.graph.share_lanes(self.node, node) {
            return self.one((node, self.map_index));
        }
        if self.graph.mapped(node).is_none() {
            return self.one((node, -1));
        }
        let returned = self.returned.lock().unwrap_or_else(PoisonError::into_inner);
        Some(returned.range((node, 0)..=(node, i32::MAX)).map(|(_, value)| value.clone()).collect())
    }

    fn items(&self, mapped: Mapped) -> Option<Vec<Value>> {
        match self.graph.over(mapped)? {
            Over::Values(values) => Some(values.clone()),
            Over::Result(source) => match self.of(*source)? {
                Value::Array(items) => Some(items),
                _ => None,
            },
        }
    }
}

#[async_trait]
impl Reads for ReadsBook {
    async fn result_of(&self, task: &TaskId) -> anyhow::Result<Option<Value>> {
        Ok(self.graph.node(task).and_then(|node| self.of(node)))
    }

    async fn item(&self) -> anyhow::Result<Option<Value>> {
        let items = self.graph.mapped(self.node).and_then(|mapped| self.items(mapped));
        Ok(usize::try_from(self.map_index).ok().and_then(|index| items?.get(index).cloned()))
    }

    async fn variable(&self, key: &str) -> anyhow::Result<Option<String>> {
        Ok(lookup::variable_of_environment(key))
    }

    async fn asset_events(&self) -> anyhow::Result<Vec<AssetEvent>> {
        Ok(Vec::new())
    }

    async fn run_dates(&self) -> anyhow::Result<Option<RunDates>> {
        Ok(Some(self.dates.clone()))
    }

    async fn run_dates_of(&self, _: &DagId, _: &RunId) -> anyhow::Result<Option<RunDates>> {
        Ok(None)
    }

    async fn previous_success(&self) -> anyhow::Result<Option<RunDates>> {
        Ok(None)
    }

    async fn signal(&self, _: &str) -> anyhow::Result<Option<Value>> {
        Ok(None)
    }

    async fn states(&self, _: &DagId, _: &TaskId, _: DateTime<Utc>) -> anyhow::Result<Vec<TaskState>> {
        Ok(Vec::new())
    }

    async fn run_state(&self, _: &DagId, _: DateTime<Utc>) -> anyhow::Result<Option<RunState>> {
        Ok(None)
    }

    async fn connection(&self, conn_id: &str) -> anyhow::Result<Option<Connection>> {
        lookup::connection_of_environment(conn_id)
    }
}
