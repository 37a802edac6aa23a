//! Slots: of how many moves this host is a source, and of how many a target, at once; and who is next in
//! line.
//!
//! Who wants a slot writes a *ticket*, a small file in `/run/xen-handoff/slots`, and holds a lock on it. The
//! lock dies with its holder, and with it the ticket: nothing is left that a crash could leak, and no pid is
//! compared with anything. Whether a ticket has its turn is decided by [`decide`], a pure function of all of
//! them, under one lock for each direction. One that cannot be read counts as a move under way; who waits
//! with it writes it anew at the next look.
//!
//! **Order.** A move takes the target's slot first, and the source's after that. Who has a source's slot
//! waits for no other one but goes on to its stream, so that no two of them can wait for each other.
//!
//! **Promises.** A place in line is no transfer: whoever stands in it holds no transfer lock at the source,
//! so that an offer that is waited for ends at its deadline as any other (P5).

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::clock::{Clock, Deadline, SystemClock, UnixTime, in_action};
use crate::domain::DomainName;
use crate::host::Root;
use crate::moves::progress::{self, Direction};
use crate::{settings, small_file};

/// How long one who looks at the tickets waits for another one who does. It takes milliseconds.
const LOCK_LIMIT: Duration = Duration::from_secs(10);
/// How many places one domain may have in a direction: one, and those of movers that have died and are not
/// known to have.
const MOST_OF_ONE: usize = 8;
/// How often the lock is tried.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// One who has a slot, or waits for one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// For which domain.
    pub domain: DomainName,
    /// The resource's priority in the cluster: the higher goes first.
    pub priority: i64,
    /// Since when it waits: of equals the older goes first.
    pub since: UnixTime,
    /// Its number, which decides between those.
    pub number: u64,
    /// Whether it has its slot.
    pub has_slot: bool,
}

/// What is said behind the number of those that go first.
const IN_LINE: &str = " in line before it";

/// How many go first, by what is said of a wait; 0 where it is next, or waits for something else.
pub fn in_line_before(said: &str) -> usize {
    let number = said.split(IN_LINE).next().filter(|before| before.len() < said.len());
    number.and_then(|before| before.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}

/// Whether it is somebody's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Yes.
    Now,
    /// Not yet.
    Wait {
        /// How many have a slot.
        busy: usize,
        /// How many who wait go first.
        before: usize,
    },
}

/// Whether it is `mine`'s turn, given all `others` and how many may have a slot at once (0: as many as wish).
pub fn decide(mine: &Ticket, others: &[Ticket], limit: usize) -> Turn {
    decide_beside(mine, others, 0, limit)
}

/// The same beside so many of whom nothing is known but that they are there: each may have a slot.
fn decide_beside(mine: &Ticket, others: &[Ticket], unreadable: usize, limit: usize) -> Turn {
    let rank = |ticket: &Ticket| (std::cmp::Reverse(ticket.priority), ticket.since, ticket.number);
    let busy = others.iter().filter(|other| other.has_slot).count() + unreadable;
    let before = others.iter().filter(|other| !other.has_slot && rank(other) < rank(mine)).count();
    if limit == 0 || busy + before < limit { Turn::Now } else { Turn::Wait { busy, before } }
}

/// A host's slots in one direction.
#[derive(Debug, Clone)]
pub struct Slots {
    root: Root,
    direction: Direction,
    limit: usize,
}

/// A ticket as it is found: what it says, or `None` where that cannot be read, under its file's name.
type Found = (std::ffi::OsString, Option<Ticket>);

/// A slot, or a place in line: it lasts as long as this value, and as long as a copy of its descriptor.
#[derive(Debug)]
pub struct Place {
    /// What holds it.
    pub file: File,
    ticket: Ticket,
}

impl Slots {
    /// Those of this host.
    pub fn of(root: &Root, direction: Direction) -> Self {
        let [outgoing, incoming] = settings::MOVES;
        let name = match direction {
            Direction::Outgoing => outgoing,
            Direction::Incoming => incoming,
        };
        let limit = settings::number(root, name).unwrap_or(settings::DEFAULT_MOVES);
        Self { root: root.clone(), direction, limit }
    }

    /// How many moves there may be at once; 0: any number.
    pub fn limit(&self) -> usize {
        self.limit
    }

    fn folder(&self) -> PathBuf {
        self.root.state_folder().join("slots").join(self.direction.word())
    }

    /// Does something with all tickets, while nobody else does.
    fn with<T>(&self, deed: impl FnOnce(Vec<Found>) -> std::io::Result<T>) -> std::io::Result<T> {
        let folder = self.folder();
        small_file::make_folder(&folder)?;
        let lock = small_file::lock_file(&folder.with_extension("lock"))?;
        let locked = SystemClock.wait_until(Deadline::after(in_action(LOCK_LIMIT)), LOOK_AGAIN, || {
            small_file::try_lock(&lock).is_ok().then_some(())
        });
        locked.ok_or_else(|| {
            std::io::Error::other(format!(
                "another process holds {}.lock and does not let go of it",
                folder.display()
            ))
        })?;
        let mut tickets = Vec::new();
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            // What is no file is nobody's; one that cannot be opened may be somebody's.
            if !entry.file_type()?.is_file() {
                continue;
            }
            let mut file = File::open(entry.path())?;
            if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
                // Its holder has gone.
                std::fs::remove_file(entry.path())?;
                continue;
            }
            let mut bytes = Vec::new();
            (&mut file).take(small_file::LARGEST).read_to_end(&mut bytes)?;
            let ticket = small_file::Kept::of(bytes).and_then(|kept| Ok(serde_json::from_str(&kept.text)?));
            let ticket = ticket.inspect_err(|error| log::debug!("{}: {error}", entry.path().display()));
            tickets.push((entry.file_name(), ticket.ok()));
        }
        deed(tickets)
    }

    /// A ticket for `domain`; with `at_once` its slot too, whoever else waits or has one.
    fn ticket(&self, domain: &DomainName, priority: i64, at_once: bool) -> std::io::Result<Place> {
        self.with(|found| {
            let others: Vec<Ticket> = found.into_iter().filter_map(|(_, ticket)| ticket).collect();
            if others.iter().filter(|other| other.domain == *domain).count() >= MOST_OF_ONE {
                return Err(std::io::Error::other(format!(
                    "{domain} has {MOST_OF_ONE} places there already"
                )));
            }
            let mut number =
                others.iter().map(|other| other.number.saturating_add(1)).max().unwrap_or_default();
            // One that cannot be read may have it.
            while self.folder().join(number.to_string()).exists() {
                number = number.wrapping_add(1);
            }
            let ticket = Ticket {
                domain: domain.clone(),
                priority,
                since: UnixTime::now(),
                number,
                has_slot: at_once,
            };
            let path = self.folder().join(number.to_string());
            let file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)?;
            flock(&file, FlockOperation::LockExclusive)?;
            let mut place = Place { file, ticket };
            place.write()?;
            Ok(place)
        })
    }

    /// A slot for whoever does not wait for one: an end of an older version.
    ///
    /// # Errors
    /// What the system says.
    pub fn take_unasked(&self, domain: &DomainName) -> std::io::Result<Place> {
        self.ticket(domain, 0, true)
    }

    /// Takes the slot if it is this one's turn.
    fn try_take(&self, place: &mut Place) -> std::io::Result<Turn> {
        self.with(|mut found| {
            let mine = place.ticket.number.to_string();
            // One that waits and cannot be read would count as one that moves.
            if found.iter().any(|(name, ticket)| *name == *mine && ticket.as_ref() != Some(&place.ticket)) {
                place.write()?;
            }
            found.retain(|(name, _)| *name != *mine);
            let unreadable = found.iter().filter(|(_, ticket)| ticket.is_none()).count();
            let tickets: Vec<Ticket> = found.into_iter().filter_map(|(_, ticket)| ticket).collect();
            let turn = decide_beside(&place.ticket, &tickets, unreadable, self.limit);
            if turn == Turn::Now {
                place.ticket.has_slot = true;
                place.write()?;
            }
            Ok(turn)
        })
    }

    /// A slot if one is free and nobody waits for it.
    ///
    /// # Errors
    /// Why not.
    pub fn take_free(&self, domain: &DomainName) -> Result<Place, String> {
        let failed = |error: std::io::Error| {
            format!("could not find out which {} slots are taken: {error}", self.direction.word())
        };
        let mut place = self.ticket(domain, i64::MIN, false).map_err(failed)?;
        match self.try_take(&mut place).map_err(failed)? {
            Turn::Now => Ok(place),
            wait => Err(self.says(wait)),
        }
    }

    /// Stands in line until it has a slot. Between two looks `pause` lets some time go by; it is told what is
    /// waited for, and may put an end to the wait.
    ///
    /// # Errors
    /// Why there is none by `deadline`, or `pause`'s own reason.
    pub fn wait(
        &self,
        domain: &DomainName,
        priority: i64,
        deadline: Deadline,
        mut pause: impl FnMut(&str) -> Result<(), String>,
    ) -> Result<Place, String> {
        let failed = |error: std::io::Error| {
            format!("could not find out which {} slots are taken: {error}", self.direction.word())
        };
        let mut place = self.ticket(domain, priority, false).map_err(failed)?;
        let mut waits: Option<progress::Waits> = None;
        loop {
            let turn = self.try_take(&mut place).map_err(failed)?;
            if turn == Turn::Now {
                return Ok(place);
            }
            let why = self.says(turn);
            waits
                .get_or_insert_with(|| progress::Waits::begin(&self.root, domain, self.direction))
                .tell(&why);
            if deadline.passed() {
                return Err(format!("no slot was free in time: {why}"));
            }
            pause(&why)?;
        }
    }

    fn says(&self, turn: Turn) -> String {
        let Turn::Wait { busy, before } = turn else { return "a slot is free".to_owned() };
        let (limit, word) = (self.limit, self.direction.word());
        let before = if before == 0 { String::new() } else { format!(", {before}{IN_LINE}") };
        format!("waits for one of {limit} {word} slots ({busy} moves under way{before})")
    }

    /// Every ticket that can be read.
    ///
    /// # Errors
    /// What the system says.
    pub fn tickets(&self) -> std::io::Result<Vec<Ticket>> {
        self.with(|found| Ok(found.into_iter().filter_map(|(_, ticket)| ticket).collect()))
    }
}

impl Place {
    fn write(&mut self) -> std::io::Result<()> {
        let text = serde_json::to_vec(&self.ticket)?;
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(&small_file::sealed(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(number: u64, priority: i64, since: u64, has_slot: bool) -> Ticket {
        let domain = DomainName::new(format!("x{number}")).unwrap();
        Ticket { domain, priority, since: UnixTime(since), number, has_slot }
    }

    #[test]
    fn the_higher_priority_goes_first_and_of_equals_who_came_first() {
        let has = ticket(0, 0, 1, true);
        let waiting = [ticket(1, 0, 5, false), ticket(2, 10, 9, false), ticket(3, 0, 4, false)];
        let turn = |mine: usize, limit| {
            let others: Vec<Ticket> = waiting
                .iter()
                .chain([&has])
                .filter(|other| other.number != waiting[mine].number)
                .cloned()
                .collect();
            decide(&waiting[mine], &others, limit)
        };
        assert_eq!(turn(1, 1), Turn::Wait { busy: 1, before: 0 });
        assert_eq!([turn(0, 2), turn(1, 2), turn(2, 2)].map(|turn| turn == Turn::Now), [false, true, false]);
        assert_eq!([turn(0, 3), turn(1, 3), turn(2, 3)].map(|turn| turn == Turn::Now), [false, true, true]);
        assert_eq!(turn(0, 3), Turn::Wait { busy: 1, before: 2 });
        assert_eq!(turn(0, 0), Turn::Now, "no limit");
    }

    #[test]
    fn a_slot_ends_with_its_holder_and_the_next_in_line_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        let slots = Slots { limit: 1, ..Slots::of(&root, Direction::Incoming) };
        let [x0, x1] = ["x0", "x1"].map(|name| DomainName::new(name).unwrap());
        let mut has = Some(slots.take_free(&x0).unwrap());
        assert!(slots.take_free(&x1).unwrap_err().contains("1 moves under way"));
        let none = slots.wait(&x1, 0, Deadline::after(Duration::ZERO), |_| Ok(()));
        assert!(none.unwrap_err().contains("no slot was free in time"));
        let mut looks = 0;
        let got = slots.wait(&x1, 0, Deadline::after(Duration::from_secs(9)), |_| {
            looks += 1;
            if looks == 3 {
                has = None;
            }
            Ok(())
        });
        assert!(got.is_ok() && looks == 3, "{looks} looks");
        assert_eq!(slots.tickets().unwrap().len(), 1, "what is left of the others is cleared away");
        let shared = got.unwrap();
        let copy = shared.file.try_clone().unwrap();
        drop(shared);
        assert!(slots.take_free(&x0).is_err(), "a worker that inherited it still has it");
        drop(copy);
        assert!(slots.take_free(&x0).is_ok());
    }

    #[test]
    fn what_is_said_of_a_place_in_line_can_be_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let slots = Slots::of(&Root::new(folder.path()), Direction::Incoming);
        let said = |before| format!("{} of n1", slots.says(Turn::Wait { busy: 2, before }));
        assert_eq!([said(0), said(1), said(12)].map(|said| in_line_before(&said)), [0, 1, 12]);
        assert_eq!(in_line_before("waits for memory"), 0);
    }

    #[test]
    fn one_domain_has_not_more_than_some_places() {
        let folder = tempfile::tempdir().unwrap();
        let slots = Slots::of(&Root::new(folder.path()), Direction::Incoming);
        let [x0, x1] = ["x0", "x1"].map(|name| DomainName::new(name).unwrap());
        let _held: Vec<Place> = (0..MOST_OF_ONE).map(|_| slots.take_unasked(&x0).unwrap()).collect();
        assert!(slots.take_unasked(&x0).is_err());
        assert!(slots.take_unasked(&x1).is_ok());
    }

    #[test]
    fn a_wait_can_be_put_an_end_to_and_holds_nothing_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        let slots = Slots { limit: 1, ..Slots::of(&root, Direction::Outgoing) };
        let x0 = DomainName::new("x0").unwrap();
        let _has = slots.take_unasked(&x0).unwrap();
        let ended = slots
            .wait(&x0, 0, Deadline::after(Duration::from_secs(9)), |_| Err("the caller has gone".to_owned()));
        assert_eq!(ended.unwrap_err(), "the caller has gone");
        assert_eq!(slots.tickets().unwrap().len(), 1);
        assert!(progress::read(&root, &x0).is_none(), "nobody waits any more");
    }
}
