//! A migration from daemon to daemon, as xend and XAPI do it: the domain is built on the other host, its memory sent, and the one
//! here ended when the last byte has left. No side waits for the other to say that it runs.
//!
//! Real xend and xapi go on when `xm` or `xe` is killed; here the command itself is the daemon, and killing it is as if that had died.

use crate::domain::{Domain, Reason};
use crate::host::Host;
use crate::{Exit, build, knobs, monitor};

/// Moves the domain. `who` is the prefix of its knobs; meanwhile it is called `away` on the source, if that is another name.
pub(crate) fn relocate(
    from: &Host,
    to: &Host,
    domid: u32,
    who: &str,
    away: Option<&str>,
) -> Result<(), Exit> {
    let Some(before) = from.lock()?.get(domid).cloned() else { return Err(Exit::failure("no such domain")) };
    if let Some(away) = away {
        from.lock()?.rename(domid, away)?;
    }
    let take_back = |there: Option<u32>, says: String| {
        if let Some(there) = there {
            to.destroy(there)?;
        }
        let mut locked = from.lock()?;
        locked.change(domid, Domain::resume)?;
        if away.is_some() {
            locked.rename(domid, &before.name)?;
        }
        Err(Exit::failure(says))
    };
    // It bears its own name there at once, and is paused.
    let copy = Domain::around(before.guest.clone(), &before.config, before.name.clone());
    let there = match build(to, copy) {
        Ok(there) => there,
        Err(says) => return take_back(None, says),
    };
    knobs::at(from, who, "in-stream");
    if from.knob(&format!("{who}.breaks")).is_some() {
        return take_back(Some(there), format!("Error: /usr/lib/xen/bin/xc_save 4 {domid} 0 0 1 failed"));
    }
    from.lock()?.change(domid, |d| d.shutdown = Some(Reason::Suspend))?;
    knobs::at(from, who, "suspended");
    let Some(guest) = from.lock()?.get(domid).map(Domain::guest_now) else {
        return Err(Exit::failure("it has gone meanwhile"));
    };
    to.lock()?.change(there, |d| d.guest = guest)?;
    from.destroy(domid)?;
    knobs::at(from, who, "source-gone");
    if to.knob(&format!("{who}.loses")).is_some() {
        // Nobody tells the source.
        to.destroy(there)?;
        return Ok(());
    }
    to.lock()?.change(there, |d| d.paused = false)?;
    monitor::start(to, there, &before.name)?;
    knobs::at(from, who, "end");
    Ok(())
}
