//! Interface to `xl` (Xen 4.x; `xl(1)`, `xl.cfg(5)`).
//!
//! One function per subcommand that is used; what it prints is read in [`list`], [`config`] and [`info`].
//! Only `xl list` decides where a domain stands (but for a glance that it runs, [`super::glance`]), and only
//! a listing that is whole counts: xl prints `Domain-0` first in every listing, so one without it was cut
//! short or filtered, and proves nothing. `xl list NAME` is not used: its exit status is 1 for "no such
//! domain" and for "xenstored is down" alike.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::api::{
    GuestMemory, HostInfo, HostMemory, LIST_LIMIT, ShutdownRequest, Size, Toolstack, ToolstackError, no_file,
};
use super::bare::{NoHypervisor, without_hypervisor};
use super::glance;
use super::kind::Kind;
use super::verbs::Verbs;
use crate::command::{self, CommandError, Tool};
use crate::domain::{DomainConfig, DomainId, DomainName, PciAddress, Sighting};
use crate::foreign::{Foreign, of_x0};
use crate::handoff::evidence::{MayEnd, MayRun, NoCopyElsewhere, NobodyElse};
use crate::host::Root;

mod config;
mod creators;
pub(super) mod info;
mod list;

use creators::Listed;
use list::parse_line;
pub use list::processor_seconds;

/// xl's own settings (`xl.conf(5)`).
const SETTINGS: &str = "/etc/xen/xl.conf";
/// What xl says where it could not build a domain for want of something that any domain like it would want.
const COULD_NOT_BUILD: [&str; 7] = [
    "Out of memory",
    "Cannot allocate memory",
    "failed to free memory",
    "mem_init failed",
    "unable to add ",
    "failed to stat",
    "No such file or directory",
];
/// What libxl leaves to dom0 at the least, in MiB (`LIBXL_MIN_DOM0_MEM`,
/// `tools/libs/light/libxl_internal.h`).
const DOM0_FLOOR_MIB: u64 = 128;

/// `xl` of this node.
#[derive(Debug, Clone)]
pub struct Xl {
    verbs: Verbs,
    /// The domains of the last listing, until they were used. Processes are looked at after it: what a
    /// listing does not have yet then is in doubt, and never the other way round.
    last: Arc<Mutex<Option<Vec<Listed>>>>,
}

impl Xl {
    /// The `xl` below `root`. Whether there is one shows at the first call.
    pub fn new(root: &Root) -> Self {
        Self { verbs: Verbs::of(root, "xl"), last: Arc::default() }
    }

    /// From now on this is the listing that processes are looked at after; none, where the last one failed.
    fn keep(&self, listing: Option<Vec<Listed>>) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = listing;
    }

    /// The executable, for the sender and the receiver of a migration, which need its streams.
    ///
    /// # Errors
    /// [`CommandError::Missing`].
    pub fn tool(&self) -> Result<Tool, CommandError> {
        self.verbs.tool()
    }

    /// Every domain but Domain-0, by `xl list`; where that fails, by the hypervisor and xenstore themselves.
    fn list_guests(&self, limit: Duration) -> Result<Vec<Listed>, ToolstackError> {
        self.list_by_xl(limit).or_else(|error| self.list_without_xl().ok_or(error))
    }

    fn list_by_xl(&self, limit: Duration) -> Result<Vec<Listed>, ToolstackError> {
        let output = self.verbs.run(&["list".as_ref()], limit)?;
        let lines = list::lines(&output.stdout);
        lines
            .map(|lines| list::guests(&lines))
            .map_err(|what| ToolstackError::Unreadable { command: output.command.clone(), what })
    }

    /// The same from a [`glance`] at all domains.
    fn list_without_xl(&self) -> Option<Vec<Listed>> {
        let guests = glance::guests(self.verbs.root())
            .inspect_err(|doubt| log::debug!("no listing without xl either: {doubt}"))
            .ok()?;
        Some(guests.into_iter().map(|(id, name)| Listed { id, name, is_new: false }).collect())
    }

    /// A process that may be about to create a domain that is not listed, in words; `name`, or any.
    fn doubt(&self, name: Option<&DomainName>, listed: &[Listed]) -> Option<String> {
        match creators::creators(&creators::proc(), &self.verbs.root().join("/")) {
            Ok(all) => creators::doubt(&all, name, listed),
            Err(error) => Some(format!("the processes of this host could not be listed: {error}")),
        }
    }

    /// The memory of the domain of this exact name, in MiB; `None` if that is not known. At a glance, where
    /// it runs.
    pub fn memory_mib(&self, name: &DomainName, limit: Duration) -> Option<u64> {
        if let Ok(mib) = glance::memory_mib(self.verbs.root(), name) {
            return Some(mib);
        }
        let table = self.verbs.run(&["list".as_ref()], limit).ok()?.stdout;
        table.lines().skip(1).filter_map(parse_line).find(|line| line.name == name.as_str())?.memory_mib
    }

    /// The table of `xl list`, for [`processor_seconds`].
    ///
    /// # Errors
    /// [`CommandError`], in xl's words.
    pub fn listing(&self, limit: Duration) -> Result<String, CommandError> {
        Ok(self.verbs.run(&["list".as_ref()], limit)?.stdout)
    }

    /// What `xl info` says of the host, as it says it.
    ///
    /// # Errors
    /// [`CommandError`], in xl's words.
    pub fn info(&self, limit: Duration) -> Result<String, CommandError> {
        Ok(self.verbs.run(&["info".as_ref()], limit)?.stdout)
    }
}

impl Toolstack for Xl {
    fn kind(&self) -> Kind {
        Kind::Xl
    }

    fn no_hypervisor(&self) -> Option<NoHypervisor> {
        without_hypervisor(self.verbs.root())
    }

    fn installed(&self) -> Result<(), ToolstackError> {
        Ok(self.tool().map(drop)?)
    }

    fn sight(&self, name: &DomainName, limit: Duration) -> Result<Sighting, ToolstackError> {
        // One process has one of these for all that it does: what an earlier look has left is no part of this
        // one.
        self.keep(None);
        let output = self.verbs.run(&["list".as_ref()], limit)?;
        let unreadable = |what| ToolstackError::Unreadable { command: output.command.clone(), what };
        let lines = list::lines(&output.stdout).map_err(unreadable)?;
        self.keep(Some(list::guests(&lines)));
        list::sight(&lines, name).map_err(unreadable)
    }

    fn none_without_tool(&self, name: &DomainName) -> Option<String> {
        let guests = self.list_without_xl().filter(|guests| is_none_of(name, guests))?;
        let evidence =
            format!("by the hypervisor and xenstore it is none of the {} domains here", guests.len());
        self.keep(Some(guests));
        Some(evidence)
    }

    fn guests(&self, limit: Duration) -> Result<Vec<String>, ToolstackError> {
        let listed = self.list_guests(limit)?;
        match self.doubt(None, &listed) {
            None => Ok(listed.into_iter().map(|guest| guest.name).collect()),
            Some(what) => Err(ToolstackError::Other { toolstack: Kind::Xl, what }),
        }
    }

    fn glance(&self, name: &DomainName) -> Option<DomainId> {
        glance::running(self.verbs.root(), name)
            .inspect_err(|doubt| log::debug!("domain={name} no glance: {doubt}"))
            .ok()
    }

    fn is_attended(&self, name: &DomainName) -> bool {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).take();
        let doubt = match last.map_or_else(|| self.list_guests(LIST_LIMIT), Ok) {
            Ok(listed) => self.doubt(Some(name), &listed),
            // Without a hypervisor nothing can be created; the listing says so too.
            Err(error) => Some(error.to_string()).filter(|_| self.no_hypervisor().is_none()),
        };
        if let Some(doubt) = &doubt {
            log::info!("domain={name} is not in the listing, and {doubt}");
        }
        doubt.is_some()
    }

    fn renamed(&self, name: &DomainName, last: Option<DomainId>, limit: Duration) -> Option<String> {
        let all = creators::creators(&creators::proc(), &self.verbs.root().join("/")).ok()?;
        let listed = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        creators::renamed(&all, name, last, &listed.map_or_else(|| self.list_by_xl(limit), Ok).ok()?)
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
        config::parse_dry_run(&output.stdout).map_err(refused)
    }

    fn running_config(&self, name: &DomainName, limit: Duration) -> Result<DomainConfig, ToolstackError> {
        let output = self.verbs.run(&["list".as_ref(), "--long".as_ref(), name.as_str().as_ref()], limit)?;
        config::parse_long_list(&output.stdout)
            .map_err(|what| ToolstackError::Unreadable { command: output.command, what })
    }

    fn host_info(&self, limit: Duration) -> Result<HostInfo, ToolstackError> {
        let output = self.verbs.run(&["info".as_ref()], limit)?;
        info::parse_info(&output.stdout)
            .map_err(|what| ToolstackError::Unreadable { command: output.command, what })
    }

    fn size(&self, name: &DomainName, limit: Duration) -> Result<Size, ToolstackError> {
        let output = self.verbs.run(&["list".as_ref()], limit)?;
        let line =
            output.stdout.lines().skip(1).filter_map(parse_line).find(|line| line.name == name.as_str());
        let size =
            line.and_then(|line| Some(Size { processors: line.processors?, memory_mib: line.memory_mib? }));
        let what = || format!("no size of {name} in it");
        size.ok_or_else(|| ToolstackError::Unreadable { command: output.command.clone(), what: what() })
    }

    fn dom0_can_spare_mib(&self, info: &HostInfo, limit: Duration) -> Result<u64, ToolstackError> {
        let settings = std::fs::read_to_string(self.verbs.root().join(SETTINGS)).unwrap_or_default();
        if !info::autoballoons(&settings, info.dom0_is_fixed) {
            return Ok(0);
        }
        let output = self.verbs.run(&["list".as_ref()], limit)?;
        let mut lines = output.stdout.lines().skip(1).filter_map(parse_line);
        let dom0 = lines.find(|line| line.copy.id == DomainId(0)).and_then(|line| line.memory_mib);
        let what = || "no memory of Domain-0 in it".to_owned();
        let mib =
            dom0.ok_or_else(|| ToolstackError::Unreadable { command: output.command.clone(), what: what() })?;
        Ok(mib.saturating_sub(DOM0_FLOOR_MIB))
    }

    fn memory(&self, limit: Duration) -> Result<HostMemory, ToolstackError> {
        let info = self.host_info(limit)?;
        let settings = std::fs::read_to_string(self.verbs.root().join(SETTINGS)).unwrap_or_default();
        let table = self.verbs.run(&["list".as_ref()], limit)?;
        let details = self.verbs.run(&["list".as_ref(), "--long".as_ref()], limit)?;
        let unreadable = |what: String| ToolstackError::Unreadable { command: table.command.clone(), what };
        let targets = config::parse_targets(&details.stdout).map_err(unreadable)?;
        let mut dom0_mib = None;
        let mut guests = Vec::new();
        for line in table.stdout.lines().skip(1).filter_map(parse_line) {
            let Some(mib) = line.memory_mib else { continue };
            if line.copy.id == DomainId(0) {
                dom0_mib = Some(mib);
                continue;
            }
            // Gone meanwhile, or half made: what it has is all that is known.
            let target_mib = targets.get(line.name).copied().unwrap_or(mib);
            guests.push(GuestMemory { name: line.name.to_owned(), state: line.copy.state, mib, target_mib });
        }
        Ok(HostMemory {
            free_mib: info.free_mib,
            dom0_mib: dom0_mib.ok_or_else(|| unreadable("no memory of Domain-0 in it".to_owned()))?,
            dom0_gives: info::autoballoons(&settings, info.dom0_is_fixed),
            guests,
        })
    }

    fn set_memory(&self, name: &DomainName, mib: u64, limit: Duration) -> Result<(), ToolstackError> {
        // With a unit: the manual and the code of xl do not agree on what it is without.
        let mib = format!("{mib}m");
        self.verbs.run(&["mem-set".as_ref(), name.as_str().as_ref(), mib.as_ref()], limit)?;
        Ok(())
    }

    fn create(
        &self,
        path: Option<&Path>,
        name: &DomainName,
        _nobody: &NobodyElse,
        limit: Duration,
    ) -> Result<(), ToolstackError> {
        let path = path.ok_or_else(|| no_file(name))?;
        // Quoted as xl.cfg(5) wants it; the name's character set has no quote in it.
        let assigned = format!("name=\"{name}\"");
        let args: [&OsStr; 4] = ["create".as_ref(), "--quiet".as_ref(), path.as_ref(), assigned.as_ref()];
        self.verbs.make(name, &args, limit)?;
        Ok(())
    }

    fn devices(&self, name: &DomainName, limit: Duration) -> Result<Vec<PciAddress>, ToolstackError> {
        let output = self.verbs.run(&["pci-list".as_ref(), name.as_str().as_ref()], limit)?;
        list::parse_devices(&output.stdout)
            .map_err(|what| ToolstackError::Unreadable { command: output.command, what })
    }

    fn attach(&self, name: &DomainName, device: &PciAddress, limit: Duration) -> Result<(), ToolstackError> {
        self.verbs.run(&["pci-attach".as_ref(), name.as_str().as_ref(), device.as_str().as_ref()], limit)?;
        Ok(())
    }

    fn detach(&self, name: &DomainName, device: &PciAddress, limit: Duration) -> Result<(), ToolstackError> {
        self.verbs.run(&["pci-detach".as_ref(), name.as_str().as_ref(), device.as_str().as_ref()], limit)?;
        Ok(())
    }

    fn save(&self, name: &DomainName, to: &Path, limit: Duration) -> Result<(), ToolstackError> {
        Ok(self.verbs.save(name, to, limit)?)
    }

    fn restore(
        &self,
        from: &Path,
        name: &DomainName,
        _nobody: &NobodyElse,
        limit: Duration,
    ) -> Result<(), ToolstackError> {
        Ok(self.verbs.restore(from, name, limit)?)
    }

    fn request_shutdown(
        &self,
        name: &DomainName,
        how: ShutdownRequest,
        limit: Duration,
    ) -> Result<(), ToolstackError> {
        Ok(self.verbs.request_shutdown(name, how, limit)?)
    }

    fn destroy(&self, exact_name: &str, _why: &MayEnd<'_>, limit: Duration) -> Result<(), ToolstackError> {
        Ok(self.verbs.destroy(exact_name, limit)?)
    }

    fn rename(&self, from: &str, to: &str, limit: Duration) -> Result<(), ToolstackError> {
        self.verbs.run(&["rename".as_ref(), from.as_ref(), to.as_ref()], limit)?;
        Ok(())
    }

    fn has_run(&self, id: DomainId, limit: Duration) -> Result<bool, ToolstackError> {
        let output = self.verbs.run(&["list".as_ref()], limit)?;
        list::has_run(&output.stdout, id)
            .map_err(|what| ToolstackError::Unreadable { command: output.command, what })
    }

    fn unpause(&self, name: &DomainName, _why: &MayRun<'_>, limit: Duration) -> Result<(), ToolstackError> {
        Ok(self.verbs.unpause(name, limit)?)
    }

    /// `xl resume` is there from Xen 4.20 on. Before, and where it complains, the same call of libxenlight is
    /// made without xl, in a process of its own: see [`super::libxl`].
    fn resume(&self, id: DomainId, _alone: &NoCopyElsewhere, limit: Duration) -> Result<(), ToolstackError> {
        let id = id.to_string();
        let Err(by_xl) = resumed(self.verbs.run(&["resume".as_ref(), id.as_ref()], limit)) else {
            return Ok(());
        };
        log::info!("domid={id} xl cannot resume it ({by_xl}); asking libxenlight");
        command::run(&Tool::ourselves(self.verbs.root())?, &["thaw", "--domid", &id], None, limit)?
            .success()?;
        Ok(())
    }
}

/// What `xl resume` has said; its complaint is the error. It ends with 0 whatever came of it (run on 4.20),
/// and what libxl has to complain about is on stderr.
fn resumed(output: Result<command::Output, CommandError>) -> Result<(), String> {
    let output = output.map_err(|error| error.to_string())?;
    let complaint = one_line(&output.stderr);
    if complaint.is_empty() { Ok(()) } else { Err(complaint) }
}

/// Whether no copy of `name` is among them, under any of its three names.
fn is_none_of(name: &DomainName, guests: &[Listed]) -> bool {
    let (incoming, away) = (name.incoming(), name.migrated_away());
    guests.iter().all(|guest| ![name.as_str(), &incoming, &away].contains(&guest.name.as_str()))
}

fn one_line(text: &str) -> String {
    text.trim().lines().map(str::trim).collect::<Vec<_>>().join("; ")
}

/// Whether xl's words say that it could not build a domain for want of memory, a disk or a bridge. No
/// evidence: it only ever keeps a guest from being ended.
pub fn could_not_build(words: &str) -> bool {
    COULD_NOT_BUILD.iter().any(|said| words.contains(said))
}

/// What is read here of others, for `make fuzz`.
pub const FOREIGN: &[Foreign] = &[
    Foreign {
        name: "xl list",
        read: |text| {
            of_x0(|x0, _| {
                if let Ok(lines) = list::lines(text) {
                    let listed = list::guests(&lines);
                    let _ = (list::sight(&lines, x0), creators::doubt(&[], Some(x0), &listed));
                }
                let _ = (list::has_run(text, DomainId(1)), list::processor_seconds(text));
            });
        },
    },
    Foreign {
        name: "xl list --long",
        read: |text| drop((config::parse_long_list(text), config::parse_targets(text))),
    },
    Foreign { name: "xl create --dryrun", read: |text| drop(config::parse_dry_run(text)) },
    Foreign { name: "xl pci-list", read: |text| drop(list::parse_devices(text)) },
    Foreign { name: "xl info", read: |text| drop(info::parse_info(text)) },
    Foreign { name: "xl.conf", read: |text| _ = info::autoballoons(text, false) },
    Foreign { name: "xl's words", read: |text| drop((one_line(text), could_not_build(text))) },
    Foreign { name: "the log and the file of an xl", read: creators::read_all },
];

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;
    use crate::here::fake::plant;

    #[test]
    fn p1_a_listing_that_failed_leaves_none_of_an_earlier_look_to_be_completed() {
        let folder = tempfile::tempdir().unwrap();
        let fails = folder.path().join("fails");
        let listing = "Name ID Mem VCPUs State Time(s)\nDomain-0 0 512 1 r----- 9.1\nx0 7 16 1 -b---- 0.1";
        let script = format!("[ -e {} ] && exit 1\necho '{listing}'", fails.display());
        plant(folder.path(), "xl", &script);
        let (xl, x0) = (Xl::new(&Root::new(folder.path())), DomainName::new("x0").unwrap());
        let kept = || xl.last.lock().unwrap().as_ref().map(Vec::len);
        assert!(xl.sight(&x0, LIST_LIMIT).is_ok() && kept() == Some(1), "{:?}", kept());
        std::fs::write(fails, "").unwrap();
        assert!(xl.sight(&x0, LIST_LIMIT).is_err());
        assert_eq!(kept(), None);
    }

    #[test]
    fn p1_a_copy_under_any_of_its_names_is_a_copy() {
        let name = DomainName::new("x0").unwrap();
        let is_none = |other: &str| {
            let listed =
                |(id, name): (u32, &str)| Listed { id: DomainId(id), name: name.to_owned(), is_new: false };
            is_none_of(&name, &[(3, "x1"), (7, other)].map(listed))
        };
        assert!(is_none("x01") && is_none("x1--incoming") && is_none_of(&name, &[]));
        for ours in ["x0", "x0--incoming", "x0--migratedaway"] {
            assert!(!is_none(ours), "{ours}");
        }
    }

    #[test]
    fn a_resume_that_libxl_refused_is_no_success_though_xl_ends_with_0() {
        let said = |stderr: &str| command::Output {
            command: "xl resume 1".to_owned(),
            status: std::process::ExitStatus::from_raw(0),
            stdout: String::new(),
            stderr: stderr.to_owned(),
        };
        let refused = include_str!("../../../tests/captured/xl-4.20/resume--not-suspended.stderr");
        assert!(resumed(Ok(said(refused))).unwrap_err().contains("not suspended"));
        assert_eq!(resumed(Ok(said(""))), Ok(()));
        let none = CommandError::Missing { name: "xl".to_owned() };
        assert!(resumed(Err(none)).is_err());
    }
}
