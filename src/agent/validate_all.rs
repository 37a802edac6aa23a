//! `validate-all`: can these parameters ever work on this node? Touches no domain.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use super::context::NOTHING_CHANGED;
use super::fitness;
use crate::clock::{Deadline, in_action};
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

/// The level of `OCF_CHECK_LEVEL` from which the other nodes are asked too; `pcs` and
/// `crm_resource --validate=10` set it.
const ELSEWHERE: u32 = 10;
/// Limit of all questions to them, which are asked at the same time.
const ELSEWHERE_LIMIT: Duration = Duration::from_secs(20);

/// Checks every parameter, the configuration file, and the tools.
///
/// # Errors
/// `Configured` for a value that is wrong on every node, `NotInstalled` for what this node lacks or cannot
/// use.
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

/// What is to be said where there is no key. The agent works without one, by ordinary stops: worth a word,
/// and no error.
fn no_key(environment: &Environment, parameters: &Parameters, kind: Kind) -> Option<String> {
    if !hands_over(kind, parameters) || ssh::has_key(&environment.root) {
        return None;
    }
    let key = environment.root.key_folder().join(ssh::KEY);
    Some(format!("no key {}: no stop here can hand over; {}", key.display(), ssh::NO_KEY))
}

/// Whether every other node that is online could take the domain, by the same checks as
/// `xen-handoff preflight`.
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
        let check = planner(cluster.as_ref(), resource, &me, in_action(ELSEWHERE_LIMIT));
        against.extend(
            (check.result == Verdict::Failed).then_some(format!("{}: {}", check.found, check.advice)),
        );
    }
    let online: Vec<NodeName> = peers.into_iter().filter(|peer| peer.online).map(|peer| peer.node).collect();
    let deadline = Deadline::after(in_action(ELSEWHERE_LIMIT));
    for report in ask(&transport, &online, &back, &needs, this.as_ref(), deadline) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::fake::{DOWN, Fake as Cluster};
    use crate::cluster::{Destination, Peer, Plan};
    use crate::domain::{DomainConfig, DomainId, Presence};
    use crate::here::fake::{World, node, seen, x0};
    use crate::preflight::facts::{Facts, HostFacts};
    use crate::toolstack::XenVersion;
    use crate::toolstack::fake::Fake;
    use crate::wire::message::{Answer, Request};

    /// Where all is well, and the file can be read.
    fn well() -> World {
        with(Fake::showing([Ok(seen::absent())]))
    }

    fn with(fake: Fake) -> World {
        let world = World::of(fake);
        world.file("etc/xen/x0.cfg", "name = \"x0\"");
        world.file("etc/xen-handoff/id_ed25519", "");
        world.xl.config.replace(Some(DomainConfig::blank(&x0())));
        world
    }

    fn of(world: &World, parameters: &[(&str, &str)]) -> Environment {
        let pairs = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let (root, on_node) = (world.here.root.clone(), Some(node("n1")));
        let (resource, parameters) = (Some("x0".to_owned()), pairs.collect());
        Environment { root, resource, parameters, on_node, ..Environment::default() }
    }

    fn file(world: &World) -> String {
        world.here.root.join("/etc/xen/x0.cfg").display().to_string()
    }

    /// The usual parameters, and these.
    fn validates(world: &World, more: &[(&str, &str)], level: u32) -> Result<(), (ExitCode, String)> {
        let file = file(world);
        let mut parameters = vec![("xmfile", file.as_str())];
        parameters.extend(more);
        let environment = Environment { check_level: level, ..of(world, &parameters) };
        let done = validate(&environment, &world.here);
        assert!(world.deeds().is_empty(), "it touches no domain: {:?}", world.deeds());
        let failed = |failure: Failure| (failure.code, failure.to_string());
        done.map_err(failed).map(|code| assert_eq!(code, ExitCode::Success))
    }

    fn fails(world: &World, more: &[(&str, &str)], code: ExitCode, words: &str) {
        let (with, why) = validates(world, more, 0).unwrap_err();
        assert!(with == code && why.contains(words), "{with:?}: {why}");
    }

    #[test]
    fn p8_what_is_wrong_on_every_node_is_configured_and_what_this_node_lacks_is_not_installed() {
        assert_eq!(validates(&well(), &[], 0), Ok(()));
        fails(&well(), &[("handoff_timeout", "never")], ExitCode::Configured, "handoff_timeout=\"never\"");
        let other = "parameter toolstack=xm, and the toolstack of this node is xl";
        fails(&well(), &[("toolstack", "xm")], ExitCode::NotInstalled, other);
        let missing = with(Fake { missing: true, ..Fake::showing([Ok(seen::absent())]) });
        fails(&missing, &[], ExitCode::NotInstalled, "this node has no toolstack: xl is not installed");
        let xm = || with(Fake { kind: Some(Kind::Xm), ..Fake::showing([Ok(seen::absent())]) });
        fails(
            &xm(),
            &[("migration_rate", "10")],
            ExitCode::NotInstalled,
            "migration_rate cannot be followed",
        );
        assert_eq!(validates(&xm(), &[], 0), Ok(()));
    }

    #[test]
    fn p8_the_file_is_there_and_the_toolstack_reads_it() {
        let world = well();
        let failure = validate(&of(&world, &[("name", "x0")]), &world.here).unwrap_err();
        assert_eq!(failure.code, ExitCode::Configured);
        assert!(failure.to_string().contains("xmfile is required and not set"), "{failure}");
        std::fs::remove_file(file(&world)).unwrap();
        fails(&world, &[], ExitCode::NotInstalled, "no such file on this node");
        let world = well();
        world.xl.config.replace(None);
        fails(&world, &[], ExitCode::NotInstalled, "domain configuration ");
        let mute = with(Fake { is_mute: true, ..Fake::default() });
        fails(&mute, &[], ExitCode::Generic, "answered in an unknown form");
    }

    #[test]
    fn where_the_toolstack_has_no_files_a_name_will_do_and_the_pool_speaks_for_the_others() {
        let world = with(Fake { kind: Some(Kind::Xe), ..Fake::default() });
        let name = "parameter name is required where the toolstack is xe, and not set";
        fails(&world, &[], ExitCode::Configured, name);
        let mut environment = of(&world, &[("name", "x0")]);
        for level in [0, ELSEWHERE] {
            environment.check_level = level;
            assert_eq!(validate(&environment, &world.here).unwrap(), ExitCode::Success);
        }
        assert!(world.peers.asked().is_empty());
    }

    #[test]
    fn a_node_without_a_key_is_worth_a_word_only_where_a_stop_would_hand_over() {
        let world = well();
        let says = |parameters: &[(&str, &str)], kind| {
            let environment = of(&world, parameters);
            no_key(&environment, &Parameters::read(&environment.parameters).unwrap(), kind)
        };
        assert_eq!(says(&[], Kind::Xl), None);
        std::fs::remove_file(world.here.root.join("/etc/xen-handoff/id_ed25519")).unwrap();
        assert!(says(&[], Kind::Xl).unwrap().contains("no stop here can hand over"));
        assert_eq!(says(&[("handoff", "never")], Kind::Xl), None);
        assert_eq!((says(&[], Kind::Xm), says(&[], Kind::Xe)), (None, None));
        assert_eq!(validates(&world, &[], 0), Ok(()), "it works by ordinary stops");
    }

    /// What a node says of itself that can take it.
    fn takes_it() -> Facts {
        let capabilities = ["pv", "hvm", "hap"].map(str::to_owned).to_vec();
        let xen = XenVersion { major: 4, minor: 17 };
        let host = Ok(HostFacts { xen, capabilities, free_mib: 4096, spare_mib: 0 });
        Facts { presence: Presence::Absent, host, file: None, troubles: vec![] }
    }

    /// One whose other node is n2, which says this of itself.
    fn beside(facts: Facts) -> World {
        let world = well();
        let destination = Destination::Node(node("n2"));
        let (losing, survivors) = (vec![], vec![node("n2")]);
        world.cluster.plan.are(Ok(Plan { destination, losing, failed: None, survivors, start_takes: None }));
        world.cluster.peers.are(Ok(vec![Cluster::member("n2")]));
        world.peers.answer("n2", move |request| {
            Some(match request {
                Request::Reach { .. } => Answer::Reached,
                Request::Preflight { .. } => Answer::Facts { facts: facts.clone() },
                other => panic!("{other:?}"),
            })
        });
        world
    }

    fn elsewhere_fails(world: &World, more: &[(&str, &str)], words: &str) {
        let (with, why) = validates(world, more, ELSEWHERE).unwrap_err();
        assert!(with == ExitCode::Generic && why.contains(words), "{with:?}: {why}");
    }

    #[test]
    fn p7_the_other_nodes_are_asked_at_level_ten_alone_and_only_those_that_are_there() {
        let world = beside(takes_it());
        assert_eq!(validates(&world, &[], ELSEWHERE - 1), Ok(()));
        assert!(world.peers.asked().is_empty());
        assert_eq!(validates(&world, &[], ELSEWHERE), Ok(()));
        assert!(!world.peers.asked().is_empty());
        let world = beside(takes_it());
        let away = Peer { online: false, ..Cluster::member("n3") };
        world.cluster.peers.are(Ok(vec![Cluster::member("n2"), away]));
        assert_eq!(validates(&world, &[], ELSEWHERE), Ok(()), "n3 cannot be asked, and is not");
        let alone = well();
        alone.cluster.peers.are(Err(DOWN));
        assert_eq!(validates(&alone, &[], ELSEWHERE), Ok(()), "no cluster manager runs here");
        alone.cluster.peers.are(Err("the CIB is gone"));
        elsewhere_fails(&alone, &[], "could not find out which other nodes there are: ");
    }

    #[test]
    fn p7_a_node_that_could_not_take_it_is_named_and_what_is_only_unsure_is_not() {
        let there = Facts { presence: Presence::Running(DomainId(4)), ..takes_it() };
        elsewhere_fails(&beside(there), &[], "n2 cannot take x0: name: ");
        let world = beside(takes_it());
        world.cluster.peers.are(Ok(vec![Cluster::member("n2"), Cluster::member("n3")]));
        elsewhere_fails(&world, &[], "n3 cannot take x0: transport: ");
        let mute = Facts { host: Err("xl hung".to_owned()), ..takes_it() };
        assert_eq!(validates(&beside(mute), &[], ELSEWHERE), Ok(()), "a warning");
    }

    #[test]
    fn one_node_that_takes_its_time_keeps_none_of_the_others_waiting() {
        let world = beside(takes_it());
        world.cluster.peers.are(Ok(vec![Cluster::member("n2"), Cluster::member("n3")]));
        let (is_asked, asked) = std::sync::mpsc::channel();
        let waited = std::sync::Arc::new(std::sync::Mutex::new(None));
        let met = waited.clone();
        world.peers.answer("n2", move |request| {
            if matches!(request, Request::Reach { .. }) {
                *met.lock().unwrap() = Some(asked.recv_timeout(ELSEWHERE_LIMIT / 2).is_ok());
                return Some(Answer::Reached);
            }
            Some(Answer::Facts { facts: takes_it() })
        });
        world.peers.answer("n3", move |request| {
            let _ = is_asked.send(());
            Some(match request {
                Request::Reach { .. } => Answer::Reached,
                _ => Answer::Facts { facts: takes_it() },
            })
        });
        assert_eq!(validates(&world, &[], ELSEWHERE), Ok(()));
        assert_eq!(*waited.lock().unwrap(), Some(true), "n3 was asked while n2 had not answered yet");
    }

    #[test]
    fn p7_a_scheduler_that_says_nothing_is_found_before_the_first_evacuation() {
        let world = beside(takes_it());
        world.cluster.plan.are(Err("aborted"));
        elsewhere_fails(&world, &[], "what the cluster plans could not be found out: ");
        assert_eq!(validates(&world, &[("handoff", "never")], ELSEWHERE), Ok(()), "nobody asks it then");
        world.cluster.plan.are(Err(DOWN));
        assert_eq!(validates(&world, &[], ELSEWHERE), Ok(()));
    }

    #[test]
    fn a_file_that_no_other_node_can_be_told_needs_a_name() {
        let world = beside(takes_it());
        let odd = world.file("etc/xen/../x0\n.cfg", "name = \"x0\"").display().to_string();
        let mut environment = of(&world, &[("xmfile", &odd)]);
        environment.check_level = ELSEWHERE;
        let failure = validate(&environment, &world.here).unwrap_err();
        assert!(failure.to_string().contains("no path that another node can be told"), "{failure}");
        environment.parameters.insert("name".to_owned(), "x0".to_owned());
        let failure = validate(&environment, &world.here).unwrap_err();
        assert!(failure.to_string().contains("its configuration file is not known"), "{failure}");
        world.xl.shows(Ok(seen::running()));
        assert_eq!(validate(&environment, &world.here).unwrap(), ExitCode::Success, "by what it runs with");
    }
}
