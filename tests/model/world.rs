//! The world of the model as plain, small data: three hosts, the links between them, xl's streams, the cluster manager,
//! its ledger, and what may still go wrong. Nothing in here decides anything.
//!
//! Time has no clock. `World::clock` counts the moments that two nodes compare (an offer, a push, a fencing); that a
//! deadline has passed, and that a ledger has grown old, are deeds of the world that may come late or early.

use xen_handoff::clock::UnixTime;
use xen_handoff::domain::{Copy as Sighted, DomainId, DomainName, Presence, RunState, Sighting};
use xen_handoff::handoff::{Epoch, Offer, Phase, Push, Ran, SourcePhase, TargetPhase, Transfer};
use xen_handoff::host::NodeName;

/// The number of nodes: a source, a target, a second survivor. Any of them may play any part.
pub(super) const NODES: usize = 3;
/// The longest life of an offer, in the model's own seconds: longer than any schedule.
pub(super) const LONGEST_OFFER: u64 = 10_000;

/// A node, by its place.
pub(super) type Node = usize;
/// Tells one offer or push from another, and one moment from a later one.
pub(super) type Moment = u8;
/// Which incarnation of the guest: a cold boot begins the next one.
pub(super) type Boot = u8;

/// An offer: who made it and when. Its epoch is the moment at which it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Paper {
    from: u8,
    pub(super) epoch: Moment,
}

/// A transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Way {
    pub(super) epoch: Moment,
    from: u8,
    to: u8,
}

/// [`Phase`] in a few bytes. Nothing is lost: [`Stand::phase`] and [`Stand::of`] are each other's inverse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Stand {
    Idle,
    Offering(Paper),
    Offered(Paper),
    Withdrawing(Paper),
    Sending(Way, Option<Paper>),
    Settling(Way, Option<Paper>),
    Left(Way),
    Claiming(Paper),
    Receiving(Way),
    Arriving(Way),
    Arrived(Way),
}

/// What a copy under the domain's own name does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Run {
    Running,
    /// On the target, renamed and not yet let run.
    Paused,
    /// On the source, suspended by a migration.
    Frozen,
}

/// A copy under the domain's own name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Copy {
    pub(super) boot: Boot,
    pub(super) run: Run,
    /// Another copy has run since this one stood still: its memory is older than the disks.
    pub(super) stale: bool,
}

/// A copy called `--migratedaway`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Away {
    pub(super) boot: Boot,
    pub(super) stale: bool,
}

/// A copy called `--incoming`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Incoming {
    pub(super) boot: Boot,
    pub(super) stale: bool,
    /// The receiver that made it, by its stream's place: it destroys this copy and no other.
    pub(super) maker: usize,
    /// Whether that receiver was given GO.
    pub(super) given: bool,
}

/// One host. What is in here but `up` goes when it crashes: the record lies in `/run`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Host {
    pub(super) up: bool,
    pub(super) stand: Stand,
    pub(super) own: Option<Copy>,
    pub(super) incoming: Option<Incoming>,
    pub(super) away: Option<Away>,
    pub(super) action: Option<Action>,
    pub(super) keeper: Option<Keeper>,
    /// How the last stream that it received came to its end.
    pub(super) ended: Option<Ended>,
    /// Who settles a broken transfer here, and what he has decided. He holds the transfer lock.
    pub(super) settler: Option<Settler>,
    /// A push that a stop has refused here.
    pub(super) refused: Option<Moment>,
    /// A start has asked for the end of this node's offer: its keeper's turn is now.
    pub(super) yielded: bool,
    /// The host that this node sends to, or has sent to, has gone down since: its boot id is another one.
    pub(super) peer_restarted: bool,
    /// The guest has rebooted, and xl's daemon has not created it anew yet: no listing shows it.
    pub(super) reborn: bool,
    /// Nothing here says what the domain is called: its file is out of reach, and nothing was kept.
    pub(super) nameless: bool,
}

/// The real [`xen_handoff::handoff::Ended`] in a few bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) epoch: Moment,
    pub(super) ran: Ran,
}

impl std::hash::Hash for Ended {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (self.epoch, self.ran as u8).hash(state);
    }
}

/// What somebody who settles a broken transfer is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Settler {
    /// Source: give the copy its name back, then resume it.
    TakeBack,
    /// Source: destroy the copy, which is a stale one, or may be.
    Destroy,
    /// Source: put it on record.
    Sent(Sent),
    /// Target: destroy what was never given.
    DestroyIncoming,
    /// Target: rename what was given, then let it run.
    Finish,
    /// Target: note how the stream ended, before the record goes on.
    Note { runs: bool },
    /// Target: put it on record.
    Received { runs: bool },
}

/// How a sender's end is put on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Sent {
    Moved,
    StillHere,
    /// It was never given away, and is gone.
    Gone,
}

/// The cluster's action on a node, and how far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Action {
    Start(StartAt),
    Stop { plan: Option<Node>, at: StopAt },
    MigrateTo { target: Node, pushing: bool },
    MigrateFrom,
    Probe,
}

/// What this start knows of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Knows {
    /// The offers that it has claimed in vain, as a set of moments.
    pub(super) tried: u32,
    /// What the cluster said of each peer, once the ledger had been read.
    pub(super) peers: [Peer; NODES],
    /// It asks a second time, since a push is open: a copy may have gone from one to the other between two answers.
    pub(super) twice: bool,
    /// Where its own record says that the domain was sent.
    pub(super) sent_to: Option<Way>,
    pub(super) heard: [Heard; NODES],
}

/// What the cluster says of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Peer {
    /// Fenced then, and it has stayed away.
    pub(super) fenced: Option<Moment>,
    /// The history of operations clears it.
    pub(super) cleared: bool,
}

/// How far a start has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum StartAt {
    /// At the begin of a round.
    Round,
    /// It is not here: offers are claimed, then the ledger is read.
    Acquire(Knows),
    /// A worker fetches it.
    Fetching(Knows),
    /// The ledger was read; the cluster is asked who there is (only with that mutation).
    Peers(Knows, Reading),
    /// The cluster has said who there is; the ledger is read next.
    Ledger(Knows),
    /// The peers are asked.
    Asking(Knows, Reading),
    /// It has asked the cluster to fence this node, the silent source of an offer.
    Fencing(Node),
    /// The proof is on record; `xl create` comes next.
    Proven,
}

/// What a start read in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Reading {
    Read {
        entries: [Option<Entry>; NODES],
        old: bool,
    },
    /// The cluster manager of this node has died meanwhile.
    NoCluster,
}

/// What a start heard from one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum Heard {
    #[default]
    NotAsked,
    Stands(Look, Stand),
    /// It holds its transfer lock, and nothing is on record yet.
    AboutTo,
    Fenced(Moment),
    Silent,
}

/// How far a stop has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum StopAt {
    Begin,
    Gates,
    Write(Node),
    ReadBack(Node),
    Arm,
    End,
    Quench,
    Verify,
    /// Nothing was here, and a push to here was refused: was it on its way already?
    LookAgain,
}

/// The process that watches over an offer's deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Keeper {
    pub(super) epoch: Moment,
    pub(super) at: KeeperAt,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum KeeperAt {
    Watch,
    Quench,
    Verify,
}

/// [`Presence`] in one byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Look {
    Absent,
    /// Not in the listing, and xl's daemon for it lives.
    Rebooting,
    Running,
    Paused,
    Frozen,
    Incoming,
    Away,
}

/// One of our own processes at an end of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Ours {
    NotYet,
    /// A worker that has begun and does not hold the transfer lock yet (only with that mutation).
    Spawned,
    Runs,
    /// It ended by itself: what it has written still arrives.
    Over,
    Killed,
}

/// `xl migrate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Sender {
    NotYet,
    Copying,
    Suspended,
    SawReady,
    Renamed,
    SaidGo,
    Exited { moved: bool },
    Killed,
}

/// `xl migrate-receive`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Receiver {
    NotYet,
    Receiving,
    SaidReady,
    Renamed,
    Unpaused,
    Exited,
    Killed,
}

/// Where the receiver's *ready* is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Ready {
    Unsaid,
    AtRelay,
    /// The relay has put it on record.
    Noted,
    Shown,
}

/// Where the sender's GO is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Go {
    Unsaid,
    OnWire,
    AtPipe,
    /// Our pipe at the target has put it on record.
    Noted,
    Given,
}

/// Where the receiver's report is, and what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Report {
    Unsaid,
    OnWire { runs: bool },
    AtSource { runs: bool },
}

/// One stream of xl with all who have a hand in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Stream {
    pub(super) way: Way,
    /// Claimed by the target's start; otherwise pushed by the source's migrate_to.
    pub(super) pull: bool,
    pub(super) boot: Boot,
    /// The connection.
    pub(super) open: bool,
    /// `serve` (a claim) or `push`.
    pub(super) at_source: Ours,
    pub(super) sender: Sender,
    pub(super) relay: bool,
    /// `fetch`, or `serve` (a push), with our pipe.
    pub(super) at_target: Ours,
    pub(super) receiver: Receiver,
    pub(super) ready: Ready,
    pub(super) go: Go,
    pub(super) report: Report,
    /// A push: whether the ledger has it, and the target has read it back.
    pub(super) entry: Written,
    /// A claim: what the claimant says of the last stream that it received.
    pub(super) says_ended: Option<Ended>,
}

/// How far a push has got with the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Written {
    Yes,
    ReadBack,
}

/// What lies in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Entry {
    Offer(Paper),
    Push(Way),
}

impl Entry {
    pub(super) fn epoch(self) -> Moment {
        match self {
            Self::Offer(paper) => paper.epoch,
            Self::Push(way) => way.epoch,
        }
    }
}

/// attrd's memory: what it holds under each node's name, and each node's note of when it first looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Ledger {
    pub(super) slot: [Option<Entry>; NODES],
    pub(super) note: [Note; NODES],
}

/// A note of when the ledger was first looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Note {
    None,
    /// Not longer ago than an offer may live.
    Young,
    Old,
}

/// What the cluster believes of the resource on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Belief {
    Stopped,
    Started,
    /// An action failed or was killed, or nobody has looked: it may run there. A stop is due.
    Unsure,
    /// A stop failed: only fencing, or a person's cleanup, goes on from here.
    Blocked,
}

/// The cluster's record of operations on a node: what the last one says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum History {
    /// A stop that succeeded, or a probe that found none.
    Clear,
    /// A probe that did not know the name.
    NoAnswer,
    /// None at all: cleaned up, fenced, or newly joined.
    Nothing,
    /// Anything else.
    Other,
}

/// Whether a node is in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Member {
    In,
    /// Its Pacemaker was stopped in an orderly way. The host goes on.
    Out,
    /// Not seen any more, and not fenced.
    Lost,
}

/// Pacemaker, as far as one resource sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Cluster {
    pub(super) belief: [Belief; NODES],
    pub(super) member: [Member; NODES],
    pub(super) history: [History; NODES],
    /// Nodes whose cluster manager was killed: nobody there answers for it until it has come back.
    pub(super) headless: [bool; NODES],
    /// The last fencing of each node that succeeded.
    pub(super) fenced_at: [Option<Moment>; NODES],
    /// A migration that is not settled by its last stop, from where to where.
    pub(super) migration: Option<(Node, Node, Chain)>,
}

/// How far the cluster's own migration has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Chain {
    /// `migrate_to` has succeeded.
    Sent,
    /// `migrate_from` has, too.
    Arrived,
    /// Either has failed.
    Failed,
}

/// What may still happen: the bounds of the search. Every deed that is limited takes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Left {
    /// Faults in all, of the kinds below.
    pub(super) faults: u8,
    /// Offers and pushes.
    pub(super) moves: u8,
    /// Starts that the cluster orders.
    pub(super) starts: u8,
    /// Stops that the cluster orders.
    pub(super) stops: u8,
    pub(super) crashes: u8,
    pub(super) kills: u8,
    pub(super) cuts: u8,
    /// Pacemaker of one node stopped in an orderly way.
    pub(super) leaves: u8,
    /// Stale history: the cluster forgets a migration's target.
    pub(super) forgets: u8,
    /// Restarts of attrd everywhere at once.
    pub(super) wipes: u8,
    /// A receiver that cannot let its copy run.
    pub(super) refusals: u8,
    /// Deadlines that pass.
    pub(super) expiries: u8,
    /// Cluster managers that are killed, each under whatever runs.
    pub(super) managers: u8,
    /// Fencings that a start may ask for (`handoff_unreachable=fence`).
    pub(super) fences: u8,
    /// Offers that a start has ended, since it cannot fetch them.
    pub(super) yields: u8,
    /// Offers that end since nobody is left who could fetch them.
    pub(super) deserts: u8,
    /// Not 0: no stream can be finished.
    pub(super) stuck: u8,
    /// Lost nodes that the cluster presumes stopped without having fenced them (`stonith-enabled=false`).
    pub(super) presumes: u8,
    /// Guests that reboot by themselves.
    pub(super) reboots: u8,
    /// Nodes on which the name cannot be read any more.
    pub(super) unnamed: u8,
    /// New names in the domain's file.
    pub(super) renames: u8,
}

/// All there is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) hosts: [Host; NODES],
    pub(super) streams: [Option<Stream>; 2],
    /// Links that are cut: `cut[n]` is the one that does not touch `n`.
    pub(super) cut: [bool; NODES],
    pub(super) ledger: Ledger,
    pub(super) cluster: Cluster,
    pub(super) clock: Moment,
    pub(super) boots: Boot,
    /// The offers whose deadline has passed, as a set of moments.
    pub(super) expired: u32,
    /// What was offered until then has ended long ago: longer than an offer may live.
    pub(super) long_ago: Moment,
    /// The domain's file has another name than the domain that runs.
    pub(super) renamed: bool,
    pub(super) left: Left,
}

/// The name of a node.
pub(super) fn name(node: Node) -> NodeName {
    NodeName::new(["n1", "n2", "n3"][node]).unwrap()
}

fn place(name: &NodeName) -> Node {
    match name.as_str() {
        "n1" => 0,
        "n2" => 1,
        _ => 2,
    }
}

/// A moment as an epoch: it is one of the same clock, in milliseconds.
pub(super) fn epoch(moment: Moment) -> Epoch {
    Epoch(time(moment).0 * 1000)
}

pub(super) fn moment(epoch: Epoch) -> Moment {
    Moment::try_from(epoch.0 / 1000 - time(0).0).unwrap()
}

/// A moment as the fencer and the offers write it.
pub(super) fn time(moment: Moment) -> UnixTime {
    UnixTime(1_000_000 + u64::from(moment))
}

/// A node in one byte: a search holds millions of worlds.
fn small(node: Node) -> u8 {
    u8::try_from(node).unwrap()
}

impl Paper {
    pub(super) fn new(source: Node, epoch: Moment) -> Self {
        Self { from: small(source), epoch }
    }

    pub(super) fn source(self) -> Node {
        self.from.into()
    }

    /// The real offer.
    pub(super) fn offer(self) -> Offer {
        Offer {
            domain: DomainName::new("x0").unwrap(),
            source: name(self.source()),
            epoch: epoch(self.epoch),
            made_at: time(self.epoch),
            deadline: UnixTime(time(self.epoch).0 + LONGEST_OFFER),
        }
    }

    fn of(offer: &Offer) -> Self {
        Self::new(place(&offer.source), moment(offer.epoch))
    }
}

impl Way {
    pub(super) fn new(epoch: Moment, source: Node, target: Node) -> Self {
        Self { epoch, from: small(source), to: small(target) }
    }

    pub(super) fn source(self) -> Node {
        self.from.into()
    }

    pub(super) fn target(self) -> Node {
        self.to.into()
    }

    /// The real transfer.
    pub(super) fn transfer(self) -> Transfer {
        Transfer { epoch: epoch(self.epoch), source: name(self.source()), target: name(self.target()) }
    }

    /// The real push.
    pub(super) fn push(self) -> Push {
        Push { domain: DomainName::new("x0").unwrap(), transfer: self.transfer(), made_at: time(self.epoch) }
    }

    fn of(transfer: &Transfer) -> Self {
        Self::new(moment(transfer.epoch), place(&transfer.source), place(&transfer.target))
    }
}

impl Stand {
    /// The real phase.
    pub(super) fn phase(self) -> Phase {
        let real = |paper: Option<Paper>| paper.map(Paper::offer);
        match self {
            Self::Idle => Phase::Idle,
            Self::Offering(paper) => Phase::Source(SourcePhase::Offering { offer: paper.offer() }),
            Self::Offered(paper) => Phase::Source(SourcePhase::Offered { offer: paper.offer() }),
            Self::Withdrawing(paper) => Phase::Source(SourcePhase::Withdrawing { offer: paper.offer() }),
            Self::Sending(way, paper) => {
                Phase::Source(SourcePhase::Sending { transfer: way.transfer(), offer: real(paper) })
            }
            Self::Settling(way, paper) => {
                Phase::Source(SourcePhase::Settling { transfer: way.transfer(), offer: real(paper) })
            }
            Self::Left(way) => Phase::Source(SourcePhase::Left { transfer: way.transfer() }),
            Self::Claiming(paper) => Phase::Target(TargetPhase::Claiming { offer: paper.offer() }),
            Self::Receiving(way) => Phase::Target(TargetPhase::Receiving { transfer: way.transfer() }),
            Self::Arriving(way) => Phase::Target(TargetPhase::Arriving { transfer: way.transfer() }),
            Self::Arrived(way) => Phase::Target(TargetPhase::Arrived { transfer: way.transfer() }),
        }
    }

    /// What a real phase is here.
    pub(super) fn of(phase: &Phase) -> Self {
        let small = |offer: &Option<Offer>| offer.as_ref().map(Paper::of);
        match phase {
            Phase::Idle => Self::Idle,
            Phase::Source(SourcePhase::Offering { offer }) => Self::Offering(Paper::of(offer)),
            Phase::Source(SourcePhase::Offered { offer }) => Self::Offered(Paper::of(offer)),
            Phase::Source(SourcePhase::Withdrawing { offer }) => Self::Withdrawing(Paper::of(offer)),
            Phase::Source(SourcePhase::Sending { transfer, offer }) => {
                Self::Sending(Way::of(transfer), small(offer))
            }
            Phase::Source(SourcePhase::Settling { transfer, offer }) => {
                Self::Settling(Way::of(transfer), small(offer))
            }
            Phase::Source(SourcePhase::Left { transfer }) => Self::Left(Way::of(transfer)),
            Phase::Target(TargetPhase::Claiming { offer }) => Self::Claiming(Paper::of(offer)),
            Phase::Target(TargetPhase::Receiving { transfer }) => Self::Receiving(Way::of(transfer)),
            Phase::Target(TargetPhase::Arriving { transfer }) => Self::Arriving(Way::of(transfer)),
            Phase::Target(TargetPhase::Arrived { transfer }) => Self::Arrived(Way::of(transfer)),
        }
    }

    /// [`Phase::offer`].
    pub(super) fn offer(self) -> Option<Paper> {
        match self {
            Self::Offering(paper) | Self::Offered(paper) | Self::Withdrawing(paper) => Some(paper),
            Self::Sending(_, paper) | Self::Settling(_, paper) => paper,
            _ => None,
        }
    }

    /// [`Phase::is_offered_away`].
    pub(super) fn is_offered_away(self) -> bool {
        self.offer().is_some() && !matches!(self, Self::Offering(_))
    }

    /// [`Phase::is_in_transfer`].
    pub(super) fn is_in_transfer(self) -> bool {
        matches!(self, Self::Sending(..) | Self::Settling(..) | Self::Receiving(_) | Self::Arriving(_))
    }
}

impl Look {
    /// The real presence.
    pub(super) fn presence(self) -> Presence {
        match self {
            Self::Absent => Presence::Absent,
            // As another node is told.
            Self::Rebooting => Presence::Unknown("it may be rebooting".to_owned()),
            Self::Running => Presence::Running(DomainId(1)),
            Self::Paused => Presence::Paused(DomainId(1)),
            Self::Frozen => Presence::Frozen(DomainId(1)),
            Self::Incoming => Presence::Incoming(DomainId(1)),
            Self::Away => Presence::MigratedAway(DomainId(1)),
        }
    }
}

impl Host {
    /// A host that has just come up.
    pub(super) fn fresh(up: bool) -> Self {
        Self {
            up,
            stand: Stand::Idle,
            own: None,
            incoming: None,
            away: None,
            action: None,
            keeper: None,
            ended: None,
            settler: None,
            refused: None,
            yielded: false,
            peer_restarted: false,
            reborn: false,
            nameless: false,
        }
    }

    /// The real [`Sighting::presence`] of what is here.
    pub(super) fn look(&self) -> Look {
        let copy = |state| Some(Sighted { id: DomainId(1), state });
        let own = self.own.and_then(|own| {
            copy(match own.run {
                Run::Running => RunState::Running,
                Run::Paused => RunState::Paused,
                Run::Frozen => RunState::Frozen,
            })
        });
        let sighting = Sighting {
            own,
            incoming: self.incoming.and_then(|_| copy(RunState::Paused)),
            migrated_away: self.away.and_then(|_| copy(RunState::Frozen)),
        };
        match sighting.presence() {
            Presence::Absent if self.reborn => Look::Rebooting,
            Presence::Absent => Look::Absent,
            Presence::Running(_) => Look::Running,
            Presence::Paused(_) => Look::Paused,
            Presence::Frozen(_) => Look::Frozen,
            Presence::Incoming(_) => Look::Incoming,
            _ => Look::Away,
        }
    }

    /// Whether the domain runs here.
    pub(super) fn runs(&self) -> bool {
        self.own.is_some_and(|own| own.run == Run::Running)
    }
}

impl Stream {
    /// Whether one of those who hold the transfer lock of `node` for it lives: on the sending side xl and the relay
    /// inherit it.
    pub(super) fn locks(&self, node: Node) -> bool {
        let sending = self.at_source == Ours::Runs || self.relay || self.sender.lives();
        self.way.source() == node && sending || self.way.target() == node && self.at_target == Ours::Runs
    }

    /// Whether nobody has a hand in it any more.
    pub(super) fn is_over(&self) -> bool {
        !matches!(self.at_source, Ours::Runs | Ours::Spawned)
            && !matches!(self.at_target, Ours::Runs | Ours::Spawned)
            && !self.relay
            && !self.sender.lives()
            && !self.receiver.lives()
    }
}

impl Sender {
    pub(super) fn lives(self) -> bool {
        !matches!(self, Self::NotYet | Self::Exited { .. } | Self::Killed)
    }
}

impl Receiver {
    pub(super) fn lives(self) -> bool {
        !matches!(self, Self::NotYet | Self::Exited | Self::Killed)
    }
}

impl World {
    /// The domain runs on n1, as the cluster believes.
    pub(super) fn begin(left: Left) -> Self {
        let mut hosts = [Host::fresh(true), Host::fresh(true), Host::fresh(true)];
        hosts[0].own = Some(Copy { boot: 0, run: Run::Running, stale: false });
        Self {
            hosts,
            streams: [None, None],
            cut: [false; NODES],
            ledger: Ledger { slot: [None; NODES], note: [Note::Old; NODES] },
            cluster: Cluster {
                belief: [Belief::Started, Belief::Stopped, Belief::Stopped],
                member: [Member::In; NODES],
                history: [History::Other, History::Clear, History::Clear],
                headless: [false; NODES],
                fenced_at: [None; NODES],
                migration: None,
            },
            clock: 1,
            boots: 0,
            expired: 0,
            long_ago: 0,
            renamed: false,
            left,
        }
    }

    /// Whether `one` can open a connection to `other`.
    pub(super) fn reaches(&self, one: Node, other: Node) -> bool {
        self.hosts[one].up && self.hosts[other].up && (one == other || !self.cut[NODES - one - other])
    }

    /// Under whose names `by` sees attributes: the members of its part of the cluster.
    pub(super) fn visible(&self, by: Node) -> Vec<Node> {
        match self.cluster.member[by] {
            _ if self.cluster.headless[by] => vec![],
            Member::In => (0..NODES).filter(|&node| self.cluster.member[node] == Member::In).collect(),
            Member::Lost => vec![by],
            Member::Out => vec![],
        }
    }

    /// Whether both links of `node` are cut.
    pub(super) fn is_isolated(&self, node: Node) -> bool {
        (0..NODES).filter(|&other| other != node).all(|other| self.cut[NODES - node - other])
    }

    /// Whether somebody holds the transfer lock of `node`.
    pub(super) fn is_transferring(&self, node: Node) -> bool {
        let host = &self.hosts[node];
        // A start gathers its proof and boots under the lock.
        let proves = matches!(
            host.action,
            Some(Action::Start(
                StartAt::Peers(..) | StartAt::Ledger(_) | StartAt::Asking(..) | StartAt::Proven
            ))
        );
        proves || host.settler.is_some() || self.streams.iter().flatten().any(|stream| stream.locks(node))
    }

    /// The copy of `node` under the domain's own name comes to run: every other one is older than the disks from now on.
    /// True if it was that itself.
    pub(super) fn let_run(&mut self, node: Node) -> bool {
        let mut was_stale = false;
        for (place, host) in self.hosts.iter_mut().enumerate() {
            if let Some(own) = &mut host.own {
                if place == node {
                    was_stale = own.stale;
                    (own.run, own.stale) = (Run::Running, false);
                } else {
                    own.stale |= own.run != Run::Running;
                }
            }
            if let Some(copy) = &mut host.incoming {
                copy.stale = true;
            }
            if let Some(copy) = &mut host.away {
                copy.stale = true;
            }
        }
        was_stale
    }

    pub(super) fn has_expired(&self, epoch: Moment) -> bool {
        self.expired & (1 << epoch) != 0
    }

    /// The next moment.
    pub(super) fn tick(&mut self) -> Moment {
        self.clock += 1;
        self.clock
    }
}
