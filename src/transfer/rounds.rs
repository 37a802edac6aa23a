//! Which round of precopy a stream is in, from its own framing.
//!
//! xl's stream is a header and a configuration, then libxl's records
//! (`docs/specs/libxl-migration-stream.pandoc` of Xen); one of them holds libxc's
//! (`libxc-migration-stream.pandoc`), whose PAGE_DATA records name the pages that they bring. libxc goes
//! through the guest's memory from the lowest page to the highest, and again for what was written meanwhile:
//! a record whose first page does not lie above the last one of the record before begins a new round. The
//! last round is that of the suspended guest.
//!
//! **Promises.** It only reads, headers and two page numbers a record; all else passes unseen. It never
//! fails: what it does not know ends the following, and no round is told from then on. It keeps no more than
//! [`LONGEST`] bytes.
//!
//! A round that begins above the end of the one before is not noticed: the number is a lower bound.

/// The longest header.
const LONGEST: usize = XL_HEADER;
/// Magic, byte order, two words of flags, the length of what follows.
const XL_HEADER: usize = 48;
const XL_MAGIC: &[u8; 32] = b"Xen saved domain, xl format\n \0 \r";
const XL_BYTE_ORDER: u32 = 0x0102_0304;

const LIBXL_IDENT: &[u8; 8] = b"LibxlFmt";
const LIBXL_VERSION: u32 = 2;
const LIBXL_END: u32 = 0;
const LIBXL_LIBXC_CONTEXT: u32 = 1;

const LIBXC_IDENT: &[u8; 12] = b"\xff\xff\xff\xff\xff\xff\xff\xffXENF";
const LIBXC_VERSIONS: [u32; 2] = [2, 3];
const LIBXC_END: u32 = 0;
const LIBXC_PAGE_DATA: u32 = 1;
/// Remus and COLO, which have no end.
const LIBXC_CHECKPOINT: u32 = 14;
/// What a page number is made of; above it is the page's type.
const PFN: u64 = (1 << 52) - 1;

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    XlHeader,
    LibxlHeader,
    LibxlRecord,
    ImageHeader,
    DomainHeader,
    Record,
    /// Of a PAGE_DATA record of this length: how many pages, and the first one.
    FirstPage {
        length: u64,
    },
    /// The last one; so much of the record is behind it.
    LastPage {
        after: u64,
    },
    /// The stream has ended, or is none that this knows.
    Nothing,
}

impl Next {
    fn size(self) -> usize {
        match self {
            Self::XlHeader => XL_HEADER,
            Self::ImageHeader => 24,
            Self::LibxlHeader | Self::DomainHeader | Self::FirstPage { .. } => 16,
            Self::LibxlRecord | Self::Record | Self::LastPage { .. } => 8,
            Self::Nothing => 0,
        }
    }
}

/// Follows a stream.
#[derive(Debug)]
pub struct Rounds {
    next: Next,
    /// So much passes unseen before that.
    unseen: u64,
    seen: Vec<u8>,
    round: u32,
    last_page: Option<u64>,
    lost: bool,
}

impl Default for Rounds {
    fn default() -> Self {
        Self {
            next: Next::XlHeader,
            unseen: 0,
            seen: Vec::with_capacity(LONGEST),
            round: 0,
            last_page: None,
            lost: false,
        }
    }
}

impl Rounds {
    /// The round, from 1 on; `None` before the first page and for a stream that this does not know.
    pub fn round(&self) -> Option<u32> {
        (self.round > 0 && !self.lost).then_some(self.round)
    }

    /// How many bytes may pass without being shown.
    pub fn unseen(&self) -> u64 {
        if self.next == Next::Nothing { u64::MAX } else { self.unseen }
    }

    /// How many are to be shown after these, at most.
    fn wants(&self) -> usize {
        self.next.size() - self.seen.len()
    }

    /// So many have passed unseen.
    pub fn passed(&mut self, count: u64) {
        self.unseen = self.unseen.saturating_sub(count);
    }

    /// Takes the next bytes, however they are cut, those that might have passed unseen included.
    pub fn show(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.next != Next::Nothing {
            if self.unseen > 0 {
                let count = usize::try_from(self.unseen).unwrap_or(usize::MAX).min(bytes.len());
                self.passed(count as u64);
                bytes = &bytes[count..];
                continue;
            }
            let (head, rest) = bytes.split_at(self.wants().min(bytes.len()));
            self.seen.extend_from_slice(head);
            bytes = rest;
            if self.wants() == 0 {
                let next = self.take();
                self.seen.clear();
                self.lost |= next.is_none();
                self.next = next.unwrap_or(Next::Nothing);
            }
        }
    }

    /// What follows what has been seen; `None` if that is not what should be there.
    fn take(&mut self) -> Option<Next> {
        let word = |at: usize| Some(u32::from_le_bytes(self.seen.get(at..at + 4)?.try_into().ok()?));
        let big = |at: usize| word(at).map(u32::swap_bytes);
        let long = |at: usize| Some(u64::from_le_bytes(self.seen.get(at..at + 8)?.try_into().ok()?));
        match self.next {
            Next::XlHeader => {
                let known = self.seen.starts_with(XL_MAGIC) && word(32)? == XL_BYTE_ORDER;
                self.unseen = word(44)?.into();
                known.then_some(Next::LibxlHeader)
            }
            Next::LibxlHeader => {
                // No options: neither big-endian nor one that was converted from before.
                let known = self.seen.starts_with(LIBXL_IDENT) && big(8)? == LIBXL_VERSION && big(12)? == 0;
                known.then_some(Next::LibxlRecord)
            }
            Next::LibxlRecord => match (word(0)?, word(4)?) {
                (LIBXL_END, _) => Some(Next::Nothing),
                (LIBXL_LIBXC_CONTEXT, length) => (length == 0).then_some(Next::ImageHeader),
                (_, length) => {
                    self.unseen = padded(length);
                    Some(Next::LibxlRecord)
                }
            },
            Next::ImageHeader => {
                let known = self.seen.starts_with(LIBXC_IDENT) && LIBXC_VERSIONS.contains(&big(12)?);
                (known && word(16)? == 0).then_some(Next::DomainHeader)
            }
            Next::DomainHeader => Some(Next::Record),
            Next::Record => match (word(0)?, word(4)?) {
                (LIBXC_END, 0) => Some(Next::LibxlRecord),
                (LIBXC_END | LIBXC_CHECKPOINT, _) => None,
                (LIBXC_PAGE_DATA, length) => Some(Next::FirstPage { length: padded(length) }),
                (_, length) => {
                    self.unseen = padded(length);
                    Some(Next::Record)
                }
            },
            Next::FirstPage { length } => {
                let (count, first) = (u64::from(word(0)?), long(8)? & PFN);
                let numbers = count.checked_sub(1)?.checked_mul(8)?;
                let after = length.checked_sub(numbers.checked_add(16)?)?;
                if self.last_page.is_none_or(|last| first <= last) {
                    self.round = self.round.saturating_add(1);
                }
                self.last_page = Some(first);
                match numbers.checked_sub(8) {
                    Some(between) => {
                        self.unseen = between;
                        Some(Next::LastPage { after })
                    }
                    None => {
                        self.unseen = after;
                        Some(Next::Record)
                    }
                }
            }
            Next::LastPage { after } => {
                self.last_page = Some(long(0)? & PFN);
                self.unseen = after;
                Some(Next::Record)
            }
            Next::Nothing => None,
        }
    }
}

/// With what fills a record up to 8 bytes.
fn padded(length: u32) -> u64 {
    u64::from(length).next_multiple_of(8)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(kind: u32, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len()).unwrap();
        let mut bytes = [kind.to_le_bytes(), length.to_le_bytes()].concat();
        bytes.extend_from_slice(body);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    /// These pages, the odd ones without content.
    fn pages(numbers: &[u64]) -> Vec<u8> {
        let mut body = u64::try_from(numbers.len()).unwrap().to_le_bytes().to_vec();
        for number in numbers {
            let kind = if number % 2 == 1 { 0xf } else { 0 };
            body.extend((number | kind << 60).to_le_bytes());
        }
        body.resize(body.len() + numbers.iter().filter(|number| *number % 2 == 0).count() * 4096, 7);
        record(1, &body)
    }

    fn stream(version: u32, records: &[Vec<u8>]) -> Vec<u8> {
        let config = b"{\"c_info\":{\"name\":\"x0\"}}\0";
        let length = u32::try_from(config.len()).unwrap();
        let words = [XL_BYTE_ORDER, 0, 3, length].map(u32::to_le_bytes).concat();
        [
            &XL_MAGIC[..],
            &words,
            config,
            LIBXL_IDENT,
            &[0, 0, 0, 2, 0, 0, 0, 0],
            &record(1, &[]),
            LIBXC_IDENT,
            &version.to_be_bytes(),
            &[0; 8],
            &[3, 0, 0, 0, 12, 0, 0, 0, 4, 0, 0, 0, 17, 0, 0, 0],
            &records.concat(),
            &record(0, &[]),
            &record(3, b"a device model's state"),
            &record(0, &[]),
        ]
        .concat()
    }

    /// As the pipe does it: what may pass unseen does, the rest is read and shown, in pieces of at most so
    /// many bytes.
    fn follow(stream: &[u8], piece: usize) -> (Vec<Option<u32>>, usize) {
        let (mut rounds, mut at, mut shown, mut told) = (Rounds::default(), 0, 0, vec![None]);
        while at < stream.len() {
            let left = (stream.len() - at).min(piece);
            if rounds.unseen() > 0 {
                let count = usize::try_from(rounds.unseen()).unwrap_or(usize::MAX).min(left);
                rounds.passed(count as u64);
                at += count;
            } else {
                let count = rounds.wants().min(left);
                assert!(count > 0, "it wants nothing and lets nothing pass");
                rounds.show(&stream[at..at + count]);
                (at, shown) = (at + count, shown + count);
            }
            if told.last() != Some(&rounds.round()) {
                told.push(rounds.round());
            }
        }
        (told, shown)
    }

    fn three_rounds() -> Vec<Vec<u8>> {
        vec![
            record(0x10, b"static data"),
            pages(&(0..1024).collect::<Vec<_>>()),
            pages(&(1024..1500).collect::<Vec<_>>()),
            pages(&[4, 8, 1400]),
            pages(&[1401]),
            pages(&[1300]),
            record(9, &[1; 77]),
        ]
    }

    /// A stream of three rounds, for whoever carries one.
    pub(in super::super) fn sample() -> Vec<u8> {
        stream(3, &three_rounds())
    }

    #[test]
    fn a_round_begins_where_the_pages_go_back() {
        for (version, piece) in [(2, usize::MAX), (3, 1), (3, 5), (3, 4096)] {
            let stream = stream(version, &three_rounds());
            let (told, shown) = follow(&stream, piece);
            assert_eq!(told, [None, Some(1), Some(2), Some(3)]);
            assert!(shown < 400, "{shown} bytes of {} were looked at", stream.len());
        }
    }

    #[test]
    fn a_stream_that_is_read_anyway_may_be_shown_as_a_whole() {
        let stream = stream(3, &three_rounds());
        for piece in [1, 7, 4096, stream.len()] {
            let mut rounds = Rounds::default();
            stream.chunks(piece).for_each(|part| rounds.show(part));
            assert_eq!((rounds.round(), rounds.unseen()), (Some(3), u64::MAX));
        }
    }

    #[test]
    fn of_a_stream_that_is_not_known_no_round_is_told_and_all_of_it_passes_unseen() {
        let good = stream(3, &three_rounds());
        let headers = good.windows(8).position(|bytes| bytes == LIBXL_IDENT).unwrap();
        for (at, byte) in [
            (0, b'x'),         // xl's magic
            (32, 9),           // its byte order
            (headers, b'x'),   // libxl's
            (headers + 11, 3), // its version
            (headers + 15, 1), // its byte order
            (headers + 20, 8), // a context with a length
            (headers + 24, 0), // libxc's marker
            (headers + 39, 4), // its version
            (headers + 41, 1), // its byte order
        ] {
            let mut bad = good.clone();
            bad[at] = byte;
            let mut rounds = Rounds::default();
            rounds.show(&bad);
            assert_eq!((rounds.round(), rounds.unseen()), (None, u64::MAX), "byte {at}");
        }
        for bad in [record(1, &[0; 16]), record(1, &[9, 0, 0, 0, 0, 0, 0, 0]), record(14, &[])] {
            let mut rounds = Rounds::default();
            rounds.show(&stream(3, &[pages(&[1, 2]), bad]));
            assert_eq!((rounds.round(), rounds.unseen()), (None, u64::MAX));
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_it_goes_on_and_the_cuts_make_no_difference(
            at in 0_usize..6000, bytes in prop::collection::vec(any::<u8>(), 1..40), piece in 1_usize..5000,
        ) {
            let mut stream = stream(3, &three_rounds());
            let end = (at + bytes.len()).min(stream.len());
            stream[at..end].copy_from_slice(&bytes[..end - at]);
            let (told, _) = follow(&stream, piece);
            let mut whole = Rounds::default();
            whole.show(&stream);
            prop_assert_eq!(told.last(), Some(&whole.round()));
        }

        #[test]
        fn a_round_is_told_for_each_time_that_the_pages_go_back(
            rounds in prop::collection::vec(prop::collection::btree_set(0_u64..300, 1..60), 1..6),
            batch in 1_usize..20,
        ) {
            let mut records = Vec::new();
            let (mut expected, mut last) = (0, None);
            for round in &rounds {
                let numbers: Vec<u64> = round.iter().copied().collect();
                expected += u32::from(last.is_none_or(|last| numbers[0] <= last));
                last = numbers.last().copied();
                records.extend(numbers.chunks(batch).map(pages));
            }
            let (told, _) = follow(&stream(3, &records), usize::MAX);
            prop_assert_eq!(told.last(), Some(&Some(expected)));
        }
    }
}
