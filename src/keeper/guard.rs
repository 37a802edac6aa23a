//! `xen-handoff guard`: what `xen-handoff-guard.service` runs.
//!
//! While the host is up it is the second pair of eyes: an offer whose keeper was killed gets a new one, and
//! what a killed process left of a transfer is settled. When the host goes down, `guard --hold` (the unit's
//! `ExecStop`) holds the shutdown while domains are on offer or on their way, up to the end of their offers.
//! The unit is stopped after the cluster manager, whose stops make the offers, and before all that a transfer
//! needs.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::process::Child;
use std::thread::JoinHandle;
use std::time::Duration;

use super::keep::epoch_on_offer;
use super::warm::Warm;
use crate::clock::{Clock, Deadline, Moment, SystemClock};
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
/// How long an offer may be without a keeper before it gets one from here: its stop has just begun one, which
/// on a slow host needs a moment to come up.
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
    let mut warm = Warm::default();
    let mut said = Obstacle::default();
    loop {
        watch.tend()?;
        let why = warm.tend(&here.root).err().map(|error| error.to_string());
        said.is(why.unwrap_or_default(), |why| {
            if !why.is_empty() {
                log::info!("no connections to other nodes are kept open: {why}");
            }
        });
        SystemClock.pass(LOOK);
    }
}

/// Holds the shutdown of this host until no offer and no transfer is open here any more. Returns at once if
/// the host does not go down.
///
/// # Errors
/// If the folder of records cannot be read or stdout is closed.
pub fn hold(here: &Here) -> anyhow::Result<()> {
    if !goes_down(&here.root) {
        log::info!("this host is not shutting down: nothing is held up");
        return Ok(());
    }
    // To the journal and, as the unit says, to the console.
    held(here, &mut std::io::stdout())
}

/// Until nothing is open here any more; what it waits for is written to `console`.
fn held(here: &Here, console: &mut impl Write) -> anyhow::Result<()> {
    let mut watch = Watch::new(here);
    let mut said: HashMap<DomainName, (String, Moment)> = HashMap::new();
    loop {
        watch.tend()?;
        let open = watch.open()?;
        if open.is_empty() {
            if !said.is_empty() {
                writeln!(console, "no domain is on offer or on its way any more; the shutdown goes on")?;
            }
            return Ok(());
        }
        for (domain, record) in &open {
            let (kind, line) = line_of(domain, record, progress::read(&here.root, domain).as_ref());
            let due =
                said.get(domain).is_none_or(|(before, at)| *before != kind || at.elapsed() >= SAY_AGAIN);
            if due {
                writeln!(console, "{line}")?;
                said.insert(domain.clone(), (kind, Moment::now()));
            }
        }
        SystemClock.pass(LOOK);
    }
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
    unkept: BTreeMap<DomainName, (Epoch, Moment)>,
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
            self.settling.insert(domain.clone(), std::thread::Builder::new().spawn(settle)?);
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
        let (of, since) = self.unkept.entry(domain.clone()).or_insert((epoch, Moment::now()));
        if *of != epoch {
            (*of, *since) = (epoch, Moment::now());
        }
        Ok(since.elapsed() >= KEEPER_COMES)
    }

    /// The domains that a shutdown must wait for. One whose record cannot be read has nobody who could fetch
    /// it: it is not waited for, and keeps nobody from waiting for the others.
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

/// Those that would end domains of the cluster's on this host.
fn meddlers(root: &Root) -> Vec<&'static str> {
    let Ok(systemctl) = Tool::find(root, "systemctl") else { return Vec::new() };
    let is_enabled = |unit: &&str| {
        let enabled = command::run(&systemctl, &["is-enabled", unit], None, SYSTEMD_LIMIT);
        enabled.is_ok_and(|output| output.stdout.trim() == "enabled")
    };
    MEDDLERS.into_iter().filter(is_enabled).collect()
}

fn warn_of_meddlers(root: &Root) {
    for unit in meddlers(root) {
        log::warn!(
            "{unit} is enabled: it stops every domain that still runs here when the host goes down, also those that \
             the cluster left alone (unmanaged, in maintenance); see xen-handoff(8), \"Shutdown of a host\""
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{UnixTime, jump};
    use crate::handoff::handshake::Stage;
    use crate::handoff::{Event, Offer};
    use crate::here::fake::{World, from_n2, node, offer_of, seen, to_n2, x0};
    use crate::moves::progress::Direction;
    use std::cell::RefCell;

    fn runs() -> World {
        World::listing([seen::running()])
    }

    /// Its record in this state.
    fn record_of(world: &World, state: Phase) -> Record {
        let mut record = world.here.store.load(&x0()).unwrap();
        record.state = state;
        record
    }

    #[test]
    fn a_line_says_how_far_where_to_and_how_long() {
        let offer = Offer { deadline: UnixTime::now().plus(Duration::from_secs(40)), ..offer_of("n1") };
        let sending = Phase::Source(SourcePhase::Sending { transfer: to_n2(), offer: Some(offer.clone()) });
        let record = record_of(&runs(), sending);
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
        let (_, line) = line_of(&x0(), &record, Some(&progress));
        assert!(line == "waiting for x0: 63 %, n2, 40 s left" || line.ends_with("39 s left"), "{line}");
        let settling = Phase::Source(SourcePhase::Settling { transfer: to_n2(), offer: Some(offer.clone()) });
        for (state, says) in [
            (Phase::Source(SourcePhase::Offered { offer: offer.clone() }), "on offer, not fetched yet, "),
            (settling, "last step, n2, "),
            (Phase::Target(TargetPhase::Receiving { transfer: from_n2() }), "arriving from n2"),
            (Phase::Target(TargetPhase::Arriving { transfer: from_n2() }), "arriving from n2"),
            (Phase::Target(TargetPhase::Claiming { offer }), "a transfer is about to begin or to end"),
            (Phase::Idle, "a transfer is about to begin or to end"),
        ] {
            let (_, line) = line_of(&x0(), &record_of(&runs(), state), None);
            assert!(line.starts_with(&format!("waiting for x0: {says}")), "{line}");
        }
    }

    #[test]
    fn a_line_says_who_has_ended_an_offer() {
        let world = runs();
        let mut record = record_of(&world, Phase::Source(SourcePhase::Withdrawing { offer: offer_of("n1") }));
        record.written_by = "stop".to_owned();
        let said = |record: &Record| line_of(&x0(), record, None).1;
        assert_eq!(said(&record), "waiting for x0: its offer has ended; it is being shut down");
        record.written_by = "keep".to_owned();
        assert_eq!(said(&record), "waiting for x0: nobody has fetched it; it is being shut down");
        record.yielded_to = Some(node("n2"));
        assert_eq!(
            said(&record),
            "waiting for x0: n2 cannot fetch it and will boot it; it is being shut down"
        );
    }

    #[test]
    fn p3_a_shutdown_waits_for_what_is_on_offer_or_on_its_way_and_for_nothing_else() {
        let open = |world: &World| Watch::new(&world.here).open().unwrap().len();
        let world = runs();
        assert_eq!(open(&world), 0);
        world.record([Event::OfferMade(offer_of("n1"))]);
        assert_eq!(open(&world), 0, "its stop has not reported success");
        world.record([Event::OfferNotRecorded]);
        assert_eq!(open(&world), 1, "withdrawn, and not gone yet");
        for begins in [World::is_sending, World::is_settling, World::is_receiving, World::is_arriving] {
            let world = runs();
            begins(&world);
            assert_eq!(open(&world), 1, "{}", world.phase());
        }
        let world = runs();
        world.record([Event::OfferMade(offer_of("n1"))]);
        let _worker = world.here.store.begin_transfer(&x0()).unwrap();
        assert_eq!(open(&world), 1, "a worker is at it");
    }

    #[test]
    fn one_record_that_cannot_be_read_ends_no_hold_for_the_others_and_is_not_waited_for() {
        let rotten = |world: &World| {
            for name in ["a0.json", "x9.json"] {
                world.file(&format!("run/xen-handoff/{name}"), "rotten");
            }
        };
        let world = runs();
        world.is_offered(&offer_of("n1"));
        rotten(&world);
        let mut watch = Watch::new(&world.here);
        watch.tend().unwrap();
        let open: Vec<DomainName> = watch.open().unwrap().into_iter().map(|(domain, _)| domain).collect();
        assert_eq!(open, [x0()]);

        let world = runs();
        rotten(&world);
        let mut console = Vec::new();
        held(&world.here, &mut console).unwrap();
        assert_eq!((console, jump::passed()), (vec![], Duration::ZERO));
    }

    #[test]
    fn p5_an_offer_without_a_keeper_gets_one_but_not_while_its_own_is_coming_up() {
        let world = runs();
        world.is_offered(&offer_of("n1"));
        let mut watch = Watch::new(&world.here);
        assert!(!watch.is_unkept(&x0()).unwrap(), "its stop has only just begun one");
        SystemClock.pass(KEEPER_COMES);
        assert!(watch.is_unkept(&x0()).unwrap());
        let keeping = world.here.store.begin_keeping(&x0()).unwrap();
        assert!(keeping.is_some() && !watch.is_unkept(&x0()).unwrap() && watch.unkept.is_empty());
        drop(keeping);
        assert!(!watch.is_unkept(&x0()).unwrap(), "a keeper that has just died has its moment, too");
        SystemClock.pass(KEEPER_COMES);
        watch.unkept.get_mut(&x0()).unwrap().0 = Epoch(7);
        assert!(!watch.is_unkept(&x0()).unwrap(), "so has that of another offer");
    }

    #[test]
    fn p5_the_keeper_that_is_started_is_for_this_offer_and_only_one() {
        let world = runs();
        world.is_offered(&offer_of("n1"));
        let asked = world.here.root.join("/asked");
        world.plant("xen-handoff", &format!("echo $* >> {}", asked.display()));
        let mut watch = Watch::new(&world.here);
        watch.tend().unwrap();
        SystemClock.pass(KEEPER_COMES);
        watch.tend().unwrap();
        assert!(watch.unkept.is_empty(), "the new one has its moment");
        watch.tend().unwrap();
        watch.keepers.iter_mut().for_each(|keeper| assert!(keeper.wait().unwrap().success()));
        assert_eq!(std::fs::read_to_string(asked).unwrap(), "keep --domain x0\n");
        watch.tend().unwrap();
        assert!(watch.keepers.is_empty(), "what has ended is not counted");

        let world = runs();
        world.is_offered(&offer_of("n1"));
        world.file("usr/sbin/xen-handoff", "cannot be executed");
        let mut watch = Watch::new(&world.here);
        watch.tend().unwrap();
        SystemClock.pass(KEEPER_COMES);
        watch.tend().unwrap();
        let why = watch.untended.values().next().unwrap().to_string();
        assert!(why.contains("cannot run"), "said, and the others go on: {why}");
    }

    #[test]
    fn p4_what_a_killed_process_left_of_a_transfer_is_settled_and_what_lives_is_left_alone() {
        let world = runs();
        world.is_receiving();
        world.plant("xl", "echo 'Name ID Mem VCPUs State Time(s)'; echo 'Domain-0 0 1024 2 r----- 1.0'");
        let worker = world.here.store.begin_transfer(&x0()).unwrap();
        let mut watch = Watch::new(&world.here);
        watch.tend().unwrap();
        assert!(watch.settling.is_empty() && world.phase().is_in_transfer());
        drop(worker);
        watch.tend().unwrap();
        assert_eq!(watch.settling.len(), 1);
        for thread in std::mem::take(&mut watch.settling).into_values() {
            thread.join().unwrap();
        }
        assert_eq!(world.phase(), Phase::Idle);
        watch.tend().unwrap();
        assert!(watch.settling.is_empty());
    }

    /// What the console shows until nothing is open any more; `turns` is told how often time has passed.
    fn console(world: &World, mut turns: impl FnMut(u32) + 'static) -> Vec<String> {
        let _keeping = world.here.store.begin_keeping(&x0()).unwrap();
        let mut looks = 0;
        jump::meanwhile(move || {
            looks += 1;
            turns(looks);
        });
        let mut console = Vec::new();
        held(&world.here, &mut console).unwrap();
        String::from_utf8(console).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn p3_a_shutdown_is_held_until_the_last_offer_is_over_and_says_why_every_ten_seconds() {
        let world = runs();
        world.is_offered(&offer_of("n1"));
        let record = world.here.root.state_folder().join("x0.json");
        let lines = console(&world, move |looks| {
            if looks == 12 {
                std::fs::remove_file(&record).unwrap();
            }
        });
        assert_eq!(jump::passed(), LOOK * 12);
        // Time of its own passes, too, on a host under load.
        assert!((4..8).contains(&lines.len()), "{lines:?}");
        let (last, waits) = lines.split_last().unwrap();
        assert!(waits.iter().all(|line| line.contains("x0: on offer, not fetched yet, ")), "{lines:?}");
        assert_eq!(last, "no domain is on offer or on its way any more; the shutdown goes on");
    }

    #[test]
    fn what_has_changed_is_said_at_once() {
        let world = runs();
        world.is_offered(&offer_of("n1"));
        let (store, worker) = (world.here.store.clone(), RefCell::new(None));
        let record = world.here.root.state_folder().join("x0.json");
        let lines = console(&world, move |looks| match looks {
            1 => {
                worker.replace(store.begin_transfer(&x0()).unwrap());
                store.advance(&x0(), "test", Event::Claimed(to_n2())).unwrap();
            }
            2 => {
                worker.replace(None);
                std::fs::remove_file(&record).unwrap();
            }
            _ => {}
        });
        assert_eq!((lines.len(), jump::passed()), (3, LOOK * 2), "{lines:?}");
        assert!(lines[1].starts_with("waiting for x0: n2, "), "{lines:?}");
    }

    #[test]
    fn a_host_that_does_not_go_down_is_not_held_and_one_that_does_not_say_so_is() {
        let going_down = |says: Option<&str>| {
            let world = runs();
            if let Some(says) = says {
                world.plant("systemctl", &format!("echo {says}; exit 1"));
            }
            goes_down(&world.here.root)
        };
        assert!(going_down(Some("stopping")));
        assert!(!going_down(Some("running")) && !going_down(Some("degraded")));
        assert!(going_down(None));
        let world = runs();
        world.plant("systemctl", "echo running");
        world.is_offered(&offer_of("n1"));
        hold(&world.here).unwrap();
        assert!(jump::passed() < LOOK);
    }

    #[test]
    fn the_services_that_end_every_domain_are_found_where_they_are_enabled() {
        let world = runs();
        assert_eq!(meddlers(&world.here.root), [] as [&str; 0], "without systemd there are none");
        world.plant(
            "systemctl",
            r#"[ "$*" = "is-enabled xendomains.service" ] && echo enabled || echo disabled"#,
        );
        assert_eq!(meddlers(&world.here.root), ["xendomains.service"]);
    }
}
