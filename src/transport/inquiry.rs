//! What is asked of a transfer's other end by more than one of us (an action, a worker, the far end of a connection, the
//! keeper of an offer, an operator): to settle what broke off, and to read an entry of the ledger back.

use std::time::Duration;

use super::message::{Address, Answer, Request};
use super::{Connection, ssh};
use crate::clock::{Clock, Deadline, SystemClock};
use crate::cluster::detect;
use crate::domain::DomainName;
use crate::handoff::evidence::{PeerSays, Recorded};
use crate::handoff::ledger::Entry;
use crate::handoff::record::Record;
use crate::host::{NodeName, Root};

/// How long a node may take to see an entry in its ledger.
const READ_BACK_LIMIT: Duration = Duration::from_secs(10);
/// The far end settles its own part first, which may take it some listings.
const ANSWER_LIMIT: Duration = Duration::from_secs(40);

/// Has the far end read `entry` back to us from its own ledger: what it can read there, it will still find when we have gone.
///
/// # Errors
/// What it said instead.
pub fn read_back(connection: &mut Connection, entry: &Entry, deadline: Deadline) -> Result<Recorded, String> {
    let deadline = deadline.within(READ_BACK_LIMIT);
    let request = Request::Ledger { domain: entry.domain().clone() };
    SystemClock
        .wait_until(deadline, Duration::from_millis(100), || match connection.ask(&request, deadline) {
            Ok(Answer::Ledger { entries }) => Recorded::observe(entry, &entries).map(Ok),
            Ok(other) => Some(Err(format!("the target answers {other:?}"))),
            Err(error) => Some(Err(error.to_string())),
        })
        .unwrap_or_else(|| Err("the target's ledger does not show it".to_owned()))
}

/// Where `node` is reached if nothing else is known: by its name, as root, at ssh's port.
pub(crate) fn by_its_name(node: &NodeName) -> Address {
    Address { node: node.clone(), host: node.clone(), user: "root".to_owned(), port: 22, connect_seconds: 5 }
}

/// Has `node` settle its end of a broken transfer of `domain`, and gives its word; or that it was fenced; or why there is
/// no word. `record` is this node's, and says where the other end is reached and which life of its host it was in.
pub fn settle_there(
    root: &Root,
    node: &NodeName,
    record: &Record,
    domain: &DomainName,
    deadline: Deadline,
) -> PeerSays {
    ask_there(root, node, record, deadline, &Request::Resolve { domain: domain.clone() })
}

/// The same without changing anything there.
pub fn look_there(
    root: &Root,
    node: &NodeName,
    record: &Record,
    domain: &DomainName,
    deadline: Deadline,
) -> PeerSays {
    ask_there(root, node, record, deadline, &Request::Presence { domain: domain.clone() })
}

fn ask_there(
    root: &Root,
    node: &NodeName,
    record: &Record,
    deadline: Deadline,
    request: &Request,
) -> PeerSays {
    let address = record.peer.clone().unwrap_or_else(|| by_its_name(node));
    let deadline = deadline.within(ANSWER_LIMIT);
    let answer = ssh::dial(root, &address, deadline).and_then(|mut connection| {
        let answer = connection.ask(request, deadline)?;
        Ok((answer, record.peer_has_restarted(connection.peer_boot())))
    });
    let silence = match answer {
        Ok((Answer::Stands { presence, phase, .. }, true)) => return PeerSays::Restarted { presence, phase },
        Ok((Answer::Stands { presence, phase, ended }, false)) => {
            return PeerSays::Stands { presence, phase, ended };
        }
        Ok((other, _)) => format!("{node} answers {other:?}"),
        Err(error) => error.to_string(),
    };
    let fenced = detect(root).peers(&NodeName::of_this_host(), "").ok().and_then(|peers| {
        peers.into_iter().find(|peer| peer.node == *node && !peer.online).and_then(|peer| peer.fenced_at)
    });
    fenced.map_or(PeerSays::Silent(silence), PeerSays::Fenced)
}
