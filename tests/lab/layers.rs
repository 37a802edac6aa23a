//! What is kept between runs: the image, the booted nodes, the ready cluster, each a directory named after its key.
//!
//! A layer is built in a directory of another name and renamed when it is whole, so a killed run leaves nothing that
//! looks finished. A lock lets a second run wait for the first one's build. Each run has a directory of its own beside
//! them, with copies of the disks; one that a killed run left behind is swept by the next run, which can tell by its
//! lock.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};

use crate::process;
use crate::wait::say;

/// How many layers of a kind are kept: this one, and one more for the branch that one goes back to.
const KEPT: usize = 2;

/// The directory that holds the layers and the runs.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    root: PathBuf,
}

/// A run's own directory, removed at its end.
#[derive(Debug)]
pub(crate) struct RunDir {
    /// Where it is.
    pub(crate) path: PathBuf,
    _lock: File,
}

impl Drop for RunDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

impl Cache {
    /// The cache of this checkout, or the one that `XEN_HANDOFF_LAB_CACHE` names.
    pub(crate) fn open() -> Result<Self> {
        let root = std::env::var_os("XEN_HANDOFF_LAB_CACHE")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/cache"), PathBuf::from);
        fs::create_dir_all(&root).with_context(|| format!("making {}", root.display()))?;
        let root = root.canonicalize()?;
        Ok(Self { root })
    }

    /// The layer `kind` of that key, built by `build` into the directory it is given if there is none.
    pub(crate) fn ensure(
        &self,
        kind: &str,
        key: &str,
        build: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let dir = self.root.join(format!("{kind}-{key}"));
        let _lock = self.lock(kind)?;
        if !dir.exists() {
            let new = self.root.join(format!("{kind}-{key}.new"));
            if new.exists() {
                fs::remove_dir_all(&new)?;
            }
            fs::create_dir(&new)?;
            build(&new)?;
            fs::rename(&new, &dir)?;
        }
        // So that "the oldest" below means the longest unused.
        File::open(&dir)?.set_modified(SystemTime::now())?;
        self.prune(kind)?;
        Ok(dir)
    }

    /// A new directory for this run; those of killed runs are swept first.
    pub(crate) fn run_dir(&self) -> Result<RunDir> {
        let _lock = self.lock("runs")?;
        for stale in self.directories("run")? {
            let held = File::open(stale.join("lock")).is_ok_and(|lock| !free(&lock));
            if !held {
                say(format_args!("sweeping {}, left by a killed run", stale.display()));
                fs::remove_dir_all(&stale)?;
            }
        }
        // A process id would not do for a name: in its own namespace every run has the same.
        let path = tempfile::Builder::new().prefix("run-").tempdir_in(&self.root)?.keep();
        let lock = File::create(path.join("lock"))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).context("locking the run's directory")?;
        Ok(RunDir { path, _lock: lock })
    }

    fn lock(&self, kind: &str) -> Result<File> {
        let lock = File::create(self.root.join(format!("{kind}.lock")))?;
        if !free(&lock) {
            say(format_args!("another run is making the {kind}, waiting for it"));
            flock(&lock, FlockOperation::LockExclusive)?;
        }
        Ok(lock)
    }

    fn directories(&self, kind: &str) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && name.starts_with(&format!("{kind}-")) && !name.ends_with(".new") {
                found.push(path);
            }
        }
        Ok(found)
    }

    fn prune(&self, kind: &str) -> Result<()> {
        let mut layers = self.directories(kind)?;
        layers.sort_by_key(|dir| fs::metadata(dir).and_then(|data| data.modified()).ok());
        let surplus = layers.len().saturating_sub(KEPT);
        for old in layers.iter().take(surplus) {
            say(format_args!("removing the old layer {}", old.display()));
            fs::remove_dir_all(old)?;
        }
        Ok(())
    }
}

/// Takes the lock if it is free.
fn free(lock: &File) -> bool {
    flock(lock, FlockOperation::NonBlockingLockExclusive).is_ok()
}

/// Copies a disk, holes as holes.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    let (from, to) = (from.display().to_string(), to.display().to_string());
    process::run("cp", &["--sparse=always", "--reflink=auto", &from, &to], Duration::from_secs(300)).map(drop)
}

/// A short name for what some bytes are.
pub(crate) fn hash(bytes: &[u8]) -> Result<String> {
    let command = std::process::Command::new("sha256sum");
    let output = process::start(command, Some(bytes.to_vec()))?.finish(Duration::from_secs(30))?;
    Ok(output.stdout.chars().take(16).collect())
}
