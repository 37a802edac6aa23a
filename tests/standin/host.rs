//! A host: the folder with its domains, its lock, its log of events and its knobs.

use crate::domain::Domain;
use crate::system;
use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

const DOM0_MIB: u64 = 1024;
const HOST_MIB: u64 = 16384;

/// One Xen host.
#[derive(Debug)]
pub(crate) struct Host {
    dir: PathBuf,
    /// Its name in the events.
    pub(crate) name: String,
}

/// The host with its lock held: nobody else sees or changes a domain meanwhile.
#[derive(Debug)]
pub(crate) struct Locked<'a> {
    host: &'a Host,
    _lock: File,
    domains: BTreeMap<u32, Domain>,
}

impl Host {
    /// The host that this executable belongs to; its folder is made when it is missing.
    pub(crate) fn find() -> Result<Host> {
        let dir = match system::environment("XL_STANDIN_DIR") {
            Some(dir) => dir,
            None => {
                let exe = std::env::current_exe().context("finding the executable")?;
                let sbin = exe.parent().context("the executable has no folder")?;
                sbin.join("../../var/lib/xl-standin")
            }
        };
        for folder in ["domains", "ctl"] {
            std::fs::create_dir_all(dir.join(folder)).with_context(|| format!("making {}", dir.display()))?;
        }
        let dir = dir.canonicalize().with_context(|| format!("finding {}", dir.display()))?;
        let name = match std::fs::read_to_string(dir.join("hostname")) {
            Ok(name) => name.trim().to_owned(),
            Err(_) => rustix::system::uname().nodename().to_string_lossy().into_owned(),
        };
        Ok(Host { dir, name })
    }

    /// The folder in which the hosts' roots lie beside each other, each under its host's name.
    pub(crate) fn world(&self) -> PathBuf {
        self.dir.join("../../../..")
    }

    /// The host of this name beside this one; `None` if there is none, or it cannot be reached.
    pub(crate) fn neighbour(&self, name: &str) -> Result<Option<Host>> {
        let root = self.world().join(name);
        if !root.join("usr/sbin").is_dir() || root.join("cut").exists() {
            return Ok(None);
        }
        let dir = root.join("var/lib/xl-standin");
        for folder in ["domains", "ctl"] {
            std::fs::create_dir_all(dir.join(folder)).with_context(|| format!("making {}", dir.display()))?;
        }
        let dir = dir.canonicalize().with_context(|| format!("finding {}", dir.display()))?;
        Ok(Some(Host { dir, name: name.to_owned() }))
    }

    pub(crate) fn is_same(&self, other: &Host) -> bool {
        self.dir == other.dir
    }

    /// What tells a process of this program which host is its own.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Says that a domain is between its end and its new beginning, or no more.
    pub(crate) fn note_restart(&self, name: &str, restarts: bool) -> Result<()> {
        let folder = self.dir.join("restarts");
        std::fs::create_dir_all(&folder).context("noting a restart")?;
        let file = folder.join(name);
        if restarts { std::fs::write(file, "") } else { std::fs::remove_file(file) }
            .context("noting a restart")
    }

    /// The domains that are.
    pub(crate) fn restarting(&self) -> Result<Vec<String>> {
        let Ok(entries) = std::fs::read_dir(self.dir.join("restarts")) else { return Ok(vec![]) };
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    /// The contents of a knob, trimmed at the end; `None` when it is not set.
    pub(crate) fn knob(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.dir.join("ctl").join(name)).ok().map(|text| text.trim_end().to_owned())
    }

    pub(crate) fn remove_knob(&self, name: &str) -> Result<()> {
        std::fs::remove_file(self.dir.join("ctl").join(name)).with_context(|| format!("removing knob {name}"))
    }

    /// A knob that is a number, or its default.
    pub(crate) fn number(&self, name: &str, default: f64) -> f64 {
        self.knob(name).and_then(|text| text.parse().ok()).unwrap_or(default)
    }

    /// A knob that is a time in seconds.
    pub(crate) fn seconds(&self, name: &str, default: f64) -> Duration {
        Duration::try_from_secs_f64(self.number(name, default)).unwrap_or_default()
    }

    /// The log of a domain's monitor daemon.
    pub(crate) fn daemon_log(&self, name: &str) -> Result<File> {
        let folder = self.dir.join("../../log/xen");
        std::fs::create_dir_all(&folder).context("making the log folder")?;
        append(&folder.join(format!("xl-{name}.log")))
    }

    /// With the `autoballoon` knob, creations and receptions take turns.
    pub(crate) fn creation_turn(&self) -> Result<Option<File>> {
        if self.knob("autoballoon").is_none() {
            return Ok(None);
        }
        let file = append(&self.dir.join("creation-lock"))?;
        flock(&file, FlockOperation::LockExclusive).context("waiting for xl's lock")?;
        Ok(Some(file))
    }

    /// Says in `held.WHO` that somebody waits at a point, or no more.
    pub(crate) fn note_held(&self, who: &str, point: Option<&str>) -> Result<()> {
        let file = self.dir.join(format!("held.{who}"));
        match point {
            Some(point) => std::fs::write(&file, point),
            None => std::fs::remove_file(&file),
        }
        .with_context(|| format!("noting {}", file.display()))
    }

    /// Keeps a record of this call.
    pub(crate) fn note_call(&self, arguments: &[String]) -> Result<()> {
        let line = format!("{} {} {}\n", stamp(system::now_ns()), std::process::id(), arguments.join(" "));
        append(&self.dir.join("commands"))?.write_all(line.as_bytes()).context("noting the call")
    }

    /// Keeps when a stream's first and last byte were written, and when the target had it all: `SECONDS.NANOSECONDS NAME first|last|ready`.
    pub(crate) fn note_stream(&self, name: &str, which: &str) -> Result<()> {
        let line = format!("{} {name} {which}\n", stamp(system::now_ns()));
        append(&self.dir.join("streams"))?.write_all(line.as_bytes()).context("noting a stream")
    }

    /// Waits for the lock, reads the domains, and lets the guests whose time has come go down.
    pub(crate) fn lock(&self) -> Result<Locked<'_>> {
        let lock = append(&self.dir.join("lock"))?;
        flock(&lock, FlockOperation::LockExclusive).context("locking the host")?;
        let mut domains = BTreeMap::new();
        for entry in std::fs::read_dir(self.dir.join("domains")).context("listing the domains")? {
            let path = entry.context("listing the domains")?.path();
            if path.extension().is_some_and(|e| e == "json") {
                let text = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
                let domain: Domain =
                    serde_json::from_slice(&text).with_context(|| format!("reading {}", path.display()))?;
                domains.insert(domain.domid, domain);
            }
        }
        let mut locked = Locked { host: self, _lock: lock, domains };
        locked.let_guests_end()?;
        Ok(locked)
    }

    /// libxl_domain_destroy: the domain is paused, loses its name and is gone, and each of that can be seen. Says
    /// whether there was such a domain.
    pub(crate) fn destroy(&self, domid: u32) -> Result<bool> {
        let half = self.seconds("destroy.seconds", 0.04) / 2;
        if !self.lock()?.change(domid, |d| d.paused = true)? {
            return Ok(false);
        }
        system::pause(half);
        self.lock()?.change(domid, |d| d.nameless = true)?;
        system::pause(half);
        self.lock()?.remove(domid)
    }

    fn domain_file(&self, domid: u32) -> PathBuf {
        self.dir.join("domains").join(format!("{domid}.json"))
    }

    fn write(&self, file: &Path, text: &[u8]) -> Result<()> {
        let mut temporary = tempfile::NamedTempFile::new_in(&self.dir).context("writing a state file")?;
        temporary.write_all(text).context("writing a state file")?;
        temporary.persist(file).context("replacing a state file")?;
        Ok(())
    }

    fn event(&self, at_ns: u64, domain: &Domain, old: &str, new: &str, was: Option<&str>) -> Result<()> {
        let path = system::environment("XL_STANDIN_EVENTS").unwrap_or_else(|| self.dir.join("events"));
        let was = was.map(|was| format!(" was={was}")).unwrap_or_default();
        let line = format!(
            "{} {} {} {} {old} -> {new} {}{was}\n",
            stamp(at_ns),
            self.name,
            domain.name,
            domain.domid,
            domain.guest.boot_id
        );
        append(&path)?.write_all(line.as_bytes()).context("writing the events")
    }
}

impl Locked<'_> {
    pub(crate) fn domains(&self) -> impl Iterator<Item = &Domain> {
        self.domains.values()
    }

    pub(crate) fn get(&self, domid: u32) -> Option<&Domain> {
        self.domains.get(&domid)
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<&Domain> {
        self.domains.values().find(|d| d.name == name && !d.nameless)
    }

    pub(crate) fn total_mib(&self) -> u64 {
        self.host.knob("memory-mib").and_then(|text| text.parse().ok()).unwrap_or(HOST_MIB)
    }

    pub(crate) fn free_mib(&self) -> u64 {
        let used: u64 = self.domains.values().map(|d| d.memory_mib).sum();
        self.total_mib().saturating_sub(DOM0_MIB + used)
    }

    pub(crate) fn dom0_mib(&self) -> u64 {
        DOM0_MIB
    }

    /// Domids are never used twice.
    pub(crate) fn next_domid(&self) -> Result<u32> {
        let file = self.host.dir.join("last-domid");
        let last: u32 = std::fs::read_to_string(&file).ok().and_then(|t| t.trim().parse().ok()).unwrap_or(0);
        self.host.write(&file, format!("{}\n", last + 1).as_bytes())?;
        Ok(last + 1)
    }

    pub(crate) fn add(&mut self, domain: Domain) -> Result<()> {
        self.save(&domain)?;
        self.host.event(system::now_ns(), &domain, "absent", &domain.state(), None)?;
        self.domains.insert(domain.domid, domain);
        Ok(())
    }

    /// Changes a domain, if it exists, and logs what that did to its state. Says whether it existed.
    pub(crate) fn change(&mut self, domid: u32, how: impl FnOnce(&mut Domain)) -> Result<bool> {
        self.change_at(domid, None, how)
    }

    fn change_at(&mut self, domid: u32, at_ns: Option<u64>, how: impl FnOnce(&mut Domain)) -> Result<bool> {
        let Some(before) = self.domains.get(&domid).cloned() else { return Ok(false) };
        let mut after = before.clone();
        how(&mut after);
        let now = at_ns.unwrap_or_else(system::now_ns);
        after.account(now);
        let (old, new) = (before.state(), after.state());
        let was = (before.name != after.name).then_some(before.name.as_str());
        let event = |at| {
            if old == new && was.is_none() {
                return Ok(());
            }
            self.host.event(at, &after, &old, &new, was)
        };
        if after.is_running() {
            event(now)?; // stamped and written before it takes effect
            self.save(&after)?;
        } else {
            self.save(&after)?;
            event(at_ns.unwrap_or_else(system::now_ns))?;
        }
        self.domains.insert(domid, after);
        Ok(true)
    }

    /// libxl_domain_rename: refused when the name is taken.
    pub(crate) fn rename(&mut self, domid: u32, name: &str) -> Result<bool> {
        if self.by_name(name).is_some() {
            eprintln!(
                "libxl: error: libxl_domain.c:81:libxl__domain_rename: Domain {domid}:Domain with name \"{name}\" \
                 already exists."
            );
            return Ok(false);
        }
        self.change(domid, |d| d.name = name.to_owned())
    }

    /// The domain's end: gone from the list.
    fn remove(&mut self, domid: u32) -> Result<bool> {
        let Some(domain) = self.domains.remove(&domid) else { return Ok(false) };
        std::fs::remove_file(self.host.domain_file(domid)).context("removing a domain")?;
        self.host.event(system::now_ns(), &domain, &domain.state(), "absent", None)?;
        Ok(true)
    }

    fn let_guests_end(&mut self) -> Result<()> {
        let now = system::now_ns();
        let due: Vec<_> = self
            .domains
            .values()
            .filter(|d| d.is_running())
            .filter_map(|d| d.end_due.filter(|(at, _)| *at <= now).map(|(at, reason)| (d.domid, at, reason)))
            .collect();
        for (domid, at, reason) in due {
            self.change_at(domid, Some(at), |d| {
                d.shutdown = Some(reason);
                d.end_due = None;
            })?;
        }
        Ok(())
    }

    fn save(&self, domain: &Domain) -> Result<()> {
        let text = serde_json::to_vec_pretty(domain).context("writing a domain")?;
        self.host.write(&self.host.domain_file(domain.domid), &text)
    }
}

/// Seconds and nanoseconds, as the events have them.
fn stamp(ns: u64) -> String {
    format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000)
}

fn append(path: &Path) -> Result<File> {
    File::options()
        .append(true)
        .create(true)
        .open(path)
        .with_context(|| format!("opening {}", path.display()))
}
