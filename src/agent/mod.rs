//! The agent: one file per OCF action. Each reads the world, decides, and acts, in this order and visibly so.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::clock::{Deadline, action_ends};
use crate::here::Here;
use crate::host::NodeName;
use crate::node;
use crate::ocf::environment::Environment;
use crate::ocf::exit_code::{ExitCode, Failure, OrExit};
use crate::peer::Transport;

mod accounting;
mod action;
mod context;
mod devices;
mod employ;
#[cfg(test)]
mod fake;
mod fitness;
pub mod gates;
mod health;
pub mod identity;
pub mod meta_data;
pub mod migrate_from;
pub mod migrate_to;
mod mistakes;
pub mod monitor;
mod movement;
mod room;
mod snapshot;
pub mod start;
pub mod stop;
pub mod trial;
mod utilization;
pub mod validate_all;
mod yielding;

pub use action::Action;
pub use context::Agent;
pub use utilization::FOREIGN as UTILIZATION;

/// Carries out `action`. The exit code of an action that succeeded or, for monitor, that found the domain
/// stopped.
///
/// # Errors
/// A [`Failure`] whose reason names the resource or domain, this node, what failed, and what holds now.
pub fn run(action: &str, environment: &Environment, here: &Here) -> Result<ExitCode, Failure> {
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
        Action::ValidateAll => validate_all::validate(environment, here),
        Action::ReloadAgent => Ok(mistakes::reload(environment)),
        Action::Start | Action::Stop | Action::Monitor | Action::MigrateTo | Action::MigrateFrom => {
            match Agent::new(action, environment, here) {
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

    fn new(action: Action, environment: &Environment, here: &Here) -> Result<Self, Failure> {
        let (parameters, mistakes) = mistakes::parameters(environment);
        let root = &here.root;
        let timeout = environment.timeout.unwrap_or_else(|| action.advised_timeout());
        // Before anything is asked: finding out which domain it is takes of the same time.
        let deadline = Deadline::after(timeout.saturating_sub(margin(timeout)));
        action_ends(deadline);
        let toolstack = Rc::clone(here.toolstack());
        let cluster = here.cluster_reached(&parameters.reach);
        let resource = environment.resource.clone().unwrap_or_else(|| "default".to_owned());
        if action == Action::Start {
            mistakes::says_which_guest(toolstack.kind(), &parameters, &mistakes)?;
        }
        // What runs here under a name that is none now was started under the one of before.
        let is_misnamed = mistakes.iter().any(|bad| bad.name == "name");
        let before = is_misnamed.then(|| node::identity::before(root, &resource)).flatten();
        let asker = identity::Asker {
            environment,
            store: &here.store,
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
            transport: Transport::within(here, &parameters.reach, Rc::clone(&cluster)),
            node: environment.on_node.clone().unwrap_or_else(NodeName::of_this_host),
            timeout,
            deadline,
            here: here.clone(),
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
            said_alone: Cell::new(false),
            config: OnceCell::new(),
        })
    }
}
