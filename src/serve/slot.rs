//! `slot`: a place in the line of moves, and then a slot.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};

use super::caller::{Caller, IDLE_LIMIT, refused};
use super::pushed::pushed_here;
use crate::clock::Deadline;
use crate::command::wait_ready;
use crate::domain::DomainName;
use crate::handoff::{Phase, SourcePhase};
use crate::moves::progress::Direction;
use crate::moves::slots::{Place, Slots};
use crate::node::standing::stands;
use crate::wire::message::Answer;

/// How often a place in line is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// How often who waits hears that we are still there.
const SAY_AGAIN: Duration = Duration::from_secs(5);

/// What a caller says who asks for a slot.
pub(super) struct Asked {
    pub(super) domain: DomainName,
    pub(super) direction: Direction,
    pub(super) priority: Option<i64>,
    /// How long it waits, in seconds.
    pub(super) limit: u64,
}

impl Asked {
    /// Whether it may move now: only that has a place at all.
    fn may_move(&self, caller: &Caller<'_>) -> Result<(), String> {
        match self.direction {
            Direction::Incoming => Ok(()),
            Direction::Outgoing => match caller.here.store.load(&self.domain).map(|record| record.state) {
                Ok(phase) if phase.is_in_transfer() => Ok(()),
                Ok(Phase::Source(SourcePhase::Offering { .. } | SourcePhase::Offered { .. })) => Ok(()),
                Ok(phase) => Err(format!("it is not on offer here any more ({phase})")),
                Err(error) => Err(error.to_string()),
            },
        }
    }

    /// How long it can be waited for; or what to answer instead. A source has to wait for its own slot after
    /// this one. Who fetches has nothing more to wait for.
    fn until(&self, caller: &Caller<'_>) -> Result<Deadline, Box<Answer>> {
        let Self { domain, direction, limit, .. } = self;
        match direction {
            Direction::Incoming => pushed_here(caller, domain, None)
                .map(|pushed| pushed.until(*limit))
                .map_err(|why| Box::new(refused(why))),
            Direction::Outgoing => match self.may_move(caller) {
                Ok(()) => Ok(Deadline::after(Duration::from_secs(*limit))),
                // As to a claim: how it stands here decides what its start does next.
                Err(reason) => {
                    let stands = Some(stands(caller.here, domain));
                    Err(Box::new(Answer::Refused { reason, stands }))
                }
            },
        }
    }
}

/// Keeps a slot for the caller when its turn comes. Nothing is begun yet, and no lock but the place itself is
/// held, so that an offer that is waited for ends at its deadline.
pub(super) fn keep(caller: &mut Caller<'_>, asked: &Asked) -> Answer {
    match place(caller, asked) {
        Ok((place, unused)) => {
            caller.slot = Some(place);
            caller.idle = unused;
            Answer::Done
        }
        Err(answer) => *answer,
    }
}

/// The place, and how long the caller may leave it unused; or what to answer instead.
fn place(caller: &Caller<'_>, asked: &Asked) -> Result<(Place, Duration), Box<Answer>> {
    let until = asked.until(caller)?;
    let unused = || match asked.direction {
        Direction::Incoming => until.left().max(IDLE_LIMIT),
        Direction::Outgoing => IDLE_LIMIT,
    };
    let slots = Slots::of(&caller.here.root, asked.direction);
    let Some(priority) = asked.priority else {
        let free = slots.take_free(&asked.domain);
        return free.map(|place| (place, unused())).map_err(|why| Box::new(Answer::Waiting { why }));
    };
    let (mut told, mut said) = (Deadline::after(Duration::ZERO), String::new());
    let place = slots.wait(&asked.domain, priority, until, |why| {
        // A caller that has asked has nothing to say, but may go.
        let mut open = [PollFd::from_borrowed_fd(caller.from.as_fd(), PollFlags::IN)];
        wait_ready(&mut open, LOOK_AGAIN).map_err(|error| error.to_string())?;
        if !open[0].revents().is_empty() {
            return Err("the caller has gone".to_owned());
        }
        asked.may_move(caller)?;
        if why != said || told.passed() {
            (said, told) = (why.to_owned(), Deadline::after(SAY_AGAIN));
            caller.say(&Answer::Waiting { why: why.to_owned() }).map_err(|error| error.to_string())?;
        }
        Ok(())
    });
    place.map(|place| (place, unused())).map_err(|why| Box::new(refused(why)))
}
