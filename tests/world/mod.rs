//! Two or more hosts as folders: each a root (`XEN_HANDOFF_ROOT`) with the stand-in `xl` and stand-ins for ssh and for the
//! cluster's tools. The agent under test is the real executable; no privileges are needed.
//!
//! The stand-in ssh runs the other host's `xen-handoff serve` at once; a file `cut` in a host's folder makes it fail
//! as for a host that is down. The stand-in attrd_updater keeps its attributes in a folder that all hosts share.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{PoisonError, RwLock};

/// A set of hosts.
pub struct World {
    folder: tempfile::TempDir,
}

/// One host.
pub struct Host {
    pub name: String,
    pub root: PathBuf,
    shared: PathBuf,
}

/// What one call of the agent left behind.
#[derive(Debug)]
pub struct Call {
    pub code: i32,
    pub reason: String,
    pub stdout: String,
}

const SSH: &str = r#"#!/bin/sh
# The host is the last argument but one.
for argument; do host=$before; before=$argument; done
rm "SHARED/$host/cut-once" 2>/dev/null && { echo "ssh: connect to host $host: Connection timed out" >&2; exit 255; }
[ -e "SHARED/$host/cut" ] && { echo "ssh: connect to host $host: No route to host" >&2; exit 255; }
[ -e "SHARED/$host/serves" ] || { echo "ssh: Could not resolve hostname $host" >&2; exit 255; }
exec 3<&0
# As below a real sshd: who kills ssh ends the connection, and does not kill the other end; and its end is seen at once.
env -i XEN_HANDOFF_ROOT="SHARED/$host" HA_LOGFACILITY=none HA_LOGFILE="SHARED/log" EXE serve <&3 3<&- &
exec <&- >&- 2>&- 3<&-
wait $!
"#;

const ATTRD: &str = r#"#!/bin/sh
while [ $# -gt 0 ]; do case $1 in
  -N) node=$2; shift;; -n) name=$2; shift;; -U) value=$2; set=1; shift;; -Q) query=1;;
esac; shift; done
[ -e SHARED/attrd-down ] && { echo "Could not connect to attrd" >&2; exit 102; }
[ -n "$set" ] && { mkdir -p "SHARED/attrs/$name"; printf %s "$value" > "SHARED/attrs/$name/$node"; exit 0; }
[ -d "SHARED/attrs/$name" ] || { echo "attribute does not exist" >&2; exit 105; }
for f in "SHARED/attrs/$name"/*; do echo "name=\"$name\" host=\"${f##*/}\" value=\"$(cat "$f")\""; done
"#;

const CIBADMIN: &str = "#!/bin/sh\ncat SHARED/cib.xml\n";
/// Writes what [`World::plan`] has put there to the files that it is told.
const SIMULATE: &str = r#"#!/bin/sh
cat >/dev/null
while [ $# -gt 0 ]; do case $1 in
  --save-output) cp SHARED/plan.xml "$2"; shift;;
  --save-graph) cp SHARED/graph.xml "$2"; shift;;
esac; shift; done
"#;
const CRM_MON: &str = "#!/bin/sh\nwhile [ $# -gt 1 ]; do shift; done\ncat \"$1\"\n";
const STONITH: &str = "#!/bin/sh\ncat SHARED/fencing.xml\n";
const CRM_NODE: &str = "#!/bin/sh\necho NAME\n";

impl World {
    /// A world of these hosts, with a cluster manager that knows them all.
    pub fn new(names: &[&str]) -> Self {
        let _nobody_starts = STARTING.write().unwrap_or_else(PoisonError::into_inner);
        let world = Self { folder: tempfile::tempdir().unwrap() };
        let shared = world.folder.path();
        for name in names {
            let root = shared.join(name);
            for folder in ["usr/sbin", "etc/xen", "etc/xen-handoff", "run", "var/log/xen"] {
                std::fs::create_dir_all(root.join(folder)).unwrap();
            }
            std::fs::copy(standin_xl(), root.join("usr/sbin/xl")).unwrap();
            let exe = env!("CARGO_BIN_EXE_xen-handoff");
            for (tool, text) in [
                ("ssh", SSH),
                ("attrd_updater", ATTRD),
                ("cibadmin", CIBADMIN),
                ("crm_simulate", SIMULATE),
                ("crm_mon", CRM_MON),
                ("stonith_admin", STONITH),
                ("crm_node", CRM_NODE),
            ] {
                let text = text
                    .replace("SHARED", &shared.to_string_lossy())
                    .replace("EXE", exe)
                    .replace("NAME", name);
                let path = root.join("usr/sbin").join(tool);
                std::fs::write(&path, text).unwrap();
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            }
            std::fs::write(root.join("serves"), "").unwrap();
            std::fs::write(root.join("etc/xen-handoff/id_ed25519"), "not a real key\n").unwrap();
            for (domain, mib) in [("x0", 16), ("x1", 64), ("x2", 16)] {
                let text = format!("name = \"{domain}\"\ntype = \"pvh\"\nmemory = {mib}\n");
                std::fs::write(root.join(format!("etc/xen/{domain}.cfg")), text).unwrap();
            }
        }
        let nodes: String = names.iter().map(|name| format!("<node uname=\"{name}\"/>")).collect();
        let states: String = names
            .iter()
            .map(|name| format!("<node_state uname=\"{name}\" in_ccm=\"true\" crmd=\"online\"/>"))
            .collect();
        let cib = format!(
            "<cib><configuration><nodes>{nodes}</nodes><resources><primitive id=\"x0\" class=\"ocf\" \
             provider=\"handoff\" type=\"Xen\"/></resources><constraints/></configuration><status>{states}</status></cib>"
        );
        std::fs::write(shared.join("cib.xml"), cib).unwrap();
        std::fs::write(shared.join("fencing.xml"), "<r><fence_history/></r>").unwrap();
        world.plan(names, None);
        world
    }

    /// As [`Self::new`], with another toolstack on every host; `xl` is installed beside it, as it is in the field. x0 is a VM of the
    /// pool's book under `xe`.
    pub fn of(toolstack: &str, names: &[&str]) -> Self {
        let world = Self::new(names);
        for (n, name) in names.iter().enumerate() {
            let root = world.host(name).root;
            let (links, mark, text): (&[&str], _, _) = match toolstack {
                "xe" => (&["xe"], "etc/xensource-inventory", format!("INSTALLATION_UUID='host-{n}'\n")),
                _ => (&["xm", "xenstore-ls"], "var/run/xend.pid", "4711\n".to_owned()),
            };
            for link in links {
                std::os::unix::fs::symlink("xl", root.join("usr/sbin").join(link)).unwrap();
            }
            let mark = root.join(mark);
            std::fs::create_dir_all(mark.parent().unwrap()).unwrap();
            std::fs::write(mark, text).unwrap();
        }
        if toolstack == "xe" {
            std::fs::create_dir_all(world.shared("pool")).unwrap();
            std::fs::write(world.shared("pool/vm-x0"), "name = \"x0\"\ntype = \"hvm\"\nmemory = 16\n")
                .unwrap();
        }
        world
    }

    /// As [`Self::new`], with classic Heartbeat as the cluster manager: it hears every node, and the ledger lies on the nodes themselves.
    pub fn of_heartbeat(names: &[&str]) -> Self {
        let world = Self::new(names);
        for name in names {
            let host = world.host(name);
            for tool in ["attrd_updater", "cibadmin", "crm_simulate", "crm_mon", "stonith_admin", "crm_node"]
            {
                std::fs::remove_file(host.root.join("usr/sbin").join(tool)).unwrap();
            }
            host.put_script("usr/sbin/cl_status", "echo active");
            let folder = host.root.join("etc/ha.d");
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("ha.cf"), format!("node {}\n", names.join(" "))).unwrap();
            let line = format!("{} xen-handoff::x0::/etc/xen/x0.cfg\n", names[0]);
            std::fs::write(folder.join("haresources"), line).unwrap();
        }
        world
    }

    /// A host of this world.
    pub fn host(&self, name: &str) -> Host {
        Host {
            name: name.to_owned(),
            root: self.folder.path().join(name),
            shared: self.folder.path().to_owned(),
        }
    }

    /// What the scheduler says from now on: the domain ends up there, or nowhere.
    pub fn plan(&self, names: &[&str], destination: Option<&str>) {
        let nodes: String =
            names.iter().map(|name| format!("<node name=\"{name}\" online=\"true\"/>")).collect();
        let place = destination.map_or(
            "<resource id=\"x0\" role=\"Stopped\" active=\"false\"/>".to_owned(),
            |node| {
                format!(
                    "<resource id=\"x0\" role=\"Started\" active=\"true\"><node name=\"{node}\"/></resource>"
                )
            },
        );
        let plan = format!("<r><nodes>{nodes}</nodes><resources>{place}</resources></r>");
        std::fs::write(self.folder.path().join("graph.xml"), "<transition_graph/>").unwrap();
        std::fs::write(self.folder.path().join("plan.xml"), plan).unwrap();
    }

    /// The log of all hosts.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Every host has kept its ledger since long ago.
    pub fn old_ledger(&self, names: &[&str]) {
        let notes = self.shared("attrs/xen-handoff-since");
        std::fs::create_dir_all(&notes).unwrap();
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        let long_ago = format!("v=2;boot={};at=-1000000", boot.trim());
        names.iter().for_each(|name| std::fs::write(notes.join(name), &long_ago).unwrap());
    }

    /// The cluster's history of x0 on this host from now on: one operation and its exit code.
    pub fn history(&self, name: &str, operation: &str, rc: u32) {
        let (path, state) = (self.shared("cib.xml"), format!("<node_state uname=\"{name}\""));
        let cib = std::fs::read_to_string(&path).unwrap();
        let at = cib.find(&state).unwrap();
        let end = at + cib[at..].find("/>").unwrap();
        let ops = format!(
            "><lrm><lrm_resources><lrm_resource id=\"x0\"><lrm_rsc_op operation=\"{operation}\" call-id=\"3\" \
             rc-code=\"{rc}\" op-status=\"0\"/></lrm_resource></lrm_resources></lrm></node_state>"
        );
        std::fs::write(path, format!("{}{ops}{}", &cib[..end], &cib[end + 2..])).unwrap();
    }

    /// The cluster has lost this host, and has not fenced it.
    pub fn lose(&self, name: &str) {
        let path = self.shared("cib.xml");
        let cib = std::fs::read_to_string(&path).unwrap();
        let state = |online: &str| format!("<node_state uname=\"{name}\" {online}");
        let lost = cib
            .replace(&state("in_ccm=\"true\" crmd=\"online\""), &state("in_ccm=\"false\" crmd=\"offline\""));
        assert_ne!(cib, lost);
        std::fs::write(path, lost).unwrap();
    }

    /// A file that all hosts share.
    pub fn shared(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A domain of the stand-in has a daemon; destroying the domain ends it.
        for entry in std::fs::read_dir(self.folder.path()).into_iter().flatten().flatten() {
            let xl = entry.path().join("usr/sbin/xl");
            if xl.exists() {
                for name in ["x0", "x0--incoming", "x0--migratedaway", "x1", "x2", "x0-prod", "web"] {
                    let _ = run(Command::new(&xl).args(["destroy", name]));
                }
            }
        }
        if std::thread::panicking() {
            eprintln!("--- the log of all hosts\n{}", self.log());
        }
    }
}

fn standin_xl() -> PathBuf {
    // Cargo builds the examples of a package along with its tests.
    Path::new(env!("CARGO_BIN_EXE_xen-handoff")).with_file_name("examples").join("xl-standin")
}

/// An executable that is being written must not be open in a child that another thread forks just then, or the kernel
/// refuses to run it ("Text file busy"): worlds are made while nobody starts a process, and the other way round.
static STARTING: RwLock<()> = RwLock::new(());

/// Runs it to its end.
pub fn run(command: &mut Command) -> std::process::Output {
    begin(command).wait_with_output().unwrap()
}

/// Starts a process whose output is read, while no world is being made.
pub fn begin(command: &mut Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let _nothing_is_written = STARTING.read().unwrap_or_else(PoisonError::into_inner);
    command.spawn().unwrap()
}

impl Host {
    /// Calls the agent as the cluster does, with these further variables.
    pub fn act(&self, action: &str, more: &[(&str, &str)]) -> Call {
        self.act_below(&[], action, more)
    }

    /// The same, as what this command line runs.
    pub fn act_below(&self, command: &[&str], action: &str, more: &[(&str, &str)]) -> Call {
        let config = self.root.join("etc/xen/x0.cfg");
        let root = self.root.to_string_lossy().into_owned();
        let (config, log) =
            (config.to_string_lossy().into_owned(), self.shared.join("log").to_string_lossy().into_owned());
        let mut variables: BTreeMap<&str, &str> = BTreeMap::from([
            ("XEN_HANDOFF_ROOT", root.as_str()),
            ("HA_LOGFACILITY", "none"),
            ("HA_LOGFILE", log.as_str()),
            ("OCF_RESOURCE_INSTANCE", "x0"),
            ("OCF_RESKEY_xmfile", config.as_str()),
            ("OCF_RESKEY_CRM_meta_on_node", self.name.as_str()),
            ("OCF_RESKEY_CRM_meta_timeout", "60000"),
            // A busy machine is no unreachable one.
            ("OCF_RESKEY_migration_connect_timeout", "20"),
            ("OCF_RESKEY_handoff_peer_timeout", "30"),
        ]);
        variables.extend(more.iter().copied());
        variables.retain(|_, value| *value != "UNSET");
        let words: Vec<&str> =
            command.iter().copied().chain([env!("CARGO_BIN_EXE_xen-handoff"), "agent", action]).collect();
        let output = run(Command::new(words[0]).args(&words[1..]).env_clear().envs(variables));
        Call {
            code: output.status.code().unwrap_or(-1),
            reason: String::from_utf8_lossy(&output.stderr).into_owned(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        }
    }

    /// Calls the agent for another domain than x0, as the resource of the same name.
    pub fn act_for(&self, domain: &str, action: &str, more: &[(&str, &str)]) -> Call {
        let config = self.root.join(format!("etc/xen/{domain}.cfg")).to_string_lossy().into_owned();
        let mut all = vec![("OCF_RESOURCE_INSTANCE", domain), ("OCF_RESKEY_xmfile", config.as_str())];
        all.extend(more);
        self.act(action, &all)
    }

    /// What a domain has here, in MiB.
    pub fn memory(&self, domain: &str) -> u64 {
        let table = self.xl(&["list"]);
        let line = table.lines().find(|line| line.starts_with(&format!("{domain} "))).unwrap();
        line.split_whitespace().nth(2).unwrap().parse().unwrap()
    }

    /// Calls the agent and expects success.
    pub fn succeeds(&self, action: &str) {
        let call = self.act(action, &[]);
        assert_eq!(call.code, 0, "{action} on {}: {}", self.name, call.reason);
    }

    /// Calls the operators' tool. Gives its exit status and all that it printed.
    pub fn tool(&self, args: &[&str]) -> (i32, String) {
        let output = run(Command::new(env!("CARGO_BIN_EXE_xen-handoff"))
            .args(args)
            .env_clear()
            .env("XEN_HANDOFF_ROOT", &self.root)
            .env("HA_LOGFACILITY", "none"));
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
    }

    /// The stand-in's listing.
    pub fn xl(&self, args: &[&str]) -> String {
        String::from_utf8_lossy(&run(Command::new(self.root.join("usr/sbin/xl")).args(args)).stdout)
            .into_owned()
    }

    /// The names and states of the domains here, without Domain-0.
    pub fn domains(&self) -> Vec<String> {
        self.xl(&["list"])
            .lines()
            .skip(2)
            .map(|line| {
                let words: Vec<_> = line.split_whitespace().collect();
                format!("{} {}", words[0], words[4])
            })
            .collect()
    }

    /// True if x0 runs here under its own name.
    pub fn runs_x0(&self) -> bool {
        self.domains().iter().any(|line| matches!(line.as_str(), "x0 -b----" | "x0 r-----" | "x0 ------"))
    }

    /// The record's phase; `idle` if there is none.
    pub fn phase(&self) -> String {
        let Ok(text) = std::fs::read_to_string(self.root.join("run/xen-handoff/x0.json")) else {
            return "idle".to_owned();
        };
        let record: serde_json::Value = serde_json::from_str(&text).unwrap();
        record["state"]["phase"].as_str().unwrap().to_owned()
    }

    /// Puts a shell script in the place of one of this host's tools.
    pub fn put_script(&self, path: &str, script: &str) {
        let _nobody_starts = STARTING.write().unwrap_or_else(PoisonError::into_inner);
        let path = self.root.join(path);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Turns a knob of the stand-in: see `tests/standin/xl.rs`.
    pub fn knob(&self, name: &str, text: &str) {
        let folder = self.root.join("var/lib/xl-standin/ctl");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(name), text).unwrap();
    }

    pub fn unset_knob(&self, name: &str) {
        std::fs::remove_file(self.root.join("var/lib/xl-standin/ctl").join(name)).unwrap();
    }

    /// Kills the workers of this host that outlived their action.
    pub fn end_workers(&self) {
        self.end("push");
    }

    /// Kills every process of this host that does this.
    pub fn end(&self, job: &str) {
        self.signal(job, rustix::process::Signal::KILL);
    }

    /// Sends this signal to every process of this host that does this.
    pub fn signal(&self, job: &str, signal: rustix::process::Signal) {
        let ours = format!("XEN_HANDOFF_ROOT={}", self.root.display());
        for process in std::fs::read_dir("/proc").unwrap().flatten() {
            let read = |file| std::fs::read(process.path().join(file)).unwrap_or_default();
            let is_ours =
                read("environ").split(|byte| *byte == 0).any(|variable| variable == ours.as_bytes());
            let is_worker = read("cmdline").split(|byte| *byte == 0).nth(1) == Some(job.as_bytes());
            if is_ours && is_worker {
                let pid = process.file_name().to_string_lossy().parse().unwrap();
                let pid = rustix::process::Pid::from_raw(pid).unwrap();
                rustix::process::kill_process(pid, signal).unwrap();
            }
        }
    }

    /// From now on every node that this host calls greets and says no more.
    pub fn calls_peers_that_hang(&self) {
        self.put_script("usr/sbin/ssh", &Self::hangs());
    }

    /// The same of one node; all others answer.
    pub fn calls_one_that_hangs(&self, node: &str) {
        let (ssh, kept) = (self.root.join("usr/sbin/ssh"), self.root.join("usr/sbin/ssh.kept"));
        if !kept.exists() {
            let script = std::fs::read_to_string(ssh).unwrap();
            self.put_script("usr/sbin/ssh.kept", script.trim_start_matches("#!/bin/sh\n"));
        }
        let script = format!(
            "case \"$*\" in *\\ {node}\\ *)\n{}\n;; esac\nexec {} \"$@\"",
            Self::hangs(),
            kept.display()
        );
        self.put_script("usr/sbin/ssh", &script);
    }

    fn hangs() -> String {
        let greeting = r#"{"xen-handoff":1,"version":"0.1.0","boot":null,"can":[]}"#;
        format!("read -r greeting\necho '{greeting}'\nwhile read -r line; do :; done\nexit")
    }

    /// The next connection to this host fails, and no other.
    pub fn cut_once(&self) {
        std::fs::write(self.root.join("cut-once"), "").unwrap();
    }

    /// From now on this host cannot be reached, or can again.
    pub fn cut(&self, cut: bool) {
        let file = self.root.join("cut");
        if cut { std::fs::write(file, "").unwrap() } else { std::fs::remove_file(file).unwrap() }
    }
}
