//! `xen-handoff check`: is the cluster set up as handoffs need it? Keys, host keys, ways, guard, scheduler,
//! hypervisors and clocks of every node; configuration, disks and timeouts of every domain. Changes nothing.
//!
//! The nodes are asked at once, and say how they are set up ([`crate::peer::setup`]); what follows from that
//! is decided by functions that look at nothing else, a file a subject.

use std::io::Write;

use self::ask::NodeSays;
use self::domains::DomainSays;
use self::finding::Finding;
use super::names::Nodes;
use super::output as document;
use super::shown::width;
use crate::here::Here;
use crate::host::NodeName;
use crate::preflight::Verdict;
use crate::preflight::setup::Setup;
use crate::tool::waiting::waiting;

mod ask;
mod cluster;
mod disks;
mod domains;
mod finding;
mod hosts;
mod keys;
mod output;
mod ways;

pub use finding::CHECKS;
pub use output::{Form, could_not};

/// Checks everything but what `ignore` names, and says what it found. The exit status.
///
/// # Errors
/// If stdout is closed; unless this is for monitoring, if an ignored check is none.
pub fn run(here: &Here, form: Form, ignore: &[String]) -> anyhow::Result<u8> {
    for name in ignore {
        anyhow::ensure!(CHECKS.contains(&name.as_str()), "there is no check {name}: {}", CHECKS.join(", "));
    }
    let waits = waiting("asking the nodes");
    let cluster = here.cluster();
    let nodes = Nodes::of(&here.root, cluster.as_ref());
    let mut findings = Vec::new();
    let domains = domains::domains(here, &mut findings);
    let (files, disks) = domains::things(&domains);
    let says = ask::ask_all(here, &nodes, (&files, &disks));
    if let Some(caveat) = &nodes.caveat {
        let advice = "start the cluster here, and check again";
        findings.push(Finding::new("cluster", &nodes.me, Verdict::Failed, caveat, advice));
    } else {
        findings.push(Finding::ok("cluster", &nodes.me, format!("{} nodes", says.len())));
    }
    findings.extend(cluster::fencing(cluster.fencing()));
    findings.extend(judge(&nodes.me, &says, &domains));
    findings.retain(|finding| !ignore.iter().any(|name| name == finding.check));
    drop(waits);
    let mut out = std::io::stdout();
    match form {
        Form::Json => document::print("check", &output::Document::of(&findings), false)?,
        Form::Table => write!(out, "{}", output::table(&findings).text(width()))?,
        Form::Monitoring => writeln!(out, "{}", output::one_line(&findings, says.len(), domains.len()))?,
    }
    let worst = output::worst(&findings);
    Ok(match form {
        Form::Monitoring => output::plugin_status(worst),
        Form::Table | Form::Json => u8::from(worst != Verdict::Ok),
    })
}

/// All that follows. `me`: the node that has asked.
fn judge(me: &NodeName, says: &[NodeSays], domains: &[DomainSays]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for node in says {
        findings.extend(ways::transport(me, node));
    }
    let up: Vec<(&NodeName, &Setup)> =
        says.iter().filter_map(|node| Some((&node.node, node.setup.as_ref().ok()?))).collect();
    findings.extend(says.iter().flat_map(ways::ways));
    findings.extend(hosts::versions(&up));
    findings.extend(keys::keys(&up));
    for (node, setup) in &up {
        findings.push(hosts::guard(node, setup));
        findings.extend(hosts::planner(node, setup));
    }
    findings.extend(says.iter().flat_map(hosts::xendomains));
    findings.extend(keys::host_keys(&up));
    findings.extend(hosts::hypervisors(&up));
    findings.extend(says.iter().filter_map(hosts::clock));
    let slowest = up.iter().filter_map(|(_, setup)| setup.mib_per_second).min();
    let (mut file_at, mut disk_at) = (0, 0);
    for domain in domains {
        let file = domain.file.as_ref().map(|_| file_at);
        findings.extend(domains::configuration(domain, says, file));
        findings.extend(domain.disks.iter().enumerate().map(|(at, path)| {
            let here = |node: &NodeSays| {
                Some((node.node.clone(), node.seen.as_ref()?.disks.get(disk_at + at)?.clone()))
            };
            disks::storage(&domain.managed.resource, path, &says.iter().filter_map(here).collect::<Vec<_>>())
        }));
        findings.extend(domains::timeouts(domain, slowest));
        file_at += usize::from(domain.file.is_some());
        disk_at += domain.disks.len();
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    use crate::preflight::setup::{KeyState, Started, Xendomains};

    fn node(name: &str) -> NodeName {
        NodeName::new(name).unwrap()
    }

    fn well() -> Setup {
        let known = ["n1", "n2", "n3"].map(|name| (node(name), vec![format!("ssh-ed25519 {name}")]));
        Setup {
            version: "0.1.0".to_owned(),
            key: KeyState {
                public: Some("ssh-ed25519 A".to_owned()),
                troubles: vec![],
                is_accepted: true,
                is_own: false,
                accepts: BTreeMap::new(),
                shared_lines: 1,
            },
            host_key: None,
            known_hosts: known.into(),
            guard: Ok(("active".to_owned(), "enabled".to_owned())),
            xen: Ok("4.17".to_owned()),
            planner: Some(Ok(())),
            mib_per_second: Some(100),
        }
    }

    /// It runs, and does nothing with the cluster's domains.
    fn harmless() -> Xendomains {
        let runs = ("active".to_owned(), "enabled".to_owned());
        let settings = "/etc/default/xendomains".to_owned();
        Xendomains { service: Ok(runs), starts: Ok(vec![]), settings, keeps: vec![] }
    }

    fn says(name: &str, change: impl FnOnce(&mut NodeSays, &mut Setup)) -> NodeSays {
        let mut setup = Setup { host_key: Some(format!("ssh-ed25519 {name}")), ..well() };
        let mut says = NodeSays {
            node: node(name),
            is_member: Some(true),
            setup: Err(String::new()),
            xendomains: Some(Ok(harmless())),
            seen: None,
            clock: (name != "n1").then_some((0, 0)),
            ways: vec![],
        };
        change(&mut says, &mut setup);
        if says.setup == Err(String::new()) {
            says.setup = Ok(setup);
        }
        says
    }

    /// What is wrong where n2 is changed like that: check, of what, result.
    fn wrong(change: impl FnOnce(&mut NodeSays, &mut Setup)) -> Vec<(&'static str, String, Verdict)> {
        let all = [says("n1", |_, _| {}), says("n2", change), says("n3", |_, _| {})];
        let findings = judge(&node("n1"), &all, &[]);
        assert!(findings.iter().all(|finding| CHECKS.contains(&finding.check)), "{findings:?}");
        let wrong = findings.into_iter().filter(|finding| finding.result != Verdict::Ok);
        wrong.map(|finding| (finding.check, finding.of, finding.result)).collect()
    }

    #[test]
    fn each_thing_that_is_wrong_on_a_node_is_found_and_nothing_else() {
        use Verdict::{Failed, Unknown, Warning};
        assert_eq!(wrong(|_, _| {}), []);
        let of_n2 = |check, result| vec![(check, "n2".to_owned(), result)];
        assert_eq!(wrong(|_, setup| setup.version = "0.0.9".to_owned()), of_n2("version", Warning));
        assert_eq!(
            wrong(|_, setup| setup.key.public = Some("ssh-ed25519 B".to_owned())),
            of_n2("keys", Failed)
        );
        assert_eq!(wrong(|_, setup| setup.key.is_accepted = false), of_n2("authorized", Warning));
        let mode = ("mode 0644".to_owned(), "chmod".to_owned());
        assert_eq!(wrong(|_, setup| setup.key.troubles.push(mode)), of_n2("keys", Failed));
        assert_eq!(
            wrong(|_, setup| drop(setup.known_hosts.remove(&node("n3")))),
            of_n2("host-keys", Warning)
        );
        let other = vec!["ssh-ed25519 stale".to_owned()];
        assert_eq!(
            wrong(|_, setup| drop(setup.known_hosts.insert(node("n3"), other))),
            of_n2("host-keys", Failed)
        );
        let stopped = Ok(("inactive".to_owned(), "enabled".to_owned()));
        assert_eq!(wrong(|_, setup| setup.guard = stopped), of_n2("guard", Warning));
        assert_eq!(wrong(|_, setup| setup.guard = Err("no systemd".to_owned())), of_n2("guard", Unknown));
        assert_eq!(wrong(|_, setup| setup.planner = Some(Err("mute".to_owned()))), of_n2("planner", Failed));
        assert_eq!(wrong(|_, setup| setup.xen = Err("xl hung".to_owned())), of_n2("xen", Failed));
        assert_eq!(wrong(|says, _| says.clock = Some((1900, 200))), of_n2("clock", Warning));
        assert_eq!(wrong(|says, _| says.clock = Some((-9000, 200))), of_n2("clock", Failed));
        assert_eq!(
            wrong(|says, _| says.clock = Some((900, 0))),
            [],
            "within what NTP and a busy host may differ"
        );
        let shut = (node("n3"), Err("no key on n3".to_owned()));
        assert_eq!(wrong(|says, _| says.ways.push(shut)), [("ways", "n2 > n3".to_owned(), Failed)]);
        assert_eq!(
            wrong(|says, _| says.setup = Err("cannot reach n2".to_owned())),
            of_n2("transport", Failed)
        );
        let away = |says: &mut NodeSays, _: &mut Setup| {
            (says.setup, says.is_member) = (Err("cannot reach n2".to_owned()), Some(false));
        };
        assert_eq!(wrong(away), of_n2("transport", Warning));
    }

    #[test]
    fn xendomains_is_well_where_it_neither_starts_nor_keeps_a_domain_of_the_clusters() {
        use Verdict::{Failed, Unknown, Warning};
        let on_n2 = |change: &dyn Fn(&mut Xendomains)| {
            let mut found = harmless();
            change(&mut found);
            let wrong = wrong(|says, _| says.xendomains = Some(Ok(found)));
            assert!(wrong.iter().all(|(check, of, _)| *check == "xendomains" && of == "n2"), "{wrong:?}");
            wrong.into_iter().map(|(_, _, result)| result).collect::<Vec<_>>()
        };
        let is = |active: &str, enabled: &str| Ok((active.to_owned(), enabled.to_owned()));
        let starts = |is_saved| {
            Ok(vec![Started { resource: "x0".to_owned(), file: "/etc/xen/auto/x0".to_owned(), is_saved }])
        };
        let saves = || vec![("XENDOMAINS_SAVE".to_owned(), "/var/lib/xen/save".to_owned())];
        for is_saved in [false, true] {
            assert_eq!(on_n2(&|found| found.starts = starts(is_saved)), [Failed]);
        }
        assert_eq!(on_n2(&|found| found.keeps = saves()), [Warning]);
        assert_eq!(on_n2(&|found| found.starts = Err("/etc/xen/auto: no".to_owned())), [Unknown]);
        let off = |found: &mut Xendomains| found.service = is("inactive", "disabled");
        assert_eq!(on_n2(&|found| (off(found), found.starts = starts(false)).1), [Warning]);
        assert_eq!(on_n2(&|found| (off(found), found.keeps = saves()).1), []);
        assert_eq!(on_n2(&|found| (off(found), found.starts = Err("no".to_owned())).1), []);
        // Whether it runs is not known: what it would do counts.
        let hidden = |found: &mut Xendomains| found.service = Err("no systemd".to_owned());
        assert_eq!(on_n2(&hidden), []);
        assert_eq!(on_n2(&|found| (hidden(found), found.starts = starts(false)).1), [Failed]);
        assert_eq!(on_n2(&|found| (hidden(found), found.keeps = saves()).1), [Warning]);
        // A version that does not say, and one that could not find it out.
        let of_n2 = |result| vec![("xendomains", "n2".to_owned(), result)];
        assert_eq!(wrong(|says, _| says.xendomains = None), of_n2(Unknown));
        assert_eq!(wrong(|says, _| says.xendomains = Some(Err("no".to_owned()))), of_n2(Unknown));
    }

    #[test]
    fn a_key_of_a_nodes_own_is_let_in_by_every_other_node_and_as_that_node() {
        use Verdict::{Failed, Warning};
        let all = ["n1", "n2", "n3"];
        let own = |name: &str, change: &dyn Fn(&mut KeyState)| {
            says(name, |_, setup| {
                let of = |other: &str| (node(other), vec![format!("ssh-ed25519 K{other}")]);
                setup.key = KeyState {
                    public: Some(format!("ssh-ed25519 K{name}")),
                    is_own: true,
                    is_accepted: false,
                    accepts: all.iter().filter(|other| **other != name).map(|other| of(other)).collect(),
                    shared_lines: 0,
                    troubles: vec![],
                };
                change(&mut setup.key);
            })
        };
        let wrong = |change: &dyn Fn(&mut KeyState)| -> Vec<(&str, String, Verdict)> {
            let says = [own("n1", &|_| {}), own("n2", change), own("n3", &|_| {})];
            let findings = judge(&node("n1"), &says, &[]);
            let wrong = findings.into_iter().filter(|finding| finding.result != Verdict::Ok);
            wrong.map(|finding| (finding.check, finding.of, finding.result)).collect()
        };
        assert_eq!(wrong(&|_| {}), []);
        let of = |name: &str, result| vec![("authorized", name.to_owned(), result)];
        assert_eq!(wrong(&|key| drop(key.accepts.remove(&node("n3")))), of("n3", Warning));
        let swapped = |key: &mut KeyState| {
            let keys = key.accepts.remove(&node("n3")).unwrap();
            key.accepts.entry(node("n1")).or_default().extend(keys);
        };
        assert_eq!(wrong(&swapped), of("n3", Failed));
        assert_eq!(wrong(&|key| key.shared_lines = 1), of("n2", Warning));
        // In the middle of the change, one node has one of its own, and the others the one for all.
        let says = [says("n1", |_, _| {}), own("n2", &|_| {}), says("n3", |_, _| {})];
        let findings = judge(&node("n1"), &says, &[]);
        let keys: Vec<_> = findings.iter().filter(|f| f.check == "keys" && f.result != Verdict::Ok).collect();
        assert!(keys.is_empty(), "{keys:?}");
    }
}
