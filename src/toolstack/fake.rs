//! A toolstack in memory, for unit tests of what stands above it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use super::api::{HostInfo, HostMemory, ShutdownRequest, Size, Toolstack, ToolstackError, Towards};
use super::kind::Kind;
use crate::command::CommandError;
use crate::domain::{Copy, DomainConfig, DomainId, DomainName, PciAddress, RunState, Sighting};
use crate::handoff::evidence::{MayEnd, MayRun, NoCopyElsewhere, NobodyElse};

/// What follows from a call.
type Then = Box<dyn FnMut(&Fake)>;

/// Answers from a script: each listing takes the next sighting; the last one stays.
#[derive(Default)]
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
    /// Whether its own migration of the domain is under way.
    pub moving: Cell<bool>,
    /// What the domain is called by now.
    pub renamed: Option<String>,
    /// How it is known all the same, where a listing fails, that none is here.
    pub none_here: Option<String>,
    /// Whether it is not installed here.
    pub missing: bool,
    /// Whether a configuration cannot be read for a reason that is not in it.
    pub is_mute: bool,
    /// Another kind than xl.
    pub kind: Option<Kind>,
    /// What configuration files and running domains say.
    pub config: RefCell<Option<DomainConfig>>,
    /// The devices of the host that the domain has.
    pub passthrough: RefCell<Vec<PciAddress>>,
    /// How large the domain is.
    pub size: Option<Size>,
    /// Who has how much of the host's memory.
    pub memory: Option<HostMemory>,
    /// What follows from a call that begins like this.
    pub(crate) then: RefCell<Vec<(&'static str, Then)>>,
    /// The calls that fail, and how often.
    pub(crate) fails: RefCell<Vec<(&'static str, usize)>>,
}

impl std::fmt::Debug for Fake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fake").field("calls", &self.calls).finish_non_exhaustive()
    }
}

impl Fake {
    /// From the next call on that begins with `call`, listings show this.
    pub fn after(&self, call: &'static str, sighting: Sighting) {
        self.when(call, move |fake| fake.shows(Ok(sighting)));
    }

    /// Listings show this from now on.
    pub fn shows(&self, listing: Result<Sighting, String>) {
        *self.sightings.borrow_mut() = VecDeque::from([listing]);
    }

    /// Whenever a call begins with `call`, this happens.
    pub fn when(&self, call: &'static str, then: impl FnMut(&Self) + 'static) {
        self.then.borrow_mut().push((call, Box::new(then)));
    }

    /// The next `times` calls that begin with `call` fail, and change nothing.
    pub fn fails(&self, call: &'static str, times: usize) {
        self.fails.borrow_mut().push((call, times));
    }

    /// Notes a deed, and does what follows from it.
    fn deed(&self, call: String) -> Result<(), ToolstackError> {
        self.calls.borrow_mut().push(call.clone());
        for (begins, times) in self.fails.borrow_mut().iter_mut() {
            if call.starts_with(*begins) && *times > 0 {
                *times -= 1;
                return Err(ToolstackError::Unreadable { command: call, what: "fake".to_owned() });
            }
        }
        // Taken out meanwhile: it may ask for something itself.
        let mut all = self.then.take();
        for (begins, then) in &mut all {
            if call.starts_with(*begins) {
                then(self);
            }
        }
        self.then.borrow_mut().append(&mut all);
        Ok(())
    }

    /// A toolstack whose listings show these, one after the other.
    pub fn showing(sightings: impl IntoIterator<Item = Result<Sighting, String>>) -> Self {
        Self { sightings: RefCell::new(sightings.into_iter().collect()), ..Self::default() }
    }

    /// A sighting of one copy under the domain's own name.
    pub fn own(state: RunState) -> Sighting {
        Sighting { own: Some(Copy { id: DomainId(1), state }), ..Sighting::default() }
    }
}

impl Toolstack for Fake {
    fn kind(&self) -> Kind {
        self.kind.unwrap_or(Kind::Xl)
    }

    fn installed(&self) -> Result<(), ToolstackError> {
        if self.missing {
            return Err(CommandError::Missing { name: "xl".to_owned() }.into());
        }
        Ok(())
    }

    fn sight(&self, name: &DomainName, _limit: Duration) -> Result<Sighting, ToolstackError> {
        self.deed(format!("list {name}"))?;
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

    fn is_moving(&self, _name: &DomainName, _limit: Duration) -> Result<bool, ToolstackError> {
        Ok(self.moving.get())
    }

    fn renamed(&self, _name: &DomainName, _last: Option<DomainId>, _limit: Duration) -> Option<String> {
        self.renamed.clone()
    }

    fn none_without_tool(&self, _name: &DomainName) -> Option<String> {
        self.none_here.clone()
    }

    fn read_config(&self, path: &Path, _limit: Duration) -> Result<DomainConfig, ToolstackError> {
        if self.is_mute {
            let what = "fake".to_owned();
            return Err(ToolstackError::Unreadable { command: "xl create --dryrun".to_owned(), what });
        }
        let none = || ToolstackError::Config { path: path.display().to_string(), what: "fake".to_owned() };
        self.config.borrow().clone().ok_or_else(none)
    }

    fn running_config(&self, name: &DomainName, _limit: Duration) -> Result<DomainConfig, ToolstackError> {
        let none = || ToolstackError::Config { path: name.to_string(), what: "fake".to_owned() };
        self.config.borrow().clone().ok_or_else(none)
    }

    fn host_info(&self, _limit: Duration) -> Result<HostInfo, ToolstackError> {
        Err(ToolstackError::Unreadable { command: "xl info".to_owned(), what: "fake".to_owned() })
    }

    fn size(&self, name: &DomainName, _limit: Duration) -> Result<Size, ToolstackError> {
        let none =
            || ToolstackError::Unreadable { command: "xl list".to_owned(), what: format!("fake {name}") };
        self.size.ok_or_else(none)
    }

    fn dom0_can_spare_mib(&self, _info: &HostInfo, _limit: Duration) -> Result<u64, ToolstackError> {
        Ok(0)
    }

    fn memory(&self, _limit: Duration) -> Result<HostMemory, ToolstackError> {
        let none = || ToolstackError::Unreadable { command: "xl list".to_owned(), what: "fake".to_owned() };
        self.memory.clone().ok_or_else(none)
    }

    fn set_memory(&self, name: &DomainName, mib: u64, _limit: Duration) -> Result<(), ToolstackError> {
        self.deed(format!("mem-set {name} {mib}"))
    }

    fn create(
        &self,
        path: Option<&Path>,
        name: &DomainName,
        _nobody: &NobodyElse,
        _limit: Duration,
    ) -> Result<(), ToolstackError> {
        self.deed(format!("create {path:?} {name}"))
    }

    fn migrate(&self, name: &DomainName, to: Towards<'_>, _limit: Duration) -> Result<(), ToolstackError> {
        self.deed(format!("migrate {name} {}", to.node))
    }

    fn devices(&self, name: &DomainName, _limit: Duration) -> Result<Vec<PciAddress>, ToolstackError> {
        self.deed(format!("pci-list {name}"))?;
        Ok(self.passthrough.borrow().clone())
    }

    fn attach(&self, name: &DomainName, device: &PciAddress, _limit: Duration) -> Result<(), ToolstackError> {
        self.deed(format!("pci-attach {name} {device}"))?;
        self.passthrough.borrow_mut().push(device.clone());
        Ok(())
    }

    fn detach(&self, name: &DomainName, device: &PciAddress, _limit: Duration) -> Result<(), ToolstackError> {
        self.deed(format!("pci-detach {name} {device}"))?;
        self.passthrough.borrow_mut().retain(|has| has != device);
        Ok(())
    }

    fn save(&self, name: &DomainName, to: &Path, _limit: Duration) -> Result<(), ToolstackError> {
        self.deed(format!("save {name} {}", to.display()))
    }

    fn restore(
        &self,
        from: &Path,
        _name: &DomainName,
        _nobody: &NobodyElse,
        _limit: Duration,
    ) -> Result<(), ToolstackError> {
        self.deed(format!("restore {}", from.display()))
    }

    fn request_shutdown(
        &self,
        name: &DomainName,
        how: ShutdownRequest,
        _limit: Duration,
    ) -> Result<(), ToolstackError> {
        self.deed(format!("shutdown {name} {how:?}"))
    }

    fn destroy(&self, exact_name: &str, _why: &MayEnd<'_>, _limit: Duration) -> Result<(), ToolstackError> {
        self.deed(format!("destroy {exact_name}"))
    }

    fn rename(&self, from: &str, to: &str, _limit: Duration) -> Result<(), ToolstackError> {
        self.deed(format!("rename {from} {to}"))
    }

    fn has_run(&self, _id: DomainId, _limit: Duration) -> Result<bool, ToolstackError> {
        Ok(self.has_run)
    }

    fn unpause(&self, name: &DomainName, _why: &MayRun<'_>, _limit: Duration) -> Result<(), ToolstackError> {
        self.deed(format!("unpause {name}"))
    }

    fn resume(&self, id: DomainId, _alone: &NoCopyElsewhere, _limit: Duration) -> Result<(), ToolstackError> {
        self.deed(format!("resume {id}"))
    }
}
