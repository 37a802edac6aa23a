//! Processes of xl that may create a domain: the daemons that wait for their domains' ends, and whoever
//! creates, restores or receives one just now. While one of them may be of a domain, that domain is not known
//! to be stopped: after a reboot of the guest xl destroys it and creates it anew, and for seconds no listing
//! shows it.
//!
//! Which processes these are, their command lines say: xl's daemon keeps that of its creator
//! (`xl create FILE`, `xl restore FILE`, `xl migrate-receive`). Whose they are is told by the first of these
//! that speaks:
//!
//! | what | is from | can be wrong |
//! |---|---|---|
//! | the mark in its environment ([`MARK`]) | the agent that has started it | never |
//! | the last `Waiting for domain NAME (domid N) to die` in the log that it holds open, with its own process id | the daemon | no: it counts only where N is in the listing, under another name than the domain's own |
//! | the name of that log | the daemon; a rotation leaves its beginning | counts only for a domain of that name in the listing that no other process waits for |
//! | `name=` among its arguments | whoever called it | no: xl prefers it to the file |
//! | `name =` in the file that it was given | whoever wrote the file, perhaps since | counts only for a domain of that name in the listing |
//! | that it receives or restores, and a domain in the listing is arriving or being made that is nobody else's | | counts for one such domain |
//!
//! A process that is told to be of no other domain may be of the one in question. The path of the log alone
//! says nothing: logs are renamed and deleted while they are held open.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::command::MARK;
use crate::domain::{DomainId, DomainName, INCOMING};

/// What xl calls a domain without a name: one that has lost it, being destroyed, or has not got it yet, being
/// created.
pub(super) const NAMELESS: &str = "(null)";

/// How much of the end of a log is read, in bytes.
const LOG_TAIL: u64 = 64 * 1024;
/// The most that is read of a file in /proc or of a configuration, in bytes.
const LONGEST: u64 = 1024 * 1024;
/// The subcommands that create domains. xl takes the beginning of a subcommand for the whole, if it begins no
/// other.
const CREATE: &str = "create";
const OTHERS: [&str; 2] = ["restore", "migrate-receive"];
/// What is the whole of another one.
const MIGRATE: &str = "migrate";

/// A domain in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) id: DomainId,
    pub(super) name: String,
    /// Whether it is being created.
    pub(super) is_new: bool,
}

/// A process that may create a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Creator {
    pid: u32,
    command: String,
    says: Says,
    /// The domain whose end it waits for, by its own words, whatever else tells whose it is.
    waits: Option<DomainId>,
}

/// What tells whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Says {
    /// The agent's mark.
    Mark(String),
    /// It waits for this domain's end.
    Waits(DomainId),
    /// Its log is called after this name.
    Log(String),
    /// It was told this name.
    Told(String),
    /// Its file has this name.
    File(String),
    /// That it restores or receives some domain.
    Receives,
    Nothing,
}

/// All of them on this host, by its `/proc`. Only executables `below` this folder count.
///
/// # Errors
/// If the processes cannot be listed.
pub(super) fn creators(proc: &Path, below: &Path) -> std::io::Result<Vec<Creator>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(proc)? {
        let folder = entry?.path();
        let pid = folder.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        // One that has ended meanwhile, or waits for its parent to notice, creates nothing any more.
        let Some(creator) = pid.and_then(|pid| creator(&folder, pid, below)) else { continue };
        found.push(creator);
    }
    Ok(found)
}

fn creator(folder: &Path, pid: u32, below: &Path) -> Option<Creator> {
    let words = words(&folder.join("cmdline"));
    let exe = std::fs::read_link(folder.join("exe")).ok();
    let is_xl = |path: &str| path.trim_end_matches(" (deleted)").rsplit('/').next() == Some("xl");
    let comm = read(&folder.join("comm")).unwrap_or_default();
    let names = [words.first().map(String::as_str), exe.as_deref().and_then(Path::to_str), Some(comm.trim())];
    if !names.into_iter().flatten().any(is_xl) || exe.is_some_and(|exe| !exe.starts_with(below)) {
        return None;
    }
    // xl's own options come first, and none of them has a value.
    let mut rest = words.iter().skip(1).skip_while(|word| word.starts_with('-'));
    let subcommand = rest.next().filter(|word| !word.is_empty())?;
    let creates = CREATE.starts_with(subcommand.as_str());
    let begins = |other: &&str| other.starts_with(subcommand.as_str());
    if !creates && (begins(&MIGRATE) || !OTHERS.iter().any(begins)) {
        return None;
    }
    let arguments: Vec<&String> = rest.collect();
    let waits = outputs(folder).iter().find_map(|output| waits_for(&log_tail(output)?, pid));
    let says = waits_or_mark(folder, waits).unwrap_or_else(|| says(folder, creates, &arguments, below));
    Some(Creator { pid, command: words.join(" "), says, waits })
}

/// Where its words go.
fn outputs(folder: &Path) -> [PathBuf; 2] {
    ["fd/1", "fd/2"].map(|fd| folder.join(fd))
}

fn waits_or_mark(folder: &Path, waits: Option<DomainId>) -> Option<Says> {
    let mark = words(&folder.join("environ"))
        .into_iter()
        .find_map(|variable| variable.strip_prefix(MARK)?.strip_prefix('=').map(str::to_owned));
    mark.map(Says::Mark).or_else(|| waits.map(Says::Waits))
}

fn says(folder: &Path, creates: bool, arguments: &[&String], below: &Path) -> Says {
    if let Some(name) = outputs(folder).iter().find_map(|output| logs_for(&std::fs::read_link(output).ok()?))
    {
        return Says::Log(name);
    }
    if !creates {
        return Says::Receives;
    }
    if let Some(name) = arguments.iter().rev().find_map(|argument| assigned_name(argument)) {
        return Says::Told(name);
    }
    let file = arguments.iter().find_map(|argument| match argument.strip_prefix("--defconfig=") {
        Some(file) => Some(file),
        None => Some(argument.as_str()).filter(|word| !word.starts_with('-') && !word.contains('=')),
    });
    let link = |name: &str| std::fs::read_link(folder.join(name)).unwrap_or_else(|_| "/".into());
    // As that process sees it; in a test's world the path is the whole one.
    let path = file.map(|file| link("cwd").join(file));
    let seen = path.map(|path| link("root").join(path.strip_prefix("/").unwrap_or(&path)));
    let text = seen.filter(|seen| seen.starts_with(below)).and_then(|seen| read(&seen));
    let name = text.and_then(|text| text.lines().rev().find_map(assigned_name));
    name.map_or(Says::Nothing, Says::File)
}

/// The first process that may be of `name` (of any domain that is not `listed`, where none is given), in
/// words.
pub(super) fn doubt(creators: &[Creator], name: Option<&DomainName>, listed: &[Listed]) -> Option<String> {
    let ours = |called: &str| {
        name.is_some_and(|name| {
            called == name.as_str() || called == name.incoming() || called == name.migrated_away()
        })
    };
    let others: Vec<&Listed> = listed.iter().filter(|other| is_named(other) && !ours(&other.name)).collect();
    let mut taken: BTreeSet<DomainId> = BTreeSet::new();
    for creator in creators {
        if let Says::Waits(id) = creator.says {
            taken.insert(id);
        }
    }
    let mut free = |is_it: &dyn Fn(&Listed) -> bool| {
        let found = others.iter().find(|other| is_it(other) && !taken.contains(&other.id));
        found.is_some_and(|other| taken.insert(other.id))
    };
    let mut is_anothers = |creator: &Creator| match &creator.says {
        Says::Mark(of) | Says::Told(of) if name.is_some() => !ours(of),
        // Where every domain is asked about, it has to be in the listing.
        Says::Mark(of) | Says::Told(of) => others.iter().any(|other| is_called(other, of)),
        // One that waits for the domain itself creates it anew when that reboots; for a copy of it, it waits
        // in vain.
        Says::Waits(id) => listed
            .iter()
            .any(|any| any.id == *id && is_named(any) && name.is_none_or(|name| any.name != name.as_str())),
        Says::Log(of) => !ours(of) && free(&|other| is_called(other, of)),
        Says::File(of) => !ours(of) && others.iter().any(|other| other.name == *of),
        Says::Receives => free(&|other| other.is_new || other.name.ends_with(INCOMING)),
        Says::Nothing => false,
    };
    // What names a domain comes first: it takes what the rest might be of.
    let (named, rest): (Vec<&Creator>, Vec<&Creator>) =
        creators.iter().partition(|creator| !matches!(creator.says, Says::Receives));
    let mut all = named.into_iter().chain(rest);
    all.find(|creator| !is_anothers(creator))
        .map(|creator| format!("process {} ({}) may be about to create it", creator.pid, creator.command))
}

/// What the domain is called by now that the agent has started under `name`, where somebody has renamed it:
/// its daemon has the mark of that name, and waits for a domain that is listed under another one. A daemon
/// whose log was emptied does not say for which; it is the one that was `last` seen running here as `name`,
/// if nobody else waits for that.
pub(super) fn renamed(
    creators: &[Creator],
    name: &DomainName,
    last: Option<DomainId>,
    listed: &[Listed],
) -> Option<String> {
    let own = [name.as_str().to_owned(), name.incoming(), name.migrated_away()];
    let is_marked = |creator: &&Creator| matches!(&creator.says, Says::Mark(of) if *of == name.as_str());
    let last = last.filter(|last| creators.iter().all(|creator| creator.waits != Some(*last)));
    let waited_for =
        |id: DomainId| listed.iter().find(|any| any.id == id && is_named(any) && !own.contains(&any.name));
    let marked = creators.iter().filter(is_marked);
    marked.filter_map(|creator| creator.waits.or(last)).find_map(waited_for).map(|any| any.name.clone())
}

/// Whether it has a name: one that has none is on its way out or in.
fn is_named(listed: &Listed) -> bool {
    !listed.name.is_empty() && listed.name != NAMELESS
}

/// Whether the log of this domain's daemon can be called after `name`: a daemon of one that has arrived keeps
/// the name that it had on its way.
fn is_called(listed: &Listed, name: &str) -> bool {
    let bare = |name: &str| name.strip_suffix(INCOMING).unwrap_or(name).to_owned();
    bare(&listed.name) == bare(name)
}

/// The domain that the process waits for, by its own words.
fn waits_for(log: &str, pid: u32) -> Option<DomainId> {
    let by = format!(") to die [pid {pid}]");
    let line = log.lines().rev().find(|line| line.contains("Waiting for domain ") && line.ends_with(&by))?;
    let (_, id) = line.strip_suffix(&by)?.rsplit_once(" (domid ")?;
    id.parse().ok().map(DomainId)
}

/// The name in `xl-NAME.log`, and in what a rotation makes of that.
fn logs_for(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?.trim_end_matches(" (deleted)");
    let name = file.strip_prefix("xl-")?;
    let end = if name.ends_with(".log") { name.rfind(".log")? } else { name.find(".log")? };
    Some(name[..end].to_owned())
}

/// `name = "x0"`, as an argument or a line of a file.
fn assigned_name(text: &str) -> Option<String> {
    let value = text.trim().strip_prefix("name")?.trim_start().strip_prefix('=')?.trim();
    let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''));
    let name = match quote {
        Some(quote) => value[1..].split_once(quote)?.0,
        None => value.split(['#', ';', ' ', '\t']).next()?,
    };
    (!name.is_empty()).then(|| name.to_owned())
}

fn words(path: &Path) -> Vec<String> {
    let text = read(path).unwrap_or_default();
    text.split_terminator('\0').map(str::to_owned).collect()
}

/// A file's text, if it is a regular one: nothing else may be opened by the way.
fn read(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    regular(path)?.take(LONGEST).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn log_tail(path: &Path) -> Option<String> {
    let mut log = regular(path)?;
    let end = log.metadata().ok()?.len();
    log.seek(SeekFrom::Start(end.saturating_sub(LOG_TAIL))).ok()?;
    let mut bytes = Vec::new();
    log.take(LOG_TAIL).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn regular(path: &Path) -> Option<File> {
    std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    File::open(path).ok()
}

/// Where the kernel shows processes.
pub(super) fn proc() -> PathBuf {
    "/proc".into()
}

/// Reads all that is read here, for `make fuzz`.
pub(super) fn read_all(text: &str) {
    let _ = (waits_for(text, 7), logs_for(Path::new(text)));
    let _ = text.lines().rev().find_map(assigned_name);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A `/proc` with processes of these command lines, and what each has as its output.
    struct Processes(tempfile::TempDir);

    impl Processes {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        /// A process; `log` is a file's name and text.
        fn add(&self, pid: u32, command: &str, environ: &str, log: Option<(&str, &str)>) {
            let folder = self.0.path().join("proc").join(pid.to_string());
            std::fs::create_dir_all(folder.join("fd")).unwrap();
            std::fs::write(folder.join("cmdline"), command.replace(' ', "\0") + "\0").unwrap();
            std::fs::write(folder.join("comm"), "xl\n").unwrap();
            std::fs::write(folder.join("environ"), environ).unwrap();
            symlink("/usr/lib/xen-4.17/bin/xl", folder.join("exe")).unwrap();
            let Some((name, text)) = log else { return };
            let path = self.0.path().join(name);
            std::fs::write(&path, text).unwrap();
            symlink(path, folder.join("fd/1")).unwrap();
        }

        fn doubt(&self, listed: &[(u32, &str)]) -> Option<String> {
            let listed: Vec<Listed> = listed
                .iter()
                .map(|(id, name)| Listed { id: DomainId(*id), name: (*name).to_owned(), is_new: false })
                .collect();
            let creators = creators(&self.0.path().join("proc"), Path::new("/")).unwrap();
            doubt(&creators, Some(&DomainName::new("x0").unwrap()), &listed)
        }
    }

    const CREATED: &str = "/usr/lib/xen-4.17/bin/xl create -q /etc/xen/x0.cfg";

    fn waits(name: &str, id: u32, pid: u32) -> String {
        format!("Waiting for domain {name} (domid {id}) to die [pid {pid}]\n")
    }

    #[test]
    fn p1_a_guest_that_reboots_is_not_stopped_whatever_became_of_its_log() {
        let rebooting =
            waits("x0", 9, 1465) + "Domain 9 has shut down, reason code 1 0x1\nDone. Rebooting now\n";
        for log in ["xl-x0.log", "xl-x0.log.1", "xl-x0.log-20261129", "old-logs", "xl-x0.log.1 (deleted)"] {
            for text in [rebooting.as_str(), ""] {
                let processes = Processes::new();
                processes.add(1465, CREATED, "", Some((log, text)));
                assert!(processes.doubt(&[(3, "x5")]).is_some(), "{log} {text:?}");
            }
        }
        let arrived = Processes::new();
        arrived.add(822, "/usr/lib/xen-4.17/bin/xl migrate-receive", "", Some(("xl-x0--incoming.log", "")));
        assert!(arrived.doubt(&[(3, "x5")]).is_some());
        let foreground = Processes::new();
        foreground.add(5, "xl create -F /etc/xen/x0.cfg", "", None);
        assert!(foreground.doubt(&[(3, "x5")]).is_some());
        // Being destroyed before it is created anew: it has no name any more.
        let nameless = Processes::new();
        nameless.add(7, CREATED, "", Some(("xl-x1.log", &waits("x1", 9, 7))));
        assert!(nameless.doubt(&[(9, "(null)")]).is_some());
        // Somebody has renamed it since, by hand: the daemon is still called after x1.
        assert!(nameless.doubt(&[(3, "x5")]).is_some());
    }

    #[test]
    fn p8_a_domain_that_was_renamed_by_hand_is_known_by_the_daemon_that_waits_for_it() {
        let called_by_last = |last: Option<u32>, environ: &str, text: &str, listed: &[(u32, &str)]| {
            let processes = Processes::new();
            processes.add(11, CREATED, environ, Some(("xl-x0.log.1 (deleted)", text)));
            let listed: Vec<Listed> = listed
                .iter()
                .map(|(id, name)| Listed { id: DomainId(*id), name: (*name).to_owned(), is_new: false })
                .collect();
            let creators = creators(&processes.0.path().join("proc"), Path::new("/")).unwrap();
            renamed(&creators, &DomainName::new("x0").unwrap(), last.map(DomainId), &listed)
        };
        let called = |environ: &str, text: &str, listed: &[(u32, &str)]| {
            called_by_last(Some(9), environ, text, listed)
        };
        let (mark, waits) = (format!("{MARK}=x0\0"), waits("x0", 9, 11));
        assert_eq!(called(&mark, &waits, &[(3, "x5"), (9, "old")]).as_deref(), Some("old"));
        for listed in [
            &[(3, "x5")][..],
            &[(9, "x0")],
            &[(9, "x0--incoming")],
            &[(9, "x0--migratedaway")],
            &[(9, "(null)")],
        ] {
            assert_eq!(called(&mark, &waits, listed), None, "{listed:?}");
        }
        assert_eq!(called("", &waits, &[(9, "old")]), None, "whoever has started that one");
        assert_eq!(called(&format!("{MARK}=x1\0"), &waits, &[(9, "old")]), None);
        assert_eq!(called(&mark, "", &[(9, "old")]).as_deref(), Some("old"), "its log was emptied");
        assert_eq!(called(&mark, "", &[(8, "old")]), None, "it may be rebooting");
        assert_eq!(called_by_last(None, &mark, "", &[(9, "old")]), None, "nobody has seen it run here");
        let anothers = waits.replace("pid 11", "pid 12");
        assert_eq!(called(&mark, &anothers, &[(9, "old")]).as_deref(), Some("old"), "an older daemon's word");
    }

    #[test]
    fn a_process_that_is_of_another_domain_keeps_no_other_from_being_stopped() {
        let receive = "/usr/lib/xen-4.17/bin/xl migrate-receive";
        let processes = Processes::new();
        processes.add(11, "xl create /etc/xen/x1.cfg", "", Some(("xl-x1.log.2", &waits("x1", 3, 11))));
        processes.add(12, receive, "", Some(("xl-x2--incoming.log", &waits("x2--incoming", 4, 12))));
        // Rotated by copying, so that nothing is left in it.
        processes.add(13, "xl create /etc/xen/x3.cfg", "", Some(("xl-x3.log", "")));
        processes.add(14, "xl create --quiet /etc/xen/x4.cfg name=\"x4\"", "", None);
        processes.add(15, receive, "LC_ALL=C\0XEN_HANDOFF_DOMAIN=x5\0", None);
        processes.add(16, receive, "", None);
        processes.add(17, "xl list", "", None);
        processes.add(18, "xl migrate x1 node2", "", None);
        processes.add(19, "xl cpupool-create name=\"x0\"", "", None);
        let listed = [(3, "x1"), (4, "x2"), (5, "x3"), (6, "x6--incoming")];
        assert_eq!(processes.doubt(&listed), None);
        // The one that arrives is accounted for once.
        processes.add(20, receive, "", None);
        assert!(processes.doubt(&listed).unwrap().contains("process"), "two receive, and one arrives");
    }

    #[test]
    fn p1_a_guest_that_is_still_listed_while_it_reboots_is_attended_by_the_daemon_that_waits_for_it() {
        let processes = Processes::new();
        processes.add(5, "xl create /etc/xen/x0.cfg", "", Some(("old-logs", &waits("x0", 4, 5))));
        assert!(processes.doubt(&[(4, "x0")]).is_some());
        assert_eq!(processes.doubt(&[(4, "x1")]), None, "it waits for another one");
    }

    #[test]
    fn a_copy_that_has_come_to_its_end_on_the_way_is_received_by_nobody() {
        let processes = Processes::new();
        processes.add(
            5,
            "xl create -p /etc/xen/stale.cfg",
            "",
            Some(("xl-x0--incoming.log", &waits("x0--incoming", 4, 5))),
        );
        let listed = [(4, "x0--incoming")];
        assert_eq!(processes.doubt(&listed), None, "its daemon only waits for its end");
        processes.add(6, "xl migrate-receive", "", None);
        assert!(processes.doubt(&listed).is_some(), "it is on its way");
    }

    #[test]
    fn the_first_form_that_speaks_decides_and_xls_short_forms_are_read() {
        let told = |command: &str, environ: &str| {
            let processes = Processes::new();
            processes.add(5, command, environ, None);
            processes.doubt(&[])
        };
        assert!(told("xl -vv cr /etc/xen/a.cfg", "").is_some());
        assert!(told("xl migrate-receive", "XEN_HANDOFF_DOMAIN=x0\0").is_some());
        assert_eq!(told("xl migrate-receive", "XEN_HANDOFF_DOMAIN=x1\0"), None);
        assert!(told("xl create name=\"x1\" name='x0'", "").is_some());
        assert_eq!(told("xl", ""), None);
        assert_eq!(logs_for(Path::new("/var/log/xen/xl-a.log.log")), Some("a.log".to_owned()));
        assert_eq!(logs_for(Path::new("/var/log/xen/xenstored.log")), None);
        assert_eq!(assigned_name("name = \"x0\" # the first"), Some("x0".to_owned()));
        assert_eq!(assigned_name("names = \"x0\""), None);
    }

    #[test]
    fn real_daemons_are_read_as_what_they_were() {
        let log = include_str!("../../../tests/captured/xl-4.17/monitor-log--destroyed.stdout");
        assert_eq!(waits_for(log, 1465), Some(DomainId(9)));
        assert_eq!(waits_for(log, 1466), None, "another process wrote that");
    }
}
