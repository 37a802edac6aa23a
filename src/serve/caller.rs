//! Whoever has called, and what is kept for it as long as the connection lasts.

use std::os::fd::OwnedFd;
use std::time::Duration;

use super::speaker::Speaker;
use crate::clock::Deadline;
use crate::domain::DomainName;
use crate::here::Here;
use crate::moves::progress::Direction;
use crate::moves::slots::{Place, Slots};
use crate::node::memory::Room;
use crate::wire::message::{ALIVE, Answer, Greeting, PROTOCOL, Request};
use crate::wire::{read_line, understand, write_line};

/// How long we wait for the caller's next line.
pub(super) const IDLE_LIMIT: Duration = Duration::from_secs(60);
/// How long what a killed process left behind may take to be put right.
pub(super) const SETTLE_LIMIT: Duration = Duration::from_secs(20);

/// A caller that speaks our protocol, and what every verb works with.
pub(super) struct Caller<'a> {
    pub(super) here: &'a Here,
    pub(super) greeting: Greeting,
    /// In whose name it may speak.
    pub(super) speaker: &'a Speaker,
    /// What it says.
    pub(super) from: OwnedFd,
    /// What it hears.
    pub(super) to: OwnedFd,
    /// The slot that is kept for the move that it is about to ask for.
    pub(super) slot: Option<Place>,
    /// How long it may say nothing.
    pub(super) idle: Duration,
    /// What was made for a domain that comes over this connection.
    pub(super) room: Option<Room>,
}

impl<'a> Caller<'a> {
    /// Greets, and hears the greeting; `None` if there is nobody, or nobody that we understand.
    ///
    /// # Errors
    /// If it says something else, or does not wait for what we say.
    pub(super) fn greet(
        here: &'a Here,
        speaker: &'a Speaker,
        from: OwnedFd,
        to: OwnedFd,
    ) -> anyhow::Result<Option<Self>> {
        write_line(&to, &Greeting::ours(&here.root))?;
        let Some(line) = read_line(&from, Deadline::after(IDLE_LIMIT))? else { return Ok(None) };
        let greeting: Greeting = understand(&line)?;
        if greeting.protocol != PROTOCOL {
            let reason = format!("this node speaks protocol {PROTOCOL}, you speak {}", greeting.protocol);
            write_line(&to, &Answer::Refused { reason, stands: None })?;
            return Ok(None);
        }
        Ok(Some(Self { here, greeting, speaker, from, to, slot: None, idle: IDLE_LIMIT, room: None }))
    }

    /// What it asks next; `None` if it has hung up.
    ///
    /// # Errors
    /// If that is no request, or none comes in time.
    pub(super) fn asks(&self) -> anyhow::Result<Option<Request>> {
        let Some(line) = read_line(&self.from, Deadline::after(self.idle))? else { return Ok(None) };
        let request = understand(&line)?;
        log::debug!("serve request={request:?}");
        Ok(Some(request))
    }

    /// Answers.
    ///
    /// # Errors
    /// If it does not wait for that.
    pub(super) fn say(&self, answer: &Answer) -> std::io::Result<()> {
        write_line(&self.to, answer)
    }

    /// Whether it knows how the target of a stream says that it lives.
    pub(super) fn knows_alive(&self) -> bool {
        self.greeting.can(ALIVE)
    }

    /// The slot that it has waited for; or one for a caller who has not asked for any, since it is older than
    /// that: it counts, but was not waited for.
    pub(super) fn take_slot(&mut self, domain: &DomainName, direction: Direction) -> Option<Place> {
        self.slot.take().or_else(|| {
            log::info!("domain={domain} moves without having waited for a slot here");
            let taken = Slots::of(&self.here.root, direction).take_unasked(domain);
            taken.inspect_err(|error| log::warn!("domain={domain} its slot is not counted: {error}")).ok()
        })
    }
}

/// An answer that says no.
pub(super) fn refused(reason: impl ToString) -> Answer {
    Answer::Refused { reason: reason.to_string(), stands: None }
}

/// An answer without content.
pub(super) fn done(result: Result<(), String>) -> Answer {
    result.map_or_else(refused, |()| Answer::Done)
}
