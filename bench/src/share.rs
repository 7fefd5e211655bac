//! `bench share`: one DAG has thousands of tasks ready when another one of the same priority comes. Which share of the slots
//! does each get while both have something to do?

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use clap::Args;
use orchestrator::{dag::Registry, prelude::*, store};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::under_test::{Engine, OwnPostgres};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Tasks that are ready when the other DAG comes.
    #[arg(long, default_value_t = 10_000)]
    wide: usize,
    /// Tasks of the DAG that comes late.
    #[arg(long, default_value_t = 500)]
    late: usize,
    /// Slots of the pool.
    #[arg(long, default_value_t = 16)]
    pool: i32,
    /// Slots of the worker.
    #[arg(long, default_value_t = 64)]
    slots: u32,
}

/// What is printed.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    wide: usize,
    late: usize,
    pool: i32,
    slots: u32,
    /// Of the tasks that began while both had something to do: those of each.
    share_of_wide: f64,
    share_of_late: f64,
    /// From the trigger of the late DAG to the end of its run.
    late_s: f64,
}

/// The least share of either; half is what is fair.
const LEAST: f64 = 0.4;

/// Whose tasks began, in their order.
type Began = Arc<Mutex<Vec<&'static str>>>;

pub(crate) async fn run(options: &Options) -> anyhow::Result<Figures> {
    let own = OwnPostgres::start().await?;
    let figures = measure(options, &own.url).await;
    own.stop().await;
    figures
}

async fn measure(options: &Options, url: &str) -> anyhow::Result<Figures> {
    store::migrate(&store::pool(url, 1)?).await?;
    let pool = store::pool(url, 16)?;
    let began = Began::default();
    let dags = vec![dag("wide", options.wide, &began), dag("late", options.late, &began)];
    let engine = Engine::start(&pool, Arc::new(Registry::build(dags)?)).await?;
    engine.set_pool(options.pool).await?;
    let stop = CancellationToken::new();
    let services = engine.serve(options.slots, &stop);
    engine.trigger("wide").await?;
    while began.lock().unwrap_or_else(PoisonError::into_inner).len() < options.slots as usize {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let came = Instant::now();
    let late = engine.trigger("late").await?;
    engine.success("late", &late).await?;
    let late_s = came.elapsed().as_secs_f64();
    let began = began.lock().unwrap_or_else(PoisonError::into_inner).clone();
    stop.cancel();
    services.await?;

    let of_late = |name: &&str| **name == *"late";
    let first = began.iter().position(of_late).context("the late DAG never began")?;
    let last = began.iter().rposition(of_late).context("the late DAG never began")?;
    ensure!(began.len() < options.wide, "the wide DAG had ended: give it more tasks");
    let share_of_late = options.late as f64 / (last - first + 1) as f64;
    ensure!(
        (LEAST..=1.0 - LEAST).contains(&share_of_late),
        "the late DAG got {share_of_late:.2} of the slots: that is not fair"
    );
    let Options { wide, late, pool, slots } = *options;
    Ok(Figures { wide, late, pool, slots, share_of_wide: 1.0 - share_of_late, share_of_late, late_s })
}

/// So many tasks, each of which takes a moment.
fn dag(name: &'static str, tasks: usize, began: &Began) -> Dag {
    let dag = Dag::new(name).max_active_tasks(u32::MAX).is_paused_upon_creation(false);
    for task in 0..tasks {
        let began = Arc::clone(began);
        dag.task(&format!("t{task}"), move |_: Context| {
            began.lock().unwrap_or_else(PoisonError::into_inner).push(name);
            async {
                tokio::time::sleep(Duration::from_millis(2)).await;
                TaskResult::Ok(())
            }
        });
    }
    dag
}
