//! The body's side: a process that runs one body.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    os::{fd::AsFd, unix::net::UnixStream},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{Signal, killpg},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{dup2_stdin, getpgrp},
};
use sqlx::PgPool;
use tokio::{
    io::AsyncWriteExt,
    signal::unix::{SignalKind, signal},
    sync::{Semaphore, mpsc, oneshot},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{FRAME_BYTES_MAX, Frame, GRACE, Report};
use crate::{
    dag::Registry,
    engine::Graphs,
    overflow::{self, Overflow},
    secrets::Keys,
    store::{self, instances::Claim},
    task_log::{LogLine, LogOf, LogSink},
    worker::{
        LOG_LINES_MAX,
        body::{self, Failure, Setting},
    },
};

/// Between two looks at whether what a body has started still runs.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How long to wait when the database is away.
const READ_AGAIN: Duration = Duration::from_millis(500);

/// Runs the body that the worker names, which has started this process, and ends with it.
///
/// # Errors
/// No worker has started it.
pub async fn run(
    registry: Arc<Registry>,
    pool: PgPool,
    keys: Keys,
    overflow: Option<Arc<dyn Overflow>>,
) -> anyhow::Result<()> {
    // A stop is told to the whole process group. What the body started may clean up; this process ends by its token.
    let _told = signal(SignalKind::terminate())?;
    let (socket, claim) = take_order().context("this is for workers: they run tasks with isolation by it")?;
    let cancelled = CancellationToken::new();
    end_with_worker(socket.try_clone()?, cancelled.clone());
    let (lines, said) = mpsc::channel(LOG_LINES_MAX);
    let (report, reported) = oneshot::channel();
    let telling = tokio::spawn(tell(socket, said, reported));
    let of = LogOf { instance: claim.instance, try_number: claim.try_number, run_day: claim.run_day };
    let sink = LogSink::new(of, lines);
    let (graphs, lists) = (Graphs::default(), Arc::new(Semaphore::new(1)));
    let (cancelled_too, endings) = (cancelled.clone(), TaskTracker::new());
    let setting = Setting { pool, registry, graphs, keys, overflow, lists, cancelled: cancelled_too, endings };
    let end = async {
        know_graph(&setting, &claim).await?;
        body::run(&setting, &claim, &sink).await
    };
    let end = tokio::select! {
        end = end => end,
        () = cancelled.cancelled() => Err(Failure::Cancelled),
    };
    setting.at_rest().await;
    if matches!(end, Err(Failure::Cancelled)) {
        children_end().await;
    }
    if let Some(told) = Report::of(end, &sink) {
        sink.close().await;
        report.send(told).ok();
        telling.await??;
    }
    Ok(())
}

/// The socket that stands in for the standard input, and what came by it. What the body starts does not get it.
fn take_order() -> anyhow::Result<(UnixStream, Claim)> {
    let socket = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    socket.peer_addr().context("the standard input is no socket")?;
    dup2_stdin(File::open("/dev/null")?)?;
    let mut line = String::new();
    let bytes = BufReader::new(&socket).read_line(&mut line)?;
    ensure!(bytes > 0, "the worker said nothing");
    Ok((socket, serde_json::from_str(&line)?))
}

/// A thread of its own: it must see the end also while the body blocks every thread of the runtime.
fn end_with_worker(socket: UnixStream, cancelled: CancellationToken) {
    std::thread::spawn(move || {
        // Nothing comes but the end. Not a read: the other user of the socket does not block.
        while poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE) == Err(Errno::EINTR) {}
        cancelled.cancel();
        killpg(getpgrp(), Signal::SIGTERM).ok();
        std::thread::sleep(GRACE);
        killpg(getpgrp(), Signal::SIGKILL).ok();
    });
}

/// Waits until nothing runs any more that this process has started; [`end_with_worker`] sees to it that this ends.
async fn children_end() {
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// All that is said before the report goes before it.
async fn tell(
    socket: UnixStream,
    mut said: mpsc::Receiver<(LogOf, LogLine)>,
    mut reported: oneshot::Receiver<Report>,
) -> anyhow::Result<()> {
    socket.set_nonblocking(true)?;
    let mut socket = tokio::net::UnixStream::from_std(socket)?;
    loop {
        let frame = tokio::select! {
            biased;
            Some((_, line)) = said.recv() => Frame::Said(line.into()),
            report = &mut reported => Frame::Ended(report?),
        };
        let mut text = serde_json::to_vec(&frame)?;
        if text.len() > FRAME_BYTES_MAX {
            let (bytes, most) = (text.len(), overflow::BYTES_MAX);
            let cause = format!("the task returned {bytes} bytes of JSON; the most that can be kept is {most}");
            text = serde_json::to_vec(&Frame::Ended(Report::Failed(cause)))?;
        }
        text.push(b'\n');
        socket.write_all(&text).await?;
        if matches!(frame, Frame::Ended(_)) {
            return Ok(());
        }
    }
}

/// A database that is away is no fault of the task.
async fn know_graph(setting: &Setting, claim: &Claim) -> anyhow::Result<()> {
    loop {
        let known = async { setting.graphs.get(&mut *setting.pool.acquire().await?, claim.version).await };
        let Err(error) = known.await else { return Ok(()) };
        if !error.downcast_ref::<sqlx::Error>().is_some_and(store::is_transient) {
            return Err(error);
        }
        tokio::time::sleep(READ_AGAIN).await;
    }
}
