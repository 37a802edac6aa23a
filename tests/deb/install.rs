//! apt and dpkg, from the first installation to the purge, in a clean root of each suite.

use std::path::{Path, PathBuf};

use crate::Story;
use crate::packages::{field, first, older};
use crate::system::{System, clean};

/// The two that people run.
const SUITES: [&str; 2] = ["bookworm", "trixie"];
const RELOAD: &str = "systemctl --system daemon-reload";
/// What enables it, as Debian's helper does at a first installation: as the presets say, the administrator's before the package's.
const PRESET: &str = "systemctl --root=/ --system --preset-mode=enable-only preset xen-handoff-guard.service";
const RECORDS: &str = "systemd-tmpfiles --create xen-handoff.conf";
const RESTART: &str = "systemctl try-restart xen-handoff-guard.service";
const STOP: &str = "systemctl stop xen-handoff-guard.service";
const STOP_METRICS: &str = "systemctl stop xen-handoff-metrics.timer";
const SETTINGS: &str = "/etc/default/xen-handoff";
const ENABLED: &str = "/etc/systemd/system/multi-user.target.wants/xen-handoff-guard.service";
const KEY: &str = "/etc/xen-handoff/id_ed25519";

pub(crate) fn stories(unasked: bool) -> Vec<Story> {
    let missing = |kind: &str| {
        let made = |suite: &&str| clean(suite, kind).err();
        if unasked { None } else { SUITES.iter().find_map(made) }
    };
    let (bare, node) = (missing("bare"), missing("node"));
    let story = |name: &str, run: fn()| Story::new(name, run).unless(node.clone());
    vec![
        Story::new("apt_brings_what_it_depends_on", apt_brings_what_it_depends_on).unless(bare),
        story("an_installation_enables_the_guard_and_starts_nothing", an_installation_starts_nothing),
        story("an_upgrade_restarts_the_guard_if_it_runs_and_nothing_else", an_upgrade_restarts_the_guard),
        story("an_upgrade_leaves_a_disabled_guard_disabled", an_upgrade_leaves_it_disabled),
        story("an_upgrade_brings_new_settings_and_keeps_edited_ones", an_upgrade_keeps_edited_settings),
        story("a_downgrade_is_possible", a_downgrade_is_possible),
        story("a_removal_stops_the_guard_and_keeps_keys_settings_and_the_log_of_moves", a_removal_keeps_keys),
        story(
            "a_removal_takes_the_timer_of_the_metrics_along",
            a_removal_takes_the_timer_of_the_metrics_along,
        ),
        story("a_purge_leaves_nothing_but_keys", a_purge_leaves_nothing_but_keys),
        story("a_purge_of_what_was_never_used_leaves_nothing", a_purge_leaves_nothing),
        story("the_heartbeat_package_calls_nothing_and_goes_without_a_trace", the_heartbeat_package),
        story("the_executable_runs_there", the_executable_runs_there),
    ]
}

/// The clean roots, with what the package depends on.
fn nodes() -> Vec<PathBuf> {
    SUITES.iter().map(|suite| clean(suite, "node").unwrap()).collect()
}

fn installed(root: &Path, name: &str) -> System {
    let system = System::over(root, name);
    system.install(&[&first().unwrap().main]);
    system
}

fn apt_brings_what_it_depends_on() {
    for suite in SUITES {
        let system = System::over(&clean(suite, "bare").unwrap(), "bare");
        assert!(!system.has("/usr/bin/ssh") && !system.has("/usr/lib/ocf/resource.d"), "{suite}");
        system.install(&[&first().unwrap().main]);
        assert!(system.has("/usr/bin/ssh") && system.has("/usr/lib/ocf/resource.d/heartbeat"), "{suite}");
        assert!(system.has("/usr/lib/ocf/resource.d/handoff/Xen"), "{suite}");
    }
}

fn an_installation_starts_nothing() {
    for root in nodes() {
        let system = System::over(&root, "install");
        let mut calls = system.install(&[&first().unwrap().main]);
        calls.sort();
        assert_eq!(calls, [PRESET, RELOAD, RECORDS], "{}", root.display());
        assert_eq!(system.sh("dpkg --verify xen-handoff"), "", "{}", root.display());
    }
}

fn an_upgrade_restarts_the_guard() {
    for root in nodes() {
        let system = System::over(&root, "upgrade");
        system.install(&[older()]);
        let mut calls = system.install(&[&first().unwrap().main]);
        calls.sort();
        assert_eq!(calls, [RELOAD, RESTART, RECORDS], "{}", root.display());
        assert_eq!(
            system.sh("dpkg-query -W -f '${Version}' xen-handoff"),
            field(&first().unwrap().main, "Version")
        );
    }
}

/// The stand-in of systemctl enables nothing, so it is as if an administrator had disabled it since.
fn an_upgrade_leaves_it_disabled() {
    for root in nodes() {
        let system = System::over(&root, "disabled");
        system.install(&[older()]);
        let calls = system.install(&[&first().unwrap().main]);
        assert!(!system.has(ENABLED), "{}: enabled again", root.display());
        assert!(!calls.contains(&PRESET.to_owned()), "{}: {calls:?}", root.display());
    }
}

fn an_upgrade_keeps_edited_settings() {
    for root in nodes() {
        let head = || System::over(&root, "untouched");
        let system = head();
        system.install(&[older()]);
        let before = system.sh(&format!("cat {SETTINGS}"));
        system.install(&[&first().unwrap().main]);
        assert_ne!(system.sh(&format!("cat {SETTINGS}")), before, "{}", root.display());
        assert!(!system.has("/etc/default/xen-handoff.dpkg-dist"), "{}", root.display());

        let system = System::over(&root, "edited");
        system.install(&[older()]);
        system.sh(&format!("echo HA_debug=1 >{SETTINGS}; echo a key >{KEY}"));
        system.install(&[&first().unwrap().main]);
        assert_eq!(system.sh(&format!("cat {SETTINGS}")), "HA_debug=1\n", "{}", root.display());
        assert!(system.has("/etc/default/xen-handoff.dpkg-dist") && system.has(KEY), "{}", root.display());
    }
}

fn a_downgrade_is_possible() {
    for root in nodes() {
        let system = installed(&root, "downgrade");
        system.sh(&format!("echo HA_debug=1 >{SETTINGS}"));
        system.bring(older());
        let calls = system.apt("install --allow-downgrades ./xen-handoff.deb");
        assert!(calls.contains(&RESTART.to_owned()), "{calls:?}");
        assert_eq!(system.sh(&format!("cat {SETTINGS}")), "HA_debug=1\n", "{}", root.display());
    }
}

fn a_removal_keeps_keys() {
    for root in nodes() {
        let system = installed(&root, "remove");
        system.sh(&format!(
            "echo HA_debug=1 >{SETTINGS}; echo a key >{KEY}; echo '{{}}' >/var/lib/xen-handoff/moves.jsonl"
        ));
        let calls = system.apt("remove xen-handoff");
        assert_eq!(calls, [STOP, RELOAD], "{}", root.display());
        for kept in [SETTINGS, KEY, "/var/lib/xen-handoff/moves.jsonl"] {
            assert!(system.has(kept), "{}: no {kept}", root.display());
        }
        let gone = ["/usr/sbin/xen-handoff", "/usr/lib/ocf/resource.d/handoff"];
        assert!(!gone.iter().any(|path| system.has(path)), "{}", root.display());
    }
}

/// The metrics are an administrator's to enable; what the timer would call goes with the package.
fn a_removal_takes_the_timer_of_the_metrics_along() {
    for root in nodes() {
        let system = installed(&root, "remove-metrics");
        let wanted = "/etc/systemd/system/timers.target.wants/xen-handoff-metrics.timer";
        system.sh(&format!(
            "mkdir -p $(dirname {wanted}); ln -s /lib/systemd/system/xen-handoff-metrics.timer {wanted}"
        ));
        let calls = system.apt("remove xen-handoff");
        assert_eq!(calls, [STOP, STOP_METRICS, RELOAD], "{}", root.display());
        assert!(!system.everything().iter().any(|path| path == wanted), "{}", root.display());
    }
}

fn a_purge_leaves_nothing_but_keys() {
    for root in nodes() {
        let system = installed(&root, "purge-used");
        system.sh(&format!(
            "echo HA_debug=1 >{SETTINGS}; echo a key >{KEY}; echo '{{}}' >/var/lib/xen-handoff/moves.jsonl"
        ));
        system.apt("purge xen-handoff");
        let left: Vec<String> =
            system.everything().into_iter().filter(|path| path.contains("handoff")).collect();
        assert_eq!(left, ["/etc/xen-handoff", KEY], "{}", root.display());
    }
}

fn a_purge_leaves_nothing() {
    for root in nodes() {
        let system = System::over(&root, "purge");
        let before = system.everything();
        system.install(&[&first().unwrap().main]);
        system.sh("mkdir -m 700 /run/xen-handoff");
        system.apt("purge xen-handoff");
        assert_eq!(system.everything(), before, "{}", root.display());
    }
}

fn the_heartbeat_package() {
    for root in nodes() {
        let system = installed(&root, "heartbeat");
        let before = system.everything();
        assert_eq!(system.install(&[&first().unwrap().heartbeat]), [""; 0], "{}", root.display());
        for link in ["/etc/ha.d/resource.d/xen-handoff", "/etc/ha.d/rc.d/stonith"] {
            assert_eq!(
                system.sh(&format!("readlink -f {link}")),
                "/usr/sbin/xen-handoff\n",
                "{}",
                root.display()
            );
        }
        assert_eq!(system.apt("purge xen-handoff-heartbeat"), [""; 0], "{}", root.display());
        assert_eq!(system.everything(), before, "{}", root.display());
    }
}

fn the_executable_runs_there() {
    for root in nodes() {
        let system = installed(&root, "run");
        let said = system.sh("/usr/lib/ocf/resource.d/handoff/Xen meta-data");
        assert!(said.contains("<resource-agent name=\"Xen\""), "{}: {said}", root.display());
        let status = system.sh("xen-handoff status --json");
        assert!(status.contains("\"domains\": []"), "{}: {status}", root.display());
    }
}
