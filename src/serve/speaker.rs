//! Who is at the other end of a connection, as far as sshd has found out, and what it may say.
//!
//! Root's `authorized_keys` has a line a node: whoever comes with that node's key is served as `serve --peer
//! NODE` and speaks for that node alone. Whoever comes with a pair that is the same on every node speaks for
//! each of them.

use crate::handoff::ledger::from_text;
use crate::host::NodeName;
use crate::wire::message::Request;

/// The other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Speaker {
    /// Some node of the cluster, or who has a key of one.
    Any,
    /// This one.
    Node(NodeName),
}

impl Speaker {
    /// Of what stands in the line of `authorized_keys`.
    pub fn of(peer: Option<NodeName>) -> Self {
        peer.map_or(Self::Any, Self::Node)
    }

    /// The node that it is; `None` where each one can be.
    pub fn node(&self) -> Option<&NodeName> {
        match self {
            Self::Any => None,
            Self::Node(node) => Some(node),
        }
    }

    /// Whether it may ask this: what is asked in a node's name, that node asks itself. What only reads has no
    /// name in it.
    ///
    /// # Errors
    /// In whose name it speaks, and who it is.
    pub fn may_ask(&self, request: &Request) -> Result<(), String> {
        let Self::Node(caller) = self else { return Ok(()) };
        let named = match request {
            Request::Claim { transfer, back, .. } => vec![transfer.target.clone(), back.node.clone()],
            Request::Yield { transfer, .. } => vec![transfer.target.clone()],
            Request::Receive { transfer, .. } => vec![transfer.source.clone()],
            // One that cannot be read is refused as such.
            Request::Note { domain, line } => {
                from_text(domain, line).map(|entry| entry.source().clone()).into_iter().collect()
            }
            // An entry is forgotten by whoever has seen its end, at either end or between; to lack one makes
            // nobody believe less. The push that `prepare` is for is looked up where its source stands: in
            // this node's ledger.
            Request::Forget { .. } | Request::Prepare { .. } | Request::Slot { .. } => Vec::new(),
            // To dial for somebody else, as `check` and `reach --all` ask, gives him nothing but the answer.
            Request::Reach { .. }
            | Request::Presence { .. }
            | Request::Resolve { .. }
            | Request::Ledger { .. }
            | Request::Preflight { .. }
            | Request::LastRun { .. }
            | Request::Status
            | Request::Outlook { .. }
            | Request::Moves { .. }
            | Request::Setup
            | Request::Xendomains
            | Request::Look { .. }
            | Request::Trial { .. } => Vec::new(),
        };
        match named.into_iter().find(|named| named != caller) {
            Some(named) => Err(format!("{caller} speaks for {named} here, and may speak for itself alone")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speaker(name: &str) -> Speaker {
        Speaker::of(Some(NodeName::new(name).unwrap()))
    }

    fn request(json: &str) -> Request {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_node_claims_yields_and_sends_in_its_own_name_alone() {
        let transfer = r#"{"epoch":7,"source":"n1","target":"n2"}"#;
        let back = |node: &str| {
            format!(r#"{{"node":"{node}","host":"{node}","user":"root","port":22,"connect_seconds":5}}"#)
        };
        let claim = |node: &str| {
            request(&format!(
                r#"{{"verb":"claim","domain":"x0","transfer":{transfer},"back":{},"ended":null,"limit":60,"terms":{{}}}}"#,
                back(node)
            ))
        };
        assert_eq!(speaker("n2").may_ask(&claim("n2")), Ok(()));
        assert_eq!(Speaker::Any.may_ask(&claim("n3")), Ok(()), "a pair for all speaks for each");
        let error = speaker("n3").may_ask(&claim("n2")).unwrap_err();
        assert_eq!(error, "n3 speaks for n2 here, and may speak for itself alone");
        assert!(speaker("n2").may_ask(&claim("n3")).is_err(), "the way back is another's");
        let give_up = request(&format!(
            r#"{{"verb":"yield","domain":"x0","transfer":{transfer},"reason":"no room","limit":60}}"#
        ));
        assert!(speaker("n2").may_ask(&give_up).is_ok() && speaker("n3").may_ask(&give_up).is_err());
        let send = request(&format!(
            r#"{{"verb":"receive","domain":"x0","transfer":{transfer},"limit":60,"compression":"none"}}"#
        ));
        assert!(speaker("n1").may_ask(&send).is_ok() && speaker("n2").may_ask(&send).is_err());
    }

    #[test]
    fn a_node_notes_its_own_offers_alone() {
        let note = request(
            r#"{"verb":"note","domain":"x0","line":"v=1;source=n1;epoch=7;made=1700000000;deadline=1700000300"}"#,
        );
        assert!(speaker("n1").may_ask(&note).is_ok() && speaker("n2").may_ask(&note).is_err());
    }

    #[test]
    fn what_has_no_name_in_it_each_node_may_ask() {
        for line in [
            r#"{"verb":"presence","domain":"x0"}"#,
            r#"{"verb":"status"}"#,
            r#"{"verb":"forget","domain":"x0","epoch":7}"#,
        ] {
            assert_eq!(speaker("n9").may_ask(&request(line)), Ok(()), "{line}");
        }
    }
}
