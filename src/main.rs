//! One executable, three callers: Pacemaker calls it as the agent `Xen`, classic Heartbeat as a script in
//! `resource.d`, operators call it `xen-handoff`.

use std::io::{ErrorKind, Write};
use std::process::ExitCode as ProcessExitCode;
use std::time::Duration;

use xen_handoff::cli::{Cli, Command};
use xen_handoff::domain::DomainId;
use xen_handoff::here::Here;
use xen_handoff::messages::Catalogue;
use xen_handoff::ocf::environment::Environment;
use xen_handoff::ocf::exit_code::{ExitCode, Failure};
use xen_handoff::tool::check::Form;
use xen_handoff::tool::names::UnknownName;
use xen_handoff::{
    agent, completion, heartbeat, keeper, logging, serve, tool, toolstack, transfer, wire, worker,
};

/// The agent's name in the provider's folder.
const AGENT: &str = "Xen";

/// The exit status for a name that nobody knows.
const UNKNOWN_NAME: u8 = 3;

fn main() -> ProcessExitCode {
    let environment = Environment::read();
    let here = Here::new(&environment.root);
    logging::begin(&environment);
    let mut arguments = std::env::args();
    let called_as = arguments.next().unwrap_or_default();
    let mut path = called_as.rsplit('/');
    let (name, folder) = (path.next(), path.next());
    if folder == Some(heartbeat::MESSAGES) && name == Some(heartbeat::FENCING) {
        return judge(heartbeat::note_fencing(&environment).map(|()| true));
    }
    if folder == Some(heartbeat::FOLDER) && name != Some(AGENT) {
        return serve_heartbeat(&arguments.collect::<Vec<_>>(), &environment, &here);
    }
    if name == Some(AGENT) {
        return act(arguments.next().as_deref().unwrap_or_default(), &environment, &here);
    }
    let words: Vec<_> = std::env::args_os().collect();
    if let Some(status) = completion::answer(&words, || Cli::for_shells(&here.root)) {
        return status;
    }
    // clap prints what is wrong with the command line, and chooses the exit status.
    match Cli::read(words) {
        Ok(cli) => operate(cli.command, &environment, &here),
        Err(error) => error.exit(),
    }
}

/// Carries out what classic Heartbeat asks for.
fn serve_heartbeat(arguments: &[String], environment: &Environment, here: &Here) -> ProcessExitCode {
    match heartbeat::run(arguments, environment, here) {
        Ok(status) => ProcessExitCode::from(status),
        Err(failure) => {
            report(&failure, environment);
            ProcessExitCode::FAILURE
        }
    }
}

/// Carries out an action for the cluster.
fn act(action: &str, environment: &Environment, here: &Here) -> ProcessExitCode {
    logging::acts(action);
    let run = if environment.heartbeat_node.is_some() { heartbeat::run_wrapped } else { agent::run };
    match run(action, environment, here) {
        Ok(code) => code.into(),
        Err(failure) => {
            report(&failure, environment);
            failure.code.into()
        }
    }
}

/// The one place that prints an exit reason.
fn report(failure: &Failure, environment: &Environment) {
    let reason = failure.to_string().replace(['\n', '\r'], " ");
    match failure.code {
        ExitCode::Degraded => log::warn!("{reason}"),
        _ => log::error!("{reason}"),
    }
    // stderr may be closed; the log has it then.
    let reason = Catalogue::own().exit_reason(&reason);
    let _ = writeln!(std::io::stderr(), "{}{reason}", environment.exit_reason_prefix());
}

fn operate(command: Command, environment: &Environment, here: &Here) -> ProcessExitCode {
    let done = match command {
        Command::Guard { hold: false } => keeper::guard::watch(here),
        Command::Guard { hold: true } => keeper::guard::hold(here),
        Command::Serve { peer } => serve::serve(here, peer),
        Command::Relay(order) => transfer::relay::run(here, &order),
        Command::Receiver { parent, domain } => transfer::receive::become_receiver(here, parent, &domain),
        Command::Line { parent, address } => wire::warm::become_line(&here.root, parent, &address),
        Command::Fetch { lock, slot, order } => worker::fetch(here, &order, lock, slot),
        Command::Push { lock, order } => worker::push(here, &order, lock),
        Command::Carry { lock, order } => worker::carry(here, &order, lock),
        Command::Thaw { domid } => toolstack::libxl::resume(&here.root, DomainId(domid)),
        Command::Keep { domain } => keeper::keep::run(here, &domain),
        Command::Trial { resource, target, migrates } => {
            agent::trial::trial(here, &resource, &target, migrates)
        }
        Command::Agent { action } => return act(&action, environment, here),
        Command::Check { monitoring: true, ignore, .. } => return monitor(here, &ignore),
        Command::Check { json, ignore, .. } => {
            let form = if json { Form::Json } else { Form::Table };
            return answer(tool::check::run(here, form, &ignore).map(|status| status == 0));
        }
        typed => return answer(serve_operator(typed, environment, here)),
    };
    judge(done.map(|()| true))
}

/// One line, and the exit status that monitoring expects: all that goes wrong with the check itself is
/// "unknown" there.
fn monitor(here: &Here, ignore: &[String]) -> ProcessExitCode {
    /// As monitoring plugins have it.
    const UNKNOWN: u8 = 3;
    let status = tool::check::run(here, Form::Monitoring, ignore).unwrap_or_else(|error| {
        // Where nobody reads it, the status says it all.
        let _ = writeln!(std::io::stdout(), "{}", tool::check::could_not(&format!("{error:#}")));
        UNKNOWN
    });
    ProcessExitCode::from(status)
}

/// Carries out what a person has typed.
fn serve_operator(command: Command, environment: &Environment, here: &Here) -> anyhow::Result<bool> {
    let done = match command {
        Command::Keys(keys) => return tool::keys::run(here, keys.asked()),
        Command::Status { all, watch, json } => {
            tool::status::run(here, &tool::status::Asked { all, watch, json }, environment.terminal)
        }
        Command::Reach { node, all: _, json, as_node, user, port, network_suffix } => {
            let said = tool::reach::Said { user, port, suffix: network_suffix };
            match node {
                Some(node) => tool::reach::run(here, &node, as_node, said),
                None => return tool::reach::all(here, said, json),
            }
        }
        Command::Preflight { name, to, config, json } => {
            return tool::preflight::run(here, &name, &to, config, json);
        }
        Command::Adopt { dry_run, resources } => return tool::adopt::run(&here.root, dry_run, &resources),
        Command::Drain { node, plan: true, json, .. } => tool::drain::plan(here, &node, json),
        Command::Drain { node, plan: false, timeout, force, .. } => {
            return tool::drain::drain(here, &node, force, Duration::from_secs(timeout));
        }
        Command::History { metrics: true, into, .. } => tool::metrics::print(here, into.as_deref()),
        Command::History { domain, all, last, json, .. } => {
            tool::history::run(here, &tool::history::Asked { name: domain.as_deref(), last, all, json })
        }
        Command::Explain { what: Some(what), json, .. } => return tool::explain::run(here, &what, json),
        Command::Explain { what: None, json, .. } => return tool::explain::list(json),
        Command::Recover { domain, dry_run } => tool::recover::run(here, &domain, dry_run),
        Command::Guard { .. }
        | Command::Serve { .. }
        | Command::Relay(_)
        | Command::Receiver { .. }
        | Command::Line { .. }
        | Command::Fetch { .. }
        | Command::Push { .. }
        | Command::Carry { .. }
        | Command::Thaw { .. }
        | Command::Keep { .. }
        | Command::Trial { .. }
        | Command::Check { .. }
        | Command::Agent { .. } => anyhow::bail!("this is no operator's command"),
    };
    done.map(|()| true)
}

/// The exit status of what a person has typed: 0 if all is well, 1 if it is not or could not be found out, 3
/// for a name that nobody knows. What is wrong is said to that person, and is no event of this host for its
/// log.
fn answer(done: anyhow::Result<bool>) -> ProcessExitCode {
    let error = match done {
        Ok(true) => return ProcessExitCode::SUCCESS,
        Ok(false) => return ProcessExitCode::FAILURE,
        Err(error) => error,
    };
    let is = |kind| {
        let causes = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
        causes.into_iter().any(|cause| cause.kind() == kind)
    };
    if is(ErrorKind::BrokenPipe) {
        // Whoever reads has enough.
        return ProcessExitCode::SUCCESS;
    }
    let refused = is(ErrorKind::PermissionDenied) && !rustix::process::geteuid().is_root();
    let hint = if refused { "; run this as root" } else { "" };
    // stderr may be closed; nobody reads it then.
    let _ = writeln!(std::io::stderr(), "xen-handoff: {error:#}{hint}");
    if error.is::<UnknownName>() { ProcessExitCode::from(UNKNOWN_NAME) } else { ProcessExitCode::FAILURE }
}

/// The exit status: 0 if all is well, 1 if it is not, or that is not known.
fn judge(done: anyhow::Result<bool>) -> ProcessExitCode {
    match done {
        Ok(true) => ProcessExitCode::SUCCESS,
        Ok(false) => ProcessExitCode::FAILURE,
        Err(error) => {
            log::error!("{error:#}");
            let _ = writeln!(std::io::stderr(), "xen-handoff: {error:#}");
            ProcessExitCode::FAILURE
        }
    }
}
