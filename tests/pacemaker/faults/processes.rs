//! Who is who among a node's processes, so that a fault can end one of them.

use crate::cluster::Cluster;

/// A process as a role's test sees it: its name and its words.
type Test = fn(&str, &[&str]) -> bool;

const ROLES: [(&str, Test); 16] = [
    ("start", |_, words| is_action(words, "start")),
    ("stop", |_, words| is_action(words, "stop")),
    ("migrate_to", |_, words| is_action(words, "migrate_to")),
    ("migrate_from", |_, words| is_action(words, "migrate_from")),
    ("sender", |name, words| name == "xl" && words.get(1) == Some(&"migrate")),
    ("receiver", |name, words| name == "xl" && words.get(1) == Some(&"migrate-receive")),
    ("relay", |_, words| is_ours(words, "relay")),
    ("serve", |_, words| is_ours(words, "serve")),
    ("fetch", |_, words| is_ours(words, "fetch")),
    ("push", |_, words| is_ours(words, "push")),
    ("keeper", |_, words| is_ours(words, "keep")),
    ("guard", |_, words| is_ours(words, "guard")),
    ("ssh", |name, _| name == "ssh"),
    // The connections that the guard keeps open.
    ("line", |name, words| name == "ssh" && words.contains(&"ControlMaster=yes")),
    ("attrd", |name, _| name == "pacemaker-attrd"),
    ("pacemaker", |name, _| name.starts_with("pacemaker")),
];

fn is_action(words: &[&str], action: &str) -> bool {
    words.first().is_some_and(|w| w.ends_with("/handoff/Xen")) && words.get(1) == Some(&action)
}

fn is_ours(words: &[&str], subcommand: &str) -> bool {
    words.first().is_some_and(|w| w.ends_with("xen-handoff")) && words.get(1) == Some(&subcommand)
}

/// The role of this name.
pub(crate) fn role(name: &str) -> Result<String, String> {
    if ROLES.iter().any(|(role, _)| *role == name) {
        Ok(name.to_owned())
    } else {
        Err(format!("no role {name}"))
    }
}

/// The processes of a role on a node, by their numbers there; the one that would start others anew comes first.
pub(crate) fn of_role(cluster: &Cluster, node: &str, role: &str) -> Vec<String> {
    let Some((_, test)) = ROLES.iter().find(|(name, _)| *name == role) else { return vec![] };
    let proc = cluster.fabric.root(node).join("proc");
    let mut found: Vec<(bool, String)> = vec![];
    for entry in std::fs::read_dir(proc).into_iter().flatten().flatten() {
        let number = entry.file_name().to_string_lossy().into_owned();
        if !number.chars().all(|c| c.is_ascii_digit()) {
            continue;
        }
        // a domain's daemon has the command line of whoever made the domain
        let daemon =
            std::fs::read_link(entry.path().join("fd/1")).is_ok_and(|to| to.starts_with("/var/log/xen"));
        let line = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        let words: Vec<&str> = line.split('\0').collect();
        let name = words.first().and_then(|w| w.rsplit('/').next()).unwrap_or_default();
        if !daemon && test(name, &words) {
            found.push((name != "pacemakerd", number));
        }
    }
    found.sort();
    found.into_iter().map(|(_, number)| number).collect()
}
