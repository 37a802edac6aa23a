//! The cluster's tools as the agent uses them: what they print and how they exit, checked, and kept when asked to.

use crate::cluster::Cluster;
use crate::plan_table::keep_text;
use crate::pool::with_cluster;
use crate::skip;
use crate::spawn::{Said, until};
use libtest_mimic::Trial;
use std::fmt::Write;
use std::time::Duration;

const FENCED: Duration = Duration::from_secs(40);

type Test = fn(&Cluster);

pub(crate) fn trials() -> Vec<Trial> {
    let tests: [(&str, Test); 2] = [
        ("tools::private_attribute_of_a_peer", private_attribute_of_a_peer),
        ("tools::what_a_fenced_node_looks_like", what_a_fenced_node_looks_like),
    ];
    tests
        .into_iter()
        .map(|(name, test)| skip(Trial::test(name, move || with_cluster(name, test)), false))
        .collect()
}

/// The ledger's primitive: a value on a peer's name, in memory only, readable everywhere.
fn private_attribute_of_a_peer(cluster: &Cluster) {
    cluster.reset();
    let on_n1 = |words: &[&str]| {
        let said = cluster.fabric.on("n1", words);
        (said.clone(), transcript(words, &said))
    };
    let name = "xen-handoff-nothing";
    let mut text = on_n1(&["attrd_updater", "--help"]).1;
    keep_text("attrd_updater--help.txt", &text);
    text.clear();
    for words in [
        &["attrd_updater", "-U", "some value", "-n", name, "-p", "-N", "n2"][..],
        &["attrd_updater", "-Q", "-n", name, "-N", "n2"],
        &["attrd_updater", "-Q", "-n", name, "-A"],
        &["attrd_updater", "-Q", "-n", name],
        &["attrd_updater", "-Q", "-n", name, "-N", "n3"],
        &["attrd_updater", "-Q", "-n", "xen-handoff-absent", "-N", "n2"],
        &["attrd_updater", "-Q", "-n", "xen-handoff-absent", "-A"],
        &["attrd_updater", "-Q", "-n", name, "-N", "n2", "--output-as=xml"],
        &["attrd_updater", "-Q", "-n", name, "-A", "--output-as=xml"],
        &["attrd_updater", "-Q", "-n", "xen-handoff-absent", "-A", "--output-as=xml"],
        &["attrd_updater", "-U", "{\"a\":1,\"b\":\"two words\"}", "-n", name, "-p", "-N", "n3"],
        &["attrd_updater", "-Q", "-n", name, "-A"],
        &["attrd_updater", "-Q", "-n", name, "-A", "--output-as=xml"],
        &["attrd_updater", "-D", "-n", name, "-N", "n2"],
        &["attrd_updater", "-Q", "-n", name, "-N", "n2"],
        &["attrd_updater", "-Q", "-n", name, "-A"],
        &["attrd_updater", "-U", "x", "-n", name, "-p", "-N", "n9"],
    ] {
        text += &on_n1(words).1;
    }
    keep_text("attrd_updater.txt", &text);
    cluster.fabric.sh("n1", &format!("attrd_updater -U offer -n {name} -p -N n2"));
    let seen = || cluster.fabric.on("n3", &["attrd_updater", "-Q", "-n", name, "-N", "n2"]).stdout;
    until(FENCED, || seen().contains("value=\"offer\"")).expect("the value on another node");
    let cib = cluster.must(&["cibadmin", "-Q"]);
    assert!(!cib.contains(name), "a private attribute is in the CIB");
    cluster.fabric.sh("n1", &format!("for n in n2 n3 n9; do attrd_updater -D -n {name} -N $n; done"));
}

/// What P2 reads about a source that did not come back: the CIB and the fencing history.
fn what_a_fenced_node_looks_like(cluster: &Cluster) {
    cluster.reset();
    keep_text("cib--three-nodes-idle.cib.xml", &cluster.must(&["cibadmin", "-Q"]));
    cluster.enable_fencing();
    cluster.settle();
    cluster.power_off("n3");
    let fenced = || {
        cluster.answer_fencing();
        let state = cluster.must(&["cibadmin", "-Q", "--xpath", "//node_state[@uname='n3']"]);
        state.contains("expected=\"down\"")
    };
    until(FENCED, fenced).expect("n3 fenced");
    cluster.settle();
    keep_text("cib--n3-fenced.cib.xml", &cluster.must(&["cibadmin", "-Q"]));
    let state = cluster.must(&["cibadmin", "-Q", "--xpath", "//node_state[@uname='n3']"]);
    assert!(!state.contains("<lrm_resource "), "a fencing erases the history: {state}");
    let words = ["stonith_admin", "--history", "*", "--output-as=xml"];
    let said = cluster.crm(&words);
    keep_text("stonith_admin--history.txt", &transcript(&words, &said));
    assert!(said.stdout.contains("status=\"success\""), "the fencing in the history: {}", said.stdout);
    let words = ["stonith_admin", "--history", "n1", "--output-as=xml"];
    keep_text("stonith_admin--history-of-another.txt", &transcript(&words, &cluster.crm(&words)));
    let lone = ["crm_simulate", "-L", "-S"];
    cluster.terminate_pacemaker("n1");
    cluster.wait_pacemaker_gone("n1");
    let said = cluster.fabric.on("n1", &lone);
    keep_text("crm_simulate--no-cluster.txt", &transcript(&lone, &said));
    assert!(!said.ok(), "crm_simulate without a cluster");
    let words = ["cibadmin", "-Q"];
    keep_text("cibadmin--no-cluster.txt", &transcript(&words, &cluster.fabric.on("n1", &words)));
    let words = ["attrd_updater", "-Q", "-n", "a", "-N", "n2"];
    keep_text("attrd_updater--no-cluster.txt", &transcript(&words, &cluster.fabric.on("n1", &words)));
    let cib = cluster.fabric.on("n2", &["cibadmin", "-Q"]).stdout;
    keep_text("cib--n1-left-n3-fenced.cib.xml", &cib);
}

fn transcript(words: &[&str], said: &Said) -> String {
    let quoted: Vec<String> = words
        .iter()
        .map(|w| if w.contains([' ', '"', '*']) { format!("'{w}'") } else { (*w).to_owned() })
        .collect();
    let mut text = format!("$ {}\n", quoted.join(" "));
    for (name, stream) in [("stdout", &said.stdout), ("stderr", &said.stderr)] {
        if !stream.is_empty() {
            let _infallible = write!(text, "{name}:\n{}\n", stream.trim_end_matches('\n'));
        }
    }
    let _infallible = writeln!(text, "status: {}\n", said.status);
    text
}
