//! The worker's side.

use std::{
    os::fd::OwnedFd,
    process::{ExitStatus, Stdio},
};

use anyhow::Context as _;
use futures::{SinkExt, StreamExt};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::AsyncWriteExt,
    net::UnixStream,
    process::{Child, Command},
};
use tokio_util::codec::{Framed, LinesCodec};

use super::{BodyProcess, FRAME_BYTES_MAX, Frame, GRACE};
use crate::{store::instances::Claim, task_log::LogSink, worker::body::End};

/// The process of a body.
pub(in crate::worker) struct Isolated {
    child: Child,
    socket: Framed<UnixStream, LinesCodec>,
}

impl Isolated {
    /// Starts a process that waits for its claim.
    ///
    /// # Errors
    /// It cannot be started.
    pub(in crate::worker) fn start(process: Option<&BodyProcess>) -> anyhow::Result<Self> {
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
        Ok(Self { child, socket: Framed::new(ours, LinesCodec::new_with_max_length(FRAME_BYTES_MAX)) })
    }

    /// Gives it the claim, and hands on what the body says until it has ended.
    pub(in crate::worker) async fn run(&mut self, claim: &Claim, sink: &LogSink) -> End {
        let order = serde_json::to_string(claim).context("a claim that cannot be written")?;
        if self.socket.send(order).await.is_err() {
            return self.gone().await;
        }
        while let Some(frame) = self.frame().await {
            match frame {
                Frame::Said(said) => said.relay(sink),
                Frame::Ended(report) => return report.into_end(),
            }
        }
        self.gone().await
    }

    /// What it says next; none if the stream has ended, or is not what our own program says.
    async fn frame(&mut self) -> Option<Frame> {
        let line = self.socket.next().await?.ok()?;
        serde_json::from_str(&line).ok()
    }

    /// It has not said how the body ended: it crashed, or somebody killed it.
    async fn gone(&mut self) -> End {
        self.kill();
        let ended = self.child.wait().await;
        let how = ended.map_or_else(|error| error.to_string(), |status: ExitStatus| status.to_string());
        Err(anyhow::anyhow!("the process of the task ended before the task did: {how}").into())
    }

    /// Lets the body clean up, which may have something to say, then ends what is left of its process group.
    pub(in crate::worker) async fn stop(mut self, sink: &LogSink) {
        self.socket.get_mut().shutdown().await.ok();
        let ends = async {
            while let Some(frame) = self.frame().await {
                if let Frame::Said(said) = frame {
                    said.relay(sink);
                }
            }
        };
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
