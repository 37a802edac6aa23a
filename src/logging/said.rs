//! What was said last of each domain, kept on this host until it reboots, for `xen-handoff explain`: the log
//! may be kept elsewhere, or by nobody.
//!
//! `/run/xen-handoff/said/NAME`: a line of JSON each, NAME being the resource where it is known, and the
//! domain else. What a monitor says is in `said/monitor`, so that one that fails every ten seconds leaves the
//! rest. When a file has grown to 32 KiB it becomes `NAME.1`, in the place of the one before. What cannot be
//! kept is in the log all the same.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::clock::UnixTime;
use crate::host::Root;

/// Some hundred lines.
const ROTATE_AT: u64 = 32 * 1024;
/// The actions that are called every few seconds.
const RECURRING: [&str; 2] = ["monitor", "status"];

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// When.
    pub at: UnixTime,
    /// By which process.
    pub pid: u32,
    /// The cluster's action that it carried out; `None` for a worker, a keeper, the guard, or a person's
    /// command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// `error`, `warning` or `info`.
    pub level: String,
    /// The words, with the id of the message at the end.
    pub line: String,
}

fn folder(root: &Root, is_recurring: bool) -> PathBuf {
    let said = root.state_folder().join("said");
    if is_recurring { said.join("monitor") } else { said }
}

/// Keeps it, for the resource or domain of this name.
pub(super) fn keep(root: &Root, name: &str, said: &Said) {
    if name.is_empty() || name.starts_with('.') || name.contains('/') || !root.state_folder().is_dir() {
        return;
    }
    let is_recurring = said.action.as_deref().is_some_and(|action| RECURRING.contains(&action));
    // A log that cannot be kept stops nothing.
    let _ = append(&folder(root, is_recurring), name, said);
}

fn append(folder: &Path, name: &str, said: &Said) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let path = folder.join(name);
    if std::fs::metadata(&path).is_ok_and(|kept| kept.len() >= ROTATE_AT) {
        std::fs::rename(&path, folder.join(format!("{name}.1")))?;
    }
    let line = serde_json::to_string(said)?;
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?
        .write_all(format!("{line}\n").as_bytes())
}

/// What was said of a resource or domain of one of these names, the oldest first. A line that cannot be read
/// is left out.
pub fn read(root: &Root, names: &[&str]) -> Vec<Said> {
    let mut all: Vec<Said> = Vec::new();
    for name in names.iter().filter(|name| !name.starts_with('.') && !name.contains('/')) {
        for is_recurring in [false, true] {
            for file in [format!("{name}.1"), (*name).to_owned()] {
                let text = std::fs::read_to_string(folder(root, is_recurring).join(file)).unwrap_or_default();
                all.extend(text.lines().filter_map(|line| serde_json::from_str(line).ok()));
            }
        }
    }
    // One process keeps its order.
    all.sort_by_key(|said| said.at);
    all
}

/// The resources and domains of which something was said.
pub fn names(root: &Root) -> Vec<String> {
    let mut names = Vec::new();
    for is_recurring in [false, true] {
        let Ok(files) = std::fs::read_dir(folder(root, is_recurring)) else { continue };
        let files = files.filter_map(|file| file.ok().filter(|file| file.path().is_file()));
        names.extend(files.filter_map(|file| file.file_name().into_string().ok()));
    }
    // `x0.1` is x0's older file, or a domain of that name: what is in it is read with x0 as well.
    let is_older =
        |name: &String| name.strip_suffix(".1").is_some_and(|name| names.iter().any(|n| n == name));
    let mut found: Vec<String> = names.iter().filter(|name| !is_older(name)).cloned().collect();
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(nth: u64, action: Option<&str>) -> Said {
        let line = format!("domain=x0 line {nth}");
        Said { at: UnixTime(nth), pid: 7, action: action.map(str::to_owned), level: "info".to_owned(), line }
    }

    #[test]
    fn what_was_said_is_kept_by_name_and_a_monitor_does_not_drive_out_a_stop() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        keep(&root, "x0", &said(1, Some("stop")));
        assert!(!root.state_folder().exists(), "the folder is the records' to make");
        std::fs::create_dir_all(root.state_folder()).unwrap();
        keep(&root, "x0", &said(1, Some("stop")));
        for nth in 2..2000 {
            keep(&root, "x0", &said(nth, Some("monitor")));
        }
        keep(&root, "x0", &said(2000, None));
        let all = read(&root, &["x0", "x1"]);
        assert_eq!(
            (all.first().map(|said| said.at), all.last().map(|said| said.at)),
            (Some(UnixTime(1)), Some(UnixTime(2000)))
        );
        let size: u64 = std::fs::read_dir(root.state_folder().join("said/monitor"))
            .unwrap()
            .map(|file| file.unwrap().metadata().unwrap().len())
            .sum();
        assert!(size < 2 * ROTATE_AT + 1024, "{size}");
        assert_eq!(names(&root), ["x0"], "an older file is no name");
    }

    #[test]
    fn a_name_that_is_a_path_is_no_name_and_a_broken_line_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        std::fs::create_dir_all(root.state_folder()).unwrap();
        for name in ["", "../x0", "..", "a/b", ".x0"] {
            keep(&root, name, &said(1, None));
        }
        assert!(!root.state_folder().join("said").exists());
        keep(&root, "x0", &said(1, None));
        let path = root.state_folder().join("said/x0");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{{\n{text}\u{0}")).unwrap();
        assert_eq!(read(&root, &["x0"]), [said(1, None)]);
    }
}
