//! A host that is short of something: room in /run, descriptors, memory; a /run that is read-only, or empty all of a sudden; files that
//! rot. What stop, start and monitor say: `doc/design/shortage.md`.

use std::path::Path;

use crate::world::{Call, Host};
use crate::x0_on_n1;

/// Calls the agent where `mount` has been done to this host's folder of records, for that call alone. `None`, with the reason printed,
/// where this test may not mount.
fn with_mount(host: &Host, mount: &str, action: &str) -> Option<Call> {
    with_mount_and(host, mount, action, &[])
}

fn with_mount_and(host: &Host, mount: &str, action: &str, more: &[(&str, &str)]) -> Option<Call> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: to mount needs root");
        return None;
    }
    let folder = host.root.join("run/xen-handoff");
    std::fs::create_dir_all(&folder).unwrap();
    let script =
        format!("PATH=/usr/sbin:/usr/bin:/sbin:/bin; cd '{}' && {mount} && exec \"$@\"", folder.display());
    let call =
        host.act_below(&["/usr/bin/unshare", "--mount", "/bin/sh", "-ec", &script, "sh"], action, more);
    assert!(!call.reason.contains("mount"), "{}", call.reason);
    Some(call)
}

/// A folder of records with so many free pages of memory.
fn pages(free: usize) -> String {
    let fill = 64 - free;
    format!(
        "mount -t tmpfs -o size=256k none \"$PWD\" && cd \"$PWD\" && dd if=/dev/zero of=fill bs=4k count={fill} status=none"
    )
}

#[test]
fn a_stop_succeeds_however_few_pages_are_free_in_run() {
    for free in 0..6 {
        let world = x0_on_n1();
        let n1 = world.host("n1");
        let Some(stop) = with_mount(&n1, &pages(free), "stop") else { return };
        assert_eq!(stop.code, 0, "{free} pages: {}", stop.reason);
        // Gone, or on offer: whoever has room for that has room for all of it.
        assert!(!n1.runs_x0() || world.log().contains("->offered"), "{free} pages: {:?}", n1.domains());
    }
}

#[test]
fn p4_a_fetch_has_all_the_room_that_it_needs_in_run_or_takes_nothing() {
    let mut moved = 0;
    for free in [0, 1, 2, 3, 4, 5, 6, 12] {
        let world = x0_on_n1();
        let (n1, n2) = (world.host("n1"), world.host("n2"));
        n1.succeeds("stop");
        let limit = [("OCF_RESKEY_CRM_meta_timeout", "6000")];
        let Some(start) = with_mount_and(&n2, &pages(free), "start", &limit) else { return };
        match start.code {
            0 => moved += 1,
            _ => assert!(n1.runs_x0(), "{free} pages: {}", start.reason),
        }
        assert_eq!(n2.runs_x0(), start.code == 0, "{free} pages: {}", start.reason);
    }
    assert!(moved > 0, "with twelve pages it moves");
}

#[test]
fn a_monitor_needs_no_room_and_no_folder_that_can_be_written_to() {
    let world = x0_on_n1();
    let n1 = world.host("n1");
    let read_only = "mount --bind . . && mount -o remount,bind,ro \"$PWD\"";
    for mount in [pages(0).as_str(), read_only, "mount -t tmpfs none \"$PWD\""] {
        let Some(monitor) = with_mount(&n1, mount, "monitor") else { return };
        assert_eq!(monitor.code, 0, "{mount}: {}", monitor.reason);
    }
}

#[test]
fn a_stop_with_a_read_only_folder_says_so_and_changes_nothing() {
    let world = x0_on_n1();
    let n1 = world.host("n1");
    let read_only = "mount --bind . . && mount -o remount,bind,ro \"$PWD\"";
    let Some(stop) = with_mount(&n1, read_only, "stop") else { return };
    assert_eq!(stop.code, 1, "{}", stop.reason);
    assert!(stop.reason.contains("cannot open") && stop.reason.contains("x0.lock"), "{}", stop.reason);
    assert!(n1.runs_x0());
}

#[test]
fn p2_records_that_are_gone_let_nobody_boot_what_was_offered() {
    let world = x0_on_n1();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    n1.succeeds("stop");
    assert!(n1.runs_x0());
    std::fs::rename(n1.root.join("run/xen-handoff"), n1.root.join("run/before")).unwrap();
    assert_eq!(n1.act("monitor", &[]).code, 0, "it runs, whatever was promised");
    let start = n2.act("start", &[("OCF_RESKEY_CRM_meta_timeout", "9000")]);
    assert_eq!(start.code, 1, "{}", start.reason);
    assert!(n1.runs_x0() && !n2.runs_x0());
    n1.succeeds("stop");
}

#[test]
fn descriptors_and_memory_that_run_out_never_make_it_not_running() {
    let world = x0_on_n1();
    let n1 = world.host("n1");
    for limit in [
        "--nofile=4",
        "--nofile=6",
        "--nofile=8",
        "--nofile=10",
        "--as=8000000",
        "--as=16000000",
        "--data=400000",
    ] {
        let monitor = n1.act_below(&["/usr/bin/prlimit", limit], "monitor", &[]);
        assert_ne!(monitor.code, 7, "{limit}: {}", monitor.reason);
        let stop = n1.act_below(&["/usr/bin/prlimit", limit], "stop", &[]);
        assert!(stop.code != 0 || !n1.runs_x0() || n1.phase() == "offered", "{limit}: {}", stop.reason);
        if stop.code == 0 {
            n1.succeeds("start");
        }
    }
}

/// One of each kind of damage to a file, through the real executable. `tests/rot.rs` has all of them, through the readers.
#[test]
fn p2_no_file_that_rots_makes_a_running_domain_not_running_or_lets_another_node_boot_it() {
    let world = x0_on_n1();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    n1.succeeds("monitor");
    let state = n1.root.join("run/xen-handoff");
    let asks = |file: &Path, is_offered: bool| {
        let whole = std::fs::read(file).unwrap();
        // Not in the checksum itself: what is left without it is whole.
        let text = whole.len() - 66;
        let some: Vec<usize> = (0..text).step_by(1 + text / 7).collect();
        for at in some {
            let mut turned = whole.clone();
            turned[at] ^= 4;
            for damaged in [turned, whole[..at].to_vec()] {
                std::fs::write(file, &damaged).unwrap();
                let monitor = n1.act("monitor", &[]);
                assert!(
                    if is_offered { matches!(monitor.code, 1 | 7) } else { monitor.code != 7 },
                    "{} {at}: {} {}",
                    file.display(),
                    monitor.code,
                    monitor.reason
                );
                if is_offered {
                    let start = n2.act("start", &[("OCF_RESKEY_CRM_meta_timeout", "4000")]);
                    assert!(n1.runs_x0() && !n2.runs_x0());
                    assert_ne!(start.code, 0, "{} {at}: {}", file.display(), start.reason);
                }
            }
        }
        std::fs::write(file, whole).unwrap();
    };
    asks(&state.join("x0.identity"), false);
    n1.succeeds("stop");
    asks(&state.join("x0.json"), true);
    n2.succeeds("start");
    assert!(n2.runs_x0() && !n1.runs_x0());
}
