//! One stream of xl, message by message: `xl migrate` and `xl migrate-receive` as they behave from Xen 4.1 to 4.20, our relay and
//! pipe between them, and our two processes that put begin and end on record (`src/transfer/`, `serve` in
//! `src/serve/`, `src/worker/`).
//!
//! What xl does when its stream ends early: a sender that has not renamed its copy resumes it; one that has leaves it as
//! `--migratedaway`, suspended, and says "CHECK AT BOTH ENDS". A receiver that has not got GO destroys its copy; one that
//! has goes on. A report other than "it runs" gives the domain back to the sender.

use super::drive::{Drive, Word};
use super::mutation::{Mutation, Rules};
use super::promise::Broken;
use super::settle;
use super::world::{
    Away, Copy, Entry, Go, Incoming, Look, Node, Ours, Ready, Receiver, Report, Run, Sender, Stream, World,
    Written,
};
use xen_handoff::handoff::evidence::{Recorded, SourceQuiet, Suspended};
use xen_handoff::handoff::handshake::GO;
use xen_handoff::handoff::ledger::{self, Entries};
use xen_handoff::handoff::{Effect, Event};

/// The next thing that one of those who have a hand in a stream does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Part {
    /// A worker takes the transfer lock (only where it did not get it from the action that started it).
    Lock,
    /// `push` has the target read the push back from its ledger.
    ReadBack,
    /// The far end answers a claim or a push: granted or refused.
    Answer,
    /// `push` puts its begin on record and starts `xl migrate`.
    Send,
    /// The target puts its begin on record and starts `xl migrate-receive`.
    Receive,
    /// The memory has passed; the guest is suspended.
    Suspend,
    /// The receiver says *ready*; it comes as far as the relay.
    SayReady,
    /// The relay puts *ready* on record.
    NoteReady,
    /// The relay shows it to xl.
    ShowReady,
    /// `xl migrate` renames its copy to `--migratedaway`.
    RenameAway,
    /// `xl migrate` says GO.
    SayGo,
    /// GO comes as far as our pipe at the target.
    CarryGo,
    /// Our pipe puts GO on record.
    NoteGo,
    /// Our pipe gives it to the receiver.
    GiveGo,
    /// The receiver renames its copy from `--incoming`.
    RenameHere,
    /// The receiver lets it run.
    Unpause,
    /// The receiver cannot let it run, and destroys it.
    Refuse,
    /// The receiver reports and ends.
    Report,
    /// The report comes to the source.
    CarryReport,
    /// `xl migrate` has the report: it destroys its copy, or takes it back.
    Finish,
    /// `xl migrate` cannot go on, and says so: the hypervisor cannot save the domain, say.
    CannotSave,
    /// `xl migrate` sees its stream end.
    SenderSeesEnd,
    /// `xl migrate-receive` sees its stream end.
    ReceiverSeesEnd,
    /// Our process at the source finds nothing that decides, and says so. (What it finds otherwise is a [`super::deed::Deed::Settle`].)
    SentUndecided,
    /// The same at the target.
    ReceivedUndecided,
    /// The connection ends: it is cut, or one of those who hold it has gone.
    Break,
}

/// Which of the processes of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Process {
    AtSource,
    Sender,
    Relay,
    AtTarget,
    Receiver,
}

/// The parts that can come next in the stream at `place`.
pub(super) fn parts(world: &World, rules: Rules, place: usize, refusals: bool, out: &mut Vec<Part>) {
    let Some(stream) = &world.streams[place] else { return };
    let mut may = |part, holds: bool| {
        if holds {
            out.push(part);
        }
    };
    // What a cut link does not carry waits until it heals, or the connection ends.
    let severed = !world.reaches(stream.way.source(), stream.way.target());
    let carries = stream.open && !severed;
    let waits = if stream.pull {
        stream.at_target == Ours::Runs && stream.at_source == Ours::NotYet
    } else {
        stream.at_source == Ours::Runs && stream.at_target == Ours::NotYet
    };
    may(Part::Lock, stream.at_source == Ours::Spawned || stream.at_target == Ours::Spawned);
    may(Part::ReadBack, waits && stream.entry == Written::Yes && !stream.pull);
    may(Part::Answer, waits && (stream.pull || stream.entry == Written::ReadBack));
    // Once granted, it begins, also where the connection has ended meanwhile.
    let granted = stream.at_source == Ours::Runs && stream.at_target != Ours::NotYet;
    may(Part::Send, !stream.pull && granted && stream.sender == Sender::NotYet);
    let opened = stream.open && stream.at_target == Ours::Runs && stream.at_source != Ours::NotYet;
    may(Part::Receive, opened && stream.receiver == Receiver::NotYet);
    may(
        Part::Suspend,
        stream.sender == Sender::Copying
            && world.left.stuck == 0
            && carries
            && stream.relay
            && stream.at_target == Ours::Runs
            && stream.receiver == Receiver::Receiving,
    );
    may(Part::CannotSave, stream.sender == Sender::Copying && world.left.stuck > 0);
    let carried_up = carries && stream.at_target == Ours::Runs && stream.relay;
    may(
        Part::SayReady,
        stream.receiver == Receiver::Receiving && stream.sender == Sender::Suspended && carried_up,
    );
    may(Part::NoteReady, stream.ready == Ready::AtRelay && stream.relay);
    may(Part::ShowReady, stream.ready == Ready::Noted && stream.relay && stream.sender == Sender::Suspended);
    may(Part::RenameAway, stream.sender == Sender::SawReady);
    may(Part::SayGo, stream.sender == Sender::Renamed && stream.relay && stream.open);
    may(Part::CarryGo, stream.go == Go::OnWire && carries && stream.at_target == Ours::Runs);
    may(Part::NoteGo, stream.go == Go::AtPipe && stream.at_target == Ours::Runs);
    may(Part::GiveGo, stream.go == Go::Noted && stream.at_target == Ours::Runs);
    let given = stream.receiver == Receiver::SaidReady && stream.go == Go::Given;
    may(Part::RenameHere, given);
    may(Part::Refuse, given && refusals);
    may(Part::Unpause, stream.receiver == Receiver::Renamed);
    may(Part::Report, stream.receiver == Receiver::Unpaused);
    may(Part::CarryReport, matches!(stream.report, Report::OnWire { .. }) && carries && stream.relay);
    let reported = matches!(stream.report, Report::AtSource { .. });
    may(Part::Finish, stream.sender == Sender::SaidGo && reported);
    let no_stream_up = !stream.relay || !stream.open;
    may(
        Part::SenderSeesEnd,
        no_stream_up
            && match stream.sender {
                Sender::Copying | Sender::Renamed => true,
                Sender::Suspended => stream.ready != Ready::Shown,
                Sender::SaidGo => !reported,
                _ => false,
            },
    );
    let go_may_come =
        stream.at_target == Ours::Runs && (stream.open || matches!(stream.go, Go::AtPipe | Go::Noted));
    may(
        Part::ReceiverSeesEnd,
        matches!(stream.receiver, Receiver::Receiving | Receiver::SaidReady)
            && stream.go != Go::Given
            && !go_may_come,
    );
    let sender_over = matches!(stream.sender, Sender::Exited { .. } | Sender::Killed);
    may(
        Part::SentUndecided,
        stream.at_source == Ours::Runs
            && sender_over
            && settle::waits_in_vain(world, rules, stream.way.source()),
    );
    let receiver_over = matches!(stream.receiver, Receiver::Exited | Receiver::Killed);
    may(
        Part::ReceivedUndecided,
        stream.at_target == Ours::Runs
            && receiver_over
            && settle::waits_in_vain(world, rules, stream.way.target()),
    );
    let begun = stream.at_source != Ours::NotYet && stream.at_target != Ours::NotYet;
    let never_sent = stream.sender == Sender::NotYet && stream.at_source != Ours::Runs;
    let carrier_gone =
        stream.at_target == Ours::Killed || stream.sender != Sender::NotYet && !stream.relay || never_sent;
    // An end in good order: what was written before it still arrives.
    let on_wire = stream.go == Go::OnWire || matches!(stream.report, Report::OnWire { .. });
    let at_its_end = !on_wire && (sender_over || receiver_over || stream.at_target == Ours::Over);
    may(Part::Break, stream.open && begun && (severed || carrier_gone || at_its_end));
}

impl Drive<'_> {
    /// Lets `part` of the stream at `place` happen.
    pub(super) fn flow(&mut self, place: usize, part: Part) -> Result<(), Broken> {
        let mut stream = self.world.streams[place].clone().unwrap();
        let (from, to) = (stream.way.source(), stream.way.target());
        let mut word = None;
        match part {
            Part::Lock => word = self.lock(&mut stream),
            Part::ReadBack => {
                let read =
                    self.world.reaches(from, to) && self.read_back(to, Entry::Push(stream.way)).is_some();
                if read {
                    stream.entry = Written::ReadBack;
                } else {
                    word = self.never_begun(&mut stream);
                }
            }
            Part::Answer if stream.pull => word = self.give(place, &mut stream),
            Part::Answer => word = self.take(place, &mut stream),
            Part::Send => {
                if self.advance(from, Event::Pushed(stream.way.transfer(), recorded(&stream))).is_ok() {
                    self.send(&mut stream);
                } else {
                    stream.at_source = Ours::Over;
                    word = Some((from, Word::Failed));
                }
            }
            Part::Receive => {
                if self.advance(to, Event::StreamOpened(stream.way.transfer())).is_ok() {
                    stream.receiver = Receiver::Receiving;
                    self.world.hosts[to].incoming =
                        Some(Incoming { boot: stream.boot, stale: false, maker: place, given: false });
                } else {
                    (stream.at_target, stream.open) = (Ours::Over, false);
                    word = stream.pull.then_some((to, Word::Failed));
                }
            }
            Part::Suspend => match &mut self.world.hosts[from].own {
                Some(own) if own.run == Run::Running => {
                    own.run = Run::Frozen;
                    stream.sender = Sender::Suspended;
                }
                _ => stream.sender = Sender::Exited { moved: false },
            },
            Part::CannotSave => (stream.sender, stream.relay) = (Sender::Exited { moved: false }, false),
            Part::SayReady => (stream.receiver, stream.ready) = (Receiver::SaidReady, Ready::AtRelay),
            Part::NoteReady => {
                let suspended = Suspended::observe(&self.look(from).presence());
                if self.rules.mutated(Mutation::SkipSettling)
                    || suspended.is_some_and(|suspended| {
                        self.advance(from, Event::ReadySeen(suspended))
                            .is_ok_and(|effects| effects.contains(&Effect::ForwardReady))
                    })
                {
                    stream.ready = Ready::Noted;
                } else {
                    (stream.relay, stream.open) = (false, false);
                }
            }
            Part::ShowReady => (stream.ready, stream.sender) = (Ready::Shown, Sender::SawReady),
            Part::RenameAway => {
                let host = &mut self.world.hosts[from];
                host.away = host.own.take().map(|own| Away { boot: own.boot, stale: own.stale });
                stream.sender = Sender::Renamed;
            }
            Part::SayGo => (stream.sender, stream.go) = (Sender::SaidGo, Go::OnWire),
            Part::CarryGo => stream.go = Go::AtPipe,
            Part::NoteGo => {
                let quiet = SourceQuiet::observe(GO).unwrap();
                if self.rules.mutated(Mutation::SkipArriving)
                    || self.advance(to, Event::GoArrived(quiet)).is_ok_and(|effects| {
                        effects.iter().any(|effect| matches!(effect, Effect::DeliverGo(_)))
                    })
                {
                    stream.go = Go::Noted;
                } else {
                    (stream.go, stream.open) = (Go::Unsaid, false);
                }
            }
            Part::GiveGo => {
                stream.go = Go::Given;
                if let Some(copy) = &mut self.world.hosts[to].incoming {
                    copy.given = true;
                }
            }
            Part::RenameHere => {
                let host = &mut self.world.hosts[to];
                if let Some(copy) = host.incoming.take() {
                    host.own = Some(Copy { boot: copy.boot, run: Run::Paused, stale: copy.stale });
                    stream.receiver = Receiver::Renamed;
                } else {
                    // Its copy has another name by now: it takes that for a failure, and destroys it.
                    self.world.hosts[to].own = None;
                    self.report(&mut stream, false);
                }
            }
            Part::Unpause => {
                if self.world.hosts[to].own.is_some() {
                    self.let_run(to, "the receiver")?;
                }
                stream.receiver = Receiver::Unpaused;
            }
            Part::Refuse => {
                self.world.hosts[to].incoming = None;
                self.report(&mut stream, false);
            }
            Part::Report => self.report(&mut stream, true),
            Part::CarryReport => {
                if let Report::OnWire { runs } = stream.report {
                    stream.report = Report::AtSource { runs };
                }
            }
            Part::Finish => {
                let moved = stream.report == Report::AtSource { runs: true };
                let host = &mut self.world.hosts[from];
                let copy = host.away.take();
                if let Some(copy) = copy.filter(|_| !moved) {
                    host.own = Some(Copy { boot: copy.boot, run: Run::Frozen, stale: copy.stale });
                    self.let_run(from, "the sender")?;
                }
                stream.sender = Sender::Exited { moved };
            }
            Part::SenderSeesEnd => {
                let frozen = self.world.hosts[from].own.is_some_and(|own| own.run == Run::Frozen);
                if stream.sender == Sender::Suspended && frozen {
                    self.let_run(from, "the sender")?;
                }
                stream.sender = Sender::Exited { moved: false };
                stream.relay = false;
            }
            Part::ReceiverSeesEnd => self.receiver_sees_end(place, &mut stream),
            Part::SentUndecided => return self.undecided(from),
            Part::ReceivedUndecided => return self.undecided(to),
            Part::Break => {
                stream.open = false;
                if stream.go == Go::OnWire {
                    stream.go = Go::Unsaid;
                }
                if matches!(stream.report, Report::OnWire { .. }) {
                    stream.report = Report::Unsaid;
                }
                if stream.receiver == Receiver::NotYet && stream.at_target == Ours::Runs {
                    // The worker finds the connection closed before it has begun anything.
                    stream.at_target = Ours::Over;
                    word = stream.pull.then_some((to, Word::Failed));
                }
                if stream.sender == Sender::NotYet && stream.at_source == Ours::Runs {
                    stream.at_source = Ours::Over;
                    word = (!stream.pull).then_some((from, Word::Failed));
                }
            }
        }
        self.put_back(place, stream);
        match word {
            Some((node, word)) => self.word(node, word),
            None => Ok(()),
        }
    }

    pub(super) fn put_back(&mut self, place: usize, mut stream: Stream) {
        if !stream.open && !stream.sender.lives() {
            // The relay has nobody left on either side.
            stream.relay = false;
        }
        self.world.streams[place] = (!stream.is_over()).then_some(stream);
    }

    fn report(&self, stream: &mut Stream, runs: bool) {
        stream.receiver = Receiver::Exited;
        if stream.open && stream.at_target == Ours::Runs {
            stream.report = Report::OnWire { runs };
        }
    }

    fn receiver_sees_end(&mut self, place: usize, stream: &mut Stream) {
        if self.rules.mutated(Mutation::RunWithoutGo) && stream.receiver == Receiver::SaidReady {
            stream.go = Go::Given;
            return;
        }
        let incoming = &mut self.world.hosts[stream.way.target()].incoming;
        if incoming.is_some_and(|copy| copy.maker == place) {
            *incoming = None;
        }
        stream.receiver = Receiver::Exited;
    }

    fn busy_elsewhere(&self, place: usize, node: usize) -> bool {
        self.world
            .streams
            .iter()
            .enumerate()
            .any(|(other, stream)| other != place && stream.as_ref().is_some_and(|stream| stream.locks(node)))
            || self.world.hosts[node].settler.is_some()
    }

    fn send(&mut self, stream: &mut Stream) {
        stream.sender = Sender::Copying;
        stream.relay = true;
        stream.boot = self.world.hosts[stream.way.source()].own.map_or(0, |own| own.boot);
    }

    /// `serve`, verb `claim`.
    fn give(&mut self, place: usize, stream: &mut Stream) -> Option<(usize, Word)> {
        let (from, to) = (stream.way.source(), stream.way.target());
        if !self.world.reaches(to, from) {
            (stream.at_target, stream.at_source) = (Ours::Over, Ours::Over);
            return Some((to, Word::Failed));
        }
        if self.busy_elsewhere(place, from) {
            (stream.at_target, stream.at_source) = (Ours::Over, Ours::Over);
            return Some((to, Word::Refused(None)));
        }
        let (look, stand) = (self.look(from), self.world.hosts[from].stand);
        let claimed = look == Look::Running
            && self
                .advance(from, Event::Claimed(stream.way.transfer()))
                .is_ok_and(|effects| effects.iter().any(|effect| matches!(effect, Effect::Send(_))));
        if !claimed {
            (stream.at_target, stream.at_source) = (Ours::Over, Ours::Over);
            return Some((to, Word::Refused(Some((look, stand)))));
        }
        stream.at_source = Ours::Runs;
        stream.open = true;
        self.send(stream);
        None
    }

    /// `serve`, verb `receive`.
    fn take(&mut self, place: usize, stream: &mut Stream) -> Option<(usize, Word)> {
        let (from, to) = (stream.way.source(), stream.way.target());
        let free = self.world.reaches(from, to) && !self.busy_elsewhere(place, to);
        let refused = self.world.hosts[to].refused == Some(stream.way.epoch);
        if !free || refused || self.look(to) != Look::Absent {
            return self.never_begun(stream);
        }
        stream.at_target = Ours::Runs;
        stream.open = true;
        stream.boot = self.world.hosts[from].own.map_or(0, |own| own.boot);
        None
    }

    /// A worker that began without the transfer lock takes it, and reads what it needs only then.
    fn lock(&mut self, stream: &mut Stream) -> Option<(usize, Word)> {
        let node = if stream.pull { stream.way.target() } else { stream.way.source() };
        let ours = if stream.pull { &mut stream.at_target } else { &mut stream.at_source };
        if self.world.is_transferring(node) {
            *ours = Ours::Over;
            return Some((node, Word::Failed));
        }
        *ours = Ours::Runs;
        stream.says_ended = self.world.hosts[node].ended;
        None
    }

    /// A push that has sent nothing takes its entry out of the ledger.
    fn never_begun(&mut self, stream: &mut Stream) -> Option<(usize, Word)> {
        let from = stream.way.source();
        (stream.at_target, stream.at_source) = (Ours::Over, Ours::Over);
        self.erase(from, stream.way.epoch);
        Some((from, Word::Failed))
    }

    /// SIGKILL of one process of a stream.
    pub(super) fn kill(&mut self, place: usize, process: Process) -> Result<(), Broken> {
        let mut stream = self.world.streams[place].clone().unwrap();
        let (from, to) = (stream.way.source(), stream.way.target());
        let mut word = None;
        match process {
            Process::AtSource => {
                if !matches!(stream.sender, Sender::NotYet) && !stream.sender.lives() {
                    self.kill_settler(from);
                }
                stream.at_source = Ours::Killed;
                word = (!stream.pull).then_some((from, Word::Undecided));
            }
            Process::Sender => stream.sender = Sender::Killed,
            Process::Relay => stream.relay = false,
            Process::AtTarget => {
                if !matches!(stream.receiver, Receiver::NotYet) && !stream.receiver.lives() {
                    self.kill_settler(to);
                }
                stream.at_target = Ours::Killed;
                // xl's receiver dies with its pipe (`PR_SET_PDEATHSIG`).
                if stream.receiver.lives() && !self.rules.mutated(Mutation::FinishUnderReceiver) {
                    stream.receiver = Receiver::Killed;
                }
                word = stream.pull.then_some((to, Word::Undecided));
            }
            Process::Receiver => stream.receiver = Receiver::Killed,
        }
        if stream.pull && stream.at_source == Ours::NotYet || !stream.pull && stream.at_target == Ours::NotYet
        {
            // Nobody has answered yet, and nobody will.
            (stream.at_source, stream.at_target) = (Ours::Over, Ours::Over);
        }
        self.put_back(place, stream);
        match word {
            Some((node, word)) => self.word(node, word),
            None => Ok(()),
        }
    }
}

/// What `push` has read back, once more: the evidence itself is no data of the model.
fn recorded(stream: &Stream) -> Recorded {
    let push = stream.way.push();
    let there = Entries { pushes: vec![push.clone()], ..Entries::default() };
    Recorded::observe(&ledger::Entry::Push(push), &there).unwrap()
}

/// Whether an `xl migrate-receive` lives on `node`.
pub(super) fn receiver_lives(world: &World, node: Node) -> bool {
    world.streams.iter().flatten().any(|stream| stream.way.target() == node && stream.receiver.lives())
}

/// The processes of the stream at `place` that live.
pub(super) fn living(world: &World, place: usize) -> Vec<Process> {
    let Some(stream) = &world.streams[place] else { return vec![] };
    let mut living = vec![];
    let mut may = |process, lives: bool| {
        if lives {
            living.push(process);
        }
    };
    may(Process::AtSource, matches!(stream.at_source, Ours::Runs | Ours::Spawned));
    may(Process::Sender, stream.sender.lives());
    may(Process::Relay, stream.relay);
    may(Process::AtTarget, matches!(stream.at_target, Ours::Runs | Ours::Spawned));
    may(Process::Receiver, stream.receiver.lives());
    living
}

impl Drive<'_> {
    /// `node` has gone in the middle of the stream at `place`.
    ///
    /// # Errors
    /// None today.
    pub(super) fn lose_host(&mut self, place: usize, node: usize) -> Result<(), Broken> {
        let Some(mut stream) = self.world.streams[place].clone() else { return Ok(()) };
        if stream.way.source() != node && stream.way.target() != node {
            return Ok(());
        }
        // What it had not passed on is gone; the other end sees that later, by itself ([`Part::Break`]).
        if stream.go == Go::OnWire {
            stream.go = Go::Unsaid;
        }
        if matches!(stream.report, Report::OnWire { .. }) {
            stream.report = Report::Unsaid;
        }
        let unanswered = stream.at_source == Ours::NotYet || stream.at_target == Ours::NotYet;
        if stream.way.source() == node {
            (stream.at_source, stream.relay) = (Ours::Killed, false);
            if stream.sender != Sender::NotYet {
                stream.sender = Sender::Killed;
            }
        } else {
            stream.at_target = Ours::Killed;
            if stream.receiver != Receiver::NotYet {
                stream.receiver = Receiver::Killed;
            }
        }
        let mut word = None;
        if unanswered {
            word = if stream.pull && stream.way.source() == node {
                Some((stream.way.target(), Word::Failed))
            } else if !stream.pull && stream.way.target() == node {
                Some((stream.way.source(), Word::Failed))
            } else {
                None
            };
            (stream.at_source, stream.at_target) = (Ours::Over, Ours::Over);
        }
        self.put_back(place, stream);
        match word {
            Some((node, word)) => self.word(node, word),
            None => Ok(()),
        }
    }
}
