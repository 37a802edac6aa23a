//! rpm, from the first installation to the last.

use crate::Story;
use crate::command::word;
use crate::packages::{first, next};
use crate::recipes::{Part, recipe};
use crate::system::System;

const RELOAD: &str = "systemctl daemon-reload";
const RECORDS: &str = "systemd-tmpfiles --create /usr/lib/tmpfiles.d/xen-handoff.conf";
const GUARD: &str = "xen-handoff-guard.service";
const SETTINGS: &str = "etc/sysconfig/xen-handoff";

pub(crate) fn stories() -> Vec<Story> {
    vec![
        Story::new(
            "an_installation_presets_the_guard_and_touches_no_cluster_manager",
            an_installation_presets,
        ),
        Story::new(
            "an_upgrade_restarts_the_guard_if_it_runs_and_nothing_else",
            an_upgrade_restarts_the_guard,
        ),
        Story::new("an_upgrade_brings_new_settings_and_keeps_edited_ones", an_upgrade_keeps_edited_settings),
        Story::new("a_downgrade_is_possible", a_downgrade_is_possible),
        Story::new(
            "verify_is_silent_until_something_is_changed",
            verify_is_silent_until_something_is_changed,
        ),
        Story::new(
            "an_erasure_stops_the_guard_and_leaves_keys_and_the_log_of_moves_and_nothing_else",
            an_erasure_leaves_keys,
        ),
        Story::new("undone_as_the_recipe_says_nothing_of_it_is_left", undone_nothing_is_left),
        Story::new("the_heartbeat_package_calls_nothing", the_heartbeat_package_calls_nothing),
    ]
}

fn installed(name: &str) -> System {
    let system = System::new(name);
    system.rpm(&["--install", "--nodeps", word(&first().unwrap().main)]);
    system
}

fn an_installation_presets() {
    let system = System::new("install");
    let calls = system.rpm(&["--install", "--nodeps", word(&first().unwrap().main)]);
    assert_eq!(calls, [RELOAD, "systemctl --no-reload preset xen-handoff-guard.service", RECORDS]);
    let preset =
        std::fs::read_to_string(system.path("usr/lib/systemd/system-preset/80-xen-handoff.preset")).unwrap();
    assert!(preset.lines().any(|line| line == "enable xen-handoff-guard.service"), "{preset}");
    let calls = system.rpm(&["--install", "--nodeps", "--replacepkgs", word(&first().unwrap().main)]);
    assert!(
        !calls.iter().any(|call| call.contains("preset")),
        "a second installation presets again: {calls:?}"
    );
}

fn an_upgrade_restarts_the_guard() {
    let system = installed("upgrade");
    let calls = system.rpm(&["--upgrade", "--nodeps", word(&next().main)]);
    assert_eq!(calls, [RELOAD, RECORDS, RELOAD, "systemctl try-restart xen-handoff-guard.service"]);
}

fn an_upgrade_keeps_edited_settings() {
    let system = installed("untouched");
    system.rpm(&["--upgrade", "--nodeps", word(&next().main)]);
    assert!(std::fs::read_to_string(system.path(SETTINGS)).unwrap().contains("Another line."));
    assert!(!system.has("etc/sysconfig/xen-handoff.rpmnew"));

    let system = installed("edited");
    std::fs::write(system.path(SETTINGS), "HA_debug=1\n").unwrap();
    std::fs::write(system.path("etc/xen-handoff/id_ed25519"), "a key\n").unwrap();
    system.rpm(&["--upgrade", "--nodeps", word(&next().main)]);
    assert_eq!(std::fs::read_to_string(system.path(SETTINGS)).unwrap(), "HA_debug=1\n");
    let new = std::fs::read_to_string(system.path("etc/sysconfig/xen-handoff.rpmnew")).unwrap();
    assert!(new.contains("Another line."), "{new}");
    assert!(system.has("etc/xen-handoff/id_ed25519"), "the key is gone");
}

fn a_downgrade_is_possible() {
    let system = System::new("downgrade");
    system.rpm(&["--install", "--nodeps", word(&next().main)]);
    std::fs::write(system.path(SETTINGS), "HA_debug=1\n").unwrap();
    let calls = system.rpm(&["--upgrade", "--oldpackage", "--nodeps", word(&first().unwrap().main)]);
    assert_eq!(calls, [RELOAD, RECORDS, RELOAD, "systemctl try-restart xen-handoff-guard.service"]);
    assert_eq!(std::fs::read_to_string(system.path(SETTINGS)).unwrap(), "HA_debug=1\n");
    assert!(!system.verify().contains("/usr/"), "{}", system.verify());
}

fn verify_is_silent_until_something_is_changed() {
    let system = installed("verify");
    assert_eq!(system.verify(), "");
    std::fs::write(system.path(SETTINGS), "HA_debug=1\n").unwrap();
    std::fs::remove_file(system.path("usr/lib/tmpfiles.d/xen-handoff.conf")).unwrap();
    std::fs::write(system.path("usr/sbin/xen-handoff"), "something else").unwrap();
    let amiss = system.verify();
    for line in [
        " c /etc/sysconfig/xen-handoff",
        "missing     /usr/lib/tmpfiles.d/xen-handoff.conf",
        "/usr/sbin/xen-handoff",
    ] {
        assert!(amiss.contains(line), "no {line:?} in {amiss}");
    }
    assert_eq!(amiss.lines().count(), 3, "{amiss}");
}

fn an_erasure_leaves_keys() {
    let bare = System::new("erase");
    let before = bare.everything();
    bare.rpm(&["--install", "--nodeps", word(&first().unwrap().main)]);
    let calls = bare.rpm(&["--erase", "--nodeps", "xen-handoff"]);
    assert_eq!(
        calls,
        [
            "systemctl --no-reload disable xen-handoff-guard.service xen-handoff-metrics.timer",
            "systemctl stop xen-handoff-guard.service xen-handoff-metrics.timer",
            RELOAD
        ]
    );
    // What belongs to others, and was not there because they are not.
    let others = |path: &String| {
        path.starts_with("usr/") || ["etc/sysconfig", "run", "var/tmp"].contains(&path.as_str())
    };
    let left: Vec<String> = bare.everything().into_iter().filter(|path| !before.contains(path)).collect();
    assert!(left.iter().all(others), "{left:?}");
    assert!(!left.iter().any(|path| path.contains("handoff")), "{left:?}");

    let used = installed("erase-used");
    std::fs::write(used.path(SETTINGS), "HA_debug=1\n").unwrap();
    std::fs::write(used.path("etc/xen-handoff/id_ed25519"), "a key\n").unwrap();
    std::fs::write(used.path("var/lib/xen-handoff/moves.jsonl"), "{}\n").unwrap();
    used.rpm(&["--erase", "--nodeps", "xen-handoff"]);
    assert!(used.has("etc/xen-handoff/id_ed25519") && used.has("etc/sysconfig/xen-handoff.rpmsave"));
    assert!(used.has("var/lib/xen-handoff/moves.jsonl"));
    assert!(!used.has("usr/lib/ocf/resource.d/handoff") && used.has("usr/lib/ocf/resource.d"));
}

/// What the cluster has to do with it is in `tests/pacemaker/stories/recipes.rs`.
fn undone_nothing_is_left() {
    let system = installed("undone");
    std::fs::write(system.path(SETTINGS), "HA_debug=1\n").unwrap();
    std::fs::write(system.path("etc/xen-handoff/id_ed25519"), "a key\n").unwrap();
    std::fs::write(system.path("var/lib/xen-handoff/moves.jsonl"), "{}\n").unwrap();
    std::fs::create_dir_all(system.path("root/.ssh")).unwrap();
    let keys = "restrict,command=\"/usr/sbin/xen-handoff serve\" ssh-ed25519 AAAA xen-handoff\nssh-ed25519 BBBB admin\n";
    std::fs::write(system.path("root/.ssh/authorized_keys"), keys).unwrap();
    let parts = recipe("Undoing everything", &[]).unwrap();
    let commands = parts.iter().flat_map(|part| match part {
        Part::Commands(commands) => commands.as_slice(),
        Part::File { .. } => &[],
    });
    // What is given on one node only is for the cluster.
    let mut erased = false;
    for given in commands.filter(|given| given.node == "every") {
        match given.command.strip_prefix("rpm ") {
            Some(words) => {
                let words: Vec<&str> = words.split(' ').collect();
                let calls = system.rpm(&[&["--nodeps"], words.as_slice()].concat());
                assert!(calls.iter().all(|call| call.contains(GUARD) || call == RELOAD), "{calls:?}");
                erased = true;
            }
            None => system.sh(&given.command),
        }
    }
    assert!(erased, "the recipe erases nothing: {parts:?}");
    let left: Vec<String> = system.everything().into_iter().filter(|path| path.contains("handoff")).collect();
    assert!(left.is_empty(), "{left:?}");
    let keys = std::fs::read_to_string(system.path("root/.ssh/authorized_keys")).unwrap();
    assert_eq!(keys, "ssh-ed25519 BBBB admin\n");
}

fn the_heartbeat_package_calls_nothing() {
    let system = installed("heartbeat");
    let before = system.everything();
    let package = word(&first().unwrap().heartbeat);
    assert_eq!(system.rpm(&["--install", "--nodeps", package]), [""; 0]);
    for link in ["etc/ha.d/resource.d/xen-handoff", "etc/ha.d/rc.d/stonith"] {
        let target = system.path(link).canonicalize().unwrap();
        assert_eq!(target, system.path("usr/sbin/xen-handoff").canonicalize().unwrap());
    }
    assert_eq!(system.rpm(&["--erase", "--nodeps", "xen-handoff-heartbeat"]), [""; 0]);
    assert_eq!(system.everything(), before);
}
