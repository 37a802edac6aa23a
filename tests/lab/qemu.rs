//! One machine: QEMU with Xen and dom0's kernel on it, driven over QMP.
//!
//! Every processor flag that is taken away under emulation has its reason: with smap dom0 dies in its first instructions;
//! with xsave and avx registers get corrupted in dom0 (crashes in libc, a damaged migration stream); with rdtscp Xen
//! cannot emulate the guest's clock reads; smep, la57, fma, f16c and pku go with them.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};

use crate::image::Image;
use crate::network::{self, BRIDGES};
use crate::process;
use crate::wait::{self, say};

/// How the machine's processor comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acceleration {
    /// By hardware: this machine has real nested virtualisation.
    Kvm,
    /// By software, which works everywhere.
    Tcg,
}

const TCG_CPU: &str = "max,-smap,-smep,-la57,-xsave,-avx,-avx2,-fma,-f16c,-pku,-rdtscp";
const XEN: &str = "com1=115200,8n1 console=com1 dom0_mem=768M,max:768M spec-ctrl=no xpti=no noreboot";
const LINUX: &str = "console=hvc0 mitigations=off net.ifnames=0 quiet";

impl Acceleration {
    /// What works here, tried for real: `/dev/kvm` alone says nothing, and neither does a flag.
    pub(crate) fn probe(image: &Image) -> Self {
        match kvm_works(image) {
            Ok(()) => {
                say("nested virtualisation works here: KVM");
                Self::Kvm
            }
            Err(reason) => {
                say(format_args!("software emulation (TCG): {reason:#}"));
                Self::Tcg
            }
        }
    }

    /// The arguments that say it to QEMU; part of a snapshot's key.
    pub(crate) fn arguments(self) -> Vec<String> {
        let words: &[&str] = match self {
            Self::Kvm => &["-accel", "kvm", "-cpu", "host"],
            Self::Tcg => &["-accel", "tcg,thread=multi,tb-size=512", "-cpu", TCG_CPU],
        };
        words.iter().map(ToString::to_string).collect()
    }
}

/// Boots the bare hypervisor under KVM and wants it to find hardware virtualisation in there.
fn kvm_works(image: &Image) -> Result<()> {
    let flags = std::fs::read_to_string("/proc/cpuinfo")?;
    if !flags.split_whitespace().any(|flag| flag == "svm" || flag == "vmx") {
        bail!("this machine's processor shows neither svm nor vmx");
    }
    let log = PathBuf::from("kvm-probe.log");
    let mut child = Command::new("qemu-system-x86_64")
        .args([
            "-nodefaults",
            "-display",
            "none",
            "-machine",
            "pc",
            "-m",
            "512",
            "-serial",
            "file:kvm-probe.log",
        ])
        .args(Acceleration::Kvm.arguments())
        .args(["-kernel", &image.file("xen"), "-append", XEN, "-initrd", &image.file("vmlinuz")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let seen = wait::until("Xen to find virtualisation under KVM", Duration::from_secs(20), || {
        let text = std::fs::read(&log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        Ok((text.contains("VMX enabled") || text.contains("SVM enabled")).then_some(()))
    });
    let _ = child.kill();
    let _ = child.wait();
    seen
}

/// How a machine begins.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Begin<'a> {
    /// At power on.
    Boot,
    /// Paused, where the snapshot of that name was taken.
    Paused(&'a str),
}

/// A running QEMU. Dropping it is pulling its plug.
#[derive(Debug)]
pub(crate) struct Machine {
    index: usize,
    child: Child,
    qmp: Qmp,
}

impl Machine {
    /// Switches machine `index` on. Its disk, console log and socket are in the current directory, the run's.
    pub(crate) fn start(image: &Image, how: Acceleration, index: usize, begin: Begin<'_>) -> Result<Self> {
        let socket = format!("qmp{index}");
        let _ = std::fs::remove_file(&socket);
        // A session of its own: Linux gives each session its share of the processors, and a node is a machine of its own.
        let mut command = Command::new("setsid");
        command.arg("qemu-system-x86_64").args(arguments(image, how, index));
        command.args(["-qmp", &format!("unix:{socket},server=on,wait=off")]);
        if let Begin::Paused(snapshot) = begin {
            command.args(["-S", "-loadvm", snapshot]);
        }
        let log = std::fs::File::create(format!("qemu{index}.log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut child = command.spawn().context("starting QEMU")?;
        let qmp = wait::until(format_args!("QEMU of node{index}"), Duration::from_secs(60), || {
            if let Some(status) = child.try_wait()? {
                bail!(
                    "QEMU of node{index} ended ({status}); {}",
                    process::tail(Path::new(&format!("qemu{index}.log")), 5)
                );
            }
            Ok(UnixStream::connect(&socket).ok())
        })
        .and_then(Qmp::open);
        match qmp {
            Ok(qmp) => Ok(Self { index, child, qmp }),
            Err(error) => {
                let _ = child.kill();
                let ended = child.wait();
                let log = process::tail(Path::new(&format!("qemu{index}.log")), 5);
                Err(error.context(format!("QEMU of node{index} ({ended:?}); {log}")))
            }
        }
    }

    /// Freezes it, so that several machines can be saved as of one moment.
    pub(crate) fn pause(&mut self) -> Result<()> {
        self.qmp.execute("stop", &json!({})).map(drop)
    }

    /// Lets it run on.
    pub(crate) fn resume(&mut self) -> Result<()> {
        self.qmp.execute("cont", &json!({})).map(drop)
    }

    /// Is the paused processor certainly in the hypervisor itself? QEMU 7.2 saves it in a domain's code as well, but under
    /// emulation refuses to load that ("guest-mode inconsistent with migrated kernel nested state"). Xen halts the processor
    /// when all domains are idle, and else has its code at ffff82d0..., with all rights; dom0's kernel has not.
    pub(crate) fn in_hypervisor(&mut self) -> Result<bool> {
        let registers = self.ask_monitor("info registers")?;
        let has = |text: &str| registers.contains(text);
        Ok(has("HLT=1") || (has("CPL=0") && has("RIP=ffff82d0")))
    }

    /// Keeps its whole state under that name, in its disk; it must be paused.
    pub(crate) fn save(&mut self, snapshot: &str) -> Result<()> {
        self.monitor(&format!("savevm {snapshot}"))
    }

    /// Forgets a state.
    pub(crate) fn delete(&mut self, snapshot: &str) -> Result<()> {
        self.monitor(&format!("delvm {snapshot}"))
    }

    /// Ends QEMU in order, its disk written.
    pub(crate) fn quit(mut self) -> Result<()> {
        self.qmp.execute("quit", &json!({}))?;
        wait::until(format_args!("QEMU of node{} to end", self.index), Duration::from_secs(60), || {
            Ok(self.child.try_wait()?)
        })?;
        Ok(())
    }

    /// Has it switched itself off?
    pub(crate) fn is_off(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// A command of QEMU's human monitor, which is silent when all is well.
    fn monitor(&mut self, line: &str) -> Result<()> {
        let answer = self.ask_monitor(line)?;
        match answer.trim() {
            "" => Ok(()),
            trouble => bail!("node{}: {line}: {trouble}", self.index),
        }
    }

    fn ask_monitor(&mut self, line: &str) -> Result<String> {
        let answer = self.qmp.execute("human-monitor-command", &json!({ "command-line": line }))?;
        Ok(answer.as_str().unwrap_or_default().to_string())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a machine is made of.
fn arguments(image: &Image, how: Acceleration, index: usize) -> Vec<String> {
    let linux = format!(
        "{} {LINUX} systemd.hostname=node{index} lab.nodes={}/24 lab.manage={}/24 lab.ring={}/24,{}",
        image.file("vmlinuz"),
        network::nodes_address(index),
        network::manage_address(index),
        network::ring_address(index),
        image.file("initrd"),
    );
    let mut all = hardware(how);
    for (key, value) in [
        ("-name", format!("node{index}")),
        ("-kernel", image.file("xen")),
        ("-append", XEN.to_string()),
        ("-initrd", linux),
        ("-drive", format!("file=node{index}.qcow2,if=none,id=root,cache=unsafe")),
        ("-device", "virtio-blk-pci,drive=root".to_string()),
        ("-serial", format!("file:console{index}.log")),
    ] {
        all.extend([key.to_string(), value]);
    }
    for (kind, bridge) in BRIDGES.into_iter().enumerate() {
        let tap = network::tap(bridge, index);
        all.extend(["-netdev".to_string(), format!("tap,id={bridge},ifname={tap},script=no,downscript=no")]);
        let device = format!("virtio-net-pci,netdev={bridge},mac=52:54:00:77:0{kind}:{index:02x},romfile=");
        all.extend(["-device".to_string(), device]);
    }
    all
}

/// The part of a machine that a snapshot depends on.
pub(crate) fn hardware(how: Acceleration) -> Vec<String> {
    let mut all = how.arguments();
    let rest = "-machine pc -smp 1 -m 1536 -display none -nodefaults -no-user-config";
    all.extend(rest.split(' ').map(ToString::to_string));
    all
}

/// QEMU's control socket.
#[derive(Debug)]
struct Qmp {
    reader: BufReader<UnixStream>,
}

impl Qmp {
    fn open(stream: UnixStream) -> Result<Self> {
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        let mut qmp = Self { reader: BufReader::new(stream) };
        qmp.read().context("QEMU's greeting")?;
        qmp.execute("qmp_capabilities", &json!({}))?;
        Ok(qmp)
    }

    fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        let mut line = json!({ "execute": command, "arguments": arguments }).to_string();
        line.push('\n');
        self.reader
            .get_mut()
            .write_all(line.as_bytes())
            .with_context(|| format!("telling QEMU to {command}"))?;
        loop {
            let mut answer = self.read().with_context(|| format!("QEMU's answer to {command}"))?;
            if let Some(error) = answer.get("error") {
                bail!("QEMU refused {command}: {error}");
            }
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
            // Anything else is an event; none of them concerns us.
        }
    }

    fn read(&mut self) -> Result<Value> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(anyhow!("QEMU has closed its control socket"));
        }
        Ok(serde_json::from_str(&line)?)
    }
}
