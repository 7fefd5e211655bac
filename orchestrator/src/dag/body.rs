//! What a task does: functions, functions with inputs, operators, all made into one kind of body.

use std::{fmt, future::Future, marker::PhantomData, pin::Pin, sync::Arc};

use serde::de::DeserializeOwned;

use super::{
    group::End,
    mapping::{Item, OverInput},
    output::{Output, Returned},
    spec::GroupIndex,
    task::Task,
};
use crate::{
    context::{Context, TaskResult},
    ids::TaskId,
    template,
};

/// The future of one try; its value is what the task returns.
pub type BodyFuture = Pin<Box<dyn Future<Output = TaskResult<Returned>> + Send>>;

/// What a task does, once per try.
pub type Body = Arc<dyn Fn(Context) -> BodyFuture + Send + Sync>;

/// A reusable kind of task. Implement it on a struct whose fields are the settings of one task.
pub trait Operator: Send + Sync + 'static {
    /// What the task returns.
    type Output: Output + Send;

    /// Its settings that are [rendered](Context::render) when it runs: Airflow's `template_fields`. They are checked
    /// when the DAG is built.
    fn templates(&self) -> Vec<&str> {
        Vec::new()
    }

    /// Does the work of one try. Errors are retried; see [`TaskResult`] for those that are not.
    fn run(&self, context: Context) -> impl Future<Output = TaskResult<Self::Output>> + Send;
}

/// Anything that [`Dag::task`](super::Dag::task) takes. `M` tells the implementations apart and is always inferred.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the body of a task",
    note = "a body is an `async fn(Context) -> TaskResult<T>`, such a function `.with(…)` the handles of tasks that \
            return its further arguments, or an `Operator`"
)]
pub trait IntoTask<M> {
    /// What the task returns.
    type Output;

    /// Takes the body apart.
    fn into_parts(self) -> Parts;
}

/// A body and what the graph must know of it.
pub struct Parts {
    /// The name of its kind, for people.
    pub operator: String,
    /// The body.
    pub body: Body,
    pub(super) inputs: Vec<InputTask>,
    pub(super) over: Option<OverInput>,
    /// What is wrong with the templates of an operator.
    pub(super) bad_templates: Vec<String>,
}

impl Parts {
    pub(super) fn function(body: Body) -> Self {
        Self { operator: "function".to_owned(), body, inputs: Vec::new(), over: None, bad_templates: Vec::new() }
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.operator)
    }
}

/// What a task takes, while the DAG is written.
#[derive(Clone, Debug)]
pub struct InputTask {
    pub(super) dag: usize,
    pub(super) from: InputFrom,
}

#[derive(Clone, Debug)]
pub(super) enum InputFrom {
    /// What another task returns; of a task of a mapped group that of the same index, or all of them together.
    Result { node: usize, task_id: TaskId, collected: bool },
    /// What the mapped group that the task is in is run for.
    Item(GroupIndex),
}

/// What a body takes, by name.
#[derive(Clone, Debug)]
pub(super) enum Taken {
    Result(TaskId),
    Item,
}

impl InputTask {
    pub(super) fn taken(&self) -> Taken {
        match &self.from {
            InputFrom::Result { task_id, .. } => Taken::Result(task_id.clone()),
            InputFrom::Item(_) => Taken::Item,
        }
    }
}

impl Taken {
    pub(super) async fn value<T: DeserializeOwned>(&self, context: &Context) -> TaskResult<T> {
        match self {
            Self::Result(task) => context.result_of(task).await,
            Self::Item => context.item().await,
        }
    }
}

/// Marks functions among the implementations of [`IntoTask`].
#[derive(Debug)]
pub struct Function;

/// Marks operators among the implementations of [`IntoTask`].
#[derive(Debug)]
pub struct OperatorKind;

impl<F, Fut, T> IntoTask<(Function, T)> for F
where
    F: Fn(Context) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = TaskResult<T>> + Send + 'static,
    T: Output,
{
    type Output = T::Value;

    fn into_parts(self) -> Parts {
        let body: Body = Arc::new(move |context| {
            let work = self(context);
            Box::pin(async move { work.await?.into_returned() })
        });
        Parts::function(body)
    }
}

impl<O: Operator> IntoTask<OperatorKind> for O {
    type Output = <O::Output as Output>::Value;

    fn into_parts(self) -> Parts {
        let operator = short_name(std::any::type_name::<O>());
        let bad_templates = self.templates().into_iter().filter_map(|source| template::check(source).err()).collect();
        let this = Arc::new(self);
        let body: Body = Arc::new(move |context| {
            let this = Arc::clone(&this);
            Box::pin(async move { this.run(context).await?.into_returned() })
        });
        Parts { operator, bad_templates, ..Parts::function(body) }
    }
}

/// A function together with the tasks whose results it takes.
#[derive(Debug)]
pub struct With<F, V> {
    function: F,
    inputs: Vec<InputTask>,
    values: PhantomData<fn() -> V>,
}

/// Gives a function the results of other tasks: `summarise.with(orders)`, `join.with((left, right))`. The tasks
/// become its upstream. `V` are the types of the arguments after the context.
pub trait TakeInputs<V>: Sized {
    /// Binds the handles to the arguments after the context, in order.
    fn with<I: Inputs<Values = V>>(self, inputs: I) -> With<Self, V> {
        With { function: self, inputs: inputs.tasks(), values: PhantomData }
    }
}

/// One handle, or a tuple of handles.
pub trait Inputs {
    /// What the tasks return, as a tuple.
    type Values;

    /// The tasks, in order.
    fn tasks(&self) -> Vec<InputTask>;
}

/// One handle.
pub trait Input {
    /// What it stands for.
    type Value;

    /// Takes it apart.
    fn as_input(&self) -> InputTask;
}

impl<T> Input for Task<'_, T> {
    type Value = T;

    fn as_input(&self) -> InputTask {
        let task_id = self.dag.name_of(End::Task(self.node));
        let from = InputFrom::Result { node: self.node, task_id, collected: self.collected };
        InputTask { dag: self.dag.token(), from }
    }
}

impl<T> Input for Item<'_, T> {
    type Value = T;

    fn as_input(&self) -> InputTask {
        InputTask { dag: self.dag.token(), from: InputFrom::Item(self.group) }
    }
}

impl<I: Input> Inputs for I {
    type Values = (I::Value,);

    fn tasks(&self) -> Vec<InputTask> {
        vec![self.as_input()]
    }
}

macro_rules! inputs_of_tuple {
    ($($value:ident $index:tt),+) => {
        impl<$($value: Input),+> Inputs for ($($value,)+) {
            type Values = ($($value::Value,)+);

            fn tasks(&self) -> Vec<InputTask> {
                vec![$(self.$index.as_input()),+]
            }
        }
    };
}

macro_rules! function_with_inputs {
    ($($value:ident $index:tt),+) => {
        impl<F, Fut, $($value),+> TakeInputs<($($value,)+)> for F where F: Fn(Context, $($value),+) -> Fut {}

        impl<F, Fut, T, $($value),+> IntoTask<(Function, T)> for With<F, ($($value,)+)>
        where
            F: Fn(Context, $($value),+) -> Fut + Send + Sync + 'static,
            Fut: Future<Output = TaskResult<T>> + Send + 'static,
            T: Output + 'static,
            $($value: DeserializeOwned + Send + 'static),+
        {
            type Output = T::Value;

            fn into_parts(self) -> Parts {
                let function = Arc::new(self.function);
                let taken: Arc<[Taken]> = self.inputs.iter().map(InputTask::taken).collect();
                let body: Body = Arc::new(move |context| {
                    let (function, taken) = (Arc::clone(&function), Arc::clone(&taken));
                    Box::pin(async move {
                        let values = ($(taken[$index].value::<$value>(&context).await?,)+);
                        function(context, $(values.$index),+).await?.into_returned()
                    })
                });
                Parts { inputs: self.inputs, ..Parts::function(body) }
            }
        }
    };
}

inputs_of_tuple!(A 0, B 1);
inputs_of_tuple!(A 0, B 1, C 2);
inputs_of_tuple!(A 0, B 1, C 2, D 3);
inputs_of_tuple!(A 0, B 1, C 2, D 3, E 4);
inputs_of_tuple!(A 0, B 1, C 2, D 3, E 4, G 5);
function_with_inputs!(A 0);
function_with_inputs!(A 0, B 1);
function_with_inputs!(A 0, B 1, C 2);
function_with_inputs!(A 0, B 1, C 2, D 3);
function_with_inputs!(A 0, B 1, C 2, D 3, E 4);
function_with_inputs!(A 0, B 1, C 2, D 3, E 4, G 5);

pub(super) fn short_name(type_name: &str) -> String {
    let bare = type_name.split('<').next().unwrap_or(type_name);
    bare.rsplit("::").next().unwrap_or(bare).to_owned()
}
