//! When all heals: links are whole, hosts are up, nothing more fails, every process goes on, and the cluster does what Pacemaker
//! would, one thing at a time. Within [`STEPS`] deeds it must come to an end that a person can live with.

use super::deed::{Deed, after, deeds, progress};
use super::mutation::Rules;
use super::promise::{Broken, Promise};
use super::world::{Action, Belief, Host, Look, NODES, Stand, StartAt, World, name};

/// The bound.
pub(super) const STEPS: usize = 1000;
/// How often a person tells the cluster to try a failed stop again.
const CLEANUPS: usize = 3;
/// How many rounds a start tries.
const ROUNDS: usize = 3;
/// How many starts in a row may fail.
const STARTS: usize = 12;

/// How a world ends that was let heal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Ending {
    /// One copy runs, where the cluster believes it.
    Runs,
    /// No copy is anywhere, and the cluster knows.
    Stopped,
    /// One copy runs, and its node's record says how it came; but the cluster had been told "stopped" before it came, and
    /// nobody starts the domain any more: a push that outlives its migrate_to and the target's stop.
    Adrift,
    /// Both ends of a stream were killed around GO: it is suspended or undecided, and every action says so.
    Unsettled,
}

/// What the people want while it heals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// It is to run.
    Runs,
    /// It was disabled meanwhile: nobody starts it any more.
    Stops,
}

/// Lets `world` heal, once for each wish, and demands an end.
///
/// # Errors
/// The promise that broke on the way, [`Promise::Liveness`] if there is no end, and the way.
pub(super) fn heal(world: &World, rules: Rules) -> Result<Ending, (Broken, Vec<Deed>)> {
    let one = |wish| {
        let (last, way) = let_heal(world, rules, wish);
        match last {
            Ok(world) => ending(&world, wish).map_err(|broken| (broken, way)),
            Err(broken) => Err((broken, way)),
        }
    };
    let disabled = one(Wish::Stops)?;
    one(Wish::Runs).map(|ending| if disabled > Ending::Stopped { disabled } else { ending })
}

/// The world when nothing more happens in it, and how it came there.
pub(super) fn let_heal(world: &World, rules: Rules, wish: Wish) -> (Result<World, Broken>, Vec<Deed>) {
    let mut world = world.clone();
    let mut way = vec![];
    world.left.faults = 0;
    (world.left.starts, world.left.stops, world.left.expiries, world.left.moves) = (40, 40, 8, 0);
    (world.left.refusals, world.left.leaves, world.left.managers, world.left.fences) = (0, 0, 0, 0);
    (world.left.yields, world.left.deserts) = (8, 0);
    (world.left.reboots, world.left.unnamed, world.left.renames) = (0, 0, 0);
    if wish == Wish::Stops {
        world.left.starts = 0;
    }
    let (mut starts, mut rounds, mut cleanups) = (0, 0, 0);
    // A probe that failed is answered by a stop, not by a probe.
    let mut probed = [false; NODES];
    for _ in 0..STEPS {
        let Some(mut deed) = next(&world, rules, cleanups < CLEANUPS, starts, probed) else {
            return (Ok(world), way);
        };
        match deed {
            Deed::Start(_) => (starts, rounds) = (starts + 1, 0),
            Deed::CleanUp(_) => cleanups += 1,
            Deed::Probe(node) => probed[node] = true,
            Deed::Stop(node, _) => probed[node] = false,
            Deed::Act(node) if world.hosts[node].action == Some(Action::Start(StartAt::Round)) => {
                rounds += 1;
                if rounds > ROUNDS {
                    if let Some(what) = fails_in_vain(&world, node).filter(|_| wish == Wish::Runs) {
                        return (Err(Broken { promise: Promise::P7NeverWorse, what }), way);
                    }
                    deed = Deed::GiveUp(node);
                }
            }
            _ => {}
        }
        way.push(deed);
        match after(&world, deed, rules) {
            Ok(next) => world = next,
            Err(broken) => return (Err(broken), way),
        }
        if starts > STARTS {
            return (Ok(world), way);
        }
    }
    let what = format!("no end after {STEPS} deeds");
    (Err(Broken { promise: Promise::Liveness, what }), way)
}

/// What a start fails at that could end with the guest running: no stream can be finished, and what it cannot fetch could be ended for a
/// boot. Where an end of an earlier stream is not known, a person must look first.
fn fails_in_vain(world: &World, node: usize) -> Option<String> {
    let unsettled = world.hosts.iter().any(|host| {
        matches!(host.stand, Stand::Settling(..) | Stand::Arriving(_) | Stand::Left(_))
            || matches!(host.look(), Look::Away | Look::Frozen | Look::Paused | Look::Incoming)
    });
    let offered = |host: &Host| matches!(host.stand, Stand::Offered(_) | Stand::Withdrawing(_));
    let source = world.hosts.iter().position(offered)?;
    let fails = world.left.stuck > 0 && !unsettled && source != node;
    fails.then(|| format!("the start on {} gives up; {} goes on offering it", name(node), name(source)))
}

/// What comes next, the most urgent first.
fn next(world: &World, rules: Rules, cleanup: bool, starts: usize, probed: [bool; NODES]) -> Option<Deed> {
    let all = deeds(world, rules);
    let mut own = Vec::new();
    progress(world, rules, &mut own);
    let first = |wanted: &dyn Fn(&Deed) -> bool| all.iter().copied().find(|deed| wanted(deed));
    first(&|deed| matches!(deed, Deed::Heal(_) | Deed::Lose(_) | Deed::Boot(_) | Deed::Name(_)))
        .or_else(|| own.iter().copied().find(|deed| matches!(deed, Deed::Keep(_))))
        .or_else(|| own.iter().copied().find(|deed| !matches!(deed, Deed::GiveUp(_))))
        .or_else(|| own.first().copied())
        .or_else(|| first(&|deed| matches!(deed, Deed::Expire(_))))
        .or_else(|| first(&|deed| matches!(deed, Deed::Join(_) | Deed::MigrateFrom(_) | Deed::TimePasses)))
        .or_else(|| {
            // A migration's last stop, on the source.
            let (source, target, _) = world.cluster.migration?;
            first(&|deed| *deed == Deed::Stop(source, Some(target)))
        })
        .or_else(|| first(&|deed| matches!(deed, Deed::Probe(node) if !probed[*node])))
        .or_else(|| {
            let blocked = |node: usize| world.cluster.belief[node] == Belief::Blocked;
            first(&|deed| cleanup && matches!(deed, Deed::CleanUp(node) if blocked(*node)))
        })
        .or_else(|| {
            let unsure = |node: usize| world.cluster.belief[node] == Belief::Unsure;
            let twice = world.cluster.belief.iter().filter(|&&belief| belief == Belief::Started).count() > 1;
            first(&|deed| matches!(deed, Deed::Stop(node, None) if unsure(*node) || twice))
        })
        .or_else(|| {
            let nowhere = world.cluster.belief.iter().all(|belief| *belief == Belief::Stopped);
            // A start that fails is tried on another node.
            (0..NODES)
                .filter(|_| nowhere)
                .find_map(|turn| first(&|deed| *deed == Deed::Start((starts + turn) % NODES)))
        })
}

fn ending(world: &World, wish: Wish) -> Result<Ending, Broken> {
    let running: Vec<usize> = (0..NODES).filter(|&node| world.hosts[node].runs()).collect();
    let believed: Vec<usize> =
        (0..NODES).filter(|&node| world.cluster.belief[node] == Belief::Started).collect();
    let bare = world.hosts.iter().all(|host| host.look() == Look::Absent);
    let unsettled = world.hosts.iter().any(|host| {
        matches!(host.stand, Stand::Settling(..) | Stand::Arriving(_))
            || matches!(host.look(), Look::Away | Look::Frozen | Look::Paused | Look::Incoming)
    });
    if unsettled {
        Ok(Ending::Unsettled)
    } else if !running.is_empty() && running == believed {
        Ok(Ending::Runs)
    } else if bare
        && believed.is_empty()
        && (wish == Wish::Stops || world.cluster.belief.contains(&Belief::Blocked))
    {
        Ok(Ending::Stopped)
    } else if wish == Wish::Stops
        && believed.is_empty()
        && running.len() == 1
        && matches!(world.hosts[running[0]].stand, Stand::Arrived(_))
    {
        Ok(Ending::Adrift)
    } else {
        let stands: Vec<Stand> = world.hosts.iter().map(|host| host.stand).collect();
        let what =
            format!("it runs on {running:?}, the cluster believes {believed:?}, the records say {stands:?}");
        Err(Broken { promise: Promise::Liveness, what })
    }
}
