//! A toolstack in memory, for unit tests of what stands above it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use super::{HostInfo, HostMemory, Kind, ShutdownRequest, Size, Toolstack, ToolstackError};
use crate::domain::{Copy, DomainConfig, DomainId, DomainName, PciAddress, RunState, Sighting};

/// Answers from a script: each listing takes the next sighting; the last one stays.
#[derive(Debug, Default)]
pub struct Fake {
    /// Listings to come; `Err` is a listing that failed.
    pub sightings: RefCell<VecDeque<Result<Sighting, String>>>,
    /// What was asked for, in order.
    pub calls: RefCell<Vec<String>>,
    /// What a glance shows.
    pub glance: Option<DomainId>,
    /// Whether a daemon attends the domain.
    pub attended: bool,
    /// Whether the domain has had processor time.
    pub has_run: bool,
}

impl Fake {
    /// A toolstack whose listings show these, one after the other.
    pub fn showing(sightings: impl IntoIterator<Item = Result<Sighting, String>>) -> Self {
        Self { sightings: RefCell::new(sightings.into_iter().collect()), ..Self::default() }
    }

    /// A sighting of one copy under the domain's own name.
    pub fn own(state: RunState) -> Sighting {
        Sighting { own: Some(Copy { id: DomainId(1), state }), ..Sighting::default() }
    }

    fn note(&self, call: String) {
        self.calls.borrow_mut().push(call);
    }
}

impl Toolstack for Fake {
    fn kind(&self) -> Kind {
        Kind::Xl
    }

    fn installed(&self) -> Result<(), ToolstackError> {
        Ok(())
    }

    fn sight(&self, name: &DomainName, _limit: Duration) -> Result<Sighting, ToolstackError> {
        self.note(format!("list {name}"));
        let mut sightings = self.sightings.borrow_mut();
        let next = if sightings.len() > 1 { sightings.pop_front() } else { sightings.front().cloned() };
        next.unwrap_or(Ok(Sighting::default()))
            .map_err(|what| ToolstackError::Unreadable { command: "xl list".to_owned(), what })
    }

    fn glance(&self, _name: &DomainName) -> Option<DomainId> {
        self.glance
    }

    fn guests(&self, _limit: Duration) -> Result<Vec<String>, ToolstackError> {
        Ok(Vec::new())
    }

    fn is_attended(&self, _name: &DomainName) -> bool {
        self.attended
    }

    fn read_config(&self, path: &Path, _limit: Duration) -> Result<DomainConfig, ToolstackError> {
        Err(ToolstackError::Config { path: path.display().to_string(), what: "fake".to_owned() })
    }

    fn running_config(&self, name: &DomainName, _limit: Duration) -> Result<DomainConfig, ToolstackError> {
        Err(ToolstackError::Config { path: name.to_string(), what: "fake".to_owned() })
    }

    fn host_info(&self, _limit: Duration) -> Result<HostInfo, ToolstackError> {
        Err(ToolstackError::Unreadable { command: "xl info".to_owned(), what: "fake".to_owned() })
    }

    fn size(&self, name: &DomainName, _limit: Duration) -> Result<Size, ToolstackError> {
        Err(ToolstackError::Unreadable { command: "xl list".to_owned(), what: format!("fake {name}") })
    }

    fn dom0_can_spare_mib(&self, _info: &HostInfo, _limit: Duration) -> Result<u64, ToolstackError> {
        Ok(0)
    }

    fn memory(&self, _limit: Duration) -> Result<HostMemory, ToolstackError> {
        Err(ToolstackError::Unreadable { command: "xl list".to_owned(), what: "fake".to_owned() })
    }

    fn set_memory(&self, name: &DomainName, mib: u64, _limit: Duration) -> Result<(), ToolstackError> {
        self.note(format!("mem-set {name} {mib}"));
        Ok(())
    }

    fn create(&self, path: Option<&Path>, name: &DomainName, _limit: Duration) -> Result<(), ToolstackError> {
        self.note(format!("create {path:?} {name}"));
        Ok(())
    }

    fn devices(&self, name: &DomainName, _limit: Duration) -> Result<Vec<PciAddress>, ToolstackError> {
        self.note(format!("pci-list {name}"));
        Ok(Vec::new())
    }

    fn attach(&self, name: &DomainName, device: &PciAddress, _limit: Duration) -> Result<(), ToolstackError> {
        self.note(format!("pci-attach {name} {device}"));
        Ok(())
    }

    fn detach(&self, name: &DomainName, device: &PciAddress, _limit: Duration) -> Result<(), ToolstackError> {
        self.note(format!("pci-detach {name} {device}"));
        Ok(())
    }

    fn save(&self, name: &DomainName, to: &Path, _limit: Duration) -> Result<(), ToolstackError> {
        self.note(format!("save {name} {}", to.display()));
        Ok(())
    }

    fn restore(&self, from: &Path, _name: &DomainName, _limit: Duration) -> Result<(), ToolstackError> {
        self.note(format!("restore {}", from.display()));
        Ok(())
    }

    fn request_shutdown(
        &self,
        name: &DomainName,
        how: ShutdownRequest,
        _limit: Duration,
    ) -> Result<(), ToolstackError> {
        self.note(format!("shutdown {name} {how:?}"));
        Ok(())
    }

    fn destroy(&self, exact_name: &str, _limit: Duration) -> Result<(), ToolstackError> {
        self.note(format!("destroy {exact_name}"));
        Ok(())
    }

    fn rename(&self, from: &str, to: &str, _limit: Duration) -> Result<(), ToolstackError> {
        self.note(format!("rename {from} {to}"));
        Ok(())
    }

    fn has_run(&self, _id: DomainId, _limit: Duration) -> Result<bool, ToolstackError> {
        Ok(self.has_run)
    }

    fn unpause(&self, name: &DomainName, _limit: Duration) -> Result<(), ToolstackError> {
        self.note(format!("unpause {name}"));
        Ok(())
    }

    fn resume(&self, id: DomainId, _limit: Duration) -> Result<(), ToolstackError> {
        self.note(format!("resume {id}"));
        Ok(())
    }
}
