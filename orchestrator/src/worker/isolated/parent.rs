//! The worker's side.

use std::{
    os::fd::OwnedFd,
    process::{ExitStatus, Stdio},
};

use anyhow::Context as _;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    process::{Child, Command},
};
use tracing::Level;

use super::{BodyProcess, Frame, GRACE};
use crate::{store::instances::Claim, task_log::LogSink, worker::body::End};

/// The process of a body.
pub(in crate::worker) struct Isolated {
    child: Child,
    socket: BufReader<UnixStream>,
}

impl Isolated {
    /// # Errors
    /// It cannot be started.
    pub(in crate::worker) async fn start(process: Option<&BodyProcess>, claim: &Claim) -> anyhow::Result<Self> {
        let process = process.context("this worker was not told how to start a process for a task")?;
        let (ours, theirs) = UnixStream::pair()?;
        let theirs = theirs.into_std()?;
        theirs.set_nonblocking(false)?;
        // Also when a deploy has put another program in its place meanwhile.
        let mut command = Command::new("/proc/self/exe");
        command.args(&process.args).envs(process.envs.iter().map(|(name, value)| (name, &value.0)));
        command.stdin(Stdio::from(OwnedFd::from(theirs))).process_group(0);
        let child = command.spawn().context("cannot start a process for the task")?;
        // What it holds of the socket goes with it: our copy would keep the stream from ending.
        drop(command);
        let mut socket = BufReader::new(ours);
        let mut order = serde_json::to_vec(claim)?;
        order.push(b'\n');
        socket.write_all(&order).await.context("the process of the task ended at once")?;
        Ok(Self { child, socket })
    }

    /// Hands on what the body says, until it has ended.
    pub(in crate::worker) async fn end(&mut self, sink: &LogSink) -> End {
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = self.socket.read_until(b'\n', &mut line).await;
            if !read.is_ok_and(|bytes| bytes > 0) {
                return self.gone().await;
            }
            match serde_json::from_slice(&line) {
                Ok(Frame::Said { level, logger, message }) => {
                    sink.relay(level.parse().unwrap_or(Level::INFO), &logger, message);
                }
                Ok(Frame::Ended(report)) => return report.into_end(),
                Err(_) => return self.gone().await,
            }
        }
    }

    /// It has not said how the body ended: it crashed, or somebody killed it.
    async fn gone(&mut self) -> End {
        self.kill();
        let ended = self.child.wait().await;
        let how = ended.map_or_else(|error| error.to_string(), |status: ExitStatus| status.to_string());
        Err(anyhow::anyhow!("the process of the task ended before the task did: {how}").into())
    }

    /// Lets the body clean up, then ends what is left of its process group.
    pub(in crate::worker) async fn stop(mut self) {
        self.socket.shutdown().await.ok();
        let mut rest = Vec::new();
        let ends = async { while self.socket.read_until(b'\n', &mut rest).await.is_ok_and(|bytes| bytes > 0) {} };
        tokio::time::timeout(GRACE, ends).await.ok();
        self.kill();
        self.child.wait().await.ok();
    }

    /// Before it is waited for: its number is nobody else's until then.
    fn kill(&self) {
        if let Some(group) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            killpg(Pid::from_raw(group), Signal::SIGKILL).ok();
        }
    }
}
