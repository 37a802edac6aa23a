//! What is asked of a transfer's other end by more than one of us (an action, a worker, the far end of a
//! connection, the keeper of an offer, an operator): to settle what broke off, and to read an entry of the
//! ledger back.

use std::time::Duration;

use crate::address::Address;
use crate::clock::{Clock, Deadline, SystemClock};
use crate::domain::DomainName;
use crate::handoff::evidence::{PeerSays, Recorded};
use crate::handoff::ledger::{Entries, Entry, Ledger};
use crate::here::Here;
use crate::host::NodeName;
use crate::node::record::Record;
use crate::wire::Connection;
use crate::wire::client::{Stands, Unanswered};

/// How long a node may take to see an entry in its ledger.
const READ_BACK_LIMIT: Duration = Duration::from_secs(10);
/// How often it is looked for.
const READ_AGAIN: Duration = Duration::from_millis(100);
/// The far end settles its own part first, which may take it some listings.
const ANSWER_LIMIT: Duration = Duration::from_secs(40);

/// Has the far end read `entry` back to us from its own ledger: what it can read there, it will still find
/// when we have gone.
///
/// # Errors
/// What it said instead.
pub fn read_back(connection: &mut Connection, entry: &Entry, deadline: Deadline) -> Result<Recorded, String> {
    let deadline = deadline.within(READ_BACK_LIMIT);
    wait_for(entry, deadline, || {
        connection.ledger(entry.domain(), deadline).map_err(|error| error.said("the target answers"))
    })
    .map_err(|why| why.unwrap_or_else(|| "the target's ledger does not show it".to_owned()))
}

/// The same on this very node: where the start will be here, it is the survivor that reads it.
///
/// # Errors
/// Why it cannot be read; or that it is not there.
pub fn read_here(ledger: &dyn Ledger, entry: &Entry, deadline: Deadline) -> Result<Recorded, String> {
    let look = || ledger.entries(entry.domain()).map_err(|why| why.to_string());
    wait_for(entry, deadline.within(READ_BACK_LIMIT), look)
        .map_err(|why| why.unwrap_or_else(|| "this node's ledger does not show it".to_owned()))
}

/// Reads until the entry is there or reading fails, with why; `None` if it never showed.
fn wait_for(
    entry: &Entry,
    deadline: Deadline,
    mut read: impl FnMut() -> Result<Entries, String>,
) -> Result<Recorded, Option<String>> {
    SystemClock
        .wait_until(deadline, READ_AGAIN, || match read() {
            Ok(entries) => Recorded::observe(entry, &entries).map(Ok),
            Err(why) => Some(Err(Some(why))),
        })
        .unwrap_or(Err(None))
}

/// Has `node` settle its end of a broken transfer of `domain`, and gives its word; or that it was fenced; or
/// why there is no word. `record` is this node's, and says where the other end is reached and which life of
/// its host it was in.
pub fn settle_there(
    here: &Here,
    node: &NodeName,
    record: &Record,
    domain: &DomainName,
    deadline: Deadline,
) -> PeerSays {
    ask_there(here, node, record, deadline, |connection, deadline| connection.resolve(domain, deadline))
}

/// The same without changing anything there.
pub fn look_there(
    here: &Here,
    node: &NodeName,
    record: &Record,
    domain: &DomainName,
    deadline: Deadline,
) -> PeerSays {
    ask_there(here, node, record, deadline, |connection, deadline| connection.presence(domain, deadline))
}

fn ask_there(
    here: &Here,
    node: &NodeName,
    record: &Record,
    deadline: Deadline,
    ask: impl Fn(&mut Connection, Deadline) -> Result<Stands, Unanswered>,
) -> PeerSays {
    let address = record.peer.clone().unwrap_or_else(|| Address::by_its_name(node));
    let deadline = deadline.within(ANSWER_LIMIT);
    let answer = here.dial().dial(&address, deadline).map_err(Unanswered::from).and_then(|mut connection| {
        let stands = ask(&mut connection, deadline)?;
        Ok((stands, record.peer_has_restarted(connection.peer_boot())))
    });
    let silence = match answer {
        Ok((Stands { presence, phase, .. }, true)) => return PeerSays::Restarted { presence, phase },
        Ok((stands, false)) => return stands.into(),
        Err(error) => error.by(node),
    };
    let fenced = here.cluster().fenced_and_away(node, &NodeName::of_this_host(), "");
    fenced.map_or(PeerSays::Silent(silence), PeerSays::Fenced)
}
