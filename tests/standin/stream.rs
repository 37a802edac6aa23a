//! The bytes of a migration: xl's fixed messages and header, and a stream body of our own.

use std::io::{Error, ErrorKind, Read, Result, Write};

/// The receiver's first words; the only fixed message without a closing NUL.
pub(crate) const BANNER: &[u8] = b"xl migration receiver ready, send binary domain data.\n";
/// The receiver has everything.
pub(crate) const READY: &[u8] = b"domain received, ready to unpause\0";
/// The sender's permission to unpause, and the receiver's to resume. The first is the point of no return.
pub(crate) const GO: &[u8] = b"domain is yours, you are cleared to unpause\0";
/// The receiver's report; one byte follows, 0 for success.
pub(crate) const REPORT: &[u8] = b"my copy unpause results are as follows\0";

const MAGIC: &[u8; 32] = b"Xen saved domain, xl format\n \0 \r";
const BYTE_ORDER: u32 = 0x0102_0304;
/// The configuration is JSON, the stream has version 2.
pub(crate) const MANDATORY: u32 = 3;

/// xl's save-file header and the domain's configuration, as the sender puts them before the stream.
pub(crate) fn write_header(to: &mut impl Write, config: &str) -> Result<u32> {
    let length = u32::try_from(config.len() + 1).map_err(|_| Error::from(ErrorKind::InvalidInput))?;
    let mut bytes = MAGIC.to_vec();
    for word in [BYTE_ORDER, MANDATORY, 0, length + 4, length] {
        bytes.extend(word.to_ne_bytes());
    }
    bytes.extend(config.as_bytes());
    bytes.push(0);
    to.write_all(&bytes)?;
    to.flush()?;
    Ok(length + 4)
}

/// The header's flags and the configuration.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) mandatory: u32,
    pub(crate) optional: u32,
    pub(crate) length: u32,
    pub(crate) config: String,
}

/// Reads what `write_header` wrote. `InvalidData` means: these are not xl's bytes.
pub(crate) fn read_header(from: &mut impl Read) -> Result<Header> {
    let mut magic = [0; 32];
    from.read_exact(&mut magic)?;
    if &magic != MAGIC {
        let says = "File has wrong magic number - corrupt or for a different tool?";
        return Err(Error::new(ErrorKind::InvalidData, says));
    }
    let [order, mandatory, optional, length] = [word(from)?, word(from)?, word(from)?, word(from)?];
    if order != BYTE_ORDER {
        return Err(Error::new(ErrorKind::InvalidData, "File has wrong byte order"));
    }
    let mut config = vec![0; length as usize];
    from.read_exact(&mut config)?;
    let config = String::from_utf8_lossy(config.get(4..).unwrap_or_default());
    Ok(Header { mandatory, optional, length, config: config.trim_end_matches('\0').to_owned() })
}

fn word(from: &mut impl Read) -> Result<u32> {
    let mut bytes = [0; 4];
    from.read_exact(&mut bytes)?;
    Ok(u32::from_ne_bytes(bytes))
}

/// One record of the body.
#[derive(Debug)]
pub(crate) enum Record {
    /// Some of the guest's memory.
    Pages(Vec<u8>),
    /// The guest itself, sent once it is suspended; the last record.
    Guest(Vec<u8>),
}

/// Writes one record.
pub(crate) fn write_record(to: &mut impl Write, record: &Record) -> Result<()> {
    let (kind, body) = match record {
        Record::Pages(body) => (1u8, body),
        Record::Guest(body) => (2u8, body),
    };
    let length = u32::try_from(body.len()).map_err(|_| Error::from(ErrorKind::InvalidInput))?;
    to.write_all(&[kind])?;
    to.write_all(&length.to_ne_bytes())?;
    to.write_all(body)?;
    to.flush()
}

/// Reads one record; the end of the stream is an error here, as for libxl.
pub(crate) fn read_record(from: &mut impl Read) -> Result<Record> {
    let mut kind = [0];
    from.read_exact(&mut kind)?;
    let mut body = vec![0; word(from)? as usize];
    from.read_exact(&mut body)?;
    match kind {
        [1] => Ok(Record::Pages(body)),
        [2] => Ok(Record::Guest(body)),
        _ => Err(Error::new(ErrorKind::InvalidData, "unknown record")),
    }
}

/// Reads a fixed message of xl's handshake; says on stderr what `xl` says when it is not there.
pub(crate) fn expect(from: &mut impl Read, message: &[u8], what: &str, rune: Option<&str>) -> bool {
    let stream = if rune.is_some() { "migration receiver stream" } else { "migration stream" };
    let mut bytes = vec![0; message.len()];
    if let Err(error) = from.read_exact(&mut bytes) {
        said_by_read_exactly(&error, stream, what);
        return false;
    }
    if bytes != message {
        eprintln!("{stream} contained unexpected data instead of {what}");
        if let Some(rune) = rune {
            eprintln!("(command run was: {rune} )");
        }
        return false;
    }
    true
}

/// libxl's words for a read that came too short.
pub(crate) fn said_by_read_exactly(error: &Error, stream: &str, what: &str) {
    if error.kind() == ErrorKind::UnexpectedEof {
        eprintln!(
            "libxl: error: libxl_utils.c:505:libxl_read_exactly: file/stream truncated reading {what} from {stream}"
        );
    } else {
        let why = crate::system::strerror(error);
        eprintln!(
            "libxl: error: libxl_utils.c:505:libxl_read_exactly: failed to read {what} from {stream}: {why}"
        );
    }
}

/// libxl's words for a write that failed.
pub(crate) fn said_by_write_exactly(error: &Error, stream: &str, what: &str) {
    let why = crate::system::strerror(error);
    eprintln!(
        "libxl: error: libxl_utils.c:505:libxl_write_exactly: failed to write {what} to {stream}: {why}"
    );
}

/// Something that does not look like zeros.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_ne_bytes()
    })
    .flatten()
    .take(length)
    .collect()
}
