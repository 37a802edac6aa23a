//! What a start does about an offer that it cannot fetch: it has the source end it, and boots the domain
//! here.
//!
//! A stop that hands over has promised the cluster that the start succeeds. Where the domain cannot be moved,
//! for a reason that will last or again and again, or where no time is left for another try, the start asks
//! the source to *yield*: the offer is withdrawn, the guest is shut down there in order, the source says that
//! it has none, and this very start boots it. That is what an ordinary stop and start would have done. What
//! could not be booted here either ends no guest: the start fails at once, and the offer stands.

use std::time::Duration;

use super::context::Agent;
use crate::clock::Deadline;
use crate::domain::Presence;
use crate::handoff::evidence::{Doubt, PeerReport, PeerSays};
use crate::handoff::{Epoch, Offer, Phase, SourcePhase, Transfer};
use crate::parameters::kept::{Kept, TO_BOOT};
use crate::preflight::facts::{self, Facts, troubles};
use crate::preflight::judge::judge;
use crate::preflight::{Hinders, Needs, Report};
use crate::toolstack::xl::could_not_build;
use crate::wire::client::Unanswered;
use crate::wire::message::YIELD;

/// After how many streams that came to nothing the next one is not tried any more.
const ENOUGH: u32 = 3;
/// A stream that would have less time than this is not begun.
const TOO_SHORT: Duration = Duration::from_secs(6);
/// How long the source may take for its answer: it settles first what broke off.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// What the domain needs and this node lacks.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// It could not be booted here either.
    ToRun(String),
    /// It could not be booted here just now, but a guest that is on its way elsewhere gives its memory free.
    Now(String),
    /// It could be booted here, but not moved here.
    ToMove(String),
}

/// What a start has learnt of an offer in its rounds.
#[derive(Debug, Default)]
pub(super) struct Tries {
    /// Streams that began and moved nothing.
    broken: u32,
    /// How often in a row its source has refused since it is paused there.
    paused: u32,
    /// Why it cannot be moved here; the last stream's end, where nothing else is known.
    pub(super) why: Option<String>,
    /// That will not change.
    lasting: bool,
    /// By the receiver's words, this node could not run it either.
    could_not_run: bool,
    /// The offer whose end was asked for.
    yielded: Option<Epoch>,
    /// Its source is too old to be asked.
    older: bool,
}

impl Tries {
    /// A stream of it began and moved nothing.
    pub(super) fn broke(&mut self, how: &str) {
        self.broken += 1;
        self.could_not_run = could_not_build(how);
        if !self.lasting {
            self.why = Some(how.to_owned());
        }
    }

    /// Whether the last stream ended for want of something that a boot here would want as well.
    pub(super) fn could_not_run(&self) -> bool {
        self.could_not_run && !self.lasting
    }

    /// Its source has refused a claim. A guest that somebody has paused since its stop cannot be moved: a
    /// pause that lasts is waited for no longer than streams that come to nothing.
    pub(super) fn was_refused(&mut self, presence: &Presence, phase: &Phase) {
        let is_paused =
            matches!((presence, phase), (Presence::Paused(_), Phase::Source(SourcePhase::Offered { .. })));
        self.paused = if is_paused { self.paused + 1 } else { 0 };
        if self.paused >= ENOUGH {
            self.will_never("somebody has paused it there, and a paused guest cannot be moved".to_owned());
        }
    }

    /// Whether an offer is about to end for a boot here.
    pub(super) fn waits_for_an_end(&self) -> bool {
        self.yielded.is_some()
    }

    /// It cannot be moved here, and no further try will change that.
    pub(super) fn will_never(&mut self, why: String) {
        (self.lasting, self.why) = (true, Some(why));
    }

    /// Whether the end of this offer was asked for.
    pub(super) fn waits_for_the_end_of(&self, offer: &Offer) -> bool {
        self.yielded == Some(offer.epoch)
    }

    /// Why no further stream is to be tried; `None` if one is. `left` of the action, of which `reserved` is
    /// for an end in order and a boot.
    pub(super) fn are_over(&self, left: Duration, reserved: Duration) -> Option<String> {
        let why = || self.why.clone().unwrap_or_else(|| "it could not be fetched".to_owned());
        if self.older {
            None
        } else if self.lasting {
            Some(why())
        } else if self.broken >= ENOUGH {
            Some(format!("{} streams of it came to nothing; {}", self.broken, why()))
        } else if !reserved.is_zero() && left < reserved.saturating_add(TOO_SHORT) {
            Some(format!("there is no time for another try; {}", why()))
        } else {
            None
        }
    }
}

impl Agent {
    /// What of this action's time is kept for an end in order of the guest and a boot.
    pub(super) fn reserved(&self, tries: &Tries) -> Duration {
        if tries.older { Duration::ZERO } else { Kept::by(&self.parameters).of(self.timeout) }
    }

    /// With less than this a guest that is ended would not be booted by this action: it is left where it
    /// runs. So it always is by a start that keeps nothing for both.
    fn least_for_both(&self, tries: &Tries) -> Duration {
        let kept = self.reserved(tries);
        if kept.is_zero() { Duration::MAX } else { kept / 2 }
    }

    /// Whether the domain could run here, and come here.
    pub(super) fn lack(&self) -> Option<Lack> {
        if let Err(none) = self.movement().can_be_pulled() {
            return Some(Lack::ToMove(none.to_string()));
        }
        let config = self.configured()?;
        let missing = troubles(self.root(), config);
        let words: Vec<String> =
            missing.iter().map(ToString::to_string).chain(self.lacks_devices()).collect();
        if !words.is_empty() {
            return Some(Lack::ToRun(words.join("; ")));
        }
        let host = facts::host(self.toolstack.as_ref(), config.memory_mib);
        let here = Facts { presence: Presence::Absent, host, file: None, troubles: Vec::new() };
        let mut config = config.clone();
        if self.parameters.detach_pci {
            config.passthrough.clear();
        }
        let mut checks = judge(&Needs { config, file: None }, None, &here);
        // Where room is made for it, that shows.
        checks.retain(|check| check.check != "memory" || !self.parameters.share_memory);
        if let Some(why) = Report::hindrance(&checks, Hinders::Boot) {
            let only_memory =
                checks.iter().all(|check| check.check == "memory" || check.hinders != Some(Hinders::Boot));
            return Some(if only_memory && self.is_about_to_have_room() {
                Lack::Now(why)
            } else {
                Lack::ToRun(why)
            });
        }
        Report::hindrance(&checks, Hinders::Move).map(Lack::ToMove)
    }

    /// Whether another guest is leaving this host: it is on offer, and its memory will be free.
    pub(super) fn is_about_to_have_room(&self) -> bool {
        let domains = self.here.store.domains().unwrap_or_default();
        domains
            .iter()
            .filter(|other| **other != self.domain)
            .any(|other| self.here.store.load(other).is_ok_and(|record| record.state.is_offered_away()))
    }

    /// Has the source end its offer, if this node could boot the domain then. True if its end has begun.
    pub(super) fn has_it_yielded(
        &self,
        offer: &Offer,
        why: &str,
        tries: &mut Tries,
        heard: &mut Vec<PeerReport>,
    ) -> Result<(), String> {
        let source = &offer.source;
        if self.deadline.left() < self.least_for_both(tries) {
            return Err("there is no time left to end it there and to boot it here".to_owned());
        }
        let deadline = self.deadline.within(ANSWER_LIMIT);
        let mut connection = self.transport.ask(source, deadline).map_err(|error| error.to_string())?;
        if !connection.can(YIELD) {
            tries.older = true;
            return Err(format!(
                "xen-handoff {} on {source} is too old to end its offer for another node",
                connection.peer_version()
            ));
        }
        self.could_boot_without(source)
            .map_err(|doubt| format!("it could not be booted here if {source} ended it: {doubt}"))?;
        let transfer = Transfer { epoch: offer.epoch, source: source.clone(), target: self.node.clone() };
        let limit = self.deadline.less(TO_BOOT.min(self.timeout / 6)).left().as_secs();
        match connection.give_up(&self.domain, transfer, why, limit, deadline) {
            Ok(()) => {
                tries.yielded = Some(offer.epoch);
                log::warn!(
                    "domain={} node={} it cannot be moved here ({why}): {source} shuts it down, and it is booted here then",
                    self.domain,
                    self.node
                );
                Ok(())
            }
            Err(Unanswered::Refused { reason, stands }) => {
                if let Some((presence, phase)) = stands.map(|stands| *stands) {
                    let says = PeerSays::Stands { presence, phase, ended: None };
                    heard.push(PeerReport { node: source.clone(), says, cleared: false });
                }
                Err(format!("{source} does not give it up: {reason}"))
            }
            Err(error) => Err(error.by(source)),
        }
    }

    /// Whether a boot here could be proven if the source had none: what ends a guest must be worth it.
    fn could_boot_without(&self, source: &crate::host::NodeName) -> Result<(), String> {
        self.may_boot().map_err(|failure| failure.to_string())?;
        self.config_file().map_err(|failure| failure.to_string())?;
        let known = self.known_peers()?;
        let none = PeerSays::Stands { presence: Presence::Absent, phase: Phase::Idle, ended: None };
        let supposed = PeerReport { node: source.clone(), says: none, cleared: false };
        let peers = self.ask(&known, vec![supposed], self.parameters.peer_timeout);
        self.weigh(&self.ledger(), &peers, None).map(drop).map_err(|doubt: Doubt| doubt.to_string())
    }

    /// Until when a stream may take: what is left after it is for an end in order and a boot.
    pub(super) fn streams_until(&self, tries: &Tries) -> Deadline {
        self.deadline.less(self.reserved(tries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::Action;
    use crate::agent::fake::agent;
    use crate::clock::UnixTime;
    use crate::domain::{DomainId, DomainName};
    use crate::here::fake::{World, seen};
    use crate::host::NodeName;
    use crate::toolstack::Kind;
    use crate::toolstack::fake::Fake;

    const SECONDS: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn p7_a_move_is_given_up_for_a_reason_that_lasts_after_three_streams_or_when_time_is_short() {
        let (plenty, reserved) = (SECONDS(200), SECONDS(90));
        let mut tries = Tries::default();
        assert_eq!(tries.are_over(plenty, reserved), None);
        assert!(tries.are_over(SECONDS(95), reserved).unwrap().contains("no time"));
        for broken in 1..ENOUGH {
            tries.broke("xl migrate-receive: exit status: 1");
            assert_eq!(tries.are_over(plenty, reserved), None, "after {broken}");
        }
        tries.broke("xl migrate-receive: exit status: 1");
        assert!(tries.are_over(plenty, reserved).unwrap().contains("3 streams of it came to nothing; xl"));
        assert!(!tries.could_not_run());
        tries.broke("xc_dom_boot_mem_init failed: Operation not supported");
        assert!(tries.could_not_run(), "no memory is no reason to end a guest");
        let mut tries = Tries::default();
        tries.will_never("nomigrate: its configuration forbids it".to_owned());
        tries.broke("a stream that broke");
        assert_eq!(tries.are_over(plenty, reserved).unwrap(), "nomigrate: its configuration forbids it");
        assert_eq!(Tries::default().are_over(SECONDS(1), SECONDS(0)), None, "too short for both");
        tries.older = true;
        assert_eq!(tries.are_over(plenty, reserved), None, "who cannot be asked is asked for streams");
    }

    #[test]
    fn p7_a_guest_that_stays_paused_on_offer_is_not_waited_for() {
        let paused = Presence::Paused(DomainId(4));
        let offered = Phase::Source(SourcePhase::Offered {
            offer: Offer {
                domain: DomainName::new("x0").unwrap(),
                source: NodeName::new("n1").unwrap(),
                epoch: Epoch(7),
                made_at: UnixTime(1),
                deadline: UnixTime(2),
            },
        });
        let is_over = |seen: &[(&Presence, &Phase)]| {
            let mut tries = Tries::default();
            seen.iter().for_each(|(presence, phase)| tries.was_refused(presence, phase));
            tries.are_over(SECONDS(200), SECONDS(90)).is_some()
        };
        assert!(is_over(&[(&paused, &offered); 3]));
        assert!(!is_over(&[(&paused, &offered); 2]), "a toolstack pauses it for a moment, too");
        let runs = Presence::Running(DomainId(4));
        assert!(!is_over(&[
            (&paused, &offered),
            (&paused, &offered),
            (&runs, &offered),
            (&paused, &offered)
        ]));
        assert!(!is_over(&[(&paused, &Phase::Idle); 3]), "not on offer");
    }

    #[test]
    fn p7_what_no_stream_can_bring_is_ended_at_its_source_and_booted_here() {
        for kind in [Kind::Xm, Kind::Xe] {
            let world = World::of(Fake { kind: Some(kind), ..Fake::showing([Ok(seen::absent())]) });
            let lack = agent(&world, Action::Start, &[]).lack();
            assert!(matches!(&lack, Some(Lack::ToMove(why)) if why.contains(kind.name())), "{lack:?}");
        }
        let world = World::listing([seen::absent()]);
        let lack = agent(&world, Action::Start, &[]).lack();
        assert!(!matches!(&lack, Some(Lack::ToMove(_))), "{lack:?}");
    }
}
