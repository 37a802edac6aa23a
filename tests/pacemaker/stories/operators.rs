//! What operators do with our tools, on a cluster that lives.

use super::Test;
use crate::cluster::Cluster;
use crate::spawn::until;
use crate::story::{Domain, SOON, Story};

pub(crate) const STORIES: &[(&str, Test)] = &[
    ("adopt_takes_a_running_domain_over_without_a_reboot", adopt),
    ("adopt_takes_the_domains_of_a_template_together_and_leaves_unmanaged_what_was", adopt_a_template),
    ("adopt_puts_back_what_it_changed_where_a_command_fails", adopt_fails),
    ("drain_does_what_its_plan_says", drain),
    ("p7_drain_plans_a_reboot_for_what_cannot_move", drain_of_what_cannot_move),
    ("drain_tries_what_the_stop_will_try_and_asks_before_a_reboot", drain_of_what_has_no_key),
    ("drain_says_of_what_the_cluster_leaves_alone_that_it_stays", drain_of_what_is_left_alone),
    ("a_tool_says_what_is_mistyped_empty_or_down", drain_knows_its_nodes),
    ("a_check_of_three_nodes_finds_what_is_wrong_and_nothing_else", check),
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

fn json(said: &crate::spawn::Said) -> serde_json::Value {
    serde_json::from_str(&said.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", said.stdout, said.stderr))
}

/// A plan's row.
fn row<'a>(plan: &'a serde_json::Value, name: &str) -> &'a serde_json::Value {
    let rows = plan["domains"].as_array().map(Vec::as_slice).unwrap_or_default();
    rows.iter().find(|row| row["resource"] == name).unwrap_or(&serde_json::Value::Null)
}

/// The scheduler would hand x0 off; its own node knows better, and says so to the node that plans.
fn drain_of_what_cannot_move(cluster: &Cluster) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0").config("type = \"pv\""));
    for from in ["n1", "n3"] {
        let said = cluster.fabric.on(from, &["/usr/sbin/xen-handoff", "drain", "n1", "--plan", "--json"]);
        let plan = json(&said);
        assert_eq!(row(&plan, "x0")["how"], "reboots", "{}{}", said.stdout, said.stderr);
        let because = row(&plan, "x0")["because"].as_str().unwrap_or_default();
        assert!(because.contains("no shadow paging"), "{}", said.stdout);
    }
    story.standby("n1");
    story.runs("x0", "n2");
    story.end("x0", &["n2"], 2);
}

/// What the plan says is what comes, and a reboot is asked for before it is done.
fn drain_of_what_has_no_key(cluster: &Cluster) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0"));
    let drain = |words: &[&str]| {
        cluster.fabric.on("n3", &[&["/usr/sbin/xen-handoff", "drain", "n1"], words].concat())
    };
    cluster.fabric.sh("n2", "mv /etc/xen-handoff/id_ed25519 /etc/xen-handoff/away");
    let said = drain(&[]);
    assert!(
        !said.ok() && said.stdout.contains("REBOOTS, on n2: ") && said.stdout.contains("no key on n2"),
        "{}{}",
        said.stdout,
        said.stderr
    );
    assert!(said.stderr.contains("nothing was done: x0 reboots"), "{}", said.stderr);
    assert!(!cluster.must(&["cibadmin", "--query"]).contains("standby"), "it was put in standby");
    assert_eq!(story.running_on("x0"), ["n1"]);
    let said = drain(&["--force", "--timeout", "90"]);
    cluster.fabric.sh("n2", "mv /etc/xen-handoff/away /etc/xen-handoff/id_ed25519");
    assert!(said.ok(), "{}{}", said.stdout, said.stderr);
    println!("{}", said.stdout);
    // Without a key n2 cannot ask the others, which a boot there may need: then it is n3's.
    let node = ["n2", "n3"]
        .into_iter()
        .find(|node| said.stdout.contains(&format!("x0: rebooted: shut down, and booted on {node}")));
    let node = node.unwrap_or_else(|| panic!("{}", said.stdout));
    story.runs("x0", node);
    story.end("x0", &[node], 2);
}

/// Whoever switches the host off next has to hear of it.
fn drain_of_what_is_left_alone(cluster: &Cluster) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0"));
    let meta = ["crm_resource", "--resource", "x0", "--meta"];
    cluster.must(&[&meta[..], &["--set-parameter", "is-managed", "--parameter-value", "false"]].concat());
    let drain = |words: &[&str]| {
        cluster.fabric.on("n1", &[&["/usr/sbin/xen-handoff", "drain", "n1"], words].concat())
    };
    let said = drain(&[]);
    assert!(!said.ok() && said.stdout.contains("STAYS: the cluster does not manage it"), "{}", said.stdout);
    assert!(said.stderr.contains("nothing was done: x0 stays"), "{}", said.stderr);
    let said = drain(&["--force", "--timeout", "30"]);
    assert!(said.ok() && said.stdout.contains("n1 is not empty"), "{}{}", said.stdout, said.stderr);
    assert_eq!(story.running_on("x0"), ["n1"]);
    let maintenance = ["crm_attribute", "--type", "crm_config", "--name", "maintenance-mode"];
    cluster.must(&[&maintenance[..], &["--update", "true"]].concat());
    let said = drain(&["--plan"]);
    cluster.must(&[&maintenance[..], &["--delete"]].concat());
    assert!(said.stdout.contains("STAYS: the cluster is in maintenance mode"), "{}", said.stdout);
    // Whoever manages it again has it leave.
    cluster.must(&[&meta[..], &["--delete-parameter", "is-managed"]].concat());
    story.runs("x0", "n2");
    story.end("x0", &["n2"], 1);
}

/// Mistyped and empty nodes, a cluster that is down.
fn drain_knows_its_nodes(cluster: &Cluster) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0"));
    let tool =
        |node: &str, words: &[&str]| cluster.fabric.on(node, &[&["/usr/sbin/xen-handoff"], words].concat());
    let said = tool("n1", &["drain", "n9"]);
    assert_eq!(said.stderr.trim(), "xen-handoff: there is no node n9; did you mean n1?", "{}", said.stdout);
    let said = tool("n1", &["drain", "n3", "--plan"]);
    assert!(
        said.ok() && said.stdout == "No Xen domain of the cluster's runs on n3.\n",
        "{}{}",
        said.stdout,
        said.stderr
    );
    let said = tool("n3", &["preflight", "x0"]);
    assert!(said.stderr.contains("x0 runs on n1; run this there"), "{}{}", said.stdout, said.stderr);
    for words in [
        &["preflight", "xO"][..],
        &["recover", "--dry-run", "xO"],
        &["history", "xO"],
        &["history", "--all", "xO"],
    ] {
        let said = tool("n1", words);
        assert!(
            said.stderr.contains("there is no resource or domain xO; did you mean x0?"),
            "{words:?}: {}{}",
            said.stdout,
            said.stderr
        );
    }
    let said = tool("n1", &["reach", "--all"]);
    assert!(said.ok() && said.stdout.lines().count() == 1 + 2 * 3, "{}{}", said.stdout, said.stderr);
    println!("{}", said.stdout);
    cluster.terminate_pacemaker("n3");
    cluster.wait_pacemaker_gone("n3");
    let said = tool("n3", &["drain", "n1"]);
    assert!(
        !said.ok() && said.stderr.contains("the cluster is down on this node"),
        "{}{}",
        said.stdout,
        said.stderr
    );
    let said = tool("n3", &["status", "--all"]);
    assert!(
        said.ok() && said.stdout.contains("No offers and no transfers on any node"),
        "{}{}",
        said.stdout,
        said.stderr
    );
    assert!(said.stdout.contains("the cluster is down on this node"), "{}", said.stdout);
    story.runs("x0", "n1");
    story.end("x0", &["n1"], 1);
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
    let plan = json(&said);
    let how = |name: &str| row(&plan, name)["how"].as_str().unwrap_or_default().to_owned();
    let planned: Vec<String> = ["x0", "x1", "x2", "x3", "x4"].iter().map(|name| how(name)).collect();
    assert_eq!(planned, ["handed-off", "migrates", "reboots", "stops", "reboots"], "{}", said.stdout);
    assert!(
        said.stdout.contains("handoff=never") && said.stdout.contains("xen-handoff adopt x4"),
        "{}",
        said.stdout
    );
    let advice = row(&plan, "x3")["do"].as_str().unwrap_or_default();
    assert!(advice.starts_with("pcs constraint delete "), "what ends the ban of x3: {}", said.stdout);
    assert_eq!(story.running_on("x0"), ["n1"], "a plan moves nothing");
    let said = tool(&["--timeout", "60"]);
    assert!(
        !said.ok() && said.stderr.contains("nothing was done: x2, x4 reboot; x3 stops"),
        "{}{}",
        said.stdout,
        said.stderr
    );
    assert_eq!(story.running_on("x3"), ["n1"], "nobody has asked for that");
    // The stock agent's domain is none of ours to watch; the others are.
    let said = tool(&["--force", "--timeout", "60"]);
    assert!(said.ok(), "{}{}", said.stdout, said.stderr);
    println!("{}", said.stdout);
    let (watched, left) =
        said.stdout.split_once("n1 is empty\n").unwrap_or_else(|| panic!("{}", said.stdout));
    assert!(watched.contains("n1 is in standby"), "{watched}");
    let left: Vec<&str> = left.lines().collect();
    let line = |name: &str| left.iter().find(|line| line.starts_with(name)).copied().unwrap_or_default();
    assert!(line("x0: ").starts_with("x0: handed over to n2 in "), "{}", said.stdout);
    assert!(line("x1: ").starts_with("x1: migrated to n2 in "), "{}", said.stdout);
    assert_eq!(line("x2: "), "x2: rebooted: shut down, and booted on n2");
    assert_eq!(line("x3: "), "x3: shut down; the cluster has no place for it");
    assert_eq!(line("x4: "), "x4: on n2; ocf:heartbeat:Xen does not say how it got there");
    for name in ["x0", "x1", "x2", "x4"] {
        story.runs(name, "n2");
    }
    story.runs_nowhere("x3");
    let boots: Vec<usize> = ["x0", "x1", "x2", "x4"]
        .iter()
        .map(|name| crate::audit::boots(&story.events(), name).len())
        .collect();
    assert_eq!(boots, [1, 1, 2, 2], "{}", story.report());
    // Both ends have the move of x0 in their logs; asked for all, it is told as often as its source tells it. (A stream that
    // breaks off is one line, and the next one of the same offer is another.)
    let moves = |on: &str, words: &[&str]| {
        let said =
            cluster.fabric.on(on, &[&["/usr/sbin/xen-handoff", "history", "--json", "x0"], words].concat());
        json(&said)["moves"].as_array().cloned().unwrap_or_else(|| panic!("{}{}", said.stdout, said.stderr))
    };
    let all = moves("n3", &["--all"]);
    let transfer = &all.last().unwrap_or_else(|| panic!("no move of x0 in {all:?}"))["transfer"];
    let of_it =
        |moves: &[serde_json::Value]| moves.iter().filter(|entry| entry["transfer"] == *transfer).count();
    let (at_source, at_target) = (of_it(&moves("n1", &[])), of_it(&moves("n2", &[])));
    assert!(at_source >= 1 && at_target >= 1, "{transfer}: {at_source} at n1, {at_target} at n2");
    assert_eq!(of_it(&all), at_source, "{transfer}: {at_source} at n1, {at_target} at n2: {all:?}");
    // n2 has seen x0 move, and knows by now how long that takes; of x2, which booted, it knows nothing of its own.
    let said = cluster.fabric.on("n2", &["/usr/sbin/xen-handoff", "drain", "n2", "--plan", "--json"]);
    let plan = json(&said);
    assert_eq!(row(&plan, "x0")["expected"]["by"], "history", "{}{}", said.stdout, said.stderr);
    let said = cluster.fabric.on("n2", &["/usr/sbin/xen-handoff", "drain", "n2", "--plan"]);
    assert!(said.stdout.contains(" to move alive, 2 at a time"), "{}{}", said.stdout, said.stderr);
    println!("{}", said.stdout);
    story.end("x0", &["n2"], 1);
}

/// What is not well, of what is not about this place: nodes that are namespaces have no systemd.
fn not_well(cluster: &Cluster) -> Vec<String> {
    let said = cluster.fabric.on("n1", &["/usr/sbin/xen-handoff", "check", "--json", "--ignore", "guard"]);
    let document = json(&said);
    let checks = document["checks"].as_array().map(Vec::as_slice).unwrap_or_default();
    assert!(checks.len() > 20, "{}{}", said.stdout, said.stderr);
    let not_well = checks.iter().filter(|check| check["result"] != "ok");
    let word = |check: &serde_json::Value, name: &str| check[name].as_str().unwrap_or_default().to_owned();
    not_well
        .map(|check| format!("{} {} {}", word(check, "check"), word(check, "of"), word(check, "found")))
        .collect()
}

/// Real Pacemaker, real sshd; and what an operator may have got wrong.
fn check(cluster: &Cluster) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0").start_timeout(300));
    for node in ["n1", "n2", "n3"] {
        cluster.fabric.sh(node, "ssh-keygen -y -f /etc/ssh/node_host_key >/etc/ssh/ssh_host_ed25519_key.pub");
    }
    let found = not_well(cluster);
    assert!(
        found.len() == 1 && found[0].starts_with("fencing cluster the cluster does not fence: "),
        "{found:?}"
    );
    cluster.enable_fencing();
    until(SOON, || not_well(cluster).is_empty()).unwrap_or_else(|_| panic!("{:?}", not_well(cluster)));
    let said = cluster.fabric.on("n1", &["/usr/sbin/xen-handoff", "check"]);
    println!("{}", said.stdout);
    cluster.fabric.sh("n3", "echo '# edited' >>/etc/xen/x0.cfg; chmod 644 /etc/xen-handoff/id_ed25519; mv /usr/sbin/crm_simulate /usr/sbin/crm_simulate.away");
    let found = not_well(cluster);
    let said =
        cluster.fabric.on("n1", &["/usr/sbin/xen-handoff", "check", "--monitoring", "--ignore", "guard"]);
    cluster.fabric.sh(
        "n3",
        "mv /usr/sbin/crm_simulate.away /usr/sbin/crm_simulate; chmod 600 /etc/xen-handoff/id_ed25519",
    );
    let has = |begin: &str| found.iter().any(|line| line.starts_with(begin));
    assert!(has("configuration x0 /etc/xen/x0.cfg is another one on n3"), "{found:?}");
    assert!(has("keys n3 /etc/xen-handoff/id_ed25519 has mode 0644") && has("planner n3 "), "{found:?}");
    // ssh itself refuses such a key.
    assert!(has("ways n3 > n1") && has("ways n3 > n2") && found.len() == 5, "{found:?}");
    assert!(
        said.status == 2 && said.stdout.starts_with("XEN-HANDOFF CRITICAL - "),
        "{} {}",
        said.status,
        said.stdout
    );
    cluster.fabric.sh("n3", "sed -i '/# edited/d' /etc/xen/x0.cfg");
    assert_eq!(not_well(cluster), Vec::<String>::new());
    story.runs("x0", "n1");
    story.end("x0", &["n1"], 1);
}
