//! The engine against the model: random DAGs, rules, setups, outcomes, branches, clears and marks, one event at a
//! time; after each event every state, every try number and the run agree, or the seed that shows otherwise is told.

use std::{collections::HashMap, sync::Arc};

use orchestrator::{
    commands::{self, By, Choice, Clear, ManualRun, Mark, Marked, MarkedRun, NamedTask, Only, RunChoice, TaskChoice},
    dag::{Dag, Next, Registry, Role, Task},
    engine::{Abilities, Claimant, Ending, Outcome, settle},
    ids::{DagId, Node, ProcessId, RunId, TaskId},
    prelude::{Context, Expand, RetryPolicy, TaskResult, TriggerRule},
    process,
    store::{instances::Claim, processes::ProcessKind},
};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use sqlx::{PgPool, Row};

use super::{
    model::{self, At, End, Kind, Model, Over},
    world::World,
};

/// Runs of the model in `make test`; `STREAMCOMMERCE_MODEL_SEEDS` makes more.
const SEEDS: u64 = 150;

/// Events of one run, after which it is left alone.
const EVENTS_MAX: usize = 40;

#[sqlx::test(migrations = "../migrations")]
async fn engine_and_model_agree_on_every_state(pool: PgPool) {
    let seeds = std::env::var("STREAMCOMMERCE_MODEL_SEEDS").ok().map_or(SEEDS, |text| text.parse().unwrap());
    let models: Vec<_> = (0..seeds).map(random_model).collect();
    let dags = models.iter().enumerate().map(|(seed, model)| dag_of(seed, model)).collect();
    let world = World::new(pool, dags).await;
    let mut events = 0;
    for (seed, model) in models.into_iter().enumerate() {
        let mut play = Play::begin(&world, seed, model).await;
        while play.trace.len() < EVENTS_MAX && play.event().await {
            events += 1;
        }
        // The run is left as it is; its DAG must not be passed over again.
        let mut conn = world.pool.acquire().await.unwrap();
        commands::set_paused(&mut conn, &world.graphs, &play.dag, true, &By::test()).await.unwrap();
    }
    world.assert_counts().await;
    assert!(events > seeds * 3, "only {events} events in {seeds} runs");
}

fn random_model(seed: u64) -> Model {
    let mut random = StdRng::seed_from_u64(seed);
    let size = random.random_range(1..=7);
    let density = random.random_range(0.2..0.8);
    let has_setups = random.random_bool(0.3);
    let has_mapping = random.random_bool(0.6);
    // The mapped group, a part of the tasks, and what it is mapped over: a task before them.
    let first = random.random_range(0..size);
    let group = (has_mapping && random.random_bool(0.5)).then(|| random_over(&mut random, first));
    let last = random.random_range(first..size);
    let mut tasks: Vec<model::Task> = Vec::new();
    for task in 0..size {
        let mut upstream: Vec<usize> = (0..task).filter(|_| random.random_bool(density)).collect();
        let kind = match random.random_range(0..6) {
            0 if has_setups => Kind::Setup,
            1 if has_setups => Kind::Teardown,
            2 if has_setups => Kind::DecisiveTeardown,
            _ => Kind::Work,
        };
        let all = TriggerRule::ALL.map(TriggerRule::as_str);
        let rule = match kind {
            Kind::Teardown | Kind::DecisiveTeardown => "all_done_setup_success",
            _ if random.random_bool(0.4) => "all_success",
            _ => all.choose(&mut random).unwrap(),
        };
        let in_group = group.is_some() && (first..=last).contains(&task);
        let over = (has_mapping && !in_group && random.random_bool(0.4)).then(|| random_over(&mut random, task));
        if let Some(Over::Result(source)) = over {
            upstream.push(source);
        }
        if let (true, Some(Over::Result(source))) = (in_group, group)
            && !upstream.iter().any(|before| tasks[*before].in_group)
        {
            upstream.push(source);
        }
        upstream.sort_unstable();
        upstream.dedup();
        let retries = i32::from(random.random_bool(0.3));
        tasks.push(model::Task { upstream, rule, kind, retries, over, in_group });
    }
    Model::new(tasks, group, random.random_bool(0.2))
}

/// Over literals, or over what one of the tasks before it returns.
fn random_over(random: &mut StdRng, before: usize) -> Over {
    if before == 0 || random.random_bool(0.3) {
        return Over::Values(random.random_range(0..4));
    }
    Over::Result(random.random_range(0..before))
}

/// The handle of a task: of one that can be mapped over as the list that it returns.
type Handle<'d> = Task<'d, Vec<u32>>;

fn dag_of(seed: usize, model: &Model) -> Dag {
    let dag = Dag::new(&format!("d{seed}"));
    let dag = if model.fail_fast { dag.fail_fast() } else { dag };
    let mut handles: Vec<Handle<'_>> = Vec::new();
    let nothing = async |_: Context| TaskResult::Ok(Vec::<u32>::new());
    let each = async |_: Context, _: u32| TaskResult::Ok(0_u32);
    let mut group = None;
    for (task, of) in model.tasks.iter().enumerate() {
        let name = format!("t{task}");
        let handle = match (of.over, of.in_group, model.group) {
            (Some(Over::Values(length)), ..) => dag.task(&name, each.expand(vec![0_u32; length])),
            (Some(Over::Result(source)), ..) => dag.task(&name, each.expand(handles[source])),
            (None, true, Some(over)) => {
                let group = group.get_or_insert_with(|| match over {
                    Over::Values(length) => dag.group("g").expand(vec![0_u32; length]),
                    Over::Result(source) => dag.group("g").expand(handles[source]),
                });
                group.task(&name, nothing)
            }
            _ => dag.task(&name, nothing),
        };
        let rule = TriggerRule::ALL.into_iter().find(|rule| rule.as_str() == of.rule).unwrap();
        let retries =
            RetryPolicy { retries: of.retries as u32, delay: std::time::Duration::ZERO, ..RetryPolicy::default() };
        let role = match of.kind {
            Kind::Work => Role::Work,
            Kind::Setup => Role::Setup,
            Kind::Teardown => Role::Teardown,
            Kind::DecisiveTeardown => Role::DecisiveTeardown,
        };
        handles.push(handle.trigger_rule(rule).retry_policy(retries).role(role));
    }
    for (task, of) in model.tasks.iter().enumerate() {
        for upstream in &of.upstream {
            dag.chain(handles[*upstream] >> handles[task]);
        }
    }
    dag
}

/// What a task is called.
fn name(model: &Model, task: usize) -> TaskId {
    TaskId::from(if model.tasks[task].in_group { format!("g.t{task}") } else { format!("t{task}") })
}

struct Play<'w> {
    world: &'w World,
    dag: DagId,
    run: RunId,
    worker: ProcessId,
    model: Model,
    claims: HashMap<At, Claim>,
    /// Of this run's DAG alone.
    abilities: Abilities,
    random: StdRng,
    trace: Vec<String>,
}

impl<'w> Play<'w> {
    async fn begin(world: &'w World, seed: usize, model: Model) -> Self {
        let dag = DagId::from(format!("d{seed}"));
        let worker =
            process::register(&world.pool, ProcessKind::Worker, 100, process::Lease::default(), None).await.unwrap();
        world.unpause(dag.as_str()).await;
        let run = world.trigger(dag.as_str(), ManualRun::default()).await;
        let random = StdRng::seed_from_u64(seed as u64);
        let abilities = Abilities::of(Arc::new(Registry::build(vec![dag_of(seed, &model)]).unwrap()));
        let trace = vec![format!("seed {seed}: {model:#?}")];
        let mut play = Self { world, dag, run, worker, model, claims: HashMap::new(), abilities, random, trace };
        play.pass().await;
        play
    }

    /// One thing happens, if anything still can.
    async fn event(&mut self) -> bool {
        let held = self.model.held();
        let commands_more = self.random.random_bool(0.2);
        match held.choose(&mut self.random) {
            Some(at) if !commands_more => self.end(*at).await,
            _ if commands_more => self.command().await,
            _ if !model::is_finished(self.model.run) => self.pass().await,
            _ => return false,
        }
        true
    }

    async fn pass(&mut self) {
        self.trace.push("the scheduler passes".to_owned());
        self.model.scheduler_passes();
        self.world.pass().await;
        self.agree().await;
    }

    async fn end(&mut self, at: At) {
        let end = self.random_end(at.0);
        self.trace.push(format!("t{} [{}] ends: {end:?}", at.0, at.1));
        let claim = self.claims.remove(&at).unwrap();
        let outcome = self.outcome(at.0, &claim, &end);
        self.model.ends(at, &end);
        let mut conn = self.world.pool.acquire().await.unwrap();
        let settled = settle(&mut conn, &self.world.graphs, vec![outcome], None).await.unwrap();
        assert!(settled.stale.is_empty(), "refused\n{}", self.trace.join("\n"));
        drop(conn);
        self.agree().await;
    }

    fn random_end(&mut self, task: usize) -> End {
        let after = self.model.downstream(task);
        // A mapped task that is a branch would choose once for all of its instances.
        let may_branch = !after.is_empty() && self.model.tasks[task].over.is_none();
        let is_source = self.model.is_source(task);
        match self.random.random_range(0..10) {
            0..=2 => End::Fail,
            3 => End::Skip,
            4 if may_branch => End::Branch(after.into_iter().filter(|_| self.random.random_bool(0.5)).collect()),
            5 if may_branch => End::ShortCircuit,
            _ => End::Success { items: is_source.then(|| self.random.random_range(0..4)) },
        }
    }

    fn outcome(&self, task: usize, claim: &Claim, end: &End) -> Outcome {
        let graph = self.world.graphs.known(claim.version).unwrap();
        let skipped_by = |next: &Next| graph.skipped_by(claim.node, next).unwrap();
        let nothing = || Ending::Success(serde_json::Value::Null.into());
        let (ending, skips) = match end {
            End::Success { items: Some(items) } => {
                (Ending::Success(serde_json::json!(vec![0; *items]).into()), Vec::new())
            }
            End::Success { items: None } => (nothing(), Vec::new()),
            End::Branch(chosen) => {
                let next = Next::Only(chosen.iter().map(|chosen| name(&self.model, *chosen)).collect());
                (nothing(), skipped_by(&next))
            }
            End::ShortCircuit => (nothing(), skipped_by(&Next::Nothing)),
            End::Skip => (Ending::Skipped { cause: String::new() }, Vec::new()),
            End::Fail => (self.failure(task, claim), Vec::new()),
        };
        Outcome {
            instance: claim.instance,
            attempt: claim.attempt,
            worker: self.worker,
            run_key: claim.run_key,
            run_day: claim.run_day,
            version: claim.version,
            node: claim.node,
            map_index: claim.map_index,
            ending,
            skips,
        }
    }

    /// As a worker judges it.
    fn failure(&self, task: usize, claim: &Claim) -> Ending {
        let cause = "on purpose".to_owned();
        if self.model.tasks[task].retries > 0 && claim.try_number <= claim.max_tries {
            return Ending::Retry { delay: std::time::Duration::ZERO, cause };
        }
        Ending::Failed { cause }
    }

    async fn command(&mut self) {
        let size = self.model.tasks.len();
        let task = self.random.random_range(0..size);
        let mut conn = self.world.pool.acquire().await.unwrap();
        let graphs = &self.world.graphs;
        match self.random.random_range(0..8) {
            0..=3 => {
                let chosen: Vec<_> = (0..size).filter(|other| *other == task || self.random.random_bool(0.3)).collect();
                let chosen: Vec<_> = chosen.into_iter().map(|task| (task, self.random_index(task))).collect();
                let only_failed = self.random.random_bool(0.4);
                self.trace.push(format!("clear {chosen:?}, only failed: {only_failed}"));
                self.model.clear(&chosen, only_failed);
                let only = if only_failed { Only::Failed } else { Only::All };
                let clear = Clear { only, ..Clear::of(self.choice(&chosen)) };
                commands::clear(&mut conn, graphs, &clear, &By::test()).await.unwrap();
            }
            4..=6 => {
                let marks = [("success", Marked::Success), ("failed", Marked::Failed), ("skipped", Marked::Skipped)];
                let (word, state) = marks[self.random.random_range(0..3)];
                let index = self.random_index(task);
                self.trace.push(format!("mark t{task} {index:?} {word}"));
                self.model.mark(task, index, word);
                let mark = Mark { choice: self.choice(&[(task, index)]), state };
                commands::mark(&mut conn, graphs, &mark, &By::test()).await.unwrap();
            }
            _ => {
                let marks =
                    [("success", MarkedRun::Success), ("failed", MarkedRun::Failed), ("queued", MarkedRun::Queued)];
                let (word, state) = marks[self.random.random_range(0..3)];
                self.trace.push(format!("mark the run {word}"));
                self.model.mark_run(word);
                commands::mark_run(&mut conn, graphs, &self.dag, &self.run, state, &By::test()).await.unwrap();
            }
        }
        drop(conn);
        self.agree().await;
    }

    /// All instances of a task, or one.
    fn random_index(&mut self, task: usize) -> Option<i32> {
        let is_one = self.model.is_mapped(task) && self.random.random_bool(0.5);
        self.model.of(task).choose(&mut self.random).map(|at| at.1).filter(|_| is_one)
    }

    fn choice(&self, tasks: &[(usize, Option<i32>)]) -> Choice {
        let named = |(task, map_index): &(usize, Option<i32>)| NamedTask {
            task: name(&self.model, *task),
            map_index: *map_index,
        };
        let tasks = TaskChoice { named: tasks.iter().map(named).collect(), ..TaskChoice::default() };
        Choice { dag_id: self.dag.clone(), runs: RunChoice::one(self.run.clone()), tasks }
    }

    /// Claims what may be claimed, then holds every state against the model.
    async fn agree(&mut self) {
        let mut conn = self.world.pool.acquire().await.unwrap();
        let claimant =
            Claimant { worker: self.worker, abilities: &self.abilities, queues: &["default".to_owned()], free: 100 };
        let claimed = settle(&mut conn, &self.world.graphs, Vec::new(), Some(claimant)).await.unwrap().claims;
        drop(conn);
        for claim in claimed {
            let Node(node) = claim.node;
            self.claims.insert((node as usize, claim.map_index), claim);
        }
        let held = self.model.held();
        self.claims.retain(|task, _| held.contains(task));
        let run = self.world.run_state(self.dag.as_str(), &self.run).await;
        let rows = sqlx::query(
            "select node, map_index, state::text, try_number from task_instance where run_key = $1
             order by node, map_index",
        )
        .bind(self.world.run_key(self.dag.as_str(), &self.run).await)
        .fetch_all(&self.world.pool)
        .await
        .unwrap();
        let engine: Vec<(i32, i32, String, i32)> =
            rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect();
        let instances = self.model.instances.iter();
        let model: Vec<(i32, i32, String, i32)> = instances
            .map(|((task, index), instance)| (*task as i32, *index, instance.state.to_owned(), instance.tries))
            .collect();
        assert_eq!((run.as_str(), engine), (self.model.run, model), "engine | model\n{}", self.trace.join("\n"));
    }
}
