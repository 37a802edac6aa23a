//! The recipes of `doc/recipes.md`, given as they stand there.

use super::Test;
use crate::cluster::Cluster;
use crate::recipes::{Part, recipe};
use crate::spawn::until;
use crate::story::{Domain, SOON, Story};

pub(crate) const STORIES: &[(&str, Test)] =
    &[("recipe_two_nodes_with_fencing", two_nodes), ("recipe_a_dedicated_migration_network", network)];

/// The page's names, and ours.
const NAMES: [(&str, &str); 4] =
    [("node1", "n1"), ("node2", "n2"), ("198.51.100.1", "10.77.2.11"), ("198.51.100.2", "10.77.2.12")];
/// Every node, to a reader of the page.
const EVERY: [&str; 2] = ["n1", "n2"];

/// Does what stands in a box, and returns what it said.
fn follow(cluster: &Cluster, part: &Part) -> String {
    let nodes = |name: &str| EVERY.iter().copied().filter(|node| name == "every" || name == *node).collect();
    match part {
        Part::File { path, append, secret, text } => {
            for node in EVERY {
                let before = if *append { cluster.fabric.get(node, path) } else { String::new() };
                let mode = if *secret { 0o600 } else { 0o644 };
                cluster.fabric.put(node, path, mode, before + text);
            }
            String::new()
        }
        Part::Commands(commands) => commands
            .iter()
            .flat_map(|(name, command)| {
                let nodes: Vec<&str> = nodes(name);
                assert!(!nodes.is_empty(), "{name}# {command}: which node?");
                nodes.into_iter().map(move |node| give(cluster, node, command))
            })
            .collect(),
    }
}

fn give(cluster: &Cluster, node: &str, command: &str) -> String {
    let said = cluster.fabric.on(node, &["timeout", "120", "sh", "-c", command]);
    assert!(said.ok(), "{node}# {command}: {}{}", said.stdout, said.stderr);
    said.stdout
}

/// The cluster anew, with two nodes and not a third.
fn become_a_pair(cluster: &Cluster) {
    for node in crate::cluster::NODES {
        cluster.power_off(node);
    }
    for node in EVERY {
        cluster.power_on(node);
        let of_three = cluster.fabric.get(node, "/etc/corosync/corosync.conf");
        let (before, rest) = of_three.split_once("node {\n name: n3").expect("a third node");
        let (_, after) = rest.split_once("}\n").expect("its end");
        let quorum = "provider: corosync_votequorum\n";
        let of_two = format!("{before}{after}").replace(quorum, &format!("{quorum} two_node: 1\n"));
        cluster.fabric.put(node, "/etc/corosync/corosync.conf", 0o644, of_two);
        // It cuts the fabric's power, whatever its address is.
        let agent = include_str!("../fence-agent.sh");
        let port = agent.lines().find(|line| line.contains("name=\"port\"")).expect("its parameter");
        let parameter = |name: &str| {
            let kind = "<content type=\"string\"/><shortdesc lang=\"en\">x</shortdesc>";
            format!("<parameter name=\"{name}\" unique=\"0\" required=\"0\">{kind}</parameter>")
        };
        let parameters = ["ip", "username", "password"].map(parameter).concat();
        let agent = agent.replace(port, &format!("<parameters>{parameters}"));
        cluster.fabric.put(node, "/usr/sbin/fence_ipmilan", 0o755, agent);
    }
    EVERY.iter().for_each(|node| cluster.start_pacemaker(node));
    cluster.wait_online(&EVERY);
}

fn two_nodes(cluster: &Cluster) {
    let story = Story::begin(cluster);
    become_a_pair(cluster);
    let parts = recipe("Two nodes with fencing", &NAMES).expect("the recipe");
    let [set_up, there, back] = parts.as_slice() else { panic!("{parts:?}") };
    for node in EVERY {
        cluster.fabric.put(node, "/etc/xen/x0.cfg", 0o644, "name = \"x0\"\nmemory = 128\nvcpus = 1\n");
    }
    follow(cluster, set_up);
    story.runs("x0", "n1");
    cluster.settle();
    follow(cluster, there);
    story.runs("x0", "n2");
    cluster.settle();
    follow(cluster, back);
    story.runs("x0", "n1");
    cluster.settle();
    story.promises("x0", 1);

    // "When node1 loses its power, node2 has it fenced and boots x0."
    cluster.power_off("n1");
    until(SOON, || !cluster.answer_fencing().is_empty()).unwrap_or_else(|_| panic!("{}", story.report()));
    assert!(cluster.was_fenced("n1"), "{}", story.report());
    story.end("x0", &["n2"], 2);
    // The next test finds no node of this pair.
    EVERY.iter().for_each(|node| cluster.power_off(node));
}

fn network(cluster: &Cluster) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0"));
    let parts = recipe("A dedicated migration network", &NAMES).expect("the recipe");
    assert_eq!(parts.len(), 3, "{parts:?}");
    parts.iter().for_each(|part| drop(follow(cluster, part)));
    story.runs("x0", "n1");
    cluster.settle();
    story.promises("x0", 1);

    let received = |interface: &str| -> u64 {
        let counter = format!("/sys/class/net/{interface}/statistics/rx_bytes");
        cluster.fabric.sh("n2", &format!("cat {counter}")).trim().parse().expect("a counter")
    };
    cluster.knob("n1", "stream.mib", "20");
    let before = (received("eth0"), received("eth1"));
    story.standby("n1");
    story.runs("x0", "n2");
    let after = (received("eth0"), received("eth1"));
    let mib = |before: u64, after: u64| (after - before) >> 20;
    assert!(mib(before.1, after.1) >= 20, "over the migration network: {} MiB", mib(before.1, after.1));
    assert!(mib(before.0, after.0) < 10, "over the cluster's network: {} MiB", mib(before.0, after.0));
    story.end("x0", &["n2"], 1);
}
