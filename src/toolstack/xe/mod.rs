//! Interface to `xe` and XAPI (XCP-ng, XenServer).
//!
//! XAPI keeps one book for all hosts of a pool, and `xe` on any of them acts on all of them. So every deed
//! here names the host that it is meant for (`resident-on=`, `on=`): a VM that has moved meanwhile is not
//! met. A host finds itself in the book by the `INSTALLATION_UUID` of its inventory. Domains are VMs of the
//! book, found by their name-label, which must be the only one of its kind in the pool; there are no
//! configuration files.
//!
//! What the book says of *this* host is this host's answer. What it says of others can only forbid a boot
//! ([`Toolstack::runs_elsewhere`]): a host that is cut off goes on running what it has, whatever is written.

use std::path::Path;
use std::time::Duration;

use super::bare::{NoHypervisor, without_hypervisor};

use super::api::{
    HostInfo, HostMemory, ShutdownRequest, Size, Toolstack, ToolstackError, Towards, XenVersion, cannot,
};
use super::kind::Kind;
use crate::command::{self, CommandError, Tool};
use crate::domain::{DomainConfig, DomainName, GuestType, Sighting};
use crate::foreign::{Foreign, of_x0};
use crate::handoff::evidence::{MayEnd, MayRun, NobodyElse};
use crate::host::Root;
use crate::settings;

/// XAPI's own description of its host.
pub(super) const INVENTORY: &str = "/etc/xensource-inventory";

mod records;

use records::{Record, Vm};

const MIB: u64 = 1024 * 1024;

/// `xe` of this node.
#[derive(Debug, Clone)]
pub struct Xe {
    root: Root,
}

fn other(what: String) -> ToolstackError {
    ToolstackError::Other { toolstack: Kind::Xe, what }
}

impl Xe {
    /// The `xe` below `root`. Whether there is one shows at the first call.
    pub fn new(root: &Root) -> Self {
        Self { root: root.clone() }
    }

    /// This host in the pool's book.
    fn here(&self) -> Result<String, ToolstackError> {
        let text = std::fs::read_to_string(self.root.join(INVENTORY));
        let text = text.map_err(|error| other(format!("{INVENTORY}: {error}")))?;
        let here = settings::value(&text, "INSTALLATION_UUID");
        here.ok_or_else(|| other(format!("{INVENTORY} does not say which host this is (INSTALLATION_UUID)")))
    }

    fn run(&self, args: &[&str], limit: Duration) -> Result<command::Output, CommandError> {
        command::run(&Tool::find(&self.root, "xe")?, args, None, limit)?.success()
    }

    /// What xe prints, read by `read`.
    fn read<T>(
        &self,
        args: &[&str],
        limit: Duration,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, ToolstackError> {
        let output = self.run(args, limit)?;
        read(&output.stdout).map_err(|what| ToolstackError::Unreadable { command: output.command, what })
    }

    /// The one record that xe prints.
    fn record(&self, args: &[&str], limit: Duration) -> Result<Record, ToolstackError> {
        self.read(args, limit, |text| {
            let all = records::parse(text)?;
            let several = format!("{} records", all.len());
            <[Record; 1]>::try_from(all).map(|[one]| one).map_err(|_| several)
        })
    }

    fn find(&self, here: &str, name: &DomainName, limit: Duration) -> Result<Option<Vm>, ToolstackError> {
        self.read(&["vm-list", records::VM_FIELDS], limit, |text| records::find(text, here, name))
    }

    fn vm(&self, here: &str, name: &DomainName, limit: Duration) -> Result<Vm, ToolstackError> {
        let none = || other(format!("no VM of the pool is called {name}"));
        self.find(here, name, limit)?.ok_or_else(none)
    }

    /// Does something to the VM, if it is on this host still when XAPI comes to it.
    fn on_this_host(
        &self,
        verb: &str,
        name: &DomainName,
        more: &[&str],
        limit: Duration,
    ) -> Result<(), ToolstackError> {
        let [uuid, resident] = self.selected(verb, name, limit)?;
        let args: Vec<&str> = [verb, &uuid, &resident].into_iter().chain(more.iter().copied()).collect();
        self.run(&args, limit)?;
        Ok(())
    }

    /// What selects the VM, and only here.
    fn selected(
        &self,
        verb: &str,
        name: &DomainName,
        limit: Duration,
    ) -> Result<[String; 2], ToolstackError> {
        let here = self.here()?;
        let vm = self.vm(&here, name, limit)?;
        if vm.resident_on.as_deref() != Some(here.as_str()) {
            return Err(other(format!("{name} is {} and not on this host: {verb} was not done", vm.power)));
        }
        Ok([format!("uuid={}", vm.uuid), format!("resident-on={here}")])
    }

    /// The host of the pool that is this node of the cluster.
    fn host_of(&self, to: Towards<'_>, limit: Duration) -> Result<String, ToolstackError> {
        let node = to.node.as_str();
        let hosts = self.read(&["host-list", "params=uuid,name-label,hostname"], limit, records::parse)?;
        let is_it = |host: &&Record| [host.get("hostname"), host.get("name-label")].contains(&Ok(node));
        let mut found = hosts.iter().filter(is_it);
        match (found.next(), found.next()) {
            (Some(host), None) => Ok(host.get("uuid").map_err(other)?.to_owned()),
            (Some(_), Some(_)) => Err(other(format!("several hosts of the pool are called {node}"))),
            (None, _) => Err(other(format!("no host of the pool is called {node}"))),
        }
    }

    fn cannot<T>(operation: &'static str) -> Result<T, ToolstackError> {
        Err(cannot(Kind::Xe, operation))
    }
}

impl Toolstack for Xe {
    fn kind(&self) -> Kind {
        Kind::Xe
    }

    fn no_hypervisor(&self) -> Option<NoHypervisor> {
        without_hypervisor(&self.root)
    }

    fn installed(&self) -> Result<(), ToolstackError> {
        Tool::find(&self.root, "xe")?;
        self.here().map(drop)
    }

    fn sight(&self, name: &DomainName, limit: Duration) -> Result<Sighting, ToolstackError> {
        let here = self.here()?;
        match self.find(&here, name, limit)? {
            Some(vm) => vm.sight(&here).map_err(other),
            None => Ok(Sighting::default()),
        }
    }

    fn guests(&self, limit: Duration) -> Result<Vec<String>, ToolstackError> {
        let here = self.here()?;
        self.read(&["vm-list", records::VM_FIELDS], limit, |text| records::guests(text, &here))
    }

    /// A VM that reboots stays in the book.
    fn is_attended(&self, _name: &DomainName) -> bool {
        false
    }

    fn read_config(&self, _path: &Path, _limit: Duration) -> Result<DomainConfig, ToolstackError> {
        Self::cannot("read configuration files: its VMs are in the pool's database")
    }

    fn running_config(&self, name: &DomainName, limit: Duration) -> Result<DomainConfig, ToolstackError> {
        let uuid = format!("uuid={}", self.vm(&self.here()?, name, limit)?.uuid);
        let record = self.record(&["vm-list", &uuid, "params=memory-static-max,VCPUs-max"], limit)?;
        let bytes = record.number("memory-static-max").map_err(other)?;
        let processors = record.number("VCPUs-max").map_err(other)?;
        Ok(DomainConfig {
            name: name.clone(),
            guest: GuestType::Unknown,
            memory_mib: bytes.div_ceil(MIB),
            processors: u32::try_from(processors).unwrap_or(u32::MAX),
            // What it needs of a host is between the pool and its storage.
            disks: Vec::new(),
            disks_by_script: Vec::new(),
            bridges: Vec::new(),
            passthrough: Vec::new(),
            may_not_migrate: false,
            has_vnuma: false,
        })
    }

    fn host_info(&self, limit: Duration) -> Result<HostInfo, ToolstackError> {
        let uuid = format!("uuid={}", self.here()?);
        let fields = "params=memory-total,memory-free,software-version,capabilities";
        let record = self.record(&["host-list", &uuid, fields], limit)?;
        let read = || -> Result<HostInfo, String> {
            let xen = record.in_map("software-version", "xen")?;
            let mut parts = xen.split(['.', '-']).map(|part| part.parse::<u32>().ok());
            let (Some(Some(major)), Some(Some(minor))) = (parts.next(), parts.next()) else {
                return Err(format!("xen is {xen:?}"));
            };
            Ok(HostInfo {
                xen: XenVersion { major, minor },
                total_mib: record.number("memory-total")? / MIB,
                free_mib: record.number("memory-free")? / MIB,
                capabilities: record.get("capabilities")?.split("; ").map(str::to_owned).collect(),
                dom0_is_fixed: true,
            })
        };
        read().map_err(other)
    }

    fn size(&self, name: &DomainName, limit: Duration) -> Result<Size, ToolstackError> {
        let uuid = format!("uuid={}", self.vm(&self.here()?, name, limit)?.uuid);
        let record = self.record(&["vm-list", &uuid, "params=memory-actual,VCPUs-number"], limit)?;
        let (bytes, processors) = (record.number("memory-actual"), record.number("VCPUs-number"));
        Ok(Size { processors: processors.map_err(other)?, memory_mib: bytes.map_err(other)?.div_ceil(MIB) })
    }

    /// A control domain of XAPI's has a fixed size.
    fn dom0_can_spare_mib(&self, _info: &HostInfo, _limit: Duration) -> Result<u64, ToolstackError> {
        Ok(0)
    }

    fn memory(&self, _limit: Duration) -> Result<HostMemory, ToolstackError> {
        Self::cannot("share out memory: the pool does")
    }

    fn set_memory(&self, _name: &DomainName, _mib: u64, _limit: Duration) -> Result<(), ToolstackError> {
        Self::cannot("share out memory: the pool does")
    }

    fn create(
        &self,
        _path: Option<&Path>,
        name: &DomainName,
        _nobody: &NobodyElse,
        limit: Duration,
    ) -> Result<(), ToolstackError> {
        let here = self.here()?;
        let vm = self.vm(&here, name, limit)?;
        let verb = match vm.power.as_str() {
            "halted" => "vm-start",
            // Its memory is in the pool's storage, and the pool sees to it that it is used once.
            "suspended" => "vm-resume",
            power => return Err(other(format!("{name} is {power} in the pool's book"))),
        };
        self.run(&[verb, &format!("uuid={}", vm.uuid), &format!("on={here}")], limit)?;
        Ok(())
    }

    fn runs_elsewhere(&self, name: &DomainName, limit: Duration) -> Result<Option<String>, ToolstackError> {
        let here = self.here()?;
        let Some(vm) = self.find(&here, name, limit)? else { return Ok(None) };
        Ok(vm.elsewhere(&here).map_err(other)?.map(str::to_owned))
    }

    fn migrate(&self, name: &DomainName, to: Towards<'_>, limit: Duration) -> Result<(), ToolstackError> {
        let host = format!("host-uuid={}", self.host_of(to, limit)?);
        self.on_this_host("vm-migrate", name, &[&host, "live=true"], limit)
    }

    fn is_moving(&self, name: &DomainName, limit: Duration) -> Result<bool, ToolstackError> {
        let vm = self.find(&self.here()?, name, limit)?;
        Ok(vm.is_some_and(|vm| vm.is_moving()))
    }

    fn save(&self, _name: &DomainName, _to: &Path, _limit: Duration) -> Result<(), ToolstackError> {
        Self::cannot("save a domain to a file: vm-suspend is another thing")
    }

    fn restore(
        &self,
        _from: &Path,
        _name: &DomainName,
        _nobody: &NobodyElse,
        _limit: Duration,
    ) -> Result<(), ToolstackError> {
        Self::cannot("restore a domain from a file")
    }

    /// xe waits for the guest's end; XAPI goes on when xe is gone.
    fn request_shutdown(
        &self,
        name: &DomainName,
        how: ShutdownRequest,
        limit: Duration,
    ) -> Result<(), ToolstackError> {
        if how == ShutdownRequest::PowerButton {
            return Self::cannot("press a guest's power button");
        }
        let [uuid, resident] = self.selected("vm-shutdown", name, limit)?;
        match self.run(&["vm-shutdown", &uuid, &resident], limit) {
            Ok(_) | Err(CommandError::TimedOut { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn destroy(&self, exact_name: &str, _why: &MayEnd<'_>, limit: Duration) -> Result<(), ToolstackError> {
        let name = DomainName::new(exact_name).map_err(|error| other(error.to_string()))?;
        self.on_this_host("vm-shutdown", &name, &["force=true"], limit)
    }

    fn rename(&self, _from: &str, _to: &str, _limit: Duration) -> Result<(), ToolstackError> {
        Self::cannot("rename a domain that moves")
    }

    fn unpause(&self, name: &DomainName, _why: &MayRun<'_>, limit: Duration) -> Result<(), ToolstackError> {
        self.on_this_host("vm-unpause", name, &[], limit)
    }
}

/// What is read here of others, for `make fuzz`.
pub const FOREIGN: &[Foreign] = &[
    Foreign {
        name: "xe vm-list",
        read: |text| {
            of_x0(|x0, _| {
                let here = "host-0";
                for vm in [records::find(text, here, x0), records::find(text, here, None)]
                    .into_iter()
                    .flatten()
                    .flatten()
                {
                    let _ = (vm.is_moving(), vm.sight(here), vm.elsewhere(here));
                }
                let _ = records::guests(text, here);
            });
        },
    },
    Foreign {
        name: "xe host-list",
        read: |text| {
            for record in records::parse(text).into_iter().flatten() {
                let _ = (
                    record.in_map("software-version", "xen"),
                    record.number("memory-total"),
                    record.get("uuid"),
                );
            }
        },
    },
];
