//! The log: syslog as the daemon facility (identifier `xen-handoff`), and Pacemaker's own file where it names one.
//!
//! `HA_LOGFACILITY` chooses another facility, or `none`. `HA_LOGFILE` gets every line too. Where syslog cannot be
//! reached, lines go to stderr, without ever looking like an exit reason. Nothing is logged to stdout.
//!
//! Both are opened by the first line that goes there: a monitor in health has none.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Mutex, OnceLock};

use log::{Level, LevelFilter, Log, Metadata, Record};
use syslog::{Facility, Formatter3164, LoggerBackend};

use crate::ocf::environment::Environment;

const IDENTIFIER: &str = "xen-handoff";

struct Sinks {
    facility: Option<Facility>,
    path: Option<PathBuf>,
    open: OnceLock<Open>,
    /// Stands before every line: the resource, where known.
    about: String,
    level: LevelFilter,
}

/// What could be opened.
struct Open {
    syslog: Option<Mutex<syslog::Logger<LoggerBackend, Formatter3164>>>,
    file: Option<Mutex<File>>,
    stderr: bool,
}

impl std::fmt::Debug for Sinks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sinks").field("about", &self.about).finish_non_exhaustive()
    }
}

/// The variables that make our own child processes log where we do.
static FOR_CHILDREN: OnceLock<Vec<(&'static str, OsString)>> = OnceLock::new();

/// The variables that make our own child processes log where we do; none before [`begin`].
pub fn for_children() -> &'static [(&'static str, OsString)] {
    FOR_CHILDREN.get().map_or(&[], Vec::as_slice)
}

fn variables(environment: &Environment) -> Vec<(&'static str, OsString)> {
    let mut variables: Vec<(&'static str, OsString)> = Vec::new();
    if let Some(file) = &environment.log_file {
        variables.push(("HA_LOGFILE", file.into()));
    }
    if let Some(facility) = &environment.log_facility {
        variables.push(("HA_LOGFACILITY", facility.into()));
    }
    if let Some(resource) = &environment.resource {
        variables.push(("OCF_RESOURCE_INSTANCE", resource.into()));
    }
    if environment.debug {
        variables.push(("HA_debug", "1".into()));
    }
    variables
}

/// Sets the log up. Called once, by `main`. A log that cannot be opened stops nothing.
pub fn begin(environment: &Environment) {
    // Set once: a second call would be a second `main`.
    let _ = FOR_CHILDREN.set(variables(environment));
    let facility = match environment.log_facility.as_deref() {
        None | Some("") => Some(Facility::LOG_DAEMON),
        Some("none") => None,
        Some(name) => Some(Facility::from_str(name).unwrap_or(Facility::LOG_DAEMON)),
    };
    let sinks = Sinks {
        facility,
        path: environment.log_file.clone(),
        open: OnceLock::new(),
        about: environment
            .resource
            .as_ref()
            .map(|resource| format!("resource={resource} "))
            .unwrap_or_default(),
        level: if environment.debug { LevelFilter::Debug } else { LevelFilter::Info },
    };
    log::set_max_level(sinks.level);
    // Fails only if a logger is set already, as in tests.
    let _ = log::set_boxed_logger(Box::new(sinks));
}

fn open_syslog(facility: Facility) -> Option<Mutex<syslog::Logger<LoggerBackend, Formatter3164>>> {
    let formatter =
        Formatter3164 { facility, hostname: None, process: IDENTIFIER.to_owned(), pid: std::process::id() };
    syslog::unix(formatter).ok().map(Mutex::new)
}

impl Sinks {
    fn open(&self) -> Open {
        let syslog = self.facility.and_then(open_syslog);
        let file = self.path.as_ref().and_then(|path| {
            OpenOptions::new().append(true).create(true).mode(0o640).open(path).ok().map(Mutex::new)
        });
        Open { stderr: syslog.is_none() && file.is_none() && self.facility.is_some(), syslog, file }
    }
}

impl Log for Sinks {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.level
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        // One record, one line: foreign words may have line ends in them.
        let line = format!("{}{}", self.about, record.args()).replace(['\n', '\r'], " ");
        let open = self.open.get_or_init(|| self.open());
        if let Some(Ok(mut syslog)) = open.syslog.as_ref().map(|syslog| syslog.lock()) {
            // A line that syslog does not take is lost; the action goes on.
            let _ = match record.level() {
                Level::Error => syslog.err(&line),
                Level::Warn => syslog.warning(&line),
                Level::Info => syslog.info(&line),
                Level::Debug | Level::Trace => syslog.debug(&line),
            };
        }
        let stamped = || format!("{IDENTIFIER}[{}] {}: {line}\n", std::process::id(), record.level());
        if let Some(Ok(mut file)) = open.file.as_ref().map(|file| file.lock()) {
            let _ = file.write_all(format!("{} {}", timestamp(), stamped()).as_bytes());
        }
        if open.stderr {
            let _ = std::io::stderr().write_all(stamped().as_bytes());
        }
    }

    fn flush(&self) {}
}

/// Pacemaker's file has local times; ours are UTC, and say so.
fn timestamp() -> String {
    let now = time::OffsetDateTime::now_utc();
    let (hour, minute, second, milli) = (now.hour(), now.minute(), now.second(), now.millisecond());
    format!("{}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z", now.date())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_to_the_clusters_own_file_whole_and_on_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ha.log");
        let sinks = Sinks {
            facility: None,
            path: Some(path.clone()),
            open: OnceLock::new(),
            about: "resource=x0 ".to_owned(),
            level: LevelFilter::Info,
        };
        assert!(!path.exists(), "opened before there was a line");
        sinks.log(&Record::builder().level(Level::Warn).args(format_args!("two\nlines")).build());
        sinks.log(&Record::builder().level(Level::Debug).args(format_args!("too much")).build());
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(text.lines().count(), 1);
        assert!(text.ends_with("WARN: resource=x0 two lines\n"), "{text}");
    }
}
