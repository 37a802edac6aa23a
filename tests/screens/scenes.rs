//! What must be so for a screen to look as it does, and how its command is given then.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::three_nodes::{NODES, managed, well_set_up, without_keys, x0_on_n1};
use crate::world::{Host, World, begin};

/// What is typed, and where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Given<'a> {
    pub(crate) node: &'a str,
    pub(crate) command: &'a str,
}

impl Given<'_> {
    /// Gives the command as a person does, and gives what the person sees.
    fn to(&self, world: &World) -> String {
        let host = world.host(self.node);
        let output = begin(&mut self.shell(&host, "")).wait_with_output().unwrap();
        shown(&host, &String::from_utf8_lossy(&output.stdout))
    }

    /// A shell that gives the command on this host. What stands before it is the shell's.
    fn shell(&self, host: &Host, before: &str) -> Command {
        let programs = std::path::Path::new(env!("CARGO_BIN_EXE_xen-handoff")).parent().unwrap();
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", programs.display());
        let line = format!("exec 2>&1; {before}{}", self.command);
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &line]).env_clear().env("PATH", path).env("XEN_HANDOFF_ROOT", &host.root);
        shell.env("HA_LOGFACILITY", "none");
        shell
    }
}

/// What was printed, as on a host whose root is that of the machine.
fn shown(host: &Host, printed: &str) -> String {
    printed.replace(&*host.root.to_string_lossy(), "")
}

/// A command that prints while the world goes on.
struct Running {
    host: Host,
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
    printed: String,
}

impl Running {
    fn new(world: &World, given: &Given<'_>) -> Self {
        let host = world.host(given.node);
        let mut child = begin(&mut given.shell(&host, "exec "));
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { host, child, lines, printed: String::new() }
    }

    /// Reads up to the line that has this in it.
    fn until(&mut self, what: &str) {
        for line in self.lines.by_ref() {
            let line = line.unwrap();
            self.printed += &format!("{line}\n");
            if line.contains(what) {
                return;
            }
        }
        panic!("it has ended without {what:?}:\n{}", self.printed);
    }

    /// Stopped, it does not look at the world while that changes.
    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Reads the rest, and gives all of it.
    fn rest(mut self) -> String {
        for line in self.lines.by_ref() {
            self.printed += &format!("{}\n", line.unwrap());
        }
        shown(&self.host, &self.printed)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < until, "in vain waited for: {what}");
    }
}

/// x0 runs on n1, where the cluster has it, and would go to n2.
fn at_home() -> World {
    let world = x0_on_n1();
    managed(&world, Some("n1"));
    world
}

pub(crate) fn on_n1(given: &Given<'_>) -> String {
    given.to(&at_home())
}

/// Three nodes on which nothing is wrong, each with a pair of keys of its own.
fn own_keys() -> World {
    use std::os::unix::fs::PermissionsExt;
    let (world, well) = (without_keys(), well_set_up());
    let cards: String = NODES.iter().map(|name| world.host(name).tool(&["keys", "--export"]).1).collect();
    for name in NODES {
        let host = world.host(name);
        std::fs::create_dir_all(host.root.join("root/.ssh")).unwrap();
        std::fs::write(host.root.join("cards"), &cards).unwrap();
        let accept = Given { node: name, command: "xen-handoff keys --accept <$XEN_HANDOFF_ROOT/cards" };
        accept.to(&world);
        for file in ["etc/xen/x0.cfg", "usr/sbin/systemctl"] {
            std::fs::copy(well.host(name).root.join(file), host.root.join(file)).unwrap();
        }
        let folder = host.root.join("etc/xen-handoff");
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).unwrap();
    }
    world
}

pub(crate) fn with_own_keys(given: &Given<'_>) -> String {
    given.to(&own_keys())
}

/// n2's guard does not run, and n3 has another configuration of x0.
pub(crate) fn not_well(given: &Given<'_>) -> String {
    let world = own_keys();
    world.host("n2").put_script("usr/sbin/systemctl", "echo inactive");
    std::fs::write(world.host("n3").root.join("etc/xen/x0.cfg"), "name = \"x0\"\nmemory = 32\n").unwrap();
    given.to(&world)
}

pub(crate) fn keyless(given: &Given<'_>) -> String {
    given.to(&without_keys())
}

/// n2 has no bridge br0.
pub(crate) fn no_bridge(given: &Given<'_>) -> String {
    let world = at_home();
    std::fs::remove_dir(world.host("n2").root.join("sys/class/net/br0")).unwrap();
    given.to(&world)
}

/// n2 has no key.
pub(crate) fn no_key(given: &Given<'_>) -> String {
    let world = at_home();
    std::fs::remove_file(world.host("n2").root.join("etc/xen-handoff/id_ed25519")).unwrap();
    given.to(&world)
}

/// x0 was handed over from n1 to n2.
pub(crate) fn handed_over(given: &Given<'_>) -> String {
    let world = at_home();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    n1.succeeds("stop");
    n2.succeeds("start");
    eventually("n1 has put it down", || n1.phase() == "idle" && n1.domains().is_empty());
    given.to(&world)
}

/// x0 has been stopped while n2 could not be reached.
pub(crate) fn not_handed_over(given: &Given<'_>) -> String {
    let world = at_home();
    world.host("n2").cut(true);
    world.host("n1").succeeds("stop");
    world.host("n2").cut(false);
    given.to(&world)
}

/// The cluster has x0 as a resource of ocf:heartbeat:Xen.
pub(crate) fn of_the_old_agent(given: &Given<'_>) -> String {
    let world = at_home();
    let cib = std::fs::read_to_string(world.shared("cib.xml")).unwrap();
    // With the cluster's own limits, as such a resource often is.
    let cib = cib
        .replace("\"handoff\"", "\"heartbeat\"")
        .replace(" timeout=\"300s\"", "")
        .replace(" timeout=\"180s\"", "");
    std::fs::write(world.shared("cib.xml"), cib).unwrap();
    given.to(&world)
}

/// Does something while x0 is on its way from n1 to n2, of whose memory a part has passed.
fn under_way<T>(world: &World, what: impl FnOnce() -> T) -> T {
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    n1.knob("stream.mib", "15");
    n1.knob("migrate.hold", "in-stream");
    std::thread::scope(|scope| {
        let start = scope.spawn(|| n2.succeeds("start"));
        // Each end writes it down by itself.
        let says = |host: &Host, what| host.tool(&["status"]).1.contains(what);
        eventually("how far it has come", || says(&n1, " %") && says(&n2, " MiB in "));
        let done = what();
        n1.unset_knob("migrate.hold");
        start.join().unwrap();
        done
    })
}

pub(crate) fn on_its_way(given: &Given<'_>) -> String {
    let world = at_home();
    world.host("n1").succeeds("stop");
    under_way(&world, || given.to(&world))
}

/// What holds the shutdown of a host says so, unasked.
pub(crate) fn shutdown_is_held(_: &Given<'_>) -> String {
    let world = at_home();
    let n1 = world.host("n1");
    n1.put_script("usr/sbin/systemctl", "echo stopping");
    n1.succeeds("stop");
    under_way(&world, || {
        let held = Given { node: "n1", command: "xen-handoff guard --hold" };
        let mut running = Running::new(&world, &held);
        running.until("waiting for x0");
        running.printed.clone()
    })
}

/// The drain looks at the world at each of its steps, and at no other moment.
pub(crate) fn an_evacuation(given: &Given<'_>) -> String {
    let world = at_home();
    let n1 = world.host("n1");
    let mut drain = Running::new(&world, given);
    drain.until("x0: running");
    drain.signal(Signal::STOP);
    n1.succeeds("stop");
    drain.signal(Signal::CONT);
    drain.until("x0: on offer");
    drain.signal(Signal::STOP);
    under_way(&world, || {
        drain.signal(Signal::CONT);
        drain.until("x0: on its way");
        drain.signal(Signal::STOP);
        managed(&world, Some("n2"));
    });
    eventually("n1 has put it down", || n1.phase() == "idle" && n1.domains().is_empty());
    drain.signal(Signal::CONT);
    drain.rest()
}

/// The start on n2 was killed while x0 was on its way, and nothing has settled that yet.
pub(crate) fn broken_off(given: &Given<'_>) -> String {
    let world = at_home();
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    n1.succeeds("stop");
    let record = |host: &Host| host.root.join("run/xen-handoff/x0.json");
    let mut broken: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(record(&n1)).unwrap()).unwrap();
    let epoch = broken["state"]["offer"]["epoch"].clone();
    let transfer = serde_json::json!({ "epoch": epoch, "source": "n1", "target": "n2" });
    broken["state"] = serde_json::json!({ "phase": "receiving", "transfer": transfer });
    std::fs::create_dir_all(record(&n2).parent().unwrap()).unwrap();
    std::fs::write(record(&n2), broken.to_string()).unwrap();
    given.to(&world)
}
