//! A far end that is a thread with a pair of sockets, for unit tests of what asks another node.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::message::{Answer, Greeting, Request};
use super::{Connection, Dial, TransportError, read_line, understand, write_line};
use crate::address::Address;
use crate::clock::Deadline;
use crate::host::{NodeName, Root};

/// What a node answers; nothing where it hangs up.
type Says = Box<dyn FnMut(&Request) -> Option<Answer> + Send>;

/// The nodes that can be dialled; all others are out of reach.
#[derive(Default, Clone)]
pub struct Peers {
    nodes: Arc<Mutex<BTreeMap<NodeName, Arc<Mutex<Says>>>>>,
    /// What was asked, of whom, in order.
    asked: Arc<Mutex<Vec<(NodeName, Request)>>>,
    /// What their greeting is, where it is not ours.
    pub greeting: Option<Greeting>,
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Peers")
    }
}

impl Peers {
    /// `node` answers like this from now on.
    pub fn answer(&self, node: &str, says: impl FnMut(&Request) -> Option<Answer> + Send + 'static) {
        let says: Says = Box::new(says);
        self.nodes.lock().unwrap().insert(NodeName::new(node).unwrap(), Arc::new(Mutex::new(says)));
    }

    /// What was asked so far, as the verbs of the requests.
    pub fn asked(&self) -> Vec<Request> {
        self.asked.lock().unwrap().iter().map(|(_, request)| request.clone()).collect()
    }

    /// A connection to a far end that answers like this.
    pub fn connected(says: impl FnMut(&Request) -> Option<Answer> + Send + 'static) -> Connection {
        let peers = Self::default();
        peers.answer("n2", says);
        peers.dial(&Address::by_its_name(&NodeName::new("n2").unwrap()), soon()).unwrap()
    }
}

/// Long enough for a thread of this very process.
fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(30))
}

impl Dial for Peers {
    fn dial(&self, address: &Address, deadline: Deadline) -> Result<Connection, TransportError> {
        let node = address.node.clone();
        let Some(says) = self.nodes.lock().unwrap().get(&node).cloned() else {
            return Err(TransportError::Unreachable { node, what: "no such node".to_owned() });
        };
        let (ours, theirs) = UnixStream::pair().unwrap();
        let greeting = self.greeting.clone().unwrap_or_else(|| Greeting::ours(&Root::default()));
        let (asked, of) = (Arc::clone(&self.asked), node.clone());
        std::thread::spawn(move || {
            let theirs = OwnedFd::from(theirs);
            if write_line(&theirs, &greeting).is_err() {
                return;
            }
            let mut greeted = false;
            while let Ok(Some(line)) = read_line(&theirs, soon()) {
                if !std::mem::replace(&mut greeted, true) {
                    continue;
                }
                let request: Request = understand(&line).unwrap();
                asked.lock().unwrap().push((of.clone(), request.clone()));
                let answer = (says.lock().unwrap())(&request);
                let Some(answer) = answer else { return };
                // After that no more lines follow.
                if write_line(&theirs, &answer).is_err() || answer == Answer::Granted {
                    return;
                }
            }
        });
        let streams = [ours.try_clone().unwrap(), ours].map(OwnedFd::from);
        let [from, to] = streams;
        Connection::open(&Root::default(), node, from, to, None, deadline)
    }
}
