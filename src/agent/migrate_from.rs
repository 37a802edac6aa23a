//! `migrate_from`: says that the domain, pushed from elsewhere, has arrived.

use super::context::Agent;
use crate::clock::{Clock, Deadline, LOOK_AGAIN, SystemClock};
use crate::domain::Presence;
use crate::handoff::{Effect, Event};
use crate::ocf::exit_code::{ExitCode, Failure};

/// How long nothing at all may be seen of it. `migrate_to` has ended before this begins, so it must be here.
const MAY_BE_ABSENT: std::time::Duration = std::time::Duration::from_secs(5);

impl Agent {
    /// Waits until the domain runs here.
    ///
    /// # Errors
    /// `Generic` if it does not, with what is here instead.
    pub(super) fn migrate_from(&self) -> Result<ExitCode, Failure> {
        self.wait_for_transfer(self.deadline)?;
        let absent_until = Deadline::after(MAY_BE_ABSENT);
        let mut last = Presence::Absent;
        let arrived = SystemClock.wait_until(self.deadline, LOOK_AGAIN, || {
            last = self.presence();
            match &last {
                Presence::Running(_) => Some(true),
                Presence::Absent => absent_until.passed().then_some(false),
                Presence::Crashed(_) | Presence::ShutDown(_) => Some(false),
                _ => None,
            }
        });
        if arrived != Some(true) {
            let from = self
                .environment
                .migrate_source
                .as_ref()
                .map(|node| format!(" from {node}"))
                .unwrap_or_default();
            return Err(self.generic(format!("it has not arrived{from}: it is {last} here")));
        }
        let effects = self.advance("migrate_from", Event::Confirmed).map_err(|error| self.generic(error))?;
        if effects.contains(&Effect::ReportRunning) {
            self.close_what_brought_it();
            self.attach_devices()?;
            self.share_memory();
            self.wait_until_healthy()?;
            return Ok(ExitCode::Success);
        }
        Err(self.generic("it runs here, but its phase does not allow to report that: see xen-handoff status"))
    }
}
