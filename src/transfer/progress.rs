//! How a transfer goes on, for people: a small file beside the record, and a log line every few seconds.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::message::Stage;
use crate::clock::UnixTime;
use crate::domain::DomainName;
use crate::host::Root;

/// How often the log hears of it.
const LOG_EVERY: Duration = Duration::from_secs(5);

/// Whether the domain leaves this node or arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// It leaves.
    Outgoing,
    /// It arrives.
    Incoming,
}

/// What the file holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Progress {
    /// Which way.
    pub direction: Direction,
    /// Bytes of xl's stream so far.
    pub bytes: u64,
    /// How far the receiver has come.
    pub stage: Stage,
    /// When the stream began.
    pub started_at: UnixTime,
    /// When this was written.
    pub updated_at: UnixTime,
}

/// Writes a transfer's progress, and removes the file when it is dropped.
#[derive(Debug)]
pub struct Reporter {
    path: PathBuf,
    domain: DomainName,
    direction: Direction,
    started_at: UnixTime,
    logged: Mutex<Instant>,
}

fn path(root: &Root, domain: &DomainName) -> PathBuf {
    root.state_folder().join(format!("{domain}.progress"))
}

impl Reporter {
    /// Begins to report.
    pub fn begin(root: &Root, domain: &DomainName, direction: Direction) -> Self {
        Self {
            path: path(root, domain),
            domain: domain.clone(),
            direction,
            started_at: UnixTime::now(),
            logged: Mutex::new(Instant::now()),
        }
    }

    /// Tells where it stands. A file that cannot be written costs the transfer nothing.
    pub fn tell(&self, bytes: u64, stage: Stage) {
        let progress = Progress {
            direction: self.direction,
            bytes,
            stage,
            started_at: self.started_at,
            updated_at: UnixTime::now(),
        };
        if let Ok(text) = serde_json::to_string(&progress)
            && let Err(error) = std::fs::write(&self.path, text)
        {
            log::debug!("cannot write {}: {error}", self.path.display());
        }
        let Ok(mut logged) = self.logged.lock() else { return };
        if logged.elapsed() >= LOG_EVERY {
            *logged = Instant::now();
            log::info!(
                "domain={} transfer={:?} stage={stage:?} mib={} seconds={}",
                self.domain,
                self.direction,
                bytes >> 20,
                self.started_at.age().as_secs()
            );
        }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        // Gone already, or the folder is: nothing is lost either way.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The progress of a transfer of `domain` at this node, if one is on file.
pub fn read(root: &Root, domain: &DomainName) -> Option<Progress> {
    serde_json::from_str(&std::fs::read_to_string(path(root, domain)).ok()?).ok()
}
