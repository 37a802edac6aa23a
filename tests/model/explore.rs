//! The exhaustive search: breadth first, so that the schedule that breaks a promise is a shortest one. A world is remembered by
//! a 64-bit fingerprint: among some millions of worlds, the chance that two share one is about one in a million.

use super::deed::{Deed, after, deeds};
use super::liveness::{self, Ending};
use super::mutation::Rules;
use super::promise::{Broken, Promise};
use super::world::{Left, NODES, World};
use std::collections::HashMap;
use std::hash::{Hash, Hasher};

/// What a search has seen.
#[derive(Debug, Default)]
pub(super) struct Search {
    pub(super) states: usize,
    pub(super) depth: usize,
    /// Whether every world within the bounds was seen, rather than as many as the limit allows.
    pub(super) complete: bool,
    pub(super) found: Option<Found>,
    /// How many worlds were let heal, and how they ended.
    pub(super) endings: HashMap<Ending, usize>,
    /// A schedule to the first world that ended so; it heals from there.
    pub(super) examples: HashMap<Ending, Vec<Deed>>,
}

/// A promise that did not hold, and a schedule to it.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) broken: Broken,
    pub(super) schedule: Vec<Deed>,
}

/// A hasher for many small fields: one folded multiplication each. (The standard library's takes most of a search's time.)
struct Fold(u64);

impl Fold {
    fn fold(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word ^ 0x2d35_8dcc_aa6c_78a5) * 0x8bb8_4b93_962e_acc9_u128;
        let [low, high] = [product & u128::from(u64::MAX), product >> 64];
        self.0 = u64::try_from(low ^ high).unwrap_or_default().rotate_left(23);
    }
}

impl Hasher for Fold {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.fold(byte.into()));
    }
    fn write_u8(&mut self, word: u8) {
        self.fold(word.into());
    }
    fn write_u32(&mut self, word: u32) {
        self.fold(word.into());
    }
    fn write_usize(&mut self, word: usize) {
        self.fold(word as u64);
    }
    fn write_isize(&mut self, word: isize) {
        self.fold(word.cast_unsigned() as u64);
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

fn fingerprint(world: &World) -> u64 {
    let mut hasher = Fold(0);
    world.hash(&mut hasher);
    hasher.finish()
}

/// How far a search goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    pub(super) states: usize,
    /// Every so many worlds one is let heal; 0 for none.
    pub(super) heal_every: usize,
    /// Begins with nodes that were all fenced once, and came back.
    pub(super) fenced_before: bool,
    /// The worst ending that these bounds may lead to when all heals.
    pub(super) tolerates: Ending,
}

/// Searches every world that can come from the beginning within `bounds`.
pub(super) fn explore(bounds: Left, rules: Rules, limit: Limit) -> Search {
    let mut first = World::begin(bounds);
    if limit.fenced_before {
        first.cluster.fenced_at = [Some(first.tick()); NODES];
    }
    let mut seen: HashMap<u64, Option<(u64, Deed)>> = HashMap::new();
    seen.insert(fingerprint(&first), None);
    let mut search = Search { complete: true, ..Search::default() };
    let mut ring = vec![first];
    while !ring.is_empty() && search.found.is_none() {
        let mut next_ring = Vec::new();
        for world in ring {
            let print = fingerprint(&world);
            search.states += 1;
            if limit.heal_every > 0 && search.states.is_multiple_of(limit.heal_every) {
                match liveness::heal(&world, rules) {
                    Ok(ending) if ending > limit.tolerates => {
                        let what = format!("the end is {ending:?}");
                        let broken = Broken { promise: Promise::Liveness, what };
                        search.found = Some(Found { broken, schedule: path(&seen, print) });
                        return search;
                    }
                    Ok(ending) => {
                        *search.endings.entry(ending).or_default() += 1;
                        search.examples.entry(ending).or_insert_with(|| path(&seen, print));
                    }
                    Err((broken, rest)) => {
                        let mut schedule = path(&seen, print);
                        schedule.extend(rest);
                        search.found = Some(Found { broken, schedule });
                        return search;
                    }
                }
            }
            for deed in deeds(&world, rules) {
                match after(&world, deed, rules) {
                    Ok(next) => {
                        let next_print = fingerprint(&next);
                        if !seen.contains_key(&next_print) {
                            if seen.len() >= limit.states {
                                search.complete = false;
                                continue;
                            }
                            seen.insert(next_print, Some((print, deed)));
                            next_ring.push(next);
                        }
                    }
                    Err(broken) => {
                        let mut schedule = path(&seen, print);
                        schedule.push(deed);
                        search.found = Some(Found { broken, schedule });
                        return search;
                    }
                }
            }
        }
        if !next_ring.is_empty() {
            search.depth += 1;
        }
        ring = next_ring;
    }
    search
}

fn path(seen: &HashMap<u64, Option<(u64, Deed)>>, mut print: u64) -> Vec<Deed> {
    let mut deeds = vec![];
    while let Some(Some((before, deed))) = seen.get(&print) {
        deeds.push(*deed);
        print = *before;
    }
    deeds.reverse();
    deeds
}
