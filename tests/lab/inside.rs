//! The room that a run lives in: its own network, process and mount namespaces.
//!
//! The run starts itself again under `unshare`. The network namespace is the nodes' switch and the tester's host, so
//! two runs cannot collide and nothing of a test reaches this machine's network. The process namespace ends with its first
//! process, and that one is killed with its parent: whatever way a run ends, panic and SIGKILL included, every QEMU, ssh
//! and ping of it goes in the same moment.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

const MARK: &str = "XEN_HANDOFF_LAB_INSIDE";

/// The namespace's first process: passes on the end of the run, in either direction, and reaps.
const FIRST: &str = r#"trap 'exit 130' INT TERM HUP; "$@" & wait $!"#;

/// Where this process is after `enter`.
#[derive(Debug)]
pub(crate) enum Where {
    /// In the namespaces: go on.
    Inside,
    /// Outside, and the run inside has ended so.
    Outside(ExitCode),
}

/// Runs this program again inside, unless it is there already. Before that, `prepare` has this machine's network.
pub(crate) fn enter(prepare: impl FnOnce() -> Result<()>) -> Result<Where> {
    if std::env::var_os(MARK).is_some() {
        return Ok(Where::Inside);
    }
    if !rustix::process::geteuid().is_root() {
        bail!("the lab needs root: it makes network namespaces, taps and a disk image");
    }
    need_tools()?;
    prepare()?;
    // unshare takes no notice of SIGTERM; so it is killed when this process ends, however that comes about.
    let status = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--", "unshare"])
        .args(["--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--", "bash", "-c", FIRST, "lab"])
        .arg(std::env::current_exe().context("finding this program")?)
        .args(std::env::args_os().skip(1))
        .env(MARK, "1")
        .status()
        .context("starting setpriv and unshare")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(Where::Outside(ExitCode::from(code)))
}

/// Every tool that the lab calls, or the packages to install.
fn need_tools() -> Result<()> {
    let missing: Vec<&str> = include_str!("../packages/lab")
        .lines()
        .filter_map(|line| line.split('#').next()?.split_once(' '))
        .filter(|(tool, _)| !on_path(tool))
        .map(|(_, package)| package.trim())
        .collect();
    if !missing.is_empty() {
        bail!("the lab needs these Debian packages: {} (tests/packages/lab)", missing.join(" "));
    }
    Ok(())
}

fn on_path(tool: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':').chain(["/usr/sbin", "/sbin"]).any(|dir| std::path::Path::new(dir).join(tool).exists())
}
