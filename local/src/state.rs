//! Where the local stack keeps its things: data in one folder of the checkout, downloads in one folder of the user.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

/// The folder that holds all data of one stack; `make clean` removes it.
#[derive(Debug)]
pub struct State {
    root: PathBuf,
    /// Held as long as the stack runs. The lock ends with the process, so a crash leaves nothing stale.
    _lock: File,
}

impl State {
    /// Takes the folder for this process.
    ///
    /// # Errors
    /// Another stack runs on it, or it cannot be made.
    pub fn take(root: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(root).with_context(|| format!("cannot make the state folder {}", root.display()))?;
        let root = root.canonicalize()?;
        let lock = File::create(root.join("lock"))?;
        if lock.try_lock().is_err() {
            bail!("another `make up` runs on {}: stop it first, or set STREAMCOMMERCE_STATE", root.display());
        }
        Ok(Self { root, _lock: lock })
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A folder in it, made if need be.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.root.join(name);
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// The key that seals this stack's variables and connections, made at the first start.
    ///
    /// # Errors
    /// It cannot be made or read.
    pub fn secret_key(&self) -> anyhow::Result<String> {
        let file = self.root.join("secret.key");
        if !file.exists() {
            let mut key = [0; 32];
            File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut key))?;
            let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file)?;
            new.write_all(STANDARD.encode(key).as_bytes())?;
        }
        std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
    }

    /// Where the logs of the parts are.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }
}

/// The data of a Postgres that root starts: Postgres refuses root, and no other user can enter root's home.
#[must_use]
pub fn postgres_data_of_root(state: &Path) -> PathBuf {
    let name = format!("{:x}", Sha256::digest(state.as_os_str().as_encoded_bytes()));
    Path::new("/var/lib/streamcommerce").join(&name[..16])
}

/// Downloads and Python environments of this user, shared by all checkouts.
///
/// # Errors
/// The user has no home.
pub fn cache() -> anyhow::Result<PathBuf> {
    let folder = match (std::env::var_os("STREAMCOMMERCE_CACHE"), std::env::var_os("HOME")) {
        (Some(cache), _) => PathBuf::from(cache),
        (None, Some(home)) => Path::new(&home).join(".cache").join("streamcommerce"),
        (None, None) => bail!("neither HOME nor STREAMCOMMERCE_CACHE is set: no place for downloads"),
    };
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make the cache {}", folder.display()))?;
    Ok(folder)
}
