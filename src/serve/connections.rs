//! How many connections a peer has here at once: who holds a node's key cannot fill this host with servers.
//!
//! A server holds a lock on one of so many small files, which lasts as long as its process: a crash leaks
//! none, and no process is looked for by its name.

use std::fs::File;
use std::path::Path;

use super::speaker::Speaker;
use crate::host::Root;
use crate::small_file;

/// Connections of one node. A node that gives up a hundred domains has two or three for each at its peer.
const OF_A_NODE: u32 = 256;
/// Connections of all nodes that come with the same key.
const OF_ALL: u32 = 1024;

/// One connection of a peer's, as long as this lasts.
#[derive(Debug)]
pub(super) struct Connection {
    /// Nothing where it could not be counted.
    _lock: Option<File>,
}

/// Counts a connection of `speaker`. Where that cannot be done (no room in /run), it is let in: what makes
/// this host short of something is not a reason to leave a peer without an answer.
///
/// # Errors
/// If it has as many as it may have.
pub(super) fn count(root: &Root, speaker: &Speaker) -> Result<Connection, String> {
    let most = if speaker.node().is_some() { OF_A_NODE } else { OF_ALL };
    count_at_most(root, speaker, most)
}

fn count_at_most(root: &Root, speaker: &Speaker, most: u32) -> Result<Connection, String> {
    let folder = root.state_folder().join("connections");
    let free = small_file::make_folder(&folder).and_then(|()| free_place(&folder, speaker, most));
    match free {
        Ok(Some(lock)) => Ok(Connection { _lock: Some(lock) }),
        Ok(None) => {
            let who = speaker.node().map_or("the key that nodes share", |node| node.as_str());
            Err(format!("{who} has {most} connections here at once, as many as it may have"))
        }
        Err(error) => {
            log::debug!("this connection is not counted: {}: {error}", folder.display());
            Ok(Connection { _lock: None })
        }
    }
}

/// The lock of a place that nobody has, if there is one.
fn free_place(folder: &Path, speaker: &Speaker, most: u32) -> std::io::Result<Option<File>> {
    let node = speaker.node().map_or("", |node| node.as_str());
    // Not all at the same place first.
    let begin = std::process::id() % most.max(1);
    for number in (begin..most).chain(0..begin) {
        let file = small_file::lock_file(&folder.join(format!("{node},{number}")))?;
        if small_file::try_lock(&file).is_ok() {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::NodeName;

    fn n(node: &str) -> Speaker {
        Speaker::of(Some(NodeName::new(node).unwrap()))
    }

    #[test]
    fn a_peer_has_so_many_connections_and_takes_none_of_another_one() {
        let root = tempfile::tempdir().unwrap();
        let root = Root::new(root.path());
        let mut held: Vec<Connection> = (0..3).map(|_| count_at_most(&root, &n("n1"), 3).unwrap()).collect();
        let why = count_at_most(&root, &n("n1"), 3).unwrap_err();
        assert_eq!(why, "n1 has 3 connections here at once, as many as it may have");
        assert!(count_at_most(&root, &n("n2"), 3).is_ok(), "another node's are its own");
        assert!(count_at_most(&root, &Speaker::Any, 3).is_ok(), "so are those of the shared key");
        held.pop();
        assert!(count_at_most(&root, &n("n1"), 3).is_ok(), "one that has gone makes room");
    }

    #[test]
    fn a_host_without_room_leaves_no_peer_without_an_answer() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        let state = root.state_folder();
        std::fs::create_dir_all(&state).unwrap();
        std::fs::write(state.join("connections"), "a file where the folder would be").unwrap();
        for _ in 0..5 {
            assert!(count_at_most(&root, &n("n1"), 3).is_ok());
        }
    }
}
