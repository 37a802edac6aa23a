//! Evidence: values that only an observation can make, and that every dangerous effect takes.
//!
//! None of these types has another constructor than those that look at what was observed, and the dangerous
//! calls of [`Toolstack`](crate::toolstack::Toolstack) take them: create and restore [`NobodyElse`], unpause
//! [`MayRun`], resume [`NoCopyElsewhere`], destroy [`MayEnd`]. So code that boots a domain or lets a copy run
//! does not compile without having asked. What the types do not know is *when* it was asked: that the answer
//! still holds is the caller's care.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::handshake::GO;
use super::ledger::{Entries, Entry, LedgerSays};
use super::phase::{Ended, Phase, Ran, SourcePhase, TargetPhase, Transfer};
use crate::clock::UnixTime;
use crate::domain::Presence;
use crate::host::NodeName;

/// Evidence that no copy of the domain is on this node: a whole listing without any of its three names, while
/// no daemon of the toolstack stood ready to create it anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absence(());

impl Absence {
    /// Made from a listing and, only where that shows none, from whether a toolstack daemon attends the
    /// domain.
    pub fn observe(presence: &Presence, attended: impl FnOnce() -> bool) -> Option<Self> {
        (*presence == Presence::Absent && !attended()).then_some(Self(()))
    }
}

/// Evidence that the copy here stands still, as it does when xl's receiver has all of it: a receiver that
/// says so of a domain that runs does not tell the truth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspended(());

impl Suspended {
    /// Made from a listing of this very host.
    pub fn observe(presence: &Presence) -> Option<Self> {
        matches!(presence, Presence::Frozen(_) | Presence::MigratedAway(_)).then_some(Self(()))
    }

    /// Made from the hypervisor's own word of the domain that is being sent.
    pub fn by_hypervisor(is_suspended: bool) -> Option<Self> {
        is_suspended.then_some(Self(()))
    }
}

/// Evidence that the source has suspended the domain and given it away for good: xl's GO message, seen on the
/// wire. xl sends it only after it has renamed its own, suspended copy, and never resumes that copy unless
/// the target says that it destroyed its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceQuiet(());

impl SourceQuiet {
    /// Made from the bytes that came over the stream after the receiver's *ready*.
    pub fn observe(bytes_after_ready: &[u8]) -> Option<Self> {
        bytes_after_ready.starts_with(GO).then_some(Self(()))
    }
}

impl SourceQuiet {
    /// The same evidence from the record: `Arriving` is entered with it and with nothing else.
    pub fn on_record(phase: &Phase) -> Option<Self> {
        matches!(phase, Phase::Target(TargetPhase::Arriving { .. })).then_some(Self(()))
    }
}

/// Evidence that the suspended copy at the source is stale: the domain has run at the target, or the target
/// was lost when it may have. Its disks have gone on without this memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stale(());

impl Stale {
    /// Made from the target's own answer, from its fencing since the transfer began, or from its restart
    /// since then.
    pub fn observe(target: &PeerSays, transfer: &Transfer) -> Option<Self> {
        let stale = match target {
            PeerSays::Stands { presence: Presence::Running(_), .. } | PeerSays::Restarted { .. } => true,
            PeerSays::Stands { presence: Presence::Absent, phase, ended } if !phase.is_in_transfer() => {
                matches!(ended, Some(Ended { epoch, ran: Ran::Certainly }) if *epoch == transfer.epoch)
            }
            PeerSays::Fenced(at) => *at > transfer.epoch.at(),
            PeerSays::Stands { .. } | PeerSays::Silent(_) => false,
        };
        stale.then_some(Self(()))
    }
}

/// Evidence that the target has no copy that runs or could be let run, so that the suspended one at the
/// source is the only one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoCopyElsewhere(());

impl NoCopyElsewhere {
    /// A stream whose sender never saw *ready*: the receiver was not given GO, and will not be.
    pub fn never_given(phase: &Phase) -> Option<Self> {
        matches!(phase, Phase::Source(SourcePhase::Sending { .. })).then_some(Self(()))
    }

    /// A save to a file that was broken off: no stream of the domain is on this node's record, so no copy was
    /// ever sent.
    pub fn never_sent(phase: &Phase) -> Option<Self> {
        (!phase.is_in_transfer()).then_some(Self(()))
    }

    /// Made from the target's own answer: it has no copy, and the one that came with this very transfer never
    /// ran. That it has none *now* is not enough, nor is its fencing: if its copy ran for a moment, it wrote
    /// to the disks, and the one here is an old memory on top of them.
    ///
    /// # Errors
    /// Why it does not prove that.
    pub fn observe(target: &PeerSays, transfer: &Transfer) -> Result<Self, String> {
        match target {
            PeerSays::Stands { presence: Presence::Absent, phase, ended } if !phase.is_in_transfer() => {
                match ended {
                    Some(Ended { epoch, ran: Ran::Never }) if *epoch == transfer.epoch => Ok(Self(())),
                    Some(Ended { epoch, ran: Ran::Perhaps }) if *epoch == transfer.epoch => Err(
                        "it was given away there, may have run for a moment, and is gone: the copy here may be stale; destroy \
                         it by hand, or resume it if its disks were not written to"
                            .to_owned(),
                    ),
                    Some(Ended { epoch, ran: Ran::Certainly }) if *epoch == transfer.epoch => {
                        Err("it has run there and has ended there: the copy here is stale".to_owned())
                    }
                    Some(_) | None => {
                        Err("it is absent there, and how this transfer ended there is not known".to_owned())
                    }
                }
            }
            PeerSays::Restarted { .. } => Err("that node has restarted since, and may have run it before".to_owned()),
            PeerSays::Stands { presence, phase, .. } => Err(format!("it is {presence} there ({phase})")),
            PeerSays::Fenced(at) => Err(format!("it was fenced at {at}, and may have run it before that")),
            PeerSays::Silent(why) => Err(why.clone()),
        }
    }
}

/// Evidence that the survivors can read an entry of the ledger: a survivor read it back to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded(());

impl Recorded {
    /// Made from what the planned target says that its ledger holds.
    pub fn observe(entry: &Entry, read_back: &Entries) -> Option<Self> {
        let there = match entry {
            Entry::Offer(offer) => read_back.offers.contains(offer),
            Entry::Push(push) => read_back.pushes.contains(push),
        };
        there.then_some(Self(()))
    }
}

/// Evidence that the cluster's own migration is to bring a domain to this node: the push stands in this
/// node's ledger, which only members of the cluster write. That somebody holds the key to the transport and
/// says so is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushedHere(());

impl PushedHere {
    /// Made from what this node's ledger has of the domain. `from`: who says so, where that is known.
    /// `transfer`: which push, where that has been said.
    ///
    /// # Errors
    /// Why it is not so.
    pub fn observe(
        here: &NodeName,
        from: Option<&NodeName>,
        transfer: Option<&Transfer>,
        ledger: &Entries,
    ) -> Result<Self, String> {
        let is_it = |open: &Transfer| {
            let is_known = from.is_none_or(|node| *node == open.source);
            open.target == *here && is_known && transfer.is_none_or(|said| said == open)
        };
        if ledger.pushes.iter().any(|push| is_it(&push.transfer)) {
            return Ok(Self(()));
        }
        Err(match transfer {
            Some(Transfer { target, .. }) if target != here => {
                format!("it is sent to {target}, and this node is {here}")
            }
            _ => format!("no migration of it to {here} is in this node's ledger"),
        })
    }
}

/// What a node says of who may still fetch an offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outlook", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Outlook {
    /// Its cluster manager accounts for every node and will start the resource on none of them.
    Nobody,
    /// It will be started there.
    Somebody {
        /// Where.
        node: NodeName,
    },
    /// No cluster manager runs on this node, so nothing will be started on it.
    NoManager,
    /// It could not find out.
    Unknown {
        /// Why not.
        why: String,
    },
}

impl fmt::Display for Outlook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str("nobody"),
            Self::Somebody { node } => write!(f, "{node}"),
            Self::NoManager => f.write_str("no-manager"),
            Self::Unknown { why } => write!(f, "unknown: {why}"),
        }
    }
}

/// Evidence that nobody is left who could fetch an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NobodyToFetch(());

impl NobodyToFetch {
    /// Made from the word of the source's own cluster manager; and, where none runs there any more, from the
    /// last word of each node that could read the offer. One that has a cluster manager speaks for all nodes;
    /// those without one for themselves alone, so that all of them must have said so. An unknown is not
    /// "nobody".
    pub fn conclude(survivors: &[Outlook], here: &Outlook) -> Option<Self> {
        let deserted = match here {
            Outlook::Nobody => true,
            Outlook::Somebody { .. } | Outlook::Unknown { .. } => false,
            Outlook::NoManager => {
                let may_come = |said: &Outlook| matches!(said, Outlook::Somebody { .. });
                let unknown = |said: &Outlook| matches!(said, Outlook::Unknown { .. });
                let for_all = survivors.contains(&Outlook::Nobody);
                !survivors.is_empty()
                    && !survivors.iter().any(may_come)
                    && (for_all || !survivors.iter().any(unknown))
            }
        };
        deserted.then_some(Self(()))
    }
}

/// What another node says of a domain, or how it failed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerSays {
    /// It answered: the toolstack's view and where its record stands.
    Stands {
        /// What its listing shows.
        presence: Presence,
        /// Its record.
        phase: Phase,
        /// How the last stream that it received came to its end, if it said so.
        ended: Option<Ended>,
    },
    /// It answered, but its host has restarted since the transfer in question began: what had arrived there
    /// is gone.
    Restarted {
        /// What its listing shows now.
        presence: Presence,
        /// Its record now.
        phase: Phase,
    },
    /// The cluster has fenced it, at this time by the cluster's clock, and it has not come back since.
    Fenced(UnixTime),
    /// No answer, for this reason.
    Silent(String),
}

/// Evidence that a copy on its way in is nobody's domain: it was never given GO, so it never ran, and nobody
/// will give it any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeverGiven(());

impl NeverGiven {
    /// By the record: the stream is broken, and GO has not come over it.
    pub fn on_record(phase: &Phase, presence: &Presence) -> Option<Self> {
        let receiving = matches!(phase, Phase::Target(TargetPhase::Receiving { .. }));
        (receiving && matches!(presence, Presence::Incoming(_))).then_some(Self(()))
    }

    /// A copy that no record knows: none speaks of a transfer, nobody holds the transfer lock, and no process
    /// of xl's receives it.
    pub fn unrecorded(
        phase: &Phase,
        presence: &Presence,
        in_transfer: impl FnOnce() -> bool,
        received: impl FnOnce() -> bool,
    ) -> Option<Self> {
        let unknown_to_the_record = match phase {
            Phase::Idle
            | Phase::Source(SourcePhase::Left { .. })
            | Phase::Target(TargetPhase::Claiming { .. }) => true,
            Phase::Source(_) | Phase::Target(_) => false,
        };
        let is_one = matches!(presence, Presence::Incoming(_)) && unknown_to_the_record;
        (is_one && !in_transfer() && !received()).then_some(Self(()))
    }
}

/// Evidence that the paused copy here is the domain itself: it has had processor time here, and whoever ends
/// it has no doubt about copies elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnlyPaused(());

impl OnlyPaused {
    /// Made from the hypervisor's count of its processor time and, only where that shows some, from the
    /// caller's own doubt.
    ///
    /// # Errors
    /// The doubt.
    pub fn observe(has_run: bool, others: impl FnOnce() -> Result<(), String>) -> Result<Self, String> {
        if !has_run {
            return Err("it has never run here: it is being made, or was about to arrive".to_owned());
        }
        others().map(|()| Self(()))
    }
}

/// Why a paused copy may run.
#[derive(Debug)]
pub enum MayRun<'a> {
    /// It has arrived and was given.
    Given(&'a SourceQuiet),
    /// Somebody has paused the domain, and it is to hear that it shall shut down.
    ToShutDown(&'a OnlyPaused),
}

/// Why a copy may be ended as by a power cut.
#[derive(Debug)]
pub enum MayEnd<'a> {
    /// It is older than its disks.
    Stale(&'a Stale),
    /// It never ran.
    NeverGiven(&'a NeverGiven),
    /// The domain itself is to end here: a stop, or the end of its offer, after the guest had its time. This
    /// is an order and no evidence; whether it may be given is the record's to say
    /// ([`step`](fn@super::step)).
    Ordered,
}

/// One other node and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerReport {
    /// The node.
    pub node: NodeName,
    /// Its word.
    pub says: PeerSays,
    /// Whether the cluster's own history says that the domain is not there: its last operation there was a
    /// stop that succeeded or a probe that found none, or the node left in order and never had one.
    pub cleared: bool,
}

/// All that a cold boot is decided on.
#[derive(Debug, Clone)]
pub struct Inquiry<'a> {
    /// This node, which has no copy.
    pub here: &'a NodeName,
    /// The ledger's word.
    pub ledger: &'a LedgerSays,
    /// The longest life that an offer of this domain can have.
    pub longest_offer: Duration,
    /// Every other node of the cluster.
    pub peers: &'a [PeerReport],
    /// Where this node's own record says that the domain was last sent, if nobody has accounted for that
    /// copy.
    pub sent_to: Option<&'a NodeName>,
}

/// Evidence that no other node can be running the domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NobodyElse {
    grounds: Vec<String>,
}

/// Why a cold boot is not safe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// Another node has a copy, or says that it is about to.
    #[error("{node} has it: {how}")]
    Elsewhere {
        /// Which node.
        node: NodeName,
        /// In which state.
        how: String,
    },
    /// A node that may be running it does not answer.
    #[error("{node} may be running it ({because}) and does not answer: {silence}")]
    Silent {
        /// Which node.
        node: NodeName,
        /// Why it cannot be ruled out.
        because: String,
        /// How the question failed.
        silence: String,
    },
}

impl NobodyElse {
    /// Weighs what was observed.
    ///
    /// A copy anywhere forbids the boot. Every other node must be accounted for: it answered "none here", or
    /// it was fenced, or the cluster's own history clears it. That history is not enough for the source of an
    /// open offer, for either end of a push that nobody has accounted for, and for the node that the domain
    /// was last sent to. In a ledger that is younger than the longest offer, or that cannot be read whole, an
    /// entry may be missing: then it is enough for nobody.
    ///
    /// # Errors
    /// The first [`Doubt`].
    pub fn conclude(inquiry: &Inquiry<'_>) -> Result<Self, Doubt> {
        let mut grounds = Vec::new();
        let nothing = Entries::default();
        let (entries, unsure): (&Entries, Option<String>) = match inquiry.ledger {
            LedgerSays::NoCluster => {
                grounds.push("no cluster manager runs here, called by hand".to_owned());
                (&nothing, None)
            }
            LedgerSays::Unreadable(why) => (&nothing, Some(format!("the ledger cannot be read: {why}"))),
            LedgerSays::Entries { entries, age } if *age <= inquiry.longest_offer => {
                let why = format!(
                    "the ledger is only {} s old, an offer lives up to {} s",
                    age.as_secs(),
                    inquiry.longest_offer.as_secs()
                );
                (entries, Some(why))
            }
            LedgerSays::Entries { entries, age } => {
                grounds.push(format!(
                    "{} entries in a ledger that is {} s old",
                    entries.epochs().count(),
                    age.as_secs()
                ));
                let unread = entries.unreadable.first();
                (entries, unread.map(|why| format!("the ledger has an entry that cannot be read: {why}")))
            }
        };
        for report in inquiry.peers {
            match &report.says {
                PeerSays::Stands { presence, phase, .. } | PeerSays::Restarted { presence, phase } => {
                    if let Some(how) = holds_it(presence, phase) {
                        return Err(Doubt::Elsewhere { node: report.node.clone(), how });
                    }
                    grounds.push(format!("{} has none", report.node));
                }
                PeerSays::Fenced(_) | PeerSays::Silent(_) => {}
            }
        }
        for offer in &entries.offers {
            let because = format!("it offered it at {}", offer.made_at);
            grounds.push(rule_out(inquiry.peers, &offer.source, &because, Some(offer.made_at))?);
        }
        for push in &entries.pushes {
            let Transfer { source, target, .. } = &push.transfer;
            let because = format!("a migration from {source} to {target} was begun at {}", push.made_at);
            for end in [source, target].into_iter().filter(|end| *end != inquiry.here) {
                grounds.push(rule_out(inquiry.peers, end, &because, Some(push.made_at))?);
            }
        }
        if let Some(node) = inquiry.sent_to {
            grounds.push(rule_out(inquiry.peers, node, "it was last sent there", None)?);
        }
        for report in inquiry.peers {
            // "None here" of a node that has sent it on says where it went.
            let PeerSays::Stands { phase: Phase::Source(SourcePhase::Left { transfer }), .. } = &report.says
            else {
                continue;
            };
            if transfer.target != *inquiry.here {
                let because = format!("{} sent it there", report.node);
                grounds.push(rule_out(inquiry.peers, &transfer.target, &because, None)?);
            }
        }
        for report in inquiry.peers {
            let ground = match &unsure {
                Some(because) => rule_out(inquiry.peers, &report.node, because, None)?,
                None if report.cleared => format!("{} has none, as the cluster knows", report.node),
                None => rule_out(
                    inquiry.peers,
                    &report.node,
                    "nothing that the cluster knows rules it out",
                    None,
                )?,
            };
            grounds.push(ground);
        }
        let mut said = std::collections::HashSet::new();
        grounds.retain(|ground| said.insert(ground.clone()));
        Ok(Self { grounds })
    }
}

/// How a node that answered holds the domain; `None` if it has no copy and will not get one.
fn holds_it(presence: &Presence, phase: &Phase) -> Option<String> {
    if phase.is_in_transfer() {
        return Some(format!("a transfer is under way ({phase})"));
    }
    (*presence != Presence::Absent).then(|| presence.to_string())
}

fn rule_out(
    peers: &[PeerReport],
    node: &NodeName,
    because: &str,
    since: Option<UnixTime>,
) -> Result<String, Doubt> {
    let silent = |silence: &str| Doubt::Silent {
        node: node.clone(),
        because: because.to_owned(),
        silence: silence.to_owned(),
    };
    match peers.iter().find(|report| report.node == *node).map(|report| &report.says) {
        Some(PeerSays::Stands { .. } | PeerSays::Restarted { .. }) => Ok(format!("{node} has none")),
        Some(PeerSays::Fenced(at)) if since.is_none_or(|since| *at > since) => {
            Ok(format!("{node} fenced at {at}"))
        }
        Some(PeerSays::Fenced(at)) => Err(silent(&format!("it was fenced at {at}, before that"))),
        Some(PeerSays::Silent(why)) => Err(silent(why)),
        None => Err(silent("it is no member of the cluster")),
    }
}

impl fmt::Display for NobodyElse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.grounds.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{DomainId, DomainName};
    use crate::handoff::phase::{Epoch, Offer, Push};

    fn node(name: &str) -> NodeName {
        NodeName::new(name).unwrap()
    }

    fn offer_of(source: &str) -> Offer {
        Offer {
            domain: DomainName::new("x0").unwrap(),
            source: node(source),
            epoch: Epoch(1),
            made_at: UnixTime(1000),
            deadline: UnixTime(1300),
        }
    }

    #[test]
    fn p1_a_domain_is_sent_here_only_if_this_nodes_own_ledger_says_so_of_this_very_push() {
        let transfer =
            |epoch, target: &str| Transfer { epoch: Epoch(epoch), source: node("n1"), target: node(target) };
        let push = |epoch, target| Push {
            domain: DomainName::new("x0").unwrap(),
            transfer: transfer(epoch, target),
            made_at: UnixTime(1000),
        };
        let ledger = Entries { pushes: vec![push(7, "n2"), push(6, "n3")], ..Entries::default() };
        let observe = |said: Option<Transfer>, ledger: &Entries| {
            PushedHere::observe(&node("n2"), None, said.as_ref(), ledger).map(drop)
        };
        assert_eq!(observe(Some(transfer(7, "n2")), &ledger), Ok(()));
        assert_eq!(observe(None, &ledger), Ok(()));
        let said_by = |name: &str| PushedHere::observe(&node("n2"), Some(&node(name)), None, &ledger).is_ok();
        assert!(said_by("n1") && !said_by("n3"), "who sends it is its source");
        for lie in [transfer(7, "n3"), transfer(8, "n2"), transfer(6, "n2"), transfer(6, "n3")] {
            assert!(observe(Some(lie.clone()), &ledger).is_err(), "{lie:?}");
        }
        let of_an_offer =
            Entries { offers: vec![offer_of("n1")], pushes: vec![push(6, "n3")], ..Entries::default() };
        for ledger in [Entries::default(), of_an_offer] {
            assert!(observe(Some(transfer(7, "n2")), &ledger).is_err());
            assert!(observe(None, &ledger).is_err());
        }
    }

    fn none_here(name: &str) -> PeerReport {
        PeerReport {
            node: node(name),
            says: PeerSays::Stands { presence: Presence::Absent, phase: Phase::Idle, ended: None },
            cleared: false,
        }
    }

    /// No answer, from a node that the cluster's history clears.
    fn silent(name: &str) -> PeerReport {
        PeerReport { node: node(name), says: PeerSays::Silent("timed out".into()), cleared: true }
    }

    fn fenced(name: &str, at: u64) -> PeerReport {
        PeerReport { node: node(name), says: PeerSays::Fenced(UnixTime(at)), cleared: true }
    }

    fn conclude(ledger: &LedgerSays, peers: &[PeerReport]) -> Result<NobodyElse, Doubt> {
        conclude_at(ledger, peers, None)
    }

    fn conclude_at(
        ledger: &LedgerSays,
        peers: &[PeerReport],
        sent_to: Option<&NodeName>,
    ) -> Result<NobodyElse, Doubt> {
        let (here, longest_offer) = (&node("n3"), Duration::from_secs(300));
        NobodyElse::conclude(&Inquiry { here, ledger, longest_offer, peers, sent_to })
    }

    fn ledger_of(entries: Entries) -> LedgerSays {
        LedgerSays::Entries { entries, age: Duration::from_secs(9000) }
    }

    fn old_ledger(offers: Vec<Offer>) -> LedgerSays {
        ledger_of(Entries { offers, ..Entries::default() })
    }

    #[test]
    fn silence_of_a_source_with_an_open_offer_is_no_proof() {
        let ledger = old_ledger(vec![offer_of("n1")]);
        let doubt = conclude(&ledger, &[silent("n1"), none_here("n2")]).unwrap_err();
        assert!(matches!(doubt, Doubt::Silent { .. }), "{doubt}");
        conclude(&ledger, &[none_here("n1"), silent("n2")]).unwrap();
    }

    #[test]
    fn a_fencing_counts_only_after_the_offer() {
        let ledger = old_ledger(vec![offer_of("n1")]);
        conclude(&ledger, &[fenced("n1", 1001)]).unwrap();
        conclude(&ledger, &[fenced("n1", 1000)]).unwrap_err();
        conclude(&ledger, &[fenced("n1", 900)]).unwrap_err();
    }

    #[test]
    fn a_silent_node_is_no_obstacle_only_if_the_cluster_knows_that_it_has_none() {
        let unknown = |name: &str| PeerReport { cleared: false, ..silent(name) };
        conclude(&old_ledger(vec![]), &[silent("n1"), silent("n2")]).unwrap();
        let doubt = conclude(&old_ledger(vec![]), &[silent("n1"), unknown("n2")]).unwrap_err();
        assert!(matches!(doubt, Doubt::Silent { node: who, .. } if who == node("n2")));
    }

    #[test]
    fn both_ends_of_a_push_are_asked_whatever_the_cluster_knows() {
        let push = Push {
            domain: DomainName::new("x0").unwrap(),
            transfer: Transfer { epoch: Epoch(1), source: node("n1"), target: node("n2") },
            made_at: UnixTime(1000),
        };
        let ledger = ledger_of(Entries { pushes: vec![push], ..Entries::default() });
        conclude(&ledger, &[none_here("n1"), silent("n2")]).unwrap_err();
        conclude(&ledger, &[silent("n1"), none_here("n2")]).unwrap_err();
        conclude(&ledger, &[fenced("n1", 1001), none_here("n2")]).unwrap();
        conclude(&ledger, &[fenced("n1", 999), none_here("n2")]).unwrap_err();
    }

    #[test]
    fn a_young_or_unreadable_ledger_needs_every_peer() {
        let young = LedgerSays::Entries { entries: Entries::default(), age: Duration::from_secs(300) };
        let unread = ledger_of(Entries { unreadable: vec!["v=2".to_owned()], ..Entries::default() });
        for ledger in [young, unread, LedgerSays::Unreadable("attrd is down".into())] {
            conclude(&ledger, &[none_here("n1"), silent("n2")]).unwrap_err();
            conclude(&ledger, &[none_here("n1"), none_here("n2")]).unwrap();
        }
        conclude(&old_ledger(vec![]), &[none_here("n1"), silent("n2")]).unwrap();
    }

    #[test]
    fn any_copy_anywhere_forbids_a_cold_boot() {
        let stands = |presence, phase| PeerReport {
            node: node("n1"),
            says: PeerSays::Stands { presence, phase, ended: None },
            cleared: true,
        };
        let transfer = Transfer { epoch: Epoch(1), source: node("n1"), target: node("n2") };
        for report in [
            stands(Presence::Running(DomainId(1)), Phase::Idle),
            stands(Presence::Paused(DomainId(1)), Phase::Idle),
            stands(Presence::MigratedAway(DomainId(1)), Phase::Idle),
            stands(Presence::Incoming(DomainId(1)), Phase::Idle),
            stands(Presence::Unknown("xl hangs".into()), Phase::Idle),
            stands(Presence::Absent, Phase::Source(SourcePhase::Settling { transfer, offer: None })),
        ] {
            let doubt = conclude(&old_ledger(vec![]), &[report]).unwrap_err();
            assert!(matches!(doubt, Doubt::Elsewhere { .. }), "{doubt}");
        }
    }

    #[test]
    fn the_place_that_it_was_last_sent_to_must_answer() {
        let (ledger, sent_to) = (old_ledger(vec![]), node("n2"));
        conclude_at(&ledger, &[silent("n2")], Some(&sent_to)).unwrap_err();
        conclude_at(&ledger, &[none_here("n2")], Some(&sent_to)).unwrap();
    }

    #[test]
    fn the_place_that_another_node_sent_it_to_must_answer() {
        let transfer = Transfer { epoch: Epoch(1), source: node("n1"), target: node("n2") };
        let left = PeerReport {
            says: PeerSays::Stands {
                presence: Presence::Absent,
                phase: Phase::Source(SourcePhase::Left { transfer }),
                ended: None,
            },
            ..none_here("n1")
        };
        conclude(&old_ledger(vec![]), &[left.clone(), silent("n2")]).unwrap_err();
        conclude(&old_ledger(vec![]), &[left, none_here("n2")]).unwrap();
    }

    #[test]
    fn an_absence_is_only_seen_in_a_whole_listing_without_a_daemon() {
        assert!(Absence::observe(&Presence::Absent, || false).is_some());
        assert!(Absence::observe(&Presence::Absent, || true).is_none());
        assert!(Absence::observe(&Presence::Unknown("?".into()), || false).is_none());
        assert!(Absence::observe(&Presence::MigratedAway(DomainId(1)), || false).is_none());
    }
}
