//! `start`: the domain runs here already; or this node's own offer is reclaimed; or another node's offer is
//! claimed and the running domain pulled over; or, with evidence that nobody else can be running it, it is
//! booted.
//!
//! Everything that may yet change is tried again until the action's deadline, since to the cluster a failed
//! start is final. Then start fails, and says what stood in the way.

use std::fmt;
use std::time::Duration;

use super::context::{Agent, TRY_AGAIN};
use super::monitor::RESTARTS;
use super::yielding::{Lack, Tries};
use crate::clock::{Clock, LOOK_AGAIN, Moment, SystemClock, UnixTime};
use crate::cluster::{ClusterError, Peer};
use crate::domain::{DomainId, DomainName, Presence};
use crate::handoff::evidence::{Doubt, Inquiry, NobodyElse, PeerReport, PeerSays};
use crate::handoff::ledger::{Entries, LedgerSays};
use crate::handoff::{Effect, Event, Offer, Phase, SourcePhase, TargetPhase, Transfer};
use crate::host::NodeName;
use crate::moves::progress::Direction;
use crate::obstacle::Obstacle;
use crate::ocf::exit_code::{ExitCode, Failure};
use crate::parameters::Unreachable;
use crate::toolstack::LIST_LIMIT;
use crate::worker::{Outcome, slot_here};

/// Time that must be left when there is no slot.
const SLOT_LEAVES: Duration = Duration::from_secs(2);
/// Time that must be left for a boot to be begun.
const BOOT_NEEDS: Duration = Duration::from_secs(5);
/// Time that is left for a stream when room has been made for what it brings.
const TO_FETCH: Duration = Duration::from_secs(30);

/// What a start did.
#[derive(Debug)]
enum Started {
    /// It ran here.
    AlreadyRunning(DomainId),
    /// It was offered by this very node and never left.
    Reclaimed(DomainId),
    /// It was fetched, running, from there.
    Fetched(NodeName),
    /// It goes on from its snapshot.
    Restored(DomainId),
    /// It was booted.
    Booted(DomainId),
}

impl fmt::Display for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyRunning(id) => write!(f, "runs here already (domid {id})"),
            Self::Reclaimed(id) => write!(f, "its own offer reclaimed (domid {id})"),
            Self::Fetched(node) => write!(f, "fetched, running, from {node}"),
            Self::Restored(id) => write!(f, "restored from its snapshot (domid {id})"),
            Self::Booted(id) => write!(f, "booted (domid {id})"),
        }
    }
}

/// What the ledger counts as when the cluster manager that called us has gone.
const NO_CLUSTER: &str = "the cluster manager of this node has gone";

/// Since when a source with an open offer has not answered.
#[derive(Debug, Default)]
struct Silence {
    of: Option<(NodeName, Moment)>,
    /// A node that the cluster has lost is asked to be fenced once: without a fencing device it will not be.
    asked_for_the_lost: bool,
    /// In how many rounds some node has not answered.
    rounds: u32,
    /// What has come of the offers, as it was said last.
    said: Obstacle,
}

/// What one round came to.
enum Round {
    Done(Started),
    /// Not yet, and nothing else is worth a try in this round: it runs elsewhere, on offer, and there is no
    /// slot for its move.
    NoSlot(String),
    /// Not yet; the text says what stands in the way.
    Again(String),
}

/// What came of weighing whether anybody else can be running it.
enum Verdict {
    /// It could be told.
    Settled(Round),
    /// A node is silent; `source` if it has an open offer.
    Silent { doubt: Doubt, source: Option<SilentSource> },
}

/// A node with an open offer that does not answer.
struct SilentSource {
    node: NodeName,
    /// Whether the cluster has lost it.
    lost: bool,
}

impl Agent {
    /// Makes the domain run here.
    ///
    /// # Errors
    /// `Generic` with what stood in the way at the deadline; `NotInstalled` or `Configured` for what no
    /// waiting cures.
    pub(super) fn start(&self) -> Result<ExitCode, Failure> {
        self.config_file()?;
        let mut obstacle = Obstacle::default();
        let mut silence = Silence::default();
        let mut tries = Tries::default();
        // A round that could not reach anybody for lack of time would hide what the round before it found
        // out.
        let last_round = self.deadline.less(self.last_round());
        let started =
            SystemClock.wait_until(self.deadline, TRY_AGAIN, || match self.round(&mut silence, &mut tries) {
                Ok(Round::Done(started)) => Some(Ok(Some(started))),
                Ok(Round::Again(why) | Round::NoSlot(why)) => {
                    obstacle.is(why, |why| {
                        log::warn!("domain={} node={} start waits: {why}", self.domain, self.node);
                    });
                    (last_round.passed() && !tries.waits_for_an_end()).then_some(Ok(None))
                }
                Err(failure) => Some(Err(failure)),
            });
        match started {
            Some(Ok(Some(started))) => {
                log::info!("domain={} node={} start: {started}", self.domain, self.node);
                if matches!(started, Started::AlreadyRunning(_)) {
                    self.runs_by_itself();
                }
                self.attach_devices()?;
                self.share_memory();
                self.wait_until_healthy()?;
                Ok(ExitCode::Success)
            }
            Some(Err(failure)) => Err(failure),
            None | Some(Ok(None)) => Err(self.generic(match tries.why {
                // What came last is often only what follows from it.
                Some(why) => format!("{why}; in the end: {obstacle}; it was not started here"),
                None => format!("{obstacle}; it was not started here"),
            })),
        }
    }

    /// What must be left of the action's time for a round that asks others.
    pub(super) fn last_round(&self) -> Duration {
        self.parameters.reach.connect_timeout
    }

    fn round(&self, silence: &mut Silence, tries: &mut Tries) -> Result<Round, Failure> {
        self.wait_for_transfer(self.deadline)?;
        let (phase, presence) = (self.phase()?, self.presence());
        if self.clears_leftover(&presence, &phase) {
            return Ok(Round::Again("what was left of it here was destroyed".to_owned()));
        }
        match &presence {
            Presence::Running(id) => self.runs_here(*id, &phase),
            Presence::Absent if self.is_given_its_name_back() => {
                Ok(Round::Again("it was renamed by hand".to_owned()))
            }
            Presence::Absent if self.toolstack.is_attended(&self.domain) => {
                Ok(Round::Again(RESTARTS.to_owned()))
            }
            Presence::Absent => self.acquire(&presence, phase, silence, tries),
            Presence::Unknown(_)
            | Presence::Building(_)
            | Presence::Rebooting(_)
            | Presence::Dying(_)
            | Presence::Incoming(_)
            | Presence::MigratedAway(_) => Ok(Round::Again(format!("it is {presence} here"))),
            Presence::Paused(_) | Presence::Crashed(_) | Presence::Frozen(_) | Presence::ShutDown(_) => {
                Err(self
                    .generic(format!("it is {presence} here; nothing was changed: a stop clears it away")))
            }
        }
    }

    /// It runs here: whose is it?
    fn runs_here(&self, id: DomainId, phase: &Phase) -> Result<Round, Failure> {
        let (event, started) = match phase {
            Phase::Source(SourcePhase::Offering { .. } | SourcePhase::Offered { .. }) => {
                (Event::Reclaimed, Started::Reclaimed(id))
            }
            Phase::Target(TargetPhase::Arrived { transfer }) => {
                (Event::Confirmed, Started::Fetched(transfer.source.clone()))
            }
            Phase::Idle
            | Phase::Source(SourcePhase::Left { .. })
            | Phase::Target(TargetPhase::Claiming { .. }) => (Event::Confirmed, Started::AlreadyRunning(id)),
            Phase::Source(SourcePhase::Withdrawing { .. }) => {
                return Ok(Round::Again("its offer has ended and it is being shut down here".to_owned()));
            }
            Phase::Source(SourcePhase::Sending { .. } | SourcePhase::Settling { .. })
            | Phase::Target(TargetPhase::Receiving { .. } | TargetPhase::Arriving { .. }) => {
                return Ok(Round::Again(format!("a transfer of it has not come to its end here ({phase})")));
            }
        };
        let effects = self.advance("start", event).map_err(|error| self.generic(error))?;
        if effects.contains(&Effect::ReportRunning) {
            return Ok(Round::Done(started));
        }
        Ok(Round::Again(
            "its phase here does not allow to report that it runs: see xen-handoff status".to_owned(),
        ))
    }

    /// It is not here: an offer, or a boot.
    fn acquire(
        &self,
        presence: &Presence,
        phase: Phase,
        silence: &mut Silence,
        tries: &mut Tries,
    ) -> Result<Round, Failure> {
        if let Phase::Source(SourcePhase::Settling { transfer, .. })
        | Phase::Target(TargetPhase::Arriving { transfer }) = &phase
        {
            return Ok(Round::Again(format!(
                "a migration from {} to {} broke off in its last step: see xen-handoff recover",
                transfer.source, transfer.target
            )));
        }
        if phase.offer().is_some() {
            // It was offered by this node and has come to its end meanwhile.
            let Some(absence) = self.absence(presence) else {
                return Ok(Round::Again("it is about to end here".to_owned()));
            };
            self.advance("start", Event::DomainGone(absence)).map_err(|error| self.generic(error))?;
        }
        let sent_to = match &phase {
            Phase::Source(SourcePhase::Left { transfer }) => Some(transfer.target.clone()),
            _ => None,
        };
        let mut heard: Vec<PeerReport> = Vec::new();
        for offer in self.offers_of_others() {
            match self.fetch_or_end(&offer, &mut heard, tries)? {
                round @ (Round::Done(_) | Round::NoSlot(_)) => return Ok(round),
                Round::Again(why) => {
                    silence.said.is(why, |why| log::info!("domain={} {why}", self.domain));
                }
            }
        }
        match self.prove(heard, sent_to.as_ref(), self.patience(silence.rounds))? {
            Verdict::Settled(round) => Ok(round),
            Verdict::Silent { doubt, source } => {
                silence.rounds += 1;
                self.about_a_silent_source(source.as_ref(), silence);
                Ok(Round::Again(doubt.to_string()))
            }
        }
    }

    /// Weighs all that can be known, and boots the domain if nobody else can be running it.
    ///
    /// The order counts. The transfer lock comes first: two starts that ask each other both hear "about to
    /// begin". Then what the cluster knows of the others, then the ledger: an offer is in it before its stop
    /// tells the cluster anything. Then the others themselves; and, where a push is open, once more, since a
    /// copy may have gone from one to the other between two answers.
    fn prove(
        &self,
        heard: Vec<PeerReport>,
        sent_to: Option<&NodeName>,
        patience: Duration,
    ) -> Result<Verdict, Failure> {
        let not_yet = |why: &str| Ok(Verdict::Settled(Round::Again(why.to_owned())));
        // No stream to here can begin meanwhile.
        let Some(_lock) =
            self.here.store.begin_transfer(&self.domain).map_err(|error| self.generic(error))?
        else {
            return not_yet("a transfer of it to this node is under way");
        };
        let known = match self.known_peers() {
            Ok(known) => known,
            Err(why) => return not_yet(&why),
        };
        let ledger = self.ledger();
        let weigh = |peers: &[PeerReport]| self.weigh(&ledger, peers, sent_to);
        let mut weighed = weigh(&self.ask(&known, heard, patience));
        let none = Entries::default();
        let entries = if let LedgerSays::Entries { entries, .. } = &ledger { entries } else { &none };
        if weighed.is_ok() && !entries.pushes.is_empty() {
            weighed = weigh(&self.ask(&known, Vec::new(), patience));
        }
        match weighed {
            Ok(nobody) => {
                if let Some(why) = self.former_elsewhere(&known, patience) {
                    return not_yet(&why);
                }
                // All of them are accounted for.
                self.take_name();
                entries.epochs().for_each(|epoch| self.cluster.ledger().erase(&self.domain, epoch));
                self.boot(nobody).map(Verdict::Settled)
            }
            Err(doubt) => {
                let Doubt::Silent { node, .. } = &doubt else {
                    return not_yet(&doubt.to_string());
                };
                let source = entries.offers.iter().any(|offer| offer.source == *node).then(|| SilentSource {
                    node: node.clone(),
                    lost: known.iter().any(|peer| peer.node == *node && peer.lost),
                });
                Ok(Verdict::Silent { doubt, source })
            }
        }
    }

    /// What all of that says of a boot here.
    pub(super) fn weigh(
        &self,
        ledger: &LedgerSays,
        peers: &[PeerReport],
        sent_to: Option<&NodeName>,
    ) -> Result<NobodyElse, Doubt> {
        let longest_offer = self.longest_offer();
        NobodyElse::conclude(&Inquiry { here: &self.node, ledger, longest_offer, peers, sent_to })
    }

    /// The ledger's word, without what this node itself has offered: the record knows of that.
    pub(super) fn ledger(&self) -> LedgerSays {
        match self.cluster.ledger().read(&self.domain) {
            LedgerSays::Entries { mut entries, age } => {
                entries.offers.retain(|offer| offer.source != self.node);
                LedgerSays::Entries { entries, age }
            }
            LedgerSays::NoCluster if self.environment.is_called_by_a_cluster() => {
                LedgerSays::Unreadable(NO_CLUSTER.to_owned())
            }
            other => other,
        }
    }

    /// Has a silent source fenced: with `handoff_unreachable=fence` when it has been silent for long enough,
    /// and always when the cluster has lost it and is about to fence it anyway, which it does not before this
    /// start has ended. Whether that is proof is weighed in the next round.
    fn about_a_silent_source(&self, source: Option<&SilentSource>, silence: &mut Silence) {
        let Some(SilentSource { node: source, lost }) = source else { return silence.of = None };
        if silence.of.as_ref().is_none_or(|(node, _)| node != source) {
            silence.of = Some((source.clone(), Moment::now()));
        }
        let Some((_, since)) = &silence.of else { return };
        let why = if *lost && !silence.asked_for_the_lost {
            silence.asked_for_the_lost = true;
            "the cluster has lost it and waits for this start"
        } else if self.parameters.unreachable == Unreachable::Fence
            && since.elapsed() >= self.parameters.peer_timeout
        {
            "handoff_unreachable=fence"
        } else {
            return;
        };
        log::warn!(
            "domain={} {source} has made an offer and does not answer: fencing it ({why})",
            self.domain
        );
        match self.cluster.fence(source, self.deadline.left() / 2) {
            Ok(()) => log::warn!("domain={} {source} was fenced", self.domain),
            Err(error) => log::error!("domain={} {source} could not be fenced: {error}", self.domain),
        }
        // Not again before it has had the time to come back.
        silence.of = None;
    }

    /// The open offers. One of this node, whose record knows of none, has ended: the host came up anew since.
    fn offers_of_others(&self) -> Vec<Offer> {
        let ledger = self.cluster.ledger();
        // A ledger that cannot be read is a doubt, weighed where the boot is decided.
        let (own, others): (Vec<Offer>, Vec<Offer>) = ledger
            .entries(&self.domain)
            .unwrap_or_default()
            .offers
            .into_iter()
            .partition(|offer| offer.source == self.node);
        own.iter().for_each(|offer| ledger.erase(&self.domain, offer.epoch));
        others
    }

    /// How long after it was made an offer's domain can still be running at its source: the offer's life, a
    /// transfer that began at its end, and the shutdown after that.
    pub(super) fn longest_offer(&self) -> Duration {
        let action = self.environment.timeout.unwrap_or(Duration::from_secs(300));
        let grace = self.parameters.shutdown_timeout.unwrap_or(action);
        let spans = [self.parameters.handoff_timeout, action, grace, Duration::from_secs(60)];
        spans.into_iter().fold(Duration::ZERO, Duration::saturating_add)
    }

    /// Pulls the running domain over; or has the source end it, where it cannot be pulled, for a boot here.
    fn fetch_or_end(
        &self,
        offer: &Offer,
        heard: &mut Vec<PeerReport>,
        tries: &mut Tries,
    ) -> Result<Round, Failure> {
        let source = &offer.source;
        if tries.waits_for_the_end_of(offer) {
            return Ok(Round::Again(format!("{source} shuts it down, to be booted here")));
        }
        let over = |tries: &Tries| tries.are_over(self.deadline.left(), self.reserved(tries));
        let mut round = Round::Again(String::new());
        match self.lack() {
            Some(Lack::ToRun(lack)) => {
                return Err(self.generic(format!(
                    "{source} offers it, and this node cannot run it: {lack}; it was not started here and runs on there"
                )));
            }
            Some(Lack::ToMove(lack)) => tries.will_never(format!("it cannot be moved here: {lack}")),
            Some(Lack::Now(lack)) if over(tries).is_none() => {
                return Ok(Round::NoSlot(format!(
                    "{source} offers it, and this node waits for memory: {lack}"
                )));
            }
            _ if over(tries).is_none() => round = self.claim(offer, heard, tries)?,
            _ => {}
        }
        if let Round::Done(_) = round {
            return Ok(round);
        }
        let Some(why) = over(tries) else { return Ok(round) };
        if tries.could_not_run() {
            return Err(self.generic(format!("{why}; it was not started here and runs on at {source}")));
        }
        Ok(Round::Again(match self.has_it_yielded(offer, &why, tries, heard) {
            Ok(()) => format!("{source} shuts it down, to be booted here: {why}"),
            Err(not) => format!("it cannot be fetched: {why}; {not}"),
        }))
    }

    /// Pulls the running domain over.
    fn claim(&self, offer: &Offer, heard: &mut Vec<PeerReport>, tries: &mut Tries) -> Result<Round, Failure> {
        let source = &offer.source;
        let peer = match self.transport.address(source) {
            Ok(address) => address,
            Err(error) => return Ok(Round::Again(error.to_string())),
        };
        let transfer = Transfer { epoch: offer.epoch, source: source.clone(), target: self.node.clone() };
        let effects =
            self.advance("start", Event::OfferFound(offer.clone())).map_err(|error| self.generic(error))?;
        if !effects.iter().any(|effect| matches!(effect, Effect::Claim(_))) {
            return Ok(Round::Again(
                "its phase here does not allow to fetch it: see xen-handoff status".to_owned(),
            ));
        }
        // Not beyond the offer's own end, after which there is nothing to fetch; with enough left of the
        // action to say why.
        let (until, in_time) =
            (self.streams_until(tries), self.parameters.reach.connect_timeout.saturating_add(SLOT_LEAVES));
        let enough = self.deadline.less(in_time).min(until);
        let in_line = enough.within(offer.deadline.from_now().saturating_add(Duration::from_secs(1)));
        let slot = match slot_here(&self.here, &self.domain, &self.resource, Direction::Incoming, in_line) {
            Ok(slot) => slot,
            Err(why) if offer.deadline > UnixTime::now() => return Ok(Round::NoSlot(why)),
            Err(why) => return Ok(Round::Again(why)),
        };
        // When it is its turn: what others give is theirs meanwhile.
        let _room = match self.make_room(self.deadline.less(TO_FETCH)) {
            Ok(room) => room,
            Err(why) => return Ok(Round::Again(format!("{source} offers it, and {why}"))),
        };
        log::info!(
            "domain={} node={} offer={} fetching it from {source}",
            self.domain,
            self.node,
            offer.epoch.rfc3339()
        );
        match self.employ("fetch", transfer, peer, UnixTime::now(), until, Some(&slot)) {
            // Seen with our own eyes before the cluster is told.
            Outcome::Moved => match self.presence() {
                Presence::Running(id) => self.runs_here(id, &self.phase()?),
                other => Ok(Round::Again(format!("it has arrived from {source} and is {other}"))),
            },
            Outcome::Refused { reason, stands } => {
                if let Some((presence, phase)) = stands.map(|stands| *stands) {
                    tries.was_refused(&presence, &phase);
                    heard.push(PeerReport {
                        node: source.clone(),
                        says: PeerSays::Stands { presence, phase, ended: None },
                        cleared: false,
                    });
                }
                Ok(Round::Again(format!("{source} refuses the claim: {reason}")))
            }
            Outcome::Busy { reason } if offer.deadline > UnixTime::now() => Ok(Round::NoSlot(reason)),
            Outcome::Busy { reason } => Ok(Round::Again(reason)),
            Outcome::Failed { reason } => {
                Ok(Round::Again(format!("fetching it from {source} failed: {reason}")))
            }
            Outcome::Broken { reason } => {
                let why = format!("fetching it from {source} failed: {reason}");
                tries.broke(&why);
                Ok(Round::Again(why))
            }
            Outcome::Undecided { reason } => {
                Ok(Round::Again(format!("fetching it from {source} has no clear end: {reason}")))
            }
        }
    }

    /// Every other node, and what the cluster knows of it.
    ///
    /// # Errors
    /// Why they are not known.
    pub(super) fn known_peers(&self) -> Result<Vec<Peer>, String> {
        match self.cluster.peers(&self.node, &self.resource) {
            Ok(peers) => Ok(peers),
            Err(ClusterError::NotRunning) if !self.environment.is_called_by_a_cluster() => {
                if !self.said_alone.replace(true) {
                    log::warn!("domain={} no cluster manager runs here: nobody else is asked", self.domain);
                }
                Ok(Vec::new())
            }
            Err(error) => Err(format!("could not find out which other nodes there are: {error}")),
        }
    }

    /// How long the next question may take: twice as long for each round in which a node was silent. A host
    /// under load that takes longer than `handoff_peer_timeout` would be silent for ever.
    fn patience(&self, silent_rounds: u32) -> Duration {
        let first = self.parameters.peer_timeout;
        (first * (1 << silent_rounds.min(8))).min(self.deadline.left() / 3).max(first)
    }

    /// Asks every other node that has not said it already.
    pub(super) fn ask(&self, known: &[Peer], heard: Vec<PeerReport>, patience: Duration) -> Vec<PeerReport> {
        self.ask_about(&self.domain, known, heard, patience)
    }

    /// The same of this domain.
    pub(super) fn ask_about(
        &self,
        domain: &DomainName,
        known: &[Peer],
        heard: Vec<PeerReport>,
        patience: Duration,
    ) -> Vec<PeerReport> {
        let open: Vec<&Peer> =
            known.iter().filter(|peer| heard.iter().all(|report| report.node != peer.node)).collect();
        let nodes: Vec<NodeName> = open.iter().map(|peer| peer.node.clone()).collect();
        let until = self.deadline.within(patience);
        let answers = self.transport.each(&nodes, until, |node| node.presence(domain, until));
        let asked = open.into_iter().zip(answers).map(|(peer, answer)| {
            let says = match (answer, peer.fenced_at) {
                (Ok(stands), _) => stands.into(),
                (_, Some(at)) if !peer.online => PeerSays::Fenced(at),
                (Err(error), _) => PeerSays::Silent(error.to_string()),
            };
            PeerReport { node: peer.node.clone(), says, cleared: peer.cleared }
        });
        heard.into_iter().chain(asked).collect()
    }

    /// What is here of it after a boot that failed: a toolstack that was not waited for any longer may have
    /// made it all the same.
    fn is_what(&self) -> String {
        match self.presence() {
            Presence::Absent if self.toolstack.is_attended(&self.domain) => RESTARTS.to_owned(),
            Presence::Absent => "it does not run here".to_owned(),
            Presence::Unknown(why) => format!("whether it runs here is not known: {why}"),
            other => format!("it is {other} here"),
        }
    }

    /// Boots it, under the transfer lock.
    fn boot(&self, nobody: NobodyElse) -> Result<Round, Failure> {
        if self.deadline.left() < BOOT_NEEDS {
            return Ok(Round::Again("there was no time left to boot it".to_owned()));
        }
        self.may_boot()?;
        let file = self.config_file()?;
        let _room = match self.make_room(self.deadline.less(BOOT_NEEDS)) {
            Ok(room) => room,
            Err(why) => return Ok(Round::Again(why)),
        };
        // A stream may have ended since this round looked.
        match self.presence() {
            Presence::Absent => {}
            other => return Ok(Round::Again(format!("it is {other} here by now"))),
        }
        // The name that was kept may not be that of the file any more.
        if let Err(why) = self.is_still_named(file) {
            return Ok(Round::Again(why));
        }
        // Of a pool's book, if there is one. After all the nodes' own words: it may forbid what they allow,
        // and never the other way.
        match self.toolstack.runs_elsewhere(&self.domain, LIST_LIMIT) {
            Ok(None) => {}
            Ok(Some(host)) => return Ok(Round::Again(format!("the pool says that host {host} has it"))),
            Err(error) => {
                return Ok(Round::Again(format!("could not find out whether the pool runs it: {error}")));
            }
        }
        let effects =
            self.advance("start", Event::BootProven(nobody)).map_err(|error| self.generic(error))?;
        let Some(Effect::Boot(nobody)) = effects.into_iter().find(|effect| matches!(effect, Effect::Boot(_)))
        else {
            return Ok(Round::Again(
                "its phase here does not allow to boot it: see xen-handoff status".to_owned(),
            ));
        };
        let restored = self.restore(&nobody)?;
        if !restored {
            log::info!("domain={} node={} booting it: {nobody}", self.domain, self.node);
            let created = self.toolstack.create(file, &self.domain, &nobody, self.deadline.left());
            created.map_err(|error| {
                self.generic(format!("it could not be booted: {error}; {}", self.is_what()))
            })?;
        }
        let runs = SystemClock.wait_until(self.deadline, LOOK_AGAIN, || match self.presence() {
            Presence::Running(id) => Some(Ok(id)),
            presence @ (Presence::Crashed(_) | Presence::ShutDown(_)) => Some(Err(presence)),
            Presence::Absent if !self.toolstack.is_attended(&self.domain) => Some(Err(Presence::Absent)),
            _ => None,
        });
        match runs {
            Some(Ok(id)) if restored => Ok(Round::Done(Started::Restored(id))),
            Some(Ok(id)) => Ok(Round::Done(Started::Booted(id))),
            Some(Err(presence)) => Err(self.generic(format!("it was booted and is {presence}"))),
            None => Err(self.generic("it was booted and did not come to run in time")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::Action;
    use crate::agent::fake::{agent, called, worker_says, workers};
    use crate::clock::jump;
    use crate::cluster::Peer;
    use crate::cluster::fake::{DOWN, Fake as Cluster};
    use crate::domain::RunState;
    use crate::handoff::Push;
    use crate::here::fake::{EPOCH, World, node, offer_of, seen, to_n2, x0};
    use crate::wire::message::{Answer, Request};

    /// A start that boots: none is here until it is created.
    fn none_here() -> World {
        let world = World::listing([seen::absent()]);
        world.xl.after("create", seen::running());
        world
    }

    fn starts(world: &World) -> Result<ExitCode, Failure> {
        agent(world, Action::Start, &[]).start()
    }

    fn created(world: &World) -> bool {
        world.deeds().iter().any(|deed| deed.starts_with("create"))
    }

    /// Why it fails; nothing was booted.
    fn fails(world: &World, more: &[(&str, &str)]) -> String {
        let failure = agent(world, Action::Start, more).start().unwrap_err();
        assert!(!created(world), "{:?}", world.deeds());
        failure.to_string()
    }

    fn says(why: &str, words: &str) {
        assert!(why.contains(words), "not {words:?}: {why}");
    }

    fn answers(world: &World, node: &str, presence: Presence, phase: &Phase) {
        let phase = phase.clone();
        world.peers.answer(node, move |_| {
            Some(Answer::Stands { presence: presence.clone(), phase: phase.clone(), ended: None })
        });
    }

    fn members(world: &World, names: &[&str]) {
        world.cluster.peers.are(Ok(names.iter().map(|name| Cluster::member(name)).collect()));
    }

    fn offered_by_n2(world: &World) {
        members(world, &["n2"]);
        let entries = Entries { offers: vec![offer_of("n2")], ..Entries::default() };
        world.cluster.entries.are(Ok(entries));
    }

    #[test]
    fn what_runs_here_is_confirmed_or_reclaimed_and_nothing_is_done_to_it() {
        let world = World::listing([seen::running()]);
        assert_eq!(starts(&world).unwrap(), ExitCode::Success);
        assert!(world.deeds().is_empty() && world.told().is_empty());

        let world = World::listing([seen::running()]);
        world.is_offered(&offer_of("n1"));
        assert_eq!(starts(&world).unwrap(), ExitCode::Success);
        assert_eq!((world.phase(), world.told()), (Phase::Idle, vec![format!("erase {EPOCH}")]));

        let world = World::listing([seen::running()]);
        world.is_arriving();
        world.record([Event::ReceiverEnded(crate::handoff::event::ReceiverEnd::Running)]);
        assert_eq!(starts(&world).unwrap(), ExitCode::Success);
        assert_eq!((world.phase(), world.told()), (Phase::Idle, vec![format!("erase {EPOCH}")]));
    }

    #[test]
    fn p5_what_is_being_shut_down_here_is_waited_for_and_booted_then() {
        let world = none_here();
        world.is_offered(&offer_of("n1"));
        world.record([Event::StopOrdered]);
        world.xl.shows(Ok(seen::running()));
        let (mut looks, store) = (0, world.here.store.clone());
        world.xl.when("list", move |fake| {
            looks += 1;
            if looks == 20 {
                let gone = crate::handoff::evidence::Absence::observe(&Presence::Absent, || false).unwrap();
                store.advance(&x0(), "keep", Event::DomainGone(gone)).unwrap();
                fake.shows(Ok(seen::absent()));
            }
        });
        world.cluster.entries.are(Ok(Entries::default()));
        assert_eq!(starts(&world).unwrap(), ExitCode::Success);
        assert!(created(&world));
    }

    #[test]
    fn p2_it_is_booted_where_every_other_node_has_none_or_was_fenced_or_is_known_to_have_none() {
        let world = none_here();
        members(&world, &["n2", "n3"]);
        answers(&world, "n2", Presence::Absent, &Phase::Idle);
        answers(&world, "n3", Presence::Absent, &Phase::Idle);
        assert_eq!(starts(&world).unwrap(), ExitCode::Success);
        assert!(created(&world) && world.phase() == Phase::Idle);

        let world = none_here();
        let fenced = Peer { online: false, fenced_at: Some(UnixTime::now()), ..Cluster::member("n2") };
        world.cluster.peers.are(Ok(vec![fenced, Peer { cleared: true, ..Cluster::member("n3") }]));
        assert_eq!(starts(&world).unwrap(), ExitCode::Success);
        assert!(created(&world));
    }

    #[test]
    fn p2_where_one_runs_or_may_run_elsewhere_nothing_is_booted() {
        let sending = Phase::Source(SourcePhase::Sending { transfer: to_n2(), offer: None });
        let somewhere = [
            (Presence::Running(DomainId(3)), Phase::Idle),
            (Presence::Paused(DomainId(3)), Phase::Idle),
            (Presence::Incoming(DomainId(3)), Phase::Idle),
            (Presence::Unknown("xl hangs".to_owned()), Phase::Idle),
            (Presence::Absent, sending),
        ];
        for (presence, phase) in somewhere {
            let world = none_here();
            members(&world, &["n2"]);
            answers(&world, "n2", presence.clone(), &phase);
            let why = fails(&world, &[]);
            assert!(why.contains("n2 has it"), "{presence}: {why}");
        }
    }

    #[test]
    fn p2_a_silent_node_a_ledger_that_cannot_be_read_or_is_young_and_a_cluster_that_is_gone_are_doubts() {
        let world = none_here();
        members(&world, &["n2"]);
        says(&fails(&world, &[]), "n2 may be running it");

        let world = none_here();
        world.cluster.peers.are(Ok(vec![Peer { cleared: true, ..Cluster::member("n2") }]));
        world.cluster.age.replace(Duration::from_secs(10));
        says(&fails(&world, &[]), "the ledger is only 10 s old");

        let world = none_here();
        world.cluster.peers.are(Ok(vec![Peer { cleared: true, ..Cluster::member("n2") }]));
        world.cluster.entries.are(Err("attrd is dead"));
        says(&fails(&world, &[]), "the ledger cannot be read: attrd is dead");

        let world = none_here();
        world.cluster.peers.are(Err(DOWN));
        says(&fails(&world, &[]), "could not find out which other nodes there are");

        let world = none_here();
        world.cluster.entries.are(Err(DOWN));
        world.cluster.peers.are(Ok(vec![Peer { cleared: true, ..Cluster::member("n2") }]));
        says(&fails(&world, &[]), NO_CLUSTER);
    }

    #[test]
    fn p2_an_open_push_is_asked_for_at_both_ends_and_twice() {
        let world = none_here();
        members(&world, &["n2", "n3"]);
        let transfer = Transfer { source: node("n2"), target: node("n3"), epoch: EPOCH };
        let push = Push { domain: x0(), transfer, made_at: UnixTime::now() };
        world.cluster.entries.are(Ok(Entries { pushes: vec![push], ..Entries::default() }));
        answers(&world, "n2", Presence::Absent, &Phase::Idle);
        // The copy comes between the two answers.
        let mut asked = 0;
        world.peers.answer("n3", move |_| {
            asked += 1;
            let presence = if asked == 1 { Presence::Absent } else { Presence::Running(DomainId(3)) };
            Some(Answer::Stands { presence, phase: Phase::Idle, ended: None })
        });
        says(&fails(&world, &[]), "n3 has it");
    }

    #[test]
    fn p1_a_copy_here_that_is_no_running_domain_is_waited_for_or_a_stops() {
        let waits = [
            seen::own(RunState::Building),
            seen::own(RunState::Rebooting),
            seen::own(RunState::Dying),
            seen::migrated_away(),
        ];
        for sighting in waits {
            let world = World::listing([sighting]);
            let began = jump::passed();
            fails(&world, &[]);
            assert!((jump::passed() - began).as_secs() > 60, "{sighting:?} may change");
            assert!(world.deeds().is_empty(), "{sighting:?}");
        }
        for state in [RunState::Paused, RunState::Crashed, RunState::Frozen, RunState::ShutDown] {
            let world = World::listing([seen::own(state)]);
            let began = jump::passed();
            assert!(fails(&world, &[]).contains("a stop clears it away"), "{state:?}");
            assert!((jump::passed() - began).as_secs() < 5 && world.deeds().is_empty(), "{state:?}");
        }
        let world = World::listing([]);
        world.xl.shows(Err("cut short".to_owned()));
        says(&fails(&world, &[]), "unknown");
        let world = World::attended([seen::absent()]);
        says(&fails(&world, &[]), RESTARTS);
    }

    #[test]
    fn p1_what_a_killed_migration_left_is_destroyed_before_anything_else() {
        let world = World::listing([seen::incoming()]);
        world.xl.after("destroy x0--incoming", seen::absent());
        world.xl.after("create", seen::running());
        assert_eq!(starts(&world).unwrap(), ExitCode::Success);
        assert_eq!(world.deeds()[0], "destroy x0--incoming");
        assert!(created(&world));
    }

    #[test]
    fn p2_a_boot_waits_for_a_transfer_that_is_under_way_here_and_for_one_without_a_clear_end() {
        let world = none_here();
        let _lock = world.here.store.begin_transfer(&x0()).unwrap();
        says(&fails(&world, &[]), "did not end in time");
        let world = World::listing([seen::migrated_away()]);
        world.is_settling();
        says(&fails(&world, &[]), "given away as --migratedaway");
    }

    #[test]
    fn what_a_boot_lacks_is_said_before_anybody_is_asked() {
        let world = none_here();
        world.xl.config.replace(None);
        let failure = called(&world, Action::Start, "/none/x0.cfg", &[]).start().unwrap_err();
        assert_eq!(failure.code, ExitCode::NotInstalled);
        assert!(failure.to_string().contains("no configuration file /none/x0.cfg"), "{failure}");
        assert!(world.peers.asked().is_empty() && world.deeds().is_empty());
    }

    #[test]
    fn a_boot_that_fails_says_what_is_here_of_it_now() {
        let world = World::listing([seen::absent()]);
        world.xl.fails("create", 1);
        let why = starts(&world).unwrap_err().to_string();
        assert!(why.contains("it could not be booted") && why.contains("it does not run here"), "{why}");
        let world = World::listing([seen::absent()]);
        world.xl.after("create", seen::own(RunState::Crashed));
        assert!(starts(&world).unwrap_err().to_string().contains("it was booted and is crashed"));
        let world = World::listing([seen::absent()]);
        world.xl.after("create", seen::own(RunState::Building));
        assert!(starts(&world).unwrap_err().to_string().contains("did not come to run in time"));
    }

    #[test]
    fn p3_an_offer_is_fetched_and_seen_to_run_before_the_cluster_is_told() {
        let world = World::listing([seen::absent()]);
        offered_by_n2(&world);
        worker_says(&world, &Outcome::Moved);
        let (asked, store) = (world.here.root.join("/asked"), world.here.store.clone());
        world.xl.when("list", move |fake| {
            if asked.exists() && store.load(&x0()).unwrap().state != Phase::Idle {
                fake.shows(Ok(seen::running()));
            }
        });
        assert_eq!(starts(&world).unwrap(), ExitCode::Success);
        assert_eq!((workers(&world), created(&world)), (1, false));

        let world = World::listing([seen::absent()]);
        offered_by_n2(&world);
        worker_says(&world, &Outcome::Moved);
        let why = fails(&world, &[]);
        assert!(why.contains("n2 may be running it"), "the worker's word alone is none: {why}");
    }

    #[test]
    fn p2_an_offer_whose_source_has_none_any_more_is_booted_and_one_that_is_busy_is_not() {
        let world = none_here();
        offered_by_n2(&world);
        let none = Some(Box::new((Presence::Absent, Phase::Idle)));
        worker_says(&world, &Outcome::Refused { reason: "x0 is absent here".to_owned(), stands: none });
        assert_eq!(starts(&world).unwrap(), ExitCode::Success);
        assert!(created(&world) && world.told().contains(&format!("erase {EPOCH}")));

        for outcome in [
            Outcome::Busy { reason: "2 before it".to_owned() },
            Outcome::Failed { reason: "cannot reach n2".to_owned() },
            Outcome::Undecided { reason: "no word".to_owned() },
        ] {
            let world = none_here();
            offered_by_n2(&world);
            worker_says(&world, &outcome);
            let why = fails(&world, &[]);
            assert!(why.contains("n2 may be running it") && workers(&world) > 1, "{outcome}: {why}");
        }
    }

    #[test]
    fn p7_after_three_streams_that_broke_the_source_ends_its_guest_and_it_is_booted_here() {
        let world = none_here();
        offered_by_n2(&world);
        worker_says(&world, &Outcome::Broken { reason: "xl migrate-receive: exit status: 1".to_owned() });
        let mut given_up = false;
        let offered = Phase::Source(SourcePhase::Offered { offer: offer_of("n2") });
        world.peers.answer("n2", move |request| {
            if matches!(request, Request::Yield { .. }) {
                given_up = true;
                return Some(Answer::Done);
            }
            let (presence, phase) = if given_up {
                (Presence::Absent, Phase::Idle)
            } else {
                (Presence::Running(DomainId(3)), offered.clone())
            };
            Some(Answer::Stands { presence, phase, ended: None })
        });
        assert_eq!(starts(&world).unwrap(), ExitCode::Success);
        assert_eq!((workers(&world), created(&world)), (3, true));
        let yields =
            world.peers.asked().iter().filter(|asked| matches!(asked, Request::Yield { .. })).count();
        assert_eq!(yields, 1, "once is enough");
    }

    #[test]
    fn p7_a_guest_is_not_given_up_for_a_boot_that_nobody_could_prove() {
        let world = none_here();
        offered_by_n2(&world);
        // The third node is silent: a boot would not be proven either.
        members(&world, &["n2", "n3"]);
        worker_says(&world, &Outcome::Broken { reason: "xl migrate-receive: exit status: 1".to_owned() });
        let offered = Phase::Source(SourcePhase::Offered { offer: offer_of("n2") });
        answers(&world, "n2", Presence::Running(DomainId(3)), &offered);
        let why = fails(&world, &[]);
        assert!(why.contains("n2 has it") && workers(&world) == 3, "{why}");
        let asked = world.peers.asked();
        assert!(!asked.iter().any(|asked| matches!(asked, Request::Yield { .. })), "it runs on there");
    }

    #[test]
    fn p2_a_silent_source_is_fenced_only_if_that_was_asked_for_or_the_cluster_has_lost_it() {
        let world = none_here();
        offered_by_n2(&world);
        worker_says(&world, &Outcome::Failed { reason: "cannot reach n2".to_owned() });
        fails(&world, &[]);
        assert!(!world.told().iter().any(|told| told.starts_with("fence")), "{:?}", world.told());

        let lost = Peer { lost: true, online: false, ..Cluster::member("n2") };
        let cases: [(&[(&str, &str)], Peer); 2] = [
            (&[("handoff_unreachable", "fence"), ("handoff_peer_timeout", "1")], Cluster::member("n2")),
            (&[], lost),
        ];
        for (more, peer) in cases {
            let world = none_here();
            offered_by_n2(&world);
            world.cluster.peers.are(Ok(vec![peer]));
            world.cluster.fences.replace(true);
            worker_says(&world, &Outcome::Failed { reason: "cannot reach n2".to_owned() });
            assert_eq!(agent(&world, Action::Start, more).start().unwrap(), ExitCode::Success, "{more:?}");
            assert!(world.told().contains(&"fence n2".to_owned()) && created(&world), "{more:?}");
        }
    }

    #[test]
    fn an_own_offer_of_a_life_before_is_no_offer_any_more() {
        let world = none_here();
        world.cluster.entries.are(Ok(Entries { offers: vec![offer_of("n1")], ..Entries::default() }));
        assert_eq!(starts(&world).unwrap(), ExitCode::Success);
        assert!(created(&world) && world.told().contains(&format!("erase {EPOCH}")));
    }
}
