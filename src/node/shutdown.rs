//! The ordinary end of a domain: ask the guest, wait, destroy, and *verify that it is gone* before saying so.
//! Used by `stop` and by the keeper of an offer's deadline.
//!
//! A guest that somebody has paused cannot hear the request: it is unpaused for it. But a paused domain may
//! also be one that is being made, or has just arrived and must not run yet, or one of two copies. So it is
//! unpaused only if its pause lasts, if it has had processor time here (what is made or arrives has had
//! none), and if the caller has no doubt about other copies; and otherwise destroyed, as what cannot hear.

use std::fmt;
use std::time::Duration;

use crate::clock::{Clock, Deadline, LOOK_AGAIN, Moment, SystemClock};
use crate::domain::{DomainId, DomainName, Presence};
use crate::handoff::evidence::{Absence, MayEnd, MayRun, OnlyPaused};
use crate::toolstack::{ShutdownRequest, Toolstack, ToolstackError};

/// Limit of one word to the toolstack.
const XL_LIMIT: Duration = Duration::from_secs(10);
/// How often the log hears that we wait.
const LOG_EVERY: Duration = Duration::from_secs(5);
/// How long a shut down domain may wait for xl's daemon, while it lives, to clear it away before we do. Two
/// of them at it at once get into each other's way (seen on a slow host: "unable to read script from ...
/// vif").
const CLEAR_AWAY: Duration = Duration::from_secs(30);
/// How long a pause lasts that somebody meant: a toolstack pauses a domain for a moment before it destroys
/// it.
const PAUSE_LASTS: Duration = Duration::from_secs(2);

/// How a domain came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It was not there.
    AlreadyAbsent,
    /// The guest shut itself down.
    ShutDown,
    /// It was destroyed.
    Destroyed,
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            How::AlreadyAbsent => "was absent",
            How::ShutDown => "shut down",
            How::Destroyed => "destroyed",
        })
    }
}

/// What is left of the attempt.
struct Attempt<'a> {
    toolstack: &'a dyn Toolstack,
    domain: &'a DomainName,
    how: ShutdownRequest,
    grace: Deadline,
    /// Which incarnation was asked: a guest that reboots instead is asked again.
    asked: Option<DomainId>,
    destroyed: bool,
    shut_down_since: Option<Moment>,
    /// Since when which incarnation has been seen paused.
    paused_since: Option<(DomainId, Moment)>,
    /// Whether another copy may run somewhere, so that this one must not.
    others: &'a dyn Fn() -> Result<(), String>,
    logged: Moment,
}

/// Ends `domain`: `grace` for the guest, then by force, all within `deadline`. `others` says, before a paused
/// copy is let run, why another one may be running.
///
/// # Errors
/// What still holds when the deadline has passed. The domain may then still run.
pub fn shut_down(
    toolstack: &dyn Toolstack,
    domain: &DomainName,
    how: ShutdownRequest,
    grace: Duration,
    deadline: Deadline,
    others: &dyn Fn() -> Result<(), String>,
) -> Result<(Absence, How), String> {
    let attempt = Attempt::new(toolstack, domain, how, Deadline::after(grace).min(deadline.less(XL_LIMIT)));
    Attempt { others, ..attempt }.carry_out(deadline, &|| true)
}

/// As [`shut_down`] for a domain that this node has on offer, so that no other one runs it; but gives up as
/// soon as it is no longer `ours` to end. That is asked before every deed.
///
/// # Errors
/// As [`shut_down`].
pub fn shut_down_while(
    toolstack: &dyn Toolstack,
    domain: &DomainName,
    how: ShutdownRequest,
    grace: Duration,
    deadline: Deadline,
    ours: &dyn Fn() -> bool,
) -> Result<(Absence, How), String> {
    Attempt::new(toolstack, domain, how, Deadline::after(grace).min(deadline.less(XL_LIMIT)))
        .carry_out(deadline, ours)
}
impl<'a> Attempt<'a> {
    fn new(
        toolstack: &'a dyn Toolstack,
        domain: &'a DomainName,
        how: ShutdownRequest,
        grace: Deadline,
    ) -> Self {
        Self {
            toolstack,
            domain,
            how,
            grace,
            asked: None,
            destroyed: false,
            shut_down_since: None,
            paused_since: None,
            others: &|| Ok(()),
            logged: Moment::now(),
        }
    }

    /// Until it is gone.
    fn carry_out(mut self, deadline: Deadline, ours: &dyn Fn() -> bool) -> Result<(Absence, How), String> {
        let mut last = None;
        let gone = SystemClock.wait_until(deadline, LOOK_AGAIN, || {
            if !ours() {
                return Some(None);
            }
            let presence = self
                .toolstack
                .presence(self.domain, deadline.left().min(XL_LIMIT).max(Duration::from_secs(1)));
            if let Some(absence) = Absence::observe(&presence, || self.toolstack.is_attended(self.domain)) {
                return Some(Some(absence));
            }
            self.push_on(&presence);
            last = Some(presence);
            None
        });
        let gone = match gone {
            Some(None) => {
                return Err(
                    "it was reclaimed or is being fetched meanwhile, and is not ended here".to_owned()
                );
            }
            Some(Some(absence)) => Some(absence),
            None => None,
        };
        match (gone, last) {
            (Some(absence), None) => Ok((absence, How::AlreadyAbsent)),
            (Some(absence), Some(_)) => {
                Ok((absence, if self.destroyed { How::Destroyed } else { How::ShutDown }))
            }
            (None, Some(Presence::Absent)) => Err(
                "it is absent, but the toolstack's daemon for it still lives, or is about to create it anew"
                    .to_owned(),
            ),
            (None, Some(presence)) => Err(format!("it could not be stopped in time and is {presence}")),
            (None, None) => Err("there was no time to look".to_owned()),
        }
    }

    fn push_on(&mut self, presence: &Presence) {
        if self.logged.elapsed() >= LOG_EVERY {
            self.logged = Moment::now();
            log::info!(
                "domain={} is {presence}; waiting, {} s left",
                self.domain,
                self.grace.left().as_secs()
            );
        }
        let own = self.domain.as_str().to_owned();
        match presence {
            Presence::Running(id) if !self.grace.passed() => self.ask(*id),
            Presence::Paused(id) if !self.grace.passed() => self.wake(*id),
            // Neither a paused nor a frozen guest can hear a request, a crashed one does not care.
            Presence::Running(_) | Presence::Paused(_) | Presence::Crashed(_) | Presence::Frozen(_) => {
                self.destroy(&own);
            }
            Presence::ShutDown(_) => {
                let since = *self.shut_down_since.get_or_insert_with(Moment::now);
                if since.elapsed() >= CLEAR_AWAY || !self.toolstack.is_attended(self.domain) {
                    let by_force = self.destroyed;
                    self.destroy(&own);
                    // The guest had ended by itself; only its remains were cleared away.
                    self.destroyed = by_force;
                }
            }
            // Nobody creates it anew, and nobody clears it away.
            Presence::Rebooting(_) if !self.toolstack.is_attended(self.domain) => self.destroy(&own),
            Presence::Building(_) | Presence::Rebooting(_) if self.grace.passed() => self.destroy(&own),
            Presence::MigratedAway(_) | Presence::Incoming(_) => {
                log::warn!("domain={} is {presence}: left alone", self.domain);
            }
            Presence::Building(_)
            | Presence::Rebooting(_)
            | Presence::Dying(_)
            | Presence::Absent
            | Presence::Unknown(_) => {}
        }
    }

    /// Lets a paused guest run for its shutdown, if that is what it is.
    fn wake(&mut self, id: DomainId) {
        let since = match self.paused_since {
            Some((seen, since)) if seen == id => since,
            _ => Moment::now(),
        };
        self.paused_since = Some((id, since));
        if since.elapsed() < PAUSE_LASTS {
            return;
        }
        let sure = match self.toolstack.has_run(id, XL_LIMIT) {
            Ok(has_run) => OnlyPaused::observe(has_run, self.others),
            Err(error @ ToolstackError::Cannot { .. }) => Err(error.to_string()),
            // Asked again at the next look, until the grace is over.
            Err(error) => return log::warn!("domain={} {error}", self.domain),
        };
        let only = match sure {
            Ok(only) => only,
            Err(doubt) => {
                log::warn!("domain={} it is paused, and must not be let run: {doubt}", self.domain);
                let own = self.domain;
                return self.destroy(own.as_str());
            }
        };
        log::warn!("domain={} domid={id} somebody has paused it: unpausing it for its shutdown", self.domain);
        self.paused_since = None;
        if let Err(error) = self.toolstack.unpause(self.domain, &MayRun::ToShutDown(&only), XL_LIMIT) {
            log::warn!("domain={} {error}", self.domain);
        }
    }

    fn ask(&mut self, id: DomainId) {
        if self.asked == Some(id) {
            return;
        }
        log::info!("domain={} domid={id} asking the guest to shut down", self.domain);
        match self.toolstack.request_shutdown(self.domain, self.how, XL_LIMIT) {
            Ok(()) => self.asked = Some(id),
            // Asked again at the next look, until the grace is over.
            Err(error) => log::warn!("domain={} {error}", self.domain),
        }
    }

    fn destroy(&mut self, exact_name: &str) {
        log::warn!("domain={} destroying it", self.domain);
        self.destroyed = true;
        if let Err(error) = self.toolstack.destroy(exact_name, &MayEnd::Ordered, XL_LIMIT) {
            log::warn!("domain={} {error}", self.domain);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{RunState, Sighting};
    use crate::toolstack::fake::Fake;

    fn end(fake: &Fake, grace: u64) -> Result<How, String> {
        let domain = DomainName::new("x0").unwrap();
        let deadline = Deadline::after(Duration::from_secs(11 + grace));
        let grace = Duration::from_secs(grace);
        shut_down(fake, &domain, ShutdownRequest::Drivers, grace, deadline, &|| Ok(())).map(|(_, how)| how)
    }

    fn calls(fake: &Fake) -> String {
        fake.calls.borrow().join(", ")
    }

    #[test]
    fn an_absent_domain_is_stopped_at_once_with_one_listing() {
        let fake = Fake::default();
        assert_eq!(end(&fake, 60), Ok(How::AlreadyAbsent));
        assert_eq!(calls(&fake), "list x0");
    }

    #[test]
    fn a_guest_that_obeys_is_not_destroyed() {
        let fake = Fake::showing([Ok(Fake::own(RunState::Running)), Ok(Sighting::default())]);
        assert_eq!(end(&fake, 60), Ok(How::ShutDown));
        assert_eq!(calls(&fake), "list x0, shutdown x0 Drivers, list x0");
    }

    #[test]
    fn no_grace_means_destroy_at_once() {
        let fake = Fake::showing([Ok(Fake::own(RunState::Running)), Ok(Sighting::default())]);
        assert_eq!(end(&fake, 0), Ok(How::Destroyed));
        assert_eq!(calls(&fake), "list x0, destroy x0, list x0");
    }

    #[test]
    fn a_listing_that_fails_is_never_taken_for_the_end() {
        let fake = Fake::showing([Err("xl hung".to_owned())]);
        let domain = DomainName::new("x0").unwrap();
        let deadline = Deadline::after(Duration::from_millis(50));
        let error = shut_down(&fake, &domain, ShutdownRequest::Drivers, Duration::ZERO, deadline, &|| Ok(()))
            .unwrap_err();
        assert!(error.contains("xl hung"), "{error}");
    }

    #[test]
    fn a_copy_given_away_is_neither_absent_nor_destroyed() {
        let given = Sighting {
            migrated_away: Some(crate::domain::Copy { id: DomainId(3), state: RunState::Frozen }),
            ..Sighting::default()
        };
        let fake = Fake::showing([Ok(given)]);
        let domain = DomainName::new("x0").unwrap();
        let deadline = Deadline::after(Duration::from_millis(50));
        shut_down(&fake, &domain, ShutdownRequest::Drivers, Duration::ZERO, deadline, &|| Ok(()))
            .unwrap_err();
        assert!(!calls(&fake).contains("destroy"), "{}", calls(&fake));
    }

    #[test]
    fn a_guest_that_somebody_has_paused_is_let_run_for_its_shutdown() {
        let fake = Fake { has_run: true, ..a_pause_that_lasts() };
        assert_eq!(end(&fake, 60), Ok(How::ShutDown));
        let calls = calls(&fake);
        assert!(calls.ends_with("unpause x0, list x0, shutdown x0 Drivers, list x0"), "{calls}");
        assert!(!calls.contains("destroy"), "{calls}");
    }

    #[test]
    fn p1_a_paused_copy_with_any_doubt_about_it_is_never_let_run() {
        let domain = DomainName::new("x0").unwrap();
        let deadline = || Deadline::after(Duration::from_secs(60));
        let grace = Duration::from_secs(30);
        let no_doubt = || Ok(());
        let elsewhere = || Err("n2 has it: running".to_owned());
        for (has_run, others) in [(false, &no_doubt as &dyn Fn() -> Result<(), String>), (true, &elsewhere)] {
            let fake = Fake { has_run, ..a_pause_that_lasts() };
            // What is destroyed is gone.
            let _ended = shut_down(&fake, &domain, ShutdownRequest::Drivers, grace, deadline(), others);
            assert!(
                !calls(&fake).contains("unpause") && calls(&fake).contains("destroy"),
                "{}",
                calls(&fake)
            );
        }
    }

    #[test]
    fn a_pause_of_a_moment_is_nobodys() {
        let paused = Ok(Fake::own(RunState::Paused));
        let fake = Fake { has_run: true, ..Fake::showing([paused, Ok(Sighting::default())]) };
        assert_eq!(end(&fake, 60), Ok(How::ShutDown));
        assert_eq!(calls(&fake), "list x0, list x0");
    }

    /// Paused for some three seconds of looks, then it runs, then it is gone.
    fn a_pause_that_lasts() -> Fake {
        let paused = std::iter::repeat_with(|| Ok(Fake::own(RunState::Paused))).take(5);
        let after = [Ok(Fake::own(RunState::Running)), Ok(Sighting::default())];
        Fake::showing(paused.chain(after))
    }
}
