//! What every action works with.

use std::cell::{Cell, OnceCell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use crate::clock::{Clock, Deadline, LOOK_AGAIN, SystemClock};
use crate::cluster::ClusterView;
use crate::domain::{DomainConfig, DomainId, DomainName, Presence};
use crate::handoff::evidence::Absence;
use crate::handoff::{Effect, Event, Phase};
use crate::here::Here;
use crate::host::{NodeName, Root};
use crate::node::identity::{self, Identity};
use crate::node::record::{Record, RecordError};
use crate::ocf::environment::Environment;
use crate::ocf::exit_code::{ExitCode, Failure};
use crate::parameters::{BadParameter, Parameters};
use crate::peer::Transport;
use crate::toolstack::{LIST_LIMIT, Toolstack};
use crate::transfer::{leftover, settle};

/// How long an action may take to put right what a broken transfer left, before it does or reports something
/// else.
pub(super) const SETTLE_LIMIT: Duration = Duration::from_secs(60);
/// What holds after a failure that comes before anything was done.
pub(super) const NOTHING_CHANGED: &str = "nothing was changed";

/// The pause before something that failed is tried again.
pub(super) const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Everything that an action works with.
#[derive(Debug)]
pub struct Agent {
    /// The environment that we were called in.
    pub environment: Environment,
    /// The resource's parameters.
    pub parameters: Parameters,
    /// Those that cannot be used. What counts instead is in `parameters`.
    pub mistakes: Vec<BadParameter>,
    /// The resource's id.
    pub resource: String,
    /// The domain that it manages.
    pub domain: DomainName,
    /// This node's name.
    pub node: NodeName,
    /// The cluster's limit for the action.
    pub timeout: Duration,
    /// When the action must have answered: the cluster's timeout less a margin to say why.
    pub deadline: Deadline,
    /// The toolstack.
    pub toolstack: Rc<dyn Toolstack>,
    /// The cluster manager.
    pub cluster: Rc<dyn ClusterView>,
    /// The way to the other nodes.
    pub transport: Transport,
    /// What this process works with.
    pub here: Here,
    /// What the domain may have been called before, here or on another node.
    pub(super) former: Vec<DomainName>,
    /// Whether the configuration has another name by now.
    pub(super) is_renamed: bool,
    /// What is to be kept of its name once that is known.
    pub(super) untaken: RefCell<Option<Identity>>,
    /// Whether it was said that no cluster manager runs here.
    pub(super) said_alone: Cell<bool>,
    /// What the configuration file says, once it was asked.
    pub(super) config: OnceCell<Option<DomainConfig>>,
}

impl Agent {
    /// Evidence that none is here, if `presence` and the toolstack's daemon give it.
    pub(super) fn absence(&self, presence: &Presence) -> Option<Absence> {
        Absence::observe(presence, || self.toolstack.is_attended(&self.domain))
    }

    /// What the configuration file says, asked once.
    pub(super) fn configured(&self) -> Option<&DomainConfig> {
        let read = || {
            identity::config(
                self.root(),
                &self.resource,
                self.parameters.xmfile.as_deref(),
                self.toolstack.as_ref(),
            )
        };
        self.config.get_or_init(read).as_ref()
    }

    pub(super) fn root(&self) -> &Root {
        &self.here.root
    }

    /// A failure that names domain and node before the reason.
    pub(super) fn failure(&self, code: ExitCode, what: impl std::fmt::Display) -> Failure {
        Failure::new(code, format!("{} on {}: {what}", self.domain, self.node))
    }

    pub(super) fn generic(&self, what: impl std::fmt::Display) -> Failure {
        self.failure(ExitCode::Generic, what)
    }

    pub(super) fn record(&self) -> Result<Record, Failure> {
        self.here.store.load(&self.domain).map_err(|error| self.generic(error))
    }

    pub(super) fn phase(&self) -> Result<Phase, Failure> {
        Ok(self.record()?.state)
    }

    /// One step of the protocol, put on disk. Effects on the ledger are carried out here; the others are the
    /// caller's.
    pub(super) fn advance(&self, by: &str, event: Event) -> Result<Vec<Effect>, RecordError> {
        let effects = self.here.store.advance(&self.domain, by, event)?;
        self.cluster.clear_up(&self.domain, &effects);
        Ok(effects)
    }

    pub(super) fn presence(&self) -> Presence {
        self.toolstack.presence(&self.domain, self.list_limit())
    }

    /// What could not be found out by the toolstack, if it is certain all the same that none is here. Not for
    /// a start, which needs the toolstack.
    pub(super) fn or_certainly_none(&self, presence: Presence) -> Presence {
        let Presence::Unknown(why) = &presence else { return presence };
        let Some(evidence) = self.toolstack.none_without_tool(&self.domain) else { return presence };
        log::warn!("domain={} {why}; but {evidence}", self.domain);
        Presence::Absent
    }

    /// Destroys what an unknown migration has left here, if there is such a thing.
    pub(super) fn clears_leftover(&self, presence: &Presence, phase: &Phase) -> bool {
        let cleared =
            leftover::clear(&self.here.store, self.toolstack.as_ref(), &self.domain, (presence, phase));
        cleared.unwrap_or_else(|error| {
            log::warn!("domain={} {error}", self.domain);
            false
        })
    }

    /// Notes which domain of the hypervisor's it is, for when somebody renames it.
    pub(super) fn note_id(&self, id: DomainId) {
        if let Err(error) = self.here.store.keep_id(&self.domain, id) {
            log::debug!("domain={} {error}", self.domain);
        }
    }

    /// What the domain is called by now, if somebody has renamed it by hand.
    pub(super) fn renamed(&self) -> Option<String> {
        let last = self.here.store.last_id(&self.domain);
        let name = self.toolstack.renamed(&self.domain, last, self.list_limit())?;
        Some(name).filter(|name| !identity::is_anothers(self.root(), &self.resource, name))
    }

    /// Gives the domain its name back, if somebody has renamed it by hand: there is nothing else that an
    /// action could do with it.
    pub(super) fn is_given_its_name_back(&self) -> bool {
        let Some(name) = self.renamed() else { return false };
        log::warn!("domain={} somebody has renamed it to {name}: giving it its name back", self.domain);
        self.toolstack.rename(&name, self.domain.as_str(), self.list_limit()).map_or_else(
            |error| {
                log::warn!("domain={} {error}", self.domain);
                false
            },
            |()| true,
        )
    }

    pub(super) fn list_limit(&self) -> Duration {
        self.deadline.left().min(LIST_LIMIT).max(Duration::from_secs(1))
    }

    /// The limit of a question whose missing answer has a price: `handoff_peer_timeout`, or a quarter of what
    /// the action has left where that is more.
    pub(super) fn long_enough(&self) -> Deadline {
        self.deadline.within(self.parameters.peer_timeout.max(self.deadline.left() / 4))
    }

    /// The configuration file, which must be there where the toolstack has files.
    pub(super) fn config_file(&self) -> Result<Option<&Path>, Failure> {
        if !self.toolstack.kind().has_files() {
            return Ok(None);
        }
        let Some(path) = self.parameters.xmfile.as_deref() else {
            self.may_boot()?;
            let what = "parameter xmfile is required and not set; nothing was changed";
            return Err(self.failure(ExitCode::Configured, what));
        };
        if !path.is_file() {
            let what = format!("no configuration file {} on this node; nothing was changed", path.display());
            return Err(self.failure(ExitCode::NotInstalled, what));
        }
        Ok(Some(path))
    }

    /// Waits until no transfer of the domain is under way at this node, then puts an end to what a killed one
    /// left.
    ///
    /// # Errors
    /// If the transfer outlives `deadline`.
    pub(super) fn wait_for_transfer(&self, deadline: Deadline) -> Result<(), Failure> {
        let busy = || self.here.store.is_transferring(&self.domain);
        if busy() {
            log::info!("domain={} waiting for the transfer that is under way here", self.domain);
        }
        SystemClock.wait_until(deadline, LOOK_AGAIN, || (!busy()).then_some(())).ok_or_else(|| {
            self.generic("a transfer of it is under way here and did not end in time; it goes on")
        })?;
        // Begun and not ended by whoever did it.
        settle::if_broken(&self.here, &self.domain, deadline.within(SETTLE_LIMIT))
            .map(drop)
            .map_err(|error| self.generic(format!("{error:#}")))
    }
}
