//! The model.
#![allow(clippy::print_stdout, reason = "a harness talks to a person")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(missing_docs, reason = "fields say themselves what they are")]

mod cluster;
mod deed;
mod drive;
mod explore;
mod flow;
mod known;
mod liveness;
mod mutation;
mod promise;
mod world;

fn main() {
    let left = world::Left { faults: 1, moves: 1, starts: 1, stops: 2, crashes: 1, kills: 1, cuts: 1, leaves: 1, forgets: 1, wipes: 1, refusals: 1, expiries: 1 };
    let t = std::time::Instant::now();
    let s = explore::explore(left, known::Rules::default(), explore::Limit { states: 3_000_000, heal_every: 50 });
    println!("{} {} {} {:?} {:?}", s.states, s.depth, s.complete, s.endings, t.elapsed());
    if let Some(f) = s.found { println!("{:?}", f.broken); for d in f.schedule { println!("  {d}"); } }
}
