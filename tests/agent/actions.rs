//! Each action by itself: preconditions, exit codes, reasons, the guest's health.

use crate::world::World;
use crate::{NODES, eventually, x0_on_n1};

#[test]
fn a_stop_in_an_empty_environment_ends_the_domain() {
    let world = x0_on_n1();
    let n1 = world.host("n1");
    let nothing = [
        ("OCF_RESKEY_xmfile", "UNSET"),
        ("OCF_RESKEY_CRM_meta_on_node", "UNSET"),
        ("OCF_RESKEY_CRM_meta_timeout", "UNSET"),
    ];
    let stop = n1.act("stop", &nothing);
    assert_eq!(stop.code, 0, "{}", stop.reason);
    assert!(n1.domains().is_empty());
}

#[test]
fn preconditions_and_their_exit_codes() {
    let world = World::new(&NODES);
    let n1 = world.host("n1");
    assert_eq!(n1.act("monitor", &[]).code, 7);
    assert_eq!(n1.act("stop", &[]).code, 0, "stop of an absent domain");
    assert_eq!(n1.act("start", &[("OCF_RESKEY_xmfile", "/nonexistent.cfg")]).code, 5);
    assert_eq!(n1.act("start", &[("OCF_RESKEY_xmfile", "UNSET")]).code, 6);
    assert_eq!(n1.act("validate-all", &[]).code, 0);
    assert_eq!(n1.act("validate-all", &[("OCF_RESKEY_name", "x0--incoming")]).code, 6);
    assert_eq!(n1.act("validate-all", &[("OCF_RESKEY_name", "17")]).code, 6);
    assert_eq!(n1.act("validate-all", &[("OCF_RESKEY_allow_mem_management", "yes")]).code, 0);
    assert_eq!(n1.act("validate-all", &[("OCF_RESKEY_memory_floor", "much")]).code, 6);
    assert_eq!(n1.act("nonsense", &[]).code, 3);
    assert!(n1.act("meta-data", &[]).stdout.contains("<resource-agent name=\"Xen\""));
    n1.succeeds("start");
    n1.succeeds("start");
    assert_eq!(n1.act("monitor", &[]).code, 0);
    n1.xl(&["pause", "x0"]);
    assert_eq!(n1.act("monitor", &[]).code, 190);
    n1.xl(&["unpause", "x0"]);
    n1.succeeds("stop");
    n1.succeeds("stop");
    assert_eq!(n1.act("monitor", &[]).code, 7);
}

#[test]
fn every_failure_prints_one_reason_that_names_domain_and_node() {
    let world = World::new(&NODES);
    let migrate = world.host("n1").act("migrate_to", &[("OCF_RESKEY_CRM_meta_migrate_target", "n2")]);
    assert_eq!(migrate.code, 1);
    assert_eq!(migrate.reason.matches("ocf-exit-reason:").count(), 1);
    assert!(migrate.reason.starts_with("ocf-exit-reason:x0 on n1: "), "{}", migrate.reason);
}

#[test]
fn monitor_is_an_error_and_never_7_when_xl_does_not_answer() {
    let world = x0_on_n1();
    let n1 = world.host("n1");
    let xl = n1.root.join("usr/sbin/xl");
    let kept = n1.root.join("usr/sbin/xl.kept");
    std::fs::rename(&xl, &kept).unwrap();
    for script in ["echo 'cannot init xl context' >&2; exit 1", "exit 0", "exec sleep 60"] {
        n1.put_script("usr/sbin/xl", script);
        let monitor = n1.act("monitor", &[("OCF_RESKEY_CRM_meta_timeout", "3000")]);
        assert_eq!(monitor.code, 1, "{script}: {}", monitor.reason);
        assert!(monitor.reason.contains("could not be found out"), "{}", monitor.reason);
    }
    std::fs::remove_file(&xl).unwrap();
    assert_eq!(n1.act("monitor", &[]).code, 1, "no xl at all");
    std::fs::rename(kept, xl).unwrap();
    assert_eq!(n1.act("monitor", &[]).code, 0);
}

#[test]
fn a_reboot_of_the_guest_does_not_read_as_stopped() {
    let world = x0_on_n1();
    let n1 = world.host("n1");
    let before = n1.xl(&["domid", "x0"]);
    n1.xl(&["reboot", "x0"]);
    let mut looks = 0;
    eventually("the guest is back with another domid", || {
        looks += 1;
        assert_eq!(n1.act("monitor", &[]).code, 0, "look {looks}: {:?}", n1.domains());
        let now = n1.xl(&["domid", "x0"]);
        !now.is_empty() && now != before && n1.runs_x0()
    });
}

#[test]
fn a_guest_that_ignores_the_shutdown_is_destroyed_within_its_budget() {
    let world = x0_on_n1();
    world.plan(&NODES, None);
    let n1 = world.host("n1");
    n1.knob("x0.ignore-shutdown", "");
    let stop = n1.act("stop", &[("OCF_RESKEY_shutdown_timeout", "2")]);
    assert_eq!(stop.code, 0, "{}", stop.reason);
    assert!(n1.domains().is_empty());
    assert!(world.log().contains("stop: destroyed"), "{}", world.log());
}

#[test]
fn monitor_scripts_decide_whether_a_running_guest_is_healthy_and_a_start_waits_for_them() {
    let world = World::new(&NODES);
    let n1 = world.host("n1");
    let up = world.shared("service-is-up");
    n1.put_script("usr/sbin/check", &format!("[ -e {} ] || {{ echo no service; exit 7; }}", up.display()));
    let check = n1.root.join("usr/sbin/check").to_string_lossy().into_owned();
    let with = |more: &[(&'static str, &'static str)]| {
        let mut all =
            vec![("OCF_RESKEY_monitor_scripts", check.as_str()), ("OCF_RESKEY_CRM_meta_interval", "10000")];
        all.extend(more);
        all
    };
    let start = n1.act("start", &with(&[("OCF_RESKEY_CRM_meta_timeout", "9000")]));
    assert_eq!(start.code, 1, "{}", start.reason);
    assert!(start.reason.contains("it runs here, but monitor script") && n1.runs_x0(), "{}", start.reason);
    let monitor = n1.act("monitor", &with(&[]));
    assert_eq!(monitor.code, 1);
    assert!(monitor.reason.contains("check fails: exit status: 7: no service"), "{}", monitor.reason);
    assert_eq!(
        n1.act("monitor", &with(&[("OCF_RESKEY_CRM_meta_interval", "0")])).code,
        0,
        "a probe runs no script"
    );
    std::fs::write(up, "").unwrap();
    assert_eq!(n1.act("start", &with(&[])).code, 0);
    assert_eq!(n1.act("monitor", &with(&[])).code, 0);
}

#[test]
fn the_clusters_configuration_is_written_only_when_the_domains_size_has_changed() {
    let world = x0_on_n1();
    let n1 = world.host("n1");
    let calls = world.shared("crm_resource-calls");
    n1.put_script("usr/sbin/crm_resource", &format!("echo \"$@\" >> {}; exit 0", calls.display()));
    let monitor = || {
        let asked = [
            ("OCF_RESKEY_autoset_utilization_cpu", "yes"),
            ("OCF_RESKEY_autoset_utilization_hv_memory", "yes"),
            ("OCF_RESKEY_CRM_meta_interval", "10000"),
        ];
        assert_eq!(n1.act("monitor", &asked).code, 0);
        std::fs::read_to_string(&calls).unwrap_or_default()
    };
    let first = monitor();
    assert!(first.contains("--resource x0 --utilization --set-parameter cpu --parameter-value 1"), "{first}");
    assert!(first.contains("--set-parameter hv_memory --parameter-value 16"), "{first}");
    assert_eq!(monitor(), first, "it was asked or written again");
    let told = n1.root.join("run/xen-handoff/x0.utilization");
    std::fs::write(told, r#"{"cpu":1,"hv_memory":8}"#).unwrap();
    assert!(monitor().len() > first.len());
}

#[test]
fn a_guest_without_drivers_is_shut_down_by_its_power_button() {
    let world = x0_on_n1();
    world.plan(&NODES, None);
    let n1 = world.host("n1");
    n1.knob("x0.no-pv", "");
    let stop = n1.act("stop", &[("OCF_RESKEY_shutdown_acpi", "yes")]);
    assert_eq!(stop.code, 0, "{}", stop.reason);
    let calls = std::fs::read_to_string(n1.root.join("var/lib/xl-standin/commands")).unwrap();
    assert!(calls.contains("trigger x0 power") && !calls.contains("shutdown x0"), "{calls}");
    assert!(world.log().contains("stop: shut down"), "{}", world.log());
}
