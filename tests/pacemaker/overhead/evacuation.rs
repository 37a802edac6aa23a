//! `cargo test --test pacemaker -- overhead evacuation [domains=20] [slots=1,2,4] [mib=32] [rate=4] [runs=2]`: a node with so many domains
//! goes into standby, with streams of a real length (so many MiB at so many MiB/s, by the stand-in, which takes a third of a processor
//! at 16 MiB/s) and so many slots, against what the simulation of
//! doc/evacuation.md makes of the same: how long a lone move takes besides its stream is measured first, and is all that the
//! simulation is given, beside when each stop was over. It is not given what many moves at once do to two processors.
//!
//! Rows have `case` = `evacuation`, `slots`, `domains`, `mib`, `seconds` (from the first stop's begin to the last start's end, the
//! median), `simulated_seconds`, `ratio`.

#[path = "../../simulation/model.rs"]
#[allow(dead_code, reason = "what the simulation's own table tells is more")]
mod model;

use super::moves::Run;
use super::{Bench, FROM, TO, median, number, rounded};
use model::{Move, World};
use serde_json::{Value, json};
use std::process::ExitCode;
use xen_handoff::clock::UnixTime;
use xen_handoff::domain::DomainName;
use xen_handoff::moves::slots::Ticket;

/// More than any stream here needs, in MiB/s.
const CARD: f64 = 1e6;

/// Measures, prints a table, writes the rows.
pub(super) fn measure(bench: &Bench<'_>, load: f64, words: &[String]) -> ExitCode {
    let slots: Vec<usize> = words
        .iter()
        .find_map(|word| word.strip_prefix("slots="))
        .map_or(vec![1, 2, 4], |list| list.split(',').filter_map(|word| word.parse().ok()).collect());
    let (domains, mib) = (number(words, "domains").unwrap_or(20), number(words, "mib").unwrap_or(32));
    let rate: u32 = number(words, "rate").unwrap_or(4);
    for node in [FROM, TO] {
        bench.cluster.knob(node, "stream.mib", &mib.to_string());
        bench.cluster.knob(node, "stream.mib-per-second", &rate.to_string());
    }
    bench.end(all(bench, &slots, domains, mib, number(words, "runs").unwrap_or(2)), load)
}

fn all(bench: &Bench<'_>, slots: &[usize], domains: u32, mib: u32, runs: u32) -> Result<Vec<Value>, String> {
    let lone = runs_of(bench, 1, runs)?;
    let of = |what: fn(&Run) -> f64| median(lone.iter().map(what).collect());
    let first = |of: &[f64]| of.first().copied().unwrap_or_default();
    let stream = of(|run| run.streams.first().copied().unwrap_or_default());
    let overhead = median(
        lone.iter()
            .map(|run| first(&run.before.seconds) - first(&run.stops) + first(&run.after.seconds))
            .collect(),
    );
    println!("a lone move: {stream:.2} s of stream ({mib} MiB), {overhead:.2} s of its start besides");
    println!("{:>5} {:>7} {:>9} {:>9} {:>6}", "slots", "domains", "seconds", "simulated", "ratio");
    let mut rows = vec![];
    for slots in slots {
        set_slots(bench, *slots);
        let runs = runs_of(bench, domains, runs)?;
        let world =
            World { nodes: 2, slots: [*slots; 2], card: CARD, stream: f64::from(mib) / stream, overhead };
        let took = median(runs.iter().map(|run| run.all_in_all).collect());
        let simulated = median(runs.iter().map(|run| simulate(world, mib, &run.stops)).collect());
        let ratio = took / simulated;
        println!("{slots:>5} {domains:>7} {took:>9.1} {simulated:>9.1} {ratio:>6.2}");
        rows.push(json!({
            "case": "evacuation", "nodes": 2, "domains": domains, "silent": 0, "what": format!("{slots} slots"),
            "slots": slots, "mib": mib, "seconds": rounded(took), "simulated_seconds": rounded(simulated),
            "ratio": rounded(ratio), "runs": runs.len(),
        }));
    }
    Ok(rows)
}

/// So many domains, there and back, again and again.
fn runs_of(bench: &Bench<'_>, domains: u32, runs: u32) -> Result<Vec<Run>, String> {
    let names: Vec<String> = (0..domains).map(|number| format!("x{number}")).collect();
    bench.give(&names);
    // Back to where they begin.
    let runs = runs.next_multiple_of(2).max(2);
    let all = (0..runs).map(|number| bench.one(&names, number % 2 == 0)).collect();
    bench.take_back();
    all
}

fn set_slots(bench: &Bench<'_>, slots: usize) {
    let settings = format!("max_outgoing_migrations={slots}\nmax_incoming_migrations={slots}\n");
    for node in [FROM, TO] {
        bench.cluster.fabric.put(node, "/etc/sysconfig/xen-handoff", 0o644, &settings);
    }
}

/// When the last one is there, in seconds; each asks for its slots when its stop is over.
fn simulate(world: World, mib: u32, stops: &[f64]) -> f64 {
    let moves = (0..).zip(stops).filter_map(|(number, stop)| {
        let domain = DomainName::new(format!("x{number}")).ok()?;
        let ticket = Ticket { domain, priority: 0, since: UnixTime(0), number, has_slot: false };
        Some(Move::new(0, 1, f64::from(mib), *stop, ticket))
    });
    let ended = model::run(world, moves.collect());
    ended.iter().filter_map(|it| it.ended_at).fold(0.0, f64::max)
}
