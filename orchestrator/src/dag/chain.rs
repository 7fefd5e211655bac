//! `a >> [b, c] >> d`: an expression that [`Dag::chain`] records.

use std::ops::Shr;

use super::{
    draft::Dag,
    group::{End, Group},
    task::Task,
};
use crate::ids::TaskId;

/// Tasks in a row, not yet recorded.
#[must_use = "`a >> b` alone changes nothing: write `dag.chain(a >> b)`"]
#[derive(Debug)]
pub struct Chain<'d> {
    edges: Vec<(Place<'d>, Place<'d>)>,
    first: Vec<Place<'d>>,
    last: Vec<Place<'d>>,
}

/// A task, or a group, of some DAG.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'d> {
    dag: &'d Dag,
    end: End,
}

/// What may stand in a chain: a task, a group, an array or vector of tasks, a tuple of tasks, a chain.
pub trait Link<'d> {
    /// As a chain of its own.
    fn into_chain(self) -> Chain<'d>;
}

impl<'d> Chain<'d> {
    pub(super) fn cross(upstream: impl Link<'d>, downstream: impl Link<'d>) -> Self {
        upstream.into_chain().then(downstream.into_chain())
    }

    pub(super) fn edges_in(&self, dag: &Dag) -> Vec<(End, End)> {
        let is_here = |place: &Place<'_>| place.dag.token() == dag.token();
        self.edges
            .iter()
            .filter(|(from, to)| is_here(from) && is_here(to))
            .map(|(from, to)| (from.end, to.end))
            .collect()
    }

    /// The tasks of that DAG with which it begins.
    pub(super) fn starts_in(&self, dag: &Dag) -> Vec<usize> {
        let here = self.first.iter().filter(|place| place.dag.token() == dag.token());
        let task = |place: &Place<'_>| match place.end {
            End::Task(node) => Some(node),
            End::Group(_) => None,
        };
        here.filter_map(task).collect()
    }

    pub(super) fn foreign_to(&self, dag: &Dag) -> Vec<TaskId> {
        let places = self.edges.iter().flat_map(|(from, to)| [from, to]).chain(&self.first);
        let mut foreign: Vec<_> =
            places.filter(|place| place.dag.token() != dag.token()).map(|place| place.dag.name_of(place.end)).collect();
        foreign.sort();
        foreign.dedup();
        foreign
    }

    fn then(mut self, next: Chain<'d>) -> Chain<'d> {
        for from in &self.last {
            self.edges.extend(next.first.iter().map(|to| (*from, *to)));
        }
        self.edges.extend(next.edges);
        Chain { edges: self.edges, first: self.first, last: next.last }
    }

    fn side_by_side(places: Vec<Place<'d>>) -> Self {
        Self { edges: Vec::new(), first: places.clone(), last: places }
    }
}

impl<'d, T> From<Task<'d, T>> for Place<'d> {
    fn from(task: Task<'d, T>) -> Self {
        Self { dag: task.dag, end: End::Task(task.node) }
    }
}

impl<'d> Link<'d> for Chain<'d> {
    fn into_chain(self) -> Chain<'d> {
        self
    }
}

impl<'d, T> Link<'d> for Task<'d, T> {
    fn into_chain(self) -> Chain<'d> {
        Chain::side_by_side(vec![self.into()])
    }
}

impl<'d, I> Link<'d> for Group<'d, I> {
    fn into_chain(self) -> Chain<'d> {
        Chain::side_by_side(vec![Place { dag: self.dag, end: End::Group(self.index) }])
    }
}

impl<'d, I, L: Link<'d>> Shr<L> for Group<'d, I> {
    type Output = Chain<'d>;

    fn shr(self, next: L) -> Chain<'d> {
        Chain::cross(self, next)
    }
}

impl<'d, T, const N: usize> Link<'d> for [Task<'d, T>; N] {
    fn into_chain(self) -> Chain<'d> {
        Chain::side_by_side(self.into_iter().map(Into::into).collect())
    }
}

impl<'d, T> Link<'d> for Vec<Task<'d, T>> {
    fn into_chain(self) -> Chain<'d> {
        Chain::side_by_side(self.into_iter().map(Into::into).collect())
    }
}

macro_rules! tuple_link {
    ($($task:ident $index:tt),+) => {
        impl<'d, $($task),+> Link<'d> for ($(Task<'d, $task>,)+) {
            fn into_chain(self) -> Chain<'d> {
                Chain::side_by_side(vec![$(self.$index.into()),+])
            }
        }

        impl<'d, Z, $($task),+> Shr<Task<'d, Z>> for ($(Task<'d, $task>,)+) {
            type Output = Chain<'d>;

            fn shr(self, next: Task<'d, Z>) -> Chain<'d> {
                Chain::cross(self, next)
            }
        }
    };
}

tuple_link!(A 0, B 1);
tuple_link!(A 0, B 1, C 2);
tuple_link!(A 0, B 1, C 2, D 3);
tuple_link!(A 0, B 1, C 2, D 3, E 4);
tuple_link!(A 0, B 1, C 2, D 3, E 4, F 5);

impl<'d, T, L: Link<'d>> Shr<L> for Task<'d, T> {
    type Output = Chain<'d>;

    fn shr(self, next: L) -> Chain<'d> {
        Chain::cross(self, next)
    }
}

impl<'d, L: Link<'d>> Shr<L> for Chain<'d> {
    type Output = Chain<'d>;

    fn shr(self, next: L) -> Chain<'d> {
        self.then(next.into_chain())
    }
}

impl<'d, T, U, const N: usize> Shr<Task<'d, U>> for [Task<'d, T>; N] {
    type Output = Chain<'d>;

    fn shr(self, next: Task<'d, U>) -> Chain<'d> {
        Chain::cross(self, next)
    }
}

impl<'d, T, U> Shr<Task<'d, U>> for Vec<Task<'d, T>> {
    type Output = Chain<'d>;

    fn shr(self, next: Task<'d, U>) -> Chain<'d> {
        Chain::cross(self, next)
    }
}
