//! Random schedules, far longer than the exhaustive search goes: deeds drawn by a seeded generator until the bounds are used
//! up, then everything heals. A schedule that breaks a promise is shrunk, and its seed is to be kept in `seeds`, whose
//! lines are replayed first.

use super::deed::{Deed, after, deeds};
use super::explore::Found;
use super::liveness;
use super::mutation::Rules;
use super::promise::Broken;
use super::world::{Left, World};

/// The seeds that once broke a promise.
pub(super) const KEPT: &str = include_str!("seeds");

/// splitmix64: small, and the same on every machine.
#[derive(Debug, Clone)]
pub(super) struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap_or_default()
    }
}

/// What random schedules may use up: about four times what the exhaustive search allows.
pub(super) const BOUNDS: Left = Left {
    faults: 6,
    moves: 5,
    starts: 8,
    stops: 8,
    crashes: 2,
    kills: 3,
    cuts: 3,
    leaves: 3,
    forgets: 1,
    wipes: 1,
    refusals: 1,
    expiries: 3,
    managers: 1,
    fences: 1,
    yields: 2,
    deserts: 1,
    stuck: 0,
    presumes: 1,
    reboots: 2,
    unnamed: 1,
    renames: 1,
};
/// The longest schedule.
const LENGTH: usize = 300;

/// The schedule of `seed`, run to its end.
///
/// # Errors
/// The promise that it broke, with the schedule so far.
pub(super) fn run(seed: u64, rules: Rules) -> Result<(usize, liveness::Ending), Found> {
    let mut draw = Draw(seed);
    let mut world = World::begin(BOUNDS);
    let mut schedule = vec![];
    for _ in 0..LENGTH {
        let possible = deeds(&world, rules);
        if possible.is_empty() {
            break;
        }
        // Faults are possible at nearly every moment; drawn evenly, they would come before anything else does.
        let mut deed = possible[draw.below(possible.len())];
        if deed.is_fault() && draw.below(4) != 0 {
            deed = possible[draw.below(possible.len())];
        }
        schedule.push(deed);
        match after(&world, deed, rules) {
            Ok(next) => world = next,
            Err(broken) => return Err(Found { broken, schedule }),
        }
    }
    let length = schedule.len();
    match liveness::heal(&world, rules) {
        Ok(ending) => Ok((length, ending)),
        Err((broken, _)) => Err(Found { broken, schedule }),
    }
}

/// What a schedule breaks; deeds that cannot happen are passed over. Healing comes at its end.
fn replay(schedule: &[Deed], rules: Rules) -> Option<Broken> {
    let mut world = World::begin(BOUNDS);
    for &deed in schedule {
        if !deeds(&world, rules).contains(&deed) {
            continue;
        }
        match after(&world, deed, rules) {
            Ok(next) => world = next,
            Err(broken) => return Some(broken),
        }
    }
    liveness::heal(&world, rules).err().map(|(broken, _)| broken)
}

/// A schedule without the deeds that are not needed to break the same promise.
pub(super) fn shrink(found: Found, rules: Rules) -> Found {
    let Found { broken, mut schedule } = found;
    let same = |schedule: &[Deed]| replay(schedule, rules).filter(|other| other.promise == broken.promise);
    let mut what = broken.clone();
    let mut chunk = schedule.len().max(1);
    while chunk > 0 {
        let mut at = 0;
        while at < schedule.len() {
            let mut shorter = schedule.clone();
            shorter.drain(at..(at + chunk).min(shorter.len()));
            match same(&shorter) {
                Some(broken) => (schedule, what) = (shorter, broken),
                None => at += chunk,
            }
        }
        chunk /= 2;
    }
    Found { broken: what, schedule }
}
