//! Interface to `xl` (Xen 4.x; `xl(1)`, `xl.cfg(5)`).
//!
//! One function per subcommand that is used. Only `xl list` decides where a domain stands, and only a listing that is
//! whole counts: xl prints `Domain-0` first in every listing, so one without it was cut short or filtered, and proves
//! nothing. `xl list NAME` is not used: its exit status is 1 for "no such domain" and for "xenstored is down" alike.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::{ShutdownRequest, Toolstack, ToolstackError};
use crate::command::{self, CommandError, Tool};
use crate::domain::{Copy, DomainConfig, DomainId, DomainName, RunState, Sighting};
use crate::host::Root;

/// Where xl's daemon for a domain writes its log, one file per domain (`tools/xl/xl_utils.c`).
const DAEMON_LOG_FOLDER: &str = "/var/log/xen";

/// `xl` of this node.
#[derive(Debug, Clone)]
pub struct Xl {
    root: Root,
}

impl Xl {
    /// The `xl` below `root`. Whether there is one shows at the first call.
    pub fn new(root: &Root) -> Self {
        Self { root: root.clone() }
    }

    /// The executable, for the sender and the receiver of a migration, which need its streams.
    ///
    /// # Errors
    /// [`CommandError::Missing`].
    pub fn tool(&self) -> Result<Tool, CommandError> {
        Tool::find(&self.root, "xl")
    }

    /// The memory of the domain of this exact name, in MiB; `None` if that cannot be told.
    pub fn memory_mib(&self, name: &DomainName, limit: Duration) -> Option<u64> {
        let table = self.run(&["list".as_ref()], limit).ok()?.stdout;
        table.lines().skip(1).filter_map(parse_line).find(|line| line.name == name.as_str())?.memory_mib
    }

    fn run(&self, args: &[&OsStr], limit: Duration) -> Result<command::Output, CommandError> {
        command::run(&self.tool()?, args, None, limit)?.success()
    }
}

impl Toolstack for Xl {
    fn sight(&self, name: &DomainName, limit: Duration) -> Result<Sighting, ToolstackError> {
        let output = self.run(&["list".as_ref()], limit)?;
        parse_list(&output.stdout, name)
            .map_err(|what| ToolstackError::Unreadable { command: output.command, what })
    }

    fn is_attended(&self, name: &DomainName) -> bool {
        // The daemon of a domain that has arrived by migration keeps the name that the domain had on its way.
        let log = |name: &str| self.root.join(DAEMON_LOG_FOLDER).join(format!("xl-{name}.log"));
        any_process_writes_to(&[log(name.as_str()), log(&name.incoming())])
    }

    fn read_config(&self, path: &Path, limit: Duration) -> Result<DomainConfig, ToolstackError> {
        let refused = |what: String| ToolstackError::Config { path: path.display().to_string(), what };
        let args: [&OsStr; 5] = [
            "create".as_ref(),
            "--dryrun".as_ref(),
            "--quiet".as_ref(),
            "--defconfig".as_ref(),
            path.as_ref(),
        ];
        let output = command::run(&self.tool()?, &args, None, limit)?;
        if !output.status.success() {
            return Err(refused(format!("xl refuses it ({}): {}", output.status, one_line(&output.stderr))));
        }
        parse_config(&output.stdout).map_err(refused)
    }

    fn create(&self, path: &Path, name: &DomainName, limit: Duration) -> Result<(), ToolstackError> {
        // Quoted as xl.cfg(5) wants it; the name's character set has no quote in it.
        let name = format!("name=\"{name}\"");
        self.run(&["create".as_ref(), "--quiet".as_ref(), path.as_ref(), name.as_ref()], limit)?;
        Ok(())
    }

    fn request_shutdown(
        &self,
        name: &DomainName,
        how: ShutdownRequest,
        limit: Duration,
    ) -> Result<(), ToolstackError> {
        let name: &OsStr = name.as_str().as_ref();
        match how {
            ShutdownRequest::Drivers => self.run(&["shutdown".as_ref(), name], limit)?,
            ShutdownRequest::PowerButton => self.run(&["trigger".as_ref(), name, "power".as_ref()], limit)?,
        };
        Ok(())
    }

    fn destroy(&self, exact_name: &str, limit: Duration) -> Result<(), ToolstackError> {
        self.run(&["destroy".as_ref(), exact_name.as_ref()], limit)?;
        Ok(())
    }

    fn rename(&self, from: &str, to: &str, limit: Duration) -> Result<(), ToolstackError> {
        self.run(&["rename".as_ref(), from.as_ref(), to.as_ref()], limit)?;
        Ok(())
    }

    fn unpause(&self, name: &DomainName, limit: Duration) -> Result<(), ToolstackError> {
        self.run(&["unpause".as_ref(), name.as_str().as_ref()], limit)?;
        Ok(())
    }

    /// `xl resume` is there from Xen 4.20 on. Before, the same call of libxenlight is made without xl, in a process of
    /// its own: see [`super::libxl`].
    fn resume(&self, id: DomainId, limit: Duration) -> Result<(), ToolstackError> {
        let id = id.to_string();
        let Err(by_xl) = self.run(&["resume".as_ref(), id.as_ref()], limit) else { return Ok(()) };
        log::info!("domid={id} xl cannot resume it ({by_xl}); asking libxenlight");
        command::run(&Tool::ourselves(&self.root)?, &["thaw", "--domid", &id], None, limit)?.success()?;
        Ok(())
    }
}

fn one_line(text: &str) -> String {
    text.trim().lines().map(str::trim).collect::<Vec<_>>().join("; ")
}

/// Reads the table of `xl list`. A line that does not fit is an error, since it could be the domain that we look for.
fn parse_list(table: &str, name: &DomainName) -> Result<Sighting, String> {
    let mut lines = table.lines();
    let header = lines.next().unwrap_or_default();
    if !header.starts_with("Name") || !header.contains("State") {
        return Err(format!("no table header in {:?}", table.chars().take(80).collect::<String>()));
    }
    let mut sighting = Sighting::default();
    let mut saw_domain_0 = false;
    for line in lines.filter(|line| !line.trim().is_empty()) {
        let line = parse_line(line).ok_or_else(|| format!("cannot read the line {line:?}"))?;
        saw_domain_0 |= line.copy.id == DomainId(0);
        if line.name == name.as_str() {
            sighting.own = Some(line.copy);
        } else if line.name == name.incoming() {
            sighting.incoming = Some(line.copy);
        } else if line.name == name.migrated_away() {
            sighting.migrated_away = Some(line.copy);
        }
    }
    if saw_domain_0 {
        Ok(sighting)
    } else {
        Err("the listing has no Domain-0, so it is not whole".to_owned())
    }
}

/// One line of the table.
struct Line<'a> {
    name: &'a str,
    copy: Copy,
    memory_mib: Option<u64>,
}

/// `NAME  ID  MEM  VCPUS  STATE  TIME`: read from the end, since a name may be anything, even `(null)` or two words.
fn parse_line(line: &str) -> Option<Line<'_>> {
    let (rest, _cpu_seconds) = split_last_word(line)?;
    let (rest, state) = split_last_word(rest)?;
    let (rest, processors) = split_last_word(rest)?;
    let (rest, memory) = split_last_word(rest)?;
    let (name, id) = split_last_word(rest)?;
    let state = match parse_state(state)? {
        RunState::Paused if processors == "0" => RunState::Building,
        state => state,
    };
    let copy = Copy { id: DomainId(id.parse().ok()?), state };
    Some(Line { name: name.trim(), copy, memory_mib: memory.parse().ok() })
}

fn split_last_word(text: &str) -> Option<(&str, &str)> {
    text.trim_end().rsplit_once(char::is_whitespace)
}

/// The six letters that `tools/xl/xl_info.c` prints: running, blocked, paused, shut down, its reason, dying.
fn parse_state(letters: &str) -> Option<RunState> {
    let [running, blocked, paused, shut_down, reason, dying] = letters.as_bytes() else { return None };
    let known = |letter: u8, meant: u8| letter == b'-' || letter == meant;
    if !(known(*running, b'r')
        && known(*blocked, b'b')
        && known(*paused, b'p')
        && known(*shut_down, b's')
        && known(*dying, b'd'))
    {
        return None;
    }
    if *dying == b'd' {
        return Some(RunState::Dying);
    }
    if *shut_down == b's' {
        return match reason {
            b'-' => Some(RunState::ShutDown),
            b'r' | b'S' => Some(RunState::Rebooting),
            b's' => Some(RunState::Frozen),
            b'c' | b'w' => Some(RunState::Crashed),
            _ => None,
        };
    }
    Some(if *paused == b'p' { RunState::Paused } else { RunState::Running })
}

#[derive(Deserialize)]
struct ConfigJson {
    c_info: CreateInfo,
    #[serde(default)]
    b_info: BuildInfo,
}

#[derive(Deserialize)]
struct CreateInfo {
    name: Option<String>,
}

#[derive(Deserialize, Default)]
struct BuildInfo {
    #[serde(default)]
    target_memkb: u64,
}

/// Reads what `xl create --dryrun --quiet` prints: libxl's JSON of the configuration. Only the fields used.
fn parse_config(json: &str) -> Result<DomainConfig, String> {
    // Some builds print a line of their own before the object.
    let start = json.find('{').ok_or("xl printed no JSON for it")?;
    let mut objects = serde_json::Deserializer::from_str(&json[start..]).into_iter::<ConfigJson>();
    let parsed = match objects.next() {
        Some(Ok(parsed)) => parsed,
        Some(Err(error)) => return Err(format!("xl's JSON cannot be read: {error}")),
        None => return Err("xl printed no JSON for it".to_owned()),
    };
    let name = parsed.c_info.name.ok_or("it sets no name")?;
    Ok(DomainConfig {
        name: DomainName::new(name).map_err(|error| error.to_string())?,
        target_memory_kib: parsed.b_info.target_memkb,
    })
}

/// True if any process has one of `logs` open as its stdout or stderr. Processes that vanish meanwhile, or that we may not
/// look into, do not count.
fn any_process_writes_to(logs: &[PathBuf]) -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else { return false };
    processes.flatten().map(|entry| entry.path()).any(|process| {
        let numeric =
            process.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit));
        numeric
            && ["fd/1", "fd/2"]
                .iter()
                .any(|fd| std::fs::read_link(process.join(fd)).is_ok_and(|to| logs.contains(&to)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Presence;

    const HEADER: &str = "Name                                        ID   Mem VCPUs\tState\tTime(s)\n";
    const DOM0: &str = "Domain-0                                     0   768     1     r-----      66.4\n";

    fn x0() -> DomainName {
        DomainName::new("x0").unwrap()
    }

    fn listing(lines: &str) -> Result<Sighting, String> {
        parse_list(&format!("{HEADER}{DOM0}{lines}"), &x0())
    }

    /// Real output of xl 4.17: see `tests/captured/xl-4.17/README.md`.
    macro_rules! captured {
        ($file:literal) => {
            include_str!(concat!("../../tests/captured/xl-4.17/", $file))
        };
    }

    #[test]
    fn real_listings_are_read_as_what_they_were() {
        let presence = |table: &str| parse_list(table, &x0()).unwrap().presence();
        let id = DomainId;
        for (table, is) in [
            (captured!("list--running.stdout"), Presence::Running(id(1))),
            (captured!("list--absent.stdout"), Presence::Absent),
            (captured!("list--paused.stdout"), Presence::Paused(id(1))),
            (captured!("list--being-created.stdout"), Presence::Building(id(10))),
            (captured!("list--crashed-preserved.stdout"), Presence::Crashed(id(6))),
            (captured!("list--shut-down-preserved.stdout"), Presence::ShutDown(id(5))),
            (captured!("list--rebooting-old-domain.stdout"), Presence::Rebooting(id(9))),
            (captured!("list--precopy-source.stdout"), Presence::Running(id(1))),
            (captured!("list--precopy-target.stdout"), Presence::Incoming(id(1))),
            (captured!("list--stop-and-copy-source.stdout"), Presence::Frozen(id(1))),
            (captured!("list--stop-and-copy-target.stdout"), Presence::Incoming(id(1))),
            (captured!("list--migratedaway-source.stdout"), Presence::MigratedAway(id(1))),
            (captured!("list--dying-source.stdout"), Presence::Absent),
            (captured!("list--arrived-target.stdout"), Presence::Running(id(1))),
            (captured!("list--frozen-source.stdout"), Presence::Frozen(id(1))),
            (captured!("list--incoming-leftover-target.stdout"), Presence::Incoming(id(3))),
            (captured!("list--resumed-source.stdout"), Presence::Running(id(1))),
        ] {
            assert_eq!(presence(table), is);
        }
        // `xl list NAME` has no Domain-0: it is no whole listing.
        assert!(parse_list(captured!("list-name--running.stdout"), &x0()).is_err());
    }

    #[test]
    fn a_real_dry_run_gives_the_name_and_the_memory() {
        let config = parse_config(captured!("create-dryrun.stdout")).unwrap();
        assert_eq!(config, DomainConfig { name: x0(), target_memory_kib: 131_072 });
    }

    #[test]
    fn every_state_that_xl_prints_is_told_apart() {
        let states = [
            ("r-----", RunState::Running),
            ("-b----", RunState::Running),
            ("------", RunState::Running),
            ("--p---", RunState::Paused),
            ("---s--", RunState::ShutDown),
            ("---sr-", RunState::Rebooting),
            ("---ss-", RunState::Frozen),
            ("---sc-", RunState::Crashed),
            ("---sw-", RunState::Crashed),
            ("---sS-", RunState::Rebooting),
            ("-----d", RunState::Dying),
            ("---ssd", RunState::Dying),
        ];
        for (letters, state) in states {
            assert_eq!(parse_state(letters), Some(state), "{letters}");
        }
        for foreign in ["", "r----", "r------", "x-----", "---s?-"] {
            assert_eq!(parse_state(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn all_three_names_are_seen_and_no_other() {
        let found = listing(
            "x0--incoming                                 7   128     1     --p---       0.0\n\
             x0                                           3   128     1     -b----       1.0\n\
             x01                                          4   128     1     -b----       1.0\n\
             other x0                                     6   128     1     -b----       1.0\n\
             (null)                                       5     0     1     --ps-d       1.0\n",
        )
        .unwrap();
        assert_eq!(found.own, Some(Copy { id: DomainId(3), state: RunState::Running }));
        assert_eq!(found.incoming, Some(Copy { id: DomainId(7), state: RunState::Paused }));
        assert_eq!(found.migrated_away, None);
    }

    #[test]
    fn a_listing_that_is_not_whole_never_reads_as_absent() {
        assert!(parse_list("", &x0()).is_err());
        assert!(parse_list(HEADER, &x0()).is_err());
        assert!(parse_list("libxl: error: cannot open\n", &x0()).is_err());
        assert!(listing("x0    garbage\n").is_err());
        assert_eq!(listing("").unwrap(), Sighting::default());
    }

    #[test]
    fn a_configuration_is_what_xl_says_it_is() {
        let config = parse_config(
            r#"{"c_info":{"type":"pvh","name":"x0","uuid":"u"},"b_info":{"target_memkb":131072}}"#,
        );
        assert_eq!(config, Ok(DomainConfig { name: x0(), target_memory_kib: 131_072 }));
        assert!(parse_config("Parsing config from x0.cfg\n").is_err());
        assert!(parse_config(r#"{"c_info":{"type":"pvh"}}"#).unwrap_err().contains("no name"));
        assert!(parse_config(r#"{"c_info":{"name":"x0--incoming"}}"#).unwrap_err().contains("--incoming"));
    }

    #[test]
    fn a_process_that_writes_the_log_is_found_by_its_descriptor() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("xl-x0.log");
        assert!(!any_process_writes_to(std::slice::from_ref(&log)));
        let file = std::fs::File::create(&log).unwrap();
        #[allow(clippy::disallowed_methods, reason = "a bystander process, not a tool of the agent")]
        let mut daemon = std::process::Command::new("sleep").arg("60").stdout(file).spawn().unwrap();
        let seen = any_process_writes_to(&[folder.path().join("other.log"), log]);
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        assert!(seen);
    }
}
