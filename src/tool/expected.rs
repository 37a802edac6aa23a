//! How long moves are expected to take: by what the log of moves has of the domain, or else by its memory and
//! the rate that moves of this node have shown.

use serde::Serialize;

use crate::cluster::managed::ManagedDomain;
use crate::domain::DomainName;
use crate::here::{CONFIG_LIMIT, Here};
use crate::moves::journal::{self, Ending, Move, expected_seconds, rate_of};
use crate::parameters::Parameters;

/// How long one move may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Expected {
    /// From the begin of its stream until it is settled.
    pub(super) seconds: u64,
    /// What says so.
    pub(super) by: By,
}

/// What an expectation is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum By {
    /// The domain's own last move.
    History,
    /// Its memory, at the rate of the last move of any domain.
    Memory,
}

/// What this node knows of moves.
#[derive(Debug)]
pub(super) struct Experience {
    here: Here,
    moves: Vec<Move>,
    rate: Option<f64>,
}

impl Experience {
    /// The log of moves; where it cannot be read there is none.
    pub(super) fn of(here: &Here) -> Self {
        let moves = journal::read(&here.root).unwrap_or_else(|error| {
            log::warn!("the log of moves cannot be read: {error}");
            Vec::new()
        });
        let rate = rate_of(&moves);
        Self { here: here.clone(), moves, rate }
    }

    /// How long a move of this resource's domain takes; `None` where nothing tells.
    pub(super) fn of_resource(&self, managed: &ManagedDomain) -> Option<Expected> {
        let (parameters, _) = Parameters::judge(&managed.parameters);
        let domain = self.here.domain_of(&parameters, &managed.resource).ok()?;
        let configured = || {
            let file = parameters.xmfile.as_deref()?;
            self.here.toolstack().read_config(file, CONFIG_LIMIT).ok()
        };
        self.expect(&domain, || Some(configured()?.memory_mib).filter(|mib| *mib > 0))
    }

    fn expect(&self, domain: &DomainName, memory_mib: impl FnOnce() -> Option<u64>) -> Option<Expected> {
        let mut own = self.moves.iter().rev().filter(|entry| entry.domain == *domain);
        if let Some(last) = own.find(|entry| entry.end == Ending::Moved) {
            return Some(Expected { seconds: last.total_ms.div_ceil(1000), by: By::History });
        }
        let seconds = expected_seconds(memory_mib()?, self.rate?);
        Some(Expected { seconds, by: By::Memory })
    }
}

/// How long moves take one after the other, `slots` of them at once; 0: all of them.
pub(super) fn in_all(moves: &[u64], slots: usize) -> u64 {
    let mut busy_until = vec![0; if slots == 0 { moves.len() } else { slots }];
    for seconds in moves {
        if let Some(first) = busy_until.iter_mut().min() {
            *first = u64::saturating_add(*first, *seconds);
        }
    }
    busy_until.into_iter().max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Root;
    use crate::moves::journal::a_move;

    fn name(name: &str) -> DomainName {
        DomainName::new(name).unwrap()
    }

    #[test]
    fn a_domains_own_last_move_counts_for_more_than_its_memory() {
        let own = Move { total_ms: 41_200, ..a_move(1) };
        let failed = Move { total_ms: 1, end: Ending::NotMoved, ..a_move(2) };
        let knows = |moves: &[Move]| Experience {
            here: Here::new(&Root::default()),
            moves: moves.to_vec(),
            rate: rate_of(moves),
        };
        let memory = || Some(640);
        let expected = |seconds, by| Some(Expected { seconds, by });
        let all = knows(&[own, failed]);
        assert_eq!(all.expect(&name("x0"), memory), expected(42, By::History));
        // 640 MiB at 64 MiB/s, half as much again, and ten seconds.
        assert_eq!(all.expect(&name("x1"), memory), expected(25, By::Memory));
        assert_eq!(all.expect(&name("x1"), || None), None, "nobody knows how large it is");
        assert_eq!(knows(&[]).expect(&name("x0"), memory), None, "nothing has moved yet");
    }

    #[test]
    fn an_evacuation_takes_as_long_as_its_slots_make_it() {
        let moves = [10, 10, 30, 10];
        for (slots, seconds) in [(1, 60), (2, 40), (3, 30), (0, 30)] {
            assert_eq!(in_all(&moves, slots), seconds, "{slots} slots");
        }
        assert_eq!(in_all(&[], 2), 0);
    }
}
