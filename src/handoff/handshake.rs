//! The fixed messages of xl's migration handshake (`tools/xl/xl.h`, unchanged from Xen 4.1 to 4.20), and a
//! reader that finds them in the receiver's side of the stream.
//!
//! The receiver says: banner, *ready*, report and one byte (0: it runs), and, if that byte is not 0, GO back
//! to the sender. The sender says: the stream, and, after *ready*, GO. All but the banner end in a NUL.

use std::fmt;

/// The receiver's first words.
pub const BANNER: &[u8] = b"xl migration receiver ready, send binary domain data.\n";
/// The receiver has all of the domain.
pub const READY: &[u8] = b"domain received, ready to unpause\0";
/// The sender gives the domain away (and the receiver, after a failure, gives it back).
pub const GO: &[u8] = b"domain is yours, you are cleared to unpause\0";
/// The receiver's result follows, as one byte.
pub const REPORT: &[u8] = b"my copy unpause results are as follows\0";

/// How far the receiver's side has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The receiver has not shown its banner yet.
    Opening,
    /// The domain's memory is on its way.
    Stream,
    /// The receiver has said *ready*; the sender answers with GO.
    Ready,
    /// The receiver has reported its result.
    Reported,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Opening => "opening",
            Self::Stream => "stream",
            Self::Ready => "ready",
            Self::Reported => "reported",
        })
    }
}

/// Reads the receiver's side as it passes. What comes before *ready* and is neither (nothing, for a plain
/// migration) is let through unread.
#[derive(Debug)]
pub struct Reader {
    stage: Stage,
    seen: Vec<u8>,
}

impl Default for Reader {
    fn default() -> Self {
        Self { stage: Stage::Opening, seen: Vec::new() }
    }
}

impl Reader {
    /// Where the stream stands.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Takes the next bytes, which may be part of a message. True if they contain the end of *ready*: they
    /// must not be passed on before that has been put on record.
    pub fn take(&mut self, bytes: &[u8]) -> bool {
        let before = self.stage;
        self.seen.extend_from_slice(bytes);
        loop {
            let (message, next) = match self.stage {
                Stage::Opening => (BANNER, Stage::Stream),
                Stage::Stream => (READY, Stage::Ready),
                Stage::Ready => (REPORT, Stage::Reported),
                Stage::Reported => break,
            };
            let Some(at) = self.seen.windows(message.len()).position(|window| window == message) else {
                break;
            };
            self.seen.drain(..at + message.len());
            self.stage = next;
        }
        // Enough of the end to complete any message with the bytes to come.
        let keep = self.seen.len().min(BANNER.len());
        self.seen.drain(..self.seen.len() - keep);
        before < Stage::Ready && self.stage >= Stage::Ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_found_however_the_bytes_are_cut() {
        let all = [BANNER, READY, REPORT, b"\0"].concat();
        for cut in 1..all.len() {
            let mut reader = Reader::default();
            let mut ready_seen = 0;
            for part in all.chunks(cut) {
                ready_seen += usize::from(reader.take(part));
            }
            assert_eq!((reader.stage(), ready_seen), (Stage::Reported, 1), "cut every {cut} bytes");
        }
    }

    #[test]
    fn ready_is_told_at_its_last_byte_and_not_before() {
        let mut reader = Reader::default();
        reader.take(BANNER);
        assert!(!reader.take(&READY[..READY.len() - 1]));
        assert!(reader.take(&READY[READY.len() - 1..]));
    }
}
