//! A mistake stays where it was made (P8): what an action does with a parameter that cannot be used, or on a
//! host without hypervisor. The whole table is `doc/design/mistakes.md`.
//!
//! "Configured" forbids a resource on every node: its guest would be stopped wherever it runs. So it is said
//! where a boot is refused, and by `validate-all`; every other action works with the safe default. A guest
//! that runs already, here or on offer, is no less healthy for a mistyped word.

use super::action::Action;
use super::context::Agent;
use crate::domain::Presence;
use crate::ocf::environment::Environment;
use crate::ocf::exit_code::{ExitCode, Failure};
use crate::parameters::{BadParameter, PARAMETERS, Parameters};
use crate::toolstack::bare::{NoHypervisor, without_hypervisor};
use crate::toolstack::{Kind, kind_of};

/// Parameters that are not ours and yet no mistake: resource-agents' own tracing, and what some versions pass
/// along.
const OF_OTHERS: [&str; 4] = ["trace_ra", "trace_file", "trace_dir", "OCF_CHECK_LEVEL"];

/// Reads the parameters of `environment`, and warns of those that cannot be used; a recurring monitor has its
/// reason for that.
pub(super) fn parameters(environment: &Environment) -> (Parameters, Vec<BadParameter>) {
    let (parameters, mistakes) = Parameters::judge(&environment.parameters);
    if !environment.is_probe() {
        return (parameters, mistakes);
    }
    let resource = environment.resource.as_deref().unwrap_or("(unnamed)");
    for bad in &mistakes {
        let instead = if bad.name == "handoff" { "it counts as never" } else { "it counts as not set" };
        log::warn!("resource={resource} {bad}; {instead}");
    }
    for name in unknown(environment) {
        log::warn!("resource={resource} there is no parameter {name:?}; it is not looked at");
    }
    (parameters, mistakes)
}

fn unknown(environment: &Environment) -> impl Iterator<Item = &str> {
    let is_known =
        |name: &str| OF_OTHERS.contains(&name) || PARAMETERS.iter().any(|parameter| parameter.name == name);
    environment.parameters.keys().map(String::as_str).filter(move |name| !is_known(name))
}

/// Whether the parameters say which guest it is that a start is to boot.
///
/// # Errors
/// `Configured`: on no node they do.
pub(super) fn says_which_guest(
    kind: Kind,
    parameters: &Parameters,
    mistakes: &[BadParameter],
) -> Result<(), Failure> {
    let is_bad = |name: &str| mistakes.iter().find(|bad| bad.name == name);
    let unsaid = parameters.name.is_none() && parameters.xmfile.is_none() && kind.has_files();
    let what = match (is_bad("name"), is_bad("xmfile")) {
        (Some(bad), _) => bad.to_string(),
        (None, Some(bad)) if unsaid => bad.to_string(),
        (None, None) if unsaid => "parameter xmfile is required and not set".to_owned(),
        _ => return Ok(()),
    };
    Err(Failure::new(ExitCode::Configured, format!("{what}; nothing was changed")))
}

/// `reload-agent`: the parameters have changed, and none of those that the running guest depends on. Every
/// action reads them anew, so they are only looked at. Never an error: the cluster would stop the guest for
/// it.
pub(super) fn reload(environment: &Environment) -> ExitCode {
    let (parameters, _) = parameters(environment);
    let resource = environment.resource.as_deref().unwrap_or("(unnamed)");
    log::info!("resource={resource} the parameters have changed; what begins from now on follows them");
    if let Err(what) = super::fitness::fits(kind_of(&environment.root), &parameters) {
        log::warn!("resource={resource} {what}");
    }
    ExitCode::Success
}

/// What becomes of an action that could not begin, on a host that provably has no hypervisor.
///
/// # Errors
/// `failure`, with the evidence before it where there is any.
pub(super) fn without_xen(
    action: Action,
    environment: &Environment,
    failure: Failure,
) -> Result<ExitCode, Failure> {
    let Some(none) = without_hypervisor(&environment.root) else { return Err(failure) };
    match action {
        Action::Monitor | Action::Stop => {
            log::warn!("{failure}; but {none}");
            Ok(if action == Action::Stop { ExitCode::Success } else { ExitCode::NotRunning })
        }
        Action::Start => Err(Failure { code: ExitCode::NotInstalled, ..failure.context(none) }),
        _ => Err(failure),
    }
}

impl Agent {
    /// Whether this host provably has no hypervisor, and its toolstack does not work accordingly.
    fn has_no_hypervisor(&self) -> Option<NoHypervisor> {
        without_hypervisor(self.root())
            .filter(|_| self.toolstack.sight(&self.domain, self.list_limit()).is_err())
    }

    /// What makes a start needless to begin: no hypervisor here, or a boot that would be refused anyway.
    ///
    /// # Errors
    /// `NotInstalled`, `Configured`.
    pub(super) fn can_begin(&self) -> Result<(), Failure> {
        if let Some(none) = self.has_no_hypervisor() {
            return Err(self.failure(ExitCode::NotInstalled, format!("{none}; nothing was changed")));
        }
        if self.mistakes.is_empty() || self.is_on_offer() {
            return Ok(());
        }
        // What cannot be looked at now is looked at again before the boot.
        if self.presence() == Presence::Absent { self.may_boot() } else { Ok(()) }
    }

    /// Whether it runs somewhere, to be fetched or reclaimed, as far as is known.
    fn is_on_offer(&self) -> bool {
        self.phase().is_ok_and(|phase| phase.offer().is_some())
            || self.cluster.ledger().entries(&self.domain).is_ok_and(|entries| !entries.offers.is_empty())
    }

    /// Refuses to boot with a parameter that cannot be used.
    ///
    /// # Errors
    /// `Configured`, with its name and value.
    pub(super) fn may_boot(&self) -> Result<(), Failure> {
        match self.mistakes.first() {
            None => Ok(()),
            Some(bad) => Err(self.failure(ExitCode::Configured, format!("{bad}; nothing was changed"))),
        }
    }

    /// What a recurring monitor says of a guest that runs well, with a parameter that cannot be used:
    /// `pcs status` shows the reason, and nothing is done about it.
    ///
    /// # Errors
    /// `Degraded`.
    pub(super) fn runs_with_mistakes(&self) -> Result<ExitCode, Failure> {
        match self.mistakes.first() {
            Some(bad) if !self.environment.is_probe() => {
                Err(self.failure(ExitCode::Degraded, format!("it runs; but {bad}")))
            }
            _ => Ok(ExitCode::Success),
        }
    }
}
