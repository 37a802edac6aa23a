//! Room for a domain that is about to come, out of the memory of those that are here
//! (`allow_mem_management`).
//!
//! A domain takes part if its own resource says so: its actions leave its *floor* in
//! `/run/xen-handoff/NAME.memory`, and nobody ever touches a domain without one. Reading, deciding
//! ([`share`]) and acting happen under one lock for the whole host, so that two actions never count the same
//! memory; what was made is then *promised* to the domain (`NAME.room`) until it has come, so that the lock
//! is not held while `xl create` or a stream takes its time.
//!
//! | `autoballoon` in xl.conf | what it means here |
//! |---|---|
//! | off (or dom0's memory fixed on Xen's command line) | dom0 gives nothing; what is missing comes from the domains |
//! | on | xl itself shrinks dom0 for a new domain, down to 128 MiB if need be. What dom0 has above `reserved_Dom0_memory` counts as available; the rest comes from the domains first, so that xl finds enough before it would go below |
//!
//! With autoballoon xl holds a lock of its own from there until a domain is built or received. Room is made
//! before xl is started, so nothing here ever waits while holding it.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::{Clock, Deadline, SystemClock, UnixTime};
use crate::domain::{DomainName, RunState};
use crate::foreign::Foreign;
use crate::handoff::Phase;
use crate::node::host::ThisHost;
use crate::small_file;
use crate::toolstack::HostMemory;

pub mod share;

use share::{Change, Guest, Host, Taking};

/// Limit of one word to the toolstack.
const XL_LIMIT: Duration = Duration::from_secs(10);
/// How often the host's memory is looked at while domains give theirs.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// How long a domain may take to give what it is asked for.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long somebody who only gives back waits for the lock: others do it as well.
const NO_HURRY: Duration = Duration::from_secs(1);
/// No domain is called like this.
const LOCK: &str = ".memory";

/// What a domain's own resource allows, and what was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Terms {
    floor_mib: u64,
    /// What it had before others took of it.
    had_mib: Option<u64>,
}

/// What is kept for a domain that is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Promise {
    mib: u64,
    /// When whoever it was made for must have come.
    until: UnixTime,
}

/// Room that was made; it is given up when this is dropped.
#[derive(Debug)]
pub struct Room(PathBuf);

impl Drop for Room {
    fn drop(&mut self) {
        // Left behind it would end by itself.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The memory of this host.
#[derive(Debug)]
pub struct Memory<'a> {
    /// Of which host.
    pub host: &'a ThisHost,
    /// What dom0 keeps, in MiB.
    pub dom0_keeps_mib: u64,
}

impl Memory<'_> {
    fn file(&self, domain: &str, which: &str) -> PathBuf {
        self.host.root.state_folder().join(format!("{domain}.{which}"))
    }

    fn terms(&self, domain: &str) -> Option<Terms> {
        small_file::kept_json(&self.file(domain, "memory")).ok()?
    }

    fn keep_terms(&self, domain: &str, terms: Terms) -> Result<(), String> {
        let path = self.file(domain, "memory");
        small_file::keep_json(&path, &terms).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// From now on `domain` takes part, and is left with `floor_mib` at least. Starts no process.
    pub fn consent(&self, domain: &DomainName, floor_mib: u64) {
        let before = self.terms(domain.as_str());
        if before.is_some_and(|terms| terms.floor_mib == floor_mib) {
            return;
        }
        let had_mib = before.and_then(|terms| terms.had_mib);
        if let Err(why) = self.keep_terms(domain.as_str(), Terms { floor_mib, had_mib }) {
            log::warn!("domain={domain} it gives no memory to others: {why}");
        }
    }

    /// Whether `domain` takes part already. Starts no process.
    pub fn takes_part(&self, domain: &DomainName) -> bool {
        self.terms(domain.as_str()).is_some()
    }

    /// `domain` has gone.
    pub fn forget(&self, domain: &DomainName) {
        // There need not be any.
        let _ = std::fs::remove_file(self.file(domain.as_str(), "memory"));
    }

    /// Whether others have taken of `domain` what it has not got back. Starts no process.
    pub fn is_missing_some(&self, domain: &DomainName) -> bool {
        self.terms(domain.as_str()).is_some_and(|terms| terms.had_mib.is_some())
    }

    /// Makes room for `domain`, and keeps it for as long as the result lives, or until `comes_by`.
    ///
    /// # Errors
    /// What stood in the way. What had been taken by then was given back.
    pub fn make_room(
        &self,
        domain: &DomainName,
        needed_mib: u64,
        deadline: Deadline,
        comes_by: Deadline,
    ) -> Result<Room, String> {
        let _lock = self.lock(deadline)?;
        let host = self.look(domain)?;
        let taken = match share::take(needed_mib, &host) {
            Taking::Enough => Vec::new(),
            Taking::Short { by_mib } => {
                return Err(format!(
                    "{needed_mib} MiB are needed, {} are available, and the domains that take part cannot give the \
                     {by_mib} MiB that would still be missing without going below their floors",
                    host.available_mib()
                ));
            }
            Taking::From(changes) => {
                self.take(domain, needed_mib, &changes, deadline).inspect_err(|_| self.put_back(&changes))?;
                changes
            }
        };
        let promise = Promise { mib: needed_mib, until: UnixTime::now().plus(comes_by.left()) };
        let path = self.file(domain.as_str(), "room");
        small_file::keep_json(&path, &promise).map_err(|error| {
            self.put_back(&taken);
            format!("{}: {error}", path.display())
        })?;
        Ok(Room(path))
    }

    fn take(
        &self,
        domain: &DomainName,
        needed_mib: u64,
        changes: &[Change],
        deadline: Deadline,
    ) -> Result<(), String> {
        let mut held = Vec::new();
        for change in changes {
            // No transfer of it can begin meanwhile, nor is one under way: a guest's memory does not change
            // in a migration.
            let giver = DomainName::new(&change.name).map_err(|error| error.to_string())?;
            let hold = self.host.store.begin_transfer(&giver).map_err(|error| error.to_string())?;
            held.push(hold.ok_or_else(|| format!("a transfer of {giver} has begun"))?);
            // What it had is on record before it is taken.
            let terms = self.terms(&change.name).ok_or_else(|| format!("{giver} takes no part any more"))?;
            self.keep_terms(
                &change.name,
                Terms { had_mib: Some(terms.had_mib.unwrap_or(change.from_mib)), ..terms },
            )?;
            log::info!(
                "domain={giver} gives {} MiB to {domain}: {} MiB are left to it",
                change.from_mib.saturating_sub(change.to_mib),
                change.to_mib
            );
            self.host
                .toolstack()
                .set_memory(&giver, change.to_mib, XL_LIMIT)
                .map_err(|error| format!("{giver} does not give its memory: {error}"))?;
        }
        let mut available = 0;
        let enough = SystemClock.wait_until(deadline.within(PATIENCE), LOOK_AGAIN, || {
            available = self.look(domain).ok()?.available_mib();
            (available >= needed_mib).then_some(())
        });
        enough.ok_or_else(|| {
            let names: Vec<&str> = changes.iter().map(|change| change.name.as_str()).collect();
            format!(
                "{} did not give their memory in time: {available} of {needed_mib} MiB are available",
                names.join(", ")
            )
        })
    }

    fn put_back(&self, changes: &[Change]) {
        for change in changes {
            self.set(&Change { name: change.name.clone(), from_mib: change.to_mib, to_mib: change.from_mib });
        }
    }

    /// Gives back what is free to those who miss it. What cannot be done now is done by a later one.
    pub fn give_back(&self) {
        let given = self.lock(Deadline::after(NO_HURRY)).and_then(|_lock| {
            let host = self.look_for_all()?;
            for guest in
                host.guests.iter().filter(|guest| guest.had_mib.is_some_and(|had| had <= guest.target_mib))
            {
                // Whoever started it anew gave it all of its memory.
                self.keep_terms(&guest.name, Terms { floor_mib: guest.floor_mib, had_mib: None })?;
            }
            share::give_back(&host).iter().for_each(|change| self.set(change));
            Ok(())
        });
        if let Err(why) = given {
            log::info!("memory is given back later: {why}");
        }
    }

    /// Raises one domain's memory; where it then has what it had, nothing is missing any more.
    fn set(&self, change: &Change) {
        let Ok(giver) = DomainName::new(&change.name) else { return };
        let Ok(Some(_no_transfer)) = self.host.store.begin_transfer(&giver) else {
            return log::info!("domain={giver} gets its memory back later: a transfer of it is under way");
        };
        log::info!("domain={giver} gets memory back: from {} to {} MiB", change.from_mib, change.to_mib);
        if let Err(error) = self.host.toolstack().set_memory(&giver, change.to_mib, XL_LIMIT) {
            return log::warn!("domain={giver} {error}");
        }
        let Some(terms) = self.terms(&change.name) else { return };
        if terms.had_mib.is_some_and(|had| had <= change.to_mib)
            && let Err(why) = self.keep_terms(&change.name, Terms { had_mib: None, ..terms })
        {
            log::warn!("domain={giver} {why}");
        }
    }

    /// The host as [`share`] sees it, for the sake of `domain`: its own promise does not count.
    fn look(&self, domain: &DomainName) -> Result<Host, String> {
        self.understand(Some(domain))
    }

    fn look_for_all(&self) -> Result<Host, String> {
        self.understand(None)
    }

    fn understand(&self, domain: Option<&DomainName>) -> Result<Host, String> {
        let seen = self.host.toolstack().memory(XL_LIMIT).map_err(|error| error.to_string())?;
        let spare_mib = if seen.dom0_gives { seen.dom0_mib.saturating_sub(self.dom0_keeps_mib) } else { 0 };
        let guests =
            seen.guests.iter().filter(|guest| Some(guest.name.as_str()) != domain.map(DomainName::as_str));
        let guests =
            guests.filter_map(|guest| {
                let Terms { floor_mib, had_mib } = self.terms(&guest.name)?;
                let name = guest.name.clone();
                // On offer or on its way, paused or ending, it is left alone.
                let giver = DomainName::new(name.clone()).ok()?;
                let store = &self.host.store;
                let quiet = store.load(&giver).is_ok_and(|record| record.state == Phase::Idle);
                (guest.state == RunState::Running && quiet && !store.is_transferring(&giver))
                    .then_some(Guest { name, target_mib: guest.target_mib, floor_mib, had_mib })
            });
        let promised_mib = self.promised_mib(domain, &seen)?;
        Ok(Host { free_mib: seen.free_mib, spare_mib, promised_mib, guests: guests.collect() })
    }

    /// What is promised to others and not theirs yet: a copy that is being built or received has a part of it
    /// already.
    fn promised_mib(&self, not_to: Option<&DomainName>, seen: &HostMemory) -> Result<u64, String> {
        let folder = self.host.root.state_folder();
        let entries = std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let names = entries
            .flatten()
            .filter_map(|entry| DomainName::new(entry.file_name().to_str()?.strip_suffix(".room")?).ok());
        let outstanding = names.filter(|name| Some(name) != not_to).filter_map(|name| {
            let promise: Promise = small_file::kept_json(&self.file(name.as_str(), "room")).ok()??;
            let copy =
                seen.guests.iter().find(|guest| guest.name == name.as_str() || guest.name == name.incoming());
            let has = copy.map_or(0, |copy| copy.mib);
            (promise.until > UnixTime::now()).then(|| promise.mib.saturating_sub(has))
        });
        Ok(outstanding.fold(0, u64::saturating_add))
    }

    /// The lock of the whole host.
    fn lock(&self, deadline: Deadline) -> Result<File, String> {
        let folder = self.host.root.state_folder();
        let path = folder.join(LOCK);
        let open = || {
            small_file::make_folder(&folder)?;
            small_file::lock_file(&path)
        };
        let file = open().map_err(|error| format!("{}: {error}", path.display()))?;
        let locked = SystemClock
            .wait_until(deadline, LOOK_AGAIN, || small_file::try_lock(&file).is_ok().then_some(()));
        locked
            .map(|()| file)
            .ok_or_else(|| "another action shares out this host's memory just now".to_owned())
    }
}

/// What is read here of others, for `make fuzz`.
pub const FOREIGN: &[Foreign] = &[
    Foreign { name: "NAME.memory", read: |text| drop(serde_json::from_str::<Terms>(text)) },
    Foreign { name: "NAME.room", read: |text| drop(serde_json::from_str::<Promise>(text)) },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::here::fake::{World, x0};
    use crate::small_file::damage::damages;
    use crate::toolstack::GuestMemory;
    use crate::toolstack::fake::Fake;

    /// A host with so much free; x1 has 50 MiB.
    fn host(free_mib: u64) -> World {
        let x1 = GuestMemory { name: "x1".to_owned(), state: RunState::Running, mib: 50, target_mib: 50 };
        let memory = HostMemory { free_mib, dom0_mib: 1024, dom0_gives: false, guests: vec![x1] };
        let world = World::of(Fake { memory: Some(memory), ..Fake::default() });
        small_file::make_folder(&world.here.root.state_folder()).unwrap();
        world
    }

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(10))
    }

    /// Keeps it as `file`, and damages it in every way: `is_right` is asked after each, and told whether the
    /// file is whole.
    fn rots(world: &World, file: &str, kept: &impl Serialize, is_right: impl Fn(bool) -> Result<(), String>) {
        let path = world.here.root.state_folder().join(file);
        small_file::keep_json(&path, kept).unwrap();
        let whole = std::fs::read(&path).unwrap();
        is_right(true).unwrap();
        for damaged in damages(&whole) {
            std::fs::write(&path, &damaged).unwrap();
            is_right(false).map_err(|why| format!("{why}: {:?}", String::from_utf8_lossy(&damaged))).unwrap();
        }
    }

    #[test]
    fn whose_consent_rots_gets_back_what_it_had_or_nothing_and_gives_no_more_than_it_may() {
        let kept = Terms { floor_mib: 40, had_mib: Some(64) };
        let world = host(500);
        let memory = Memory { host: world.here.host(), dom0_keeps_mib: 0 };
        rots(&world, "x1.memory", &kept, |whole| {
            let path = world.here.root.state_folder().join("x1.memory");
            let file = std::fs::read(&path).unwrap();
            world.xl.calls.borrow_mut().clear();
            memory.give_back();
            std::fs::write(path, file).unwrap();
            let deeds = world.deeds();
            let right = deeds == ["mem-set x1 64"] || (deeds.is_empty() && !whole);
            if right { Ok(()) } else { Err(format!("{deeds:?}")) }
        });
        let world = host(6);
        let memory = Memory { host: world.here.host(), dom0_keeps_mib: 0 };
        rots(&world, "x1.memory", &kept, |whole| {
            let why = memory.make_room(&x0(), 20, soon(), soon()).unwrap_err();
            let by_all = why.contains("the 4 MiB that would still be missing");
            let by_none = why.contains("the 14 MiB that would still be missing");
            if world.deeds().is_empty() && (by_all || (by_none && !whole)) { Ok(()) } else { Err(why) }
        });
    }

    #[test]
    fn room_whose_promise_rots_is_kept_as_it_was_or_not_at_all() {
        let world = host(40);
        let memory = Memory { host: world.here.host(), dom0_keeps_mib: 0 };
        let until = UnixTime::now().plus(Duration::from_secs(300));
        rots(&world, "x2.room", &Promise { mib: 30, until }, |whole| {
            match memory.make_room(&x0(), 20, soon(), soon()) {
                Ok(_) if !whole => Ok(()),
                Err(why) if why.starts_with("20 MiB are needed, 10 are available") => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    }
}
