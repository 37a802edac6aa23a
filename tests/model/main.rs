//! The code is the model: the real [`xen_handoff::handoff::step`], [`xen_handoff::handoff::resolve`],
//! [`xen_handoff::agent::monitor::judge`] and evidence types, run by drivers that mirror the rest of the agent deed by deed, in a
//! world of three hosts, xl's streams, Pacemaker, its ledger and a network.
//!
//! `make model` searches every schedule within bounds (breadth first, so that what it finds is shortest), lets a sample of
//! all worlds heal twice (the domain is to run; it was disabled meanwhile), and runs random schedules that are far
//! longer. It prints its bounds, whether a search came to its end within them, and what is left out. `make mutants` breaks
//! the protocol in one place at a time and demands that the expected promise notices; the defects that earlier searches
//! found are among them. `cargo test --profile search --test model -- WORD` runs one of `small`, `quick`, `full` (as `quick`, with
//! many more worlds and schedules), `mutants`, `endings` (a shortest schedule to every ending that is not "it runs"),
//! `search WORD` (the searches whose name has that word), `seed N`.
//!
//! What is where: `world` is the data, `deed` what can happen next, `drive` the agent's actions and keeper, `flow` one stream,
//! `settle` what is done about one that broke off, `cluster` Pacemaker, `promise` the invariants, `liveness` what must be
//! when all heals, `explore` and `random` the two searches, `mutation` the breaks.
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
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
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
    yields: 0,
    deserts: 0,
    stuck: 0,
    presumes: 0,
    reboots: 0,
    unnamed: 0,
    renames: 0,
};

/// What is modelled in a coarser way than it is, or not at all.
const LEFT_OUT: &[&str] = &[
    "one domain, one resource, three nodes; two streams at a time; time is order, not seconds (no two clocks differ): the \
     seconds of limits, of a stream's deadline and of a fencing against an epoch are not in it",
    "a look and the deed that it allows at once are one deed where the code has nothing in between (the keeper's last look \
     and its destroy; a listing and the step that is made of it)",
    "the gates of a handoff but health, plan and transport; a scheduler whose answer is wrong is in (any plan may come)",
    "the guest never shuts down or crashes by itself, and does not reboot while it is on offer or on its way; the listing always answers (no `unknown`, no dying window); \
     a record can always be written; every ledger entry can be read",
    "whether a start asks for an offer's end: it may at any time (the code asks only where it could boot then, and not for want of what \
     a boot needs as well); and whether nobody is left to fetch one: a keeper may hear so at any time",
    "an action that outlives its cluster manager ends before that node joins again; a node's attributes never come back \
     from a part of the cluster that was cut off",
    "an expired offer's domain ends, by its keeper or the next one, before a ledger counts as old; only what is settling may \
     take longer",
    "Adrift: a push that outlives its killed migrate_to arrives at a target that was probed, not stopped, meanwhile; if the \
     resource is disabled just then, it runs there and the cluster does not know. (No stop, no refusal.)",
    "Unsettled: the target was given GO, and its copy was gone when it was looked at; or what is settling is settled only after \
     its offer has ended long ago: the copy at the source waits for a person, and every action says so",
    "a running copy that the cluster forgot on a migration's target (H1) is not stopped: every other start is refused \
     until one is tried there",
    "Heartbeat: its own ledger (files on the peers), and stops that no scheduler planned",
];

fn main() -> ExitCode {
    let asked: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    match asked.first().map(String::as_str) {
        Some("mutants") => mutants(asked.get(1).map_or("", String::as_str)),
        Some("seed") => one_seed(&asked),
        Some("endings") => endings(),
        Some("full") => model(&Profile::FULL, ""),
        Some("quick") => model(&Profile::QUICK, ""),
        Some("search") => model(&Profile::QUICK, asked.get(1).map_or("", String::as_str)),
        _ => model(&Profile::SMALL, ""),
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
    const QUICK: Self = Self { states: 3_000_000, schedules: 100_000, heal_every: 40 };
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
            "no stream can be finished",
            Left { stuck: 1, yields: 2, starts: 2, expiries: 1, ..NOTHING },
            Stopped,
        ),
        (
            "no stream can be finished, one process killed",
            Left { stuck: 1, yields: 2, faults: 1, kills: 1, ..NOTHING },
            Stopped,
        ),
        (
            "an offer is given up, a kill, a cut",
            Left { yields: 1, faults: 2, kills: 1, cuts: 1, stops: 1, ..NOTHING },
            Unsettled,
        ),
        (
            "an offer is given up or deserted, a crash",
            Left { yields: 1, deserts: 1, faults: 2, crashes: 1, starts: 2, ..NOTHING },
            Stopped,
        ),
        (
            "the guest reboots, a cut",
            Left { faults: 1, cuts: 1, reboots: 1, starts: 2, ..NOTHING },
            Unsettled,
        ),
        (
            "a name that cannot be read, a kill, a cut",
            Left { faults: 2, kills: 1, cuts: 1, unnamed: 1, ..NOTHING },
            Adrift,
        ),
        (
            "another name in the file, a deadline passes",
            Left { renames: 1, starts: 2, expiries: 1, ..NOTHING },
            Stopped,
        ),
        (
            "a start may have its source fenced, a cut",
            Left { faults: 1, cuts: 1, fences: 1, starts: 2, stops: 1, ..NOTHING },
            Unsettled,
        ),
    ]
}

/// `job` for each of `all`, on two threads, in their order.
fn on_two_threads<J: Sync, R: Send>(all: &[J], job: impl Fn(&J) -> R + Sync) -> Vec<R> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some((place, one)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, all.get(at)?)))
        {
            let result = job(one);
            done.lock().unwrap().push((place, result));
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, result)| result).collect()
}

/// The searches whose name has `word`, and, with no word, the random schedules.
fn model(profile: &Profile, word: &str) -> ExitCode {
    let begun = Instant::now();
    let (mut states, mut depth, mut violations) = (0, 0, 0);
    let mut searches = searches();
    searches.retain(|(about, ..)| about.contains(word));
    let results = on_two_threads(&searches, |&(_, bounds, tolerates)| {
        let limit =
            Limit { states: profile.states, heal_every: profile.heal_every, fenced_before: false, tolerates };
        explore(bounds, Rules::default(), limit)
    });
    for ((about, bounds, tolerates), search) in searches.iter().zip(&results) {
        states += search.states;
        depth = depth.max(search.depth);
        let whole =
            if search.complete { "every world within the bounds" } else { "cut at the limit of worlds" };
        println!("search: {about}: states={} depth={} {whole}", search.states, search.depth);
        println!("  bounds: {bounds:?}");
        println!("  healed: {} (worst end allowed: {tolerates:?})", sorted(search));
        violations += usize::from(show(search.found.as_ref()));
    }
    println!("searches: {:.0?}", begun.elapsed());
    if word.is_empty() {
        violations += schedules(profile.schedules);
    }
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
    let seeds: Vec<u64> = kept.chain(1..=count).collect();
    let batches: Vec<&[u64]> = seeds.chunks(1000).collect();
    let results = on_two_threads(&batches, |batch| {
        batch.iter().map(|&seed| (seed, random::run(seed, rules))).collect::<Vec<_>>()
    });
    let (mut deeds, mut violations) = (0, 0);
    let mut endings: BTreeMap<Ending, usize> = BTreeMap::new();
    for (seed, result) in results.into_iter().flatten() {
        match result {
            Ok((length, ending)) => {
                deeds += length;
                *endings.entry(ending).or_default() += 1;
            }
            // A few are enough to look at.
            Err(_) if violations >= 3 => violations += 1,
            Err(found) => {
                let length = found.schedule.len();
                println!("schedule of seed {seed} ({length} deeds), shrunk; keep it in tests/model/seeds:");
                violations += usize::from(show(Some(&random::shrink(found, rules))));
            }
        }
    }
    println!(
        "random: schedules={} deeds={deeds} violations={violations} bounds: {:?}",
        seeds.len(),
        random::BOUNDS
    );
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

/// The mutants whose name has `word`.
fn mutants(word: &str) -> ExitCode {
    let (mut killed, mut survived) = (0, 0);
    let mut all = mutation::ALL.to_vec();
    all.retain(|(mutation, _)| format!("{mutation:?}").contains(word));
    let results = on_two_threads(&all, |&(mutation, _)| {
        let rules = Rules { mutation: Some(mutation) };
        explore(mutation.bounds(), rules, mutation.limit())
    });
    for (&(mutation, expected), search) in all.iter().zip(&results) {
        let caught = search.found.as_ref().map(|found| found.broken.promise);
        let steps = search.found.as_ref().map_or(0, |found| found.schedule.len());
        if caught == Some(expected) {
            killed += 1;
            println!("killed: {mutation:?} by \"{expected}\" after {steps} deeds, {} states", search.states);
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
