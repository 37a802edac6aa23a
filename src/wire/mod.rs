//! One connection to another node: over it one asks the other something, and a domain's stream gets across.
//!
//! A connection is a pair of byte streams to the far end's `xen-handoff serve`. Real ones are ssh sessions
//! ([`warm::Ssh`]); a test's are a pair of sockets.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Child;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};

use crate::address::Address;
use crate::clock::Deadline;
use crate::command::wait_ready;
use crate::foreign::Foreign;
use crate::host::{NodeName, Root};

pub mod authorized;
pub mod client;
#[cfg(test)]
pub mod fake;
pub mod message;
pub mod ssh;
pub mod warm;

use message::{Answer, Greeting, PROTOCOL, Request};

/// The longest line that is read, in bytes. Answers are a few hundred.
const LINE_LIMIT: usize = 64 * 1024;
/// The longest text in a line, in characters: names and paths are shorter, and a reason that is longer is
/// nobody's to read.
const LONGEST_TEXT: usize = 4096;
/// What ssh may print while it carries a connection, in bytes: a few lines, where all is well.
const WORDS_LIMIT: u64 = 1 << 20;
/// How much of it is repeated, in bytes: its end.
const LAST_WORDS: u64 = 2048;

/// Why a question got no answer.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The connection could not be made or broke.
    #[error("cannot reach {node}: {what}")]
    Unreachable {
        /// The far end.
        node: NodeName,
        /// ssh's words, or ours.
        what: String,
    },
    /// It is there, but does not speak our protocol.
    #[error("{node} answers in another way than expected: {what}")]
    Protocol {
        /// The far end.
        node: NodeName,
        /// What came.
        what: String,
    },
}

/// How another node is called. There is one real way, [`warm::Ssh`]; a test's far end is a thread with a pair
/// of sockets.
pub trait Dial: std::fmt::Debug + Send + Sync {
    /// Opens a connection to `address` by `deadline`, greetings exchanged.
    ///
    /// # Errors
    /// [`TransportError`].
    fn dial(&self, address: &Address, deadline: Deadline) -> Result<Connection, TransportError>;

    /// The same to ask something only: over what is open to that address already, where there is such a
    /// thing. No stream goes over it.
    ///
    /// # Errors
    /// [`TransportError`].
    fn ask(&self, address: &Address, deadline: Deadline) -> Result<Connection, TransportError> {
        self.dial(address, deadline)
    }
}

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    peer: NodeName,
    from_peer: OwnedFd,
    to_peer: OwnedFd,
    ssh: Option<Session>,
    greeting: Greeting,
}

/// The ssh process behind a connection. Killed when dropped, so that a question that was given up leaves
/// nothing.
#[derive(Debug)]
pub struct Session {
    child: Child,
    words: std::fs::File,
}

impl Session {
    /// The session of this process, whose stderr is `words`. A peer can have ssh print what it likes there;
    /// ssh is ended when that becomes more than [`WORDS_LIMIT`].
    fn new(child: Child, words: std::fs::File) -> Self {
        let limit = rustix::process::Rlimit { current: Some(WORDS_LIMIT), maximum: Some(WORDS_LIMIT) };
        let pid = rustix::process::Pid::from_child(&child);
        if let Err(errno) = rustix::process::prlimit(Some(pid), rustix::process::Resource::Fsize, limit) {
            log::debug!("what ssh prints has no limit: {errno}");
        }
        Self { child, words }
    }

    /// Its last words, once it has ended or is about to: the end of them, on one line.
    fn last_words(&mut self) -> String {
        use std::io::{Read, Seek, SeekFrom};
        let mut bytes = Vec::new();
        let end = self.words.seek(SeekFrom::End(0)).unwrap_or(0);
        let from = SeekFrom::Start(end.saturating_sub(LAST_WORDS));
        // What ssh said is a help, not a need.
        let _ = self.words.seek(from).and_then(|_| (&self.words).take(LAST_WORDS).read_to_end(&mut bytes));
        let text = String::from_utf8_lossy(&bytes);
        plain(&text.trim().lines().map(str::trim).collect::<Vec<_>>().join("; "))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It has ended already, or shall.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Connection {
    /// A connection over these streams. Greets, and reads the far end's greeting.
    ///
    /// # Errors
    /// [`TransportError`], with ssh's words where there are any.
    pub fn open(
        root: &Root,
        peer: NodeName,
        from_peer: OwnedFd,
        to_peer: OwnedFd,
        ssh: Option<Session>,
        deadline: Deadline,
    ) -> Result<Self, TransportError> {
        let ours = Greeting::ours(root);
        let mut connection = Self { peer, from_peer, to_peer, ssh, greeting: ours.clone() };
        connection.say(&ours)?;
        connection.greeting = connection.hear(deadline)?;
        let theirs = &connection.greeting;
        if theirs.protocol != PROTOCOL {
            return Err(TransportError::Protocol {
                node: connection.peer.clone(),
                what: format!(
                    "it speaks protocol {} (version {}), this node speaks {PROTOCOL}",
                    theirs.protocol, theirs.version
                ),
            });
        }
        Ok(connection)
    }

    /// The far end.
    pub fn peer(&self) -> &NodeName {
        &self.peer
    }

    /// Which build it is.
    pub fn peer_version(&self) -> &str {
        &self.greeting.version
    }

    /// Whether it knows this verb, one of those that came later.
    pub fn can(&self, verb: &str) -> bool {
        self.greeting.can(verb)
    }

    /// Which life of its host the far end is in, if it says so.
    pub fn peer_boot(&self) -> Option<&str> {
        self.greeting.boot.as_deref()
    }

    /// Asks one thing and waits for the answer.
    fn ask(&mut self, request: &Request, deadline: Deadline) -> Result<Answer, TransportError> {
        if let Some(verb) = request.later_verb().filter(|verb| !self.can(verb)) {
            let what = format!("xen-handoff {} there does not know {verb}", self.peer_version());
            return Err(TransportError::Protocol { node: self.peer.clone(), what });
        }
        self.say(request)?;
        self.hear(deadline)
    }

    /// The bare streams, for xl, and the session that must live as long as they do.
    fn into_streams(self) -> (OwnedFd, OwnedFd, Option<Session>) {
        (self.from_peer, self.to_peer, self.ssh)
    }

    fn say(&mut self, line: &impl serde::Serialize) -> Result<(), TransportError> {
        let written = write_line(&self.to_peer, line);
        written.map_err(|error| self.unreachable(&error.to_string()))
    }

    fn hear<T: serde::de::DeserializeOwned>(&mut self, deadline: Deadline) -> Result<T, TransportError> {
        let line = match read_line(&self.from_peer, deadline) {
            Ok(Some(line)) => line,
            Ok(None) => return Err(self.unreachable("the connection was closed")),
            Err(error) => return Err(self.unreachable(&error.to_string())),
        };
        understand(&line).map_err(|error| TransportError::Protocol {
            node: self.peer.clone(),
            what: format!("{:?} ({error})", line.chars().take(200).collect::<String>()),
        })
    }

    fn unreachable(&mut self, what: &str) -> TransportError {
        let said = self.ssh.as_mut().map(Session::last_words).unwrap_or_default();
        let what = if said.is_empty() { what.to_owned() } else { format!("{what}: {said}") };
        TransportError::Unreachable { node: self.peer.clone(), what }
    }
}

/// `text` without control characters: what comes from another node or a tool is shown to people, and must not
/// move their cursor.
pub(crate) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\t' => ' ',
            c if c.is_control() => '?',
            c => c,
        })
        .collect()
}

/// What a line of JSON from the far end says. Its texts have no control characters afterwards, and are not
/// longer than [`LONGEST_TEXT`].
///
/// # Errors
/// If it says something else.
pub(crate) fn understand<T: serde::de::DeserializeOwned>(line: &str) -> serde_json::Result<T> {
    fn clean(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::String(text)
                if text.len() > LONGEST_TEXT || text.chars().any(char::is_control) =>
            {
                *text = plain(&text.chars().take(LONGEST_TEXT).collect::<String>());
            }
            serde_json::Value::Array(items) => items.iter_mut().for_each(clean),
            serde_json::Value::Object(fields) => fields.values_mut().for_each(clean),
            _ => {}
        }
    }
    let mut value = serde_json::from_str(line)?;
    clean(&mut value);
    serde_json::from_value(value)
}

/// Writes one line of JSON.
///
/// # Errors
/// What the system says.
pub(crate) fn write_line(to: &OwnedFd, line: &impl serde::Serialize) -> std::io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    std::fs::File::from(to.try_clone()?).write_all(&text)
}

/// Reads one line, byte by byte, since what follows it may be xl's. `None` at the end of the stream.
///
/// # Errors
/// What the system says; a time-out; a line that is too long.
pub(crate) fn read_line(from: &OwnedFd, deadline: Deadline) -> std::io::Result<Option<String>> {
    let mut line = Vec::new();
    loop {
        let mut open = [PollFd::from_borrowed_fd(from.as_fd(), PollFlags::IN)];
        wait_ready(&mut open, deadline.left().min(Duration::from_secs(1)))?;
        if open[0].revents().is_empty() {
            if deadline.passed() {
                return Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer in time"));
            }
            continue;
        }
        let mut byte = [0];
        match rustix::io::read(from, &mut byte) {
            Ok(0) => return Ok(None),
            Ok(_) if byte[0] == b'\n' => return Ok(Some(String::from_utf8_lossy(&line).into_owned())),
            Ok(_) if line.len() >= LINE_LIMIT => return Err(std::io::Error::other("a line without end")),
            Ok(_) => line.push(byte[0]),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// What is read here of others, for `make fuzz`.
pub const FOREIGN: &[Foreign] = &[
    Foreign {
        name: "a line of another node's",
        read: |line| {
            drop(understand::<Greeting>(line));
            drop(understand::<Request>(line));
            drop(understand::<Answer>(line));
        },
    },
    Foreign { name: "a line of another node's, as it is", read: |text| drop(plain(text)) },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_node_says_cannot_move_the_cursor_of_who_reads_it() {
        let line = r#"{"answer":"refused","reason":"\u001b[2Jgone\u0007\nreally","stands":null}"#;
        let Answer::Refused { reason, .. } = understand(line).unwrap() else { panic!("another answer") };
        assert_eq!(reason, "?[2Jgone? really");
        assert!(understand::<Answer>("{\"answer\":\"refused\"}").is_err());
        let long = format!(r#"{{"answer":"refused","reason":"{}","stands":null}}"#, "ß".repeat(20_000));
        let Answer::Refused { reason, .. } = understand(&long).unwrap() else { panic!("another answer") };
        assert_eq!(reason.chars().count(), LONGEST_TEXT);
    }

    #[test]
    fn of_what_ssh_prints_only_the_end_is_repeated() {
        let mut words = tempfile::tempfile().unwrap();
        words.write_all(&b"flood \x1b[2J\n".repeat(10_000)).unwrap();
        words.write_all(b"Permission denied (publickey).\n").unwrap();
        let forking = crate::small_file::FORKING.read();
        #[allow(clippy::disallowed_methods, reason = "a child that does nothing, as ssh's place")]
        let child = std::process::Command::new("true").spawn().unwrap();
        drop(forking);
        let mut session = Session::new(child, words);
        let said = session.last_words();
        assert!(said.ends_with("Permission denied (publickey)."), "{said}");
        assert!(said.len() <= 4096 && !said.contains('\x1b'), "{} bytes", said.len());
    }
}
