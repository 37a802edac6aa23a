//! What operators do with our tools, on a cluster that lives.

use super::Test;
use crate::cluster::Cluster;
use crate::story::{Domain, Story};

pub(crate) const STORIES: &[(&str, Test)] = &[
    ("adopt_takes_a_running_domain_over_without_a_reboot", adopt),
    ("adopt_takes_the_domains_of_a_template_together_and_leaves_unmanaged_what_was", adopt_a_template),
    ("adopt_puts_back_what_it_changed_where_a_command_fails", adopt_fails),
    ("drain_does_what_its_plan_says", drain),
    ("p7_drain_plans_a_reboot_for_what_cannot_move", drain_of_what_cannot_move),
];

/// From the stock agent to ours while the guest runs, and then a handoff of it.
fn adopt(cluster: &Cluster) {
    let story = Story::begin(cluster);
    let stock = Domain::new("x0").with_agent("heartbeat", "Xen");
    story.given(&stock);
    story.given(&Domain::new("x1").with_agent("heartbeat", "Xen").parameter("reserved_Dom0_memory", "lots"));
    let adopt =
        |words: &[&str]| cluster.fabric.on("n3", &[&["/usr/sbin/xen-handoff", "adopt"], words].concat());
    let said = adopt(&["--dry-run"]);
    assert!(!said.ok(), "x1 cannot be adopted: {}", said.stdout);
    assert!(
        said.stdout.contains("cibadmin --modify") && said.stdout.contains("reserved_Dom0_memory"),
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

/// Class and provider are the template's; x1 is one that its operator has taken out of the cluster's hands.
fn adopt_a_template(cluster: &Cluster) {
    let story = Story::begin(cluster);
    let template = r#"<template id="vm" class="ocf" provider="heartbeat" type="Xen"/>"#;
    let of_it = |domain: &Domain| {
        domain.primitive().replace(r#"class="ocf" provider="heartbeat" type="Xen""#, r#"template="vm""#)
    };
    let (x0, x1) = (Domain::new("x0"), Domain::new("x1"));
    let [x0, x1] = [x0, x1].map(|domain| domain.with_agent("heartbeat", "Xen"));
    story.given_in(&x0, &format!("{template}{}", of_it(&x0)), "x0");
    story.given_in(&x1, &of_it(&x1), "x1");
    cluster.must(&["crm_resource", "-r", "x1", "--meta", "-p", "is-managed", "-v", "false"]);
    let configured = || cluster.must(&["cibadmin", "--query", "-o", "resources"]);
    let adopt =
        |words: &[&str]| cluster.fabric.on("n3", &[&["/usr/sbin/xen-handoff", "adopt"], words].concat());
    let before = configured();
    let said = adopt(&["x0"]);
    assert!(
        !said.ok() && said.stdout.contains("x1, too: name all of them"),
        "{}{}",
        said.stdout,
        said.stderr
    );
    assert_eq!(configured(), before, "what is refused changes nothing");
    let said = adopt(&[]);
    assert!(said.ok(), "{}{}", said.stdout, said.stderr);
    let after = configured();
    assert!(after.contains(r#"provider="handoff""#) && !after.contains(r#"provider="heartbeat""#), "{after}");
    assert_eq!(after.matches(r#"name="is-managed""#).count(), 1, "x1's alone: {after}");
    cluster.settle();
    story.runs("x0", "n1");
    story.runs("x1", "n1");
    assert_eq!((cluster.believed("x0"), cluster.believed("x1")), (vec!["n1".into()], vec!["n1".into()]));
    cluster.must(&["crm_resource", "-r", "x1", "--meta", "-d", "is-managed"]);
    cluster.settle();
    story.end("x0", &["n1"], 1);
}

/// crm_resource does not look anew: what the first two commands did is undone.
fn adopt_fails(cluster: &Cluster) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0").with_agent("heartbeat", "Xen").meta("is-managed", "true"));
    let configured = || cluster.must(&["cibadmin", "--query", "-o", "resources"]);
    let before = configured();
    let fails = "#!/bin/sh\ncase \"$*\" in *--refresh*) echo no >&2; exit 1;; esac\nexec /usr/sbin/crm_resource.real \"$@\"\n";
    cluster.fabric.sh("n3", "mv /usr/sbin/crm_resource /usr/sbin/crm_resource.real");
    cluster.fabric.put("n3", "/usr/sbin/crm_resource", 0o755, fails);
    let said = cluster.fabric.on("n3", &["/usr/sbin/xen-handoff", "adopt", "x0"]);
    cluster.fabric.sh("n3", "mv /usr/sbin/crm_resource.real /usr/sbin/crm_resource");
    assert!(!said.ok() && said.stderr.contains("still to be given"), "{}{}", said.stdout, said.stderr);
    assert_eq!(configured(), before, "{}", said.stdout);
    cluster.settle();
    story.runs("x0", "n1");
    story.end("x0", &["n1"], 1);
}

/// The scheduler would hand x0 off; its own node knows better.
fn drain_of_what_cannot_move(cluster: &Cluster) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0").config("type = \"pv\""));
    let said = cluster.fabric.on("n1", &["/usr/sbin/xen-handoff", "drain", "n1", "--plan", "--json"]);
    let plan: serde_json::Value = serde_json::from_str(&said.stdout).expect("JSON");
    let word = |key: &str| plan[0][key].as_str().unwrap_or_default().to_owned();
    assert_eq!(word("how"), "reboots", "{}{}", said.stdout, said.stderr);
    assert!(word("because").contains("no shadow paging"), "{}", said.stdout);
    story.standby("n1");
    story.runs("x0", "n2");
    story.end("x0", &["n2"], 2);
}

/// One domain of each kind leaves n1: what is planned is what comes.
fn drain(cluster: &Cluster) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0"));
    story.given(&Domain::new("x1").meta("allow-migrate", "true"));
    story.given(&Domain::new("x2").parameter("handoff", "never"));
    story.given(&Domain::new("x3").only_on(&["n1"]));
    story.given(&Domain::new("x4").with_agent("heartbeat", "Xen"));
    let tool = |words: &[&str]| {
        cluster.fabric.on("n3", &[&["/usr/sbin/xen-handoff", "drain", "n1"], words].concat())
    };
    let said = tool(&["--plan", "--json"]);
    assert!(said.ok(), "{}{}", said.stdout, said.stderr);
    let plan: serde_json::Value = serde_json::from_str(&said.stdout).expect("JSON");
    let row = |name: &str| plan.as_array().and_then(|rows| rows.iter().find(|row| row["resource"] == name));
    let how = |name: &str| {
        row(name).map(|row| row["how"].as_str().unwrap_or_default().to_owned()).unwrap_or_default()
    };
    let planned: Vec<String> = ["x0", "x1", "x2", "x3", "x4"].iter().map(|name| how(name)).collect();
    assert_eq!(planned, ["handed-off", "migrates", "reboots", "stops", "reboots"], "{}", said.stdout);
    assert!(
        said.stdout.contains("handoff=never") && said.stdout.contains("xen-handoff adopt x4"),
        "{}",
        said.stdout
    );
    let advice = row("x3").map(|row| row["do"].as_str().unwrap_or_default().to_owned()).unwrap_or_default();
    assert!(advice.starts_with("pcs constraint delete "), "what ends the ban of x3: {}", said.stdout);
    assert_eq!(story.running_on("x0"), ["n1"], "a plan moves nothing");
    // The stock agent's domain is none of ours to watch; the others are.
    let said = tool(&["--timeout", "60"]);
    assert!(said.ok(), "{}{}", said.stdout, said.stderr);
    let (watched, left) = said.stdout.split_once("empty\n").unwrap_or_else(|| panic!("{}", said.stdout));
    assert!(watched.contains("n1 is in standby"), "{watched}");
    let left: Vec<&str> = left.lines().collect();
    let nowhere = "x3: on no node: the cluster has no place for it";
    assert_eq!(left, ["x0: on n2", "x1: on n2", "x2: on n2", nowhere], "where each of them went");
    for name in ["x0", "x1", "x2", "x4"] {
        story.runs(name, "n2");
    }
    story.runs_nowhere("x3");
    let boots: Vec<usize> = ["x0", "x1", "x2", "x4"]
        .iter()
        .map(|name| crate::audit::boots(&story.events(), name).len())
        .collect();
    assert_eq!(boots, [1, 1, 2, 2], "{}", story.report());
    // n2 has seen x0 move, and knows by now how long that takes; of x2, which booted, it knows nothing of its own.
    let said = cluster.fabric.on("n2", &["/usr/sbin/xen-handoff", "drain", "n2", "--plan", "--json"]);
    let plan: serde_json::Value = serde_json::from_str(&said.stdout).expect("JSON");
    let row = |name: &str| plan.as_array().and_then(|rows| rows.iter().find(|row| row["resource"] == name));
    let by = row("x0").map(|row| row["expected"]["by"].clone());
    assert_eq!(by.as_ref().and_then(|by| by.as_str()), Some("history"), "{}{}", said.stdout, said.stderr);
    let said = cluster.fabric.on("n2", &["/usr/sbin/xen-handoff", "drain", "n2", "--plan"]);
    assert!(said.stdout.contains(" to move alive, 2 at a time"), "{}{}", said.stdout, said.stderr);
    println!("{}", said.stdout);
    story.end("x0", &["n2"], 1);
}
