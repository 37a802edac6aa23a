//! The ordinary end of a domain: ask the guest, wait, destroy, and *verify that it is gone* before saying so. Used by
//! `stop` and by the keeper of an offer's deadline.

use std::fmt;
use std::time::Duration;

use super::LOOK_AGAIN;
use crate::clock::{Clock, Deadline, SystemClock};
use crate::domain::{DomainId, DomainName, Presence};
use crate::handoff::evidence::Absence;
use crate::toolstack::{ShutdownRequest, Toolstack};

/// Limit of one word to the toolstack.
const XL_LIMIT: Duration = Duration::from_secs(10);
/// How often the log hears that we wait.
const LOG_EVERY: Duration = Duration::from_secs(5);
/// How long a shut down domain may wait for xl's daemon, while it lives, to clear it away before we do. Two of them at it
/// at once get into each other's way (seen on a slow host: "unable to read script from ... vif").
const CLEAR_AWAY: Duration = Duration::from_secs(30);

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
#[derive(Debug)]
struct Attempt<'a> {
    toolstack: &'a dyn Toolstack,
    domain: &'a DomainName,
    how: ShutdownRequest,
    grace: Deadline,
    /// Which incarnation was asked: a guest that reboots instead is asked again.
    asked: Option<DomainId>,
    destroyed: bool,
    shut_down_since: Option<std::time::Instant>,
    logged: std::time::Instant,
}

/// Ends `domain`: `grace` for the guest, then by force, all within `deadline`.
///
/// # Errors
/// What still holds when the deadline has passed. The domain may then still run.
pub fn shut_down(
    toolstack: &dyn Toolstack,
    domain: &DomainName,
    how: ShutdownRequest,
    grace: Duration,
    deadline: Deadline,
) -> Result<(Absence, How), String> {
    shut_down_while(toolstack, domain, how, grace, deadline, &|| true)
}

/// As [`shut_down`], but gives up as soon as the domain is no longer `ours` to end. That is asked before every deed.
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
    let mut attempt = Attempt {
        toolstack,
        domain,
        how,
        grace: Deadline::after(grace).min(deadline.less(XL_LIMIT)),
        asked: None,
        destroyed: false,
        shut_down_since: None,
        logged: std::time::Instant::now(),
    };
    let mut last = None;
    let gone = SystemClock.wait_until(deadline, LOOK_AGAIN, || {
        if !ours() {
            return Some(None);
        }
        let presence = toolstack.presence(domain, deadline.left().min(XL_LIMIT).max(Duration::from_secs(1)));
        if let Some(absence) = Absence::observe(&presence, || toolstack.is_attended(domain)) {
            return Some(Some(absence));
        }
        attempt.push_on(&presence);
        last = Some(presence);
        None
    });
    let gone = match gone {
        Some(None) => return Err("it is no longer this one's to end".to_owned()),
        Some(Some(absence)) => Some(absence),
        None => None,
    };
    match (gone, last) {
        (Some(absence), None) => Ok((absence, How::AlreadyAbsent)),
        (Some(absence), Some(_)) => {
            Ok((absence, if attempt.destroyed { How::Destroyed } else { How::ShutDown }))
        }
        (None, Some(Presence::Absent)) => {
            Err("it is absent, but the toolstack's daemon for it still lives, or is about to create it anew"
                .to_owned())
        }
        (None, Some(presence)) => Err(format!("it could not be stopped in time and is {presence}")),
        (None, None) => Err("there was no time to look".to_owned()),
    }
}

impl Attempt<'_> {
    fn push_on(&mut self, presence: &Presence) {
        if self.logged.elapsed() >= LOG_EVERY {
            self.logged = std::time::Instant::now();
            log::info!(
                "domain={} is {presence}; waiting, {} s left",
                self.domain,
                self.grace.left().as_secs()
            );
        }
        let own = self.domain.as_str().to_owned();
        match presence {
            Presence::Running(id) if !self.grace.passed() => self.ask(*id),
            // Neither a paused nor a frozen guest can hear a request, a crashed one does not care.
            Presence::Running(_) | Presence::Paused(_) | Presence::Crashed(_) | Presence::Frozen(_) => {
                self.destroy(&own);
            }
            Presence::ShutDown(_) => {
                let since = *self.shut_down_since.get_or_insert_with(std::time::Instant::now);
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
        if let Err(error) = self.toolstack.destroy(exact_name, XL_LIMIT) {
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
        shut_down(fake, &domain, ShutdownRequest::Drivers, Duration::from_secs(grace), deadline)
            .map(|(_, how)| how)
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
        let error =
            shut_down(&fake, &domain, ShutdownRequest::Drivers, Duration::ZERO, deadline).unwrap_err();
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
        shut_down(&fake, &domain, ShutdownRequest::Drivers, Duration::ZERO, deadline).unwrap_err();
        assert!(!calls(&fake).contains("destroy"), "{}", calls(&fake));
    }
}
