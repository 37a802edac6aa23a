//! `validate-all`: can these parameters ever work on this node? Touches no domain.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use super::context::NOTHING_CHANGED;
use super::fitness;
use crate::clock::Deadline;
use crate::cluster::ClusterError;
use crate::here::Here;
use crate::host::NodeName;
use crate::ocf::environment::Environment;
use crate::ocf::exit_code::{ExitCode, Failure, OrExit};
use crate::parameters::{HandoffMode, Parameters};
use crate::peer::Transport;
use crate::peer::preflight::{ask, needs, planner, this_host};
use crate::preflight::Verdict;
use crate::toolstack::{Kind, LIST_LIMIT, ToolstackError};
use crate::wire::ssh;

/// The level of `OCF_CHECK_LEVEL` from which the other nodes are asked too; `pcs` and `crm_resource --validate=10` set it.
const ELSEWHERE: u32 = 10;
/// Limit of all questions to one of them.
const ELSEWHERE_LIMIT: Duration = Duration::from_secs(20);

/// Checks every parameter, the configuration file, and the tools.
///
/// # Errors
/// `Configured` for a value that is wrong on every node, `NotInstalled` for what this node lacks or cannot use.
pub(super) fn validate(environment: &Environment, here: &Here) -> Result<ExitCode, Failure> {
    let parameters =
        Parameters::read(&environment.parameters).or_exit(ExitCode::Configured, NOTHING_CHANGED)?;
    let toolstack = here.toolstack().as_ref();
    let kind = toolstack.kind();
    fitness::asserted(kind, &parameters).map_err(|what| Failure::new(ExitCode::NotInstalled, what))?;
    toolstack.installed().or_exit(ExitCode::NotInstalled, "this node has no toolstack")?;
    fitness::fits(kind, &parameters).map_err(|what| Failure::new(ExitCode::NotInstalled, what))?;
    if !kind.has_files() {
        if parameters.name.is_none() {
            let what = format!("parameter name is required where the toolstack is {kind}, and not set");
            return Err(Failure::new(ExitCode::Configured, what));
        }
        if environment.check_level >= ELSEWHERE {
            log::info!("{kind}: what another host lacks is for the pool to say; no other node was checked");
        }
        return Ok(ExitCode::Success);
    }
    let Some(file) = &parameters.xmfile else {
        return Err(Failure::new(ExitCode::Configured, "parameter xmfile is required and not set"));
    };
    if !file.is_file() {
        let what = format!("parameter xmfile={:?}: no such file on this node", file.display().to_string());
        return Err(Failure::new(ExitCode::NotInstalled, what));
    }
    match toolstack.read_config(file, LIST_LIMIT) {
        Ok(config) => log::debug!("the configuration names {}", config.name),
        Err(error @ ToolstackError::Config { .. }) => {
            return Err(Failure::new(ExitCode::NotInstalled, error));
        }
        Err(error) => return Err(Failure::new(ExitCode::Generic, error)),
    }
    if let Some(warning) = no_key(environment, &parameters, kind) {
        log::warn!("{warning}");
        // crm knows a warning by its first word, pcs shows it. stderr may be closed; the log has it then.
        let _ = writeln!(std::io::stderr(), "WARNING: {warning}");
    }
    if environment.check_level >= ELSEWHERE {
        elsewhere(environment, &parameters, here, file)?;
    }
    Ok(ExitCode::Success)
}

/// Whether stops on this node are to hand over.
fn hands_over(kind: Kind, parameters: &Parameters) -> bool {
    kind.movement().can_be_pulled().is_ok() && parameters.handoff == HandoffMode::Auto
}

/// What is to be said where there is no key. The agent works without one, by ordinary stops: worth a word, and no error.
fn no_key(environment: &Environment, parameters: &Parameters, kind: Kind) -> Option<String> {
    if !hands_over(kind, parameters) || ssh::has_key(&environment.root) {
        return None;
    }
    let key = environment.root.key_folder().join(ssh::KEY);
    Some(format!("no key {}: no stop here can hand over; {}", key.display(), ssh::NO_KEY))
}

/// Whether every other node that is online could take the domain, by the same checks as `xen-handoff preflight`.
///
/// # Errors
/// `Generic` with the nodes that could not, and why.
fn elsewhere(
    environment: &Environment,
    parameters: &Parameters,
    here: &Here,
    file: &Path,
) -> Result<(), Failure> {
    let generic = |what: String| Failure::new(ExitCode::Generic, what);
    let (root, toolstack, cluster) = (&here.root, here.toolstack().as_ref(), here.cluster());
    let me = environment.on_node.clone().unwrap_or_else(NodeName::of_this_host);
    let peers = match cluster.peers(&me, environment.resource.as_deref().unwrap_or_default()) {
        Ok(peers) => peers,
        Err(ClusterError::NotRunning) => {
            log::info!("no cluster manager runs here: no other node was checked");
            return Ok(());
        }
        Err(error) => {
            return Err(generic(format!("could not find out which other nodes there are: {error}")));
        }
    };
    let file = root.seen_inside(file);
    let name = match (&parameters.name, &file) {
        (Some(name), _) => name.clone(),
        (None, Some(file)) => {
            let config = toolstack.read_config(&root.join(file.as_str()), LIST_LIMIT);
            config.map_err(|error| generic(error.to_string()))?.name
        }
        (None, None) => {
            return Err(generic("parameter xmfile is no path that another node can be told".to_owned()));
        }
    };
    let needs = needs(root, toolstack, &name, file.as_ref()).map_err(generic)?;
    let transport = Transport::of(here, &parameters.reach);
    let back = transport.address(&me).map_err(|error| generic(error.to_string()))?;
    let this = this_host(toolstack);
    let mut against = Vec::new();
    if hands_over(toolstack.kind(), parameters) {
        let resource = environment.resource.as_deref().unwrap_or_default();
        let check = planner(cluster.as_ref(), resource, &me, ELSEWHERE_LIMIT);
        against.extend(
            (check.result == Verdict::Failed).then_some(format!("{}: {}", check.found, check.advice)),
        );
    }
    for peer in peers.iter().filter(|peer| peer.online) {
        let report =
            ask(&transport, &peer.node, &back, &needs, this.as_ref(), Deadline::after(ELSEWHERE_LIMIT));
        for check in
            report.checks.iter().filter(|check| matches!(check.result, Verdict::Warning | Verdict::Unknown))
        {
            log::warn!("domain={name} {}: {}: {}", report.node, check.check, check.found);
        }
        if report.is_hopeless() {
            against.push(format!("{} cannot take {name}: {}", report.node, report.objections()));
        }
    }
    if against.is_empty() { Ok(()) } else { Err(generic(against.join("; "))) }
}
