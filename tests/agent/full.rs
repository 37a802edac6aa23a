//! A host that is short of something: room in /run, descriptors, memory; a /run that is read-only, or empty
//! all of a sudden; files that rot. What stop, start and monitor say: `doc/design/shortage.md`.

use std::path::Path;

use xen_handoff::at_once::at_once;
use xen_handoff::clock::UnixTime;
use xen_handoff::domain::DomainName;
use xen_handoff::handoff::{Epoch, Transfer};
use xen_handoff::host::{NodeName, Root};
use xen_handoff::moves::journal::{Begun, Ending, Flow, Why};
use xen_handoff::moves::progress::Direction;
use xen_handoff::small_file;

use crate::world::{Call, Host, World};
use crate::{eventually, x0_on_n1};

/// Calls the agent where `mount` has been done to this host's folder of records, for that call alone. `None`,
/// with the reason printed, where this test may not mount.
fn with_mount(host: &Host, mount: &str, action: &str) -> Option<Call> {
    with_mount_at(host, "run/xen-handoff", mount, action, &[])
}

/// An action of nine seconds.
const SOON: [(&str, &str); 1] = [("OCF_RESKEY_CRM_meta_timeout", "9000")];

/// The same for another folder of this host's.
fn with_mount_at(
    host: &Host,
    folder: &str,
    mount: &str,
    action: &str,
    more: &[(&str, &str)],
) -> Option<Call> {
    if !is_root("to mount") {
        return None;
    }
    let folder = host.root.join(folder);
    std::fs::create_dir_all(&folder).unwrap();
    let script =
        format!("PATH=/usr/sbin:/usr/bin:/sbin:/bin; cd '{}' && {mount} && exec \"$@\"", folder.display());
    let call =
        host.act_below(&["/usr/bin/unshare", "--mount", "/bin/sh", "-ec", &script, "sh"], action, more);
    assert!(!call.reason.contains("mount"), "{}", call.reason);
    Some(call)
}

/// Whether this is root; a test that needs it for this says so otherwise.
fn is_root(for_this: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("skipped: {for_this} needs root");
    }
    is_root
}

/// What must hold after a stop or a start on a host that is short of something, whatever it said: one x0
/// runs, or none and a stop has succeeded; and the cluster has it where it wants it once nothing is short any
/// more.
fn nothing_is_lost(world: &World, stopped: bool, what: &str) {
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    // A stream that broke off in its last step is settled by the source, which lets its own copy run on.
    n1.knob("have-resume", "");
    eventually(&format!("{what}: it runs, or a stop has ended it"), || {
        // On its way it runs nowhere for a moment.
        let runs = [n1.runs_x0(), n2.runs_x0()];
        assert_ne!(runs, [true, true], "{what}: it runs twice");
        stopped || runs.contains(&true)
    });
    // As a cluster does: the planned target; else where it was.
    let start = |host: &Host| host.act("start", &[("OCF_RESKEY_CRM_meta_timeout", "12000")]);
    let mut said = Vec::new();
    let host = [&n2, &n1, &n2].into_iter().find(|host| {
        let there = start(host);
        said.push(there.reason);
        there.code == 0
    });
    let Some(host) = host else { panic!("{what}: nobody can start it: {said:?}") };
    let domains = [n1.domains(), n2.domains()];
    let runs = [n1.runs_x0(), n2.runs_x0()];
    assert_eq!(runs, [host.name == "n1", host.name == "n2"], "{what}: {domains:?} {said:?}");
    host.succeeds("monitor");
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
        let Some(start) = with_mount_at(&n2, "run/xen-handoff", &pages(free), "start", &limit) else {
            return;
        };
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
    for mount in [pages(0).as_str(), READ_ONLY, "mount -t tmpfs none \"$PWD\""] {
        let Some(monitor) = with_mount(&n1, mount, "monitor") else { return };
        assert_eq!(monitor.code, 0, "{mount}: {}", monitor.reason);
    }
}

#[test]
fn a_stop_with_a_read_only_folder_says_so_and_changes_nothing() {
    let world = x0_on_n1();
    let n1 = world.host("n1");
    let Some(stop) = with_mount(&n1, READ_ONLY, "stop") else { return };
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
    let start = n2.act("start", &SOON);
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

/// The agent where no process can be made: of a namespace of processes whose first one has ended, the kernel
/// makes no other. A thread is none of that namespace's, and cannot be made from the beginning.
const NO_PROCESS: [&str; 6] =
    ["/usr/bin/unshare", "--pid", "/bin/sh", "-c", "/bin/true & wait; exec \"$@\"", "sh"];
/// The same after the first one.
const ONE_PROCESS: [&str; 2] = ["/usr/bin/unshare", "--pid"];

#[test]
fn processes_that_cannot_be_made_never_make_it_not_running_or_lose_it() {
    if !is_root("a namespace of processes") {
        return;
    }
    for below in [&NO_PROCESS[..], &ONE_PROCESS] {
        let world = x0_on_n1();
        let (n1, n2) = (world.host("n1"), world.host("n2"));
        let monitor = n1.act_below(below, "monitor", &[]);
        assert!(matches!(monitor.code, 0 | 1), "{}: {}", monitor.code, monitor.reason);
        assert_eq!(monitor.code == 1, monitor.reason.contains("cannot run xl"), "{}", monitor.reason);
        let stop = n1.act_below(below, "stop", &SOON);
        assert_eq!(stop.code, 1, "{}", stop.reason);
        assert!(stop.reason.contains("XH"), "{}", stop.reason);
        assert!(n1.runs_x0());
        n1.succeeds("stop");
        assert!(n1.runs_x0() && n1.phase() == "offered");
        let start = n2.act_below(below, "start", &SOON);
        assert_eq!(start.code, 1, "{}", start.reason);
        nothing_is_lost(&world, false, "no process");
        assert!(n2.runs_x0());
    }
}

#[test]
fn a_stop_and_a_start_need_no_thread_of_their_own() {
    if !is_root("a namespace of processes") {
        return;
    }
    let world = x0_on_n1();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    // The first process of the namespace lives on: only threads cannot be made by whoever is none of it.
    let script = "/bin/sleep 600 </dev/null >/dev/null 2>&1 & echo $! >PID; exec \"$@\""
        .replace("PID", &world.shared("first").to_string_lossy());
    let below = ["/usr/bin/unshare", "--pid", "/bin/sh", "-c", &script, "sh"];
    let end_first = || {
        let pid = std::fs::read_to_string(world.shared("first")).unwrap().trim().parse().unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    };
    let stop = n1.act_below(&below, "stop", &[]);
    assert_eq!(stop.code, 0, "{}", stop.reason);
    assert!(n1.runs_x0() && n1.phase() == "offered", "{}", world.log());
    // Its keeper with it.
    end_first();
    let start = n2.act_below(&below, "start", &[]);
    assert_eq!(start.code, 0, "{}", start.reason);
    end_first();
    assert!(n2.runs_x0() && !n1.runs_x0());
}

/// A group of processes that may have so many at once; they are ended with it.
struct AtMost(std::path::PathBuf);

impl AtMost {
    /// `None`, with the reason printed, where there can be none.
    fn new(name: &str) -> Option<Self> {
        let cgroups = Path::new("/sys/fs/cgroup");
        let folder = if cgroups.join("pids").is_dir() { cgroups.join("pids") } else { cgroups.to_owned() };
        let group = folder.join(format!("xen-handoff-{}-{name}", std::process::id()));
        let made = std::fs::create_dir(&group);
        let group = Self(group);
        if let Err(error) = made.and_then(|()| std::fs::write(group.0.join("pids.max"), "max")) {
            eprintln!(
                "skipped: no group of processes with a limit can be made in {}: {error}",
                folder.display()
            );
            return None;
        }
        Some(group)
    }

    /// From now on it may have so many.
    fn limit(&self, limit: usize) {
        std::fs::write(self.0.join("pids.max"), limit.to_string()).unwrap();
    }

    /// What joins it and becomes the agent.
    fn join(&self) -> String {
        format!("echo $$ >'{}' && exec \"$@\"", self.0.join("cgroup.procs").display())
    }
}

impl Drop for AtMost {
    fn drop(&mut self) {
        let folder = &self.0;
        eventually("the group of processes is empty", || {
            let pids = std::fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            for pid in pids.lines().filter_map(|pid| rustix::process::Pid::from_raw(pid.parse().ok()?)) {
                // Gone already.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
            std::fs::remove_dir(folder).is_ok() || !folder.exists()
        });
    }
}

#[test]
fn a_host_that_can_have_few_more_processes_loses_nothing() {
    for limit in 1..13 {
        for action in ["stop", "start"] {
            let world = x0_on_n1();
            let (n1, n2) = (world.host("n1"), world.host("n2"));
            let Some(group) = AtMost::new(action) else { return };
            let join = group.join();
            let below = ["/bin/sh", "-c", &join, "sh"];
            group.limit(limit);
            let monitor = n1.act_below(&below, "monitor", &[]);
            assert!(matches!(monitor.code, 0 | 1), "{limit}: {} {}", monitor.code, monitor.reason);
            let host = if action == "stop" { &n1 } else { &n2 };
            if action == "start" {
                n1.succeeds("stop");
            }
            let done = host.act_below(&below, action, &SOON);
            assert!(matches!(done.code, 0 | 1), "{limit} {action}: {} {}", done.code, done.reason);
            if action == "stop" && done.code == 0 {
                assert!(!n1.runs_x0() || n1.phase() == "offered", "{limit}: {}", done.reason);
            }
            group.limit(1000);
            let stopped = action == "stop" && done.code == 0;
            nothing_is_lost(&world, stopped, &format!("{limit} processes, {action}"));
        }
    }
}

/// A folder without any room for more.
const NO_ROOM: &str = "mount -t tmpfs -o size=4k none \"$PWD\" && cd \"$PWD\" && dd if=/dev/zero of=fill bs=4k count=1 status=none";
/// A folder that cannot be written to.
const READ_ONLY: &str = "mount --bind . . && mount -o remount,bind,ro \"$PWD\"";

#[test]
fn no_room_in_var_lib_costs_a_line_of_the_log_of_moves_and_no_move() {
    for mount in [NO_ROOM, READ_ONLY] {
        let world = x0_on_n1();
        let (n1, n2) = (world.host("n1"), world.host("n2"));
        let act = |host: &Host, action| with_mount_at(host, "var/lib/xen-handoff", mount, action, &[]);
        let Some(monitor) = act(&n1, "monitor") else { return };
        assert_eq!(monitor.code, 0, "{}", monitor.reason);
        let stop = act(&n1, "stop").unwrap();
        assert_eq!(stop.code, 0, "{}", stop.reason);
        assert!(n1.runs_x0() && n1.phase() == "offered", "{}", world.log());
        let start = act(&n2, "start").unwrap();
        assert_eq!(start.code, 0, "{}", start.reason);
        assert!(n2.runs_x0() && !n1.runs_x0());
        assert!(world.log().contains("this move is not in the log of moves"), "{}", world.log());
        world.plan(&crate::NODES, None);
        let stop = act(&n2, "stop").unwrap();
        assert_eq!(stop.code, 0, "{}", stop.reason);
        assert!(n2.domains().is_empty());
        // With a snapshot to come, a run that cannot be marked would let an old memory be restored on top of
        // its disks.
        let folder = world.shared("snapshots");
        std::fs::create_dir_all(&folder).unwrap();
        let snapshot = [("OCF_RESKEY_snapshot", folder.to_str().unwrap())];
        let boot = with_mount_at(&n2, "var/lib/xen-handoff", mount, "start", &snapshot).unwrap();
        assert_eq!(boot.code, 1, "{}", boot.reason);
        assert!(n2.domains().is_empty());
        let boot = act(&n2, "start").unwrap();
        assert_eq!(boot.code, 0, "{}", boot.reason);
        assert!(n2.runs_x0());
    }
}
/// From now on the folder of records of `of` is another one, and empty, when the tools of both hosts have
/// been called so many times. Whoever has a file of it open keeps that.
fn remounts_at(world: &World, of: &Host, call: usize) {
    let (armed, calls) = (world.shared("armed"), world.shared("calls"));
    let hook = format!(
        "[ -e {armed} ] && {{ echo x >>{calls}; [ $(wc -l <{calls}) -ge {call} ] && rm {armed} 2>/dev/null \
         && mv {run}/xen-handoff {run}/before && mkdir -m 700 {run}/xen-handoff; }}",
        armed = armed.display(),
        calls = calls.display(),
        run = of.root.join("run").display(),
    );
    for host in [world.host("n1"), world.host("n2")] {
        let folder = host.root.join("usr/sbin");
        std::fs::rename(folder.join("xl"), folder.join("xl-itself")).unwrap();
        let itself = format!("{hook}\nexec {} \"$@\"", folder.join("xl-itself").display());
        host.put_script("usr/sbin/xl", &itself);
        for tool in ["ssh", "attrd_updater", "cibadmin", "crm_simulate", "crm_mon"] {
            let script = std::fs::read_to_string(folder.join(tool)).unwrap();
            let script = script.trim_start_matches("#!/bin/sh\n");
            host.put_script(&format!("usr/sbin/{tool}"), &format!("{hook}\n{script}"));
        }
    }
    std::fs::write(armed, "").unwrap();
}

/// Whether there were so many calls.
fn an_action_while_run_is_remounted(action: &str, on: &str, of: &str, call: usize) -> bool {
    let world = x0_on_n1();
    let (n1, host) = (world.host("n1"), world.host(on));
    if on == "n2" {
        n1.succeeds("stop");
    }
    remounts_at(&world, &world.host(of), call);
    let what = format!("{action} on {on}, /run of {of} remounted at call {call}");
    let done = host.act(action, &SOON);
    assert!(matches!(done.code, 0 | 1), "{what}: {} {}", done.code, done.reason);
    // Whoever arms it last disarms it.
    let happened = std::fs::remove_file(world.shared("armed")).is_err();
    if action == "stop" && n1.runs_x0() {
        let monitor = n1.act("monitor", &[]);
        assert!(monitor.code != 7 || n1.phase() == "offered", "{what}: {}", monitor.reason);
    }
    nothing_is_lost(&world, action == "stop" && done.code == 0, &what);
    happened
}

#[test]
fn p2_a_run_that_is_remounted_in_the_middle_of_an_action_loses_nothing() {
    for (action, on, of) in [("stop", "n1", "n1"), ("start", "n2", "n1"), ("start", "n2", "n2")] {
        // A few at a time: most of it is waiting.
        let mut first = 1;
        loop {
            let all =
                at_once(first..first + 4, |call| an_action_while_run_is_remounted(action, on, of, call));
            if !all.iter().all(|happened| happened.unwrap()) {
                break;
            }
            first += 4;
        }
        assert!(first > 1, "{action} calls no four tools");
    }
}

/// What calls the agent with this clock. Its tools, its keeper and its workers have the right one: it is
/// turned for one executable.
fn by_clock(time: &str) -> Option<[String; 4]> {
    let mut folders = std::fs::read_dir("/usr/lib").unwrap().flatten();
    let found = folders.find_map(|folder| {
        // As `faketime` has it, which would wait for all that the agent leaves behind.
        let library = folder.path().join("faketime/libfaketimeMT.so.1");
        library.exists().then_some(library)
    });
    let Some(library) = found else {
        eprintln!("skipped: no libfaketime here (tests/need host)");
        return None;
    };
    Some([
        "/usr/bin/env".to_owned(),
        format!("LD_PRELOAD={}", library.display()),
        format!("FAKETIME={time}"),
        "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
    ])
}

const IN_1970: &str = "@1970-01-01 00:10:00";
const IN_2099: &str = "@2099-01-01 00:00:00";

#[test]
fn a_host_whose_clock_is_in_1970_hands_nothing_over_and_boots_and_ends_it() {
    let Some(clock) = by_clock(IN_1970) else { return };
    let clock: Vec<&str> = clock.iter().map(String::as_str).collect();
    let world = x0_on_n1();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    let act = |action: &str| n1.act_below(&clock, action, &[]);
    let monitor = act("monitor");
    assert_eq!(monitor.code, 0, "{}", monitor.reason);
    let stop = act("stop");
    assert_eq!(stop.code, 0, "{}", stop.reason);
    assert!(n1.domains().is_empty(), "{:?}", n1.domains());
    assert!(world.log().contains("no handoff: the clock of this host says 1970-01-01"), "{}", world.log());
    let start = act("start");
    assert_eq!(start.code, 0, "{}", start.reason);
    // The clock has been put right.
    n1.succeeds("monitor");
    n1.succeeds("stop");
    assert!(n1.runs_x0() && n1.phase() == "offered");
    n2.succeeds("start");
    assert!(n2.runs_x0() && !n1.runs_x0());
}

#[test]
fn p2_no_clock_of_one_host_loses_what_runs_or_is_on_offer() {
    for time in [IN_1970, IN_2099] {
        let Some(clock) = by_clock(time) else { return };
        let clock: Vec<&str> = clock.iter().map(String::as_str).collect();
        for (is_offered, on, action) in [
            (false, "n1", "stop"),
            (false, "n2", "start"),
            (true, "n1", "stop"),
            (true, "n1", "start"),
            (true, "n2", "start"),
        ] {
            let world = x0_on_n1();
            let n1 = world.host("n1");
            let what = format!("{action} on {on} {time}, on offer: {is_offered}");
            if is_offered {
                n1.succeeds("stop");
            }
            let monitor = n1.act_below(&clock, "monitor", &[]);
            let right = if is_offered { &[0, 7][..] } else { &[0] };
            assert!(right.contains(&monitor.code), "{what}: {} {}", monitor.code, monitor.reason);
            let done = world.host(on).act_below(&clock, action, &SOON);
            assert!(matches!(done.code, 0 | 1), "{what}: {} {}", done.code, done.reason);
            if action == "stop" && done.code == 0 {
                assert!(!n1.runs_x0() || n1.phase() == "offered", "{what}");
            }
            nothing_is_lost(&world, action == "stop" && done.code == 0, &what);
        }
    }
}

/// One of each kind of damage to a file, through the real executable. `tests/rot.rs` has all of them, through
/// the readers.
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

/// Puts what `x0` and the host have besides the record into their files.
fn small_files(host: &Host) -> Vec<std::path::PathBuf> {
    let state = host.root.join("run/xen-handoff");
    let transfer = Transfer {
        epoch: Epoch::begin(),
        source: NodeName::new("n2").unwrap(),
        target: NodeName::new("n1").unwrap(),
    };
    let (root, x0) = (Root::new(&host.root), DomainName::new("x0").unwrap());
    let flow = Flow { bytes: 256 << 20, opened_ms: Some(300), ready_ms: Some(4300), ..Flow::default() };
    let begun = Begun::now(&x0, &transfer, Why::Handoff, Direction::Incoming);
    begun.ended(&root, flow, Ending::Moved, "Migration successful.");
    let soon = UnixTime::now().plus(std::time::Duration::from_secs(600));
    let ticket = |number: u64| serde_json::json!({"domain": "x9", "priority": 0, "since": 1, "number": number, "has_slot": true});
    let kept = [
        ("x0.memory", serde_json::json!({"floor_mib": 8, "had_mib": 16})),
        ("x1.room", serde_json::json!({"mib": 30, "until": soon.0})),
        ("x0.utilization", serde_json::json!({"cpu": 1, "hv_memory": 16})),
        ("x0.flow", serde_json::to_value(flow).unwrap()),
        (
            "x0.progress",
            serde_json::json!({"direction": "outgoing", "bytes": 1, "memory_mib": 16, "stage": "opening",
            "started_at": 1, "updated_at": 2}),
        ),
        ("slots/incoming/0", ticket(0)),
        ("slots/outgoing/0", ticket(0)),
    ];
    let files = kept.map(|(name, what)| {
        small_file::keep_json(&state.join(name), &what).unwrap();
        state.join(name)
    });
    files.into_iter().chain([host.root.join("var/lib/xen-handoff/moves.jsonl")]).collect()
}

/// All of them are damaged at once, at every byte.
#[test]
fn p2_what_is_noted_besides_the_record_may_rot_and_nothing_is_lost_by_it() {
    let world = x0_on_n1();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    let all = [
        ("OCF_RESKEY_allow_mem_management", "true"),
        ("OCF_RESKEY_memory_floor", "8"),
        ("OCF_RESKEY_autoset_utilization_cpu", "true"),
        ("OCF_RESKEY_autoset_utilization_hv_memory", "true"),
        ("OCF_RESKEY_CRM_meta_interval", "10000"),
    ];
    let files: Vec<_> = small_files(&n1).into_iter().chain(small_files(&n2)).collect();
    let whole: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    let longest = whole.iter().map(Vec::len).max().unwrap();
    // Tickets whose holders are there are no leftovers to be cleared away.
    let tickets: Vec<_> = files.iter().filter(|file| file.ends_with("0")).collect();
    let _held: Vec<_> = tickets
        .into_iter()
        .map(|ticket| {
            let file = std::fs::OpenOptions::new().read(true).write(true).open(ticket).unwrap();
            rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
            file
        })
        .collect();
    let damage = |at: usize, cut: bool| {
        for (file, whole) in files.iter().zip(&whole) {
            let mut damaged = whole.clone();
            match damaged.get_mut(at) {
                Some(_) if cut => damaged.truncate(at),
                Some(byte) => *byte ^= 4,
                None => {}
            }
            std::fs::write(file, damaged).unwrap();
        }
    };
    for at in 0..longest {
        for cut in [false, true] {
            damage(at, cut);
            let monitor = n1.act("monitor", &all);
            assert_eq!(monitor.code, 0, "{at} {cut}: {}", monitor.reason);
        }
    }
    n1.succeeds("stop");
    for at in 0..longest {
        damage(at, at % 2 == 0);
        let stop = n1.act("stop", &all);
        assert_eq!(stop.code, 0, "{at}: {}", stop.reason);
        assert!(n1.runs_x0() && n1.phase() == "offered", "{at}");
    }
    for at in (0..longest).step_by(1 + longest / 9) {
        damage(at, at % 2 == 0);
        let (from, to) = if n1.runs_x0() { (&n1, &n2) } else { (&n2, &n1) };
        world.plan(&crate::NODES, Some(&to.name));
        for (host, action) in [(from, "stop"), (to, "start")] {
            let done = host.act(action, &all[..4]);
            assert_eq!(done.code, 0, "{at}: {action} {}", done.reason);
        }
        assert!(to.runs_x0() && !from.runs_x0(), "{at}");
    }
}
