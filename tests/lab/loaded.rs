//! Guests that run `xen-handoff-load`, for the memory measurements: under Xen on two nodes, on two plain QEMU machines without a
//! hypervisor, and x0 itself while it is handed over.
//!
//! They are one and the same tree, added behind the lab's own small trees (the kernel unpacks several archives over each
//! other; for a domain they are unpacked beforehand, since libxenguest would unpack the first one alone): the load service, and for the client's side httperf, curl and dropbear with their libraries. `rdinit=` starts it; x0
//! has its own `init`, with one line more.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::bench::Bench;
use crate::guest;
use crate::lab::Lab;
use crate::network;
use crate::node::Node;
use crate::process;
use crate::story::Scene;
use crate::wait::{say, step, until};

/// The measurements, as they are named in `target/bench` and `doc/results.md`.
pub(crate) const KEYS: [&str; 3] = ["memory-xen", "memory-plain", "memory-during"];

/// What a guest of the two needs beside its libraries.
const TOOLS: [&str; 3] = ["/usr/bin/httperf", "/usr/bin/curl", "/usr/sbin/dropbear"];
/// How much memory they have, in MiB.
const MEMORY: u32 = 256;
/// How much x0 has while it moves, in MiB: the trees, the held memory, and little more, since each page costs time on the way.
const MOVED: u64 = 176;
/// How long x0 is called, in seconds: what the calls touch is sent again in each of five rounds.
const LASTS: &str = "330";
/// How long one may take to boot and to answer: two levels of emulation.
const BOOT: Duration = Duration::from_secs(240);

/// x0's tree and ours, on a node: what a domain is booted from.
const BOTH_TREES: &str = "{ zcat /var/lib/xen/debian/initramfs && zcat; }";

/// What the guest does, from its first process on.
const INIT: &str = r"#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp /var/run
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts
for module in $(cat /modules); do insmod $module; done
for word in $(cat /proc/cmdline); do
    case $word in load.address=*) address=${word#load.address=} ;; esac
done
until [ -e /sys/class/net/eth0 ]; do usleep 20000; done
ip link set lo up
ip link set eth0 up
ip address add $address dev eth0
/bin/xen-handoff-load --listen 0.0.0.0:8080 &
exec /usr/sbin/dropbear -F -E -s -r /etc/dropbear/key
";

/// A guest's name and address.
#[derive(Debug, Clone, Copy)]
struct Place {
    name: &'static str,
    address: &'static str,
}

const SERVER: Place = Place { name: "server", address: "10.77.0.61" };
const CLIENT: Place = Place { name: "client", address: "10.77.0.62" };

/// The calls of a ramp: few a second, since each costs an emulated guest some tens of milliseconds.
const CALLS: [&str; 6] = ["--num-conns", "50", "--rate", "5", "--timeout", "20"];

/// The tree as an archive, and the keys to it, in the run's directory.
#[derive(Debug)]
struct Tree {
    archive: PathBuf,
}

impl Tree {
    fn make() -> Result<Self> {
        let here = std::env::current_dir()?;
        let root = here.join("loaded");
        for folder in ["bin", "etc/dropbear", "root/.ssh"] {
            std::fs::create_dir_all(root.join(folder))?;
        }
        let service = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/load/xen-handoff-load");
        std::fs::copy(&service, root.join("bin/xen-handoff-load"))
            .with_context(|| format!("{} is missing: make load", service.display()))?;
        for tool in TOOLS {
            with_libraries(tool, &root)?;
        }
        std::fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
        std::fs::write(root.join("load-init"), INIT)?;
        std::fs::write(root.join("init"), x0s_init()?)?;
        let limit = Duration::from_secs(60);
        let key = here.join("loaded_key").display().to_string();
        process::run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &key], limit)?;
        std::fs::copy(here.join("loaded_key.pub"), root.join("root/.ssh/authorized_keys"))?;
        let host_key = root.join("etc/dropbear/key").display().to_string();
        let said = process::run("dropbearkey", &["-t", "ed25519", "-f", &host_key], limit)?;
        let public = said.lines().find(|line| line.starts_with("ssh-ed25519 ")).context("dropbear's key")?;
        let known: String =
            [SERVER, CLIENT].iter().map(|place| format!("{} {public}\n", place.address)).collect();
        std::fs::write(here.join("loaded_known_hosts"), known)?;
        let archive = here.join("loaded.gz");
        let pack = "cd \"$1\" && chmod 755 load-init init && chmod -R go-rwx root etc/dropbear && \
                    find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0 | gzip -1 >\"$2\"";
        let (from, to) = (root.display().to_string(), archive.display().to_string());
        process::run("bash", &["-o", "pipefail", "-c", pack, "pack", &from, &to], limit)?;
        Ok(Self { archive })
    }

    /// How ssh finds the two guests; one connection to each stays open.
    fn ssh_stanzas(&self) -> Result<String> {
        let here = std::env::current_dir()?;
        let stanza = |place: &Place| {
            format!(
                "Host {}\n HostName {}\n User root\n IdentityFile {key}\n IdentitiesOnly yes\n UserKnownHostsFile {known}\n \
                 ControlMaster auto\n ControlPersist 60\n ControlPath {dir}/%h\n",
                place.name,
                place.address,
                key = here.join("loaded_key").display(),
                known = here.join("loaded_known_hosts").display(),
                dir = here.display(),
            )
        };
        Ok([SERVER, CLIENT].iter().map(stanza).collect())
    }
}

/// x0's own life, and the service beside it.
fn x0s_init() -> Result<String> {
    let own = include_str!("image/guest/init");
    let (before, after) =
        own.split_once("echo \"x0 is up").context("x0's init does not say that it is up")?;
    Ok(format!("{before}/bin/xen-handoff-load --listen 0.0.0.0:8080 &\necho \"x0 is up{after}"))
}

/// Copies an executable and every library that it names.
fn with_libraries(tool: &str, root: &Path) -> Result<()> {
    let said = process::run("ldd", &[tool], Duration::from_secs(20))?;
    let libraries =
        said.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    for file in libraries.chain([tool]) {
        let to = root.join(file.trim_start_matches('/'));
        std::fs::create_dir_all(to.parent().unwrap_or(root))?;
        std::fs::copy(file, &to).with_context(|| format!("copying {file}"))?;
    }
    Ok(())
}

/// Waits until both guests answer: the service, and ssh to the client.
fn wait_for(bench: &Bench) -> Result<()> {
    step("waiting for the loaded guests", || {
        for place in [SERVER, CLIENT] {
            let url = format!("http://{}:8080/stats", place.address);
            until(format_args!("{} to answer", place.name), BOOT, || {
                let asked = process::run("curl", &["-s", "--max-time", "5", &url], Duration::from_secs(10));
                Ok(asked.is_ok_and(|answer| answer.contains("boot_id")).then_some(()))
            })?;
        }
        let config = bench.ssh.display().to_string();
        until("the client to let us in", BOOT, || {
            let args = ["-F", &config, "-o", "BatchMode=yes", CLIENT.name, "true"];
            Ok(process::run("ssh", &args, Duration::from_secs(60)).ok())
        })
        .map(drop)
    })
}

fn ramp(bench: &Bench, key: &str, name: &str, watched: &[&str]) -> Result<()> {
    let (folder, ssh) = (bench.folder(key), bench.ssh.display().to_string());
    let mut args = vec!["memory", SERVER.address, "--name", name, "--out", &folder];
    args.extend(["--client", CLIENT.name, "--ssh-config", &ssh]);
    args.extend(CALLS);
    args.extend(watched.iter().flat_map(|node| ["--node", node]));
    let table = bench.tool(&args.into_iter().map(str::to_owned).collect::<Vec<_>>())?;
    bench.keep(key, &table)
}

/// From a guest on node2 to a guest on node1.
pub(crate) fn guest_to_guest(bench: &Bench, lab: &Lab) -> Result<()> {
    let tree = Tree::make()?;
    let nodes: String = std::fs::read_to_string(&bench.ssh)?;
    std::fs::write(&bench.ssh, nodes + &tree.ssh_stanzas()?)?;
    let archive = std::fs::read(&tree.archive)?;
    for (index, place) in [(1, SERVER), (2, CLIENT)] {
        boot(lab.node(index)?, place, &archive, index)?;
    }
    wait_for(bench)?;
    ramp(bench, "memory-xen", "guest to guest under Xen, two nodes", &["node1", "node2"])
}

fn boot(node: &Node, place: Place, archive: &[u8], index: usize) -> Result<()> {
    let name = place.name;
    say(format_args!("{name} on {}", node.name));
    node.feed(
        &format!("install -d /var/lib/xen/load && {BOTH_TREES} >/var/lib/xen/load/initramfs"),
        archive,
    )?;
    let config = format!(
        "name = \"{name}\"\ntype = \"pvh\"\nkernel = \"/var/lib/xen/debian/vmlinuz\"\nramdisk = \"/var/lib/xen/load/initramfs\"\n\
         extra = \"console=hvc0 mitigations=off net.ifnames=0 rdinit=/load-init load.address={}/24\"\n\
         memory = {MEMORY}\nvcpus = 1\ntsc_mode = \"native\"\n\
         vif = [\"mac=00:16:3e:77:00:6{index},bridge=xenbr0\"]\n",
        place.address
    );
    node.put(&format!("/etc/xen/{name}.cfg"), config.as_bytes(), "644", "root")?;
    node.ok(&format!("xl create --quiet /etc/xen/{name}.cfg")).map(drop)
}

/// A plain machine, switched off with whoever holds it.
#[derive(Debug)]
struct Plain(Child);

impl Drop for Plain {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Between two machines of the same kind that have no hypervisor: the same kernel and tree, by the same emulation.
pub(crate) fn plain(bench: &Bench, lab: &mut Lab) -> Result<()> {
    lab.switch_off();
    let tree = Tree::make()?;
    let nodes = std::fs::read_to_string(&bench.ssh)?;
    std::fs::write(&bench.ssh, nodes + &tree.ssh_stanzas()?)?;
    let both =
        [lab.image(1)?.file("initrd").into(), tree.archive.clone()].map(|path: PathBuf| std::fs::read(path));
    let [own, added] = both;
    std::fs::write("plain.gz", [own?, added?].concat())?;
    let machines = [(8, SERVER), (9, CLIENT)].map(|(index, place)| plain_machine(lab, index, place));
    let [server, client] = machines;
    let _running = (server?, client?);
    wait_for(bench)?;
    ramp(bench, "memory-plain", "machine to machine, no hypervisor", &[SERVER.name, CLIENT.name])
}

fn plain_machine(lab: &Lab, index: usize, place: Place) -> Result<Plain> {
    let tap = network::tap(network::NODES, index);
    network::more(&tap)?;
    let append = format!(
        "console=ttyS0 mitigations=off net.ifnames=0 quiet rdinit=/load-init load.address={}/24",
        place.address
    );
    let mut command = Command::new("qemu-system-x86_64");
    command
        .args(lab.acceleration().arguments())
        .args("-machine pc -smp 1 -display none -nodefaults -no-user-config -no-reboot".split(' '));
    let device = format!("virtio-net-pci,netdev=net,mac=52:54:00:77:00:{index:02x},romfile=");
    for (key, value) in [
        ("-m", MEMORY.to_string()),
        ("-kernel", lab.image(1)?.file("vmlinuz")),
        ("-initrd", "plain.gz".to_owned()),
        ("-append", append),
        ("-serial", format!("file:{}.log", place.name)),
        ("-netdev", format!("tap,id=net,ifname={tap},script=no,downscript=no")),
        ("-device", device),
    ] {
        command.args([key, &value]);
    }
    let log = std::fs::File::create(format!("{}-qemu.log", place.name))?;
    let child =
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn().context("starting QEMU")?;
    Ok(Plain(child))
}

/// x0 is called from the tester's place while it is handed over, all of its memory held.
pub(crate) fn during_a_handoff(bench: &Bench, scene: &Scene<'_>) -> Result<()> {
    let tree = Tree::make()?;
    let archive = std::fs::read(&tree.archive)?;
    for index in [1, 2] {
        let node = scene.node(index)?;
        let replace = "mv /var/lib/xen/debian/initramfs.new /var/lib/xen/debian/initramfs";
        node.feed(&format!("{BOTH_TREES} >/var/lib/xen/debian/initramfs.new && {replace}"), &archive)?;
        let config = guest::debians(&guest::with_memory(guest::CONFIG, MOVED));
        node.put("/etc/xen/x0.cfg", config.as_bytes(), "644", "root")?;
    }
    say("x0 is booted anew with the service in it");
    scene.node(2)?.ok("crm_resource -r x0 --restart -T 400s")?;
    guest::wait_for(BOOT)?;
    let url = format!("http://{}:8080/stats", guest::ADDRESS);
    until("x0's service", BOOT, || {
        let asked = process::run("curl", &["-s", "--max-time", "5", &url], Duration::from_secs(10));
        Ok(asked.is_ok_and(|answer| answer.contains("boot_id")).then_some(()))
    })?;
    scene.cluster_has_x0_on(2, 1)?;
    let (folder, ssh) = (bench.folder("memory-during"), bench.ssh.display().to_string());
    let args: Vec<String> = ["memory", guest::ADDRESS, "--name", "during a handoff", "--out", &folder]
        .into_iter()
        .chain(["--rate", "5", "--timeout", "20", "--ssh-config", &ssh, "--node", "node1", "--node", "node2"])
        .chain(["--during", "--duration", LASTS, "--at", "20", "--", "ssh", "-F", &ssh, "node1"])
        .chain(["systemctl stop pacemaker"])
        .map(str::to_owned)
        .collect();
    let table = bench.tool(&args)?;
    scene.x0_runs_on(2).context("x0 has not come to node2 while it was called")?;
    bench.keep("memory-during", &table)
}
