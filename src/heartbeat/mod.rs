//! Classic Heartbeat's way to call us: a script in `resource.d` that gets its arguments first and its action
//! last.
//!
//! A line of `haresources` says `node1 xen-handoff::x0::/etc/xen/x0.cfg::handoff_timeout=600`; Heartbeat
//! splits it at `::` and runs
//! `/etc/ha.d/resource.d/xen-handoff x0 /etc/xen/x0.cfg handoff_timeout=600 start`. What follows is the same
//! agent with the same parameters; only where they are read, and how the answer to `status` is given,
//! differs.
//!
//! Heartbeat's wrapper for OCF agents (`OCF::Xen::x0`) calls the agent itself, which knows it by its
//! environment. And Heartbeat tells what came of the fencing of a node that it has lost, to a script that is
//! named after the message: `rc.d/stonith`.
//!
//! Heartbeat judges `status` by its text, not by its exit status: whatever holds `running` runs, unless it
//! says `not running`. Before every start it asks for the status and skips the start of what runs. So "I
//! cannot tell" must not read as running there (nothing would be started, and nobody would know), and a start
//! that follows is careful by itself.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;

use crate::agent::{self, Action};
use crate::cluster::heartbeat::Fencings;
use crate::cluster::peer_files::PeerFiles;
use crate::handoff::ledger::Ledger;
use crate::here::Here;
use crate::host::Root;
use crate::ocf::environment::Environment;
use crate::ocf::exit_code::{ExitCode, Failure};
use crate::ocf::span::parse_span;
use crate::parameters::PARAMETERS;

/// The folder that Heartbeat looks for scripts in. Called from there, the executable is Heartbeat's.
pub const FOLDER: &str = "resource.d";
/// The folder of the scripts that it calls when it has a message for them.
pub const MESSAGES: &str = "rc.d";
/// The message that says what came of a fencing.
pub const FENCING: &str = "stonith";
/// What it says when all went well.
const FENCED: &str = "OK";
/// How to call it.
pub const USAGE: &str = "usage: xen-handoff NAME [CONFIG] [PARAMETER=VALUE ...] start|stop|status";
/// An argument that is no parameter of the agent: Heartbeat itself has no limit for any action.
const TIMEOUT: &str = "timeout";

/// LSB's exit status of a `status` that found the service stopped.
const STATUS_STOPPED: u8 = 3;
/// ... and of one that cannot tell.
const STATUS_UNKNOWN: u8 = 4;

/// Carries out what Heartbeat asks for. Gives the process's exit status and, if it failed, why.
///
/// # Errors
/// The agent's own [`Failure`], for the log; its exit status for Heartbeat is 1.
pub fn run(arguments: &[String], environment: &Environment, here: &Here) -> Result<u8, Failure> {
    let refused = |what: String| Failure::new(ExitCode::Arguments, format!("{what}; {USAGE}"));
    let (action, environment, mistakes) = read(arguments, environment).map_err(refused)?;
    match mistakes.first() {
        Some(what) if action == Action::Start => return Err(refused(what.clone())),
        // A stop that fails has Heartbeat restart the host, and a status that fails hides what runs.
        _ => mistakes.iter().for_each(|what| log::warn!("{what}; it is not looked at")),
    }
    match action {
        Action::Start | Action::Stop => agent::run(action.name(), &environment, here).map(|_| 0),
        _ => {
            keep_a_ledger(&environment);
            Ok(status(&environment, here))
        }
    }
}

/// Carries out an action for Heartbeat's wrapper, which asks for `status` where other clusters say `monitor`.
///
/// # Errors
/// As [`agent::run`].
pub fn run_wrapped(action: &str, environment: &Environment, here: &Here) -> Result<ExitCode, Failure> {
    if Action::parse(action) == Some(Action::Monitor) {
        keep_a_ledger(environment);
    }
    agent::run(action, environment, here)
}

/// Notes what Heartbeat says of the fencing of a node. It says so after every loss of a node, before it has
/// us start anything, and also that it saw no need: a node that was lost while it gave its resources up has
/// said before that it has none.
///
/// # Errors
/// If that cannot be noted; a start then waits in vain for the fencing, and says so.
pub fn note_fencing(environment: &Environment) -> anyhow::Result<()> {
    let (node, result) = environment.fencing.as_ref().context("HA_node and HA_result are not set")?;
    let fencings = Fencings::of(&environment.root);
    if result == FENCED {
        log::info!("Heartbeat has fenced {node}");
        fencings.note(node)
    } else {
        log::info!("Heartbeat has not fenced {node}: {result}");
        fencings.forget(node)
    }
    .with_context(|| format!("noting that the fencing of {node} came to {result:?}"))
}

/// Heartbeat asks every node for the status of every line before the node joins: from then on its ledger is
/// kept without a gap, and a takeover that comes later can rely on it.
fn keep_a_ledger(environment: &Environment) {
    if let Err(why) = PeerFiles::new(&environment.root).age() {
        log::warn!("this node keeps no ledger: {why}");
    }
}

/// Says how it stands, in the words that Heartbeat looks for and no other.
fn status(environment: &Environment, here: &Here) -> u8 {
    let (word, status) = match agent::run(Action::Monitor.name(), environment, here) {
        Ok(ExitCode::Success) => ("running", 0),
        Ok(_) => ("stopped", STATUS_STOPPED),
        Err(failure) if failure.code == ExitCode::Degraded => ("running", 0),
        Err(failure) => {
            log::error!("{failure}");
            ("unknown", STATUS_UNKNOWN)
        }
    };
    // Nobody reads it: nothing is lost.
    let _ = writeln!(std::io::stdout(), "{word}");
    status
}

/// The action, the environment that the agent would find under an OCF caller, and what is wrong with the
/// other arguments.
fn read(
    arguments: &[String],
    environment: &Environment,
) -> Result<(Action, Environment, Vec<String>), String> {
    let [name, middle @ .., action] = arguments else {
        return Err("name and action are missing".to_owned());
    };
    let action = match action.as_str() {
        "start" => Action::Start,
        "stop" => Action::Stop,
        "status" | "monitor" => Action::Monitor,
        other => return Err(format!("no such action: {other:?}")),
    };
    let mut environment = environment.clone();
    environment.resource = Some(name.clone());
    environment.parameters.insert("name".to_owned(), name.clone());
    let mut mistakes = Vec::new();
    for (at, argument) in middle.iter().enumerate() {
        match argument.split_once('=') {
            Some((TIMEOUT, seconds)) => match parse_span(seconds) {
                Ok(timeout) => environment.timeout = Some(timeout),
                Err(what) => mistakes.push(format!("{argument:?}: {what}")),
            },
            Some((parameter, _)) if PARAMETERS.iter().all(|known| known.name != parameter) => {
                mistakes.push(format!("{argument:?}: there is no parameter {parameter}"));
            }
            Some((parameter, value)) => {
                environment.parameters.insert(parameter.to_owned(), value.to_owned());
            }
            None if at == 0 => {
                environment.parameters.insert("xmfile".to_owned(), argument.clone());
            }
            None => mistakes.push(format!("{argument:?} is neither the configuration nor PARAMETER=VALUE")),
        }
    }
    if !environment.parameters.contains_key("xmfile") {
        let file = usual_config(&environment.root, name);
        environment.parameters.insert("xmfile".to_owned(), file.to_string_lossy().into_owned());
    }
    Ok((action, environment, mistakes))
}

/// Where a domain's configuration usually lies: with the ending on Debian, without it on CentOS.
fn usual_config(root: &Root, name: &str) -> PathBuf {
    let with_ending = root.join(&format!("/etc/xen/{name}.cfg"));
    let without = root.join(&format!("/etc/xen/{name}"));
    if !with_ending.is_file() && without.is_file() { without } else { with_ending }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn called(text: &str) -> Result<(Action, Environment), String> {
        let (action, set, mistakes) = read(&words(text), &Environment::default())?;
        mistakes.into_iter().next().map_or(Ok((action, set)), Err)
    }

    #[test]
    fn a_line_of_haresources_becomes_what_an_ocf_caller_would_set() {
        let (action, set) = called("x0 /etc/xen/x0.cfg handoff_timeout=600 timeout=900 stop").unwrap();
        assert_eq!(action, Action::Stop);
        assert_eq!(set.resource.as_deref(), Some("x0"));
        assert_eq!(set.parameters["xmfile"], "/etc/xen/x0.cfg");
        assert_eq!(set.parameters["handoff_timeout"], "600");
        assert_eq!((set.timeout, set.parameters.get("timeout")), (Some(Duration::from_secs(900)), None));
        let (_, short) = called("x0 start").unwrap();
        assert_eq!(short.parameters["xmfile"], "/etc/xen/x0.cfg");
    }

    #[test]
    fn a_call_that_makes_no_sense_is_refused_with_the_word_that_is_wrong() {
        assert!(called("").is_err() && called("start").is_err());
        assert!(called("x0 reload").unwrap_err().contains("reload"));
        assert!(called("x0 /etc/xen/x0.cfg more start").unwrap_err().contains("more"));
        assert!(called("x0 handoff_timeoud=600 start").unwrap_err().contains("handoff_timeoud"));
        assert!(called("x0 timeout=soon start").unwrap_err().contains("soon"));
    }

    /// P8: Heartbeat restarts the host of a stop that fails.
    #[test]
    fn a_mistyped_argument_is_an_error_of_start_alone() {
        let (_, set, mistakes) = read(
            &words("x0 /etc/xen/x0.cfg handoff_timeoud=600 timeout=soon more handoff=never stop"),
            &Environment::default(),
        )
        .unwrap();
        assert_eq!(mistakes.len(), 3, "{mistakes:?}");
        assert_eq!((set.parameters["handoff"].as_str(), set.timeout), ("never", None), "the others count");
        let refused = run(
            &words("x0 handoff_timeoud=600 start"),
            &Environment::default(),
            &Here::new(&Root::default()),
        )
        .unwrap_err();
        assert_eq!(refused.code, ExitCode::Arguments);
    }

    #[test]
    fn by_hand_there_is_no_cluster_that_calls() {
        let (_, set) = called("x0 stop").unwrap();
        assert!(!set.is_called_by_a_cluster());
    }

    #[test]
    fn only_a_fencing_that_went_well_is_noted_and_any_other_word_undoes_it() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        let n1 = crate::host::NodeName::new("n1").unwrap();
        let told = |result: &str| Environment {
            root: root.clone(),
            fencing: Some((n1.clone(), result.to_owned())),
            ..Environment::default()
        };
        note_fencing(&told("OK")).unwrap();
        assert!(Fencings::of(&root).at(&n1).is_some());
        note_fencing(&told("unneeded")).unwrap();
        assert_eq!(Fencings::of(&root).at(&n1), None);
        assert!(note_fencing(&Environment::default()).is_err());
    }
}
