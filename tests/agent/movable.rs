//! P7 before the offer: what cannot move is not offered, and what could not be booted there either is; and a guest that somebody
//! has paused is ended in order.

use crate::world::{Call, Host, World};
use crate::{NODES, eventually};

const ENDS: [(&str, &str); 3] = [
    ("OCF_RESKEY_CRM_meta_migrate_source", "n1"),
    ("OCF_RESKEY_CRM_meta_migrate_target", "n2"),
    ("OCF_RESKEY_CRM_meta_timeout", "30000"),
];
const NO_SHADOW: &str = "a pv guest, and the hypervisor here has no shadow paging";

/// x0 with these lines in its configuration runs on n1, and the cluster plans to have it on n2. The hosts are made ready by `hosts`
/// before that.
fn x0_with(lines: &str, hosts: impl Fn(&World)) -> World {
    let world = World::new(&NODES);
    for node in NODES {
        let config = world.host(node).root.join("etc/xen/x0.cfg");
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(config, format!("{text}{lines}\n")).unwrap();
    }
    hosts(&world);
    world.host("n1").succeeds("start");
    world.plan(&NODES, Some("n2"));
    world
}

fn nothing(_: &World) {}

fn on(node: &'static str, knob: &'static str, text: &'static str) -> impl Fn(&World) {
    move |world| world.host(node).knob(knob, text)
}

/// How often that host's xl was called with this subcommand.
fn called(host: &Host, subcommand: &str) -> usize {
    let calls = std::fs::read_to_string(host.root.join("var/lib/xl-standin/commands")).unwrap_or_default();
    calls.lines().filter(|line| line.split(' ').nth(2) == Some(subcommand)).count()
}

fn stop(world: &World) -> Call {
    let call = world.host("n1").act("stop", &[("OCF_RESKEY_CRM_meta_timeout", "60000")]);
    assert_eq!(call.code, 0, "{}", call.reason);
    call
}

/// The stop was an ordinary one for that reason, and nothing was sent.
fn ends_in_order(world: &World, why: &str) {
    stop(world);
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    assert!(n1.domains().is_empty() && n1.phase() == "idle", "{:?}", n1.domains());
    assert_eq!((called(&n1, "shutdown"), called(&n1, "destroy")), (1, 0), "{}", world.log());
    assert_eq!((called(&n1, "migrate"), called(&n2, "migrate-receive")), (0, 0));
    let reason =
        world.log().lines().find(|line| line.contains("no handoff: ")).unwrap_or_default().to_owned();
    assert!(reason.contains("it cannot move while it runs") && reason.contains(why), "{reason}");
    n2.succeeds("start");
    assert!(n2.runs_x0());
}

fn is_offered(world: &World) {
    stop(world);
    assert!(world.host("n1").runs_x0() && world.host("n1").phase() == "offered", "{}", world.log());
}

/// The cluster's own migration is refused, and nothing was sent.
fn is_not_pushed(world: &World, why: &str) {
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    let to = n1.act("migrate_to", &ENDS);
    assert_eq!(to.code, 1, "{}", to.reason);
    assert!(to.reason.contains(why) && to.reason.contains("it still runs here"), "{}", to.reason);
    assert_eq!((called(&n1, "migrate"), called(&n2, "migrate-receive")), (0, 0));
    assert!(n1.runs_x0());
    let entry = std::fs::read_to_string(world.shared("attrs/xen-handoff-x0/n2")).unwrap_or_default();
    assert_eq!(entry, "", "the push is still in the ledger");
}

#[test]
fn p7_a_pv_guest_is_offered_only_where_the_hypervisor_says_that_it_has_shadow_paging() {
    ends_in_order(&x0_with("type = \"pv\"", nothing), NO_SHADOW);
    let with_shadow = on("n1", "virt-caps", "pv hvm hap shadow gnttab-v1");
    let world = x0_with("type = \"pv\"", with_shadow);
    is_offered(&world);
    world.host("n2").succeeds("start");
    assert!(world.host("n2").runs_x0() && world.host("n1").domains().is_empty());
    assert_eq!(world.log().matches("booting it").count(), 1, "it was booted again");
    // Of a release that does not know the word, nothing follows.
    is_offered(&x0_with("type = \"pv\"", on("n1", "virt-caps", "pv hvm hvm_directio")));
}

#[test]
fn p7_what_xl_does_not_save_or_may_not_move_is_not_offered() {
    ends_in_order(&x0_with("nomigrate = 1", nothing), "nomigrate: its configuration forbids");
    let nodes = "vnuma = [ [ \"pnode=0\", \"size=16\", \"vcpus=0\", \"vdistances=10\" ] ]";
    ends_in_order(&x0_with(nodes, nothing), "live: it has virtual NUMA nodes");
    let world = x0_with("", nothing);
    world.host("n1").xl(&["pci-attach", "x0", "0000:04:00.0"]);
    ends_in_order(&world, "passthrough: it has 0000:04:00.0");
}

#[test]
fn p7_to_an_older_hypervisor_nothing_is_offered_and_to_a_newer_one_it_is() {
    ends_in_order(&x0_with("", on("n2", "xen-version", "4.16")), "xen: 4.17 here, 4.16 there");
    is_offered(&x0_with("", on("n2", "xen-version", "4.18")));
}

#[test]
fn p7_the_clusters_own_migration_is_refused_for_the_same_reasons_before_a_byte_is_sent() {
    is_not_pushed(&x0_with("type = \"pv\"", nothing), NO_SHADOW);
    is_not_pushed(&x0_with("nomigrate = 1", nothing), "its configuration forbids");
    is_not_pushed(&x0_with("", on("n2", "xen-version", "4.16")), "4.17 here, 4.16 there");
}

#[test]
fn p7_preflight_and_validate_all_say_that_it_cannot_move() {
    let world = x0_with("type = \"pv\"", nothing);
    let n1 = world.host("n1");
    let validate = n1.act("validate-all", &[("OCF_CHECK_LEVEL", "10")]);
    assert!(validate.code == 1 && validate.reason.contains(NO_SHADOW), "{}", validate.reason);
    let (status, table) = n1.tool(&["preflight", "x0", "--to", "n2", "--config", "/etc/xen/x0.cfg"]);
    assert!(status != 0 && table.contains("it cannot take it"), "{table}");
    assert!(table.lines().any(|line| line.trim().starts_with("live") && line.contains("FAILED")), "{table}");
    let args = ["preflight", "x0", "--to", "n2", "--config", "/etc/xen/x0.cfg", "--json"];
    let report: serde_json::Value = serde_json::from_str(&n1.tool(&args).1).unwrap();
    let checks = report["nodes"][0]["checks"].as_array().unwrap();
    let live = checks.iter().find(|check| check["check"] == "live").unwrap();
    assert_eq!((live["result"].as_str(), live["hinders"].as_str()), (Some("failed"), Some("move")));
}

#[test]
fn p7_what_could_not_be_booted_there_either_is_no_reason_to_end_the_guest() {
    let no_disk = "disk = [ \"phy:/srv/x0,xvda,w\" ]\nvif = [ \"bridge=br0\" ]";
    let no_memory = |world: &World| {
        world.host("n2").knob("memory-mib", "1030");
        std::fs::write(world.host("n2").root.join("etc/xen/xl.conf"), "autoballoon=\"off\"\n").unwrap();
    };
    let here = |world: &World| {
        let root = world.host("n1").root;
        for folder in ["srv", "sys/class/net/br0"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        std::fs::write(root.join("srv/x0"), "").unwrap();
    };
    for (world, why) in [
        (x0_with("", no_memory), "memory: needs 20 MiB; 6 MiB free there"),
        (x0_with(no_disk, here), "bridges: not there: br0; disks: /srv/x0"),
    ] {
        is_offered(&world);
        let log = world.log();
        let told = log.lines().find(|line| line.contains("n2 could not boot it either")).unwrap_or_default();
        assert!(told.contains(why) && told.contains("offered all the same"), "{told}");
        let cost = log.lines().find(|line| line.contains("n2 was asked whether it can take it: "));
        assert!(cost.is_some_and(|line| line.contains(" ms [XH")), "{log}");
    }
}

#[test]
fn p7_a_target_that_cannot_be_asked_changes_nothing() {
    let hangs = x0_with("", on("n2", "info.hang", ""));
    let began = std::time::Instant::now();
    let stop = hangs.host("n1").act("stop", &[("OCF_RESKEY_CRM_meta_timeout", "30000")]);
    assert_eq!(stop.code, 0, "{}", stop.reason);
    assert!(began.elapsed().as_secs() < 20, "the guest would have had no time left");
    assert!(hangs.host("n1").runs_x0() && hangs.host("n1").phase() == "offered", "{}", hangs.log());
    assert!(hangs.log().contains("no preflight: "), "{}", hangs.log());
    hangs.host("n2").unset_knob("info.hang");

    let older = x0_with("", on("n2", "xen-version", "4.16"));
    let n1 = older.host("n1");
    let ssh = n1.root.join("usr/sbin/ssh");
    std::fs::rename(&ssh, n1.root.join("usr/sbin/ssh.real")).unwrap();
    let real = n1.root.join("usr/sbin/ssh.real").display().to_string();
    n1.put_script("usr/sbin/ssh", &format!("{real} \"$@\" | sed -u 's/\"preflight\",//'"));
    is_offered(&older);
    assert!(older.log().contains("there cannot say"), "{}", older.log());
}

/// Somebody pauses x0 on n1, once it has run for a while.
fn paused(world: &World) {
    let n1 = world.host("n1");
    eventually("x0 has had processor time", || {
        let table = n1.xl(&["list"]);
        let line = table.lines().find(|line| line.starts_with("x0 ")).unwrap_or_default().to_owned();
        line.split_whitespace().last().is_some_and(|seconds| seconds != "0.0")
    });
    n1.xl(&["pause", "x0"]);
    assert_eq!(n1.domains(), ["x0 --p---"]);
}

#[test]
fn p7_a_guest_that_somebody_has_paused_is_shut_down_in_order() {
    let world = x0_with("", nothing);
    paused(&world);
    stop(&world);
    let n1 = world.host("n1");
    assert!(n1.domains().is_empty());
    assert_eq!((called(&n1, "unpause"), called(&n1, "shutdown"), called(&n1, "destroy")), (1, 1, 0));
    assert!(world.log().contains("somebody has paused it: unpausing it for its shutdown"), "{}", world.log());
    assert!(world.log().contains("no handoff: the domain is paused"), "{}", world.log());
    world.host("n2").succeeds("start");
}

#[test]
fn p7_an_offered_guest_that_somebody_pauses_is_shut_down_in_order_when_its_offer_ends() {
    let world = x0_with("", nothing);
    let n1 = world.host("n1");
    assert_eq!(n1.act("stop", &[("OCF_RESKEY_handoff_timeout", "10")]).code, 0);
    paused(&world);
    eventually("the offer has ended", || n1.domains().is_empty() && n1.phase() == "idle");
    assert_eq!((called(&n1, "unpause"), called(&n1, "shutdown"), called(&n1, "destroy")), (1, 1, 0));
}

#[test]
fn p1_a_paused_copy_is_not_let_run_while_another_one_may_be_running() {
    let another = x0_with("", nothing);
    another.host("n2").xl(&["create", "-q", "/dev/null", "name=\"x0\"", "type=\"pvh\"", "memory=16"]);
    assert!(another.host("n2").runs_x0());
    let silent = x0_with("", nothing);
    for (world, why) in [(another, "n2 has it: running"), (silent, "n3 may be running it")] {
        paused(&world);
        if why.starts_with("n3") {
            world.host("n3").cut(true);
        }
        stop(&world);
        let n1 = world.host("n1");
        assert!(n1.domains().is_empty());
        assert_eq!((called(&n1, "unpause"), called(&n1, "destroy")), (0, 1), "{}", world.log());
        assert!(
            world.log().contains("must not be let run: ") && world.log().contains(why),
            "{}",
            world.log()
        );
    }
    // Somebody makes it, by hand.
    let made = World::new(&NODES);
    let n1 = made.host("n1");
    let config = n1.root.join("etc/xen/x0.cfg").display().to_string();
    n1.xl(&["create", "-p", "-q", &config]);
    assert_eq!(n1.domains(), ["x0 --p---"]);
    stop(&made);
    assert_eq!((called(&n1, "unpause"), called(&n1, "destroy")), (0, 1), "{}", made.log());
    assert!(made.log().contains("it has never run here"), "{}", made.log());
}
