//! Settling a broken transfer, deed by deed, as `src/transfer/settle.rs` does: what is decided is the real
//! [`resolve`], on the real words of the other end; this mirrors who does it, under which lock, and in which steps he may be
//! killed. It is one loop there for an action, a keeper, a worker, the far end of a claim and a person; so it is here.

use super::drive::{Done, Drive, Word, seen, stands};
use super::flow;
use super::mutation::{Mutation, Rules};
use super::promise::{Promise, hold};
use super::world::{
    Copy, Ended, Go, LONGEST_OFFER, Member, Node, Ours, Receiver, Report, Run, Sender, Sent, Settler, Stand,
    Stream, Way, World, epoch, name, time,
};
use xen_handoff::clock::UnixTime;
use xen_handoff::domain::Presence;
use xen_handoff::handoff::event::{ReceiverEnd, SenderEnd};
use xen_handoff::handoff::evidence::{Absence, PeerSays};
use xen_handoff::handoff::phase::Phase;
use xen_handoff::handoff::resolve::{self, AtSource, AtTarget};
use xen_handoff::handoff::{Event, Ran, SourcePhase};

/// The stream at whose end on `node` one of our own processes settles it: xl has ended there.
fn own_stream(world: &World, node: Node) -> Option<usize> {
    world.streams.iter().position(|stream| {
        stream
            .as_ref()
            .is_some_and(|stream| settles_as_source(stream, node) || settles_as_target(stream, node))
    })
}

fn settles_as_source(stream: &Stream, node: Node) -> bool {
    let over = matches!(stream.sender, Sender::Exited { .. } | Sender::Killed);
    stream.way.source() == node && stream.at_source == Ours::Runs && over
}

fn settles_as_target(stream: &Stream, node: Node) -> bool {
    let over = matches!(stream.receiver, Receiver::Exited | Receiver::Killed);
    stream.way.target() == node && stream.at_target == Ours::Runs && over
}

/// What somebody who settles on `node` would do next; nothing if he may not, or has to wait.
pub(super) fn decide(world: &World, rules: Rules, node: Node) -> Option<Settler> {
    let host = &world.hosts[node];
    if !host.up || !host.stand.is_in_transfer() || host.settler.is_some() {
        return None;
    }
    if own_stream(world, node).is_none() && world.is_transferring(node) {
        return None;
    }
    match host.stand {
        Stand::Sending(way, _) | Stand::Settling(way, _) => at_source(world, rules, node, way),
        Stand::Receiving(_) | Stand::Arriving(_) => at_target(world, rules, node),
        _ => None,
    }
}

fn at_source(world: &World, rules: Rules, node: Node, way: Way) -> Option<Settler> {
    let host = &world.hosts[node];
    let (phase, presence) = (host.stand.phase(), seen(world, rules, node).presence());
    if presence == Presence::Absent && matches!(phase, Phase::Source(SourcePhase::Sending { .. })) {
        return Some(Settler::Sent(Sent::Gone));
    }
    let now = now_of(world, host.stand, rules);
    let decision = match resolve::at_source(&phase, &presence, None, now) {
        AtSource::AskTarget => {
            resolve::at_source(&phase, &presence, Some(&ask(world, rules, node, way)), now)
        }
        decided => decided,
    };
    match decision {
        AtSource::StillHere => Some(Settler::Sent(Sent::StillHere)),
        AtSource::Moved => Some(Settler::Sent(Sent::Moved)),
        AtSource::Resume(_) => Some(Settler::TakeBack),
        AtSource::Destroy(_) => Some(Settler::Destroy),
        AtSource::AskTarget => None,
        AtSource::Wait(_) if rules.mutated(Mutation::ResumeOnSilence) => Some(Settler::TakeBack),
        AtSource::Wait(_) if rules.mutated(Mutation::DestroyOnSilence) => Some(Settler::Destroy),
        AtSource::Wait(_) => None,
    }
}

/// The time by the source's clock, as far as it matters to what it offered.
fn now_of(world: &World, stand: Stand, rules: Rules) -> UnixTime {
    match stand.offer() {
        Some(paper) if paper.epoch <= world.long_ago && !rules.mutated(Mutation::ResumeHoweverLate) => {
            UnixTime(paper.offer().deadline.0 + LONGEST_OFFER)
        }
        _ => time(world.clock),
    }
}

/// The target's word, as the source gets it: by way of the claim that it answers, or over a connection of its own.
fn ask(world: &World, rules: Rules, node: Node, way: Way) -> PeerSays {
    let target = way.target();
    let claims = |stream: &&Stream| {
        let waits = stream.at_source == Ours::NotYet && stream.at_target == Ours::Runs;
        stream.pull && waits && (stream.way.source(), stream.way.target()) == (node, target)
    };
    let claim = world.streams.iter().flatten().find(claims).filter(|_| world.reaches(target, node));
    let restarted = world.hosts[node].peer_restarted || rules.mutated(Mutation::DiscardLightly);
    let mut says = if let Some(claim) = claim {
        let ended = claim.says_ended.map(real);
        PeerSays::Stands { presence: Presence::Absent, phase: Phase::Idle, ended }
    } else if world.reaches(node, target) {
        let (presence, phase) = match stands(world, rules, target) {
            Some((look, stand)) => (look.presence(), stand.phase()),
            None => (Presence::Unknown("about to begin".to_owned()), Phase::Idle),
        };
        PeerSays::Stands { presence, phase, ended: world.hosts[target].ended.map(real) }
    } else {
        let fenced = world.cluster.fenced_at[target].filter(|_| tells_fencing(world, node, target));
        fenced.map_or(PeerSays::Silent("no answer".to_owned()), |at| PeerSays::Fenced(time(at)))
    };
    if rules.mutated(Mutation::AbsentIsEnough)
        && let PeerSays::Stands { presence: Presence::Absent, ended, .. } = &mut says
    {
        *ended = Some(real(Ended { epoch: way.epoch, ran: Ran::Never }));
    }
    if let PeerSays::Stands { presence, phase, .. } = &says
        && restarted
    {
        // The boot id in its greeting is another one than at the transfer's begin.
        says = PeerSays::Restarted { presence: presence.clone(), phase: phase.clone() };
    }
    says
}

fn tells_fencing(world: &World, node: Node, target: Node) -> bool {
    let cluster = &world.cluster;
    let answers = cluster.member[node] == Member::In && !cluster.headless[node];
    answers && cluster.member[target] != Member::In
}

fn at_target(world: &World, rules: Rules, node: Node) -> Option<Settler> {
    let phase = world.hosts[node].stand.phase();
    match resolve::at_target(&phase, &seen(world, rules, node).presence()) {
        AtTarget::Arrived => Some(Settler::Note { runs: true }),
        AtTarget::Nothing => Some(Settler::Note { runs: false }),
        AtTarget::DestroyIncoming(_) => Some(Settler::DestroyIncoming),
        AtTarget::Finish(_)
            if flow::receiver_lives(world, node) && !rules.mutated(Mutation::FinishUnderReceiver) =>
        {
            None
        }
        AtTarget::Finish(_) => Some(Settler::Finish),
        AtTarget::Wait(_) => None,
    }
}

fn real(ended: Ended) -> xen_handoff::handoff::Ended {
    xen_handoff::handoff::Ended { epoch: epoch(ended.epoch), ran: ended.ran }
}

impl Drive<'_> {
    /// The next deed of whoever settles on `node`: he decides, or does what he has decided.
    pub(super) fn settle(&mut self, node: Node) -> Done {
        let Some(settler) = self.world.hosts[node].settler else {
            self.world.hosts[node].settler = decide(self.world, self.rules, node);
            self.end_pipe(node);
            return Ok(());
        };
        let host = &mut self.world.hosts[node];
        let mut next = None;
        match settler {
            Settler::TakeBack => {
                if let Some(away) = host.away.take() {
                    host.own = Some(Copy { boot: away.boot, run: Run::Frozen, stale: away.stale });
                    next = Some(Settler::TakeBack);
                } else if host.own.is_some_and(|own| own.run == Run::Frozen) {
                    self.let_run(node, "settling")?;
                }
            }
            Settler::Destroy => self.destroy_suspended(node),
            Settler::Sent(end) => {
                self.world.hosts[node].settler = None;
                return self.note_sent(node, end);
            }
            Settler::DestroyIncoming => host.incoming = None,
            Settler::Finish => {
                if let Some(copy) = host.incoming.take() {
                    host.own = Some(Copy { boot: copy.boot, run: Run::Paused, stale: copy.stale });
                    next = Some(Settler::Finish);
                } else if host.own.is_some_and(|own| own.run == Run::Paused) {
                    self.let_run(node, "finishing what was given")?;
                }
            }
            Settler::Note { runs } => {
                if let Stand::Receiving(way) | Stand::Arriving(way) = host.stand {
                    let ran = match host.stand {
                        _ if self.rules.mutated(Mutation::EndedNeverRan) => Ran::Never,
                        _ if runs => Ran::Certainly,
                        Stand::Receiving(_) => Ran::Never,
                        _ => Ran::Perhaps,
                    };
                    host.ended = Some(Ended { epoch: way.epoch, ran });
                }
                next = Some(Settler::Received { runs });
            }
            Settler::Received { runs } => {
                self.world.hosts[node].settler = None;
                return self.note_received(node, runs);
            }
        }
        self.world.hosts[node].settler = next;
        Ok(())
    }

    /// Our process at the target settles only when its pipe has ended, and with it the connection. What it had written still
    /// arrives; what it had not delivered never will.
    fn end_pipe(&mut self, node: Node) {
        let Some(place) = own_stream(self.world, node) else { return };
        let mut stream = self.world.streams[place].clone().unwrap();
        if !settles_as_target(&stream, node) {
            return;
        }
        if !matches!(stream.report, Report::OnWire { .. }) {
            stream.open = false;
        }
        if stream.go != Go::Given {
            stream.go = Go::Unsaid;
        }
        self.put_back(place, stream);
    }

    fn destroy_suspended(&mut self, node: Node) {
        let host = &mut self.world.hosts[node];
        host.away = None;
        host.own = host.own.filter(|own| own.run != Run::Frozen);
    }

    fn note_sent(&mut self, node: Node, end: Sent) -> Done {
        let event = match end {
            Sent::Moved => Event::SenderEnded(SenderEnd::Moved),
            Sent::StillHere => Event::SenderEnded(SenderEnd::StillHere),
            Sent::Gone => match Absence::observe(&self.look(node).presence(), || false) {
                Some(absence) => Event::DomainGone(absence),
                None => return Ok(()),
            },
        };
        let noted = self.advance(node, event).is_ok();
        let word = if noted && end == Sent::Moved { Word::Moved } else { Word::Failed };
        self.end_of_ours(node, word)
    }

    fn note_received(&mut self, node: Node, runs: bool) -> Done {
        let end = if runs { ReceiverEnd::Running } else { ReceiverEnd::Nothing };
        let noted = self.advance(node, Event::ReceiverEnded(end)).is_ok();
        self.end_of_ours(node, if noted && runs { Word::Moved } else { Word::Failed })
    }

    /// Our own process on `node` has waited in vain for something that decides, and puts that on record.
    pub(super) fn undecided(&mut self, node: Node) -> Done {
        let event = match self.world.hosts[node].stand {
            Stand::Sending(..) | Stand::Settling(..) => Event::SenderEnded(SenderEnd::Undecided),
            _ => Event::ReceiverEnded(ReceiverEnd::Undecided),
        };
        // Refused where the record has gone on without it.
        let _noted = self.advance(node, event);
        self.end_of_ours(node, Word::Undecided)
    }

    /// The process that has settled its own stream ends, with a word to the action that employs it.
    fn end_of_ours(&mut self, node: Node, word: Word) -> Done {
        let Some(place) = own_stream(self.world, node) else { return Ok(()) };
        let mut stream = self.world.streams[place].clone().unwrap();
        let employed = if settles_as_source(&stream, node) {
            stream.at_source = Ours::Over;
            !stream.pull
        } else {
            stream.at_target = Ours::Over;
            stream.pull
        };
        self.put_back(place, stream);
        if !employed {
            return Ok(());
        }
        let host = &self.world.hosts[node];
        let remembered = host.own.is_some() || matches!(host.stand, Stand::Left(_));
        hold(Promise::RecordAgrees, word != Word::Moved || remembered, || {
            format!("{} has pushed it away, and its record does not say where to", name(node))
        })?;
        self.word(node, word)
    }

    /// Somebody kills whoever settles on `node`, if that is none of the stream's own processes.
    pub(super) fn kill_settler(&mut self, node: Node) {
        self.world.hosts[node].settler = None;
    }
}

/// Whether our own process at one end of the stream at `place` has nothing left to wait for.
pub(super) fn waits_in_vain(world: &World, rules: Rules, node: Node) -> bool {
    own_stream(world, node).is_some()
        && world.hosts[node].settler.is_none()
        && decide(world, rules, node).is_none()
}

/// Whether somebody settles on `node` who is none of a stream's own processes.
pub(super) fn settled_by_another(world: &World, node: Node) -> bool {
    world.hosts[node].settler.is_some() && own_stream(world, node).is_none()
}
