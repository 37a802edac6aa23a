//! journald's native protocol: one datagram an entry, with fields beside the words
//! (systemd.io, "Native Journal Protocol").

use std::io::{self, ErrorKind};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use crate::host::Root;

/// Where journald listens.
const SOCKET: &str = "/run/systemd/journal/socket";
/// A journald that takes nothing for so long does not get this line: the action goes on.
const LIMIT: Duration = Duration::from_millis(250);
/// A longer value is cut.
const MOST: usize = 16 * 1024;

/// The way to journald.
#[derive(Debug)]
pub(super) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Journal {
    /// `None` where there is no journald.
    pub(super) fn open(root: &Root) -> Option<Self> {
        let path = root.join(SOCKET);
        if !path.exists() {
            return None;
        }
        let socket = UnixDatagram::unbound().ok()?;
        socket.set_write_timeout(Some(LIMIT)).ok()?;
        Some(Self { socket, path })
    }

    /// Whether journald has taken this entry, or is there and too busy for it: then it is lost, and no other
    /// log is tried, since that would be journald as well.
    pub(super) fn takes(&self, fields: &[(&str, &str)]) -> bool {
        match self.send(fields) {
            Ok(()) => true,
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }

    /// By its path each time, so that a journald that was started anew gets it too.
    fn send(&self, fields: &[(&str, &str)]) -> io::Result<()> {
        self.socket.send_to(&entry(fields), &self.path).map(|_| ())
    }
}

/// An entry as journald reads it. A value with a line end in it comes with its length.
fn entry(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        let value = cut(value);
        bytes.extend_from_slice(name.as_bytes());
        if value.contains('\n') {
            bytes.push(b'\n');
            bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            bytes.push(b'=');
        }
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(b'\n');
    }
    bytes
}

/// As much of it as goes into an entry.
fn cut(value: &str) -> &str {
    let end = (0..=MOST.min(value.len())).rev().find(|at| value.is_char_boundary(*at)).unwrap_or_default();
    value.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_reaches_the_socket_whole_and_a_value_of_several_lines_comes_with_its_length() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        assert!(Journal::open(&root).is_none(), "nobody listens");
        let path = root.join(SOCKET);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let listens = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::open(&root).unwrap();
        assert!(journal.takes(&[
            ("MESSAGE", "a b"),
            ("XH_NODE", ""),
            ("XH_RESOURCE", "x\n0"),
            ("PRIORITY", "3")
        ]));
        let mut bytes = [0; 256];
        let size = listens.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..size], b"MESSAGE=a b\nXH_RESOURCE\n\x03\0\0\0\0\0\0\0x\n0\nPRIORITY=3\n");
    }

    #[test]
    fn a_value_that_is_too_long_is_cut_between_two_characters() {
        let long = format!("a{}", "ü".repeat(MOST));
        let bytes = entry(&[("MESSAGE", &long)]);
        assert!(std::str::from_utf8(&bytes).is_ok());
        assert_eq!(bytes.len(), "MESSAGE=\n".len() + MOST - 1);
    }

    #[test]
    fn a_journald_that_has_gone_does_not_take_it_and_one_that_is_busy_costs_a_moment() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        let path = root.join(SOCKET);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let listens = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::open(&root).unwrap();
        // Nobody reads: the queue of the socket fills up.
        let begin = std::time::Instant::now();
        let sent = (0..10_000).take_while(|_| journal.send(&[("MESSAGE", "a")]).is_ok()).count();
        assert!(sent < 10_000 && begin.elapsed() < Duration::from_secs(5), "{sent}");
        assert!(journal.takes(&[("MESSAGE", "lost")]));
        drop(listens);
        assert!(!journal.takes(&[("MESSAGE", "for syslog")]));
    }
}
