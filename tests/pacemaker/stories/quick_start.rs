//! The quick start of `README.md`, given as it stands there: by `pcs` and by `crm`.

use super::Test;
use crate::cluster::Cluster;
use crate::story::{Domain, Story};

pub(crate) const STORIES: &[(&str, Test)] =
    &[("readme_quick_start_by_pcs", by_pcs), ("readme_quick_start_by_crm", by_crm)];

/// The box that follows this line of the page.
fn box_after(line: &str) -> &'static str {
    let page = include_str!("../../../README.md");
    let (_, rest) = page.split_once(&format!("\n{line}\n")).unwrap_or_else(|| panic!("no line {line:?}"));
    rest.split("```\n").nth(1).unwrap_or_else(|| panic!("no box after {line:?}"))
}

fn by_pcs(cluster: &Cluster) {
    quick_start(cluster, "With pcs:", "pcs resource delete x0");
}

fn by_crm(cluster: &Cluster) {
    // crmsh 5 asks systemd for Pacemaker before it deletes anything, and a node of namespaces has none.
    quick_start(cluster, "With crm:", "crm configure delete x0 --force || pcs resource delete x0 --force");
}

/// Creates x0, and puts the node that has it in standby, as the page says.
fn quick_start(cluster: &Cluster, line: &str, delete: &str) {
    let story = Story::begin(cluster);
    story.given_config(&Domain::new("x0"));
    // The one node on which the cluster has it, and on which it runs.
    let place = |story: &Story<'_>| {
        let [node] = cluster.believed("x0").try_into().unwrap_or_else(|nodes| panic!("x0 is on {nodes:?}"));
        story.runs("x0", &node);
        node
    };
    cluster.fabric.sh("n1", box_after(line));
    cluster.settle();
    let node = place(&story);
    let resource = cluster.fabric.sh("n1", "cibadmin -Q -o resources");
    for wanted in ["provider=\"handoff\"", "timeout=\"300s\"", "timeout=\"180s\"", "interval=\"10s\""] {
        assert!(resource.contains(wanted), "{wanted}: {resource}");
    }
    cluster.fabric.sh("n1", &format!("pcs node standby {node}"));
    cluster.settle();
    assert_ne!(place(&story), node, "{}", story.report());
    story.audit("x0", 1);
    cluster.fabric.sh("n1", delete);
    cluster.settle();
    story.runs_nowhere("x0");
}
