//! Interface to `xm` and xend (Xen 3, and 4.0 to 4.4; `xm(1)`, `xmdomain.cfg(5)`).
//!
//! One function per subcommand that is used; what it prints is read in [`list`] and [`sxp`]. All of it is
//! xend's word: without xend xm fails, and nothing is known. A domain that xend re-creates after a reboot is
//! missing from the listing for a moment; xend's mark in xenstore tells that from a stop, and so
//! `xenstore-ls` is needed too.
//!
//! A migration is xend's own, from daemon to daemon (`xend-relocation-server` on the target). xend ends its
//! own copy when it has sent the last byte, and does not wait for the target to say that its copy runs: who
//! calls [`Toolstack::migrate`] has to look at both.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use super::api::{
    HostInfo, HostMemory, ShutdownRequest, Size, Toolstack, ToolstackError, Towards, cannot, no_file,
};
use super::bare::{NoHypervisor, without_hypervisor};
use super::kind::Kind;
use super::verbs::Verbs;
use super::xl::info::parse_info;
use crate::command::{self, CommandError, Tool};
use crate::domain::{DomainConfig, DomainId, DomainName, Sighting};
use crate::foreign::{Foreign, of_x0};
use crate::handoff::evidence::{MayEnd, MayRun, NobodyElse};
use crate::host::Root;

mod list;
mod sxp;

/// Limit of a look at xenstore, and of the listing after it.
const LOOK_LIMIT: Duration = Duration::from_secs(10);

/// `xm` of this node.
#[derive(Debug, Clone)]
pub struct Xm {
    verbs: Verbs,
}

impl Xm {
    /// The `xm` below `root`. Whether there is one shows at the first call.
    pub fn new(root: &Root) -> Self {
        Self { verbs: Verbs::of(root, "xm") }
    }

    /// One listing, read by `read`.
    fn listed<T>(
        &self,
        limit: Duration,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, ToolstackError> {
        let output = self.verbs.run(&["list".as_ref()], limit)?;
        read(&output.stdout).map_err(|what| ToolstackError::Unreadable { command: output.command, what })
    }

    /// Whether xend's mark of a restart is there.
    fn restarts(&self, name: &DomainName) -> Result<bool, ToolstackError> {
        let tool = Tool::find(self.verbs.root(), "xenstore-ls")?;
        let output = command::run(&tool, &["/vm"], None, LOOK_LIMIT)?.success()?;
        list::restarts(&output.stdout, name)
            .map_err(|what| ToolstackError::Unreadable { command: output.command, what })
    }

    fn cannot<T>(operation: &'static str) -> Result<T, ToolstackError> {
        Err(cannot(Kind::Xm, operation))
    }
}

impl Toolstack for Xm {
    fn kind(&self) -> Kind {
        Kind::Xm
    }

    fn no_hypervisor(&self) -> Option<NoHypervisor> {
        without_hypervisor(self.verbs.root())
    }

    fn installed(&self) -> Result<(), ToolstackError> {
        for name in ["xm", "xenstore-ls"] {
            Tool::find(self.verbs.root(), name)?;
        }
        Ok(())
    }

    fn sight(&self, name: &DomainName, limit: Duration) -> Result<Sighting, ToolstackError> {
        self.listed(limit, |table| list::sight(table, name))
    }

    fn guests(&self, limit: Duration) -> Result<Vec<String>, ToolstackError> {
        let tool = Tool::find(self.verbs.root(), "xenstore-ls")?;
        let tree = command::run(&tool, &["/vm"], None, LOOK_LIMIT)?.success()?;
        // As below: what restarts is in the one or in the other.
        let restarting = list::restarting(&tree.stdout)
            .map_err(|what| ToolstackError::Unreadable { command: tree.command, what })?;
        let here = self.listed(limit, list::guests)?;
        Ok(here.into_iter().chain(restarting).collect())
    }

    /// The mark first, then a listing: a restart that has ended in between shows in the second.
    fn is_attended(&self, name: &DomainName) -> bool {
        let attended = self
            .restarts(name)
            .and_then(|restarts| Ok(restarts || self.sight(name, LOOK_LIMIT)? != Sighting::default()));
        attended.unwrap_or_else(|error| {
            log::warn!("domain={name} could not find out whether xend restarts it: {error}");
            self.no_hypervisor().is_none()
        })
    }

    fn read_config(&self, path: &Path, limit: Duration) -> Result<DomainConfig, ToolstackError> {
        let refused = |what: String| ToolstackError::Config { path: path.display().to_string(), what };
        let args: [&OsStr; 4] = ["create".as_ref(), "--dryrun".as_ref(), "-f".as_ref(), path.as_ref()];
        match self.verbs.run(&args, limit) {
            Ok(output) => sxp::parse_config(&output.stdout).map_err(refused),
            Err(CommandError::Failed { stderr, .. }) if !stderr.contains("connect to xend") => {
                Err(refused(format!("xm refuses it: {}", stderr.trim().replace('\n', "; "))))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn running_config(&self, name: &DomainName, limit: Duration) -> Result<DomainConfig, ToolstackError> {
        let output = self.verbs.run(&["list".as_ref(), "--long".as_ref(), name.as_str().as_ref()], limit)?;
        sxp::parse_config(&output.stdout)
            .map_err(|what| ToolstackError::Unreadable { command: output.command, what })
    }

    fn host_info(&self, limit: Duration) -> Result<HostInfo, ToolstackError> {
        let output = self.verbs.run(&["info".as_ref()], limit)?;
        parse_info(&output.stdout)
            .map_err(|what| ToolstackError::Unreadable { command: output.command, what })
    }

    fn size(&self, name: &DomainName, limit: Duration) -> Result<Size, ToolstackError> {
        self.listed(limit, |table| {
            let ours = |line: &list::Line<'_>| line.copy.is_some() && line.name == name.as_str();
            let line = list::lines(table)?.into_iter().find(ours);
            let line = line.ok_or_else(|| format!("no size of {name} in it"))?;
            Ok(Size { processors: line.processors, memory_mib: line.memory_mib })
        })
    }

    fn dom0_can_spare_mib(&self, _info: &HostInfo, _limit: Duration) -> Result<u64, ToolstackError> {
        Self::cannot("say how much memory dom0 could spare")
    }

    fn memory(&self, _limit: Duration) -> Result<HostMemory, ToolstackError> {
        Self::cannot("share out memory")
    }

    fn set_memory(&self, _name: &DomainName, _mib: u64, _limit: Duration) -> Result<(), ToolstackError> {
        Self::cannot("share out memory")
    }

    fn create(
        &self,
        path: Option<&Path>,
        name: &DomainName,
        _nobody: &NobodyElse,
        limit: Duration,
    ) -> Result<(), ToolstackError> {
        let path = path.ok_or_else(|| no_file(name))?;
        // xm takes the value as it is, without quotes.
        let name = format!("name={name}");
        self.verbs.run(&["create".as_ref(), "-f".as_ref(), path.as_ref(), name.as_ref()], limit)?;
        Ok(())
    }

    fn migrate(&self, name: &DomainName, to: Towards<'_>, limit: Duration) -> Result<(), ToolstackError> {
        let (name, address) = (name.as_str().as_ref(), to.address.as_str().as_ref());
        self.verbs.run(&["migrate".as_ref(), "--live".as_ref(), name, address], limit)?;
        Ok(())
    }

    fn is_moving(&self, name: &DomainName, limit: Duration) -> Result<bool, ToolstackError> {
        self.listed(limit, |table| list::is_moving(table, name))
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

    fn rename(&self, _from: &str, _to: &str, _limit: Duration) -> Result<(), ToolstackError> {
        Self::cannot("rename a domain that runs")
    }

    fn has_run(&self, id: DomainId, limit: Duration) -> Result<bool, ToolstackError> {
        self.listed(limit, |table| {
            let ours = |line: &list::Line<'_>| line.copy.is_some_and(|copy| copy.id == id);
            let line = list::lines(table)?.into_iter().find(ours);
            let line = line.ok_or_else(|| format!("no domain {id} in it"))?;
            Ok(line.processor_seconds > 0.0)
        })
    }

    fn unpause(&self, name: &DomainName, _why: &MayRun<'_>, limit: Duration) -> Result<(), ToolstackError> {
        Ok(self.verbs.unpause(name, limit)?)
    }
}

/// What is read here of others, for `make fuzz`.
pub const FOREIGN: &[Foreign] = &[
    Foreign {
        name: "xm list",
        read: |text| {
            of_x0(|x0, _| drop((list::sight(text, x0), list::is_moving(text, x0), list::guests(text))));
        },
    },
    Foreign {
        name: "xenstore-ls /vm",
        read: |text| of_x0(|x0, _| drop((list::restarts(text, x0), list::restarting(text)))),
    },
    Foreign { name: "xm list --long", read: |text| drop(sxp::parse_config(text)) },
];
