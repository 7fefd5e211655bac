//! A program as a task: Airflow's `BashOperator`, without the shell.

use std::{path::PathBuf, process::Stdio};

use anyhow::Context as _;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use orchestrator::prelude::*;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// Runs a program to its end. What it prints is the task's log; another exit code than 0 is a failed try. When the
/// try is stopped the program is killed, and it does not outlive the worker either. As a task, its arguments and the
/// values of its environment variables are templates: `{{ ds }}`.
#[derive(Clone, Debug)]
pub struct Command {
    program: String,
    args: Vec<String>,
    envs: Vec<(String, String)>,
    folder: Option<PathBuf>,
}

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
    pub async fn execute(&self) -> TaskResult<()> {
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
        let mut child = command.spawn().with_context(|| format!("cannot start {}", self.program))?;
        let _group = Group(child.id());
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (mut said, complained, status) = tokio::join!(log_lines(stdout), log_lines(stderr), child.wait());
        let status = status?;
        if status.success() {
            return Ok(());
        }
        said.extend(complained);
        let tail = said[said.len().saturating_sub(LAST_LINES)..].join("\n");
        anyhow::bail!("{} ended with {status}\n{tail}", self.program)
    }
}

/// A process group that ends with the try that started it.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0.and_then(|pid| i32::try_from(pid).ok()) {
            killpg(Pid::from_raw(group), Signal::SIGKILL).ok();
        }
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
        rendered.execute().await
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
    use super::*;

    #[tokio::test]
    async fn a_failure_says_what_the_program_said() {
        let command =
            Command::new("sh").arg("-c").arg("echo before; echo \"no $THING\" >&2; exit 3").env("THING", "luck");
        let error = command.execute().await.unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.contains("no luck") && error.contains("before"), "{error}");
        assert!(Command::new("true").execute().await.is_ok());
        let missing = Command::new("/no/such/program").execute().await.unwrap_err().to_string();
        assert!(missing.contains("No such file"), "{missing}");
    }
    #[tokio::test]
    async fn its_arguments_and_values_are_templates() {
        let dag = Dag::new("d");
        dag.task(
            "say",
            Command::new("sh")
                .arg("-c")
                .arg("test \"$DAY {{ ti.try_number }}\" = '2024-02-29 1'")
                .env("DAY", "{{ ds }}"),
        );
        let at = "2024-02-29T00:00:00Z".parse().unwrap();
        let run = orchestrator::testing::run(&dag.build().unwrap(), at, serde_json::Value::Null, drop).await;
        assert!(run.succeeded());

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
