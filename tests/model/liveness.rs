//! When all heals: links are whole, hosts are up, nothing more fails, every process goes on, and the cluster does what Pacemaker
//! would, one thing at a time. Within [`STEPS`] deeds it must come to an end that a person can live with.

use super::deed::{Deed, after, deeds, progress};
use super::known::Rules;
use super::promise::{Broken, Promise};
use super::world::{Belief, Look, NODES, Stand, World};

/// The bound.
pub const STEPS: usize = 400;

/// How a world ends that was let heal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ending {
    /// One copy runs, where the cluster believes it.
    Runs,
    /// No copy is anywhere, and the cluster knows.
    Stopped,
    /// Both ends of a stream were killed around GO: it is suspended or undecided, and every action says so.
    Unsettled,
    /// The cluster has forgotten a copy that runs, and every start refuses a second one.
    Forgotten,
}

/// Lets `world` heal, and demands an end.
///
/// # Errors
/// The promise that broke on the way, [`Promise::Liveness`] if there is no end, and the way.
pub fn heal(world: &World, rules: Rules) -> Result<Ending, (Broken, Vec<Deed>)> {
    let mut world = world.clone();
    let mut way = vec![];
    world.left.faults = 0;
    (world.left.starts, world.left.stops, world.left.expiries, world.left.moves) = (8, 8, 8, 0);
    (world.left.refusals, world.left.leaves) = (0, 0);
    let mut starts_failed = 0;
    for _ in 0..STEPS {
        let Some(deed) = next(&world, rules) else { return ending(&world, way) };
        if matches!(deed, Deed::Start(_)) {
            starts_failed += 1;
        }
        way.push(deed);
        match after(&world, deed, rules) {
            Ok(next) => world = next,
            Err(broken) => return Err((broken, way)),
        }
        if starts_failed > 6 {
            return ending(&world, way);
        }
    }
    let what = format!("no end after {STEPS} deeds");
    Err((Broken { promise: Promise::Liveness, what }, way))
}

/// What comes next, the most urgent first.
fn next(world: &World, rules: Rules) -> Option<Deed> {
    let all = deeds(world, rules);
    let mut own = Vec::new();
    progress(world, rules, &mut own);
    let first = |wanted: &dyn Fn(&Deed) -> bool| all.iter().copied().find(|deed| wanted(deed));
    first(&|deed| matches!(deed, Deed::Heal(_) | Deed::Lose(_) | Deed::Boot(_)))
        .or_else(|| own.iter().copied().find(|deed| !matches!(deed, Deed::GiveUp(_))))
        .or_else(|| own.first().copied())
        .or_else(|| first(&|deed| matches!(deed, Deed::Expire(_))))
        .or_else(|| first(&|deed| matches!(deed, Deed::Join(_) | Deed::MigrateFrom(_) | Deed::TimePasses)))
        .or_else(|| {
            // A migration's last stop, on the source.
            let (source, target, _) = world.cluster.migration?;
            first(&|deed| *deed == Deed::Stop(source, Some(target)))
        })
        .or_else(|| first(&|deed| matches!(deed, Deed::Probe(_))))
        .or_else(|| {
            let unsure = |node: usize| world.cluster.belief[node] == Belief::Unsure;
            let twice = world.cluster.belief.iter().filter(|&&belief| belief == Belief::Started).count() > 1;
            first(&|deed| matches!(deed, Deed::Stop(node, None) if unsure(*node) || twice))
        })
        .or_else(|| {
            let nowhere = world.cluster.belief.iter().all(|belief| *belief == Belief::Stopped);
            if nowhere { first(&|deed| matches!(deed, Deed::Start(_))) } else { None }
        })
}

fn ending(world: &World, way: Vec<Deed>) -> Result<Ending, (Broken, Vec<Deed>)> {
    let running: Vec<usize> = (0..NODES).filter(|&node| world.hosts[node].runs()).collect();
    let believed: Vec<usize> =
        (0..NODES).filter(|&node| world.cluster.belief[node] == Belief::Started).collect();
    let bare = world.hosts.iter().all(|host| host.look() == Look::Absent);
    let unsettled = world.hosts.iter().any(|host| {
        matches!(host.stand, Stand::Settling(..) | Stand::Arriving(_))
            || matches!(host.look(), Look::Away | Look::Frozen | Look::Paused | Look::Incoming)
    });
    let arrived = running.iter().all(|&node| matches!(world.hosts[node].stand, Stand::Arrived(_)));
    if unsettled {
        Ok(Ending::Unsettled)
    } else if !running.is_empty() && running == believed {
        Ok(Ending::Runs)
    } else if bare && believed.is_empty() && world.left.starts == 0 {
        Ok(Ending::Stopped)
    } else if running.len() == 1 && believed.is_empty() && arrived {
        Ok(Ending::Forgotten)
    } else {
        let stands: Vec<Stand> = world.hosts.iter().map(|host| host.stand).collect();
        let what = format!("it runs on {running:?}, the cluster believes {believed:?}, the records say {stands:?}");
        Err((Broken { promise: Promise::Liveness, what }, way))
    }
}
