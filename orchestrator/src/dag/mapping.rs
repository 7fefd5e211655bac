//! Mapped tasks: one instance for each item of a list. Airflow's `expand` and `partial`.

use std::{marker::PhantomData, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    body::{Body, Function, Input, InputTask, Inputs, IntoTask, Operator, OperatorKind, Parts, Taken, short_name},
    draft::Dag,
    output::Output,
    spec::GroupIndex,
    task::Task,
};
use crate::context::{Context, TaskResult};

/// What may be mapped over: the handle of a task that returns a list, or a list.
pub trait Source {
    /// What each instance takes.
    type Item;

    /// Takes it apart.
    fn into_over(self) -> OverInput;
}

/// What is mapped over, while the DAG is written.
#[derive(Clone, Debug)]
pub struct OverInput(pub(super) OverKind);

#[derive(Clone, Debug)]
pub(super) enum OverKind {
    Values(Result<Vec<Value>, String>),
    Result(InputTask),
}

impl<A> Source for Task<'_, Vec<A>> {
    type Item = A;

    fn into_over(self) -> OverInput {
        OverInput(OverKind::Result(self.as_input()))
    }
}

impl<A: Serialize> Source for Vec<A> {
    type Item = A;

    fn into_over(self) -> OverInput {
        let values = self.iter().map(serde_json::to_value).collect::<Result<_, _>>();
        OverInput(OverKind::Values(values.map_err(|error| error.to_string())))
    }
}

impl<A: Serialize, const N: usize> Source for [A; N] {
    type Item = A;

    fn into_over(self) -> OverInput {
        Vec::from(self).into_over()
    }
}

/// Maps a function: `count.expand(files)` has one instance for each of the files, and its handle stands for what all of
/// them return, in the order of the items.
///
/// ```
/// use orchestrator::prelude::*;
///
/// async fn list(_: Context) -> TaskResult<Vec<String>> {
///     Ok(vec!["a.csv".to_owned(), "b.csv".to_owned()])
/// }
///
/// async fn count(_: Context, file: String) -> TaskResult<usize> {
///     Ok(file.len())
/// }
///
/// async fn sum(_: Context, counts: Vec<usize>) -> TaskResult<usize> {
///     Ok(counts.into_iter().sum())
/// }
///
/// let dag = Dag::new("files");
/// let files = dag.task("list", list);
/// let counts = dag.task("count", count.expand(files));
/// dag.task("sum", sum.with(counts));
/// # dag.build().unwrap();
/// ```
pub trait Expand: Sized {
    /// One instance for each item of `source`, which is what the function takes after the context.
    fn expand<S: Source>(self, source: S) -> Expanded<Self, S::Item> {
        Expanded { function: self, over: source.into_over(), item: PhantomData }
    }
}

impl<F> Expand for F {}

/// A function, or a way to make an operator, with what it is mapped over.
#[derive(Debug)]
pub struct Expanded<F, A> {
    function: F,
    over: OverInput,
    item: PhantomData<fn() -> A>,
}

impl<F, A, Fut, T> IntoTask<(Function, A, T)> for Expanded<F, A>
where
    F: Fn(Context, A) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = TaskResult<T>> + Send + 'static,
    A: DeserializeOwned + Send + 'static,
    T: Output + 'static,
{
    type Output = Vec<T::Value>;

    fn into_parts(self) -> Parts {
        let function = Arc::new(self.function);
        let body: Body = Arc::new(move |context| {
            let function = Arc::clone(&function);
            Box::pin(async move {
                let item = context.item::<A>().await?;
                function(context, item).await?.into_returned()
            })
        });
        Parts { over: Some(self.over), ..Parts::function(body) }
    }
}

impl<F, A> Expanded<F, A> {
    /// Further arguments, the same for every instance: Airflow's `partial`.
    pub fn with<I: Inputs>(self, inputs: I) -> ExpandedWith<F, A, I::Values> {
        ExpandedWith { expanded: self, inputs: inputs.tasks(), values: PhantomData }
    }
}

/// A mapped function that takes the results of other tasks after its item.
#[derive(Debug)]
pub struct ExpandedWith<F, A, V> {
    expanded: Expanded<F, A>,
    inputs: Vec<InputTask>,
    values: PhantomData<fn() -> V>,
}

macro_rules! expanded_with_inputs {
    ($($value:ident $index:tt),+) => {
        impl<F, A, Fut, T, $($value),+> IntoTask<(Function, A, T)> for ExpandedWith<F, A, ($($value,)+)>
        where
            F: Fn(Context, A, $($value),+) -> Fut + Send + Sync + 'static,
            Fut: Future<Output = TaskResult<T>> + Send + 'static,
            A: DeserializeOwned + Send + 'static,
            T: Output + 'static,
            $($value: DeserializeOwned + Send + 'static),+
        {
            type Output = Vec<T::Value>;

            fn into_parts(self) -> Parts {
                let function = Arc::new(self.expanded.function);
                let taken: Arc<[Taken]> = self.inputs.iter().map(InputTask::taken).collect();
                let body: Body = Arc::new(move |context| {
                    let (function, taken) = (Arc::clone(&function), Arc::clone(&taken));
                    Box::pin(async move {
                        let item = context.item::<A>().await?;
                        let values = ($(taken[$index].value::<$value>(&context).await?,)+);
                        function(context, item, $(values.$index),+).await?.into_returned()
                    })
                });
                Parts { inputs: self.inputs, over: Some(self.expanded.over), ..Parts::function(body) }
            }
        }
    };
}

expanded_with_inputs!(B 0);
expanded_with_inputs!(B 0, C 1);
expanded_with_inputs!(B 0, C 1, D 2);

/// An operator whose settings depend on the item: `partial(|table: String| Load { table }).expand(tables)`. Airflow's
/// `Operator.partial(…).expand(…)`.
pub fn partial<F>(operator: F) -> Partial<F> {
    Partial(operator)
}

/// A way to make an operator from an item.
#[derive(Debug)]
pub struct Partial<F>(F);

impl<F> Partial<F> {
    /// One instance for each item.
    pub fn expand<S: Source>(self, source: S) -> PartialExpanded<F, S::Item> {
        PartialExpanded(Expanded { function: self.0, over: source.into_over(), item: PhantomData })
    }
}

/// A mapped operator.
#[derive(Debug)]
pub struct PartialExpanded<F, A>(Expanded<F, A>);

impl<F, A, O> IntoTask<(OperatorKind, A, O)> for PartialExpanded<F, A>
where
    F: Fn(A) -> O + Send + Sync + 'static,
    A: DeserializeOwned + Send + 'static,
    O: Operator,
{
    type Output = Vec<<O::Output as Output>::Value>;

    fn into_parts(self) -> Parts {
        let Expanded { function, over, .. } = self.0;
        let function = Arc::new(function);
        let body: Body = Arc::new(move |context| {
            let function = Arc::clone(&function);
            Box::pin(async move {
                let operator = function(context.item::<A>().await?);
                operator.run(context).await?.into_returned()
            })
        });
        Parts { operator: short_name(std::any::type_name::<O>()), over: Some(over), ..Parts::function(body) }
    }
}

/// The handle of what a task of a mapped group runs for.
pub struct Item<'d, I> {
    pub(super) dag: &'d Dag,
    pub(super) group: GroupIndex,
    item: PhantomData<fn() -> I>,
}

impl<'d, I> Item<'d, I> {
    pub(super) fn of(dag: &'d Dag, group: GroupIndex) -> Self {
        Self { dag, group, item: PhantomData }
    }
}

impl<I> Clone for Item<'_, I> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<I> Copy for Item<'_, I> {}

impl<I> std::fmt::Debug for Item<'_, I> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Item({:?})", self.group)
    }
}
