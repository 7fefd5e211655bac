//! A program as a task: Airflow's `BashOperator`, without the shell.

use std::{
    path::PathBuf,
    pin::pin,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use orchestrator::prelude::*;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::Child,
};
use tokio_util::sync::CancellationToken;

/// Runs a program to its end. What it prints is the task's log; another exit code than 0 is a failed try. When the
/// try is stopped the program gets SIGTERM, and two seconds later SIGKILL, with all that it has started. It does not outlive a worker that
/// is killed either; nor does what it has started, if the task has [`Isolation::Process`]. As a task, its arguments and the values of its
/// environment variables are templates: `{{ ds }}`.
#[derive(Clone, Debug)]
pub struct Command {
    program: String,
    args: Vec<String>,
    envs: Vec<(String, String)>,
    folder: Option<PathBuf>,
}

/// How long a program has to end after it was told to.
const GRACE: Duration = Duration::from_secs(2);

/// How much of the output stands in the cause of a failure; the log has all of it.
const LAST_LINES: usize = 20;

impl Command {
    /// A program without arguments.
    #[must_use]
    pub fn new(program: impl Into<String>) -> Self {
        Self { program: program.into(), args: Vec::new(), envs: Vec::new(), folder: None }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.envs.push((name.into(), value.into()));
        self
    }

    /// Sets the folder in which it runs.
    #[must_use]
    pub fn current_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Runs it, as a part of a task.
    ///
    /// # Errors
    /// It cannot be started, or ends with another code than 0; its last lines are in the message.
    pub async fn execute(&self, context: &Context) -> TaskResult<()> {
        let child = self.start().with_context(|| format!("cannot start {}", self.program))?;
        // Whoever waits for it no more stops it: the try's end, or the body's own timeout.
        let stop = context.cancelled().child_token();
        let _stopped_with_body = stop.clone().drop_guard();
        let ended = context.see_through(to_its_end(child, stop)).await?;
        let (last, status) = ended.with_context(|| format!("{} did not end when it was to stop", self.program))?;
        let status = status?;
        anyhow::ensure!(status.success(), "{} ended with {status}\n{}", self.program, last.join("\n"));
        Ok(())
    }

    fn start(&self) -> std::io::Result<Child> {
        // The kernel ends it with the worker, should that be killed.
        let mut command = tokio::process::Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(&self.program).args(&self.args);
        command.envs(self.envs.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        // A group of its own: a signal that is meant for the worker does not reach it, and it goes as a whole.
        command.process_group(0);
        command.spawn()
    }
}

/// Until the program ends and says no more, by itself or because it is told to; its last lines, and its exit status.
async fn to_its_end(mut child: Child, stop: CancellationToken) -> (Vec<String>, std::io::Result<ExitStatus>) {
    let group = Group(child.id());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let mut ending = pin!(async {
        let (mut said, complained, status) = tokio::join!(log_lines(stdout), log_lines(stderr), child.wait());
        said.extend(complained);
        said.drain(..said.len().saturating_sub(LAST_LINES));
        (said, status)
    });
    tokio::select! {
        ended = &mut ending => return ended,
        () = stop.cancelled() => {}
    }
    for (signal, patience) in [(Signal::SIGTERM, GRACE), (Signal::SIGKILL, GRACE / 2)] {
        group.send(signal);
        if let Ok(ended) = tokio::time::timeout(patience, &mut ending).await {
            return ended;
        }
    }
    // Something that has left the group holds the pipes.
    (Vec::new(), Err(std::io::ErrorKind::TimedOut.into()))
}

/// A process group that does not outlive whoever waits for it.
struct Group(Option<u32>);

impl Group {
    fn send(&self, signal: Signal) {
        if let Some(group) = self.0.and_then(|pid| i32::try_from(pid).ok()) {
            killpg(Pid::from_raw(group), signal).ok();
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.send(Signal::SIGKILL);
    }
}

impl Operator for Command {
    type Output = ();

    fn templates(&self) -> Vec<&str> {
        let values = self.envs.iter().map(|(_, value)| value);
        self.args.iter().chain(values).map(String::as_str).collect()
    }

    async fn run(&self, context: Context) -> TaskResult<()> {
        let mut rendered = self.clone();
        let values = rendered.envs.iter_mut().map(|(_, value)| value);
        for template in rendered.args.iter_mut().chain(values) {
            *template = context.render(template).await?;
        }
        rendered.execute(&context).await
    }
}

/// Logs every line as it comes, and keeps the last ones.
async fn log_lines(from: Option<impl AsyncRead + Unpin>) -> Vec<String> {
    let mut last = std::collections::VecDeque::new();
    let Some(from) = from else { return Vec::new() };
    let mut lines = BufReader::new(from).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        if line.is_empty() {
            continue;
        }
        tracing::info!("{line}");
        if last.len() == LAST_LINES {
            last.pop_front();
        }
        last.push_back(line);
    }
    last.into()
}

#[cfg(test)]
mod tests {
    use orchestrator::dag::Definition;

    use super::*;

    fn task(script: &str) -> Definition {
        let dag = Dag::new("d");
        dag.task("say", Command::new("sh").arg("-c").arg(script).env("DAY", "{{ ds }}")).retries(0);
        dag.build().unwrap()
    }

    /// What the task says, and whether it succeeds.
    async fn run(definition: &Definition) -> (bool, String) {
        let mut said = String::new();
        let at = "2024-02-29T00:00:00Z".parse().unwrap();
        let told = |progress| said += &format!("{progress:?}\n");
        let succeeded = orchestrator::testing::run(definition, at, serde_json::Value::Null, told).await.succeeded();
        (succeeded, said)
    }

    #[tokio::test]
    async fn a_failure_says_what_the_program_said() {
        let (succeeded, said) = run(&task("echo before; echo \"no $DAY\" >&2; exit 3")).await;
        assert!(!succeeded);
        let cause = said.lines().find(|line| line.contains("exit status: 3")).expect(&said);
        assert!(cause.contains("no 2024-02-29") && cause.contains("before"), "{cause}");
        let dag = Dag::new("d");
        dag.task("missing", Command::new("/no/such/program"));
        let (_, said) = run(&dag.build().unwrap()).await;
        assert!(said.contains("No such file"), "{said}");
    }

    /// Stops a program as soon as it has said that it is ready: by itself, as a `touch` might still be there to be told.
    async fn stopped(script: &str) -> (Vec<String>, ExitStatus) {
        let (folder, stop) = (tempfile::tempdir().unwrap(), CancellationToken::new());
        let command = Command::new("sh").arg("-c").arg(script).current_dir(folder.path());
        let ending = tokio::spawn(to_its_end(command.start().unwrap(), stop.clone()));
        let ready = async {
            while !folder.path().join("ready").exists() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), ready).await.expect("it is never ready");
        stop.cancel();
        let (said, status) = ending.await.unwrap();
        (said, status.unwrap())
    }

    #[tokio::test]
    async fn a_program_that_is_stopped_may_clean_up() {
        let inner = "sh -c 'trap \"echo inner; exit\" TERM; : >ready; sleep 1000 & wait' &";
        let outer = "trap 'wait; echo outer; exit 3' TERM;";
        let (said, status) = stopped(&format!("{outer} {inner} wait")).await;
        assert_eq!((said.join(" ").as_str(), status.code()), ("inner outer", Some(3)), "what it started is told, too");
        // What does not listen is killed, with what it has started: that held the pipe open.
        let (_, status) = stopped("trap '' TERM; sleep 1000 & : >ready; wait").await;
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    }

    #[tokio::test]
    async fn its_arguments_and_values_are_templates() {
        assert!(run(&task("test \"$DAY {{ ti.try_number }}\" = '2024-02-29 1'")).await.0);

        let dag = Dag::new("d");
        dag.task("say", Command::new("echo").arg("{{ ds"));
        let faults = dag.build().unwrap_err();
        assert!(
            faults[0].to_string().starts_with("dag d: a template of the task say cannot be read: syntax error"),
            "{}",
            faults[0]
        );
    }
}
