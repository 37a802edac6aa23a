//! Evacuations of a cluster of 32 nodes with 500 domains, in simulated time, to choose the defaults of the slots:
//! `cargo run --release --example evacuation`. Who may begin is decided by the agent's own `slots::decide`; how fast a stream goes by
//! a fair share of the network cards and `migration_rate`. What is assumed and what came of it: doc/evacuation.md.
#![allow(
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a table of figures is what this program is for"
)]

use xen_handoff::clock::UnixTime;
use xen_handoff::domain::DomainName;
use xen_handoff::moves::slots::{Ticket, Turn, decide};

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
/// xl's own rule: after so many rounds the guest is suspended, or when this little is left.
const ROUNDS: u32 = 5;
const LITTLE: f64 = 0.2;

#[derive(Clone, Copy)]
struct Case {
    leaving: usize,
    slots: [usize; 2],
    /// MiB/s: of a node's network card, each way, and of `migration_rate`.
    card: f64,
    rate: f64,
}

struct Move {
    from: usize,
    to: usize,
    memory: f64,
    /// MiB/s that the guest writes, and the most of its memory that it writes at all.
    writes: f64,
    working_set: f64,
    asked_at: f64,
    /// The target's slot, then the source's.
    has: [bool; 2],
    began_at: Option<f64>,
    round: u32,
    round_at: f64,
    left: f64,
    suspended_at: Option<f64>,
    ended_at: Option<f64>,
    ticket: Ticket,
}

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
fn moves(case: Case) -> Vec<Move> {
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
            if from >= case.leaving {
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
            Some(Move {
                from,
                to: case.leaving + (number / NODES + from * 7) % (NODES - case.leaving),
                memory,
                // One in five is busy.
                writes: if busy > 0.8 { 300.0 * busy } else { 30.0 * busy },
                working_set: memory * 0.1,
                asked_at,
                has: [false; 2],
                began_at: None,
                round: 0,
                round_at: 0.0,
                left: memory,
                suspended_at: None,
                ended_at: None,
                ticket,
            })
        })
        .collect()
}

/// Gives slots to whoever has his turn, the target's first, until nobody has.
fn give_slots(moves: &mut [Move], case: Case, now: f64) {
    let [outgoing, incoming] = case.slots;
    loop {
        let turn = (0..moves.len()).find_map(|mine| {
            let one = &moves[mine];
            let which = usize::from(one.has[0]);
            if one.has[1] || one.asked_at > now {
                return None;
            }
            let at = |other: &Move| if which == 0 { other.to } else { other.from };
            let others: Vec<Ticket> = moves
                .iter()
                .enumerate()
                .filter(|(other, it)| *other != mine && it.asked_at <= now && it.ended_at.is_none())
                .filter(|(_, it)| at(it) == at(one) && (which == 0 || it.has[0]))
                .map(|(_, it)| Ticket { has_slot: it.has[which], ..it.ticket.clone() })
                .collect();
            let limit = if which == 0 { incoming } else { outgoing };
            (decide(&one.ticket, &others, limit) == Turn::Now).then_some((mine, which))
        });
        let Some((mine, which)) = turn else { return };
        moves[mine].has[which] = true;
        if which == 1 {
            moves[mine].began_at = Some(now);
            moves[mine].round_at = now + OVERHEAD;
        }
    }
}

/// MiB/s of each stream: all grow alike until a card, the stream itself or its limit holds it.
fn rates(moves: &[Move], case: Case, now: f64) -> Vec<f64> {
    let flows = |it: &Move| it.began_at.is_some() && it.ended_at.is_none() && it.round_at <= now;
    let mut rate = vec![0.0; moves.len()];
    let mut open: Vec<usize> = (0..moves.len()).filter(|one| flows(&moves[*one])).collect();
    let mut cards = vec![case.card; 2 * NODES];
    while !open.is_empty() {
        let ends = |one: usize| [moves[one].from, NODES + moves[one].to];
        let share = |card: usize| {
            let users = open.iter().filter(|one| ends(**one).contains(&card)).count();
            if users == 0 { f64::INFINITY } else { cards[card] / users as f64 }
        };
        let own = STREAM.min(case.rate) - rate[open[0]];
        let grow = (0..2 * NODES).map(share).fold(own, f64::min);
        for one in &open {
            rate[*one] += grow;
            ends(*one).into_iter().for_each(|card| cards[card] -= grow);
        }
        open.retain(|one| {
            rate[*one] + 1e-6 < STREAM.min(case.rate) && ends(*one).iter().all(|card| cards[*card] > 1e-6)
        });
    }
    rate
}

/// A round has ended: another one, the last one with the guest suspended, or the end.
fn next_round(it: &mut Move, now: f64) {
    if it.suspended_at.is_some() {
        it.ended_at = Some(now);
        return;
    }
    it.left = (it.writes * (now - it.round_at)).min(it.working_set);
    it.round += 1;
    it.round_at = now;
    if it.round >= ROUNDS || it.left < LITTLE {
        it.suspended_at = Some(now);
        it.left = it.left.max(1.0);
    }
}

fn run(case: Case) -> Vec<Move> {
    let (mut moves, mut now) = (moves(case), 0.0);
    while moves.iter().any(|it| it.ended_at.is_none()) {
        give_slots(&mut moves, case, now);
        let rate = rates(&moves, case, now);
        let step = moves
            .iter()
            .zip(&rate)
            .filter(|(it, _)| it.ended_at.is_none())
            .filter_map(|(it, rate)| match it.began_at {
                None => (it.asked_at > now).then_some(it.asked_at - now),
                Some(_) if it.round_at > now => Some(it.round_at - now),
                Some(_) => Some(it.left / rate),
            })
            .fold(f64::INFINITY, f64::min);
        assert!(step.is_finite(), "nothing moves any more at {now}");
        for (it, rate) in moves.iter_mut().zip(&rate) {
            it.left -= rate * step;
        }
        now += step.max(1e-9);
        for it in moves.iter_mut().filter(|it| it.ended_at.is_none() && it.round_at < now && it.left <= 1e-6)
        {
            next_round(it, now);
        }
    }
    moves
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
            let case = Case { leaving, slots: [slots; 2], card, rate };
            let moves = run(case);
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
