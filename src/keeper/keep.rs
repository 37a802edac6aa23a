//! `xen-handoff keep`: sees to it that an offer ends. Started by the stop that made the offer, in a session
//! of its own; ends when the offer does, however that comes.
//!
//! | what it sees | what it does |
//! |---|---|
//! | the deadline has passed | withdraws the offer, shuts the domain down |
//! | the start that was to fetch it cannot, and asked for its end (`yield`) | shuts the domain down |
//! | nobody is left who could fetch it, twice in a row | withdraws the offer, shuts the domain down |
//! | the domain has gone: it ended by itself, or a person moved it | closes the record and the ledger's entry |
//!
//! A transfer that is under way is never disturbed.

use std::fs::OpenOptions;
use std::time::Duration;

use super::prospects::Prospects;
use crate::clock::{Clock, Deadline, SystemClock, UnixTime};
use crate::command::begin_session;
use crate::domain::{DomainName, Presence};
use crate::handoff::evidence::Absence;
use crate::handoff::{Effect, Epoch, Event, Offer, Phase, SourcePhase};
use crate::here::Here;
use crate::node::record::{DEFAULT_TERMS, Record, RecordError, Store};
use crate::node::shutdown;
use crate::obstacle::Obstacle;
use crate::toolstack::{LIST_LIMIT, ShutdownRequest};
use crate::transfer::settle;

/// How often the record is looked at. The offer's end is not waited for blindly: it may be claimed or
/// reclaimed.
const LOOK: Duration = Duration::from_secs(1);
/// How long one try to settle a broken transfer may take.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);
/// How often it is looked whether the domain is still there.
const LOOK_HERE: Duration = Duration::from_secs(5);
/// What destroying may take after the guest's grace is over.
const FORCE: Duration = Duration::from_secs(60);

/// Waits for the end of the offer of `domain`, and ends it at its deadline. One process does that at a time;
/// another one stands by in case that one is killed.
///
/// # Errors
/// If the record cannot be read or the domain cannot be ended. The log says so, too: nobody waits for this
/// process.
pub fn run(here: &Here, domain: &DomainName) -> anyhow::Result<()> {
    begin_session();
    // The stop that started us is over in a moment, and its end must not be kept open by our stdout.
    let nowhere = OpenOptions::new().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&nowhere)?;
    keep(here, domain)
}

fn keep(here: &Here, domain: &DomainName) -> anyhow::Result<()> {
    let store = &here.store;
    let Some(epoch) = epoch_on_offer(store, domain)? else { return Ok(()) };
    let _keeping = loop {
        if let Some(lock) = store.begin_keeping(domain)? {
            break lock;
        }
        if epoch_on_offer(store, domain)? != Some(epoch) {
            return Ok(());
        }
        SystemClock.pass(LOOK);
    };
    let mut keeper = Keeper {
        here,
        domain,
        epoch,
        prospects: Prospects::default(),
        look_here: Deadline::after(LOOK_HERE),
        due: Due::default(),
    };
    let mut obstacle = Obstacle::default();
    loop {
        match keeper.look() {
            Ok(Look::Over) => return Ok(()),
            Ok(Look::Ends) => return end(here, domain, epoch),
            Ok(Look::Again) => obstacle = Obstacle::default(),
            // A record that somebody else has locked for a moment, a host without room or descriptors: the
            // offer still has to end.
            Err(error) => obstacle.is(format!("{error:#}"), |why| {
                log::warn!(
                    "domain={domain} its offer cannot be looked after, and that is tried again: {why}"
                );
            }),
        }
        SystemClock.pass(LOOK);
    }
}

/// What one look at an offer comes to.
enum Look {
    /// It has ended.
    Over,
    /// It is to be ended now.
    Ends,
    /// Not yet.
    Again,
}

/// Who looks after an offer.
struct Keeper<'a> {
    here: &'a Here,
    domain: &'a DomainName,
    epoch: Epoch,
    prospects: Prospects,
    look_here: Deadline,
    due: Due,
}

impl Keeper<'_> {
    fn look(&mut self) -> anyhow::Result<Look> {
        let Self { here, domain, epoch, .. } = *self;
        let store = &here.store;
        let record = store.load(domain)?;
        let Some(offer) = record.state.offer().filter(|offer| offer.epoch == epoch).cloned() else {
            log::debug!("domain={domain} the offer of {} has ended", epoch.rfc3339());
            return Ok(Look::Over);
        };
        // A sender that was killed: put its record right, then look again.
        if settle::if_broken(here, domain, Deadline::after(SETTLE_LIMIT))? || store.is_transferring(domain) {
            return Ok(Look::Again);
        }
        if self.look_here.passed() {
            self.look_here = Deadline::after(LOOK_HERE);
            if has_gone(here, domain, epoch)? {
                return Ok(Look::Over);
            }
        }
        let event = if self.due.has_come(&record, &offer) {
            match (&record.yielded_to, &record.state) {
                (Some(asker), _) => {
                    log::warn!("domain={domain} shutting it down for {asker}, which will boot it");
                }
                (None, Phase::Source(SourcePhase::Withdrawing { .. })) => log::warn!(
                    "domain={domain} its offer was ended by {}, which has not shut it down: that is done now",
                    record.written_by
                ),
                (None, _) => log::warn!("domain={domain} nobody has fetched it; its offer ends now"),
            }
            Event::OfferExpired
        } else if let Phase::Source(SourcePhase::Offered { .. }) = record.state
            && let Some(nobody) = self.prospects.nobody_is_left(here, &record)
        {
            log::warn!("domain={domain} nobody is left who could fetch it; its offer ends now");
            Event::Deserted(nobody)
        } else {
            return Ok(Look::Again);
        };
        let effects = store.advance(domain, "keep", event)?;
        Ok(if effects.contains(&Effect::ShutDown) { Look::Ends } else { Look::Again })
    }
}

/// When the offer is to be ended: by the wall clock, as the record says it, or when so much time has passed
/// as lies between, whichever comes first. The wall clock may be put back meanwhile.
#[derive(Debug, Default)]
struct Due(Option<(u64, Deadline)>);

impl Due {
    fn has_come(&mut self, record: &Record, offer: &Offer) -> bool {
        let (from, span) = match &record.state {
            Phase::Source(SourcePhase::Withdrawing { .. }) if record.yielded_to.is_some() => {
                (record.written_at, Duration::ZERO)
            }
            // Somebody is at it. If he is killed, it falls to us when he must have ended.
            Phase::Source(SourcePhase::Withdrawing { .. }) => {
                (record.written_at, grace_of(record).saturating_add(FORCE))
            }
            _ => (offer.made_at, Duration::from_secs(offer.deadline.0.saturating_sub(offer.made_at.0))),
        };
        let at = from.plus(span);
        let (_, deadline) = match self.0 {
            Some(known) if known.0 == record.generation => known,
            _ => *self.0.insert((record.generation, Deadline::after(at.from_now().min(span)))),
        };
        at <= UnixTime::now() || deadline.passed()
    }
}

/// The offer that somebody has to keep, if there is one: not one that is still being written by its stop.
pub(super) fn epoch_on_offer(store: &Store, domain: &DomainName) -> Result<Option<Epoch>, RecordError> {
    let state = store.load(domain)?.state;
    Ok(state.offer().filter(|_| state.is_offered_away()).map(|offer| offer.epoch))
}

/// Whether the domain has gone without anybody's word: it ended by itself, or somebody moved it by hand. The
/// offer is closed then.
fn has_gone(here: &Here, domain: &DomainName, epoch: Epoch) -> anyhow::Result<bool> {
    let (store, toolstack) = (&here.store, here.toolstack());
    if toolstack.presence(domain, LIST_LIMIT) != Presence::Absent {
        return Ok(false);
    }
    // Under the lock no claim can begin between this look and the record.
    let Some(_lock) = store.begin_transfer(domain)? else { return Ok(false) };
    let state = store.load(domain)?.state;
    if state.is_in_transfer() || state.offer().is_none_or(|offer| offer.epoch != epoch) {
        return Ok(false);
    }
    let listed = toolstack.listed(domain, LIST_LIMIT);
    let Some(absence) = Absence::observe(&listed, || toolstack.is_attended(domain)) else { return Ok(false) };
    log::warn!(
        "domain={domain} it has gone from here: it ended by itself or was moved by hand; its offer has ended"
    );
    let effects = store.advance(domain, "keep", Event::DomainGone(absence))?;
    here.cluster().clear_up(domain, &effects);
    Ok(true)
}

fn grace_of(record: &Record) -> Duration {
    record.terms.as_ref().unwrap_or(&DEFAULT_TERMS).grace()
}

fn end(here: &Here, domain: &DomainName, epoch: Epoch) -> anyhow::Result<()> {
    let (store, toolstack) = (&here.store, here.toolstack());
    let terms = store.load(domain)?.terms.unwrap_or(DEFAULT_TERMS);
    let how = if terms.acpi { ShutdownRequest::PowerButton } else { ShutdownRequest::Drivers };
    let deadline = Deadline::after(terms.grace().saturating_add(FORCE));
    // A stop may end it first, and a start then boot it again: that one is not ours to shut down.
    let still_ours = || {
        store.load(domain).is_ok_and(|record| {
            let Phase::Source(SourcePhase::Withdrawing { offer }) = &record.state else { return false };
            offer.epoch == epoch
        })
    };
    match shutdown::shut_down_while(toolstack.as_ref(), domain, how, terms.grace(), deadline, &still_ours) {
        Ok((absence, how)) => {
            log::info!("domain={domain} its offer has ended: {how}");
            let effects = store.advance(domain, "keep", Event::DomainGone(absence))?;
            here.cluster().clear_up(domain, &effects);
            Ok(())
        }
        Err(what) if !still_ours() => {
            log::info!("domain={domain} its offer was ended by somebody else ({what})");
            Ok(())
        }
        Err(what) => {
            log::error!("domain={domain} its offer has ended, but {what}: shut it down by hand");
            anyhow::bail!("{domain}: {what}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Moment, jump};
    use crate::cluster::Destination;
    use crate::here::fake::{EPOCH, World, node, offer_of, recorded, seen, to_n2, x0};
    use crate::host::NodeName;
    use crate::node::record::Store;

    #[test]
    fn p5_a_clock_that_was_put_back_does_not_make_an_offer_live_longer() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().to_owned());
        let x0 = DomainName::new("x0").unwrap();
        let source = NodeName::new("n1").unwrap();
        // Made by a clock that was years ahead of what it is now.
        let made_at = UnixTime::now().plus(Duration::from_secs(100_000_000));
        let offer = |life| Offer {
            domain: x0.clone(),
            source: source.clone(),
            epoch: Epoch::begin(),
            made_at,
            deadline: made_at.plus(Duration::from_secs(life)),
        };
        store.advance(&x0, "test", Event::OfferMade(offer(0))).unwrap();
        let record = store.load(&x0).unwrap();
        assert!(Due::default().has_come(&record, &offer(0)));
        assert!(!Due::default().has_come(&record, &offer(300)));
    }

    /// Keeps the offer to its end.
    fn kept(world: &World) -> anyhow::Result<()> {
        keep(&world.here, &x0())
    }

    #[test]
    fn p5_an_offer_that_nobody_fetches_ends_at_its_deadline_and_its_guest_in_order() {
        let world = World::listing([seen::running()]);
        world.is_offered(&offer_of("n1"));
        world.cluster.as_it_is.are(Ok(Destination::Node(node("n2"))));
        world.xl.after("shutdown x0 Drivers", seen::absent());
        let began = Moment::now();
        kept(&world).unwrap();
        let took = began.elapsed().as_secs();
        assert!(took >= 295 && jump::passed().as_secs() <= 310, "after {took} s");
        assert_eq!(world.deeds(), ["shutdown x0 Drivers"]);
        assert_eq!((world.phase(), world.told()), (Phase::Idle, vec![format!("erase {EPOCH}")]));
    }

    #[test]
    fn p5_a_clock_that_was_put_forward_ends_an_offer_at_once_and_its_guest_in_order() {
        let world = World::listing([seen::running()]);
        // By the clock of now it was made an hour ago.
        let made_at = UnixTime(UnixTime::now().0 - 3600);
        let offer = Offer { made_at, deadline: made_at.plus(Duration::from_secs(300)), ..offer_of("n1") };
        world.is_offered(&offer);
        world.cluster.as_it_is.are(Ok(Destination::Node(node("n2"))));
        world.xl.after("shutdown x0 Drivers", seen::absent());
        let began = jump::passed();
        kept(&world).unwrap();
        let took = (jump::passed() - began).as_secs();
        assert!(took < 30, "after {took} s");
        assert_eq!((world.phase(), world.deeds()), (Phase::Idle, vec!["shutdown x0 Drivers".to_owned()]));
    }

    #[test]
    fn p5_an_offer_that_nobody_is_left_for_ends_at_once() {
        let world = World::listing([seen::running()]);
        let named = |record: &mut Record| record.resource = Some("x0".to_owned());
        let offer = offer_of("n1");
        world.here.store.advance_with(&x0(), "test", Event::OfferMade(offer.clone()), named).unwrap();
        world.record([Event::OfferRecorded(recorded(&offer))]);
        world.cluster.as_it_is.are(Ok(Destination::Nowhere));
        world.xl.after("shutdown", seen::absent());
        let began = jump::passed();
        kept(&world).unwrap();
        let took = (jump::passed() - began).as_secs();
        assert!(took < 30, "after {took} s");
        assert_eq!(world.phase(), Phase::Idle);
    }

    #[test]
    fn p5_a_guest_that_does_not_hear_is_destroyed_after_its_grace_and_one_that_stays_is_an_error() {
        let world = World::listing([seen::running()]);
        world.is_offered(&Offer { deadline: UnixTime::now(), ..offer_of("n1") });
        world.xl.after("destroy", seen::absent());
        let began = Moment::now();
        kept(&world).unwrap();
        let took = began.elapsed().as_secs();
        assert!(took >= DEFAULT_TERMS.seconds, "it had {took} s");
        assert_eq!(world.deeds().last().unwrap(), "destroy x0");

        let world = World::listing([seen::running()]);
        world.is_offered(&Offer { deadline: UnixTime::now(), ..offer_of("n1") });
        world.xl.fails("destroy", usize::MAX);
        assert!(kept(&world).unwrap_err().to_string().contains("it could not be stopped in time"));
        assert!(matches!(world.phase(), Phase::Source(SourcePhase::Withdrawing { .. })), "{}", world.phase());
        assert!(world.told().is_empty(), "others still read that it is here");
    }

    #[test]
    fn an_offer_that_was_reclaimed_or_ended_by_a_stop_meanwhile_is_left_alone() {
        // Reclaimed by a start here.
        let world = World::listing([seen::running()]);
        world.is_offered(&offer_of("n1"));
        let store = world.here.store.clone();
        world.xl.when("list", move |_| drop(store.advance(&x0(), "start", Event::Reclaimed)));
        kept(&world).unwrap();
        assert!(world.deeds().is_empty() && world.phase() == Phase::Idle);

        // Ended by a stop, which shuts it down itself.
        let world = World::listing([seen::running()]);
        world.is_offered(&Offer { deadline: UnixTime::now(), ..offer_of("n1") });
        let store = world.here.store.clone();
        world.xl.when("shutdown", move |fake| {
            fake.shows(Ok(seen::running()));
            let gone = Absence::observe(&Presence::Absent, || false).unwrap();
            store.advance(&x0(), "stop", Event::DomainGone(gone)).unwrap();
        });
        kept(&world).unwrap();
        assert_eq!(
            world.deeds(),
            ["shutdown x0 Drivers"],
            "no force: by now another one may have been booted"
        );
    }

    #[test]
    fn p5_a_transfer_is_not_disturbed_by_the_deadline_and_the_offer_ends_after_one_that_came_to_nothing() {
        let world = World::listing([seen::running()]);
        let offer = offer_of("n1");
        world.is_offered(&offer);
        world.record([Event::Claimed(to_n2())]);
        let (store, began) = (world.here.store.clone(), jump::passed());
        let mut lock = store.begin_transfer(&x0()).unwrap();
        // Whoever carries it lets go long after the deadline; the first who looks then is the keeper.
        jump::meanwhile(move || {
            if jump::passed() - began > Duration::from_secs(400) {
                lock.take();
            }
        });
        world.xl.after("shutdown", seen::absent());
        kept(&world).unwrap();
        assert!(jump::passed() - began > Duration::from_secs(400));
        assert_eq!(world.deeds(), ["shutdown x0 Drivers"], "the stream was settled first: it is still here");
        assert_eq!(world.phase(), Phase::Idle);
    }

    #[test]
    fn what_was_fetched_needs_no_keeper_and_what_has_gone_by_hand_closes_its_offer() {
        let world = World::listing([seen::absent()]);
        world.is_offered(&offer_of("n1"));
        kept(&world).unwrap();
        assert_eq!((world.phase(), world.told()), (Phase::Idle, vec![format!("erase {EPOCH}")]));

        let world = World::attended([seen::absent()]);
        world
            .is_offered(&Offer { deadline: UnixTime::now().plus(Duration::from_secs(20)), ..offer_of("n1") });
        assert!(kept(&world).is_err(), "one that reboots has not gone, and cannot be ended");
        assert!(world.told().is_empty());

        let world = World::listing([seen::running()]);
        kept(&world).unwrap();
        assert!(world.xl.calls.borrow().is_empty(), "there is no offer");
    }

    #[test]
    fn p7_a_guest_that_was_given_up_is_shut_down_at_once_in_the_time_that_its_start_has() {
        let world = World::listing([seen::running()]);
        world.is_offered(&offer_of("n1"));
        let yielded = |record: &mut Record| record.yielded_to = Some(node("n2"));
        world.here.store.advance_with(&x0(), "serve", Event::Yielded(to_n2()), yielded).unwrap();
        world.xl.after("shutdown", seen::absent());
        let began = jump::passed();
        kept(&world).unwrap();
        assert!(jump::passed() - began < Duration::from_secs(5));
        assert_eq!((world.phase(), world.deeds()), (Phase::Idle, vec!["shutdown x0 Drivers".to_owned()]));
    }

    #[test]
    fn one_keeper_at_a_time_and_the_one_that_stands_by_goes_with_the_offer() {
        let world = World::listing([seen::running()]);
        world.is_offered(&offer_of("n1"));
        let _kept = world.here.store.begin_keeping(&x0()).unwrap();
        let store = world.here.store.clone();
        jump::meanwhile(move || {
            if jump::passed() > Duration::from_secs(30) {
                let _ = store.advance(&x0(), "start", Event::Reclaimed);
            }
        });
        kept(&world).unwrap();
        assert!(world.xl.calls.borrow().is_empty(), "it has not looked after it");
    }
}
