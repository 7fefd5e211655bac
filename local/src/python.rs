//! Python interpreters and environments. Environments are cached per user, keyed by what is in them, so that a second
//! checkout starts warm and a changed pin makes a new one.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};

use crate::{child::Program, state};

/// An interpreter that may be tried.
pub type Candidates = Vec<PathBuf>;

/// What an environment holds.
#[derive(Clone, Copy, Debug)]
pub enum Packages<'a> {
    /// These requirements.
    Named(&'a [&'a str]),
    /// What this requirements file pins, whole.
    File(&'a Path),
    /// The files of this one wheel, in the folder `unpacked`; nothing that it depends on.
    Unpacked(&'a str),
}

/// Python 3.13, where it may be: being on the PATH proves nothing, for it may be a shim that fails.
#[must_use]
pub fn python_3_13() -> Candidates {
    let mut candidates = vec![PathBuf::from("python3.13"), PathBuf::from("python3")];
    candidates.extend(pyenv("3.13."));
    candidates
}

/// Any Python that dbt and the wheels run on, the most common first.
#[must_use]
pub fn any() -> Candidates {
    let mut candidates: Candidates =
        ["python3", "python3.13", "python3.12", "python3.11", "python3.10"].map(PathBuf::from).into();
    for minor in ["3.13.", "3.12.", "3.11.", "3.10."] {
        candidates.extend(pyenv(minor));
    }
    candidates
}

fn pyenv(prefix: &str) -> Vec<PathBuf> {
    let root = std::env::var_os("PYENV_ROOT").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".pyenv"));
    let Some(root) = root.or(home) else { return Vec::new() };
    let mut found: Vec<_> = std::fs::read_dir(root.join("versions"))
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path().join("bin/python3"))
        .collect();
    found.sort();
    found.reverse();
    found
}

/// The first interpreter that really runs, can make environments, and has one of these minor versions.
///
/// # Errors
/// None does.
pub async fn find(candidates: &[PathBuf], minors: &[u32]) -> anyhow::Result<PathBuf> {
    for candidate in candidates {
        let asked = tokio::process::Command::new(candidate)
            .args(["-c", "import ensurepip, ssl, sys, venv; print(sys.version_info.minor)"])
            .output()
            .await;
        let Ok(asked) = asked else { continue };
        let minor = String::from_utf8_lossy(&asked.stdout).trim().parse::<u32>();
        if asked.status.success() && minor.is_ok_and(|minor| minors.contains(&minor)) {
            return Ok(candidate.clone());
        }
    }
    let wanted: Vec<_> = minors.iter().map(|minor| format!("3.{minor}")).collect();
    bail!(
        "no Python {} that works was found: install it with its venv module (Debian 13: apt-get install python3-venv; \
         elsewhere: pyenv install {}), or put it on the PATH",
        wanted.join(" or "),
        wanted[0]
    )
}

/// The environment of that name, made by the first interpreter of the candidates that works if it is not there.
///
/// # Errors
/// There is no Python, or pip fails; its output is in the message.
pub async fn environment(
    name: &'static str,
    candidates: &[PathBuf],
    packages: &Packages<'_>,
    logs: &Path,
) -> anyhow::Result<PathBuf> {
    let minors: &[u32] = if candidates == python_3_13() { &[13] } else { &[10, 11, 12, 13] };
    let python = find(candidates, minors).await?;
    let contents = match packages {
        Packages::Named(names) => names.join("\n"),
        Packages::File(file) => std::fs::read_to_string(file).with_context(|| file.display().to_string())?,
        Packages::Unpacked(wheel) => (*wheel).to_owned(),
    };
    let key = format!("{:x}", Sha256::digest(format!("{contents}\n{}", python.display())));
    let venv = state::cache()?.join(format!("{name}-{}", &key[..12]));
    // The mark is written last: an environment that was interrupted is made again.
    let mark = venv.join("complete");
    if mark.exists() {
        return Ok(venv);
    }
    std::fs::remove_dir_all(&venv).ok();
    Program::new("python", &python, logs).args(["-m", "venv"]).args([&venv]).complete().await?;
    let pip =
        Program::new("python", venv.join("bin/pip"), logs).args(["install", "--quiet", "--disable-pip-version-check"]);
    let pip = match packages {
        Packages::Named(names) => pip.args(*names),
        Packages::File(file) => pip.args(["-r"]).args([file]),
        Packages::Unpacked(wheel) => pip.args(["--no-deps", "--target"]).args([venv.join("unpacked")]).args([wheel]),
    };
    pip.complete().await.with_context(|| format!("cannot make the Python environment {name}"))?;
    std::fs::write(mark, contents)?;
    Ok(venv)
}
