//! Carries a fault out on a cluster: does what `events` says, waits for what it waits for, then holds what came of it
//! against `expect`.

use super::processes::of_role;
use super::script::{Deed, Fact, Fault, Line, Statement};
use crate::cluster::{Cluster, ELECTED, HOST_KEY};
use crate::spawn::{self, Said};
use crate::story::{Domain, SOON, Story};
use crate::world::world;
use crate::{audit, pool};
use std::process::{Child, Stdio};

/// The library that turns a program's wall clock, as /etc/faketimerc says.
pub(crate) const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
pub(crate) fn can_turn_clocks() -> bool {
    let world = world();
    world.root.join(FAKETIME.trim_start_matches('/')).exists() && world.has("patchelf")
}

/// Which agent manages the domains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Under {
    Ours,
    /// `ocf:heartbeat:Xen`; parameters that only ours has are left out.
    Stock,
}

struct Play<'a> {
    story: Story<'a>,
    cluster: &'a Cluster,
    under: Under,
    domains: Vec<String>,
    calls: Vec<(String, String, Child)>,
    returned: Vec<(String, String, Said)>,
    /// Whether the audit for what is left over is to be made at the end.
    clean: bool,
}

/// Plants the fault and judges.
pub(crate) fn play(cluster: &Cluster, fault: &Fault, under: Under) {
    let mut play = Play {
        story: Story::begin(cluster),
        cluster,
        under,
        domains: vec![],
        calls: vec![],
        returned: vec![],
        clean: under == Under::Ours,
    };
    let expect = match under {
        Under::Ours => &fault.expect,
        Under::Stock => fault.expect_stock.as_ref().unwrap_or(&fault.expect),
    };
    for line in &fault.events {
        play.line(line);
    }
    for line in expect {
        if !matches!(line.statement, Statement::Await(_) | Statement::Do(Deed::Nothing)) {
            play.come_to_rest();
        }
        play.line(line);
    }
    play.end(expect);
}

impl Play<'_> {
    fn line(&mut self, line: &Line) {
        match &line.statement {
            Statement::Do(deed) => self.deed(deed),
            Statement::Await(Fact::Left { nothing }) => self.clean = *nothing,
            Statement::Await(fact) => {
                if let Err(seen) = self.wait_for(fact) {
                    panic!("not so: {}\nbut: {seen}\n{}", line.text, self.story.report());
                }
            }
        }
    }

    /// An operator looks before he acts: a clean-up in the middle of a recovery leaves half of it behind.
    fn come_to_rest(&self) {
        let _as_far_as_it_can = spawn::until(SOON, || {
            self.cluster.answer_fencing();
            self.cluster.is_settled()
        });
    }

    fn wait_for(&mut self, fact: &Fact) -> Result<(), String> {
        // Who orders a fencing may still have to be elected.
        let limit = if matches!(fact, Fact::Fenced(_)) { ELECTED } else { SOON };
        let mut seen = Ok(());
        let _in_time = spawn::until(limit, || {
            self.cluster.answer_fencing();
            self.collect_calls();
            seen = self.look(fact);
            seen.is_ok()
        });
        seen
    }

    fn collect_calls(&mut self) {
        for place in (0..self.calls.len()).rev() {
            let ended = |call: &mut (String, String, Child)| call.2.try_wait().is_ok_and(|s| s.is_some());
            if self.calls.get_mut(place).is_some_and(ended) {
                let (node, action, child) = self.calls.swap_remove(place);
                let output = child.wait_with_output().expect("what the call said");
                let said = Said {
                    status: output.status.code().unwrap_or(-1),
                    stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
                    stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
                };
                self.returned.push((node, action, said));
            }
        }
    }

    /// What was waited for holds still, once the cluster has come to rest, and nothing is left over.
    fn end(mut self, expect: &[Line]) {
        self.cluster.settle();
        let mut last_place = std::collections::BTreeMap::new();
        for line in expect {
            match &line.statement {
                Statement::Await(Fact::Runs { name, .. }) => {
                    last_place.insert(name.clone(), line);
                }
                Statement::Await(Fact::Reboots { .. } | Fact::DoubleRuns(_)) => self.line(line),
                Statement::Await(_) | Statement::Do(_) => {}
            }
        }
        last_place.into_values().for_each(|line| self.line(line));
        for name in &self.domains {
            if self.clean {
                self.story.nothing_left(name);
            }
            if let Some(longest) = audit::gaps(&self.story.events(), name).last() {
                pool::note(&format!("{name}: longest gap {longest:.1} s"));
            }
        }
    }

    fn deed(&mut self, deed: &Deed) {
        let cluster = self.cluster;
        match deed {
            Deed::Domain { name, options, runs } => self.domain(name, options, *runs),
            Deed::OldLedger => cluster.age_ledger(),
            Deed::Fencing => cluster.enable_fencing(),
            Deed::Knob { node, name, text: Some(text) } => cluster.knob(node, name, text),
            Deed::Knob { node, name, text: None } => cluster.unset_knob(node, name),
            Deed::Standby { node, on: true } => self.story.standby(node),
            Deed::Standby { node, on: false } => self.story.online(node),
            Deed::Resource(words) => {
                cluster.must(&strs(words));
            }
            Deed::TargetRole { name, started } => {
                let role = if *started { "Started" } else { "Stopped" };
                cluster.must(&["crm_resource", "-r", name, "--meta", "-p", "target-role", "-v", role]);
            }
            Deed::Parameter { name, parameter, value } => {
                cluster.must(&["crm_resource", "-r", name, "-p", parameter, "-v", value]);
            }
            Deed::ShutDown(node) => cluster.terminate_pacemaker(node),
            Deed::Join(node) => {
                cluster.start_pacemaker(node);
                let online = spawn::until(SOON, || {
                    cluster.answer_fencing();
                    cluster.is_online(node)
                });
                assert!(online.is_ok(), "{node} does not join\n{}", self.story.report());
            }
            Deed::Power { node, on: false } => cluster.power_off(node),
            Deed::Power { node, on: true } => cluster.power_on(node),
            Deed::Cut { node, cables } => {
                cables.iter().for_each(|cable| cluster.fabric.pull(node, *cable));
            }
            Deed::Plug(node) => cluster.fabric.heal(node),
            Deed::Kill { node, role } => self.signal("-9", node, role),
            Deed::Freeze { node, role } => self.signal("-STOP", node, role),
            Deed::Sshd { node, on: true } => cluster.start_sshd(node),
            Deed::Sshd { node, on: false } => cluster.stop_sshd(node),
            Deed::Fill { node, full: true } => {
                let said = cluster.fabric.on(node, &["sh", "-c", "cat /dev/zero >/run/fill"]);
                assert!(!said.ok(), "/run of {node} has no end");
            }
            Deed::Fill { node, full: false } => {
                cluster.fabric.sh(node, "rm /run/fill");
            }
            Deed::Clock { node, off } => self.clock(node, *off),
            Deed::HostKey(node) => {
                let (private, _) = crate::fabric::key_pair(&cluster.fabric.fresh_folder(), "another");
                cluster.fabric.put(node, HOST_KEY, 0o600, private);
                cluster.stop_sshd(node);
                cluster.start_sshd(node);
            }
            Deed::File { node, path, line: Some(line) } => {
                let text = cluster.fabric.get(node, path);
                cluster.fabric.put(node, path, 0o644, format!("{text}{line}\n"));
            }
            Deed::File { node, path, line: None } => {
                cluster.fabric.sh(node, &format!("rm {path}"));
            }
            Deed::Xl { node, words } => {
                let said = cluster.xl(node, &strs(words));
                assert!(said.ok(), "xl {words:?} on {node}: {}", said.stderr);
            }
            Deed::Guest { node, name, what } => {
                let words = ["standin", "guest", name, what];
                let said = if what == "pause" {
                    cluster.xl(node, &["pause", name])
                } else {
                    cluster.xl(node, &words)
                };
                assert!(said.ok(), "{what} of {name} on {node}: {}", said.stderr);
            }
            Deed::Recover { node, name } => {
                let said = cluster.fabric.on(node, &["/usr/sbin/xen-handoff", "recover", name]);
                pool::note(&format!(
                    "recover on {node}: {}",
                    said.stdout.lines().last().unwrap_or(&said.stderr)
                ));
            }
            Deed::Call { node, name, action } => self.call(node, name, action),
            Deed::Guard(node) => cluster.start_guard(node),
            Deed::Nothing => {}
        }
    }

    fn domain(&mut self, name: &str, options: &[(String, String)], runs: bool) {
        let fixed = |text: &str| -> &'static str { text.to_owned().leak() };
        let mut domain = Domain::new(fixed(name));
        if self.under == Under::Stock {
            domain = domain.with_agent("heartbeat", "Xen");
        }
        // a busy machine is no unreachable one; where a fault is about reaching, it says its own
        let start = options.iter().find(|(key, _)| key == "start").and_then(|(_, v)| v.parse().ok());
        let patience = (start.unwrap_or(60_u32) / 3).min(15).to_string();
        let connect = "migration_connect_timeout";
        if self.under == Under::Ours && !options.iter().any(|(key, _)| key.ends_with(connect)) {
            domain = domain.parameter(connect, &patience).parameter("handoff_peer_timeout", &patience);
        }
        for (key, value) in options {
            let seconds = || value.parse().unwrap_or_else(|_| panic!("{key}={value}"));
            domain = match (key.as_str(), key.split_once(':')) {
                ("on", _) => domain.only_on(&value.split(',').map(fixed).collect::<Vec<_>>()),
                ("start", _) => domain.start_timeout(seconds()),
                ("stop", _) => domain.stop_timeout(seconds()),
                ("migrate", _) => domain.migrate_timeout(seconds()),
                (_, Some(("p", parameter))) if self.under == Under::Stock && is_our_own(parameter) => domain,
                (_, Some(("p", parameter))) => domain.parameter(fixed(parameter), value),
                (_, Some(("m", meta))) => domain.meta(fixed(meta), value),
                (_, Some(("c", line))) => domain.config(&format!("{line} = \"{value}\"")),
                _ => panic!("no option {key}"),
            };
        }
        self.domains.push(name.to_owned());
        if runs {
            self.story.given(&domain);
        } else {
            self.story.given_config(&domain);
        }
    }

    fn signal(&self, signal: &str, node: &str, role: &str) {
        let mut there = vec![];
        let found = spawn::until(SOON, || {
            there = of_role(self.cluster, node, role);
            !there.is_empty()
        });
        assert!(found.is_ok(), "no {role} on {node} for kill {signal}\n{}", self.story.report());
        let numbers: Vec<&str> = there.iter().map(String::as_str).collect();
        // one that has ended by itself meanwhile is no error
        self.cluster.fabric.on(node, &[&["kill", signal][..], &numbers].concat());
    }

    /// Every process of ours on the node sees this clock from now on; one that runs already, if it was made able to before.
    fn clock(&self, node: &str, off: i64) {
        let fabric = &self.cluster.fabric;
        fabric.put(node, "/etc/faketimerc", 0o644, format!("{off:+}\n"));
        let program = "/usr/sbin/xen-handoff";
        if !fabric.sh(node, &format!("ldd {program}")).contains(FAKETIME) {
            // its own executable alone: a preloaded library would break sshd, which shuts itself in
            fabric.sh(
                node,
                &format!(
                    "set -e; cp {program} {program}.right; cp {program} /tmp/turned
                     patchelf --add-needed {FAKETIME} /tmp/turned; mv /tmp/turned {program}"
                ),
            );
        }
    }

    fn call(&mut self, node: &str, name: &str, action: &str) {
        let mut command = self.cluster.fabric.inside(node, &strs(&agent_call(node, name, action, 60)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().expect("calling the agent");
        self.calls.push((node.to_owned(), action.to_owned(), child));
    }

    /// Whether it is so now; what is seen instead, if not.
    fn look(&self, fact: &Fact) -> Result<(), String> {
        let cluster = self.cluster;
        let so = |so: bool, seen: String| if so { Ok(()) } else { Err(seen) };
        match fact {
            Fact::Runs { name, nodes } => {
                let seen = self.story.running_on(name);
                so(is_one_of(&seen, nodes), format!("runs on {seen:?}"))
            }
            Fact::Believed { name, nodes } => {
                let mut seen = cluster.believed(name);
                seen.dedup();
                so(is_one_of(&seen, nodes), format!("believed on {seen:?}"))
            }
            Fact::State { name, node, state } => {
                let seen = Some(self.story.state(node, name)).filter(|s| !s.is_empty());
                let seen = seen.unwrap_or_else(|| "absent".to_owned());
                so(seen == *state, seen)
            }
            Fact::Phase { name, node, phase } => {
                let seen = Some(self.story.record_phase(node, name)).filter(|s| !s.is_empty());
                let seen = seen.unwrap_or_else(|| "idle".to_owned());
                so(seen == *phase, seen)
            }
            Fact::Log { node, words } => {
                let log = cluster.agent_log(node);
                so(log.lines().any(|line| words.iter().all(|w| line.contains(w))), "never logged".to_owned())
            }
            Fact::Failure(words) => {
                let seen = cluster.failures();
                so(
                    seen.iter().any(|f| {
                        f.starts_with(words.first().map_or("", String::as_str))
                            && words.iter().all(|w| f.contains(w))
                    }),
                    format!("{seen:?}"),
                )
            }
            Fact::NoFailures => {
                let seen = cluster.failures();
                so(seen.is_empty(), format!("{seen:?}"))
            }
            Fact::Held { node, who, point } => {
                let seen = cluster.fabric.get(node, &format!("/var/lib/xl-standin/held.{who}"));
                so(seen == *point, format!("held at {seen:?}"))
            }
            Fact::Monitor { name, node, code } => {
                let said = cluster.fabric.on(node, &strs(&agent_call(node, name, "monitor", 8)));
                so(said.status == *code, code_of(&said))
            }
            Fact::Fenced(node) => so(cluster.was_fenced(node), "never fenced".to_owned()),
            Fact::Member { node, online } => {
                let seen = cluster.is_online(node);
                // who joins is only a member for good once the others have taken in what it knows
                so(seen == *online && (!online || cluster.is_settled()), format!("online: {seen}"))
            }
            Fact::Process { node, role, there } => {
                let seen = of_role(cluster, node, role);
                so(seen.is_empty() != *there, format!("{seen:?}"))
            }
            Fact::Ledger { name, open } => {
                let seen = self.story.ledger(name);
                so(seen.is_empty() != *open, format!("{seen:?}"))
            }
            Fact::Called { node, subcommand } => {
                let calls = cluster.fabric.get(node, "/var/lib/xl-standin/commands");
                let called = calls.lines().any(|call| call.split(' ').nth(2) == Some(subcommand));
                so(called, "never called".to_owned())
            }
            Fact::Gone(node) => {
                so(!cluster.fabric.on(node, &["pidof", "pacemakerd"]).ok(), "still there".to_owned())
            }
            Fact::Settled => {
                cluster.settle();
                Ok(())
            }
            Fact::Reboots { name, times } => {
                let boots = audit::boots(&self.story.events(), name);
                so(times.contains(&boots.len().saturating_sub(1)), format!("boots {boots:?}"))
            }
            Fact::DoubleRuns(times) => {
                let seen = audit::two_at_once(&self.story.events());
                so(times.contains(&seen.len()), format!("{seen:?}"))
            }
            Fact::Returned { node, action, code } => {
                let said = self.returned.iter().find(|(n, a, _)| n == node && a == action);
                match said {
                    Some((_, _, said)) => so(said.status == *code, code_of(said)),
                    None => Err("it has not returned".to_owned()),
                }
            }
            Fact::Left { .. } => Ok(()),
        }
    }
}

/// An exit code with the reason that was given for it.
fn code_of(said: &Said) -> String {
    format!("{} ({})", said.status, said.stderr.trim())
}

fn is_one_of(seen: &[String], wanted: &[String]) -> bool {
    match seen {
        [] => wanted.is_empty(),
        [one] => wanted.contains(one),
        _ => false,
    }
}

fn is_our_own(parameter: &str) -> bool {
    parameter.starts_with("handoff") || parameter.starts_with("migration_")
}

/// The words that call the agent as the cluster does.
fn agent_call(node: &str, name: &str, action: &str, seconds: u32) -> Vec<String> {
    vec![
        "env".to_owned(),
        "OCF_ROOT=/usr/lib/ocf".to_owned(),
        "HA_LOGFACILITY=daemon".to_owned(),
        format!("OCF_RESOURCE_INSTANCE={name}"),
        format!("OCF_RESKEY_xmfile=/etc/xen/{name}.cfg"),
        format!("OCF_RESKEY_CRM_meta_on_node={node}"),
        format!("OCF_RESKEY_CRM_meta_timeout={seconds}000"),
        "/usr/lib/ocf/resource.d/handoff/Xen".to_owned(),
        action.to_owned(),
    ]
}

fn strs(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}
