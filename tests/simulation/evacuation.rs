//! Evacuations of a cluster of 32 nodes with 500 domains, in simulated time, to choose the defaults of the slots:
//! `cargo run --release --example evacuation`. Who may begin is decided by the agent's own `slots::decide`; how fast a stream goes by
//! a fair share of the network cards and `migration_rate`. What is assumed and what came of it: doc/evacuation.md.
#![allow(
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a table of figures is what this program is for"
)]

mod model;

use model::{Move, ROUNDS, World};
use xen_handoff::clock::UnixTime;
use xen_handoff::domain::DomainName;
use xen_handoff::moves::slots::Ticket;

const NODES: usize = 32;
const DOMAINS: usize = 500;
/// MiB/s that one ssh connection encrypts on one processor.
const STREAM: f64 = 350.0;
/// Pacemaker begins so many actions at once on a node (twice its processors), and a stop takes so long.
const ACTIONS: usize = 16;
const STOP: f64 = 1.0;
/// What a move takes besides its stream: ssh, ledger, xl's receiver, the last handshake.
const OVERHEAD: f64 = 1.5;
/// The timeout of start, and the life of an offer.
const TIMEOUT: f64 = 300.0;
/// A fixed sequence: the same run every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The domains of the first nodes go to the others, in turn.
fn moves(leaving: usize) -> Vec<Move> {
    let mut dice = Dice(0x5eed_0fca_11ab_1e5d);
    let mut of_node = [0_usize; NODES];
    (0..DOMAINS)
        .filter_map(|number| {
            let from = number % NODES;
            let gib = match dice.roll() {
                size if size < 0.4 => 2.0,
                size if size < 0.75 => 4.0,
                size if size < 0.95 => 8.0,
                _ => 16.0,
            };
            let (busy, priority) = (dice.roll(), (dice.roll() * 10.0).floor());
            if from >= leaving {
                return None;
            }
            of_node[from] += 1;
            let asked_at = (of_node[from].div_ceil(ACTIONS)) as f64 * STOP;
            let memory = gib * 1024.0;
            let ticket = Ticket {
                domain: DomainName::new(format!("x{number}-")).ok()?,
                #[allow(clippy::cast_possible_truncation, reason = "0 to 9")]
                priority: priority as i64,
                since: UnixTime(0),
                number: number as u64,
                has_slot: false,
            };
            let to = leaving + (number / NODES + from * 7) % (NODES - leaving);
            let mut one = Move::new(from, to, memory, asked_at, ticket);
            // One in five is busy.
            one.writes = if busy > 0.8 { 300.0 * busy } else { 30.0 * busy };
            one.working_set = memory * 0.1;
            Some(one)
        })
        .collect()
}

fn main() {
    println!(
        "| nodes leaving | card | slots out/in | rate | domains | all gone | longest wait | late | a move takes | pause, mean | worst |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    let none = f64::INFINITY;
    let (ten, one) = (1150.0, 112.0);
    for (leaving, card, rate) in
        [(1, ten, none), (4, ten, none), (16, ten, none), (1, ten, 100.0), (1, one, none), (4, one, none)]
    {
        for slots in [1, 2, 3, 4, 8, 0] {
            let stream = STREAM.min(rate);
            let world = World { nodes: NODES, slots: [slots; 2], card, stream, overhead: OVERHEAD };
            let moves = model::run(world, moves(leaving));
            let count = moves.len() as f64;
            let span = |from: fn(&Move) -> Option<f64>| {
                let spans = moves.iter().filter_map(move |it| Some(it.ended_at? - from(it)?));
                spans.collect::<Vec<f64>>()
            };
            let most = |spans: &[f64]| spans.iter().copied().fold(0.0, f64::max);
            let mean = |spans: &[f64]| spans.iter().sum::<f64>() / count;
            let (all, whole) = (span(|_| Some(0.0)), span(|it| Some(it.asked_at)));
            let (took, pause) = (span(|it| it.began_at), span(|it| it.suspended_at));
            let waited = moves.iter().filter_map(|it| Some(it.began_at? - it.asked_at)).fold(0.0, f64::max);
            let late = whole.iter().filter(|span| **span > TIMEOUT).count();
            let slots = if slots == 0 { "no limit".to_owned() } else { format!("{slots}/{slots}") };
            let rate = if rate.is_finite() { format!("{rate:.0} MiB/s") } else { "-".to_owned() };
            println!(
                "| {leaving} | {card:.0} MiB/s | {slots} | {rate} | {count} | {:.0} s | {waited:.0} s | {late} | {:.0} s | {:.2} s | {:.2} s |",
                most(&all),
                mean(&took),
                mean(&pause),
                most(&pause),
            );
            assert!(moves.iter().all(|it| it.memory > 0.0 && it.round <= ROUNDS));
        }
    }
}
