//! The agent's drivers, deed by deed, as `src/agent/`, `src/tool/keep.rs` and `src/transport/forced_command.rs` have them: what
//! they look at, which event they make of it, which effects they carry out, and in which order. A host may crash and any
//! process may be killed between two deeds. What decides is the real code: `step`, and the evidence types.

use super::known::{Known, Rules};
use super::mutation::{self, Mutation};
use super::promise::{Broken, Promise, hold};
use super::world::{
    Action, Copy, Heard, Keeper, KeeperAt, Knows, Look, Member, Moment, NODES, Node, Note, Ours, Paper,
    Reading, Ready, Receiver, Report, Run, Sender, Stand, StartAt, StopAt, Stream, Way, World, name,
};
use super::world::{Go, LONGEST_OFFER};
use std::time::Duration;
use xen_handoff::domain::Presence;
use xen_handoff::handoff::event::{OutOfOrder, ReceiverEnd, SenderEnd};
use xen_handoff::handoff::evidence::{
    Absence, Doubt, Inquiry, LedgerSays, NobodyElse, PeerReport, PeerSays, Recorded,
};
use xen_handoff::handoff::{Effect, Event};

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
    Failure,
}

/// One deed in progress on a world.
pub(super) struct Drive<'a> {
    pub(super) world: &'a mut World,
    pub(super) rules: Rules,
}

type Done = Result<(), Broken>;

impl Drive<'_> {
    /// The real step, put on record. Without `erase`, effects on the ledger are the caller's, who may forget them.
    pub(super) fn advance(
        &mut self,
        node: Node,
        event: Event,
        erase: bool,
    ) -> Result<Vec<Effect>, OutOfOrder> {
        let host = &mut self.world.hosts[node];
        let (phase, effects) = mutation::step(self.rules.mutation, host.stand.phase(), event)?;
        host.stand = Stand::of(&phase);
        if erase {
            for effect in &effects {
                if let Effect::EraseLedger(epoch) = effect {
                    self.erase(node, Moment::try_from(epoch.0).unwrap());
                }
            }
        }
        Ok(effects)
    }

    pub(super) fn erase(&mut self, by: Node, epoch: Moment) {
        for node in self.visible(by) {
            if self.world.ledger.slot[node].is_some_and(|paper| paper.epoch == epoch) {
                self.world.ledger.slot[node] = None;
            }
        }
    }

    /// Under whose names `by` sees attributes: the members of its part of the cluster.
    fn visible(&self, by: Node) -> Vec<Node> {
        match self.world.cluster.member[by] {
            Member::In => (0..NODES).filter(|&node| self.world.cluster.member[node] == Member::In).collect(),
            Member::Lost => vec![by],
            Member::Out => vec![],
        }
    }

    /// The repair of [`Known::PushNotInLedger`]: whoever starts the domain must hear the target of this push.
    pub(super) fn note_push(&mut self, way: Way) {
        if self.rules.repaired(Known::PushNotInLedger) {
            for node in self.visible(way.source()) {
                self.world.ledger.slot[node] = Some(Paper::new(way.target(), way.epoch));
            }
        }
    }

    fn offers(&self, by: Node) -> Vec<Paper> {
        let mut offers: Vec<Paper> =
            self.visible(by).into_iter().filter_map(|node| self.world.ledger.slot[node]).collect();
        offers.sort_by_key(|offer| std::cmp::Reverse(offer.epoch));
        offers.dedup();
        offers
    }

    /// What the toolstack shows on `node`.
    pub(super) fn look(&self, node: Node) -> Look {
        match self.world.hosts[node].look() {
            Look::Incoming | Look::Away if self.rules.mutated(Mutation::OverlookSuffixes) => Look::Absent,
            look => look,
        }
    }

    fn end_action(&mut self, node: Node, ended: Ended) -> Done {
        let action = self.world.hosts[node].action.take();
        super::cluster::heard(self, node, action, ended)
    }

    fn go_to(&mut self, node: Node, action: Action) -> Done {
        self.world.hosts[node].action = Some(action);
        Ok(())
    }

    // ---- settling what a killed process left behind -------------------------------------------------------------

    /// Whether `settle` would come to an end: xl's receiver, if it was given GO, is waited for.
    pub(super) fn can_settle(world: &World, node: Node) -> bool {
        let pending = world
            .streams
            .iter()
            .flatten()
            .any(|stream| stream.way.target() == node && stream.receiver.lives());
        let given = matches!(world.hosts[node].stand, Stand::Arriving(_));
        !(given && pending && matches!(world.hosts[node].look(), Look::Incoming | Look::Paused))
    }

    /// `transfer::send::settle_abandoned`. Its effects are not carried out.
    pub(super) fn settle_sender(&mut self, node: Node) {
        let settling = match self.world.hosts[node].stand {
            Stand::Sending(..) => false,
            Stand::Settling(..) => true,
            _ => return,
        };
        let end = match self.look(node) {
            Look::Running => SenderEnd::StillHere,
            Look::Frozen if !settling => SenderEnd::StillHere,
            Look::Absent if settling => SenderEnd::Moved,
            _ => SenderEnd::Undecided,
        };
        self.advance(node, Event::SenderEnded(end), false).unwrap();
    }

    /// `transfer::receive::settle_abandoned`.
    pub(super) fn settle_receiver(&mut self, node: Node) {
        if matches!(self.world.hosts[node].stand, Stand::Receiving(_) | Stand::Arriving(_)) {
            let end = self.find_out_receiver(node);
            self.advance(node, Event::ReceiverEnded(end), false).unwrap();
        }
    }

    /// `transfer::receive::find_out`.
    pub(super) fn find_out_receiver(&mut self, node: Node) -> ReceiverEnd {
        let never_given = matches!(self.world.hosts[node].stand, Stand::Receiving(_));
        if self.look(node) == Look::Incoming && never_given {
            self.world.hosts[node].incoming = None;
        }
        match self.look(node) {
            Look::Running => ReceiverEnd::Running,
            Look::Absent => ReceiverEnd::Nothing,
            _ => ReceiverEnd::Undecided,
        }
    }

    // ---- the cluster's actions ----------------------------------------------------------------------------------

    /// The next deed of the action on `node`.
    pub(super) fn act(&mut self, node: Node) -> Done {
        match self.world.hosts[node].action.unwrap() {
            Action::Start(at) => self.start(node, at),
            Action::Stop { plan, at } => self.stop(node, plan, at),
            Action::MigrateTo { target, .. } => self.migrate_to(node, target),
            Action::MigrateFrom => self.migrate_from(node),
            Action::Probe => self.probe(node),
        }
    }

    fn start(&mut self, node: Node, at: StartAt) -> Done {
        match at {
            StartAt::Round => self.round(node),
            StartAt::Acquire(knows) => self.acquire(node, knows),
            StartAt::Fetching(_) => unreachable!("a start that fetches waits for its worker"),
            StartAt::Asking(knows, reading) => self.conclude(node, knows, reading),
            StartAt::Proven => {
                self.world.hosts[node].own = {
                    self.world.boots += 1;
                    Some(Copy { boot: self.world.boots, run: Run::Running })
                };
                self.end_action(node, Ended::Success)
            }
        }
    }

    fn round(&mut self, node: Node) -> Done {
        self.settle_sender(node);
        self.settle_receiver(node);
        let stand = self.world.hosts[node].stand;
        match self.look(node) {
            Look::Running => {
                let event = match stand {
                    Stand::Offering(_) | Stand::Offered(_) => Event::Reclaimed,
                    Stand::Arrived(_) | Stand::Idle | Stand::Left(_) | Stand::Claiming(_) => Event::Confirmed,
                    _ => return Ok(()), // again
                };
                match self.advance(node, event, true) {
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
                    if self.advance(node, Event::DomainGone(absence), true).is_err() {
                        return self.end_action(node, Ended::Failure);
                    }
                }
                let sent_to = if let Stand::Left(way) = stand { Some(way) } else { None };
                let knows = Knows { sent_to, ..Knows::default() };
                self.go_to(node, Action::Start(StartAt::Acquire(knows)))
            }
            Look::Incoming | Look::Away => Ok(()), // again
            Look::Paused | Look::Frozen => self.end_action(node, Ended::Failure),
        }
    }

    fn absence(&self, node: Node) -> Absence {
        Absence::observe(&self.look(node).presence(), false).unwrap()
    }

    fn acquire(&mut self, node: Node, mut knows: Knows) -> Done {
        let offers = self.offers(node);
        for own in offers.iter().filter(|offer| offer.source() == node) {
            self.erase(node, own.epoch);
        }
        let untried =
            offers.into_iter().find(|offer| offer.source() != node && knows.tried & (1 << offer.epoch) == 0);
        let Some(offer) = untried else {
            let reading = self.read_ledger(node);
            return self.go_to(node, Action::Start(StartAt::Asking(knows, reading)));
        };
        knows.tried |= 1 << offer.epoch;
        let granted = self.advance(node, Event::OfferFound(offer.offer()), true);
        if !granted.is_ok_and(|effects| effects.iter().any(|effect| matches!(effect, Effect::Claim(_)))) {
            return self.end_action(node, Ended::Failure);
        }
        self.go_to(node, Action::Start(StartAt::Fetching(knows)))?;
        let way = Way::new(offer.epoch, offer.source(), node);
        let mut stream = self.new_stream(way, true);
        stream.at_target = Ours::Runs;
        self.put(stream, node)
    }

    fn read_ledger(&mut self, node: Node) -> Reading {
        let mut offers = [None; NODES];
        let others = self.offers(node).into_iter().filter(|offer| offer.source() != node);
        for (place, offer) in offers.iter_mut().zip(others) {
            *place = Some(offer);
        }
        let visible = self.visible(node);
        let note = &mut self.world.ledger.note;
        let old = if self.rules.repaired(Known::AgeOfOldestNote) {
            note[node] == Note::Old
        } else {
            visible.iter().any(|&node| note[node] == Note::Old)
        };
        if note[node] == Note::None {
            note[node] = Note::Young;
        }
        Reading { offers, old: old || self.rules.mutated(Mutation::TrustYoungLedger) }
    }

    /// A start asks one peer.
    pub(super) fn ask(&mut self, node: Node, peer: Node) -> Done {
        let Some(Action::Start(StartAt::Asking(mut knows, reading))) = self.world.hosts[node].action else {
            unreachable!("only a start asks")
        };
        let member = self.world.cluster.member[peer] == Member::In;
        knows.heard[peer] = if self.world.reaches(node, peer) && !self.rules.mutated(Mutation::AskNobody) {
            let stand = self.world.hosts[peer].stand;
            let about_to = self.world.is_transferring(peer) && !stand.is_in_transfer();
            if about_to && self.rules.repaired(Known::FetchNotYetOnRecord) {
                Heard::AboutTo
            } else {
                Heard::Stands(self.look(peer), stand)
            }
        } else {
            match self.world.cluster.fenced_at[peer] {
                Some(at) if !member => Heard::Fenced(at),
                _ => Heard::Silent { member },
            }
        };
        self.go_to(node, Action::Start(StartAt::Asking(knows, reading)))
    }

    /// Weighs what was heard, by the real [`NobodyElse::conclude`], and puts the proof on record.
    fn conclude(&mut self, node: Node, knows: Knows, reading: Reading) -> Done {
        let again = Action::Start(StartAt::Round);
        match self.weigh(node, knows, reading) {
            Err(_) => self.go_to(node, again),
            Ok(nobody) => match self.advance(node, Event::BootProven(nobody), true) {
                Ok(effects) if effects.iter().any(|effect| matches!(effect, Effect::Boot(_))) => {
                    let others = || (0..NODES).filter(|&other| other != node);
                    let holder = others().find(|&other| self.may_run(other));
                    hold(Promise::P2ProofBeforeBoot, holder.is_none(), || {
                        format!("{} boots it while {} has it", name(node), name(holder.unwrap()))
                    })?;
                    self.go_to(node, Action::Start(StartAt::Proven))
                }
                Ok(_) => self.go_to(node, again),
                Err(_) => self.end_action(node, Ended::Failure),
            },
        }
    }

    fn weigh(&self, node: Node, knows: Knows, reading: Reading) -> Result<NobodyElse, Doubt> {
        let offers = reading.offers.iter().flatten().map(|paper| paper.offer()).collect();
        let age = Duration::from_secs(if reading.old { LONGEST_OFFER + 1 } else { LONGEST_OFFER });
        let silent = || PeerSays::Silent("no answer".to_owned());
        let peers: Vec<PeerReport> = (0..NODES)
            .filter(|&peer| peer != node)
            .map(|peer| {
                let says = match knows.heard[peer] {
                    Heard::Stands(look, stand) => {
                        PeerSays::Stands { presence: look.presence(), phase: stand.phase(), ended: None }
                    }
                    Heard::AboutTo => {
                        let presence = Presence::Unknown("a transfer is about to begin".to_owned());
                        PeerSays::Stands { presence, phase: Stand::Idle.phase(), ended: None }
                    }
                    Heard::Fenced(_) if self.rules.mutated(Mutation::FencedEver) => {
                        PeerSays::Fenced(xen_handoff::clock::UnixTime(u64::MAX))
                    }
                    Heard::Fenced(at) => PeerSays::Fenced(super::world::time(at)),
                    Heard::Silent { .. } | Heard::NotAsked if self.rules.mutated(Mutation::BootOnSilence) => {
                        PeerSays::Stands {
                            presence: Look::Absent.presence(),
                            phase: Stand::Idle.phase(),
                            ended: None,
                        }
                    }
                    Heard::Silent { .. } | Heard::NotAsked => silent(),
                };
                PeerReport { node: name(peer), says }
            })
            .collect();
        let sent_to = knows.sent_to.map(|way| name(way.target()));
        let nobody = NobodyElse::conclude(&Inquiry {
            ledger: &LedgerSays::Offers { offers, age },
            longest_offer: Duration::from_secs(LONGEST_OFFER),
            peers: &peers,
            sent_to: sent_to.as_ref(),
        })?;
        let deaf = self.rules.mutated(Mutation::BootOnSilence) || self.rules.mutated(Mutation::AskNobody);
        let silent_member = knows.heard.iter().position(|heard| *heard == Heard::Silent { member: true });
        match silent_member {
            Some(peer) if self.rules.repaired(Known::SilentMember) && !deaf => Err(Doubt::Silent {
                node: name(peer),
                because: "it is a member".to_owned(),
                silence: "no answer".to_owned(),
            }),
            _ => Ok(nobody),
        }
    }

    /// Whether `node` has a copy that runs, or that comes to run without anybody's further decision.
    fn may_run(&self, node: Node) -> bool {
        let mut streams = self.world.streams.iter().flatten();
        match self.world.hosts[node].look() {
            Look::Running => true,
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
            StopAt::Gates => {
                let Some(target) = plan.filter(|_| self.look(node) == Look::Running) else {
                    return self.go_to(node, next(StopAt::End));
                };
                if let Stand::Offered(paper) = stand
                    && !self.world.has_expired(paper.epoch)
                {
                    if self.rules.repaired(Known::NobodyKeepsIt) {
                        self.arm(node, paper.epoch);
                    }
                    return self.end_action(node, Ended::Success);
                }
                if !self.world.reaches(node, target) || self.world.left.moves == 0 {
                    return self.go_to(node, next(StopAt::End));
                }
                let epoch = self.world.tick();
                let offer = Paper::new(node, epoch);
                match self.advance(node, Event::OfferMade(offer.offer()), true) {
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
                    for survivor in self.visible(node).into_iter().filter(|&survivor| survivor != node) {
                        self.world.ledger.slot[survivor] = Some(paper);
                    }
                }
                self.go_to(node, next(StopAt::ReadBack(target)))
            }
            StopAt::ReadBack(target) => {
                let Stand::Offering(paper) = stand else { return self.go_to(node, next(StopAt::End)) };
                let mut read = if self.world.reaches(node, target) { self.offers(target) } else { vec![] };
                if self.rules.mutated(Mutation::SkipLedgerWrite) {
                    read.push(paper);
                }
                let read: Vec<_> = read.into_iter().map(Paper::offer).collect();
                let Some(recorded) = Recorded::observe(&paper.offer(), &read) else {
                    return self.not_recorded(node, plan);
                };
                match self.advance(node, Event::OfferRecorded(recorded), true) {
                    Ok(_) => {
                        let there = self.offers(target).contains(&paper);
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
            StopAt::End => match self.advance(node, Event::StopOrdered, self.erases_early()) {
                Ok(effects) if effects.contains(&Effect::ShutDown) => self.go_to(node, next(StopAt::Quench)),
                _ => self.end_action(node, Ended::Failure),
            },
            StopAt::Quench => {
                self.quench(node)?;
                self.go_to(node, next(StopAt::Verify))
            }
            StopAt::Verify => {
                let seen =
                    if self.rules.mutated(Mutation::StopUnverified) { Look::Absent } else { self.look(node) };
                let Some(absence) = Absence::observe(&seen.presence(), false) else {
                    return self.end_action(node, Ended::Failure);
                };
                match self.advance(node, Event::DomainGone(absence), true) {
                    Ok(_) => self.end_action(node, Ended::Success),
                    Err(_) => self.end_action(node, Ended::Failure),
                }
            }
        }
    }

    fn stop_begins(&mut self, node: Node, plan: Option<Node>) -> Done {
        let next = |at| Action::Stop { plan, at };
        if matches!(self.world.hosts[node].stand, Stand::Sending(_, Some(_)) | Stand::Settling(_, Some(_)))
            && self.world.is_transferring(node)
        {
            if self.rules.mutated(Mutation::StopUnderStream) {
                return self.go_to(node, next(StopAt::Quench));
            }
            return self.end_action(node, Ended::Success);
        }
        self.settle_sender(node);
        self.settle_receiver(node);
        let stand = self.world.hosts[node].stand;
        if matches!(stand, Stand::Settling(..) | Stand::Arriving(_)) {
            return self.end_action(node, Ended::Failure);
        }
        if let Some(absence) = Absence::observe(&self.look(node).presence(), false) {
            let ended = match stand {
                Stand::Left(way) => self.account_for_left(node, way, plan)?,
                Stand::Idle => Ended::Success,
                _ => match self.advance(node, Event::DomainGone(absence), true) {
                    Ok(_) => Ended::Success,
                    Err(_) => Ended::Failure,
                },
            };
            return self.end_action(node, ended);
        }
        if matches!(stand, Stand::Left(_)) && self.advance(node, Event::Confirmed, true).is_err() {
            return self.end_action(node, Ended::Failure);
        }
        self.go_to(node, next(StopAt::Gates))
    }

    fn account_for_left(&mut self, node: Node, way: Way, plan: Option<Node>) -> Result<Ended, Broken> {
        let target = way.target();
        let planned = plan == Some(target);
        if !planned && !self.rules.mutated(Mutation::StopIgnoresLeft) {
            if !self.world.reaches(node, target) {
                return Ok(Ended::Failure);
            }
            if self.look(target) != Look::Absent || self.world.hosts[target].stand.is_in_transfer() {
                return Ok(Ended::Success);
            }
        }
        hold(Promise::P6StopMeansStop, planned || !self.world.hosts[target].runs(), || {
            format!("{} counts the copy as gone that runs on {}", name(node), name(target))
        })?;
        self.advance(node, Event::LeftAccounted, true).unwrap();
        if !planned {
            // Where it is planned to run, the target's own action takes the push out of the ledger.
            self.erase(node, way.epoch);
        }
        Ok(Ended::Success)
    }

    /// The repair of [`Known::ErasedBeforeGone`] leaves the offer in the ledger until [`Event::DomainGone`] erases it.
    fn erases_early(&self) -> bool {
        !self.rules.repaired(Known::ErasedBeforeGone)
    }

    fn not_recorded(&mut self, node: Node, plan: Option<Node>) -> Done {
        let _withdrawn = self.advance(node, Event::OfferNotRecorded, self.erases_early());
        self.go_to(node, Action::Stop { plan, at: StopAt::End })
    }

    fn arm(&mut self, node: Node, epoch: Moment) {
        let keeper = &mut self.world.hosts[node].keeper;
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

    fn migrate_to(&mut self, node: Node, target: Node) -> Done {
        self.settle_sender(node);
        self.settle_receiver(node);
        let host = &self.world.hosts[node];
        if self.look(node) != Look::Running || host.stand.offer().is_some() {
            return self.end_action(node, Ended::Failure);
        }
        let epoch = self.world.tick();
        self.world.left.moves = self.world.left.moves.saturating_sub(1);
        self.go_to(node, Action::MigrateTo { target, pushing: true })?;
        let mut stream = self.new_stream(Way::new(epoch, node, target), false);
        stream.at_source = Ours::Runs;
        self.put(stream, node)
    }

    fn migrate_from(&mut self, node: Node) -> Done {
        self.settle_sender(node);
        self.settle_receiver(node);
        if self.look(node) != Look::Running && !self.rules.mutated(Mutation::MigrateFromBlind) {
            return self.end_action(node, Ended::Failure);
        }
        match self.advance(node, Event::Confirmed, true) {
            Ok(effects) if effects.contains(&Effect::ReportRunning) => self.end_action(node, Ended::Success),
            _ => self.end_action(node, Ended::Failure),
        }
    }

    /// `monitor`, judged as `src/agent/monitor.rs` does.
    fn probe(&mut self, node: Node) -> Done {
        let stand = self.world.hosts[node].stand;
        let offered = stand.is_offered_away();
        let busy = stand.is_in_transfer() && self.world.is_transferring(node);
        let ended = match self.look(node) {
            Look::Running if offered && self.rules.mutated(Mutation::MonitorTellsOffered) => Ended::Success,
            Look::Running | Look::Paused | Look::Frozen | Look::Away if offered => Ended::NotRunning,
            Look::Running => Ended::Success,
            Look::Frozen if busy => Ended::Success,
            Look::Paused | Look::Away | Look::Incoming if busy => match stand {
                Stand::Receiving(_) => Ended::NotRunning,
                _ => return Ok(()), // looks again
            },
            Look::Paused | Look::Frozen | Look::Away => Ended::Failure,
            Look::Incoming | Look::Absent => Ended::NotRunning,
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
                if matches!(self.world.hosts[node].stand, Stand::Sending(..))
                    && !self.world.is_transferring(node)
                {
                    self.settle_sender(node);
                }
                let effects = self.advance(node, Event::OfferExpired, false).unwrap();
                if effects.contains(&Effect::ShutDown) {
                    self.keeper_goes_to(node, KeeperAt::Quench);
                }
                Ok(())
            }
            KeeperAt::Quench => {
                let host = &self.world.hosts[node];
                let withdrawn =
                    matches!(host.stand, Stand::Withdrawing(paper) if paper.epoch == keeper.epoch);
                if host.own.is_some() && !withdrawn && self.rules.repaired(Known::KeeperOutlivesOffer) {
                    self.world.hosts[node].keeper = None;
                    return Ok(());
                }
                let claimed = self.world.cluster.belief[node] == super::world::Belief::Started;
                hold(Promise::P5AnOfferEnds, host.own.is_none() || withdrawn && !claimed, || {
                    format!("the keeper on {} shuts down what is not on offer", name(node))
                })?;
                self.quench(node)?;
                self.keeper_goes_to(node, KeeperAt::Verify);
                Ok(())
            }
            KeeperAt::Verify => {
                self.world.hosts[node].keeper = None;
                if let Some(absence) = Absence::observe(&self.look(node).presence(), false) {
                    // Refused only where the record has gone on; the keeper then says so and ends.
                    let _gone = self.advance(node, Event::DomainGone(absence), true);
                }
                Ok(())
            }
        }
    }

    fn keeper_goes_to(&mut self, node: Node, at: KeeperAt) {
        if let Some(keeper) = &mut self.world.hosts[node].keeper {
            keeper.at = at;
        }
    }

    // ---- streams ------------------------------------------------------------------------------------------------

    fn new_stream(&self, way: Way, pull: bool) -> Stream {
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
        }
    }

    fn put(&mut self, stream: Stream, node: Node) -> Done {
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
