//! `xen-handoff keep`: sees to it that an offer ends. Started by the stop that made the offer, in a session of its own;
//! ends when the offer does, however that comes.
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
use crate::agent::shutdown;
use crate::clock::{Clock, Deadline, SystemClock, UnixTime};
use crate::cluster::detect;
use crate::command::begin_session;
use crate::domain::{DomainName, Presence};
use crate::handoff::evidence::Absence;
use crate::handoff::record::{DEFAULT_TERMS, Record, RecordError, Store};
use crate::handoff::{Effect, Epoch, Event, Phase};
use crate::host::Root;
use crate::toolstack::{self, ShutdownRequest};
use crate::transfer::settle;

/// How often the record is looked at. The offer's end is not waited for blindly: it may be claimed or reclaimed.
const LOOK: Duration = Duration::from_secs(1);
/// How long one try to settle a broken transfer may take.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);
/// How often it is looked whether the domain is still there.
const LOOK_HERE: Duration = Duration::from_secs(5);
/// Limit of one listing.
const LIST_LIMIT: Duration = Duration::from_secs(10);
/// What destroying may take after the guest's grace is over.
const FORCE: Duration = Duration::from_secs(60);

/// Waits for the end of the offer of `domain`, and ends it at its deadline. One process does that at a time; another one
/// stands by in case that one is killed.
///
/// # Errors
/// If the record cannot be read or the domain cannot be ended. The log says so, too: nobody waits for this process.
pub fn run(root: &Root, domain: &DomainName) -> anyhow::Result<()> {
    begin_session();
    // The stop that started us is over in a moment, and its end must not be kept open by our stdout.
    let nowhere = OpenOptions::new().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&nowhere)?;
    let store = Store::new(root.state_folder());
    let Some(epoch) = epoch_on_offer(&store, domain)? else { return Ok(()) };
    let _keeping = loop {
        if let Some(lock) = store.begin_keeping(domain)? {
            break lock;
        }
        if epoch_on_offer(&store, domain)? != Some(epoch) {
            return Ok(());
        }
        SystemClock.pass(LOOK);
    };
    let mut prospects = Prospects::default();
    let mut look_here = Deadline::after(LOOK_HERE);
    loop {
        let record = store.load(domain)?;
        let Some(offer) = record.state.offer().filter(|offer| offer.epoch == epoch).cloned() else {
            log::debug!("domain={domain} the offer {epoch} has ended");
            return Ok(());
        };
        // A sender that was killed: put its record right, then look again.
        if settle::if_broken(root, &store, domain, Deadline::after(SETTLE_LIMIT))? {
            SystemClock.pass(LOOK);
            continue;
        }
        if store.is_transferring(domain) {
            SystemClock.pass(LOOK);
            continue;
        }
        if look_here.passed() {
            look_here = Deadline::after(LOOK_HERE);
            if has_gone(root, &store, domain, epoch)? {
                return Ok(());
            }
        }
        let due = match &record.state {
            Phase::Withdrawing { .. } if record.yielded_to.is_some() => record.written_at,
            // Somebody is at it. If he is killed, it falls to us when he must have ended.
            Phase::Withdrawing { .. } => record.written_at.plus(grace_of(&record) + FORCE),
            _ => offer.deadline,
        };
        let event = if due <= UnixTime::now() {
            match &record.yielded_to {
                Some(asker) => log::warn!("domain={domain} shutting it down for {asker}, which will boot it"),
                None => log::warn!("domain={domain} nobody has fetched it; its offer ends now"),
            }
            Event::OfferExpired
        } else if let Phase::Offered { .. } = record.state
            && let Some(nobody) = prospects.nobody_is_left(root, &record)
        {
            log::warn!("domain={domain} nobody is left who could fetch it; its offer ends now");
            Event::Deserted(nobody)
        } else {
            SystemClock.pass(LOOK);
            continue;
        };
        let effects = store.advance(domain, "keep", event)?;
        if effects.contains(&Effect::ShutDown) {
            return end(root, &store, domain, epoch);
        }
        SystemClock.pass(LOOK);
    }
}

/// The offer that somebody has to keep, if there is one: not one that is still being written by its stop.
pub(super) fn epoch_on_offer(store: &Store, domain: &DomainName) -> Result<Option<Epoch>, RecordError> {
    let state = store.load(domain)?.state;
    Ok(state.offer().filter(|_| state.is_offered_away()).map(|offer| offer.epoch))
}

/// Whether the domain has gone without anybody's word: it ended by itself, or somebody moved it by hand. The offer is closed then.
fn has_gone(root: &Root, store: &Store, domain: &DomainName, epoch: Epoch) -> anyhow::Result<bool> {
    let toolstack = toolstack::of(root);
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
    detect(root).clear_up(domain, &effects);
    Ok(true)
}

fn grace_of(record: &Record) -> Duration {
    record.terms.as_ref().unwrap_or(&DEFAULT_TERMS).grace()
}

fn end(root: &Root, store: &Store, domain: &DomainName, epoch: Epoch) -> anyhow::Result<()> {
    let terms = store.load(domain)?.terms.unwrap_or(DEFAULT_TERMS);
    let how = if terms.acpi { ShutdownRequest::PowerButton } else { ShutdownRequest::Drivers };
    let toolstack = toolstack::of(root);
    let deadline = Deadline::after(terms.grace() + FORCE);
    // A stop may end it first, and a start then boot it again: that one is not ours to shut down.
    let still_ours = || {
        store
            .load(domain)
            .is_ok_and(|record| matches!(&record.state, Phase::Withdrawing { offer } if offer.epoch == epoch))
    };
    match shutdown::shut_down_while(toolstack.as_ref(), domain, how, terms.grace(), deadline, &still_ours) {
        Ok((absence, how)) => {
            log::info!("domain={domain} its offer has ended: {how}");
            let effects = store.advance(domain, "keep", Event::DomainGone(absence))?;
            detect(root).clear_up(domain, &effects);
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
