//! The handle of a task: its settings.

use std::{marker::PhantomData, sync::Arc, time::Duration};

use super::{
    chain::{Chain, Link},
    draft::Dag,
    group::End,
    spec::{Isolation, Past, Role, TaskSpec, WeightRule},
};
use crate::{
    notify::{Event, Notifier},
    readiness::TriggerRule,
    retry::RetryPolicy,
};

/// The handle of a task whose result is a `T`. Copy it freely; put it in a chain, or give it to a task that takes a
/// `T`.
pub struct Task<'d, T> {
    pub(super) dag: &'d Dag,
    pub(super) node: usize,
    /// Whether it stands for the results of all indexes of the mapped group that the task is in.
    pub(super) collected: bool,
    pub(super) output: PhantomData<fn() -> T>,
}

impl<T> Clone for Task<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Task<'_, T> {}

impl<T> std::fmt::Debug for Task<'_, T> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Task({})", self.dag.name_of(End::Task(self.node)))
    }
}

impl<'d, T> Task<'d, T> {
    /// Of a task of a mapped group, for a task outside of it: what it returned for all indexes, in their order.
    #[must_use]
    pub fn collected(self) -> Task<'d, Vec<T>> {
        Task { dag: self.dag, node: self.node, collected: true, output: PhantomData }
    }

    /// Tries after the first.
    pub fn retries(self, retries: u32) -> Self {
        self.set(|spec| spec.retry.retries = retries)
    }

    /// The delay before the second try.
    pub fn retry_delay(self, delay: Duration) -> Self {
        self.set(|spec| spec.retry.delay = delay)
    }

    /// What the delay is multiplied with from try to try.
    pub fn retry_exponential_backoff(self, multiplier: f64) -> Self {
        self.set(|spec| spec.retry.backoff = Some(multiplier))
    }

    /// The longest delay before a try.
    pub fn max_retry_delay(self, delay: Duration) -> Self {
        self.set(|spec| spec.retry.max_delay = Some(delay))
    }

    /// Replaces the whole retry policy.
    pub fn retry_policy(self, policy: RetryPolicy) -> Self {
        self.set(|spec| spec.retry = policy)
    }

    /// How long a try may take.
    pub fn execution_timeout(self, timeout: Duration) -> Self {
        self.set(|spec| spec.execution_timeout = Some(timeout))
    }

    /// When it runs, given how its upstream tasks ended.
    pub fn trigger_rule(self, rule: TriggerRule) -> Self {
        self.set(|spec| spec.trigger_rule = rule)
    }

    /// The pool whose slots it takes while it is queued or runs.
    pub fn pool(self, pool: &str) -> Self {
        self.set(|spec| spec.pool = pool.to_owned())
    }

    /// How many slots of its pool it takes; one by default.
    pub fn pool_slots(self, slots: u32) -> Self {
        self.set(|spec| spec.pool_slots = i32::try_from(slots).unwrap_or(i32::MAX))
    }

    /// How many of its task instances may be queued or running at once, over all runs.
    pub fn max_active_tis_per_dag(self, instances: u32) -> Self {
        self.set(|spec| spec.max_active_tis_per_dag = Some(i32::try_from(instances).unwrap_or(i32::MAX)))
    }

    /// How many of its task instances may be queued or running at once in one run: of a mapped task.
    pub fn max_active_tis_per_dagrun(self, instances: u32) -> Self {
        self.set(|spec| spec.max_active_tis_per_dagrun = Some(i32::try_from(instances).unwrap_or(i32::MAX)))
    }

    /// Where its body runs: in the worker (the default), or in a process of its own, as in Airflow.
    pub fn isolation(self, isolation: Isolation) -> Self {
        self.set(|spec| spec.isolation = isolation)
    }

    /// Which workers take it: those that serve this queue.
    pub fn queue(self, queue: &str) -> Self {
        self.set(|spec| spec.queue = queue.to_owned())
    }

    /// Runs only when it has ended well in the run before, by logical date (with catchup: the scheduled run before). The
    /// first run waits for nothing.
    pub fn depends_on_past(self) -> Self {
        self.set(|spec| spec.past = Past::Itself)
    }

    /// The same, and the tasks directly after it must have ended well there, too.
    pub fn wait_for_downstream(self) -> Self {
        self.set(|spec| spec.past = Past::WithDownstream)
    }

    /// If it is a sensor (it returns a [`Poke`](super::Poke)): how long between two looks; a minute by default.
    pub fn poke_interval(self, interval: Duration) -> Self {
        self.set(|spec| spec.sensor.poke_interval = interval)
    }

    /// If it is a sensor: how long it looks, from the first look of a try; a week by default. Then it has failed, and is
    /// not tried again.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.set(|spec| spec.sensor.timeout = timeout)
    }

    /// If it is a sensor: when its time is over, it is skipped instead of failed.
    pub fn soft_fail(self) -> Self {
        self.set(|spec| spec.sensor.soft_fail = true)
    }

    /// Updates an asset when it succeeds: DAGs that wait for that run then. Airflow's `outlets`.
    pub fn outlet(self, asset: &str) -> Self {
        self.set(|spec| spec.outlets.push(asset.to_owned()))
    }

    /// Tells somebody when it has succeeded; an `async fn(Notice) -> anyhow::Result<()>` will do.
    pub fn on_success(self, notifier: impl Notifier + 'static) -> Self {
        self.tell(Event::TaskSuccess, notifier)
    }

    /// Tells somebody when it has failed and no try is left.
    pub fn on_failure(self, notifier: impl Notifier + 'static) -> Self {
        self.tell(Event::TaskFailure, notifier)
    }

    /// Tells somebody when a try has failed and another one follows.
    pub fn on_retry(self, notifier: impl Notifier + 'static) -> Self {
        self.tell(Event::TaskRetry, notifier)
    }

    /// Tells somebody when it has decided that there is nothing to do.
    pub fn on_skipped(self, notifier: impl Notifier + 'static) -> Self {
        self.tell(Event::TaskSkipped, notifier)
    }

    fn tell(self, event: Event, notifier: impl Notifier + 'static) -> Self {
        self.dag.tell_of(self.node, event, Arc::new(notifier));
        self
    }

    /// Makes something that the tasks after it need: Airflow's setup task. When a task after it is cleared, so is it.
    pub fn as_setup(self) -> Self {
        self.set(|spec| spec.role = Role::Setup)
    }

    /// Takes away what these setups made, when all that comes before it has ended, however: Airflow's
    /// `as_teardown(setups=…)`. How it ends does not count for the run, unless it is
    /// [`on_failure_fail_dagrun`](Self::on_failure_fail_dagrun).
    pub fn as_teardown(self, setups: impl Link<'d>) -> Self {
        let chain = Chain::cross(setups, self);
        for setup in chain.starts_in(self.dag) {
            self.dag.set(setup, |spec| spec.role = Role::Setup);
        }
        self.dag.chain(chain);
        self.set(|spec| {
            spec.role = if spec.role == Role::DecisiveTeardown { Role::DecisiveTeardown } else { Role::Teardown };
            spec.trigger_rule = TriggerRule::AllDoneSetupSuccess;
        })
    }

    /// What the task is there for, where edges are made elsewhere; [`as_teardown`](Self::as_teardown) says more.
    pub fn role(self, role: Role) -> Self {
        self.set(|spec| {
            spec.role = role;
            if role.is_teardown() {
                spec.trigger_rule = TriggerRule::AllDoneSetupSuccess;
            }
        })
    }

    /// When this teardown fails, the run has failed.
    pub fn on_failure_fail_dagrun(self) -> Self {
        self.role(Role::DecisiveTeardown)
    }

    /// Tasks of a higher weight are claimed first.
    pub fn priority_weight(self, weight: i32) -> Self {
        self.set(|spec| spec.priority_weight = weight)
    }

    /// What counts for its priority besides its own weight; nothing by default.
    pub fn weight_rule(self, rule: WeightRule) -> Self {
        self.set(|spec| spec.weight_rule = rule)
    }

    fn set(self, change: impl FnOnce(&mut TaskSpec)) -> Self {
        self.dag.set(self.node, change);
        self
    }
}
