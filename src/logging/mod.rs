//! The log: journald with fields, where it is there, and syslog elsewhere, as the daemon facility (identifier
//! `xen-handoff`); and Pacemaker's own file where it names one. A line ends with the id of what it says
//! ([`crate::messages`]).
//!
//! `HA_LOGFACILITY` chooses another facility, or `none`. `HA_LOGFILE` gets every line too. Where syslog
//! cannot be reached, lines go to stderr, without ever looking like an exit reason. Nothing is logged to
//! stdout.
//!
//! All are opened by the first line that goes there, and the catalogue of messages is read for it: a monitor
//! in health has none.

mod journal;
pub mod said;

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Mutex, OnceLock};

use log::{Level, LevelFilter, Log, Metadata, Record};
use syslog::{Facility, Formatter3164, LoggerBackend};

use self::journal::Journal;
use self::said::Said;
use crate::clock::UnixTime;
use crate::host::Root;
use crate::messages::{Catalogue, Found, fields};
use crate::ocf::environment::Environment;

const IDENTIFIER: &str = "xen-handoff";

struct Sinks {
    facility: Option<Facility>,
    path: Option<PathBuf>,
    open: OnceLock<Open>,
    root: Root,
    /// Stands before every line: the resource, where known.
    about: String,
    level: LevelFilter,
}

/// What could be opened.
struct Open {
    journal: Option<Journal>,
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

/// The cluster's action that this process carries out.
static ACTION: OnceLock<String> = OnceLock::new();

/// This process carries out this action of the cluster's. Said once; a second time changes nothing.
pub fn acts(action: &str) {
    let _ = ACTION.set(action.to_owned());
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
        root: environment.root.clone(),
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
        let journal = self.facility.and_then(|_| Journal::open(&self.root));
        let syslog = self.facility.filter(|_| journal.is_none()).and_then(open_syslog);
        let file = self.path.as_ref().and_then(|path| {
            OpenOptions::new().append(true).create(true).mode(0o640).open(path).ok().map(Mutex::new)
        });
        let is_nowhere = journal.is_none() && syslog.is_none() && file.is_none();
        Open { stderr: is_nowhere && self.facility.is_some(), journal, syslog, file }
    }

    fn to_syslog(&self, open: &Open, level: Level, line: &str) {
        // Where journald went away meanwhile, this line alone opens syslog.
        let fallback = open.journal.is_some().then(|| self.facility.and_then(open_syslog)).flatten();
        let Some(Ok(mut syslog)) = open.syslog.as_ref().or(fallback.as_ref()).map(Mutex::lock) else {
            return;
        };
        // A line that syslog does not take is lost; the action goes on.
        let _ = match level {
            Level::Error => syslog.err(line),
            Level::Warn => syslog.warning(line),
            Level::Info => syslog.info(line),
            Level::Debug | Level::Trace => syslog.debug(line),
        };
    }

    /// The fields that this line knows.
    fn to_journal(&self, journal: &Journal, level: Level, line: &str, found: Option<&Found>) -> bool {
        let about = About::of(line);
        let priority = match level {
            Level::Error => "3",
            Level::Warn => "4",
            Level::Info => "6",
            Level::Debug | Level::Trace => "7",
        };
        let facility =
            self.facility.map(|facility| ((facility as usize) >> 3).to_string()).unwrap_or_default();
        let (pid, id) = (std::process::id().to_string(), found.map(|found| found.id.for_journal()));
        let all: Vec<String> =
            found.into_iter().flat_map(|found| &found.all).map(ToString::to_string).collect();
        let mut entry = vec![
            ("MESSAGE", line),
            ("PRIORITY", priority),
            ("SYSLOG_IDENTIFIER", IDENTIFIER),
            ("SYSLOG_FACILITY", facility.as_str()),
            ("SYSLOG_PID", pid.as_str()),
            ("MESSAGE_ID", id.as_deref().unwrap_or_default()),
            ("XH_RESOURCE", about.resource),
            ("XH_DOMAIN", about.domain),
            ("XH_NODE", about.node),
            ("XH_TRANSFER", about.offer),
        ];
        // A field may have several values: the line's own message, and those that stand in it.
        entry.extend(all.iter().map(|id| ("XH_ID", id.as_str())));
        journal.takes(&entry)
    }
}

/// What a line is about, by the fields that stand before its words, or by what an exit reason begins with
/// (`x0 on n1: `).
#[derive(Debug, Default, PartialEq, Eq)]
struct About<'a> {
    resource: &'a str,
    domain: &'a str,
    node: &'a str,
    offer: &'a str,
}

impl<'a> About<'a> {
    fn of(line: &'a str) -> Self {
        let mut about = Self::default();
        for (name, value) in fields(line) {
            match name {
                "resource" => about.resource = value,
                "domain" => about.domain = value,
                "node" => about.node = value,
                "offer" => about.offer = value,
                _ => {}
            }
        }
        let words = line
            .strip_prefix("resource=")
            .and_then(|rest| rest.split_once(' '))
            .map_or(line, |(_, words)| words);
        if let Some((domain, (node, _))) =
            words.split_once(" on ").and_then(|(domain, rest)| Some((domain, rest.split_once(": ")?)))
            && !domain.contains([' ', '='])
            && !node.contains(' ')
        {
            about.domain = domain;
            about.node = node;
        }
        about
    }
}

/// The word for a level, in what is kept.
fn word(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warning",
        Level::Info | Level::Debug | Level::Trace => "info",
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
        let level = record.level();
        // One record, one line: foreign words may have line ends in them.
        let words = record.args().to_string().replace(['\n', '\r'], " ");
        let found = (level <= Level::Info).then(|| Catalogue::own().find(&words)).flatten();
        let id = found.as_ref().map(|found| format!(" [{}]", found.id)).unwrap_or_default();
        let line = format!("{}{words}{id}", self.about);
        let open = self.open.get_or_init(|| self.open());
        let is_taken = open
            .journal
            .as_ref()
            .is_some_and(|journal| self.to_journal(journal, level, &line, found.as_ref()));
        if !is_taken {
            self.to_syslog(open, level, &line);
        }
        let stamped = || format!("{IDENTIFIER}[{}] {level}: {line}\n", std::process::id());
        if let Some(Ok(mut file)) = open.file.as_ref().map(|file| file.lock()) {
            let _ = file.write_all(format!("{} {}", timestamp(), stamped()).as_bytes());
        }
        if open.stderr {
            let _ = std::io::stderr().write_all(stamped().as_bytes());
        }
        if level <= Level::Info {
            let (about, at, pid) = (About::of(&line), UnixTime::now(), std::process::id());
            let name = if about.resource.is_empty() { about.domain } else { about.resource };
            let (action, level) = (ACTION.get().cloned(), word(level).to_owned());
            said::keep(&self.root, name, &Said { at, pid, action, level, line: format!("{words}{id}") });
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
    use std::os::unix::net::UnixDatagram;

    use super::*;

    fn sinks(folder: &std::path::Path, facility: Option<Facility>) -> Sinks {
        Sinks {
            facility,
            path: Some(folder.join("ha.log")),
            root: Root::new(folder),
            open: OnceLock::new(),
            about: "resource=x0 ".to_owned(),
            level: LevelFilter::Info,
        }
    }

    fn log(sinks: &Sinks, level: Level, words: &str) {
        sinks.log(&Record::builder().level(level).args(format_args!("{words}")).build());
    }

    #[test]
    fn a_line_goes_to_the_clusters_own_file_whole_and_on_one_line_and_ends_with_its_id() {
        let folder = tempfile::tempdir().unwrap();
        let (sinks, path) = (sinks(folder.path(), None), folder.path().join("ha.log"));
        assert!(!path.exists(), "opened before there was a line");
        log(&sinks, Level::Warn, "two\nlines");
        log(&sinks, Level::Debug, "too much");
        log(&sinks, Level::Info, "domain=x0 node=n1 no handoff: handoff=never");
        let text = std::fs::read_to_string(path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].ends_with("WARN: resource=x0 two lines"), "{text}");
        assert!(
            lines[1].ends_with("INFO: resource=x0 domain=x0 node=n1 no handoff: handoff=never [XH0102]"),
            "{text}"
        );
    }

    #[test]
    fn the_journal_gets_a_line_with_what_it_is_about_and_none_where_the_cluster_wants_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/systemd/journal/socket");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let journald = UnixDatagram::bind(&path).unwrap();
        journald.set_nonblocking(true).unwrap();
        log(&sinks(folder.path(), None), Level::Error, "domain=x0 none of it");
        let mut bytes = [0; 4096];
        assert!(journald.recv(&mut bytes).is_err(), "HA_LOGFACILITY=none");
        let words = "domain=vm node=n1 offer=2026-11-22T10:41:07Z no handoff: the offer could not be recorded: n2 says no";
        log(&sinks(folder.path(), Some(Facility::LOG_LOCAL0)), Level::Warn, words);
        let size = journald.recv(&mut bytes).unwrap();
        let entry = std::str::from_utf8(&bytes[..size]).unwrap();
        let id = Catalogue::own().find(words).unwrap().id;
        for field in [
            format!("MESSAGE=resource=x0 {words} [{id}]"),
            "PRIORITY=4".to_owned(),
            "SYSLOG_IDENTIFIER=xen-handoff".to_owned(),
            "SYSLOG_FACILITY=16".to_owned(),
            format!("MESSAGE_ID={}", id.for_journal()),
            format!("XH_ID={id}\nXH_ID=XH0101"),
            "XH_RESOURCE=x0".to_owned(),
            "XH_DOMAIN=vm".to_owned(),
            "XH_NODE=n1".to_owned(),
            "XH_TRANSFER=2026-11-22T10:41:07Z".to_owned(),
        ] {
            assert!(entry.contains(&format!("{field}\n")), "no {field} in {entry}");
        }
    }

    #[test]
    fn what_a_line_is_about_is_known_of_an_exit_reason_too() {
        let about = About::of("resource=r0 vm-1 on n1: it could not be booted: xl on n1: no");
        assert_eq!((about.resource, about.domain, about.node), ("r0", "vm-1", "n1"));
        assert_eq!(About::of("it runs on n1: well").domain, "");
        assert_eq!(About::of(""), About::default());
    }
}
