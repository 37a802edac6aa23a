//! Reading xenstore over its socket (`docs/misc/xenstore.txt`, `xen/io/xs_wire.h`).
//!
//! A message is a header of four words (type, our number for it, transaction, length) and as many bytes.
//! Several questions are sent at once, and answered in their order.

use std::io::{Error, Read, Result, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use crate::clock::Deadline;
use crate::host::Root;

/// The second one is where it was before `/run`.
const SOCKETS: [&str; 2] = ["/run/xenstored/socket", "/var/run/xenstored/socket"];

const DIRECTORY: u32 = 1;
const READ: u32 = 2;
const ERROR: u32 = 16;
/// No message is longer (`XENSTORE_PAYLOAD_MAX`).
const LONGEST: usize = 4096;

/// A connection to xenstored.
#[derive(Debug)]
pub(super) struct Store {
    stream: UnixStream,
    patience: Duration,
}

fn odd(what: impl Into<String>) -> Error {
    Error::other(what.into())
}

impl Store {
    /// Connects. A daemon that is too busy to take the connection is one that cannot be asked.
    pub(super) fn open(root: &Root, patience: Duration) -> Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        let path = SOCKETS.map(|path| root.join(path)).into_iter().find(|path| path.exists());
        connect(&socket, &SocketAddrUnix::new(path.ok_or_else(|| odd("xenstored has no socket"))?)?)?;
        let stream = UnixStream::from(socket);
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        Ok(Self { stream, patience })
    }

    /// The names below `path`.
    pub(super) fn children(&mut self, path: &str) -> Result<Vec<String>> {
        let list = self.ask(DIRECTORY, &[path.to_owned()])?.pop().unwrap_or_default();
        Ok(list.split_terminator('\0').map(str::to_owned).collect())
    }

    /// The values of `paths`, all of them.
    pub(super) fn read(&mut self, paths: &[String]) -> Result<Vec<String>> {
        self.ask(READ, paths)
    }

    fn ask(&mut self, kind: u32, paths: &[String]) -> Result<Vec<String>> {
        let deadline = Deadline::after(self.patience);
        let mut questions = Vec::new();
        for (number, path) in (0_u32..).zip(paths) {
            let length = u32::try_from(path.len() + 1).map_err(Error::other)?;
            questions.extend([kind, number, 0, length].iter().flat_map(|word| word.to_ne_bytes()));
            questions.extend_from_slice(path.as_bytes());
            questions.push(0);
        }
        self.stream.write_all(&questions)?;
        (0..).zip(paths).map(|(number, path)| self.answer(kind, number, path, deadline)).collect()
    }

    fn answer(&mut self, kind: u32, number: u32, path: &str, deadline: Deadline) -> Result<String> {
        if deadline.passed() {
            return Err(odd("xenstored did not answer in time"));
        }
        let mut header = [[0_u8; 4]; 4];
        let said = |error| odd(format!("xenstored does not answer: {error}"));
        self.stream.read_exact(header.as_flattened_mut()).map_err(said)?;
        let [answered, echoed, _, length] = header.map(u32::from_ne_bytes);
        let length = usize::try_from(length).map_err(Error::other)?;
        if length > LONGEST {
            return Err(odd("a message of xenstored's that is too long"));
        }
        let mut value = vec![0; length];
        self.stream.read_exact(&mut value).map_err(said)?;
        let value = String::from_utf8(value).map_err(Error::other)?;
        match answered {
            ERROR => Err(odd(format!("{path}: {}", value.trim_end_matches('\0')))),
            _ if answered == kind && echoed == number => Ok(value),
            _ => Err(odd(format!("{path}: an answer to something else"))),
        }
    }
}

/// Reads `text` as what xenstored answers, for `make fuzz`.
pub(super) fn read_all(text: &str) {
    for directory in [true, false] {
        let Ok((stream, mut far)) = UnixStream::pair() else { return };
        let mut store = Store { stream, patience: Duration::from_secs(1) };
        // A pair of sockets holds some 200 KiB; what does not fit is not written.
        let _ = far.set_nonblocking(true).and_then(|()| far.write_all(text.as_bytes()));
        let _ = far.shutdown(std::net::Shutdown::Write);
        if directory {
            let _ = store.children("/local/domain");
        } else {
            let _ = store.read(&["/local/domain/1/name".to_owned(), "/vm".to_owned()]);
        }
    }
}
