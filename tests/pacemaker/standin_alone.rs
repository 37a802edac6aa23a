//! The stand-in toolstack by itself: two hosts in a folder, no root, no cluster. What every other test rests on.

use crate::audit;
use crate::spawn::{Said, command, copy_executable, run, standin, until};
use libtest_mimic::Trial;
use std::path::{Path, PathBuf};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);

pub(crate) fn trials() -> Vec<Trial> {
    let tests: [(&str, fn()); 7] = [
        ("says_what_xl_says", says_what_xl_says),
        ("migration_keeps_the_guest", migration_keeps_the_guest),
        ("sender_dies_at_every_point", sender_dies_at_every_point),
        ("receiver_dies_at_every_point", receiver_dies_at_every_point),
        ("receiver_fails_after_go", receiver_fails_after_go),
        ("reboot_has_a_window", reboot_has_a_window),
        ("knobs", knobs),
    ];
    let trial = |(name, test): (&str, fn())| {
        Trial::test(format!("standin::{name}"), move || {
            test();
            Ok(())
        })
    };
    tests.into_iter().map(trial).collect()
}

/// Two Xen hosts, `a` and `b`, and a configuration of x0.
struct Hosts {
    folder: tempfile::TempDir,
}

impl Hosts {
    fn new() -> Hosts {
        let folder = tempfile::tempdir().expect("a folder");
        let hosts = Hosts { folder };
        for host in ["a", "b"] {
            std::fs::create_dir_all(hosts.xl(host).parent().expect("a folder")).expect("the host's folders");
            std::fs::create_dir_all(hosts.state(host).join("ctl")).expect("the host's folders");
            copy_executable(&standin(), &hosts.xl(host));
            std::fs::write(hosts.state(host).join("hostname"), host).expect("the host's name");
            let events = hosts.state(host).join("events");
            std::os::unix::fs::symlink(hosts.folder.path().join("events"), events).expect("the events");
            hosts.knob(host, "stream.mib", "1");
            hosts.knob(host, "stream.last-seconds", "0.01");
        }
        std::fs::write(hosts.config(), "name = \"x0\"\ntype = \"pvh\"\nmemory = 128\nvcpus = 1\n")
            .expect("x0's configuration");
        hosts
    }

    fn xl(&self, host: &str) -> PathBuf {
        self.folder.path().join(host).join("usr/sbin/xl")
    }

    fn state(&self, host: &str) -> PathBuf {
        self.folder.path().join(host).join("var/lib/xl-standin")
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("x0.cfg")
    }

    fn knob(&self, host: &str, name: &str, text: &str) {
        std::fs::write(self.state(host).join("ctl").join(name), text).expect("a knob");
    }

    fn on(&self, host: &str, words: &[&str]) -> Said {
        run(command(self.xl(host)).args(words))
    }

    fn must(&self, host: &str, words: &[&str]) -> String {
        let said = self.on(host, words);
        assert!(said.ok(), "xl {words:?} on {host}: {} {}{}", said.status, said.stderr, said.stdout);
        said.stdout
    }

    fn create(&self, host: &str) {
        let config = self.config().to_string_lossy().into_owned();
        self.must(host, &["create", "-q", &config]);
    }

    fn push(&self) -> Said {
        let transport = format!("{} migrate-receive #", self.xl("b").display());
        self.on("a", &["migrate", "-s", &transport, "x0", "b"])
    }

    /// Name and flags of every guest domain; a running one is always `-b----` here.
    fn domains(&self, host: &str) -> Vec<String> {
        let listing = self.must(host, &["list"]);
        listing
            .lines()
            .skip(2)
            .map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                let flags = words.get(4).copied().unwrap_or_default();
                let flags = if ["r-----", "------"].contains(&flags) { "-b----" } else { flags };
                format!("{} {flags}", words.first().copied().unwrap_or_default())
            })
            .collect()
    }

    /// Waits until the hosts have exactly these domains.
    fn end_with(&self, what: &str, a: &[&str], b: &[&str]) {
        until(SOON, || self.domains("a") == a && self.domains("b") == b).unwrap_or_else(|_| {
            panic!(
                "{what}: a has {:?}, not {a:?}; b has {:?}, not {b:?}",
                self.domains("a"),
                self.domains("b")
            )
        });
        let events =
            audit::read(&std::fs::read_to_string(self.folder.path().join("events")).expect("the events"));
        assert_eq!(audit::two_at_once(&events), Vec::<String>::new(), "{what}");
    }

    fn show(&self, host: &str) -> serde_json::Value {
        serde_json::from_str(&self.must(host, &["standin", "show", "x0"])).expect("JSON")
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        // the monitor daemons end with their domains
        for host in ["a", "b"] {
            for name in ["x0", "x0--incoming", "x0--migratedaway"] {
                self.on(host, &["destroy", name]);
            }
        }
    }
}

/// Compared with what real xl 4.17 was seen to say.
fn says_what_xl_says() {
    let hosts = Hosts::new();
    let captured = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captured/xl-4.17").join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    };
    let first_line = |text: &str| text.lines().next().unwrap_or_default().to_owned();
    assert_eq!(first_line(&hosts.must("a", &["list"])), first_line(&captured("list--absent.stdout")));
    assert_eq!(
        first_line(&hosts.must("a", &["list", "-v"])),
        first_line(&captured("list-verbose--running.stdout"))
    );
    for (words, name) in [
        (&["list", "x0"][..], "list-name--absent"),
        (&["domid", "x0"], "domid--absent"),
        (&["destroy", "x0"], "destroy--absent"),
        (&["shutdown", "x0"], "shutdown--absent"),
        (&["migrate", "x0", "b"], "migrate--name-absent"),
        (&["create", "-nq", "-f", "/etc/xen/nope.cfg"], "create-dryrun--missing-file"),
    ] {
        let said = hosts.on("a", words);
        assert_eq!(said.stderr, captured(&format!("{name}.stderr")), "xl {words:?}");
        assert_eq!(said.status.to_string(), captured(&format!("{name}.rc")).trim(), "xl {words:?}");
    }
    hosts.create("a");
    let config = hosts.config().to_string_lossy().into_owned();
    let said = hosts.on("a", &["create", &config]);
    assert_eq!(said.status.to_string(), captured("create--name-taken.rc").trim());
    assert!(said.stderr.contains("Domain with name \"x0\" already exists."), "{}", said.stderr);
    let column = |line: &str| line.find("128").expect("the memory column");
    let theirs = captured("list--running.stdout");
    let line = hosts.must("a", &["list", "x0"]);
    assert_eq!(column(line.lines().last().unwrap()), column(theirs.lines().last().unwrap()));
    let said = hosts.on("a", &["migrate", "-s", "echo hello #", "x0", "b"]);
    assert_eq!(said.stderr, captured("migrate--no-banner.stderr"));
    let json: serde_json::Value =
        serde_json::from_str(&hosts.must("a", &["list", "-l", "x0"])).expect("JSON");
    let theirs: serde_json::Value =
        serde_json::from_str(&captured("list-long--running.stdout")).expect("JSON");
    for path in ["/0/domid", "/0/config/c_info/name", "/0/config/b_info/target_memkb", "/0/config/on_reboot"]
    {
        assert_eq!(json.pointer(path), theirs.pointer(path), "{path} in list -l");
    }
    assert_eq!(hosts.on("a", &["resume", "x0"]).status, 1, "4.17 has no resume");
}

fn migration_keeps_the_guest() {
    let hosts = Hosts::new();
    hosts.create("a");
    let before = hosts.show("a");
    let said = hosts.push();
    assert_eq!(said.status, 0, "{}", said.stderr);
    assert!(said.stderr.ends_with("Migration successful.\n"), "{}", said.stderr);
    hosts.end_with("a migration", &[], &["x0 -b----"]);
    let after = hosts.show("b");
    for key in ["boot_id", "boots", "started_at_ns"] {
        assert_eq!(before[key], after[key], "{key}");
    }
    assert!(before["ticks"].as_u64() <= after["ticks"].as_u64(), "{before} {after}");
    let log = hosts.folder.path().join("b/var/log/xen/xl-x0--incoming.log");
    assert!(std::fs::read_to_string(log).expect("the daemon's log").starts_with("Waiting for domain x0"));
}

fn sender_dies_at_every_point() {
    const LEFT: &[&str] = &["x0--incoming --p---"];
    for (point, a, b) in [
        ("before-banner", &["x0 -b----"][..], &[][..]),
        ("in-stream", &["x0 -b----"], &[]),
        ("stop-and-copy", &["x0 ---ss-"], &[]),
        // the receiver cannot write its report, and leaves without cleaning up, as xl does
        ("after-ready", &["x0 ---ss-"], LEFT),
        ("after-rename", &["x0--migratedaway ---ss-"], LEFT),
        ("after-go", &["x0--migratedaway ---ss-"], &["x0 -b----"]),
        ("before-destroy", &["x0--migratedaway ---ss-"], &["x0 -b----"]),
    ] {
        let hosts = Hosts::new();
        hosts.create("a");
        hosts.knob("a", "migrate.kill-once", point);
        assert_eq!(hosts.push().status, -1, "killed {point}");
        hosts.end_with(&format!("sender killed {point}"), a, b);
    }
}

fn receiver_dies_at_every_point() {
    const LEFT: &[&str] = &["x0--incoming --p---"];
    const UNDEFINED: &str = "** Migration failed during final handshake **";
    const RESUMED: &str = "Migration failed, resuming at sender.";
    for (point, a, b, says) in [
        ("before-banner", &["x0 -b----"][..], &[][..], "truncated reading banner"),
        ("in-stream", &["x0 -b----"], LEFT, RESUMED),
        ("before-ready", &["x0 -b----"], LEFT, RESUMED),
        ("after-ready", &["x0--migratedaway ---ss-"], LEFT, UNDEFINED),
        ("after-go", &["x0--migratedaway ---ss-"], LEFT, UNDEFINED),
        ("after-unpause", &["x0--migratedaway ---ss-"], &["x0 -b----"], UNDEFINED),
        ("after-report", &[], &["x0 -b----"], "Migration successful."),
    ] {
        let hosts = Hosts::new();
        hosts.create("a");
        // more than a pipe holds, so that the sender must notice
        hosts.knob("a", "stream.mib", "2");
        hosts.knob("b", "receive.kill-once", point);
        let said = hosts.push();
        assert!(said.stderr.contains(says), "receiver killed {point}: {}", said.stderr);
        hosts.end_with(&format!("receiver killed {point}"), a, b);
    }
}

fn receiver_fails_after_go() {
    for what in ["rename", "unpause", "create"] {
        let hosts = Hosts::new();
        hosts.create("a");
        let before = hosts.show("a");
        hosts.knob("b", "receive.fail", what);
        let said = hosts.push();
        assert_eq!(said.status, 1, "{what}");
        hosts.end_with(what, &["x0 -b----"], &[]);
        assert_eq!(hosts.show("a")["boot_id"], before["boot_id"], "{what}");
    }
    let hosts = Hosts::new();
    hosts.create("a");
    hosts.knob("b", "receive.fail", "unpause\ndestroy");
    assert!(hosts.push().stderr.contains("final handshake"));
    hosts.end_with("unpause and destroy", &["x0--migratedaway ---ss-"], &["x0 --p---"]);
}

fn reboot_has_a_window() {
    let hosts = Hosts::new();
    hosts.create("a");
    let before = hosts.show("a");
    hosts.must("a", &["standin", "guest", "x0", "reboot"]);
    until(SOON, || hosts.domains("a").is_empty()).expect("the window");
    let took = until(SOON, || hosts.domains("a") == ["x0 -b----"]).expect("the next boot");
    assert!(took > Duration::from_millis(1500), "the window was only {took:?}");
    let after = hosts.show("a");
    assert_eq!(after["boots"], 2);
    assert_ne!(after["boot_id"], before["boot_id"]);
    // after a failed migration the daemon is gone, and a reboot stays where it is
    hosts.knob("b", "receive.fail", "create");
    assert_eq!(hosts.push().status, 1);
    hosts.end_with("a failed migration", &["x0 -b----"], &[]);
    hosts.knob("b", "receive.fail", "unpause");
    assert_eq!(hosts.push().status, 1);
    until(SOON, || hosts.domains("a") == ["x0 -b----"]).expect("x0 resumed");
    let log = hosts.folder.path().join("a/var/log/xen/xl-x0.log");
    until(SOON, || std::fs::read_to_string(&log).is_ok_and(|t| t.contains("Domain has suspended.")))
        .expect("no daemon");
    hosts.must("a", &["standin", "guest", "x0", "reboot"]);
    hosts.end_with("a reboot without a daemon", &["x0 ---sr-"], &[]);
}

fn knobs() {
    let hosts = Hosts::new();
    hosts.knob("a", "list.fail-once", "3\nno");
    let said = hosts.on("a", &["list"]);
    assert_eq!((said.status, said.stderr.as_str()), (3, "no\n"));
    assert_eq!(hosts.on("a", &["list"]).status, 0);
    hosts.knob("a", "memory-mib", "1100");
    let config = hosts.config().to_string_lossy().into_owned();
    let said = hosts.on("a", &["create", &config]);
    assert!(said.status == 3 && said.stderr.contains("Out of memory"), "{}", said.stderr);
    hosts.knob("a", "memory-mib", "2000");
    hosts.create("a");
    hosts.knob("a", "x0.ignore-shutdown", "");
    hosts.must("a", &["shutdown", "x0"]);
    assert_eq!(hosts.domains("a"), ["x0 -b----"]);
    std::fs::remove_file(hosts.state("a").join("ctl/x0.ignore-shutdown")).expect("the knob");
    hosts.knob("a", "x0.shutdown-seconds", "0.3");
    let said = hosts.on("a", &["shutdown", "-w", "x0"]);
    assert!(said.stderr.contains("has been shut down, reason code 0"), "{}", said.stderr);
    hosts.end_with("a shutdown", &[], &[]);
}
