//! The agent's drivers, deed by deed, as `src/agent/`, `src/keeper/keep.rs` and `src/serve/` have them: what
//! they look at, which event they make of it, which effects they carry out, and in which order. A host may crash and any
//! process may be killed between two deeds. What decides is the real code: `step`, `resolve`, and the evidence types.

use super::mutation::{self, Mutation, Rules};
use super::promise::{Broken, Promise, hold};
use super::world::{
    Action, Belief, Copy, Entry, Go, Heard, History, Keeper, KeeperAt, Knows, LONGEST_OFFER, Look, Member,
    Moment, NODES, Node, Note, Ours, Paper, Peer, Reading, Ready, Receiver, Report, Run, Sender, Settler,
    Stand, StartAt, StopAt, Stream, Way, World, Written, moment, name, time,
};
use std::time::Duration;
use xen_handoff::agent::monitor::{Verdict, judge};
use xen_handoff::domain::Presence;
use xen_handoff::handoff::event::OutOfOrder;
use xen_handoff::handoff::evidence::{
    Absence, Doubt, Inquiry, NobodyElse, NobodyToFetch, Outlook, PeerReport, PeerSays, Recorded,
};
use xen_handoff::handoff::ledger::LedgerSays;
use xen_handoff::handoff::ledger::{self, Entries};
use xen_handoff::handoff::{Effect, Event};
use xen_handoff::host::NodeName;

/// How a worker of an action ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    Moved,
    Failed,
    Undecided,
    /// The other end refused and said how it stands there.
    Refused(Option<(Look, Stand)>),
}

/// How an action ended, as the cluster sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Success,
    NotRunning,
    /// A probe that does not know the name, and finds something that may be it: 5.
    NoAnswer,
    Failure,
}

/// One deed in progress on a world.
pub(super) struct Drive<'a> {
    pub(super) world: &'a mut World,
    pub(super) rules: Rules,
}

pub(super) type Done = Result<(), Broken>;

impl Drive<'_> {
    /// The real step, put on record; its effects on the ledger are carried out.
    pub(super) fn advance(&mut self, node: Node, event: Event) -> Result<Vec<Effect>, OutOfOrder> {
        let host = &mut self.world.hosts[node];
        let (phase, effects) = mutation::step(self.rules, host.stand.phase(), event)?;
        host.stand = Stand::of(&phase);
        if !matches!(host.stand, Stand::Sending(..) | Stand::Settling(..)) {
            host.peer_restarted = false;
        }
        host.yielded &= matches!(host.stand, Stand::Withdrawing(_));
        for effect in &effects {
            if let Effect::EraseLedger(epoch) = effect {
                self.erase(node, moment(*epoch));
            }
        }
        Ok(effects)
    }

    pub(super) fn erase(&mut self, by: Node, epoch: Moment) {
        for node in self.world.visible(by) {
            if self.world.ledger.slot[node].is_some_and(|entry| entry.epoch() == epoch) {
                self.world.ledger.slot[node] = None;
            }
        }
    }

    /// Writes `entry` for every survivor that `by` sees.
    pub(super) fn write(&mut self, by: Node, entry: Entry) {
        for survivor in self.world.visible(by).into_iter().filter(|&survivor| survivor != by) {
            self.world.ledger.slot[survivor] = Some(entry);
        }
    }

    /// What `by` reads in its ledger, the newest first.
    pub(super) fn entries(&self, by: Node) -> Vec<Entry> {
        let mut entries: Vec<Entry> =
            self.world.visible(by).into_iter().filter_map(|node| self.world.ledger.slot[node]).collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.epoch()));
        entries.dedup();
        entries
    }

    /// The real evidence that `at` reads `entry` in its own ledger.
    pub(super) fn read_back(&self, at: Node, entry: Entry) -> Option<Recorded> {
        let mut there = self.entries(at);
        if self.rules.mutated(Mutation::SkipLedgerWrite) || self.rules.mutated(Mutation::PushNotInLedger) {
            there.push(entry);
        }
        Recorded::observe(&real(entry), &gather(there))
    }

    /// What the toolstack shows on `node`.
    pub(super) fn look(&self, node: Node) -> Look {
        seen(self.world, self.rules, node)
    }

    /// The copy on `node` comes to run.
    pub(super) fn let_run(&mut self, node: Node, by: &str) -> Done {
        let was_stale = self.world.let_run(node);
        let other = (0..NODES).find(|&other| other != node && self.world.hosts[other].runs());
        hold(Promise::P1NeverTwo, other.is_none(), || {
            format!("{by} lets it run on {} while it runs on {}", name(node), name(other.unwrap()))
        })?;
        hold(Promise::StaleIsNeverResumed, !was_stale, || {
            format!("{by} lets the copy on {} run, and another has run since it was suspended", name(node))
        })
    }

    fn end_action(&mut self, node: Node, ended: Ended) -> Done {
        let action = self.world.hosts[node].action.take();
        super::cluster::heard(self, node, action, ended)
    }

    fn go_to(&mut self, node: Node, action: Action) -> Done {
        self.world.hosts[node].action = Some(action);
        Ok(())
    }

    // ---- the cluster's actions ----------------------------------------------------------------------------------

    /// The next deed of the action on `node`. (Whoever comes here has waited for the transfer, and has settled what can be.)
    pub(super) fn act(&mut self, node: Node) -> Done {
        match self.world.hosts[node].action.unwrap() {
            Action::Start(at) => self.start(node, at),
            Action::Stop { plan, at } => self.stop(node, plan, at),
            Action::MigrateTo { target, .. } => self.announce(node, target),
            Action::MigrateFrom => self.migrate_from(node),
            Action::Probe => self.probe(node),
        }
    }

    fn start(&mut self, node: Node, at: StartAt) -> Done {
        match at {
            StartAt::Round => self.round(node),
            StartAt::Acquire(knows) => self.acquire(node, knows),
            StartAt::Fetching(_) => unreachable!("a start that fetches waits for its worker"),
            StartAt::Peers(knows, _) => self.list_peers(node, knows),
            StartAt::Ledger(knows) => {
                let reading = self.read_ledger(node);
                self.go_to(node, Action::Start(StartAt::Asking(knows, reading)))
            }
            StartAt::Asking(knows, reading) => self.conclude(node, knows, reading),
            // It was fenced meanwhile, or that failed: the next round sees.
            StartAt::Fencing(_) => self.go_to(node, Action::Start(StartAt::Round)),
            // xl refuses a second domain of the same name.
            StartAt::Proven if self.world.hosts[node].own.is_some() => self.end_action(node, Ended::Failure),
            StartAt::Proven => {
                self.world.boots += 1;
                self.world.hosts[node].own =
                    Some(Copy { boot: self.world.boots, run: Run::Running, stale: false });
                self.let_run(node, "a boot")?;
                self.end_action(node, Ended::Success)
            }
        }
    }

    fn round(&mut self, node: Node) -> Done {
        if self.world.hosts[node].nameless {
            return self.end_action(node, Ended::Failure);
        }
        let stand = self.world.hosts[node].stand;
        match self.look(node) {
            Look::Running => {
                let event = match stand {
                    Stand::Offering(_) | Stand::Offered(_) => Event::Reclaimed,
                    Stand::Arrived(_) | Stand::Idle | Stand::Left(_) | Stand::Claiming(_) => Event::Confirmed,
                    _ => return Ok(()), // again
                };
                match self.advance(node, event) {
                    Ok(effects) if effects.contains(&Effect::ReportRunning) => {
                        self.end_action(node, Ended::Success)
                    }
                    _ => self.end_action(node, Ended::Failure),
                }
            }
            Look::Absent => {
                if matches!(stand, Stand::Settling(..) | Stand::Arriving(_)) {
                    return Ok(()); // again
                }
                if stand.offer().is_some() {
                    let absence = self.absence(node);
                    if self.advance(node, Event::DomainGone(absence)).is_err() {
                        return self.end_action(node, Ended::Failure);
                    }
                }
                let sent_to = if let Stand::Left(way) = stand { Some(way) } else { None };
                let knows = Knows { sent_to, ..Knows::default() };
                self.go_to(node, Action::Start(StartAt::Acquire(knows)))
            }
            Look::Incoming | Look::Away | Look::Rebooting => Ok(()), // again
            Look::Paused | Look::Frozen => self.end_action(node, Ended::Failure),
        }
    }

    fn absence(&self, node: Node) -> Absence {
        Absence::observe(&self.look(node).presence(), || false).unwrap()
    }

    fn acquire(&mut self, node: Node, mut knows: Knows) -> Done {
        let offers: Vec<Paper> = self.entries(node).into_iter().filter_map(offer_of).collect();
        for own in offers.iter().filter(|offer| offer.source() == node) {
            self.erase(node, own.epoch);
        }
        let untried =
            offers.into_iter().find(|offer| offer.source() != node && knows.tried & (1 << offer.epoch) == 0);
        let Some(offer) = untried else {
            if self.world.is_transferring(node) {
                return self.go_to(node, Action::Start(StartAt::Round));
            }
            if self.rules.mutated(Mutation::LedgerBeforeHistory) {
                let reading = self.read_ledger(node);
                return self.go_to(node, Action::Start(StartAt::Peers(knows, reading)));
            }
            // The history first: an offer is in the ledger before its stop is in the history.
            return self.list_peers(node, knows);
        };
        knows.tried |= 1 << offer.epoch;
        let granted = self.advance(node, Event::OfferFound(offer.offer()));
        if !granted.is_ok_and(|effects| effects.iter().any(|effect| matches!(effect, Effect::Claim(_)))) {
            return self.end_action(node, Ended::Failure);
        }
        self.go_to(node, Action::Start(StartAt::Fetching(knows)))?;
        let way = Way::new(offer.epoch, offer.source(), node);
        self.employ(Stream { says_ended: self.world.hosts[node].ended, ..new_stream(way, true) }, node)
    }

    fn read_ledger(&mut self, node: Node) -> Reading {
        if self.world.cluster.headless[node] {
            return Reading::NoCluster;
        }
        let mut entries = [None; NODES];
        let own_offer = |entry: &Entry| offer_of(*entry).is_some_and(|offer| offer.source() == node);
        let others = self.entries(node).into_iter().filter(|entry| !own_offer(entry));
        for (place, entry) in entries.iter_mut().zip(others) {
            *place = Some(entry);
        }
        let visible = self.world.visible(node);
        let note = &mut self.world.ledger.note;
        let old = if self.rules.mutated(Mutation::AgeOfOldestNote) {
            visible.iter().any(|&node| note[node] == Note::Old)
        } else {
            note[node] == Note::Old
        };
        if note[node] == Note::None {
            note[node] = Note::Young;
        }
        Reading::Read { entries, old: old || self.rules.mutated(Mutation::TrustYoungLedger) }
    }

    /// The CIB and the fencing history, once a round; then the ledger, after the claims: an offer may have come or gone
    /// meanwhile.
    fn list_peers(&mut self, node: Node, mut knows: Knows) -> Done {
        let cluster = &self.world.cluster;
        if cluster.headless[node] {
            // Nobody tells who the others are.
            let next = if self.blind() { StartAt::Asking(knows, Reading::NoCluster) } else { StartAt::Round };
            return self.go_to(node, Action::Start(next));
        }
        for peer in (0..NODES).filter(|&peer| peer != node) {
            let member = cluster.member[peer] == Member::In;
            knows.peers[peer] = Peer {
                fenced: cluster.fenced_at[peer].filter(|_| !member),
                cleared: match cluster.history[peer] {
                    History::Clear => true,
                    // expected="down": left in order, or fenced.
                    History::Nothing => {
                        cluster.member[peer] == Member::Out || !member && cluster.fenced_at[peer].is_some()
                    }
                    History::NoAnswer => self.rules.mutated(Mutation::FiveClears),
                    History::Other => false,
                },
            };
        }
        let next = match self.world.hosts[node].action {
            Some(Action::Start(StartAt::Peers(_, reading))) => StartAt::Asking(knows, reading),
            _ => StartAt::Ledger(knows),
        };
        self.go_to(node, Action::Start(next))
    }

    /// A start asks one peer.
    pub(super) fn ask(&mut self, node: Node, peer: Node) -> Done {
        let Some(Action::Start(StartAt::Asking(mut knows, reading))) = self.world.hosts[node].action else {
            unreachable!("only a start asks")
        };
        knows.heard[peer] = if self.world.reaches(node, peer) && !self.rules.mutated(Mutation::AskNobody) {
            match self.stands(peer) {
                Some((look, stand)) => Heard::Stands(look, stand),
                None => Heard::AboutTo,
            }
        } else {
            knows.peers[peer].fenced.map_or(Heard::Silent, Heard::Fenced)
        };
        self.go_to(node, Action::Start(StartAt::Asking(knows, reading)))
    }

    pub(super) fn stands(&self, node: Node) -> Option<(Look, Stand)> {
        stands(self.world, self.rules, node)
    }

    fn blind(&self) -> bool {
        self.rules.mutated(Mutation::BlindWithoutManager)
    }

    /// Weighs what was heard, by the real [`NobodyElse::conclude`], and puts the proof on record.
    fn conclude(&mut self, node: Node, knows: Knows, reading: Reading) -> Done {
        let again = Action::Start(StartAt::Round);
        match self.weigh(node, knows, reading) {
            Err(Doubt::Silent { node: silent, .. }) if self.world.left.fences > 0 => {
                let silent = (0..NODES).find(|&peer| name(peer) == silent);
                let offers_it = |peer: &Node| match reading {
                    Reading::Read { entries, .. } => entries
                        .iter()
                        .flatten()
                        .any(|&entry| offer_of(entry).is_some_and(|offer| offer.source() == *peer)),
                    Reading::NoCluster => false,
                };
                match silent.filter(offers_it) {
                    Some(peer) => self.go_to(node, Action::Start(StartAt::Fencing(peer))),
                    None => self.go_to(node, again),
                }
            }
            Err(_) => self.go_to(node, again),
            Ok(_) if !knows.twice && has_push(reading) && !self.rules.mutated(Mutation::AskOnce) => {
                let knows = Knows { twice: true, heard: [Heard::NotAsked; NODES], ..knows };
                self.go_to(node, Action::Start(StartAt::Asking(knows, reading)))
            }
            Ok(nobody) => {
                if let Reading::Read { entries, .. } = reading {
                    // All of them are accounted for.
                    entries.iter().flatten().for_each(|entry| self.erase(node, entry.epoch()));
                }
                let absent = self.look(node) == Look::Absent;
                if !absent && !self.rules.mutated(Mutation::BootWithoutALook) {
                    return self.go_to(node, again);
                }
                match self.advance(node, Event::BootProven(nobody)) {
                    Ok(effects) if effects.iter().any(|effect| matches!(effect, Effect::Boot(_))) => {
                        let holder = (0..NODES).find(|&holder| self.may_run(holder));
                        hold(Promise::P2ProofBeforeBoot, holder.is_none(), || {
                            format!("{} boots it while {} has it", name(node), name(holder.unwrap()))
                        })?;
                        self.go_to(node, Action::Start(StartAt::Proven))
                    }
                    Ok(_) => self.go_to(node, again),
                    Err(_) => self.end_action(node, Ended::Failure),
                }
            }
        }
    }

    fn weigh(&self, node: Node, knows: Knows, reading: Reading) -> Result<NobodyElse, Doubt> {
        let ledger = match reading {
            Reading::Read { entries, old } => LedgerSays::Entries {
                entries: gather(entries.into_iter().flatten()),
                age: Duration::from_secs(if old { LONGEST_OFFER + 1 } else { LONGEST_OFFER }),
            },
            Reading::NoCluster if self.blind() => LedgerSays::NoCluster,
            // Ordered by the cluster, so there is one.
            Reading::NoCluster => LedgerSays::Unreadable("the cluster manager has gone".to_owned()),
        };
        let silent = || PeerSays::Silent("no answer".to_owned());
        let deaf = self.rules.mutated(Mutation::AskNobody);
        let mut peers: Vec<PeerReport> = (0..NODES)
            .filter(|&peer| peer != node && (!self.blind() || knows.heard[peer] != Heard::NotAsked))
            .map(|peer| {
                let says = match knows.heard[peer] {
                    Heard::Stands(look, stand) => {
                        let overlooked = self.rules.mutated(Mutation::LeftElsewhereIsNone)
                            && matches!(stand, Stand::Left(_));
                        let stand = if overlooked { Stand::Idle } else { stand };
                        let promised = self.rules.mutated(Mutation::BootBeforeItIsGone)
                            && matches!(stand, Stand::Withdrawing(_));
                        let look = if promised { Look::Absent } else { look };
                        PeerSays::Stands { presence: look.presence(), phase: stand.phase(), ended: None }
                    }
                    Heard::AboutTo => {
                        let presence = Presence::Unknown("a transfer is about to begin".to_owned());
                        PeerSays::Stands { presence, phase: Stand::Idle.phase(), ended: None }
                    }
                    Heard::Fenced(_) if self.rules.mutated(Mutation::FencedEver) => {
                        PeerSays::Fenced(xen_handoff::clock::UnixTime(u64::MAX))
                    }
                    Heard::Fenced(at) => PeerSays::Fenced(time(at)),
                    Heard::Silent | Heard::NotAsked if self.rules.mutated(Mutation::BootOnSilence) => {
                        PeerSays::Stands {
                            presence: Look::Absent.presence(),
                            phase: Stand::Idle.phase(),
                            ended: None,
                        }
                    }
                    Heard::Silent | Heard::NotAsked => silent(),
                };
                let cleared = knows.peers[peer].cleared || deaf || self.rules.mutated(Mutation::SilentMember);
                PeerReport { node: name(peer), says, cleared }
            })
            .collect();
        if self.rules.mutated(Mutation::GuestIsAHost) {
            // There always is such a node; that it cannot run a domain, the real reader of the cluster's nodes knows.
            let node = NodeName::new("guest0").unwrap();
            peers.push(PeerReport { node, says: silent(), cleared: false });
        }
        let sent_to = knows.sent_to.map(|way| name(way.target()));
        NobodyElse::conclude(&Inquiry {
            here: &name(node),
            ledger: &ledger,
            longest_offer: Duration::from_secs(LONGEST_OFFER),
            peers: &peers,
            sent_to: sent_to.as_ref(),
        })
    }

    /// Whether `node` has a copy that runs, or that comes to run without anybody's further decision.
    fn may_run(&self, node: Node) -> bool {
        let mut streams = self.world.streams.iter().flatten();
        if matches!(self.world.hosts[node].settler, Some(Settler::TakeBack | Settler::Finish)) {
            return true;
        }
        match self.world.hosts[node].look() {
            Look::Running | Look::Rebooting => true,
            Look::Absent => false,
            Look::Frozen => streams.any(|stream| stream.way.source() == node && stream.sender.lives()),
            // Only a report of "it does not run" gives it back.
            Look::Away => streams.any(|stream| {
                let refused = matches!(
                    stream.report,
                    Report::OnWire { runs: false } | Report::AtSource { runs: false }
                );
                let undecided = stream.report == Report::Unsaid && stream.receiver.lives();
                stream.way.source() == node && stream.sender.lives() && (refused || undecided)
            }),
            Look::Paused | Look::Incoming => streams.any(|stream| {
                stream.way.target() == node && stream.receiver.lives() && stream.go == Go::Given
            }),
        }
    }

    fn stop(&mut self, node: Node, plan: Option<Node>, at: StopAt) -> Done {
        let stand = self.world.hosts[node].stand;
        let next = |at| Action::Stop { plan, at };
        match at {
            StopAt::Begin => self.stop_begins(node, plan),
            StopAt::LookAgain => {
                if self.look(node) == Look::Absent {
                    return self.end_action(node, Ended::Success);
                }
                self.stop_begins(node, plan)
            }
            StopAt::Gates => {
                // What no action has confirmed may be offered to this very node, which starts it next.
                let place = plan.filter(|&target| target != node || matches!(stand, Stand::Arrived(_)));
                // Under the new name nobody would find the offer.
                let fit = self.look(node) == Look::Running && !self.world.renamed;
                let Some(target) = place.filter(|_| fit) else {
                    return self.go_to(node, next(StopAt::End));
                };
                if let Stand::Offered(paper) = stand
                    && !self.world.has_expired(paper.epoch)
                {
                    if !self.rules.mutated(Mutation::SecondStopArmsNothing) {
                        self.arm(node, paper.epoch);
                    }
                    return self.end_action(node, Ended::Success);
                }
                if !self.world.reaches(node, target) || self.world.left.moves == 0 {
                    return self.go_to(node, next(StopAt::End));
                }
                let epoch = self.world.tick();
                let offer = Paper::new(node, epoch);
                match self.advance(node, Event::OfferMade(offer.offer())) {
                    Ok(effects) if effects.contains(&Effect::ReportStopped) => {
                        self.end_action(node, Ended::Success)
                    }
                    Ok(_) => {
                        self.world.left.moves -= 1;
                        self.go_to(node, next(StopAt::Write(target)))
                    }
                    Err(_) => self.go_to(node, next(StopAt::End)),
                }
            }
            StopAt::Write(target) => {
                let Stand::Offering(paper) = stand else { return self.go_to(node, next(StopAt::End)) };
                if self.world.cluster.member[node] != Member::In {
                    return self.not_recorded(node, plan);
                }
                if !self.rules.mutated(Mutation::SkipLedgerWrite) {
                    self.write(node, Entry::Offer(paper));
                    self.world.ledger.slot[target] = Some(Entry::Offer(paper));
                }
                self.go_to(node, next(StopAt::ReadBack(target)))
            }
            StopAt::ReadBack(target) => {
                let Stand::Offering(paper) = stand else { return self.go_to(node, next(StopAt::End)) };
                let recorded = self.read_back(target, Entry::Offer(paper));
                let Some(recorded) = recorded.filter(|_| self.world.reaches(node, target)) else {
                    return self.not_recorded(node, plan);
                };
                match self.advance(node, Event::OfferRecorded(recorded)) {
                    Ok(_) => {
                        let there = self.entries(target).contains(&Entry::Offer(paper));
                        hold(Promise::P3OfferOutlivesItsSource, there, || {
                            format!("{} cannot read the offer of {}", name(target), name(node))
                        })?;
                        self.go_to(node, next(StopAt::Arm))
                    }
                    Err(_) => self.go_to(node, next(StopAt::End)),
                }
            }
            StopAt::Arm => {
                if let Stand::Offered(paper) = stand
                    && !self.rules.mutated(Mutation::SkipDeadline)
                {
                    self.arm(node, paper.epoch);
                }
                self.end_action(node, Ended::Success)
            }
            StopAt::End => match self.advance(node, Event::StopOrdered) {
                Ok(effects) if effects.contains(&Effect::ShutDown) => self.go_to(node, next(StopAt::Quench)),
                _ => self.end_action(node, Ended::Failure),
            },
            // It is asked once it is there again.
            StopAt::Quench if self.look(node) == Look::Rebooting => Ok(()),
            StopAt::Quench => {
                self.quench(node)?;
                self.go_to(node, next(StopAt::Verify))
            }
            StopAt::Verify => {
                let seen =
                    if self.rules.mutated(Mutation::StopUnverified) { Look::Absent } else { self.look(node) };
                let Some(absence) = Absence::observe(&seen.presence(), || false) else {
                    return self.end_action(node, Ended::Failure);
                };
                match self.advance(node, Event::DomainGone(absence)) {
                    Ok(_) => self.end_action(node, Ended::Success),
                    Err(_) => self.end_action(node, Ended::Failure),
                }
            }
        }
    }

    /// Whether the name is not known, and something is here that may be the domain.
    fn knows_no_name(&self, node: Node) -> bool {
        self.world.hosts[node].nameless && self.look(node) != Look::Absent
    }

    fn stop_begins(&mut self, node: Node, plan: Option<Node>) -> Done {
        if self.knows_no_name(node) && !self.rules.mutated(Mutation::StopByAnotherName) {
            return self.end_action(node, Ended::Failure);
        }
        if self.knows_no_name(node) {
            return self.end_action(node, Ended::Success);
        }
        let next = |at| Action::Stop { plan, at };
        if matches!(self.world.hosts[node].stand, Stand::Sending(_, Some(_)) | Stand::Settling(_, Some(_)))
            && self.world.is_transferring(node)
        {
            if self.rules.mutated(Mutation::StopUnderStream) {
                return self.go_to(node, next(StopAt::Quench));
            }
            return self.end_action(node, Ended::Success);
        }
        let stand = self.world.hosts[node].stand;
        if matches!(stand, Stand::Settling(..) | Stand::Arriving(_)) {
            return self.end_action(node, Ended::Failure);
        }
        if let Some(absence) = Absence::observe(&self.look(node).presence(), || false) {
            let ended = match stand {
                Stand::Left(way) => self.account_for_left(node, way, plan)?,
                Stand::Idle => Ended::Success,
                _ => match self.advance(node, Event::DomainGone(absence)) {
                    Ok(_) => Ended::Success,
                    Err(_) => Ended::Failure,
                },
            };
            if ended == Ended::Success && self.refuse_pushes(node) {
                return self.go_to(node, next(StopAt::LookAgain));
            }
            return self.end_action(node, ended);
        }
        if matches!(stand, Stand::Left(_)) && self.advance(node, Event::Confirmed).is_err() {
            return self.end_action(node, Ended::Failure);
        }
        self.go_to(node, next(StopAt::Gates))
    }

    /// What is still being pushed to here shall not arrive any more.
    fn refuse_pushes(&mut self, node: Node) -> bool {
        let to_here =
            |entry: Entry| matches!(entry, Entry::Push(way) if way.target() == node).then_some(entry.epoch());
        let newest = self.entries(node).into_iter().filter_map(to_here).max();
        if newest.is_none() || self.rules.mutated(Mutation::StopRefusesNothing) {
            return false;
        }
        self.world.hosts[node].refused = newest;
        true
    }

    fn account_for_left(&mut self, node: Node, way: Way, plan: Option<Node>) -> Result<Ended, Broken> {
        let target = way.target();
        let planned = plan == Some(target);
        if !planned && !self.rules.mutated(Mutation::StopIgnoresLeft) {
            let answer = self.world.reaches(node, target).then(|| self.stands(target));
            match answer {
                Some(Some((Look::Absent, stand))) if !stand.is_in_transfer() => {}
                Some(_) => return Ok(Ended::Success),
                None if self.was_lost_since(node, way) => {}
                None => return Ok(Ended::Failure),
            }
        }
        hold(Promise::P6StopMeansStop, planned || !self.world.hosts[target].runs(), || {
            format!("{} counts the copy as gone that runs on {}", name(node), name(target))
        })?;
        self.advance(node, Event::LeftAccounted).unwrap();
        if !planned || self.rules.mutated(Mutation::PlannedIsAccounted) {
            self.erase(node, way.epoch);
        }
        Ok(Ended::Success)
    }

    fn was_lost_since(&self, node: Node, way: Way) -> bool {
        let cluster = &self.world.cluster;
        let away = cluster.member[way.target()] != Member::In && !cluster.headless[node];
        away && cluster.fenced_at[way.target()].is_some_and(|at| at > way.epoch)
    }

    fn not_recorded(&mut self, node: Node, plan: Option<Node>) -> Done {
        let _withdrawn = self.advance(node, Event::OfferNotRecorded);
        self.go_to(node, Action::Stop { plan, at: StopAt::End })
    }

    pub(super) fn arm(&mut self, node: Node, epoch: Moment) {
        let keeper = &mut self.world.hosts[node].keeper;
        // A second one for the same offer stands by; it is what `Deed::Guard` brings back.
        if keeper.is_none_or(|keeper| keeper.epoch != epoch) {
            *keeper = Some(Keeper { epoch, at: KeeperAt::Watch });
        }
    }

    /// The guest shuts down or is destroyed: nothing is left under its own name. What bears one of xl's names is left
    /// alone.
    fn quench(&mut self, node: Node) -> Done {
        let streamed = self
            .world
            .streams
            .iter()
            .flatten()
            .any(|stream| stream.way.source() == node && stream.sender.lives());
        let here = self.world.hosts[node].own.is_some();
        hold(Promise::P4NeverLostToAMove, !(here && streamed), || {
            format!("{} shuts it down while it is being sent", name(node))
        })?;
        if !self.rules.mutated(Mutation::StopUnverified) {
            self.world.hosts[node].own = None;
        }
        Ok(())
    }

    /// `migrate_to` writes to the ledger where a copy may be from now on.
    fn announce(&mut self, node: Node, target: Node) -> Done {
        let host = &self.world.hosts[node];
        let member = self.world.cluster.member[node] == Member::In;
        if self.look(node) != Look::Running || host.stand.offer().is_some() || !member || host.nameless {
            return self.end_action(node, Ended::Failure);
        }
        let epoch = self.world.tick();
        self.world.left.moves = self.world.left.moves.saturating_sub(1);
        let way = Way::new(epoch, node, target);
        if !self.rules.mutated(Mutation::PushNotInLedger) {
            self.write(node, Entry::Push(way));
        }
        self.go_to(node, Action::MigrateTo { target, pushing: true })?;
        self.employ(new_stream(way, false), node)
    }

    fn migrate_from(&mut self, node: Node) -> Done {
        if self.look(node) != Look::Running && !self.rules.mutated(Mutation::MigrateFromBlind) {
            return self.end_action(node, Ended::Failure);
        }
        match self.advance(node, Event::Confirmed) {
            Ok(effects) if effects.contains(&Effect::ReportRunning) => self.end_action(node, Ended::Success),
            _ => self.end_action(node, Ended::Failure),
        }
    }

    /// `monitor`: the real [`judge`].
    fn probe(&mut self, node: Node) -> Done {
        if self.knows_no_name(node) {
            return self.end_action(node, Ended::NoAnswer);
        }
        let ended = match verdict(self.world, self.rules, node) {
            Verdict::Runs | Verdict::Degraded(_) => Ended::Success,
            Verdict::NotRunning => Ended::NotRunning,
            Verdict::Failed(_) | Verdict::Unknown(_) => Ended::Failure,
            Verdict::LookAgain(_) => return Ok(()),
        };
        self.end_action(node, ended)
    }

    // ---- the keeper ---------------------------------------------------------------------------------------------

    /// The next deed of the keeper on `node`.
    pub(super) fn keep(&mut self, node: Node) -> Done {
        let keeper = self.world.hosts[node].keeper.unwrap();
        let ours = |stand: Stand| stand.offer().is_some_and(|paper| paper.epoch == keeper.epoch);
        match keeper.at {
            KeeperAt::Watch => {
                if !ours(self.world.hosts[node].stand) {
                    self.world.hosts[node].keeper = None;
                    return Ok(());
                }
                let effects = self.advance(node, Event::OfferExpired).unwrap();
                if effects.contains(&Effect::ShutDown) {
                    self.keeper_goes_to(node, KeeperAt::Quench);
                }
                Ok(())
            }
            KeeperAt::Quench => {
                let host = &self.world.hosts[node];
                let withdrawn =
                    matches!(host.stand, Stand::Withdrawing(paper) if paper.epoch == keeper.epoch);
                if host.own.is_some() && !withdrawn && !self.rules.mutated(Mutation::KeeperOutlivesOffer) {
                    self.world.hosts[node].keeper = None;
                    return Ok(());
                }
                // A stop that has recorded its offer and is about to say so has the guest given up as well as one that has said so.
                let being_stopped = matches!(host.action, Some(Action::Stop { .. }));
                let claimed = self.world.cluster.belief[node] == Belief::Started && !being_stopped;
                hold(Promise::P5AnOfferEnds, host.own.is_none() || withdrawn && !claimed, || {
                    format!("the keeper on {} shuts down what is not on offer", name(node))
                })?;
                self.quench(node)?;
                self.keeper_goes_to(node, KeeperAt::Verify);
                Ok(())
            }
            KeeperAt::Verify => {
                self.world.hosts[node].keeper = None;
                if let Some(absence) = Absence::observe(&self.look(node).presence(), || false) {
                    // Refused only where the record has gone on; the keeper then says so and ends.
                    let _gone = self.advance(node, Event::DomainGone(absence));
                }
                Ok(())
            }
        }
    }

    /// The keeper has evidence that nobody is left who could fetch the offer.
    pub(super) fn desert(&mut self, node: Node) {
        let nobody = NobodyToFetch::conclude(&[], &Outlook::Nobody).unwrap();
        let effects = self.advance(node, Event::Deserted(nobody)).unwrap();
        if effects.contains(&Effect::ShutDown) {
            self.keeper_goes_to(node, KeeperAt::Quench);
        }
    }

    /// `serve`, verb `yield`, for the start on `node`.
    pub(super) fn have_it_yielded(&mut self, node: Node) {
        let Some(paper) = offer_to_end(self.world, node) else { return };
        let from = paper.source();
        let busy = self.world.is_transferring(from) && !self.rules.mutated(Mutation::YieldUnderStream);
        if !self.world.reaches(node, from) || busy {
            return;
        }
        let way = Way::new(paper.epoch, from, node);
        if self.advance(from, Event::Yielded(way.transfer())).is_ok() {
            self.world.hosts[from].yielded = true;
            self.arm(from, paper.epoch);
        }
    }

    fn keeper_goes_to(&mut self, node: Node, at: KeeperAt) {
        if let Some(keeper) = &mut self.world.hosts[node].keeper {
            keeper.at = at;
        }
    }

    // ---- workers ------------------------------------------------------------------------------------------------

    /// An action starts a worker, and leaves it the transfer lock.
    fn employ(&mut self, mut stream: Stream, node: Node) -> Done {
        let late = self.rules.mutated(Mutation::WorkerLocksLate)
            || stream.pull && self.rules.mutated(Mutation::DropEpochCheck);
        let begun = if late { Ours::Spawned } else { Ours::Runs };
        // A claimant has no copy: that is what a claim says.
        let has_one = stream.pull && self.look(node) != Look::Absent;
        if begun == Ours::Runs && (self.world.is_transferring(node) || has_one) {
            return self.word(node, Word::Failed);
        }
        if stream.pull {
            stream.at_target = begun
        } else {
            stream.at_source = begun
        }
        match self.world.streams.iter_mut().find(|place| place.is_none()) {
            Some(place) => {
                *place = Some(stream);
                Ok(())
            }
            // A bound of the model: as if no process could be started.
            None => self.word(node, Word::Failed),
        }
    }

    /// The worker of the action on `node` has ended.
    pub(super) fn word(&mut self, node: Node, word: Word) -> Done {
        match self.world.hosts[node].action {
            Some(Action::Start(StartAt::Fetching(mut knows))) => match word {
                Word::Moved => self.go_to(node, Action::Start(StartAt::Round)),
                Word::Refused(stands) => {
                    if let Some((look, stand)) = stands
                        && let Some(offer) = self.claimed(node)
                    {
                        knows.heard[offer.source()] = Heard::Stands(look, stand);
                    }
                    self.go_to(node, Action::Start(StartAt::Acquire(knows)))
                }
                Word::Failed | Word::Undecided => self.go_to(node, Action::Start(StartAt::Acquire(knows))),
            },
            Some(Action::MigrateTo { pushing: true, .. }) => {
                let ended = if word == Word::Moved { Ended::Success } else { Ended::Failure };
                self.end_action(node, ended)
            }
            // The action was killed meanwhile; nobody reads it.
            _ => Ok(()),
        }
    }

    fn claimed(&self, node: Node) -> Option<Paper> {
        if let Stand::Claiming(paper) = self.world.hosts[node].stand { Some(paper) } else { None }
    }
}

/// What the toolstack shows on `node`.
pub(super) fn seen(world: &World, rules: Rules, node: Node) -> Look {
    if world.renamed && rules.mutated(Mutation::NewNameAtOnce) {
        return Look::Absent;
    }
    match world.hosts[node].look() {
        Look::Rebooting if rules.mutated(Mutation::DaemonUnseen) => Look::Absent,
        Look::Incoming | Look::Away if rules.mutated(Mutation::OverlookSuffixes) => Look::Absent,
        look => look,
    }
}

/// `node::standing::stands`: nothing can be said while somebody holds the lock who has nothing on record yet.
pub(super) fn stands(world: &World, rules: Rules, node: Node) -> Option<(Look, Stand)> {
    let stand = world.hosts[node].stand;
    let about_to = world.is_transferring(node) && !stand.is_in_transfer();
    (!about_to || rules.mutated(Mutation::LockIsNoAnswer)).then(|| (seen(world, rules, node), stand))
}

/// What a monitor would say.
fn verdict(world: &World, rules: Rules, node: Node) -> Verdict {
    // (What a node answers while its lock is held, and what its probe says, are two guards; either alone is enough.)
    let overlooks = rules.mutated(Mutation::ProbeOverlooksFetch) || rules.mutated(Mutation::LockIsNoAnswer);
    let phase = match world.hosts[node].stand {
        stand if stand.is_offered_away() && rules.mutated(Mutation::MonitorTellsOffered) => Stand::Idle,
        Stand::Claiming(_) | Stand::Receiving(_) if overlooks => Stand::Idle,
        Stand::Arriving(_)
            if rules.mutated(Mutation::ProbeOverlooksGiven) && !world.is_transferring(node) =>
        {
            Stand::Idle
        }
        stand => stand,
    };
    let look = seen(world, rules, node);
    let presence = if look == Look::Rebooting { Presence::Absent } else { look.presence() };
    let attended = || matches!(look, Look::Running | Look::Rebooting);
    judge(&presence, &phase.phase(), || world.is_transferring(node), attended)
}

/// Whether a monitor looks again rather than answer.
pub(super) fn looks_again(world: &World, rules: Rules, node: Node) -> bool {
    matches!(verdict(world, rules, node), Verdict::LookAgain(_))
}

fn new_stream(way: Way, pull: bool) -> Stream {
    Stream {
        way,
        pull,
        boot: 0,
        open: false,
        at_source: Ours::NotYet,
        sender: Sender::NotYet,
        relay: false,
        at_target: Ours::NotYet,
        receiver: Receiver::NotYet,
        ready: Ready::Unsaid,
        go: Go::Unsaid,
        report: Report::Unsaid,
        entry: Written::Yes,
        says_ended: None,
    }
}

fn has_push(reading: Reading) -> bool {
    match reading {
        Reading::Read { entries, .. } => {
            entries.iter().flatten().any(|entry| matches!(entry, Entry::Push(_)))
        }
        Reading::NoCluster => false,
    }
}

/// The offer whose end the start on `node` may ask for.
pub(super) fn offer_to_end(world: &World, node: Node) -> Option<Paper> {
    let visible = world.visible(node).into_iter().filter_map(|node| world.ledger.slot[node]);
    visible.filter_map(offer_of).filter(|offer| offer.source() != node).max_by_key(|offer| offer.epoch)
}

fn offer_of(entry: Entry) -> Option<Paper> {
    if let Entry::Offer(paper) = entry { Some(paper) } else { None }
}

/// The real entry.
fn real(entry: Entry) -> ledger::Entry {
    match entry {
        Entry::Offer(paper) => ledger::Entry::Offer(paper.offer()),
        Entry::Push(way) => ledger::Entry::Push(way.push()),
    }
}

/// The real [`Entries::gather`].
fn gather(entries: impl IntoIterator<Item = Entry>) -> Entries {
    Entries::gather(entries.into_iter().map(|entry| Ok(real(entry))))
}
