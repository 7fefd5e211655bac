//! The clock of the processes under test, which can be set: `libfaketime`, if it is installed. The database keeps the
//! machine's, and so do monotonic clocks, as when a machine's clock is set.

use std::path::PathBuf;

/// A clock that jumps for all processes that were started with it.
pub(super) struct Clock {
    library: PathBuf,
    file: PathBuf,
}

impl Clock {
    /// None if the library is not there; says so.
    pub(super) fn find(folder: &std::path::Path) -> std::io::Result<Option<Self>> {
        let library = std::fs::read_dir("/usr/lib")?.filter_map(Result::ok).map(|entry| entry.path());
        let library = library.map(|folder| folder.join("faketime/libfaketimeMT.so.1")).find(|path| path.is_file());
        let Some(library) = library else {
            complain("clock steps are left out: libfaketime is not installed (Debian's package faketime)");
            return Ok(None);
        };
        let clock = Self { library, file: folder.join("clock") };
        clock.set(0)?;
        Ok(Some(clock))
    }

    /// So many seconds before or after the machine's.
    pub(super) fn set(&self, seconds: i32) -> std::io::Result<()> {
        // Whole or not at all: it is read at every look at the clock.
        let new = self.file.with_extension("new");
        std::fs::write(&new, format!("{seconds:+}\n"))?;
        std::fs::rename(new, &self.file)
    }

    pub(super) fn envs(&self) -> [(&'static str, String); 4] {
        [
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.display().to_string()),
            ("FAKETIME_CACHE_DURATION", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    }
}

fn complain(text: &str) {
    use std::io::Write;
    writeln!(std::io::stderr(), "{text}").ok();
}
