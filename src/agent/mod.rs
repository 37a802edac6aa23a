//! The agent: one file per OCF action. Each reads the world, decides, and acts, in this order and visibly so.

use std::cell::{OnceCell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use crate::clock::{Clock, Deadline, SystemClock};
use crate::cluster::{ClusterView, detect_reached};
use crate::domain::{DomainConfig, DomainName, Presence};
use crate::handoff::evidence::Absence;
use crate::handoff::record::{Record, RecordError, Store};
use crate::handoff::{Effect, Event, Phase};
use crate::host::{NodeName, Root};
use crate::ocf::environment::Environment;
use crate::ocf::exit_code::{ExitCode, Failure, OrExit};
use crate::ocf::parameters::{BadParameter, Parameters};
use crate::toolstack::{self, Toolstack};
use crate::transfer::{leftover, settle};
use crate::transport::{Transport, ssh::Ssh};

mod accounting;
pub mod carry;
pub(crate) mod devices;
mod fitness;
pub mod gates;
mod health;
pub mod identity;
mod line;
pub mod meta_data;
pub mod migrate_from;
pub mod migrate_to;
mod mistakes;
pub mod monitor;
mod obstacle;
mod room;
pub mod shutdown;
mod snapshot;
pub mod start;
pub mod stop;
mod utilization;
pub mod validate_all;
mod worker;
mod yielding;

pub use carry::carry;
pub use worker::{Order, Outcome, Word, fetch, push};

/// Limit of one listing or other quick word of the toolstack.
pub const LIST_LIMIT: Duration = Duration::from_secs(10);
/// How long an action may take to put right what a broken transfer left, before it does or reports something else.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);
/// What holds after a failure that comes before anything was done.
const NOTHING_CHANGED: &str = "nothing was changed";
/// How often a state that is about to change is looked at again.
pub const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// The pause before something that failed is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// What the cluster may ask of us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Make the domain run here.
    Start,
    /// Make sure that it does not, or hand it over.
    Stop,
    /// Say whether it does. `status` is the same.
    Monitor,
    /// Send it to the node that the cluster names.
    MigrateTo,
    /// Say that it has arrived.
    MigrateFrom,
    /// Take note of parameters that have changed, with the domain running.
    ReloadAgent,
    /// Check the parameters.
    ValidateAll,
    /// Print the metadata.
    MetaData,
    /// Print how to call us.
    Usage,
}

impl Action {
    /// The action of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "start" => Self::Start,
            "stop" => Self::Stop,
            "monitor" | "status" => Self::Monitor,
            "migrate_to" => Self::MigrateTo,
            "migrate_from" => Self::MigrateFrom,
            "reload-agent" => Self::ReloadAgent,
            "validate-all" => Self::ValidateAll,
            "meta-data" => Self::MetaData,
            "usage" | "help" => Self::Usage,
            _ => return None,
        })
    }

    /// Its name in the standard.
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Monitor => "monitor",
            Self::MigrateTo => "migrate_to",
            Self::MigrateFrom => "migrate_from",
            Self::ReloadAgent => "reload-agent",
            Self::ValidateAll => "validate-all",
            Self::MetaData => "meta-data",
            Self::Usage => "usage",
        }
    }

    /// The timeout that the metadata advises, for a caller that sets none.
    fn advised_timeout(self) -> Duration {
        Duration::from_secs(match self {
            Self::Start | Self::MigrateTo => 300,
            Self::Stop => 180,
            Self::MigrateFrom => 120,
            Self::Monitor | Self::ReloadAgent | Self::ValidateAll => 30,
            Self::MetaData | Self::Usage => 5,
        })
    }
}

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
    pub transport: Rc<dyn Transport>,
    /// The records.
    pub store: Store,
    /// What the domain may have been called before, here or on another node.
    former: Vec<DomainName>,
    /// Whether the configuration has another name by now.
    is_renamed: bool,
    /// What is to be kept of its name once that is known.
    untaken: RefCell<Option<identity::Identity>>,
    /// What the configuration file says, once it was asked.
    config: OnceCell<Option<DomainConfig>>,
}

/// Carries out `action`. The exit code of an action that succeeded or, for monitor, that found the domain stopped.
///
/// # Errors
/// A [`Failure`] whose reason names the resource or domain, this node, what failed, and what holds now.
pub fn run(action: &str, environment: &Environment) -> Result<ExitCode, Failure> {
    let unready = |failure: Failure| {
        let resource = environment.resource.as_deref().unwrap_or("(unnamed)");
        let node = environment.on_node.clone().unwrap_or_else(NodeName::of_this_host);
        failure.context(format!("resource {resource} on {node}"))
    };
    let Some(action) = Action::parse(action) else {
        let what = format!("no such action: {action:?}; {}", meta_data::USAGE);
        return Err(unready(Failure::new(ExitCode::Unimplemented, what)));
    };
    let done = match action {
        Action::MetaData => meta_data::print().or_exit(ExitCode::Generic, "printing the metadata"),
        Action::Usage => meta_data::print_usage().or_exit(ExitCode::Generic, "printing the usage"),
        Action::ValidateAll => validate_all::validate(environment),
        Action::ReloadAgent => Ok(mistakes::reload(environment)),
        Action::Start | Action::Stop | Action::Monitor | Action::MigrateTo | Action::MigrateFrom => {
            match Agent::new(action, environment) {
                Ok(agent) => return agent.act(action),
                Err(failure) => said_without_a_name(failure)
                    .or_else(|failure| mistakes::without_xen(action, environment, failure)),
            }
        }
    };
    done.map_err(unready)
}

/// What is known although the domain's name is not: that none is here which could be it.
fn said_without_a_name(failure: Failure) -> Result<ExitCode, Failure> {
    if !matches!(failure.code, ExitCode::Success | ExitCode::NotRunning) {
        return Err(failure);
    }
    log::info!("{failure}");
    Ok(failure.code)
}

/// The part of a timeout that is kept for saying why: a tenth, at least half a second, at most five.
fn margin(timeout: Duration) -> Duration {
    (timeout / 10).clamp(Duration::from_millis(500), Duration::from_secs(5))
}

impl Agent {
    fn act(self, action: Action) -> Result<ExitCode, Failure> {
        match action {
            Action::Start => {
                self.can_begin()?;
                self.fit()?.start()
            }
            // What is here has to be ended, by whatever runs it.
            Action::Stop => self.stop(),
            Action::MigrateTo => self.migrate_to(),
            Action::MigrateFrom => self.migrate_from(),
            _ => self.as_asserted(self.monitor()),
        }
    }

    fn new(action: Action, environment: &Environment) -> Result<Self, Failure> {
        let (parameters, mistakes) = mistakes::parameters(environment);
        let root = environment.root.clone();
        let timeout = environment.timeout.unwrap_or_else(|| action.advised_timeout());
        let toolstack = toolstack::of(&root);
        let cluster = detect_reached(&root, &parameters.reach);
        let resource = environment.resource.clone().unwrap_or_else(|| "default".to_owned());
        if action == Action::Start {
            mistakes::says_which_guest(toolstack.kind(), &parameters, &mistakes)?;
        }
        // What runs here under a name that is none now was started under the one of before.
        let is_misnamed = mistakes.iter().any(|bad| bad.name == "name");
        let before = is_misnamed.then(|| identity::before(&root, &resource)).flatten();
        let asker = identity::Asker {
            environment,
            resource: &resource,
            parameters: &parameters,
            toolstack: toolstack.as_ref(),
            cluster: cluster.as_ref(),
            action,
        };
        let named = match before {
            Some(before) => identity::Named::plain(before),
            None => asker.resolve()?,
        };
        Ok(Self {
            transport: Rc::new(Ssh::new(&root, &parameters.reach, Rc::clone(&cluster))),
            node: environment.on_node.clone().unwrap_or_else(NodeName::of_this_host),
            timeout,
            deadline: Deadline::after(timeout.saturating_sub(margin(timeout))),
            store: Store::new(root.state_folder()),
            environment: environment.clone(),
            parameters,
            mistakes,
            resource,
            domain: named.domain,
            former: named.former,
            is_renamed: named.is_renamed,
            untaken: RefCell::new(named.untaken),
            toolstack,
            cluster,
            config: OnceCell::new(),
        })
    }

    /// Evidence that none is here, if `presence` and the toolstack's daemon give it.
    fn absence(&self, presence: &Presence) -> Option<Absence> {
        Absence::observe(presence, || self.toolstack.is_attended(&self.domain))
    }

    /// What the configuration file says, asked once.
    fn configured(&self) -> Option<&DomainConfig> {
        let read =
            || identity::config(self.root(), &self.resource, &self.parameters, self.toolstack.as_ref());
        self.config.get_or_init(read).as_ref()
    }

    fn root(&self) -> &Root {
        &self.environment.root
    }

    /// A failure that names domain and node before the reason.
    fn failure(&self, code: ExitCode, what: impl std::fmt::Display) -> Failure {
        Failure::new(code, format!("{} on {}: {what}", self.domain, self.node))
    }

    fn generic(&self, what: impl std::fmt::Display) -> Failure {
        self.failure(ExitCode::Generic, what)
    }

    fn record(&self) -> Result<Record, Failure> {
        self.store.load(&self.domain).map_err(|error| self.generic(error))
    }

    fn phase(&self) -> Result<Phase, Failure> {
        Ok(self.record()?.state)
    }

    /// One step of the protocol, put on disk. Effects on the ledger are carried out here; the others are the caller's.
    fn advance(&self, by: &str, event: Event) -> Result<Vec<Effect>, RecordError> {
        let effects = self.store.advance(&self.domain, by, event)?;
        self.cluster.clear_up(&self.domain, &effects);
        Ok(effects)
    }

    fn presence(&self) -> Presence {
        self.toolstack.presence(&self.domain, self.list_limit())
    }

    /// Destroys what an unknown migration has left here, if there is such a thing.
    fn clears_leftover(&self, presence: &Presence, phase: &Phase) -> bool {
        let cleared = leftover::clear(&self.store, self.toolstack.as_ref(), &self.domain, (presence, phase));
        cleared.unwrap_or_else(|error| {
            log::warn!("domain={} {error}", self.domain);
            false
        })
    }

    fn list_limit(&self) -> Duration {
        self.deadline.left().min(LIST_LIMIT).max(Duration::from_secs(1))
    }

    /// The limit of a question whose missing answer has a price: `handoff_peer_timeout`, or a quarter of what the action has left where
    /// that is more.
    fn long_enough(&self) -> Deadline {
        self.deadline.within(self.parameters.peer_timeout.max(self.deadline.left() / 4))
    }

    /// The configuration file, which must be there where the toolstack has files.
    fn config_file(&self) -> Result<Option<&Path>, Failure> {
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

    /// Waits until no transfer of the domain is under way at this node, then puts an end to what a killed one left.
    ///
    /// # Errors
    /// If the transfer outlives `deadline`.
    fn wait_for_transfer(&self, deadline: Deadline) -> Result<(), Failure> {
        let busy = || self.store.is_transferring(&self.domain);
        if busy() {
            log::info!("domain={} waiting for the transfer that is under way here", self.domain);
        }
        SystemClock.wait_until(deadline, LOOK_AGAIN, || (!busy()).then_some(())).ok_or_else(|| {
            self.generic("a transfer of it is under way here and did not end in time; it goes on")
        })?;
        // Begun and not ended by whoever did it.
        settle::if_broken(self.root(), &self.store, &self.domain, deadline.within(SETTLE_LIMIT))
            .map(drop)
            .map_err(|error| self.generic(format!("{error:#}")))
    }
}
