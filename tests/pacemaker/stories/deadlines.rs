//! Every action ends inside its own limit, on eight nodes of which one hangs: its sshd takes connections and says nothing, as a host does that
//! swaps or has lost its disk. The table that this measures is in `doc/design/deadlines.md`.

use crate::cluster::Cluster;
use crate::spawn::until;
use crate::story::{Domain, SOON, Story};
use crate::xml;
use libtest_mimic::Trial;
use std::collections::BTreeMap;

const NODES: [&str; 8] = ["n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8"];
/// What each action of the domain may take, in seconds.
const LIMITS: [(&str, u64); 3] = [("start", 60), ("stop", 60), ("monitor", 20)];

pub(crate) fn trial() -> Trial {
    Trial::test("story::eight_nodes_of_which_one_hangs", || {
        let cluster = Cluster::start_of(&NODES);
        hung(&cluster);
        Ok(())
    })
}

/// Its sshd accepts and does not answer.
fn hang(cluster: &Cluster, node: &str) {
    cluster.fabric.sh(node, "kill -STOP $(cat /run/sshd.pid)");
}

/// The longest that each kind of action took, in milliseconds, as Pacemaker has it.
fn longest(cluster: &Cluster, so_far: &mut BTreeMap<String, u64>) {
    let cib = cluster.ask(&["cibadmin", "--query", "-o", "status"]);
    for element in xml::elements(&cib.stdout) {
        let of_x0 = element.name == "lrm_rsc_op" && element.get("id").starts_with("x0_");
        if let (true, Ok(took)) = (of_x0, element.get("exec-time").parse::<u64>()) {
            let longest = so_far.entry(element.get("operation").to_owned()).or_default();
            *longest = (*longest).max(took);
        }
    }
}

fn hung(cluster: &Cluster) {
    let story = Story { cluster };
    let domain = Domain::new("x0").start_timeout(60).stop_timeout(60);
    for node in NODES {
        cluster.fabric.put(node, "/etc/xen/x0.cfg", 0o644, domain.configuration());
    }
    cluster.age_ledger();
    story.given(&domain);
    let mut took = BTreeMap::new();
    longest(cluster, &mut took);
    // A bystander hangs: the domain moves all the same.
    hang(cluster, "n8");
    story.standby("n1");
    story.runs("x0", "n2");
    cluster.settle();
    longest(cluster, &mut took);
    assert_eq!(crate::audit::boots(&story.events(), "x0").len(), 1, "it moved\n{}", story.report());
    // The planned target hangs: an ordinary stop, and a boot over there, which rules the bystander out by the cluster's history.
    hang(cluster, "n3");
    story.standby("n2");
    until(SOON * 3, || story.running_on("x0") == ["n3"])
        .unwrap_or_else(|_| panic!("it runs on {:?}\n{}", story.running_on("x0"), story.report()));
    cluster.settle();
    longest(cluster, &mut took);
    assert!(cluster.failures().is_empty(), "{:?}\n{}", cluster.failures(), story.report());
    eprintln!("eight nodes, longest action in ms: {took:?}");
    for (action, limit) in LIMITS {
        let longest = took[action];
        assert!(longest < limit * 1000, "a {action} took {longest} ms of {limit} s\n{}", story.report());
    }
    story.promises("x0", 2);
}
