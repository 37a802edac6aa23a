//! Asking a transfer's other end to settle, by whoever finds it broken: an action, the far end of a connection, the keeper
//! of an offer, an operator.

use std::time::Duration;

use super::message::{Address, Answer, Request};
use super::ssh;
use crate::clock::Deadline;
use crate::cluster::detect;
use crate::domain::DomainName;
use crate::handoff::evidence::PeerSays;
use crate::host::{NodeName, Root};

/// The far end settles its own part first, which may take it some listings.
const ANSWER_LIMIT: Duration = Duration::from_secs(40);

/// Where `node` is reached if nothing else is known: by its name, as root, at ssh's port.
fn by_its_name(node: &NodeName) -> Address {
    Address { node: node.clone(), host: node.clone(), user: "root".to_owned(), port: 22, connect_seconds: 5 }
}

/// Has `node` settle its end of a broken transfer of `domain`, and gives its word; or that it was fenced; or why there is
/// no word.
pub fn settle_there(
    root: &Root,
    node: &NodeName,
    address: Option<&Address>,
    domain: &DomainName,
) -> PeerSays {
    ask_there(root, node, address, &Request::Resolve { domain: domain.clone() })
}

/// The same without changing anything there.
pub fn look_there(root: &Root, node: &NodeName, address: Option<&Address>, domain: &DomainName) -> PeerSays {
    ask_there(root, node, address, &Request::Presence { domain: domain.clone() })
}

fn ask_there(root: &Root, node: &NodeName, address: Option<&Address>, request: &Request) -> PeerSays {
    let address = address.cloned().unwrap_or_else(|| by_its_name(node));
    let deadline = Deadline::after(ANSWER_LIMIT);
    let answer =
        ssh::dial(root, &address, deadline).and_then(|mut connection| connection.ask(request, deadline));
    let silence = match answer {
        Ok(Answer::Stands { presence, phase }) => return PeerSays::Stands { presence, phase },
        Ok(other) => format!("{node} answers {other:?}"),
        Err(error) => error.to_string(),
    };
    let fenced = detect(root).peers(&NodeName::of_this_host()).ok().and_then(|peers| {
        peers.into_iter().find(|peer| peer.node == *node && !peer.online).and_then(|peer| peer.fenced_at)
    });
    fenced.map_or(PeerSays::Silent(silence), PeerSays::Fenced)
}
