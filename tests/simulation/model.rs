//! Moves in simulated time: who may begin is decided by the agent's own `slots::decide`, how fast a stream goes by a fair share of
//! the network cards and the rate of each stream.

use xen_handoff::moves::slots::{Ticket, Turn, decide};

/// xl's own rule: after so many rounds the guest is suspended, or when this little is left, in MiB.
pub(crate) const ROUNDS: u32 = 5;
const LITTLE: f64 = 0.2;

/// What the moves take place in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct World {
    pub(crate) nodes: usize,
    /// Of each node: how many may go out at once, and come in; 0: no limit.
    pub(crate) slots: [usize; 2],
    /// MiB/s: of a node's network card, each way, and of one stream.
    pub(crate) card: f64,
    pub(crate) stream: f64,
    /// What a move takes besides its stream while it has its slots, in seconds.
    pub(crate) overhead: f64,
}

/// One domain's.
#[derive(Debug)]
pub(crate) struct Move {
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// Of the guest, in MiB.
    pub(crate) memory: f64,
    /// MiB/s that the guest writes, and the most of its memory that it writes at all, in MiB.
    pub(crate) writes: f64,
    pub(crate) working_set: f64,
    /// When it wants to begin, in seconds.
    pub(crate) asked_at: f64,
    pub(crate) began_at: Option<f64>,
    pub(crate) suspended_at: Option<f64>,
    pub(crate) ended_at: Option<f64>,
    pub(crate) round: u32,
    /// The target's slot, then the source's.
    has: [bool; 2],
    round_at: f64,
    left: f64,
    ticket: Ticket,
}

impl Move {
    /// One that has not begun.
    pub(crate) fn new(from: usize, to: usize, memory: f64, asked_at: f64, ticket: Ticket) -> Self {
        Self {
            from,
            to,
            memory,
            writes: 0.0,
            working_set: 0.0,
            asked_at,
            began_at: None,
            suspended_at: None,
            ended_at: None,
            round: 0,
            has: [false; 2],
            round_at: 0.0,
            left: memory,
            ticket,
        }
    }
}

/// Gives slots to whoever has his turn, the target's first, until nobody has.
fn give_slots(moves: &mut [Move], world: World, now: f64) {
    let [outgoing, incoming] = world.slots;
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
            moves[mine].round_at = now + world.overhead;
        }
    }
}

/// MiB/s of each stream: all grow alike until a card, the stream itself or its limit holds it.
fn rates(moves: &[Move], world: World, now: f64) -> Vec<f64> {
    let flows = |it: &Move| it.began_at.is_some() && it.ended_at.is_none() && it.round_at <= now;
    let mut rate = vec![0.0; moves.len()];
    let mut open: Vec<usize> = (0..moves.len()).filter(|one| flows(&moves[*one])).collect();
    let mut cards = vec![world.card; 2 * world.nodes];
    while !open.is_empty() {
        let ends = |one: usize| [moves[one].from, world.nodes + moves[one].to];
        let share = |card: usize| {
            let users = open.iter().filter(|one| ends(**one).contains(&card)).count();
            if users == 0 { f64::INFINITY } else { cards[card] / users as f64 }
        };
        let own = world.stream - rate[open[0]];
        let grow = (0..2 * world.nodes).map(share).fold(own, f64::min);
        for one in &open {
            rate[*one] += grow;
            ends(*one).into_iter().for_each(|card| cards[card] -= grow);
        }
        open.retain(|one| {
            rate[*one] + 1e-6 < world.stream && ends(*one).iter().all(|card| cards[*card] > 1e-6)
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

/// All of them, to their end.
pub(crate) fn run(world: World, mut moves: Vec<Move>) -> Vec<Move> {
    let mut now = 0.0;
    while moves.iter().any(|it| it.ended_at.is_none()) {
        give_slots(&mut moves, world, now);
        let rate = rates(&moves, world, now);
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
