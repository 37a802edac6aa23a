//! The monitor daemon of a domain: what real `xl` leaves behind to do what `on_reboot` and the like say.
//!
//! It carries the command line of its creator and holds the domain's log open, as xl's does. A suspended domain
//! ends it, whatever comes after: a guest that resumes at the sender has no daemon any more, so its next reboot stays
//! `---sr-` (as with real `xl`, where the shutdown reason "suspend" leads to "Done. Exiting now").

use crate::domain::{Domain, Reason};
use crate::host::Host;
use crate::{Outcome, build, config, system};
use anyhow::Context;
use std::time::Duration;

const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// xl's own, with its comment "if this sleep is not there then domain re-creation fails sometimes".
const BEFORE_RECREATION: Duration = Duration::from_secs(2);

/// Leaves a daemon behind for `domid`; `name` is the name of its log.
pub(crate) fn start(host: &Host, domid: u32, name: &str) -> anyhow::Result<()> {
    system::spawn_daemon(domid, host.daemon_log(name)?, host.dir())
}

/// The daemon's life; its standard output and error are the log.
pub(crate) fn daemon(host: &Host, mut domid: u32) -> Outcome {
    // spawned by a parent that does not wait: a session of its own, as daemon(3) gives it
    let _already = rustix::process::setsid();
    let me = std::process::id();
    let Some(first) = host.lock()?.get(domid).cloned() else { return Ok(()) };
    eprintln!("Waiting for domain {} (domid {domid}) to die [pid {me}]", first.name);
    let mut boots = first.guest.boots;
    loop {
        let Some(reason) = wait_for_shutdown(host, domid)? else {
            eprintln!("Domain {domid} has been destroyed.");
            return Ok(());
        };
        eprintln!("Domain {domid} has shut down, reason code {} 0x{:x}", reason.code(), reason.code());
        let event = match reason {
            Reason::Suspend => {
                eprintln!("Domain has suspended.");
                eprintln!("Done. Exiting now");
                return Ok(());
            }
            Reason::Poweroff => "on_poweroff",
            Reason::Reboot => "on_reboot",
            Reason::Crash => "on_crash",
        };
        let Some(domain) = host.lock()?.get(domid).cloned() else { continue };
        let action = config::action(&domain.config, event);
        eprintln!("Action for shutdown reason code {} is {action}", reason.code());
        if action == "preserve" {
            eprintln!("Done. Exiting now");
            return Ok(());
        }
        eprintln!("Domain {domid} needs to be cleaned up: destroying the domain");
        let restarts = action.ends_with("restart");
        if restarts {
            host.note_restart(&domain.name, true)?;
        }
        host.destroy(domid)?;
        if !restarts {
            eprintln!("Done. Exiting now");
            return Ok(());
        }
        eprintln!("Done. Rebooting now");
        system::pause(BEFORE_RECREATION);
        boots += 1;
        let _turn = host.creation_turn()?;
        let again = Domain::boot(&domain.config, boots).context("rebooting")?;
        domid = build(host, again).map_err(|says| crate::Exit::status(3, says))?;
        host.lock()?.change(domid, |d| d.paused = false)?;
        host.note_restart(&domain.name, false)?;
        eprintln!("Waiting for domain {} (domid {domid}) to die [pid {me}]", domain.name);
    }
}

/// `None`: the domain has gone.
fn wait_for_shutdown(host: &Host, domid: u32) -> anyhow::Result<Option<Reason>> {
    loop {
        let seen = host.lock()?.get(domid).map(|d| d.shutdown);
        match seen {
            None => return Ok(None),
            Some(Some(reason)) => return Ok(Some(reason)),
            Some(None) => system::pause(LOOK_AGAIN),
        }
    }
}
