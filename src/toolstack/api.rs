//! What the agent asks a toolstack, whichever it is.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::bare;
use super::kind::Kind;
use crate::command::CommandError;
use crate::domain::{DomainConfig, DomainId, DomainName, PciAddress, Presence, RunState, Sighting};
use crate::handoff::evidence::{MayEnd, MayRun, NoCopyElsewhere, NobodyElse};
use crate::host::{NodeName, Root};

/// Limit of one listing or other quick word of the toolstack.
pub const LIST_LIMIT: Duration = Duration::from_secs(10);

/// Why the toolstack could not do or say something.
#[derive(Debug, thiserror::Error)]
pub enum ToolstackError {
    /// The tool is missing, hung, or failed; its own words are inside.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// It answered in a form that we do not know.
    #[error("{command} answered in an unknown form: {what}")]
    Unreadable {
        /// The command line.
        command: String,
        /// What was wrong with the answer.
        what: String,
    },
    /// The domain configuration cannot be used.
    #[error("domain configuration {path}: {what}")]
    Config {
        /// The file.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// This toolstack has no such thing, or none that can be relied on.
    #[error("{toolstack} cannot {operation}")]
    Cannot {
        /// Which one.
        toolstack: Kind,
        /// What was wanted.
        operation: &'static str,
    },
    /// What it was told to act on is not what it was taken for.
    #[error("{toolstack}: {what}")]
    Other {
        /// Which one.
        toolstack: Kind,
        /// What was found instead.
        what: String,
    },
}

impl ToolstackError {
    /// True if the toolstack itself is not installed on this node.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Command(CommandError::Missing { .. }))
    }
}

/// How a guest is asked to shut down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutdownRequest {
    /// Through its Xen drivers (`xl shutdown`).
    Drivers,
    /// By its ACPI power button (`xl trigger NAME power`), for fully virtualised guests without Xen drivers.
    PowerButton,
}

/// A version of the hypervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct XenVersion {
    /// 4 of 4.17.
    pub major: u32,
    /// 17 of 4.17.
    pub minor: u32,
}

impl XenVersion {
    /// That of the hypervisor that runs here, by what its kernel says; none where there is none, or it does
    /// not say.
    pub(crate) fn running(root: &Root) -> Option<Self> {
        let part = |name: &str| {
            std::fs::read_to_string(root.join("/sys/hypervisor/version").join(name)).ok()?.trim().parse().ok()
        };
        Some(Self { major: part("major")?, minor: part("minor")? })
    }
}

impl fmt::Display for XenVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What the toolstack says of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostInfo {
    /// The hypervisor.
    pub xen: XenVersion,
    /// Memory of the host, in MiB.
    pub total_mib: u64,
    /// Memory that no domain has and that is not promised to one that is being created, in MiB.
    pub free_mib: u64,
    /// What kinds of guests can be run: `pv`, `hvm`, `hap`, ...
    pub capabilities: Vec<String>,
    /// Whether the hypervisor's command line says how much memory dom0 has.
    pub dom0_is_fixed: bool,
}

/// Who has how much of this host's memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostMemory {
    /// What no domain has and none that is being created was promised, in MiB.
    pub free_mib: u64,
    /// What dom0 has, in MiB.
    pub dom0_mib: u64,
    /// Whether the toolstack takes of dom0's memory for a new domain by itself.
    pub dom0_gives: bool,
    /// Every other domain.
    pub guests: Vec<GuestMemory>,
}

/// The memory of one domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestMemory {
    /// Its exact name, with the toolstack's suffix where it has one.
    pub name: String,
    /// What it does.
    pub state: RunState,
    /// What it has, in MiB.
    pub mib: u64,
    /// What it is to have, in MiB.
    pub target_mib: u64,
}

/// How large a domain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Its virtual processors.
    pub processors: u64,
    /// Its memory, in MiB.
    pub memory_mib: u64,
}

/// Where a domain is to go by the toolstack's own migration.
#[derive(Debug, Clone, Copy)]
pub struct Towards<'a> {
    /// The node's name in the cluster.
    pub node: &'a NodeName,
    /// The address by which it is reached for migrations.
    pub address: &'a NodeName,
}

/// A toolstack on this node. Every call is bounded by a time limit and starts one process, unless it says
/// otherwise.
pub trait Toolstack: std::fmt::Debug {
    /// Which one this is.
    fn kind(&self) -> Kind;

    /// Whether all of it that we need is installed here. Starts no process.
    ///
    /// # Errors
    /// What is missing.
    fn installed(&self) -> Result<(), ToolstackError>;

    /// What a listing says of `name`.
    ///
    /// # Errors
    /// Whenever the listing is not whole: a domain that is missing from a broken listing is *not* absent.
    fn sight(&self, name: &DomainName, limit: Duration) -> Result<Sighting, ToolstackError>;

    /// The domain's id, if it simply runs here under its own name, and that can be told without starting a
    /// process. `None` says nothing at all.
    fn glance(&self, _name: &DomainName) -> Option<DomainId> {
        None
    }

    /// Where `name` stands, with every failure to find out as [`Presence::Unknown`]. At a glance where that
    /// says that it runs; everything else is read from a listing.
    fn presence(&self, name: &DomainName, limit: Duration) -> Presence {
        self.glance(name).map_or_else(|| self.listed(name, limit), Presence::Running)
    }

    /// The same from a listing, also where a glance would do: for what is to be done next with the toolstack
    /// itself, of which a glance says nothing.
    fn listed(&self, name: &DomainName, limit: Duration) -> Presence {
        match self.sight(name, limit) {
            Ok(sighting) => sighting.presence(),
            Err(error) => match self.no_hypervisor() {
                Some(none) => {
                    log::warn!("domain={name} {error}; but {none}");
                    Presence::Absent
                }
                None => Presence::Unknown(error.to_string()),
            },
        }
    }

    /// Evidence that no hypervisor runs on this host, where there is any. It is asked for when the toolstack
    /// has failed.
    fn no_hypervisor(&self) -> Option<bare::NoHypervisor> {
        None
    }

    /// Evidence that no copy of `name` is here, where the toolstack's own tool has failed and there is
    /// another way to know. Of one that is here nothing is said: the tool would be needed for whatever is to
    /// be done with it. Then that is the listing which [`Self::is_attended`] completes.
    fn none_without_tool(&self, _name: &DomainName) -> Option<String> {
        None
    }

    /// The names of all domains here but Domain-0, whosever they are.
    ///
    /// # Errors
    /// Whenever that is not all: the listing is not whole, or a process may be about to create a domain that
    /// is not in it.
    fn guests(&self, limit: Duration) -> Result<Vec<String>, ToolstackError>;

    /// True if the toolstack is about to re-create the domain after a reboot, or may be: while a process of
    /// xl's may be of `name` (xl: see `xl::creators`), or its mark of a restart is there (xm). An absent
    /// domain is then not known to be stopped. To be asked right after the listing that it completes.
    fn is_attended(&self, name: &DomainName) -> bool;

    /// What `name` is called by now, where somebody has renamed it by hand and that is certain. To be asked
    /// where a listing shows none of that name. `last`: the id under which it was last seen running here.
    fn renamed(&self, _name: &DomainName, _last: Option<DomainId>, _limit: Duration) -> Option<String> {
        None
    }

    /// Reads a configuration file as the toolstack reads it.
    ///
    /// # Errors
    /// [`ToolstackError::Config`] with the toolstack's words if it refuses the file.
    fn read_config(&self, path: &Path, limit: Duration) -> Result<DomainConfig, ToolstackError>;

    /// The configuration that a domain runs with now, devices that were attached since included. It is what
    /// travels with a migration.
    ///
    /// # Errors
    /// The toolstack's words, for example that there is no such domain.
    fn running_config(&self, name: &DomainName, limit: Duration) -> Result<DomainConfig, ToolstackError>;

    /// What the toolstack says of this host.
    ///
    /// # Errors
    /// The toolstack's words.
    fn host_info(&self, limit: Duration) -> Result<HostInfo, ToolstackError>;

    /// How large the domain is that runs here under this name.
    ///
    /// # Errors
    /// The toolstack's words; that there is none.
    fn size(&self, name: &DomainName, limit: Duration) -> Result<Size, ToolstackError>;

    /// How much of dom0's memory the toolstack would give to a new domain by itself, in MiB.
    ///
    /// # Errors
    /// The toolstack's words.
    fn dom0_can_spare_mib(&self, info: &HostInfo, limit: Duration) -> Result<u64, ToolstackError>;

    /// Who has how much of this host's memory.
    ///
    /// # Errors
    /// The toolstack's words.
    fn memory(&self, limit: Duration) -> Result<HostMemory, ToolstackError>;

    /// What a domain is to have from now on, in MiB. The guest gives what is more than that in its own time.
    ///
    /// # Errors
    /// The toolstack's words.
    fn set_memory(&self, name: &DomainName, mib: u64, limit: Duration) -> Result<(), ToolstackError>;

    /// Boots a domain from its configuration under `name`; where the toolstack has no files, from what it
    /// knows under that name.
    ///
    /// # Errors
    /// The toolstack's words. The domain may exist all the same after a time-out.
    fn create(
        &self,
        path: Option<&Path>,
        name: &DomainName,
        nobody: &NobodyElse,
        limit: Duration,
    ) -> Result<(), ToolstackError>;

    /// The node outside of this one that runs the domain by the toolstack's own book, if it keeps one for
    /// several nodes. It can only ever forbid a boot: `None` is no proof.
    ///
    /// # Errors
    /// The toolstack's words. Then the book could not be read.
    fn runs_elsewhere(&self, _name: &DomainName, _limit: Duration) -> Result<Option<String>, ToolstackError> {
        Ok(None)
    }

    /// Has the toolstack itself migrate the domain. That it succeeded does not mean that the domain runs
    /// there, and that it failed does not mean that it runs here: both ends have to be looked at.
    ///
    /// # Errors
    /// The toolstack's words. After a time-out its daemon may go on with it.
    fn migrate(&self, _name: &DomainName, _to: Towards<'_>, _limit: Duration) -> Result<(), ToolstackError> {
        Err(ToolstackError::Cannot { toolstack: self.kind(), operation: "migrate by itself" })
    }

    /// Whether the toolstack's own migration of the domain is under way, as far as this node can see.
    ///
    /// # Errors
    /// The toolstack's words. Then it is not known.
    fn is_moving(&self, _name: &DomainName, _limit: Duration) -> Result<bool, ToolstackError> {
        Ok(false)
    }

    /// The host's PCI devices that the domain has for itself now.
    ///
    /// # Errors
    /// The toolstack's words.
    fn devices(&self, _name: &DomainName, _limit: Duration) -> Result<Vec<PciAddress>, ToolstackError> {
        Err(no_devices(self.kind()))
    }

    /// Gives it one.
    ///
    /// # Errors
    /// The toolstack's words, for example that the device is not free.
    fn attach(
        &self,
        _name: &DomainName,
        _device: &PciAddress,
        _limit: Duration,
    ) -> Result<(), ToolstackError> {
        Err(no_devices(self.kind()))
    }

    /// Takes one from it; the guest has to agree.
    ///
    /// # Errors
    /// The toolstack's words.
    fn detach(
        &self,
        _name: &DomainName,
        _device: &PciAddress,
        _limit: Duration,
    ) -> Result<(), ToolstackError> {
        Err(no_devices(self.kind()))
    }

    /// Saves the domain's memory to a file and ends it. If it cannot, the domain goes on; after a time-out it
    /// may be left suspended.
    ///
    /// # Errors
    /// The toolstack's words.
    fn save(&self, name: &DomainName, to: &Path, limit: Duration) -> Result<(), ToolstackError>;

    /// Lets a domain go on from a file that [`Self::save`] has written, under the name that it had, which is
    /// `name`.
    ///
    /// # Errors
    /// The toolstack's words. The domain may exist all the same after a time-out.
    fn restore(
        &self,
        from: &Path,
        name: &DomainName,
        nobody: &NobodyElse,
        limit: Duration,
    ) -> Result<(), ToolstackError>;

    /// Asks the guest to shut down, and returns at once.
    ///
    /// # Errors
    /// The toolstack's words, for example that the guest has no Xen drivers.
    fn request_shutdown(
        &self,
        name: &DomainName,
        how: ShutdownRequest,
        limit: Duration,
    ) -> Result<(), ToolstackError>;

    /// Destroys the copy called `exact_name` (with xl's suffix, where it has one), as if its power were cut.
    ///
    /// # Errors
    /// The toolstack's words. An absent domain is an error here too; callers look first.
    fn destroy(&self, exact_name: &str, why: &MayEnd<'_>, limit: Duration) -> Result<(), ToolstackError>;

    /// Renames the copy called `from`. Fails if there is none, or if there is one called `to` already.
    ///
    /// # Errors
    /// The toolstack's words.
    fn rename(&self, from: &str, to: &str, limit: Duration) -> Result<(), ToolstackError>;

    /// Whether the domain with this id has had processor time here. One that is being made or is arriving has
    /// had none.
    ///
    /// # Errors
    /// The toolstack's words; that there is no such domain; that this toolstack does not say.
    fn has_run(&self, _id: DomainId, _limit: Duration) -> Result<bool, ToolstackError> {
        Err(cannot(self.kind(), "say whether a paused domain has ever run"))
    }

    /// Lets a paused domain run.
    ///
    /// # Errors
    /// The toolstack's words.
    fn unpause(&self, name: &DomainName, why: &MayRun<'_>, limit: Duration) -> Result<(), ToolstackError>;

    /// Lets a domain run on that is suspended in the last phase of a migration that will not be continued.
    ///
    /// # Errors
    /// The toolstack's words; that this toolstack cannot do it.
    fn resume(
        &self,
        _id: DomainId,
        _alone: &NoCopyElsewhere,
        _limit: Duration,
    ) -> Result<(), ToolstackError> {
        Err(cannot(self.kind(), "resume a domain that was suspended for a migration"))
    }
}

/// What a toolstack says that gives and takes no devices of the host.
pub(super) fn no_devices(toolstack: Kind) -> ToolstackError {
    cannot(toolstack, "detach and attach devices of the host")
}

/// What a toolstack says where it has no such thing.
pub(super) fn cannot(toolstack: Kind, operation: &'static str) -> ToolstackError {
    ToolstackError::Cannot { toolstack, operation }
}

/// A boot without a file, where there must be one.
pub(super) fn no_file(name: &DomainName) -> ToolstackError {
    ToolstackError::Config { path: format!("of {name}"), what: "there is none".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::*;

    #[test]
    fn a_glance_never_stands_for_a_listing_that_fails() {
        let xl_is_broken = Fake { glance: Some(DomainId(7)), ..Fake::showing([Err("cut short".to_owned())]) };
        let (name, limit) = (DomainName::new("x0").unwrap(), Duration::from_secs(1));
        assert_eq!(xl_is_broken.presence(&name, limit), Presence::Running(DomainId(7)));
        assert!(xl_is_broken.calls.borrow().is_empty(), "a glance would have done");
        assert!(matches!(xl_is_broken.listed(&name, limit), Presence::Unknown(_)));
    }
}
