//! `xen-handoff recover`: what start, stop and the keeper do by themselves with a transfer that broke off, by
//! hand and with an explanation: both ends, what follows from them, what is done about it.

use std::io::Write;
use std::time::Duration;

use super::names::{Domains, Nodes};
use super::shown::{paragraph, width};
use super::waiting::waiting;
use super::way;
use crate::clock::{Deadline, UnixTime};
use crate::domain::{DomainName, Presence};
use crate::handoff::event::ReceiverEnd;
use crate::handoff::evidence::{NeverGiven, PeerSays};
use crate::handoff::resolve::{self, AtSource, AtTarget};
use crate::handoff::{Ended, Phase, Ran, SourcePhase, TargetPhase, Transfer};
use crate::here::Here;
use crate::host::NodeName;
use crate::node::record::Record;
use crate::node::standing::stands;
use crate::peer::inquiry::{look_there, settle_there};
use crate::transfer::leftover::clear;
use crate::transfer::settle::{self, AtSourceEnd};
use crate::wire::Connection;
use crate::wire::client::{Stands, Unanswered};

/// How long it may take.
const LIMIT: Duration = Duration::from_secs(120);
/// Limit of asking the other nodes where it stands with them, all at once.
const ASK_LIMIT: Duration = Duration::from_secs(40);

/// Settles the domain that `name` means at this node, or says what settling it would do. Where nothing is to
/// be done here, the other nodes are asked, too.
///
/// # Errors
/// If nothing can be decided, with the reason; if a transfer is under way, or broke off at another node; if a
/// node does not answer; if the record cannot be read; if nobody knows the name.
pub fn run(world: &Here, name: &str, dry_run: bool) -> anyhow::Result<()> {
    let domains = Domains::of(world);
    let domain = &domains.domain(name)?;
    match here(world, domain, dry_run)? {
        None => Ok(()),
        Some(stands) => elsewhere(world, (&domains, name), domain, &stands),
    }
}

fn say(label: &str, text: &str) -> std::io::Result<()> {
    write!(std::io::stdout(), "{}", paragraph(&format!("{label:<11} "), text, width()))
}

/// What the nodes have of a domain.
struct Heard<'a> {
    /// Of each other node, for people.
    lines: Vec<(String, String)>,
    /// Where it runs, this node included.
    runs: Vec<&'a NodeName>,
    /// The other nodes at which a transfer of it is open.
    open: Vec<&'a str>,
    /// Those that do not say.
    silent: Vec<&'a str>,
    /// Whether any has, or had, anything of it.
    heard_of: bool,
}

/// Asks the other nodes what they have of the domain, which is `presence` here.
fn hear<'a>(world: &Here, nodes: &'a Nodes, domain: &DomainName, presence: &Presence) -> Heard<'a> {
    let cluster = world.cluster();
    let deadline = Deadline::after(ASK_LIMIT);
    let ask = |node: &mut Connection| node.presence(domain, deadline);
    let answers = way(world).each(&nodes.others, deadline, ask);
    let mut heard =
        Heard { lines: Vec::new(), runs: Vec::new(), open: Vec::new(), silent: Vec::new(), heard_of: false };
    if matches!(presence, Presence::Running(_)) {
        heard.runs.push(&nodes.me);
    }
    for (node, answer) in nodes.others.iter().zip(answers) {
        let says = match answer {
            Ok(Stands { presence, phase, ended }) => {
                heard.heard_of |= presence != Presence::Absent || phase != Phase::Idle || ended.is_some();
                if matches!(presence, Presence::Running(_)) {
                    heard.runs.push(node);
                }
                if phase.is_in_transfer() {
                    heard.open.push(node.as_str());
                }
                PeerSays::Stands { presence, phase, ended }
            }
            Err(error @ (Unanswered::Refused { .. } | Unanswered::Other(_))) => {
                PeerSays::Silent(error.to_string())
            }
            Err(error) => match cluster.fenced_and_away(node, &nodes.me, "") {
                Some(at) => PeerSays::Fenced(at),
                None => PeerSays::Silent(error.to_string()),
            },
        };
        if let PeerSays::Silent(_) = &says {
            heard.silent.push(node.as_str());
        }
        heard.lines.push((format!("{node}:"), described(&says)));
    }
    heard
}

/// Asks the other nodes what they have of the domain, and concludes. `name` is what was typed.
fn elsewhere(
    world: &Here,
    (domains, name): (&Domains, &str),
    domain: &DomainName,
    (presence, phase): &(Presence, Phase),
) -> anyhow::Result<()> {
    let waits = waiting("asking the nodes");
    let nodes = Nodes::of(&world.root, world.cluster().as_ref());
    let mut heard = hear(world, &nodes, domain, presence);
    if heard.runs.len() > 1 {
        // What they say is not of one moment: it may have come from the one to the other meanwhile.
        let (presence, _) = stands(world, domain);
        heard = hear(world, &nodes, domain, &presence);
    }
    drop(waits);
    let is_heard_of = heard.heard_of || *presence != Presence::Absent || *phase != Phase::Idle;
    let all_answer = heard.silent.is_empty() && nodes.caveat.is_none();
    if !is_heard_of && all_answer && domains.find(name).is_none() {
        return Err(domains.unknown(name, []));
    }
    for (label, text) in &heard.lines {
        say(label, text)?;
    }
    if !heard.open.is_empty() {
        let nodes = heard.open.join(" and ");
        anyhow::bail!(
            "a transfer of {domain} is open at {nodes}: xen-handoff status --all shows whether it goes on; if not, \
             run this there: xen-handoff recover --dry-run {domain}"
        );
    }
    if let [one, other, ..] = heard.runs[..] {
        anyhow::bail!(
            "{domain} runs on {one} and on {other}, asked twice: find out which is the real one, and destroy the \
             other (xl destroy)"
        );
    }
    if !heard.silent.is_empty() {
        let nodes = heard.silent.join(" and ");
        anyhow::bail!(
            "nothing is to be done at the nodes that answer; what {nodes} has of {domain} is not known"
        );
    }
    if let Some(caveat) = nodes.caveat {
        anyhow::bail!("nothing is to be done at the nodes that were asked; {caveat}");
    }
    Ok(say("conclusion:", &format!("no transfer of {domain} broke off at any node; nothing to do"))?)
}

/// Settles `domain` at this node; `None` if something was to be done here, or else how it stands here.
fn here(world: &Here, domain: &DomainName, dry_run: bool) -> anyhow::Result<Option<(Presence, Phase)>> {
    if let Err(none) = world.toolstack().kind().movement().can_be_settled() {
        anyhow::bail!("{none}: what it leaves is settled with its own commands");
    }
    let record = world.store.load(domain)?;
    let (presence, phase) = stands(world, domain);
    say("here:", &format!("{presence}; record: {phase}"))?;
    let broken = Broken { world, domain, presence, phase, record, dry_run };
    if broken.is_a_leftover()? {
        return Ok(None);
    }
    if !broken.phase.is_in_transfer() {
        return Ok(Some((broken.presence, broken.phase)));
    }
    let Some(_lock) = world.store.begin_transfer(domain)? else {
        anyhow::bail!("a transfer of {domain} is under way at this node; it settles by itself when it ends");
    };
    match &broken.phase {
        Phase::Target(TargetPhase::Receiving { transfer } | TargetPhase::Arriving { transfer }) => {
            broken.at_target(transfer)?;
        }
        Phase::Source(SourcePhase::Sending { transfer, .. } | SourcePhase::Settling { transfer, .. }) => {
            broken.at_source(transfer)?;
        }
        phase => anyhow::bail!("the record says {phase}"),
    }
    Ok(None)
}

/// What is here of a domain, before anything is done about it.
struct Broken<'a> {
    world: &'a Here,
    domain: &'a DomainName,
    presence: Presence,
    phase: Phase,
    record: Record,
    dry_run: bool,
}

impl Broken<'_> {
    /// Destroys a copy that no record knows, if that is what is here.
    fn is_a_leftover(&self) -> anyhow::Result<bool> {
        let Self { world, domain, presence, phase, dry_run, .. } = self;
        let (store, toolstack) = (&world.store, world.toolstack());
        let (busy, received) = (|| store.is_transferring(domain), || toolstack.is_attended(domain));
        if NeverGiven::unrecorded(phase, presence, busy, received).is_none() {
            return Ok(false);
        }
        let incoming = domain.incoming();
        say(
            "conclusion:",
            &format!("no record knows {incoming}, nobody receives it, and it never ran: destroy it"),
        )?;
        if !dry_run && clear(store, toolstack.as_ref(), domain, (presence, phase))? {
            say("done:", &format!("{incoming} was destroyed"))?;
        }
        Ok(true)
    }

    /// A stream to here broke off.
    fn at_target(&self, transfer: &Transfer) -> anyhow::Result<()> {
        let Self { world, domain, presence, phase, dry_run, .. } = self;
        say("from:", transfer.source.as_str())?;
        let plan = match resolve::at_target(phase, presence) {
            AtTarget::Arrived => "it has arrived: put that on record".to_owned(),
            AtTarget::Nothing => "nothing has arrived: put that on record".to_owned(),
            AtTarget::DestroyIncoming(_) => {
                format!("it was never given to this node: destroy {}", domain.incoming())
            }
            AtTarget::Finish(_) => "it was given to this node: let the copy here run".to_owned(),
            AtTarget::Wait(why) => anyhow::bail!("nothing can be decided: {why}"),
        };
        say("conclusion:", &plan)?;
        if *dry_run {
            return Ok(());
        }
        let end = match settle::target(world, domain, Deadline::after(LIMIT))? {
            ReceiverEnd::Running => "it runs here",
            ReceiverEnd::Nothing => "nothing of it is here",
            ReceiverEnd::Undecided => {
                anyhow::bail!("not settled: neither end says where it runs; see xen-handoff status")
            }
        };
        Ok(say("done:", end)?)
    }

    /// A stream from here broke off.
    fn at_source(&self, transfer: &Transfer) -> anyhow::Result<()> {
        let Self { world, domain, presence, phase, record, dry_run } = self;
        let deadline = Deadline::after(LIMIT);
        let there = if *dry_run {
            look_there(world, &transfer.target, record, domain, deadline)
        } else {
            settle_there(world, &transfer.target, record, domain, deadline)
        };
        say(&format!("{}:", transfer.target), &described(&there))?;
        let plan = match resolve::at_source(phase, presence, Some(&there), UnixTime::now()) {
            AtSource::StillHere => "it runs here: put that on record".to_owned(),
            AtSource::Moved => format!("it runs on {}: put that on record", transfer.target),
            AtSource::Resume(_) => {
                "the copy here is the only one: give it its name back and resume it".to_owned()
            }
            AtSource::Destroy(_) => {
                format!(
                    "it has gone on at {}, or was lost with it: destroy the stale copy here",
                    transfer.target
                )
            }
            AtSource::AskTarget => anyhow::bail!("{} was not asked", transfer.target),
            AtSource::Wait(why) => anyhow::bail!("nothing can be decided: {why}; nothing was changed"),
        };
        say("conclusion:", &plan)?;
        if *dry_run {
            return Ok(());
        }
        let ask = |transfer: &Transfer| settle_there(world, &transfer.target, record, domain, deadline);
        let done = match settle::source(world, domain, deadline, &ask)? {
            AtSourceEnd::Undecided(why) => anyhow::bail!("not settled: {why}; nothing was changed"),
            AtSourceEnd::Moved => &format!("it runs on {}", transfer.target),
            AtSourceEnd::StillHere => "it runs here",
            AtSourceEnd::Gone => "it ended by itself, before it was given away",
        };
        Ok(say("done:", done)?)
    }
}

fn described(says: &PeerSays) -> String {
    match says {
        PeerSays::Stands { presence, phase, ended } => {
            let ran = match ended {
                Some(Ended { ran: Ran::Certainly, .. }) => "; the last copy that came there has run",
                Some(Ended { ran: Ran::Perhaps, .. }) => "; the last copy that came there may have run",
                Some(Ended { ran: Ran::Never, .. }) => "; the last copy that came there never ran",
                None => "",
            };
            format!("{presence}; record: {phase}{ran}")
        }
        PeerSays::Restarted { presence, phase } => {
            format!("{presence}; record: {phase}; the host has restarted since the transfer began")
        }
        PeerSays::Fenced(at) => format!("fenced at {}", at.rfc3339()),
        PeerSays::Silent(why) => format!("no answer: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::here::fake::{World, seen, x0};
    use crate::toolstack::Kind;
    use crate::toolstack::fake::Fake;

    #[test]
    fn what_a_toolstacks_own_migration_has_left_is_nothing_of_ours() {
        for kind in [Kind::Xm, Kind::Xe] {
            let world = World::of(Fake { kind: Some(kind), ..Fake::showing([Ok(seen::incoming())]) });
            world.is_receiving();
            let why = here(&world.here, &x0(), false).unwrap_err().to_string();
            assert!(why.contains(kind.name()) && why.ends_with("settled with its own commands"), "{why}");
            assert!(world.xl.calls.borrow().is_empty() && world.phase().is_in_transfer());
        }
    }
}
