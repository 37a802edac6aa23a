//! Pacemaker as one resource sees it: what it may order, and what it makes of an answer. It is a superset: wherever the
//! scheduler has a choice, or a person or another resource may change its mind, any order may come.
//!
//! What it never does is Pacemaker's own promise, and ours stand on it: it starts the resource only when it believes it
//! stopped on every other node, and a node that it has lost counts as stopped only once it has been fenced. (That it believes
//! wrongly after an interrupted migration is the stale-history hazard, [`Deed::Forget`]; that it does not fence at all is
//! [`Deed::Presume`].)

use super::deed::Deed;
use super::drive::{Drive, Ended};
use super::mutation::{Mutation, Rules};
use super::promise::{Broken, Promise, hold};
use super::world::{
    Action, Belief, Chain, Cluster, History, Host, Keeper, KeeperAt, Ledger, Member, NODES, Node, Note,
    Stand, StartAt, StopAt, World, name,
};

/// What the cluster and its people may do next.
pub(super) fn orders(world: &World, out: &mut Vec<Deed>) {
    let Cluster { belief, member, migration, .. } = world.cluster;
    // What a node does that the cluster no longer sees, nobody waits for.
    let idle = (0..NODES).all(|node| world.hosts[node].action.is_none() || member[node] != Member::In);
    for node in 0..NODES {
        let host = &world.hosts[node];
        let present = member[node] == Member::In;
        let others = || (0..NODES).filter(move |&other| other != node);
        if host.up && host.action.is_none() {
            let due = matches!(belief[node], Belief::Started | Belief::Unsure);
            if due && world.left.stops > 0 && member[node] != Member::Out {
                out.push(Deed::Stop(node, None));
                if present {
                    let places = others().filter(|&other| member[other] == Member::In);
                    out.extend(places.map(|other| Deed::Stop(node, Some(other))));
                    // An action was killed while it was on its way here: a stop, and then a start, on this very node.
                    if matches!(host.stand, Stand::Arrived(_)) {
                        out.push(Deed::Stop(node, Some(node)));
                    }
                }
            }
            // A monitor that finds what the cluster believes is no deed. Somebody may have it look at any time, with nothing known of before.
            let surprised = belief[node] == Belief::Started && (!host.runs() || host.nameless);
            if present && (belief[node] == Belief::Unsure || surprised) && migration.is_none() {
                out.push(Deed::Probe(node));
            }
            let elsewhere_stopped = others().all(|other| belief[other] == Belief::Stopped);
            if present
                && idle
                && belief[node] == Belief::Stopped
                && elsewhere_stopped
                && world.left.starts > 0
            {
                out.push(Deed::Start(node));
            }
            if present
                && idle
                && belief[node] == Belief::Started
                && migration.is_none()
                && world.left.moves > 0
            {
                let free =
                    others().filter(|&other| member[other] == Member::In && belief[other] == Belief::Stopped);
                out.extend(free.map(|other| Deed::MigrateTo(node, other)));
            }
            if present && matches!(migration, Some((_, target, Chain::Sent)) if target == node) {
                out.push(Deed::MigrateFrom(node));
            }
            if present && belief[node] == Belief::Stopped && world.left.leaves > 0 {
                out.push(Deed::Leave(node));
            }
        }
        if present && matches!(belief[node], Belief::Blocked | Belief::Unsure) && host.action.is_none() {
            out.push(Deed::CleanUp(node));
        }
        // An action that outlives its manager is waited for. (A second one beside it is left out.)
        if !present && host.up && !world.is_isolated(node) && host.action.is_none() {
            out.push(Deed::Join(node));
        }
        if present && (!host.up || world.is_isolated(node)) {
            out.push(Deed::Lose(node));
        }
        let survivor = others().any(|other| member[other] == Member::In && world.hosts[other].up);
        let unclean = member[node] == Member::Lost && belief[node] != Belief::Stopped;
        let blocked = present && belief[node] == Belief::Blocked;
        if survivor && (unclean || blocked) && world.left.faults > 0 || asked_to_fence(world, node) {
            out.push(Deed::Fence(node));
        }
        if survivor && unclean && world.left.presumes > 0 {
            out.push(Deed::Presume(node));
        }
        if let Some((_, target, Chain::Sent | Chain::Failed)) = migration
            && target == node
            && belief[node] == Belief::Unsure
            && host.action.is_none()
            && world.left.forgets > 0
            && world.left.faults > 0
        {
            out.push(Deed::Forget(node));
        }
    }
    if world.left.wipes > 0 && world.left.faults > 0 {
        out.push(Deed::Wipe);
    }
}

/// Whether a start waits for this node to be fenced.
fn asked_to_fence(world: &World, node: Node) -> bool {
    let waits = |host: &Host| host.action == Some(Action::Start(StartAt::Fencing(node)));
    world.left.fences > 0 && world.hosts.iter().any(waits)
}

/// The cluster reads how `action` on `node` has ended.
///
/// # Errors
/// The promises that hold at that moment.
pub(super) fn heard(
    drive: &mut Drive<'_>,
    node: Node,
    action: Option<Action>,
    ended: Ended,
) -> Result<(), Broken> {
    let Some(action) = action else { return Ok(()) };
    let host = &drive.world.hosts[node];
    let belief = match (action, ended) {
        (Action::Start(_) | Action::MigrateFrom, Ended::Success) => {
            hold(Promise::RecordAgrees, host.runs(), || {
                format!("{} says that it runs there, and it does not", name(node))
            })?;
            Belief::Started
        }
        (Action::Stop { .. }, Ended::Success) => {
            stopped(drive, node)?;
            Belief::Stopped
        }
        (Action::Stop { .. }, _) => Belief::Blocked,
        (Action::Probe, Ended::Success) => {
            hold(Promise::P3OfferOutlivesItsSource, !host.stand.is_offered_away(), || {
                format!("{} says that it runs there, after a stop has said that it does not", name(node))
            })?;
            Belief::Started
        }
        (Action::Probe, Ended::NotRunning | Ended::NoAnswer) => Belief::Stopped,
        (Action::Start(_) | Action::MigrateTo { .. } | Action::MigrateFrom | Action::Probe, _) => {
            Belief::Unsure
        }
    };
    let cluster = &mut drive.world.cluster;
    if cluster.headless[node] {
        return Ok(());
    }
    // A node that is not seen keeps its operations, and tells them when it is seen again.
    cluster.history[node] = match (action, ended) {
        (Action::Stop { .. }, Ended::Success) | (Action::Probe, Ended::NotRunning) => History::Clear,
        (Action::Probe, Ended::NoAnswer) => History::NoAnswer,
        _ => History::Other,
    };
    if cluster.member[node] == Member::In {
        cluster.belief[node] = belief;
    }
    match action {
        Action::MigrateTo { target, .. } => {
            if cluster.belief[target] == Belief::Stopped && cluster.member[target] == Member::In {
                cluster.belief[target] = Belief::Unsure;
            }
            let chain = if ended == Ended::Success { Chain::Sent } else { Chain::Failed };
            cluster.migration = Some((node, target, chain));
        }
        Action::MigrateFrom => {
            let chain = if ended == Ended::Success { Chain::Arrived } else { Chain::Failed };
            if let Some((_, _, at)) = &mut cluster.migration {
                *at = chain;
            }
        }
        Action::Start(_) | Action::Stop { .. } | Action::Probe => {}
    }
    settle_migration(drive.world);
    Ok(())
}

/// A migration is over when nothing about its two ends is open.
fn settle_migration(world: &mut World) {
    let belief = world.cluster.belief;
    let clear = |node: Node| matches!(belief[node], Belief::Stopped | Belief::Started);
    if let Some((source, target, chain)) = world.cluster.migration
        && chain != Chain::Sent
        && clear(source)
        && clear(target)
    {
        world.cluster.migration = None;
    }
}

/// What holds when a stop has said "stopped".
fn stopped(drive: &Drive<'_>, node: Node) -> Result<(), Broken> {
    let host = &drive.world.hosts[node];
    if host.look() == super::world::Look::Absent {
        return Ok(());
    }
    if matches!(host.stand, Stand::Offering(_)) {
        return hold(Promise::P3OfferOutlivesItsSource, false, || {
            format!("{} says stopped before its offer is recorded", name(node))
        });
    }
    hold(Promise::P6StopMeansStop, host.stand.is_offered_away(), || {
        format!(
            "{} says stopped, has it ({:?}), and its record says {:?}",
            name(node),
            host.look(),
            host.stand
        )
    })?;
    if let Stand::Offered(paper) = host.stand {
        let kept = host.keeper.is_some_and(|keeper| keeper.epoch == paper.epoch);
        hold(Promise::P5AnOfferEnds, kept, || format!("nobody watches over the offer of {}", name(node)))?;
    }
    Ok(())
}

impl Drive<'_> {
    /// Carries out an order.
    ///
    /// # Errors
    /// The promises that hold at that moment.
    pub(super) fn order(&mut self, deed: Deed) -> Result<(), Broken> {
        match deed {
            Deed::Start(node) => {
                self.world.left.starts -= 1;
                self.world.cluster.migration = None;
                self.begins(node, Action::Start(StartAt::Round));
            }
            Deed::Stop(node, plan) => {
                self.world.left.stops -= 1;
                self.begins(node, Action::Stop { plan, at: StopAt::Begin });
            }
            Deed::MigrateTo(node, target) => {
                self.begins(node, Action::MigrateTo { target, pushing: false });
            }
            Deed::MigrateFrom(node) => self.begins(node, Action::MigrateFrom),
            Deed::Probe(node) => self.world.hosts[node].action = Some(Action::Probe),
            Deed::CleanUp(node) => {
                self.world.cluster.belief[node] = Belief::Unsure;
                self.world.cluster.history[node] = History::Nothing;
            }
            Deed::Leave(node) => {
                self.world.left.leaves -= 1;
                self.world.cluster.member[node] = Member::Out;
                self.drop_attributes(node);
            }
            Deed::Join(node) => {
                self.drop_attributes(node);
                let cluster = &mut self.world.cluster;
                if cluster.member[node] == Member::Out || cluster.headless[node] {
                    // Its Pacemaker has begun anew, and looks before it says anything.
                    cluster.history[node] = History::Nothing;
                }
                cluster.member[node] = Member::In;
                cluster.headless[node] = false;
                cluster.belief[node] = Belief::Unsure;
                if !self.rules.mutated(Mutation::FencedAndBack) && !self.rules.mutated(Mutation::FencedEver) {
                    cluster.fenced_at[node] = None;
                }
            }
            Deed::Lose(node) => {
                self.world.cluster.member[node] = Member::Lost;
                self.world.cluster.belief[node] = Belief::Unsure;
                if !self.world.hosts[node].up {
                    self.drop_attributes(node);
                }
            }
            Deed::Fence(node) => {
                if asked_to_fence(self.world, node) {
                    self.world.left.fences -= 1;
                } else {
                    self.world.left.faults -= 1;
                }
                let at = self.world.tick();
                self.crash(node)?;
                self.world.cluster.fenced_at[node] = Some(at);
                self.world.cluster.member[node] = Member::Lost;
                self.world.cluster.belief[node] = Belief::Stopped;
                self.world.cluster.history[node] = History::Nothing;
                settle_migration(self.world);
            }
            Deed::Presume(node) => {
                self.world.left.presumes -= 1;
                self.world.cluster.belief[node] = Belief::Stopped;
                settle_migration(self.world);
            }
            Deed::Forget(node) => {
                self.world.left.forgets -= 1;
                self.world.left.faults -= 1;
                self.world.cluster.belief[node] = Belief::Stopped;
                self.world.cluster.migration = None;
            }
            Deed::Wipe => {
                self.world.left.wipes -= 1;
                self.world.left.faults -= 1;
                self.world.ledger = Ledger { slot: [None; NODES], note: [Note::None; NODES] };
            }
            _ => unreachable!("no order of the cluster"),
        }
        Ok(())
    }

    fn begins(&mut self, node: Node, action: Action) {
        self.world.hosts[node].action = Some(action);
        // On record from its begin, as pending.
        self.world.cluster.history[node] = History::Other;
    }

    /// A migrate_to that never ends leaves its target to be stopped.
    fn target_unsure(&mut self, node: Node) {
        let cluster = &mut self.world.cluster;
        if let Some(Action::MigrateTo { target, .. }) = self.world.hosts[node].action
            && cluster.belief[target] == Belief::Stopped
            && cluster.member[target] == Member::In
        {
            cluster.belief[target] = Belief::Unsure;
        }
    }

    fn drop_attributes(&mut self, node: Node) {
        self.world.ledger.slot[node] = None;
        self.world.ledger.note[node] = Note::None;
    }

    /// The host stops in the middle of everything: its domains, processes and records are gone.
    ///
    /// # Errors
    /// None today.
    pub(super) fn crash(&mut self, node: Node) -> Result<(), Broken> {
        self.target_unsure(node);
        self.world.hosts[node] = Host::fresh(false);
        self.world.cluster.headless[node] = false;
        self.drop_attributes(node);
        for host in &mut self.world.hosts {
            if let Stand::Sending(way, _) | Stand::Settling(way, _) = host.stand
                && way.target() == node
            {
                host.peer_restarted = true;
            }
        }
        for place in 0..self.world.streams.len() {
            self.lose_host(place, node)?;
        }
        Ok(())
    }

    /// The cluster kills an action at its time-out, or somebody does: the whole process group, not the workers.
    ///
    /// # Errors
    /// None today.
    pub(super) fn kill_action(&mut self, node: Node) -> Result<(), Broken> {
        let action = self.world.hosts[node].action.take();
        heard(self, node, action, Ended::Failure)
    }

    /// Pacemaker is killed. The action that it began goes on; nobody hears of its end.
    pub(super) fn kill_manager(&mut self, node: Node) {
        self.drop_attributes(node);
        self.target_unsure(node);
        let cluster = &mut self.world.cluster;
        (cluster.member[node], cluster.belief[node]) = (Member::Lost, Belief::Unsure);
        cluster.history[node] = History::Other;
        cluster.headless[node] = true;
    }

    /// Somebody kills the keeper.
    pub(super) fn kill_keeper(&mut self, node: Node) {
        self.world.hosts[node].keeper = None;
    }
}

/// Whether the guard of `node` finds an offer that nobody keeps.
pub(super) fn guard_acts(world: &World, rules: Rules, node: Node) -> bool {
    let host = &world.hosts[node];
    let kept =
        host.stand.offer().is_none_or(|paper| host.keeper.is_some_and(|keeper| keeper.epoch == paper.epoch));
    // A stop that has only just made the offer arms it itself; the guard is not that fast.
    let being_made = matches!(host.action, Some(Action::Stop { .. }));
    host.up && host.stand.is_offered_away() && !kept && !being_made && !rules.mutated(Mutation::NoGuard)
}

/// Whether the keeper on `node` is there to hear that nobody is left who could fetch its offer.
pub(super) fn may_be_deserted(world: &World, rules: Rules, node: Node) -> bool {
    let host = &world.hosts[node];
    let Some(Keeper { epoch, at: KeeperAt::Watch }) = host.keeper else { return false };
    if host.stand.offer().is_none_or(|paper| paper.epoch != epoch) {
        return false;
    }
    let under_stream = rules.mutated(Mutation::DesertedUnderStream);
    matches!(host.stand, Stand::Offered(_)) && !world.is_transferring(node)
        || under_stream && matches!(host.stand, Stand::Sending(..) | Stand::Settling(..))
}

/// Whether the keeper on `node` has something to do.
pub(super) fn keeper_acts(world: &World, rules: Rules, node: Node) -> bool {
    let under_stream = rules.mutated(Mutation::ExpireUnderStream);
    let ignores_yield = rules.mutated(Mutation::YieldedIsNotDue);
    let host = &world.hosts[node];
    let Some(keeper) = host.keeper else { return false };
    match keeper.at {
        KeeperAt::Watch => {
            let ours = host.stand.offer().is_some_and(|paper| paper.epoch == keeper.epoch);
            let due = (world.has_expired(keeper.epoch) || host.yielded && !ignores_yield)
                && (under_stream || !world.is_transferring(node));
            // In any other phase an expiry changes nothing; what broke off is settled ([`Deed::Settle`]).
            let changes = matches!(host.stand, Stand::Offered(_) | Stand::Withdrawing(_))
                || under_stream && matches!(host.stand, Stand::Sending(..) | Stand::Settling(..));
            !ours || due && changes
        }
        KeeperAt::Quench | KeeperAt::Verify => true,
    }
}
