//! A deed: the one thing that happens next. A schedule is a list of them. [`deeds`] says which can happen in a world, [`after`]
//! what the world is then, and whether every promise held.

use super::cluster::{self, keeper_acts};
use super::drive::{self, Drive, Ended, looks_again};
use super::flow::{self, Part, Process};
use super::mutation::{Mutation, Rules};
use super::promise::{self, Broken};
use super::settle;
use super::world::{
    Action, Belief, Copy, Heard, Host, KeeperAt, Look, Member, Moment, NODES, Node, Note, Reading, Run,
    Settler, Stand, StartAt, StopAt, World, name,
};
use std::fmt;

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Deed {
    /// The cluster orders a start.
    Start(Node),
    /// The cluster orders a stop; its scheduler says where the domain goes then.
    Stop(Node, Option<Node>),
    MigrateTo(Node, Node),
    MigrateFrom(Node),
    /// The cluster looks: after a join, or because somebody asked it to.
    Probe(Node),
    /// A person tells the cluster to forget that a stop failed.
    CleanUp(Node),
    /// A node's Pacemaker is stopped in an orderly way.
    Leave(Node),
    /// A node's Pacemaker comes (back) into the cluster.
    Join(Node),
    /// The cluster no longer sees a node.
    Lose(Node),
    /// Fencing succeeds. (Where it fails or there is none, this does not come.)
    Fence(Node),
    /// The cluster presumes a lost node to be stopped that nobody has fenced.
    Presume(Node),
    /// Stale history: the cluster counts a migration's target as stopped, without a stop.
    Forget(Node),
    /// attrd restarts on all nodes at once.
    Wipe,
    /// The action on a node goes on.
    Act(Node),
    /// A start asks a peer.
    Ask(Node, Node),
    /// An action comes to its own deadline and fails with a reason.
    GiveUp(Node),
    /// The keeper on a node goes on.
    Keep(Node),
    /// The keeper on a node hears that nobody is left who could fetch the offer.
    Desert(Node),
    /// A start has the source of an offer end it, since it cannot fetch it.
    Yield(Node),
    /// The guard of a node, which systemd keeps alive, starts a keeper for an offer that has none.
    Guard(Node),
    /// Whoever settles a broken transfer on a node goes on: an action, the keeper, the guard, the stream's own process, the
    /// far end of a claim or a question, a person.
    Settle(Node),
    /// A stream goes on.
    Flow(usize, Part),
    /// A host stops in the middle of everything.
    Crash(Node),
    /// A host comes up.
    Boot(Node),
    /// The link that does not touch this node is cut.
    Cut(Node),
    /// It is whole again.
    Heal(Node),
    /// The action is killed (at the cluster's time-out, say).
    KillAction(Node),
    KillKeeper(Node),
    /// Whoever settles there is killed, if that is none of the stream's own processes.
    KillSettler(Node),
    /// A node's cluster manager is killed; the action that it began lives on.
    KillManager(Node),
    Kill(usize, Process),
    /// The deadline of an offer has passed.
    Expire(Moment),
    /// More time passes than an offer may live.
    TimePasses,
    /// The guest reboots by itself.
    Reboot(Node),
    /// xl's daemon creates it anew.
    Recreate(Node),
    /// The domain's file gets out of a node's reach, and what was kept of it is lost.
    Unname(Node),
    /// It is there again, and somebody has the cluster look.
    Name(Node),
    /// The domain's file gets another name, on all nodes.
    Rename,
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let link = |node: Node| {
            let mut ends = (0..NODES).filter(move |&end| end != node).map(name);
            (ends.next().unwrap(), ends.next().unwrap())
        };
        match *self {
            Self::Start(node) => write!(f, "cluster: start on {}", name(node)),
            Self::Stop(node, Some(plan)) => {
                write!(f, "cluster: stop on {}, to be started on {}", name(node), name(plan))
            }
            Self::Stop(node, None) => {
                write!(f, "cluster: stop on {}, to be started nowhere else", name(node))
            }
            Self::MigrateTo(node, target) => {
                write!(f, "cluster: migrate_to on {} to {}", name(node), name(target))
            }
            Self::MigrateFrom(node) => write!(f, "cluster: migrate_from on {}", name(node)),
            Self::Probe(node) => write!(f, "cluster: probe on {}", name(node)),
            Self::CleanUp(node) => write!(f, "person: cleanup on {}", name(node)),
            Self::Leave(node) => write!(f, "cluster: {} leaves in good order", name(node)),
            Self::Join(node) => write!(f, "cluster: {} joins", name(node)),
            Self::Lose(node) => write!(f, "cluster: {} is lost", name(node)),
            Self::Fence(node) => write!(f, "cluster: {} is fenced", name(node)),
            Self::Presume(node) => write!(f, "cluster: {} is presumed stopped, without fencing", name(node)),
            Self::Forget(node) => write!(f, "cluster: forgets that {} was a migration's target", name(node)),
            Self::Wipe => f.write_str("attrd restarts on all nodes at once"),
            Self::Act(node) => write!(f, "{}: the action goes on", name(node)),
            Self::Ask(node, peer) => write!(f, "{}: start asks {}", name(node), name(peer)),
            Self::GiveUp(node) => write!(f, "{}: the action gives up at its deadline", name(node)),
            Self::Keep(node) => write!(f, "{}: the keeper goes on", name(node)),
            Self::Desert(node) => write!(f, "{}: the keeper hears that nobody is left", name(node)),
            Self::Yield(node) => write!(f, "{}: start asks for the offer's end", name(node)),
            Self::Guard(node) => write!(f, "{}: the guard starts a keeper", name(node)),
            Self::Settle(node) => write!(f, "{}: settling goes on", name(node)),
            Self::Flow(place, part) => write!(f, "stream {place}: {part:?}"),
            Self::Crash(node) => write!(f, "{} crashes", name(node)),
            Self::Boot(node) => write!(f, "{} comes up", name(node)),
            Self::Cut(node) => write!(f, "the link {}-{} is cut", link(node).0, link(node).1),
            Self::Heal(node) => write!(f, "the link {}-{} heals", link(node).0, link(node).1),
            Self::KillAction(node) => write!(f, "{}: the action is killed", name(node)),
            Self::KillKeeper(node) => write!(f, "{}: the keeper is killed", name(node)),
            Self::KillSettler(node) => write!(f, "{}: whoever settles is killed", name(node)),
            Self::KillManager(node) => write!(f, "{}: the cluster manager is killed", name(node)),
            Self::Kill(place, process) => write!(f, "stream {place}: {process:?} is killed"),
            Self::Expire(epoch) => write!(f, "the deadline of offer {epoch} passes"),
            Self::TimePasses => f.write_str("more time passes than an offer may live"),
            Self::Reboot(node) => write!(f, "the guest on {} reboots", name(node)),
            Self::Recreate(node) => write!(f, "{}: xl's daemon creates it anew", name(node)),
            Self::Unname(node) => write!(f, "{} does not know the domain's name any more", name(node)),
            Self::Name(node) => write!(f, "{} can read the name again", name(node)),
            Self::Rename => f.write_str("person: another name in the domain's file"),
        }
    }
}

impl Deed {
    /// Whether a guest may lawfully come to its end by this: its host is gone, or somebody ends it who may.
    pub(super) fn may_end_a_guest(self, before: &World) -> bool {
        match self {
            Self::Crash(_) | Self::Fence(_) | Self::Reboot(_) => true,
            Self::Act(node) => {
                matches!(before.hosts[node].action, Some(Action::Stop { at: StopAt::Quench, .. }))
            }
            Self::Keep(node) => before.hosts[node].keeper.is_some_and(|keeper| keeper.at == KeeperAt::Quench),
            // What its target took with it may have been newer than this.
            Self::Settle(node) => {
                before.hosts[node].settler == Some(Settler::Destroy) && before.hosts[node].peer_restarted
            }
            _ => false,
        }
    }
}

impl Deed {
    /// Whether it takes away something that works.
    pub(super) fn is_fault(self) -> bool {
        matches!(
            self,
            Self::Crash(_)
                | Self::Cut(_)
                | Self::KillAction(_)
                | Self::KillKeeper(_)
                | Self::KillSettler(_)
                | Self::KillManager(_)
                | Self::Kill(..)
                | Self::Fence(_)
                | Self::Presume(_)
                | Self::Forget(_)
                | Self::Wipe
                | Self::Leave(_)
                | Self::GiveUp(_)
                | Self::Expire(_)
        )
    }
}

/// Every deed that can happen in `world`.
pub(super) fn deeds(world: &World, rules: Rules) -> Vec<Deed> {
    let mut out = Vec::with_capacity(32);
    progress(world, rules, &mut out);
    cluster::orders(world, &mut out);
    faults(world, rules, &mut out);
    out
}

/// The deeds that processes do by themselves.
pub(super) fn progress(world: &World, rules: Rules, out: &mut Vec<Deed>) {
    for node in 0..NODES {
        if world.hosts[node].reborn {
            out.push(Deed::Recreate(node));
        }
        if world.hosts[node].settler.is_some() || settle::decide(world, rules, node).is_some() {
            out.push(Deed::Settle(node));
        }
    }
    let mut parts = Vec::new();
    for place in 0..world.streams.len() {
        parts.clear();
        let refusals = world.left.refusals > 0 && world.left.faults > 0;
        flow::parts(world, rules, place, refusals, &mut parts);
        out.extend(parts.iter().map(|&part| Deed::Flow(place, part)));
    }
    for node in 0..NODES {
        act(world, rules, node, out);
        if keeper_acts(world, rules, node) {
            out.push(Deed::Keep(node));
        }
        if cluster::guard_acts(world, rules, node) {
            out.push(Deed::Guard(node));
        }
    }
}

fn act(world: &World, rules: Rules, node: Node, out: &mut Vec<Deed>) {
    let host = &world.hosts[node];
    let Some(action) = host.action else { return };
    // What waits for the transfer also settles it, as far as that can be done now.
    let free = !world.is_transferring(node) && settle::decide(world, rules, node).is_none();
    match action {
        Action::Start(StartAt::Asking(knows, reading)) => {
            let open = |peer: &Node| *peer != node && knows.heard[*peer] == Heard::NotAsked;
            let asks: Vec<Node> = (0..NODES).filter(open).filter(|_| reading != Reading::NoCluster).collect();
            if asks.is_empty() {
                out.push(Deed::Act(node));
            }
            out.extend(asks.into_iter().map(|peer| Deed::Ask(node, peer)));
        }
        Action::Start(StartAt::Fetching(_)) | Action::MigrateTo { pushing: true, .. } => {}
        Action::Start(StartAt::Acquire(knows)) => {
            let may_ask = world.left.yields > 0 && !rules.mutated(Mutation::NeverYields);
            let ask = drive::offer_to_end(world, node).filter(|_| may_ask).map(|_| Deed::Yield(node));
            // Where no stream can be finished, a start that has tried is the first to ask.
            let tried = knows.tried != 0 && world.left.stuck > 0;
            out.extend(ask.filter(|_| tried));
            out.push(Deed::Act(node));
            out.extend(ask.filter(|_| !tried));
        }
        Action::Start(StartAt::Round) => {
            if free && round_comes_on(world, node) {
                out.push(Deed::Act(node));
            }
            out.push(Deed::GiveUp(node));
        }
        Action::Stop { at: StopAt::Begin, .. } => {
            let fetched = matches!(host.stand, Stand::Sending(_, Some(_)) | Stand::Settling(_, Some(_)));
            if free || fetched && world.is_transferring(node) || rules.mutated(Mutation::StopUnderStream) {
                out.push(Deed::Act(node));
            } else {
                out.push(Deed::GiveUp(node));
            }
        }
        Action::MigrateTo { .. } | Action::MigrateFrom => {
            out.push(if free { Deed::Act(node) } else { Deed::GiveUp(node) });
        }
        Action::Probe => {
            let again = looks_again(world, rules, node);
            out.push(if again { Deed::GiveUp(node) } else { Deed::Act(node) });
        }
        Action::Stop { at: StopAt::LookAgain, .. } => {
            out.push(if free { Deed::Act(node) } else { Deed::GiveUp(node) });
        }
        Action::Start(_) | Action::Stop { .. } => out.push(Deed::Act(node)),
    }
}

/// Whether a round of a start would change anything: one that only waits is not a deed.
fn round_comes_on(world: &World, node: Node) -> bool {
    let host = &world.hosts[node];
    let unsettled = |stand| matches!(stand, Stand::Settling(..) | Stand::Arriving(_));
    match host.look() {
        Look::Running => !matches!(host.stand, Stand::Withdrawing(_)),
        Look::Absent => true,
        Look::Paused | Look::Frozen => true,
        Look::Incoming | Look::Rebooting => false,
        Look::Away => !unsettled(host.stand),
    }
}

fn faults(world: &World, rules: Rules, out: &mut Vec<Deed>) {
    let left = world.left;
    for node in 0..NODES {
        let host = &world.hosts[node];
        if world.cut[node] {
            out.push(Deed::Heal(node));
        }
        if !host.up {
            if world.cluster.member[node] != Member::In {
                out.push(Deed::Boot(node));
            }
            continue;
        }
        let at_rest = matches!(host.stand, Stand::Idle | Stand::Left(_) | Stand::Arrived(_));
        // A stream that is open has the domain of before: xl's sender ends with it, which is not modelled.
        let is_streamed = world.streams.iter().any(Option::is_some);
        if host.runs() && at_rest && !is_streamed && left.reboots > 0 {
            out.push(Deed::Reboot(node));
        }
        if host.nameless {
            out.push(Deed::Name(node));
        } else if left.unnamed > 0 && host.stand == Stand::Idle && host.action.is_none() {
            out.push(Deed::Unname(node));
        }
        if let Some(paper) = host.stand.offer()
            && !world.has_expired(paper.epoch)
            && left.expiries > 0
        {
            out.push(Deed::Expire(paper.epoch));
        }
        if left.deserts > 0 && cluster::may_be_deserted(world, rules, node) {
            out.push(Deed::Desert(node));
        }
        if left.faults == 0 {
            continue;
        }
        if left.crashes > 0 {
            out.push(Deed::Crash(node));
        }
        if left.cuts > 0 && !world.cut[node] {
            out.push(Deed::Cut(node));
        }
        if left.kills > 0 {
            if host.action.is_some() {
                out.push(Deed::KillAction(node));
            }
            if host.keeper.is_some() {
                out.push(Deed::KillKeeper(node));
            }
            if settle::settled_by_another(world, node) {
                out.push(Deed::KillSettler(node));
            }
        }
        if left.managers > 0 && world.cluster.member[node] == Member::In {
            out.push(Deed::KillManager(node));
        }
    }
    if left.renames > 0 {
        out.push(Deed::Rename);
    }
    if left.faults > 0 && left.kills > 0 {
        for place in 0..world.streams.len() {
            out.extend(flow::living(world, place).into_iter().map(|process| Deed::Kill(place, process)));
        }
    }
    // Somebody sees to it that an offer ends in time; but nobody can say how long it takes to settle what broke off.
    let open = |stand: Stand| stand.offer().is_some() && !matches!(stand, Stand::Settling(..));
    let ended = world.hosts.iter().all(|host| !open(host.stand)) && world.streams == [None, None];
    if world.ledger.note.contains(&Note::Young) && (ended || rules.mutated(Mutation::ExpiredIsEnded)) {
        out.push(Deed::TimePasses);
    }
}

/// The world after `deed`.
///
/// # Errors
/// The promise that it broke.
pub(super) fn after(world: &World, deed: Deed, rules: Rules) -> Result<World, Broken> {
    let mut next = world.clone();
    apply(&mut next, deed, rules)?;
    promise::check(world, deed, &next)?;
    Ok(next)
}

fn apply(world: &mut World, deed: Deed, rules: Rules) -> Result<(), Broken> {
    let mut drive = Drive { world, rules };
    match deed {
        Deed::Start(_)
        | Deed::Stop(..)
        | Deed::MigrateTo(..)
        | Deed::MigrateFrom(_)
        | Deed::Probe(_)
        | Deed::CleanUp(_)
        | Deed::Leave(_)
        | Deed::Join(_)
        | Deed::Lose(_)
        | Deed::Fence(_)
        | Deed::Presume(_)
        | Deed::Forget(_)
        | Deed::Wipe => drive.order(deed)?,
        Deed::Act(node) => drive.act(node)?,
        Deed::Ask(node, peer) => drive.ask(node, peer)?,
        Deed::GiveUp(node) => {
            let action = drive.world.hosts[node].action.take();
            cluster::heard(&mut drive, node, action, Ended::Failure)?;
        }
        Deed::Keep(node) => drive.keep(node)?,
        Deed::Desert(node) => {
            drive.world.left.deserts -= 1;
            drive.desert(node);
        }
        Deed::Yield(node) => {
            drive.world.left.yields -= 1;
            drive.have_it_yielded(node);
        }
        Deed::Guard(node) => {
            let epoch = drive.world.hosts[node].stand.offer().unwrap().epoch;
            drive.arm(node, epoch);
        }
        Deed::Settle(node) => drive.settle(node)?,
        Deed::Flow(place, part) => {
            if part == Part::Refuse {
                drive.world.left.refusals -= 1;
                drive.world.left.faults -= 1;
            }
            drive.flow(place, part)?;
        }
        Deed::Crash(node) => {
            drive.world.left.crashes -= 1;
            drive.world.left.faults -= 1;
            drive.crash(node)?;
        }
        Deed::Boot(node) => drive.world.hosts[node] = Host::fresh(true),
        Deed::Cut(node) => {
            drive.world.left.cuts -= 1;
            drive.world.left.faults -= 1;
            drive.world.cut[node] = true;
        }
        Deed::Heal(node) => drive.world.cut[node] = false,
        Deed::KillAction(node) => {
            drive.world.left.kills -= 1;
            drive.world.left.faults -= 1;
            drive.kill_action(node)?;
        }
        Deed::KillKeeper(node) => {
            drive.world.left.kills -= 1;
            drive.world.left.faults -= 1;
            drive.kill_keeper(node);
        }
        Deed::KillSettler(node) => {
            drive.world.left.kills -= 1;
            drive.world.left.faults -= 1;
            drive.kill_settler(node);
        }
        Deed::KillManager(node) => {
            drive.world.left.managers -= 1;
            drive.world.left.faults -= 1;
            drive.kill_manager(node);
        }
        Deed::Kill(place, process) => {
            drive.world.left.kills -= 1;
            drive.world.left.faults -= 1;
            drive.kill(place, process)?;
        }
        Deed::Expire(epoch) => {
            drive.world.left.expiries -= 1;
            drive.world.expired |= 1 << epoch;
        }
        Deed::Reboot(node) => {
            drive.world.left.reboots -= 1;
            (drive.world.hosts[node].own, drive.world.hosts[node].reborn) = (None, true);
        }
        Deed::Recreate(node) => {
            drive.world.boots += 1;
            let again = Copy { boot: drive.world.boots, run: Run::Running, stale: false };
            (drive.world.hosts[node].own, drive.world.hosts[node].reborn) = (Some(again), false);
            drive.let_run(node, "xl's daemon")?;
        }
        Deed::Unname(node) => {
            drive.world.left.unnamed -= 1;
            drive.world.hosts[node].nameless = true;
        }
        Deed::Name(node) => {
            drive.world.hosts[node].nameless = false;
            drive.world.cluster.belief[node] = Belief::Unsure;
        }
        Deed::Rename => {
            drive.world.left.renames -= 1;
            drive.world.renamed = true;
        }
        Deed::TimePasses => {
            drive.world.long_ago = drive.world.clock;
            drive.world.expired = (1 << (drive.world.clock + 1)) - 1;
            for note in &mut drive.world.ledger.note {
                if *note == Note::Young {
                    *note = Note::Old;
                }
            }
        }
    }
    Ok(())
}
