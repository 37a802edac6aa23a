//! `xen-handoff recover`: what start, stop and the keeper do by themselves with a transfer that broke off, by hand and
//! with an explanation: both ends, what follows from them, what is done about it.

use std::io::Write;
use std::time::Duration;

use crate::clock::{Deadline, UnixTime};
use crate::domain::DomainName;
use crate::handoff::evidence::PeerSays;
use crate::handoff::record::Store;
use crate::handoff::resolve::{self, AtSource, AtTarget};
use crate::handoff::{Ended, Phase, Ran, Transfer};
use crate::host::Root;
use crate::toolstack;
use crate::transfer::leftover::{clear, is_leftover};
use crate::transfer::settle::{self, AtSourceEnd};
use crate::transport::forced_command::stands;
use crate::transport::inquiry::{look_there, settle_there};

/// How long it may take.
const LIMIT: Duration = Duration::from_secs(120);

/// Settles `domain` at this node, or says what settling it would do.
///
/// # Errors
/// If nothing can be decided, with the reason; if a transfer is under way; if the record cannot be read.
pub fn run(root: &Root, domain: &DomainName, dry_run: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    let kind = toolstack::kind_of(root);
    anyhow::ensure!(kind.streams(), "{}: what it leaves is settled with its own commands", kind.no_stream());
    let store = Store::new(root.state_folder());
    let record = store.load(domain)?;
    let (presence, phase) = stands(root, domain);
    writeln!(out, "here:       {presence}; record: {phase}")?;
    let toolstack = toolstack::of(root);
    let (busy, received) = (|| store.is_transferring(domain), || toolstack.is_attended(domain));
    if is_leftover(&presence, &phase, busy, received) {
        let incoming = domain.incoming();
        writeln!(
            out,
            "conclusion: no record knows {incoming}, nobody receives it, and it never ran: destroy it"
        )?;
        if !dry_run && clear(&store, toolstack.as_ref(), domain, (&presence, &phase))? {
            writeln!(out, "done:       {incoming} was destroyed")?;
        }
        return Ok(());
    }
    if !phase.is_in_transfer() {
        writeln!(out, "conclusion: no transfer of {domain} broke off at this node; nothing to do")?;
        return Ok(());
    }
    let Some(_lock) = store.begin_transfer(domain)? else {
        anyhow::bail!("a transfer of {domain} is under way at this node; it settles by itself when it ends");
    };
    if let Phase::Receiving { transfer } | Phase::Arriving { transfer } = &phase {
        writeln!(out, "from:       {}", transfer.source)?;
        let plan = match resolve::at_target(&phase, &presence) {
            AtTarget::Arrived => "it has arrived: put that on record".to_owned(),
            AtTarget::Nothing => "nothing has arrived: put that on record".to_owned(),
            AtTarget::DestroyIncoming => {
                format!("it was never given to this node: destroy {}", domain.incoming())
            }
            AtTarget::Finish(_) => "it was given to this node: let the copy here run".to_owned(),
            AtTarget::Wait(why) => anyhow::bail!("nothing can be decided: {why}"),
        };
        writeln!(out, "conclusion: {plan}")?;
        if dry_run {
            return Ok(());
        }
        let end = settle::target(root, &store, domain, Deadline::after(LIMIT))?;
        return Ok(writeln!(out, "done:       {end:?}")?);
    }
    let transfer = match &phase {
        Phase::Sending { transfer, .. } | Phase::Settling { transfer, .. } => transfer,
        _ => anyhow::bail!("the record says {phase}"),
    };
    let deadline = Deadline::after(LIMIT);
    let there = if dry_run {
        look_there(root, &transfer.target, &record, domain, deadline)
    } else {
        settle_there(root, &transfer.target, &record, domain, deadline)
    };
    writeln!(out, "{:<11} {}", format!("{}:", transfer.target), described(&there))?;
    let plan = match resolve::at_source(&phase, &presence, Some(&there), UnixTime::now()) {
        AtSource::StillHere => "it runs here: put that on record".to_owned(),
        AtSource::Moved => format!("it runs on {}: put that on record", transfer.target),
        AtSource::Resume(_) => {
            "the copy here is the only one: give it its name back and resume it".to_owned()
        }
        AtSource::Destroy(_) => {
            format!("it has gone on at {}, or was lost with it: destroy the stale copy here", transfer.target)
        }
        AtSource::AskTarget => anyhow::bail!("{} was not asked", transfer.target),
        AtSource::Wait(why) => anyhow::bail!("nothing can be decided: {why}; nothing was changed"),
    };
    writeln!(out, "conclusion: {plan}")?;
    if dry_run {
        return Ok(());
    }
    let ask = |transfer: &Transfer| settle_there(root, &transfer.target, &record, domain, deadline);
    match settle::source(root, &store, domain, deadline, &ask)? {
        AtSourceEnd::Undecided(why) => anyhow::bail!("not settled: {why}; nothing was changed"),
        end => Ok(writeln!(out, "done:       {end:?}")?),
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
        PeerSays::Fenced(at) => format!("fenced at {at} (seconds since 1970)"),
        PeerSays::Silent(why) => format!("no answer: {why}"),
    }
}
