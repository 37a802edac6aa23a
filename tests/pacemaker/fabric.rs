//! Nodes out of namespaces: each with its own root, network, processes and host name, and a switch between them.
//!
//! A node's root is an overlay over that of its [`world`], so the packages of that are there and whatever the node writes
//! is not the world's. The switch is a bridge in a network namespace of its own: the machine's network never sees
//! a frame, and no node has a way out. Nothing has a name outside (no named namespace, no interface), and every
//! process ends when its standard input closes, so there is nothing to clean up after a crash of the test.

use crate::spawn::{self, Said, command, must, until};
use crate::world::world;
use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

const UP: Duration = Duration::from_secs(10);
/// The environment inside a node is this and nothing else.
const ENVIRONMENT: [&str; 4] = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TERM=dumb", "LC_ALL=C"];

/// A node's two cables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cable {
    /// The cluster's own network: Corosync, and whatever is reached by a node's plain name.
    Cluster,
    /// A second network: `NAME-m`.
    Migration,
}

impl Cable {
    pub(crate) const ALL: [Cable; 2] = [Cable::Cluster, Cable::Migration];

    /// Its end at the switch and its end in the node.
    fn ends(self, node: &str) -> (String, &'static str) {
        match self {
            Cable::Cluster => (format!("v{node}"), "eth0"),
            Cable::Migration => (format!("m{node}"), "eth1"),
        }
    }

    /// The hardware address at its end in the node with this place among the nodes.
    fn card(self, place: usize) -> String {
        let network = match self {
            Cable::Cluster => 1,
            Cable::Migration => 2,
        };
        format!("02:77:00:00:{network:02x}:{:02x}", 11 + place)
    }
}

/// The switch, the shared folder, and the nodes on them.
#[derive(Debug)]
pub(crate) struct Fabric {
    work: tempfile::TempDir,
    switch: Child,
    names: Vec<String>,
    nodes: RefCell<Vec<Node>>,
}

#[derive(Debug)]
struct Node {
    name: String,
    pulled: Vec<Cable>,
    /// `unshare`; its standard input holds the node up.
    holder: Child,
    /// The node's first process, in our numbering.
    init: u32,
}

impl Fabric {
    /// A switch without nodes. `names` are the nodes that will be.
    pub(crate) fn new(names: &[&str]) -> Fabric {
        let work = work_folder();
        fs::create_dir(work.path().join("shared")).expect("the shared folder");
        let brought = work.path().join("brought");
        fs::create_dir(&brought).expect("the folder of what the tests bring along");
        // our own executable may be built anew while we run
        let ours = PathBuf::from(format!("/proc/{}/exe", std::process::id()));
        world().bring(&ours, "keeper", &brought);
        world().bring(&spawn::standin(), "xl", &brought);
        let log = fs::File::create(work.path().join("switch.log")).expect("the switch's log");
        let switch = spawn::start_held(command("unshare").args(["--net", "cat"]), log);
        let fabric = Fabric {
            work,
            switch,
            names: names.iter().map(|n| (*n).to_owned()).collect(),
            nodes: RefCell::default(),
        };
        // until `unshare` has moved to its own namespace, we would be making a bridge in the machine's
        let ours = fs::read_link("/proc/self/ns/net").expect("our network namespace");
        let theirs = format!("/proc/{}/ns/net", fabric.switch.id());
        until(UP, || fs::read_link(&theirs).is_ok_and(|ns| ns != ours)).expect("the switch's namespace");
        for bridge in ["br0", "br1"] {
            fabric.on_switch(&["link", "add", bridge, "type", "bridge", "mcast_snooping", "0"]);
            fabric.on_switch(&["link", "set", bridge, "up"]);
        }
        fabric
    }

    /// A folder that every node sees as `/shared`.
    pub(crate) fn shared(&self) -> PathBuf {
        self.work.path().join("shared")
    }

    /// A new folder of this fabric's own.
    pub(crate) fn fresh_folder(&self) -> PathBuf {
        tempfile::tempdir_in(self.work.path()).expect("a folder").keep()
    }

    /// The nodes that can be, up or not.
    pub(crate) fn names(&self) -> Vec<String> {
        self.names.clone()
    }

    pub(crate) fn is_up(&self, name: &str) -> bool {
        self.nodes.borrow().iter().any(|n| n.name == name)
    }

    pub(crate) fn address(&self, name: &str) -> String {
        format!("10.77.1.{}", 11 + self.place(name))
    }

    fn place(&self, name: &str) -> usize {
        self.names.iter().position(|n| n == name).unwrap_or_else(|| panic!("no node {name}"))
    }

    fn migration_address(&self, name: &str) -> String {
        self.address(name).replace("10.77.1.", "10.77.2.")
    }

    /// Powers a node on: a fresh root, nothing running but the keeper.
    pub(crate) fn power_on(&self, name: &str) {
        let work = self.work.path().join(name);
        fs::create_dir_all(work.join("node")).expect("the node's folder");
        let console = fs::File::create(work.join("console")).expect("the node's console");
        let script = work.join("node-init.sh");
        fs::write(&script, include_str!("node-init.sh")).expect("the node's script");
        let hosts: Vec<String> = self
            .names
            .iter()
            .map(|n| format!("{} {n};{} {n}-m", self.address(n), self.migration_address(n)))
            .collect();
        let mut unshare = command("unshare");
        unshare
            .args(["--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "--kill-child"])
            .args(["--propagation", "private", "sh"])
            .arg(&script)
            .args([name, &self.address(name), &self.migration_address(name)])
            .args([&work, &self.shared(), &self.work.path().join("brought"), &world().root])
            .arg(hosts.join(";"));
        let holder = spawn::start_held(&mut unshare, console);
        let children = format!("/proc/{0}/task/{0}/children", holder.id());
        let mut init = 0;
        until(UP, || {
            let text = fs::read_to_string(&children).unwrap_or_default();
            init = text.split_whitespace().next().and_then(|p| p.parse().ok()).unwrap_or(0);
            init != 0
        })
        .unwrap_or_else(|_| panic!("{name} did not start: {}", self.console(name)));
        let target = init.to_string();
        for (cable, bridge) in Cable::ALL.into_iter().zip(["br0", "br1"]) {
            let (here, there) = cable.ends(name);
            // A node that comes back has the card that it had: others remember its address for a while.
            let card = cable.card(self.place(name));
            self.on_switch(
                &[
                    &["link", "add", &here, "type", "veth", "peer", "name", there][..],
                    &["address", &card, "netns", &target],
                ]
                .concat(),
            );
            self.on_switch(&["link", "set", &here, "master", bridge, "up"]);
        }
        fs::write(work.join("node/wired"), "").expect("wiring the node");
        until(UP, || work.join("node/ready").exists())
            .unwrap_or_else(|_| panic!("{name} did not come up: {}", self.console(name)));
        self.nodes.borrow_mut().push(Node { name: name.to_owned(), pulled: vec![], holder, init });
    }

    /// Cuts a node's power: all its processes die at once, its root is gone.
    pub(crate) fn power_off(&self, name: &str) {
        if self.is_up(name) {
            let kept = self.syslog(name);
            fs::write(self.lost_log(name), kept).expect("keeping a node's log");
        }
        let mut nodes = self.nodes.borrow_mut();
        let Some(place) = nodes.iter().position(|n| n.name == name) else { return };
        let mut node = nodes.swap_remove(place);
        let init = rustix::process::Pid::from_raw(i32::try_from(node.init).unwrap_or(0)).expect("a pid");
        let _gone = rustix::process::kill_process(init, rustix::process::Signal::KILL);
        let _status = node.holder.wait();
        let work = self.work.path().join(name).join("node");
        fs::remove_dir_all(work).expect("removing the node's folder");
        // the kernel takes them away with the node's namespace, on a busy machine much later
        let ends = Cable::ALL.map(|cable| cable.ends(name).0);
        for end in &ends {
            // Gone already, or now.
            let _ = self.switch_command(&["link", "delete", end]);
        }
        let is_there = |end: &String| self.switch_command(&["link", "show", end]).ok();
        until(UP, || !ends.iter().any(is_there)).expect("the cables to vanish");
    }

    /// Pulls the node's network cables.
    pub(crate) fn cut(&self, name: &str) {
        Cable::ALL.into_iter().for_each(|cable| self.pull(name, cable));
    }

    /// Pulls one of them.
    pub(crate) fn pull(&self, name: &str, cable: Cable) {
        let said = self.switch_command(&["link", "set", &cable.ends(name).0, "down"]);
        // A node whose power was cut in the same moment has no cable any more.
        assert!(said.ok() || said.stderr.contains("Cannot find device"), "cable of {name}: {}", said.stderr);
        for node in self.nodes.borrow_mut().iter_mut().filter(|n| n.name == name) {
            node.pulled.push(cable);
        }
    }

    pub(crate) fn is_pulled(&self, name: &str, cable: Cable) -> bool {
        self.nodes.borrow().iter().any(|n| n.name == name && n.pulled.contains(&cable))
    }

    /// Plugs both in again.
    pub(crate) fn heal(&self, name: &str) {
        for cable in Cable::ALL {
            self.on_switch(&["link", "set", &cable.ends(name).0, "up"]);
        }
        for node in self.nodes.borrow_mut().iter_mut().filter(|n| n.name == name) {
            node.pulled.clear();
        }
    }

    /// What `words` says inside a node.
    pub(crate) fn on(&self, name: &str, words: &[&str]) -> Said {
        if !self.is_up(name) {
            return Said { status: 255, stdout: String::new(), stderr: format!("{name} is off") };
        }
        spawn::run(&mut self.inside(name, words))
    }

    /// A shell command inside a node, which must succeed.
    pub(crate) fn sh(&self, name: &str, script: &str) -> String {
        let said = self.on(name, &["sh", "-c", script]);
        assert!(said.ok(), "on {name}: {script}: {} {}{}", said.status, said.stderr, said.stdout);
        said.stdout
    }

    /// Writes a file inside a node.
    pub(crate) fn put(&self, name: &str, path: &str, mode: u32, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        let file = self.root(name).join(path.trim_start_matches('/'));
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        }
        fs::write(&file, text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(&file, mode).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    }

    /// Reads a file inside a node; empty when it is not there.
    pub(crate) fn get(&self, name: &str, path: &str) -> String {
        fs::read(self.root(name).join(path.trim_start_matches('/')))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// A node's system log, from before it was last switched off, too.
    pub(crate) fn syslog(&self, name: &str) -> String {
        let before = fs::read_to_string(self.lost_log(name)).unwrap_or_default();
        if self.is_up(name) { before + &self.get(name, crate::keeper::SYSLOG) } else { before }
    }

    /// Only what comes from now on counts.
    pub(crate) fn forget_lost_log(&self, name: &str) {
        // There need not be any.
        let _ = fs::remove_file(self.lost_log(name));
    }

    fn lost_log(&self, name: &str) -> PathBuf {
        self.shared().join(format!("{name}.syslog"))
    }

    /// A node's root folder, seen from outside.
    pub(crate) fn root(&self, name: &str) -> PathBuf {
        let init = self.init(name);
        Path::new("/proc").join(init.to_string()).join("root")
    }

    /// A command inside a node, not yet started.
    pub(crate) fn inside(&self, name: &str, words: &[&str]) -> std::process::Command {
        let mut nsenter = command("nsenter");
        nsenter
            .args(["-t", &self.init(name).to_string(), "-m", "-u", "-i", "-n", "-p", "--", "env", "-i"])
            .args(ENVIRONMENT)
            .args(words);
        nsenter
    }

    fn init(&self, name: &str) -> u32 {
        let nodes = self.nodes.borrow();
        nodes.iter().find(|n| n.name == name).unwrap_or_else(|| panic!("{name} is off")).init
    }

    fn console(&self, name: &str) -> String {
        fs::read_to_string(self.work.path().join(name).join("console")).unwrap_or_default()
    }

    fn on_switch(&self, words: &[&str]) {
        let said = self.switch_command(words);
        assert!(said.ok(), "ip {words:?}: {}", said.stderr);
    }

    fn switch_command(&self, words: &[&str]) -> Said {
        let switch = self.switch.id().to_string();
        spawn::run(command("nsenter").args(["-t", &switch, "-n", "ip"]).args(words))
    }
}

impl Drop for Fabric {
    fn drop(&mut self) {
        for name in self.names() {
            self.power_off(&name);
        }
        drop(self.switch.stdin.take());
        let _status = self.switch.wait();
    }
}

const WORK: &str = "xen-handoff-fabric-";

/// A folder named for this process, after those of processes that were killed have been removed.
fn work_folder() -> tempfile::TempDir {
    let all = std::env::temp_dir();
    for entry in fs::read_dir(&all).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(WORK).and_then(|rest| rest.split('-').next()).unwrap_or_default();
        if name.starts_with(WORK) && !Path::new("/proc").join(owner).join("exe").exists() {
            let _somebody_else_did = fs::remove_dir_all(entry.path());
        }
    }
    let prefix = format!("{WORK}{}-", std::process::id());
    tempfile::Builder::new().prefix(&prefix).tempdir_in(all).expect("a work folder")
}

/// One ssh key pair in a folder: private and public text.
pub(crate) fn key_pair(folder: &Path, name: &str) -> (String, String) {
    let file = folder.join(name);
    must(command("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(&file));
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    (read(&file), read(&file.with_extension("pub")))
}
