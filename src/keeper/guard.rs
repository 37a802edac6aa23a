//! `xen-handoff guard`: what `xen-handoff-guard.service` runs.
//!
//! While the host is up it is the second pair of eyes: an offer whose keeper was killed gets a new one, and what a killed
//! process left of a transfer is settled. When the host goes down, `guard --hold` (the unit's `ExecStop`) holds the shutdown
//! while domains are on offer or on their way, up to the end of their offers. The unit is stopped after the cluster
//! manager, whose stops make the offers, and before all that a transfer needs.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::process::Child;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::keep::epoch_on_offer;
use crate::clock::{Clock, Deadline, SystemClock};
use crate::command::{self, Tool};
use crate::domain::DomainName;
use crate::handoff::{Epoch, Phase, SourcePhase, TargetPhase};
use crate::here::Here;
use crate::host::Root;
use crate::moves::progress::{self, Progress};
use crate::node::record::Record;
use crate::obstacle::Obstacle;
use crate::transfer::settle;

/// How often the records are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// How long an offer may be without a keeper before it gets one from here: its stop has just begun one, which on a slow host needs a
/// moment to come up.
const KEEPER_COMES: Duration = Duration::from_secs(5);
/// How often a line that has not changed but for its numbers is said again.
const SAY_AGAIN: Duration = Duration::from_secs(10);
/// How long one try to settle a broken transfer may take.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);
/// Limit of a question to systemd.
const SYSTEMD_LIMIT: Duration = Duration::from_secs(20);
/// The services that shut down or save *every* domain of a host with it, the cluster's too.
const MEDDLERS: [&str; 2] = ["xendomains.service", "libvirt-guests.service"];

/// Watches over the offers and transfers of this host for as long as it runs.
///
/// # Errors
/// If the folder of records cannot be read; systemd starts it again.
pub fn watch(here: &Here) -> anyhow::Result<()> {
    warn_of_meddlers(&here.root);
    let mut watch = Watch::new(here);
    loop {
        watch.tend()?;
        SystemClock.pass(LOOK);
    }
}

/// Holds the shutdown of this host until no offer and no transfer is open here any more. Returns at once if the host does
/// not go down.
///
/// # Errors
/// If the folder of records cannot be read or stdout is closed.
pub fn hold(here: &Here) -> anyhow::Result<()> {
    if !goes_down(&here.root) {
        log::info!("this host is not shutting down: nothing is held up");
        return Ok(());
    }
    let mut watch = Watch::new(here);
    let mut said: HashMap<DomainName, (String, Instant)> = HashMap::new();
    loop {
        watch.tend()?;
        let open = watch.open()?;
        if open.is_empty() {
            if !said.is_empty() {
                say("no domain is on offer or on its way any more; the shutdown goes on")?;
            }
            return Ok(());
        }
        for (domain, record) in &open {
            let (kind, line) = line_of(domain, record, progress::read(&here.root, domain).as_ref());
            let due =
                said.get(domain).is_none_or(|(before, at)| *before != kind || at.elapsed() >= SAY_AGAIN);
            if due {
                say(&line)?;
                said.insert(domain.clone(), (kind, Instant::now()));
            }
        }
        SystemClock.pass(LOOK);
    }
}

/// To the journal and, as the unit says, to the console.
fn say(line: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{line}")
}

/// What it waits for, in a word or two and in a line.
fn line_of(domain: &DomainName, record: &Record, progress: Option<&Progress>) -> (String, String) {
    let left = record.state.offer().map(|offer| offer.deadline.from_now().as_secs());
    let left = left.map(|left| format!(", {left} s left")).unwrap_or_default();
    let percent =
        progress.and_then(Progress::percent).map(|percent| format!("{percent} %, ")).unwrap_or_default();
    let (kind, what) = match &record.state {
        Phase::Source(SourcePhase::Sending { transfer, .. }) => {
            ("on its way", format!("{percent}{}{left}", transfer.target))
        }
        Phase::Source(SourcePhase::Settling { transfer, .. }) => {
            ("last step", format!("last step, {}{left}", transfer.target))
        }
        Phase::Target(TargetPhase::Receiving { transfer } | TargetPhase::Arriving { transfer }) => {
            ("arriving", format!("arriving from {}", transfer.source))
        }
        Phase::Source(SourcePhase::Withdrawing { .. }) => {
            let why = match &record.yielded_to {
                Some(asker) => format!("{asker} cannot fetch it and will boot it"),
                // The keeper, at the offer's end; or a stop, say, before it.
                None if record.written_by == "keep" => "nobody has fetched it".to_owned(),
                None => "its offer has ended".to_owned(),
            };
            ("shutting down", format!("{why}; it is being shut down"))
        }
        Phase::Source(SourcePhase::Offering { .. } | SourcePhase::Offered { .. }) => {
            ("on offer", format!("on offer, not fetched yet{left}"))
        }
        Phase::Idle
        | Phase::Source(SourcePhase::Left { .. })
        | Phase::Target(TargetPhase::Claiming { .. } | TargetPhase::Arrived { .. }) => {
            ("transfer", "a transfer is about to begin or to end".to_owned())
        }
    };
    (kind.to_owned(), format!("waiting for {domain}: {what}"))
}

/// What is being done about the host's records.
struct Watch<'a> {
    here: &'a Here,
    keepers: Vec<Child>,
    /// The offers that have no keeper, and since when.
    unkept: BTreeMap<DomainName, (Epoch, Instant)>,
    settling: BTreeMap<DomainName, JoinHandle<()>>,
    /// What has been said of the records that cannot be read.
    unreadable: BTreeMap<DomainName, Obstacle>,
    /// What has been said of what cannot be tended.
    untended: BTreeMap<DomainName, Obstacle>,
}

impl<'a> Watch<'a> {
    fn new(here: &'a Here) -> Self {
        Self {
            here,
            keepers: Vec::new(),
            unkept: BTreeMap::new(),
            settling: BTreeMap::new(),
            unreadable: BTreeMap::new(),
            untended: BTreeMap::new(),
        }
    }

    /// Sees to it that every offer has a keeper and that every broken transfer is being settled.
    fn tend(&mut self) -> anyhow::Result<()> {
        self.keepers.retain_mut(|keeper| !matches!(keeper.try_wait(), Ok(Some(_))));
        self.settling.retain(|_, thread| !thread.is_finished());
        for domain in self.here.store.domains()? {
            let why = self.tend_one(&domain).err().map(|error| format!("{error:#}"));
            let said = self.untended.entry(domain.clone()).or_default();
            said.is(why.unwrap_or_default(), |why| {
                if !why.is_empty() {
                    log::warn!("domain={domain} {why}");
                }
            });
        }
        Ok(())
    }

    fn tend_one(&mut self, domain: &DomainName) -> anyhow::Result<()> {
        if self.is_unkept(domain)? {
            // The new one needs its moment, too.
            self.unkept.remove(domain);
            log::warn!("domain={domain} its offer has no keeper: starting one");
            let (keeper, _its_stdout) =
                command::detach(&self.here.root, &["keep", "--domain", domain.as_str()])?;
            self.keepers.push(keeper);
        }
        let broken =
            self.here.store.load(domain)?.state.is_in_transfer() && !self.here.store.is_transferring(domain);
        if broken && !self.settling.contains_key(domain) {
            let (seed, name) = (self.here.seed(), domain.clone());
            let settle = move || match settle::if_broken(&seed.grow(), &name, Deadline::after(SETTLE_LIMIT)) {
                Ok(_) => {}
                Err(error) => log::warn!("domain={name} {error:#}"),
            };
            self.settling.insert(domain.clone(), std::thread::spawn(settle));
        }
        Ok(())
    }

    /// Whether the domain is on offer and has been without a keeper for longer than one needs to come.
    fn is_unkept(&mut self, domain: &DomainName) -> anyhow::Result<bool> {
        let epoch = match epoch_on_offer(&self.here.store, domain)? {
            Some(epoch) if self.here.store.begin_keeping(domain)?.is_some() => epoch,
            _ => {
                self.unkept.remove(domain);
                return Ok(false);
            }
        };
        let (of, since) = self.unkept.entry(domain.clone()).or_insert((epoch, Instant::now()));
        if *of != epoch {
            (*of, *since) = (epoch, Instant::now());
        }
        Ok(since.elapsed() >= KEEPER_COMES)
    }

    /// The domains that a shutdown must wait for. One whose record cannot be read has nobody who could fetch it: it is not waited for,
    /// and keeps nobody from waiting for the others.
    fn open(&mut self) -> anyhow::Result<Vec<(DomainName, Record)>> {
        let mut open = Vec::new();
        for domain in self.here.store.domains()? {
            let record = match self.here.store.load(&domain) {
                Ok(record) => record,
                Err(error) => {
                    let said = self.unreadable.entry(domain.clone()).or_default();
                    said.is(error.to_string(), |why| {
                        log::error!("domain={domain} the shutdown does not wait for it: {why}");
                    });
                    continue;
                }
            };
            let on_its_way = record.state.is_in_transfer() || self.here.store.is_transferring(&domain);
            if record.state.is_offered_away() || on_its_way {
                open.push((domain, record));
            }
        }
        Ok(open)
    }
}

fn goes_down(root: &Root) -> bool {
    let asked = Tool::find(root, "systemctl")
        .and_then(|systemctl| command::run(&systemctl, &["is-system-running"], None, SYSTEMD_LIMIT));
    match asked {
        // Its exit status only says whether all is well.
        Ok(output) => output.stdout.trim() == "stopping",
        Err(error) => {
            log::warn!(
                "systemd does not say whether this host is shutting down ({error}): it is held up while something is open"
            );
            true
        }
    }
}

fn warn_of_meddlers(root: &Root) {
    let Ok(systemctl) = Tool::find(root, "systemctl") else { return };
    for unit in MEDDLERS {
        let enabled = command::run(&systemctl, &["is-enabled", unit], None, SYSTEMD_LIMIT);
        if enabled.is_ok_and(|output| output.stdout.trim() == "enabled") {
            log::warn!(
                "{unit} is enabled: it stops every domain that still runs here when the host goes down, also those that \
                 the cluster left alone (unmanaged, in maintenance); see xen-handoff(8), \"Shutdown of a host\""
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixTime;
    use crate::handoff::handshake::Stage;
    use crate::handoff::{Epoch, Event, Offer, Transfer};
    use crate::host::NodeName;
    use crate::moves::progress::Direction;
    use crate::node::record::Store;

    fn offer(deadline: UnixTime) -> Offer {
        Offer {
            domain: DomainName::new("x0").unwrap(),
            source: NodeName::new("node1").unwrap(),
            epoch: Epoch(7),
            made_at: UnixTime::now(),
            deadline,
        }
    }

    #[test]
    fn a_line_says_how_far_where_to_and_how_long() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().to_owned());
        let x0 = DomainName::new("x0").unwrap();
        let transfer = Transfer {
            epoch: Epoch(7),
            source: NodeName::new("node1").unwrap(),
            target: NodeName::new("node2").unwrap(),
        };
        store.advance(&x0, "test", Event::StreamOpened(transfer.clone())).unwrap();
        let mut record = store.load(&x0).unwrap();
        let offer = offer(UnixTime::now().plus(Duration::from_secs(40)));
        record.state = Phase::Source(SourcePhase::Sending { transfer, offer: Some(offer) });
        let progress = Progress {
            direction: Direction::Outgoing,
            bytes: 81 << 20,
            wire: None,
            memory_mib: Some(128),
            stage: Stage::Stream,
            started_at: UnixTime(1),
            updated_at: UnixTime(2),
            mib_per_second: None,
            round: None,
            waits: None,
        };
        let (_, line) = line_of(&x0, &record, Some(&progress));
        assert!(line == "waiting for x0: 63 %, node2, 40 s left" || line.ends_with("39 s left"), "{line}");
    }

    #[test]
    fn a_line_says_who_has_ended_an_offer() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().to_owned());
        let x0 = DomainName::new("x0").unwrap();
        store.advance(&x0, "stop", Event::OfferMade(offer(UnixTime(1)))).unwrap();
        store.advance(&x0, "stop", Event::OfferNotRecorded).unwrap();
        let mut record = store.load(&x0).unwrap();
        let said = |record: &Record| line_of(&x0, record, None).1;
        assert_eq!(said(&record), "waiting for x0: its offer has ended; it is being shut down");
        record.written_by = "keep".to_owned();
        assert_eq!(said(&record), "waiting for x0: nobody has fetched it; it is being shut down");
        record.yielded_to = Some(NodeName::new("n2").unwrap());
        assert_eq!(
            said(&record),
            "waiting for x0: n2 cannot fetch it and will boot it; it is being shut down"
        );
    }

    #[test]
    fn a_shutdown_waits_for_what_is_on_offer_and_for_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        let here = Here::new(&root);
        let mut watch = Watch::new(&here);
        let x0 = DomainName::new("x0").unwrap();
        assert!(watch.open().unwrap().is_empty());
        here.store.advance(&x0, "test", Event::OfferMade(offer(UnixTime(1)))).unwrap();
        assert!(watch.open().unwrap().is_empty(), "its stop has not reported success");
        here.store.advance(&x0, "test", Event::OfferNotRecorded).unwrap();
        assert_eq!(watch.open().unwrap().len(), 1, "withdrawn, and not gone yet");
    }

    #[test]
    fn one_record_that_cannot_be_read_ends_no_hold_for_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        let here = Here::new(&root);
        let mut watch = Watch::new(&here);
        let x0 = DomainName::new("x0").unwrap();
        here.store.advance(&x0, "test", Event::OfferMade(offer(UnixTime(1)))).unwrap();
        here.store.advance(&x0, "test", Event::OfferNotRecorded).unwrap();
        for rotten in ["a0.json", "x9.json"] {
            std::fs::write(root.state_folder().join(rotten), "rotten").unwrap();
        }
        watch.tend().unwrap();
        let open: Vec<DomainName> = watch.open().unwrap().into_iter().map(|(domain, _)| domain).collect();
        assert_eq!(open, [x0]);
    }

    #[test]
    fn p5_an_offer_without_a_keeper_gets_one_but_not_while_its_own_is_coming_up() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        let here = Here::new(&root);
        let mut watch = Watch::new(&here);
        let x0 = DomainName::new("x0").unwrap();
        here.store.advance(&x0, "test", Event::OfferMade(offer(UnixTime(1)))).unwrap();
        here.store.advance(&x0, "test", Event::OfferNotRecorded).unwrap();
        assert!(!watch.is_unkept(&x0).unwrap(), "its stop has only just begun one");
        let long_ago = Instant::now().checked_sub(KEEPER_COMES).unwrap();
        watch.unkept.get_mut(&x0).unwrap().1 = long_ago;
        assert!(watch.is_unkept(&x0).unwrap());
        let keeping = here.store.begin_keeping(&x0).unwrap();
        assert!(keeping.is_some() && !watch.is_unkept(&x0).unwrap() && watch.unkept.is_empty());
        drop(keeping);
        assert!(!watch.is_unkept(&x0).unwrap(), "a keeper that has just died has its moment, too");
    }
}
