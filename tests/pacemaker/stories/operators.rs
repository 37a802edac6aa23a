//! What operators do with our tools, on a cluster that lives.

use super::Test;
use crate::cluster::Cluster;
use crate::story::{Domain, Story};

pub(crate) const STORIES: &[(&str, Test)] = &[("adopt_takes_a_running_domain_over_without_a_reboot", adopt)];

/// From the stock agent to ours while the guest runs, and then a handoff of it.
fn adopt(cluster: &Cluster) {
    let story = Story::begin(cluster);
    let stock = Domain::new("x0").with_agent("heartbeat", "Xen");
    story.given(&stock);
    story.given(&Domain::new("x1").with_agent("heartbeat", "Xen").parameter("monitor_scripts", "/bin/true"));
    let adopt =
        |words: &[&str]| cluster.fabric.on("n3", &[&["/usr/sbin/xen-handoff", "adopt"], words].concat());
    let said = adopt(&["--dry-run"]);
    assert!(!said.ok(), "x1 cannot be adopted: {}", said.stdout);
    assert!(
        said.stdout.contains("cibadmin --modify") && said.stdout.contains("monitor_scripts"),
        "{}",
        said.stdout
    );
    let provider = || cluster.must(&["cibadmin", "--query", "--xpath", "//primitive[@id='x0']"]);
    assert!(provider().contains("provider=\"heartbeat\""), "a dry run changes nothing");
    let said = adopt(&["x0"]);
    assert!(said.ok(), "{}{}", said.stdout, said.stderr);
    assert!(
        provider().contains("provider=\"handoff\"") && !provider().contains("is-managed"),
        "{}",
        provider()
    );
    cluster.settle();
    story.runs("x0", "n1");
    assert_eq!(cluster.believed("x0"), ["n1"]);
    story.standby("n1");
    story.runs("x0", "n2");
    story.logged("n2", &["x0", "fetched, running, from n1"]);
    story.end("x0", &["n2"], 1);
}
