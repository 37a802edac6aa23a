//! The code is the model: the real [`xen_handoff::handoff::step`] and the real evidence types, run by drivers that mirror the agent
//! deed by deed, in a world of three hosts, xl's streams, Pacemaker, its ledger and a network.
//!
//! `make model` searches every schedule within bounds (breadth first, so that what it finds is shortest), lets a sample of
//! all worlds heal, runs random schedules that are far longer, and comes upon each known defect once more with its repair taken
//! out. `make mutants` breaks the protocol in one place at a time and demands that the expected promise notices. Plain
//! `cargo test` runs a small search. `cargo test --release --test model -- WORD` runs one of `quick`, `full` (the same, ten times as
//! many random schedules), `mutants`, `endings` (a shortest schedule to every ending that is not "it runs"), `seed N`.
//!
//! What is where: `world` is the data, `deed` what can happen next, `drive` the agent's actions and keeper, `flow` one stream,
//! `cluster` Pacemaker, `promise` the invariants, `liveness` what must be when all heals, `explore` and `random` the two
//! searches, `mutation` the breaks, `known` what was found and is not repaired yet.
#![allow(clippy::print_stdout, reason = "a harness talks to a person")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(missing_docs, reason = "fields and variants that say themselves what they are")]

mod cluster;
mod deed;
mod drive;
mod explore;
mod flow;
mod liveness;
mod mutation;
mod promise;
mod random;
mod settle;
mod world;

use explore::{Found, Limit, Search, explore};
use liveness::{Ending, Wish};
use mutation::Rules;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;
use world::Left;

/// Nothing may happen but what a search adds to it.
const NOTHING: Left = Left {
    faults: 0,
    moves: 1,
    starts: 1,
    stops: 2,
    crashes: 0,
    kills: 0,
    cuts: 0,
    leaves: 0,
    forgets: 0,
    wipes: 0,
    refusals: 0,
    expiries: 0,
    managers: 0,
    fences: 0,
    presumes: 0,
};

/// What is modelled in a coarser way than it is, or not at all.
const LEFT_OUT: &[&str] = &[
    "the drivers have the repairs of the known defects above, which the code does not have yet: what holds here holds of \
     the code with them",
    "the resolver (`handoff::resolve`, `transfer::settle`): the drivers settle as they did before it, and what it would put \
     right is an ending (`Unsettled`) here",
    "one domain, one resource, three nodes; two streams at a time; time is order, not seconds (no two clocks differ)",
    "the gates of a handoff but health, plan and transport; a scheduler whose answer is wrong is in (any plan may come)",
    "the guest never shuts down, reboots or crashes by itself; the listing always answers (no `unknown`, no dying window)",
    "stonith-enabled=false: there Pacemaker itself starts a domain that a lost node still runs",
    "a domain left suspended or undecided after both ends were killed around GO: reported, not repaired; a stop ends a \
     copy that is frozen under its own name",
    "a running copy that the cluster forgot on a migration's target (H1) is not stopped: every other start is refused \
     until one is tried there",
    "the keeper of a deadline is one process: once killed, only the next stop or start ends the offer",
    "an EraseLedger effect is one deed with its step, except where the code forgets it; a lost one does no harm",
];

fn main() -> ExitCode {
    let asked: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    match asked.first().map(String::as_str) {
        Some("mutants") => mutants(),
        Some("seed") => one_seed(&asked),
        Some("endings") => endings(),
        Some("full") => model(&Profile::FULL),
        Some("quick") => model(&Profile::QUICK),
        _ => model(&Profile::SMALL),
    }
}

/// How much `make model` does.
struct Profile {
    states: usize,
    schedules: u64,
    heal_every: usize,
}

impl Profile {
    const SMALL: Self = Self { states: 8_000, schedules: 500, heal_every: 20 };
    const QUICK: Self = Self { states: 2_000_000, schedules: 100_000, heal_every: 40 };
    const FULL: Self = Self { states: 30_000_000, schedules: 1_000_000, heal_every: 10 };
}

/// The exhaustive searches: what each is about, and its bounds.
fn searches() -> Vec<(&'static str, Left, Ending)> {
    use Ending::{Adrift, Stopped, Unsettled};
    vec![
        ("two moves, no faults", Left { moves: 2, starts: 2, stops: 3, expiries: 1, ..NOTHING }, Stopped),
        ("one process killed", Left { faults: 1, kills: 1, starts: 2, expiries: 1, ..NOTHING }, Stopped),
        ("two processes killed", Left { faults: 2, kills: 2, starts: 2, ..NOTHING }, Stopped),
        ("a crash, fencing", Left { faults: 2, crashes: 1, starts: 2, ..NOTHING }, Stopped),
        (
            "a crash or a kill, and a cut",
            Left { faults: 2, crashes: 1, kills: 1, cuts: 1, stops: 1, ..NOTHING },
            Unsettled,
        ),
        ("a kill, and a cut", Left { faults: 2, kills: 1, cuts: 1, starts: 2, ..NOTHING }, Adrift),
        ("a node is cut off, fencing", Left { faults: 3, cuts: 2, stops: 1, ..NOTHING }, Adrift),
        (
            "a cut, a refusal, a node leaves",
            Left { faults: 1, cuts: 1, leaves: 1, refusals: 1, ..NOTHING },
            Unsettled,
        ),
        ("a node leaves, a deadline passes", Left { leaves: 1, starts: 2, expiries: 1, ..NOTHING }, Stopped),
        (
            "stale history (H1), a cut, a node leaves",
            Left { faults: 2, cuts: 1, forgets: 1, leaves: 1, ..NOTHING },
            Unsettled,
        ),
        (
            "attrd restarts everywhere, a cut",
            Left { faults: 2, cuts: 1, wipes: 1, starts: 2, expiries: 1, ..NOTHING },
            Unsettled,
        ),
        ("two nodes leave, a cut", Left { faults: 1, cuts: 1, leaves: 2, stops: 1, ..NOTHING }, Unsettled),
        ("a cluster manager is killed", Left { faults: 2, managers: 1, starts: 2, ..NOTHING }, Unsettled),
        (
            "no fencing device, a node is cut off or loses its manager",
            Left { faults: 2, cuts: 2, managers: 1, presumes: 1, stops: 1, ..NOTHING },
            Unsettled,
        ),
        (
            "a start may have its source fenced, a cut",
            Left { faults: 1, cuts: 1, fences: 1, starts: 2, stops: 1, ..NOTHING },
            Unsettled,
        ),
    ]
}

fn model(profile: &Profile) -> ExitCode {
    let begun = Instant::now();
    let (mut states, mut depth, mut violations) = (0, 0, 0);
    for (about, bounds, tolerates) in searches() {
        let limit =
            Limit { states: profile.states, heal_every: profile.heal_every, fenced_before: false, tolerates };
        let search = explore(bounds, Rules::default(), limit);
        states += search.states;
        depth = depth.max(search.depth);
        let whole =
            if search.complete { "every world within the bounds" } else { "cut at the limit of worlds" };
        println!(
            "search: {about}: states={} depth={} {whole}, {:.0?}",
            search.states,
            search.depth,
            begun.elapsed()
        );
        println!("  bounds: {bounds:?}");
        println!("  healed: {}", sorted(&search));
        violations += usize::from(show(search.found.as_ref()));
    }
    violations += schedules(profile.schedules);
    println!("left out:");
    LEFT_OUT.iter().for_each(|what| println!("  - {what}"));
    println!("time: {:.0?}", begun.elapsed());
    println!("model: states={states} depth={depth} violations={violations}");
    if violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn sorted(search: &Search) -> String {
    let endings: BTreeMap<_, _> = search.endings.iter().collect();
    endings.iter().map(|(ending, count)| format!("{ending:?} {count}")).collect::<Vec<_>>().join(", ")
}

fn show(found: Option<&Found>) -> bool {
    let Some(found) = found else { return false };
    println!("  VIOLATION of \"{}\": {}", found.broken.promise, found.broken.what);
    for (number, deed) in found.schedule.iter().enumerate() {
        println!("    {:3} {deed}", number + 1);
    }
    true
}

/// The kept seeds, then as many new schedules as are asked for.
fn schedules(count: u64) -> usize {
    let rules = Rules::default();
    let kept = random::KEPT.lines().filter_map(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    let (mut runs, mut deeds, mut violations) = (0, 0, 0);
    let mut endings: BTreeMap<Ending, usize> = BTreeMap::new();
    for seed in kept.chain(1..=count) {
        runs += 1;
        match random::run(seed, rules) {
            Ok((length, ending)) => {
                deeds += length;
                *endings.entry(ending).or_default() += 1;
            }
            Err(found) => {
                println!(
                    "schedule of seed {seed} ({} deeds), shrunk; keep it in tests/model/seeds:",
                    found.schedule.len()
                );
                violations += usize::from(show(Some(&random::shrink(found, rules))));
                if violations >= 3 {
                    break;
                }
            }
        }
    }
    println!("random: schedules={runs} deeds={deeds} violations={violations} bounds: {:?}", random::BOUNDS);
    println!("  healed: {endings:?}");
    violations
}

/// A shortest schedule to every ending that is not "it runs", with what happens when it heals.
fn endings() -> ExitCode {
    for (about, bounds, _) in searches() {
        let limit =
            Limit { states: 200_000, heal_every: 1, fenced_before: false, tolerates: Ending::Unsettled };
        let search = explore(bounds, Rules::default(), limit);
        println!("search: {about}: {}", sorted(&search));
        for (ending, schedule) in search.examples.iter().filter(|(ending, _)| **ending != Ending::Runs) {
            println!("  {ending:?}:");
            let mut world = world::World::begin(bounds);
            for &deed in schedule {
                println!("    {deed}");
                world = deed::after(&world, deed, Rules::default()).unwrap();
            }
            for wish in [Wish::Runs, Wish::Stops] {
                let (last, way) = liveness::let_heal(&world, Rules::default(), wish);
                way.iter().for_each(|deed| println!("    (healing, {wish:?}) {deed}"));
                let stands = last.map(|world| world.hosts.map(|host| (host.stand, host.look())));
                println!("    {stands:?}");
            }
        }
    }
    ExitCode::SUCCESS
}

fn one_seed(asked: &[String]) -> ExitCode {
    let seed = asked.get(1).and_then(|word| word.parse().ok()).unwrap_or(1);
    match random::run(seed, Rules::default()) {
        Ok((length, ending)) => println!("seed {seed}: {length} deeds, then {ending:?}"),
        Err(found) => {
            show(Some(&random::shrink(found, Rules::default())));
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn mutants() -> ExitCode {
    let (mut killed, mut survived) = (0, 0);
    for &(mutation, expected) in mutation::ALL {
        let begun = Instant::now();
        let rules = Rules { mutation: Some(mutation), ..Rules::default() };
        let search = explore(mutation.bounds(), rules, mutation.limit());
        let caught = search.found.as_ref().map(|found| found.broken.promise);
        let steps = search.found.as_ref().map_or(0, |found| found.schedule.len());
        if caught == Some(expected) {
            killed += 1;
            println!(
                "killed: {mutation:?} by \"{expected}\" after {steps} deeds, {} states, {:.0?}",
                search.states,
                begun.elapsed()
            );
        } else {
            survived += 1;
            println!(
                "SURVIVED: {mutation:?}: expected \"{expected}\", came {caught:?} in {} states",
                search.states
            );
            show(search.found.as_ref());
        }
    }
    println!("mutants: killed={killed} survived={survived}");
    if survived == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
