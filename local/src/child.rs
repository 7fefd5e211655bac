//! A child process that cannot outlive its supervisor: it is in a process group of its own, so that it is stopped in
//! order and not by the terminal, and the kernel kills it when the supervisor dies.

use std::{
    ffi::OsStr,
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use anyhow::{Context, bail};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::process::Command;

/// How much of a log is shown when its process failed.
const TAIL_BYTES: u64 = 3_000;

/// A program that is to run under the supervisor.
#[derive(Debug)]
pub struct Program {
    name: &'static str,
    command: Command,
    log: PathBuf,
}

/// A program that runs.
#[derive(Debug)]
pub struct Child {
    name: &'static str,
    process: tokio::process::Child,
    group: Pid,
    log: PathBuf,
    stop_signal: Signal,
}

/// A program of this workspace: what is built last stands beside whoever asks, or one folder up for a test.
///
/// # Errors
/// It is not built.
pub fn built(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folders = own.ancestors().skip(1).take(2);
    folders.map(|folder| folder.join(name)).find(|path| path.is_file()).with_context(|| {
        format!("the program {name} is not built: cargo build --workspace --bins (with --release if this was)")
    })
}

/// Under which user a program runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunAs {
    /// The one that runs the supervisor.
    Myself,
    /// Another one; only root can do this.
    User {
        /// Its name or number.
        user: String,
        /// The name or number of its group.
        group: String,
    },
}

/// Whoever was started a moment before we were killed hears nothing of it: he looks whether we are still there.
const UNLESS_ORPHANED: &str = r#"[ "$PPID" = "$0" ] && exec "$@""#;

impl Program {
    /// A program whose output goes to `<logs>/<name>.log`. Spawn it from a thread that lives as long as the program
    /// is wanted: the kernel watches the thread, not the process.
    pub fn new(name: &'static str, program: impl AsRef<OsStr>, logs: &Path) -> Self {
        Self::new_as(name, program, logs, &RunAs::Myself)
    }

    /// The same, as another user.
    pub fn new_as(name: &'static str, program: impl AsRef<OsStr>, logs: &Path, run_as: &RunAs) -> Self {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if let RunAs::User { user, group } = run_as {
            command.args(["--reuid", user, "--regid", group, "--clear-groups"]);
        }
        command.args(["--", "sh", "-c", UNLESS_ORPHANED]).arg(std::process::id().to_string());
        command.arg(program).stdin(std::process::Stdio::null()).process_group(0).kill_on_drop(true);
        Self { name, command, log: logs.join(format!("{name}.log")) }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    /// Adds environment variables.
    #[must_use]
    pub fn envs<K: AsRef<OsStr>, V: AsRef<OsStr>>(mut self, envs: impl IntoIterator<Item = (K, V)>) -> Self {
        self.command.envs(envs);
        self
    }

    /// Sets the folder in which it runs.
    #[must_use]
    pub fn current_dir(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Starts it, to be stopped by `stop_signal`.
    ///
    /// # Errors
    /// The program or the log file cannot be opened.
    pub fn spawn(mut self, stop_signal: Signal) -> anyhow::Result<Child> {
        let log = open_log(&self.log)?;
        self.command.stdout(log.try_clone()?).stderr(log);
        let process = self.command.spawn().with_context(|| format!("cannot start {}", self.name))?;
        let group = Pid::from_raw(i32::try_from(process.id().unwrap_or_default())?);
        Ok(Child { name: self.name, process, group, log: self.log, stop_signal })
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// It cannot be started, or ends with a failure; then the end of its log is in the message.
    pub async fn complete(self) -> anyhow::Result<()> {
        let mut child = self.spawn(Signal::SIGKILL)?;
        let status = child.process.wait().await?;
        if !status.success() {
            bail!("{} ended with {status}\n{}", child.name, child.log_tail());
        }
        Ok(())
    }

    /// Runs it to its end, however it ends, and returns what it wrote to its standard output.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn output(mut self) -> anyhow::Result<String> {
        let output = self.command.output().await.with_context(|| format!("cannot start {}", self.name))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs it to its end, and returns what it wrote to its standard output.
    ///
    /// # Errors
    /// It cannot be started, or ends with a failure; then all that it wrote is in the message.
    pub async fn answer(mut self) -> anyhow::Result<String> {
        self.command.stderr(std::process::Stdio::piped());
        let output = self.command.output().await.with_context(|| format!("cannot start {}", self.name))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if !output.status.success() {
            bail!("{} ended with {}\n{}{}", self.name, output.status, text(&output.stdout), text(&output.stderr));
        }
        Ok(text(&output.stdout))
    }
}

impl Child {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The number of its process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    /// An error that shows the end of its log, if it has ended.
    ///
    /// # Errors
    /// It has ended.
    pub fn check_alive(&mut self) -> anyhow::Result<()> {
        match self.process.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended with {status}\n{}", self.name, self.log_tail()),
        }
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.process.try_wait()?)
    }

    /// Waits until it has ended by itself, or was killed.
    ///
    /// # Errors
    /// It has not, after `patience`.
    pub async fn wait_for_end(&mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        let ended = tokio::time::timeout(patience, self.process.wait()).await;
        Ok(ended.with_context(|| format!("{} has not ended after {patience:?}", self.name))??)
    }

    /// Waits until `is_healthy` says so.
    ///
    /// # Errors
    /// It ended, or is not healthy after `patience`; the end of its log is in the message.
    pub async fn wait_until(&mut self, patience: Duration, is_healthy: impl AsyncFn() -> bool) -> anyhow::Result<()> {
        const EVERY: Duration = Duration::from_millis(100);
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            self.check_alive()?;
            if is_healthy().await {
                return Ok(());
            }
            if tokio::time::Instant::now() > deadline {
                bail!("{} is not healthy after {patience:?}\n{}", self.name, self.log_tail());
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Asks it to stop; after `patience`, kills it and everything in its group.
    pub async fn stop(mut self, patience: Duration) {
        killpg(self.group, self.stop_signal).ok();
        if tokio::time::timeout(patience, self.process.wait()).await.is_err() {
            tracing::warn!(name = self.name, "did not stop in time; killed");
        }
        killpg(self.group, Signal::SIGKILL).ok();
        self.process.wait().await.ok();
    }

    /// Ends it at once, as a crash would.
    pub async fn kill(mut self) {
        killpg(self.group, Signal::SIGKILL).ok();
        self.process.wait().await.ok();
    }

    /// The last lines that it wrote.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let tail = || -> std::io::Result<String> {
            let mut file = File::open(&self.log)?;
            let from = file.metadata()?.len().saturating_sub(TAIL_BYTES);
            file.seek(SeekFrom::Start(from))?;
            let mut text = Vec::new();
            file.read_to_end(&mut text)?;
            Ok(String::from_utf8_lossy(&text).into_owned())
        };
        format!("--- the end of {} ---\n{}", self.log.display(), tail().unwrap_or_default())
    }
}

impl Drop for Child {
    /// What was not stopped in order goes with everything that it started itself.
    fn drop(&mut self) {
        if self.process.id().is_some() {
            killpg(self.group, Signal::SIGKILL).ok();
        }
    }
}

fn open_log(path: &Path) -> anyhow::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    File::options().create(true).append(true).open(path).with_context(|| format!("cannot write {}", path.display()))
}
