//! The recipes of `doc/recipes.md`, given as they stand there.

use super::Test;
use crate::cluster::Cluster;
use crate::follow::{AS_IT_STANDS, follow};
use crate::recipes::{Part, recipe};
use crate::spawn::until;
use crate::story::{Domain, SOON, Story};

pub(crate) const STORIES: &[(&str, Test)] = &[
    ("recipe_the_keys", keys),
    ("recipe_two_nodes_with_fencing", two_nodes),
    ("recipe_a_resource_with_the_advised_times", advised),
    ("recipe_a_dedicated_migration_network", network),
    ("recipe_migrating_from_the_stock_agent", migrating),
    ("recipe_evacuation_before_a_kernel_update", evacuation),
    ("recipe_undoing_everything", undoing),
];

/// The page's names, and ours.
const NAMES: [(&str, &str); 4] =
    [("node1", "n1"), ("node2", "n2"), ("198.51.100.1", "10.77.2.11"), ("198.51.100.2", "10.77.2.12")];
/// Every node, to a reader of the page.
const EVERY: [&str; 2] = ["n1", "n2"];

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
        cluster.fabric.put(
            node,
            "/etc/xen/x0.cfg",
            0o644,
            "name = \"x0\"\ntype = \"pvh\"\nmemory = 128\nvcpus = 1\n",
        );
    }
    let give = |part: &Part| follow(&cluster.fabric, &EVERY, part, AS_IT_STANDS);
    give(set_up);
    story.runs("x0", "n1");
    cluster.settle();
    give(there);
    story.runs("x0", "n2");
    cluster.settle();
    give(back);
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

/// By pcs and by crm; and that the agent is asked before a resource is made.
fn advised(cluster: &Cluster) {
    let story = Story::begin(cluster);
    for domain in ["x0", "x1"] {
        story.given_config(&Domain::new(domain));
    }
    let validates = cluster.fabric.sh("n1", "pcs resource create --help").contains("--agent-validation");
    let of_this_pcs = |node: &str, command: &str| {
        let older = command.strip_suffix(" --agent-validation").filter(|_| !validates);
        older.is_some_and(|command| cluster.fabric.on(node, &["sh", "-c", command]).ok())
    };
    let parts = recipe("A resource with the times that the agent advises", &NAMES).expect("the recipe");
    let [by_pcs, by_crm] = parts.as_slice() else { panic!("{parts:?}") };
    follow(&cluster.fabric, &EVERY, by_pcs, &of_this_pcs);
    follow(&cluster.fabric, &EVERY, by_crm, AS_IT_STANDS);
    cluster.settle();
    if validates {
        let wrong = "pcs resource create x2 ocf:handoff:Xen xmfile=/etc/xen/x0.cfg migration_compression=some --agent-validation";
        let said = cluster.fabric.on("n1", &["sh", "-c", wrong]);
        let words = said.stdout.clone() + &said.stderr;
        assert!(!said.ok() && words.contains("migration_compression"), "{words}");
        assert!(!cluster.must(&["cibadmin", "-Q", "-o", "resources"]).contains("id=\"x2\""), "{words}");
    }
    story.promises("x0", 1);
    story.promises("x1", 1);
}

fn network(cluster: &Cluster) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0"));
    let parts = recipe("A dedicated migration network", &NAMES).expect("the recipe");
    let [hosts, reach, reloading, older] = parts.as_slice() else { panic!("{parts:?}") };
    let is_older = cluster.must(&["crm_resource", "--version"]).starts_with("Pacemaker 2.0.");
    let changed = if is_older { older } else { reloading };
    [hosts, reach, changed].iter().for_each(|part| follow(&cluster.fabric, &EVERY, part, AS_IT_STANDS));
    story.runs("x0", "n1");
    cluster.settle();
    // Neither way restarts it.
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

/// From a node whose root may log in elsewhere, to a handoff.
fn keys(cluster: &Cluster) {
    let story = Story::begin(cluster);
    for node in EVERY {
        // As the package leaves it, beside an sshd that has been there before.
        cluster.fabric.sh(
            node,
            "ssh-keygen -y -f /etc/ssh/node_host_key >/etc/ssh/ssh_host_ed25519_key.pub; rm -rf /etc/xen-handoff && mkdir -m 700 /etc/xen-handoff && sed -i '/xen-handoff serve/d' /root/.ssh/authorized_keys",
        );
        let said = cluster.fabric.on(node, &["/usr/sbin/xen-handoff", "reach", "n2"]);
        assert!(!said.ok(), "without keys: {}", said.stdout);
    }
    for part in recipe("The keys", &NAMES).expect("the recipe") {
        follow(&cluster.fabric, &EVERY, &part, AS_IT_STANDS);
    }
    story.given(&Domain::new("x0").only_on(&EVERY));
    story.standby("n1");
    story.runs("x0", "n2");
    story.end("x0", &["n2"], 1);
}

/// The stock agent's domain, which has never been ours.
fn migrating(cluster: &Cluster) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0").with_agent("heartbeat", "Xen"));
    let parts = recipe("Migrating from ocf:heartbeat:Xen", &NAMES).expect("the recipe");
    let [look, adopt, preflight] = parts.as_slice() else { panic!("{parts:?}") };
    let agent = || cluster.must(&["cibadmin", "--query", "--xpath", "//primitive[@id='x0']"]);
    follow(&cluster.fabric, &EVERY, look, AS_IT_STANDS);
    assert!(agent().contains("provider=\"heartbeat\""), "a look has changed it: {}", agent());
    follow(&cluster.fabric, &EVERY, adopt, AS_IT_STANDS);
    assert!(agent().contains("provider=\"handoff\"") && !agent().contains("is-managed"), "{}", agent());
    cluster.settle();
    follow(&cluster.fabric, &EVERY, preflight, AS_IT_STANDS);
    story.standby("n1");
    story.runs("x0", "n2");
    story.end("x0", &["n2"], 1);
}

/// The restart is a power cut after everything has been stopped, which is all that a node of namespaces has.
fn evacuation(cluster: &Cluster) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0"));
    let parts = recipe("Evacuation before a kernel update", &NAMES).expect("the recipe");
    assert_eq!(parts.len(), 5, "{parts:?}");
    let reboots = |node: &str, command: &str| {
        if command != "reboot" {
            return false;
        }
        assert_eq!(story.running_on("x0"), ["n2"], "before the restart: {}", story.report());
        cluster.terminate_pacemaker(node);
        cluster.wait_pacemaker_gone(node);
        cluster.power_off(node);
        cluster.power_on(node);
        story.given_config(&Domain::new("x0"));
        cluster.start_pacemaker(node);
        cluster.wait_online(&crate::cluster::NODES);
        cluster.settle();
        assert_eq!(story.running_on("x0"), ["n2"], "it is still in standby: {}", story.report());
        true
    };
    parts.iter().for_each(|part| follow(&cluster.fabric, &EVERY, part, &reboots));
    story.end("x0", &["n1"], 1);
}

/// What rpm does is in `tests/rpm/install.rs`; here the files go that it would take.
fn undoing(cluster: &Cluster) {
    let story = Story::begin(cluster);
    story.given(&Domain::new("x0").parameter("handoff_timeout", "60"));
    let id = cluster.xl("n1", &["domid", "x0"]).stdout;
    let erased = |node: &str, command: &str| {
        let is_rpm = command.starts_with("rpm --erase ");
        if is_rpm {
            cluster.uninstall(node);
        }
        is_rpm
    };
    for part in recipe("Undoing everything", &NAMES).expect("the recipe") {
        follow(&cluster.fabric, &EVERY, &part, &erased);
    }
    for node in EVERY {
        let left = "find /etc /run /root /var/lib /usr/sbin /usr/lib/ocf -name '*xen-handoff*'; ls -d /usr/lib/ocf/resource.d/handoff";
        let left = cluster.fabric.on(node, &["sh", "-c", left]).stdout;
        assert_eq!(left, "", "left on {node}");
        assert!(!cluster.fabric.get(node, "/root/.ssh/authorized_keys").contains("serve"));
    }
    cluster.settle();
    assert_eq!(cluster.failures(), Vec::<String>::new(), "{}", story.report());
    assert_eq!((story.running_on("x0"), cluster.believed("x0")), (vec!["n1".into()], vec!["n1".into()]));
    assert_eq!(cluster.xl("n1", &["domid", "x0"]).stdout, id, "it is another one");
    story.promises("x0", 1);
    let primitive = cluster.must(&["cibadmin", "--query", "--xpath", "//primitive[@id='x0']"]);
    assert!(!primitive.contains("handoff") && !primitive.contains("is-managed"), "{primitive}");
    // The next test finds the agent again.
    EVERY.iter().for_each(|node| cluster.power_off(node));
}
