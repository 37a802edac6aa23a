//! The keys of the nodes, those that they let in, and the host keys that they know.

use super::finding::Finding;
use crate::host::NodeName;
use crate::preflight::Verdict;
use crate::preflight::setup::{KeyState, Setup};
use crate::wire::ssh::KNOWN_HOSTS;

/// Whether each node has a key that the others let in.
pub(super) fn keys(up: &[(&NodeName, &Setup)]) -> Vec<Finding> {
    let shared = up.iter().filter(|(_, setup)| !setup.key.is_own);
    let publics: Vec<&String> = shared.filter_map(|(_, setup)| setup.key.public.as_ref()).collect();
    // What most nodes have is the cluster's.
    let common =
        publics.iter().copied().max_by_key(|key| publics.iter().filter(|other| *other == key).count());
    let mut findings = Vec::new();
    for (node, setup) in up {
        let key = &setup.key;
        for (found, advice) in &key.troubles {
            findings.push(Finding::new("keys", node, Verdict::Failed, found, format!("on {node}: {advice}")));
        }
        if key.is_own {
            findings.extend(own_key(node, key, up));
            continue;
        }
        match (&key.public, common) {
            (Some(own), Some(common)) if own != common => {
                let advice = format!("copy the pair of another node to {node}");
                let found = "another pair than the other nodes have";
                findings.push(Finding::new("keys", node, Verdict::Failed, found, advice));
            }
            (Some(_), _) if key.troubles.is_empty() => {
                findings.push(Finding::ok("keys", node, "one pair for all, readable by root alone"));
            }
            _ => {}
        }
        if key.is_accepted {
            findings.push(Finding::ok(
                "authorized",
                node,
                "root's authorized_keys lets the key run what it must",
            ));
        } else if key.public.is_some() {
            let advice =
                format!("on {node}: xen-handoff keys --authorized-line >> /root/.ssh/authorized_keys");
            let found =
                "no line of root's authorized_keys lets the key run xen-handoff serve (another file may)";
            findings.push(Finding::new("authorized", node, Verdict::Warning, found, advice));
        }
    }
    findings
}

/// Of a node that has a pair of its own: every other node lets it in, as this node and no other.
fn own_key(node: &NodeName, key: &KeyState, up: &[(&NodeName, &Setup)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(public) = &key.public else { return findings };
    if key.troubles.is_empty() {
        findings.push(Finding::ok("keys", node, "a pair of its own, readable by root alone"));
    }
    let again = "xen-handoff keys --distribute, from a node whose root may log in to the others";
    for (other, theirs) in up.iter().filter(|(other, _)| *other != node) {
        let takes_it_for =
            |of: &&NodeName| theirs.key.accepts.get(*of).is_some_and(|keys| keys.contains(public));
        if takes_it_for(&node) {
            findings.push(Finding::ok("authorized", node, "each node lets in each other, and as that node"));
        } else if let Some(taken) = theirs.key.accepts.keys().find(takes_it_for) {
            let found = format!("{other} takes the key of {node} for that of {taken}");
            findings.push(Finding::new("authorized", node, Verdict::Failed, found, again));
        } else {
            let found = format!("root's authorized_keys on {other} has no line of {node} (another file may)");
            findings.push(Finding::new("authorized", node, Verdict::Warning, found, again));
        }
    }
    if key.shared_lines > 0 && up.iter().all(|(_, setup)| setup.key.is_own) {
        let found = "a key that is no single node's is let in, too";
        let advice = format!("on {node}: xen-handoff keys --remove-shared");
        findings.push(Finding::new("authorized", node, Verdict::Warning, found, advice));
    }
    findings
}

/// Whether each node knows the host key that each other node has.
pub(super) fn host_keys(up: &[(&NodeName, &Setup)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (node, setup) in up {
        if setup.host_key.is_none() {
            let found = "its sshd's ed25519 key could not be read: what others know of it was not compared";
            findings.push(Finding::new("host-keys", node, Verdict::Unknown, found, ""));
        }
        let mut troubles = Vec::new();
        for (other, theirs) in up.iter().filter(|(other, _)| other != node) {
            let Some(own) = &theirs.host_key else { continue };
            match setup.known_hosts.get(*other) {
                Some(known) if known.contains(own) => {}
                Some(known) => {
                    let same_type = |key: &String| key.split(' ').next() == own.split(' ').next();
                    let verdict =
                        if known.iter().any(same_type) { Verdict::Failed } else { Verdict::Warning };
                    troubles.push((
                        verdict,
                        format!("another key for {other} than it has"),
                        format!("{other} {own}"),
                    ));
                }
                None => {
                    troubles.push((
                        Verdict::Warning,
                        format!("no key for {other}"),
                        format!("{other} {own}"),
                    ));
                }
            }
        }
        if troubles.is_empty() && setup.host_key.is_some() {
            findings.push(Finding::ok("host-keys", node, format!("{KNOWN_HOSTS} has the keys of all")));
        }
        for (verdict, what, line) in troubles {
            let found = format!("{KNOWN_HOSTS} has {what}");
            let advice = format!("on {node}, a line of /etc/xen-handoff/{KNOWN_HOSTS}: {line}");
            findings.push(Finding::new("host-keys", node, verdict, found, advice));
        }
    }
    findings
}
