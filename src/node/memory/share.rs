//! Who gives how much, and who gets it back. Pure.

/// A domain of this host that takes part: its own resource has said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guest {
    /// Its name.
    pub name: String,
    /// What it is to have now, in MiB.
    pub target_mib: u64,
    /// What it must be left with, in MiB.
    pub floor_mib: u64,
    /// What it had before others took of it, in MiB; `None` if nothing is missing.
    pub had_mib: Option<u64>,
}

/// This host's memory, in MiB.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Host {
    /// What no domain has.
    pub free_mib: u64,
    /// What dom0 would give by itself and is not to keep.
    pub spare_mib: u64,
    /// What was promised to domains that are on their way and do not have it yet.
    pub promised_mib: u64,
    /// The domains that take part.
    pub guests: Vec<Guest>,
}

impl Host {
    /// What a new domain could have at once.
    pub fn available_mib(&self) -> u64 {
        self.free_mib.saturating_add(self.spare_mib).saturating_sub(self.promised_mib)
    }

    /// What is missing to have `needed_mib` available.
    fn short_of(&self, needed_mib: u64) -> u64 {
        let there = self.free_mib.saturating_add(self.spare_mib);
        needed_mib.saturating_add(self.promised_mib).saturating_sub(there)
    }
}

/// One domain's memory is to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Whose.
    pub name: String,
    /// From so much, in MiB.
    pub from_mib: u64,
    /// To so much.
    pub to_mib: u64,
}

/// What has to be done to have room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taking {
    /// Nothing: there is room.
    Enough,
    /// These give.
    From(Vec<Change>),
    /// Nothing, since it would not be enough by so much, in MiB.
    Short {
        /// How much.
        by_mib: u64,
    },
}

/// How to have `needed_mib` available: exactly what is missing, from each domain in proportion to what it has
/// above its floor.
pub fn take(needed_mib: u64, host: &Host) -> Taking {
    let short = host.short_of(needed_mib);
    if short == 0 {
        return Taking::Enough;
    }
    let can = |guest: &Guest| guest.target_mib.saturating_sub(guest.floor_mib);
    let (mut all, mut missing) = (host.guests.iter().map(can).fold(0, u64::saturating_add), short);
    let short = missing.saturating_sub(all);
    if short > 0 {
        return Taking::Short { by_mib: short };
    }
    let mut changes = Vec::new();
    for guest in &host.guests {
        // Of what is still missing, its part of what can still be had: the last one closes the sum.
        let part = if all == 0 { 0 } else { product_over(missing, can(guest), all) };
        all = all.saturating_sub(can(guest));
        missing = missing.saturating_sub(part);
        if part > 0 {
            changes.push(Change {
                name: guest.name.clone(),
                from_mib: guest.target_mib,
                to_mib: guest.target_mib.saturating_sub(part),
            });
        }
    }
    Taking::From(changes)
}

/// Who gets back how much of what is free: what each had, the one that misses least first. Dom0 gives nothing
/// for this.
pub fn give_back(host: &Host) -> Vec<Change> {
    let mut free = host.free_mib.saturating_sub(host.promised_mib);
    let misses = |guest: &Guest| guest.had_mib.map_or(0, |had| had.saturating_sub(guest.target_mib));
    let mut waiting: Vec<&Guest> = host.guests.iter().filter(|guest| misses(guest) > 0).collect();
    waiting.sort_by_key(|guest| misses(guest));
    let mut changes = Vec::new();
    for guest in waiting {
        let part = misses(guest).min(free);
        free = free.saturating_sub(part);
        if part > 0 {
            changes.push(Change {
                name: guest.name.clone(),
                from_mib: guest.target_mib,
                to_mib: guest.target_mib.saturating_add(part),
            });
        }
    }
    changes
}

/// `a * b / c`, rounded up; `b <= c`, so that it is no more than `a`.
fn product_over(a: u64, b: u64, c: u64) -> u64 {
    let exact = u128::from(a).saturating_mul(u128::from(b)).div_ceil(u128::from(c));
    u64::try_from(exact).unwrap_or(a).min(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hosts() -> impl Strategy<Value = Host> {
        let guest = (0u64..5000, 0u64..5000, proptest::option::of(0u64..8000));
        let guests = proptest::collection::vec(guest, 0..6);
        (0u64..4000, 0u64..2000, 0u64..2000, guests).prop_map(
            |(free_mib, spare_mib, promised_mib, guests)| {
                let guests =
                    guests.into_iter().enumerate().map(|(number, (target_mib, floor_mib, had_mib))| Guest {
                        name: format!("x{number}"),
                        target_mib,
                        floor_mib,
                        had_mib,
                    });
                Host { free_mib, spare_mib, promised_mib, guests: guests.collect() }
            },
        )
    }

    fn of<'a>(host: &'a Host, change: &Change) -> &'a Guest {
        host.guests.iter().find(|guest| guest.name == change.name).unwrap()
    }

    proptest! {
        #[test]
        fn only_what_is_missing_is_taken_and_nobody_goes_below_his_floor(
            host in hosts(),
            needed in 0u64..20_000,
        ) {
            let slack: u64 = host.guests.iter().map(|g| g.target_mib.saturating_sub(g.floor_mib)).sum();
            match take(needed, &host) {
                Taking::Enough => prop_assert!(host.available_mib() >= needed),
                Taking::Short { by_mib } => {
                    let missing = needed + host.promised_mib - host.free_mib - host.spare_mib;
                    prop_assert_eq!(missing, slack + by_mib);
                    prop_assert!(by_mib > 0);
                }
                Taking::From(changes) => {
                    let mut taken = 0;
                    for change in &changes {
                        let guest = of(&host, change);
                        prop_assert_eq!(change.from_mib, guest.target_mib);
                        prop_assert!(change.to_mib < change.from_mib && change.to_mib >= guest.floor_mib);
                        taken += change.from_mib - change.to_mib;
                    }
                    prop_assert_eq!(host.free_mib + host.spare_mib + taken, needed + host.promised_mib);
                }
            }
        }

        #[test]
        fn nobody_gets_more_back_than_he_had_and_nothing_that_is_promised_or_dom0s(host in hosts()) {
            let mut given = 0;
            for change in give_back(&host) {
                let guest = of(&host, &change);
                prop_assert!(change.to_mib > guest.target_mib && Some(change.to_mib) <= guest.had_mib);
                given += change.to_mib - change.from_mib;
            }
            prop_assert!(given <= host.free_mib.saturating_sub(host.promised_mib));
            let missed: u64 =
                host.guests.iter().map(|g| g.had_mib.map_or(0, |had| had.saturating_sub(g.target_mib))).sum();
            prop_assert_eq!(given, missed.min(host.free_mib.saturating_sub(host.promised_mib)));
        }

        #[test]
        fn what_was_taken_comes_back_whole_when_the_taker_has_gone(
            mut host in hosts(),
            needed in 1u64..20_000,
        ) {
            host.guests.iter_mut().for_each(|guest| guest.had_mib = None);
            let before = host.clone();
            let Taking::From(changes) = take(needed, &host) else { return Ok(()) };
            for change in &changes {
                let guest = host.guests.iter_mut().find(|guest| guest.name == change.name).unwrap();
                guest.had_mib = Some(guest.target_mib);
                guest.target_mib = change.to_mib;
                host.free_mib += change.from_mib - change.to_mib;
            }
            host.promised_mib = 0;
            for change in give_back(&host) {
                let guest = host.guests.iter_mut().find(|guest| guest.name == change.name).unwrap();
                guest.target_mib = change.to_mib;
            }
            let now: Vec<u64> = host.guests.iter().map(|guest| guest.target_mib).collect();
            let then: Vec<u64> = before.guests.iter().map(|guest| guest.target_mib).collect();
            prop_assert_eq!(now, then);
        }
    }

    #[test]
    fn a_guest_with_much_to_spare_gives_more_than_one_with_little() {
        let guest = |name: &str, target_mib, floor_mib| Guest {
            name: name.to_owned(),
            target_mib,
            floor_mib,
            had_mib: None,
        };
        let host = Host {
            free_mib: 100,
            guests: vec![guest("x1", 1000, 700), guest("x2", 600, 500)],
            ..Host::default()
        };
        let Taking::From(changes) = take(300, &host) else { panic!("it gives") };
        assert_eq!(changes.iter().map(|change| change.to_mib).collect::<Vec<_>>(), [850, 550]);
    }
}
