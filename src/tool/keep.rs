//! `xen-handoff keep`: sees to it that an offer ends. Started by the stop that made the offer, in a session of its own;
//! ends when the offer does, however that comes.

use std::fs::OpenOptions;
use std::rc::Rc;
use std::time::Duration;

use crate::agent::shutdown;
use crate::clock::{Clock, Deadline, SystemClock, UnixTime};
use crate::cluster::detect;
use crate::command::begin_session;
use crate::domain::DomainName;
use crate::handoff::record::{ShutdownTerms, Store};
use crate::handoff::{Effect, Epoch, Event, Phase, Transfer};
use crate::host::Root;
use crate::toolstack::{ShutdownRequest, Toolstack, xl::Xl};
use crate::transfer::settle;
use crate::transport::inquiry::settle_there;

/// How often the record is looked at. The offer's end is not waited for blindly: it may be claimed or reclaimed.
const LOOK: Duration = Duration::from_secs(1);
/// How long one try to settle a broken transfer may take.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);
/// What destroying may take after the guest's grace is over.
const FORCE: Duration = Duration::from_secs(60);

/// Waits for the end of the offer of `domain`, and ends it at its deadline.
///
/// # Errors
/// If the record cannot be read or the domain cannot be ended. The log says so, too: nobody waits for this process.
pub fn run(root: &Root, domain: &DomainName) -> anyhow::Result<()> {
    begin_session();
    // The stop that started us is over in a moment, and its end must not be kept open by our stdout.
    let nowhere = OpenOptions::new().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&nowhere)?;
    let store = Store::new(root.state_folder());
    let Some(epoch) = store.load(domain)?.state.offer().map(|offer| offer.epoch) else { return Ok(()) };
    loop {
        let record = store.load(domain)?;
        let Some(offer) = record.state.offer().filter(|offer| offer.epoch == epoch).cloned() else {
            log::debug!("domain={domain} the offer {epoch} has ended");
            return Ok(());
        };
        let broken = record.state.is_in_transfer() && !store.is_transferring(domain);
        if !broken && (offer.deadline > UnixTime::now() || store.is_transferring(domain)) {
            SystemClock.pass(LOOK);
            continue;
        }
        if record.state.is_in_transfer() {
            // A sender that was killed: put its record right, then look again.
            if let Some(_lock) = store.begin_transfer(domain)? {
                let ask =
                    |broken: &Transfer| settle_there(root, &broken.target, record.peer.as_ref(), domain);
                settle::source(root, &store, domain, Deadline::after(SETTLE_LIMIT), &ask)?;
            }
            SystemClock.pass(LOOK);
            continue;
        }
        log::warn!("domain={domain} nobody has fetched it; its offer ends now");
        let effects = store.advance(domain, "keep", Event::OfferExpired)?;
        if effects.contains(&Effect::ShutDown) {
            return end(root, &store, domain, epoch, record.terms);
        }
        SystemClock.pass(LOOK);
    }
}

fn end(
    root: &Root,
    store: &Store,
    domain: &DomainName,
    epoch: Epoch,
    terms: Option<ShutdownTerms>,
) -> anyhow::Result<()> {
    let terms = terms.unwrap_or(ShutdownTerms { seconds: 60, acpi: false });
    let how = if terms.acpi { ShutdownRequest::PowerButton } else { ShutdownRequest::Drivers };
    let toolstack: Rc<dyn Toolstack> = Rc::new(Xl::new(root));
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
