//! One executable, three callers: Pacemaker calls it as the agent `Xen`, classic Heartbeat as a script in `resource.d`,
//! operators call it `xen-handoff`.

use std::io::Write;
use std::process::ExitCode as ProcessExitCode;
use std::time::Duration;

use clap::Parser;
use xen_handoff::agent;
use xen_handoff::cli::{Bench, Cli, Command};
use xen_handoff::domain::DomainId;
use xen_handoff::host::NodeName;
use xen_handoff::ocf::environment::Environment;
use xen_handoff::ocf::exit_code::{ExitCode, Failure};
use xen_handoff::ocf::parameters::Reach;
use xen_handoff::{bench, heartbeat, logging, tool, toolstack, transfer, transport};

/// The agent's name in the provider's folder.
const AGENT: &str = "Xen";

fn main() -> ProcessExitCode {
    let environment = Environment::read();
    logging::begin(&environment);
    let mut arguments = std::env::args();
    let called_as = arguments.next().unwrap_or_default();
    let mut path = called_as.rsplit('/');
    let (name, folder) = (path.next(), path.next());
    if folder == Some(heartbeat::MESSAGES) && name == Some(heartbeat::FENCING) {
        return judge(heartbeat::note_fencing(&environment).map(|()| true));
    }
    if folder == Some(heartbeat::FOLDER) && name != Some(AGENT) {
        return serve_heartbeat(&arguments.collect::<Vec<_>>(), &environment);
    }
    if name == Some(AGENT) {
        return act(arguments.next().as_deref().unwrap_or_default(), &environment);
    }
    // clap prints what is wrong with the command line, and chooses the exit status.
    operate(Cli::parse().command, &environment)
}

/// Carries out what classic Heartbeat asks for.
fn serve_heartbeat(arguments: &[String], environment: &Environment) -> ProcessExitCode {
    match heartbeat::run(arguments, environment) {
        Ok(status) => ProcessExitCode::from(status),
        Err(failure) => {
            report(&failure, environment);
            ProcessExitCode::FAILURE
        }
    }
}

/// Carries out an action for the cluster.
fn act(action: &str, environment: &Environment) -> ProcessExitCode {
    let run = if environment.heartbeat_node.is_some() { heartbeat::run_wrapped } else { agent::run };
    match run(action, environment) {
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
    let _ = writeln!(std::io::stderr(), "{}{reason}", environment.exit_reason_prefix());
}

fn operate(command: Command, environment: &Environment) -> ProcessExitCode {
    let root = &environment.root;
    let done = match command {
        Command::Keys { node, authorized_line } => tool::keys::run(root, node, authorized_line),
        Command::Status { all, watch, json } => tool::status::run(root, all, watch, json),
        Command::Reach { node, as_node, user, port, network_suffix } => {
            let us = as_node.unwrap_or_else(NodeName::of_this_host);
            let reach = Reach { user, port, suffix: network_suffix, ..Reach::default() };
            tool::reach::run(root, &node, &us, &reach)
        }
        Command::Preflight { name, to, config, json } => {
            return judge(tool::preflight::run(root, &name, &to, config, json));
        }
        Command::Adopt { dry_run, resources } => return judge(tool::adopt::run(root, dry_run, &resources)),
        Command::Drain { node, plan: true, json, .. } => tool::drain::plan(root, &node, json),
        Command::Drain { node, plan: false, timeout, .. } => {
            return judge(tool::drain::drain(root, &node, Duration::from_secs(timeout)));
        }
        Command::History { domain, metrics: true, .. } => tool::history::metrics(root, domain.as_ref()),
        Command::History { domain, last, json, .. } => tool::history::run(root, domain.as_ref(), last, json),
        Command::Recover { domain, dry_run } => tool::recover::run(root, &domain, dry_run),
        Command::Bench(Bench::Rtt(options)) => bench::rtt::run(root, &options),
        Command::Bench(Bench::Memory(options)) => bench::memory::run(root, &options),
        Command::Bench(Bench::Compare { results, plot }) => bench::rtt::compare(&results, plot.as_deref()),
        Command::Guard { hold: false } => tool::guard::watch(root),
        Command::Guard { hold: true } => tool::guard::hold(root),
        Command::Serve => transport::forced_command::serve(root),
        Command::Relay(order) => transfer::relay::run(root, &order),
        Command::Receiver { parent, domain } => transfer::receive::become_receiver(root, parent, &domain),
        Command::Fetch { lock, slot, order } => agent::fetch(root, &order, lock, slot),
        Command::Push { lock, order } => agent::push(root, &order, lock),
        Command::Carry { lock, order } => agent::carry(root, &order, lock),
        Command::Thaw { domid } => toolstack::libxl::resume(root, DomainId(domid)),
        Command::Keep { domain } => tool::keep::run(root, &domain),
        Command::Agent { action } => return act(&action, environment),
    };
    judge(done.map(|()| true))
}

/// The exit status: 0 if all is well, 1 if it is not or cannot be told.
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
