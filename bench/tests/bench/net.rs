//! Two namespaces and a bridge: here the operator, there the guest, which runs the load service. They end with the test.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use serde_json::Value;

use super::path_of;

/// The guest's address.
pub(crate) const GUEST: &str = "10.99.0.2";
const MARK: &str = "XEN_HANDOFF_BENCH_INSIDE";
/// What a second boot of the guest is called.
const OTHER_BOOT: &str = "00000000-0000-4000-8000-000000000002";

/// Runs this program again in a network, process and mount namespace of its own, unless it is there, or cannot.
pub(crate) fn enter() -> Option<ExitCode> {
    if std::env::var_os(MARK).is_some() || missing().is_some() {
        return None;
    }
    let status = Command::new("unshare")
        .args(["--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--"])
        .arg(std::env::current_exe().ok()?)
        .args(std::env::args_os().skip(1))
        .env(MARK, "1")
        .status();
    let code = status.ok().and_then(|status| status.code()).and_then(|code| u8::try_from(code).ok());
    Some(ExitCode::from(code.unwrap_or(1)))
}

/// Why the tests cannot be run here.
pub(crate) fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("making network namespaces needs root".to_owned());
    }
    let service = path_of("xen-handoff-load");
    if !service.exists() {
        return Some(format!("no {}: cargo build -p xen-handoff-load", service.display()));
    }
    let on_path = |tool: &str| {
        let path = std::env::var("PATH").unwrap_or_default();
        path.split(':').any(|folder| std::path::Path::new(folder).join(tool).exists())
    };
    let missing: Vec<&str> = ["ping", "httperf", "curl", "ip", "unshare", "nsenter", "setpriv"]
        .into_iter()
        .filter(|tool| !on_path(tool))
        .collect();
    (!missing.is_empty()).then(|| format!("missing: {} (tests/need bench)", missing.join(" ")))
}

/// The network, with the guest up.
#[derive(Debug)]
pub(crate) struct Net {
    guest: Child,
}

impl Net {
    pub(crate) fn new() -> Result<Self, String> {
        for line in [
            "link set lo up",
            // An address of its own, or the bridge would change it when a port goes.
            "link add br0 address 02:00:00:00:00:01 type bridge",
            "link set br0 up",
            "address add 10.99.0.1/24 dev br0",
            // Another port, which keeps the bridge's carrier when the guest's goes.
            "link add d0 type veth peer name d1",
            "link set d1 up",
            "link set d0 master br0 up",
            "link add v0 type veth peer name v1",
            "link set v0 master br0 up",
        ] {
            run("ip", &line.split(' ').collect::<Vec<_>>())?;
        }
        // The shell has the namespace, and becomes the service when its end of the cable is there.
        let script = format!(
            "read go; ip link set lo up; ip address add {GUEST}/24 dev v1; ip link set v1 up; \
             exec \"$0\" --listen 0.0.0.0:8080 --limit-mb 60"
        );
        let mut guest = Command::new("unshare")
            .args(["--net", "--mount", "--", "sh", "-c", &script])
            .arg(path_of("xen-handoff-load"))
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|error| error.to_string())?;
        let net = guest.id().to_string();
        // unshare has not entered it yet when the child appears: until then it is our own.
        until("the guest's namespace", || {
            let here = std::fs::read_link("/proc/self/ns/net").ok();
            let there = std::fs::read_link(format!("/proc/{net}/ns/net")).ok();
            there.is_some() && here != there
        })?;
        run("ip", &["link", "set", "v1", "netns", &net])?;
        drop(guest.stdin.take().map(|mut stdin| std::io::Write::write_all(&mut stdin, b"go\n")));
        let mut said = String::new();
        let mut stderr = BufReader::new(guest.stderr.take().ok_or("no stderr")?);
        stderr.read_line(&mut said).map_err(|error| error.to_string())?;
        // Goes on reading, or the service would stand when the pipe is full.
        std::thread::spawn(move || stderr.lines().for_each(drop));
        if !said.contains("listening") {
            return Err(format!("the service says {said:?}"));
        }
        let ready = Self { guest };
        until("the guest's first answer", || ready.stats().is_ok())?;
        Ok(ready)
    }

    /// The command that cuts the guest off for so many seconds. It notes the time before and after each of its two acts, since
    /// on a busy machine they take what they take: see [`Planted`].
    pub(crate) fn cut_for(&self, seconds: &str, stamps: &Path) -> Vec<String> {
        let stamp = format!("date +%s.%N >>{}", stamps.display());
        let script = format!(
            "{stamp}; ip link set v0 nomaster; {stamp}; sleep {seconds}; {stamp}; ip link set v0 master br0; {stamp}"
        );
        ["sh".to_owned(), "-c".to_owned(), script].into()
    }

    /// The command after which the guest is in another boot, as its kernel says.
    pub(crate) fn reboot(&self) -> Vec<String> {
        let script = format!(
            "echo {OTHER_BOOT} >/run/boot_id && mount --bind /run/boot_id /proc/sys/kernel/random/boot_id"
        );
        let pid = self.guest.id().to_string();
        // A folder of its own in the guest's mounts, so that nothing of it is seen elsewhere.
        let script = format!("mount -t tmpfs none /run && {script}");
        ["nsenter", "-t", &pid, "-m", "sh", "-c", &script].map(str::to_owned).into()
    }

    /// What the service says of itself.
    pub(crate) fn stats(&self) -> Result<Value, String> {
        let said = run("curl", &["-s", "--max-time", "2", &format!("http://{GUEST}:8080/stats")])?;
        serde_json::from_str(&said).map_err(|error| format!("{error}: {said}"))
    }

    /// Runs our executable: its stdout, or its stderr if it fails.
    pub(crate) fn bench(&self, args: &[String]) -> Result<String, String> {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        run(env!("CARGO_BIN_EXE_xen-handoff-bench"), &args)
    }

    /// The same without any privilege.
    pub(crate) fn bench_as_nobody(&self, args: &[&str]) -> Result<String, String> {
        let ids = [
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--",
            env!("CARGO_BIN_EXE_xen-handoff-bench"),
        ];
        run("setpriv", &[ids.as_slice(), args].concat())
    }
}

/// When an outage was planted: between which two moments it began, and between which it ended, in seconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Planted {
    pub(crate) began: (f64, f64),
    pub(crate) ended: (f64, f64),
}

impl Planted {
    /// What [`Net::cut_for`] has noted.
    pub(crate) fn read(stamps: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(stamps).map_err(|error| error.to_string())?;
        let times: Vec<f64> = text.lines().filter_map(|line| line.parse().ok()).collect();
        match times.as_slice() {
            [a, b, c, d] => Ok(Self { began: (*a, *b), ended: (*c, *d) }),
            other => Err(format!("the outage was not planted: {other:?}")),
        }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let _ = self.guest.kill();
        let _ = self.guest.wait();
        for link in ["v0", "d0", "br0"] {
            let _ = run("ip", &["link", "delete", link]);
        }
    }
}

fn run(program: &str, args: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(args)
        .env("LC_ALL", "C")
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{program} {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

fn until(what: &str, holds: impl Fn() -> bool) -> Result<(), String> {
    let began = std::time::Instant::now();
    while !holds() {
        if began.elapsed().as_secs() > 20 {
            return Err(format!("waited in vain for {what}"));
        }
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
    Ok(())
}
