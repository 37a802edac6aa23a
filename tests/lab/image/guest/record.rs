//! What x0's writer appends to its disk, and what the tester reads back: one sector a record. Both ends include this file.
//!
//! Every record carries the checksum of the one before. So two writers that went on from the same memory are seen even
//! where they wrote the same numbers to the same places: their records are of different moments, and the chain breaks.

/// A record's size, a sector.
pub(crate) const SIZE: usize = 512;

const MAGIC: [u8; 8] = *b"x0record";
/// What the checksum is taken over.
const BODY: usize = SIZE - 8;

/// One record. Number n is in sector n.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    /// 0, 1, 2, ...
    pub(crate) number: u64,
    /// The writer's own clock.
    pub(crate) microseconds: u64,
    /// The checksum of the record before it, 0 for the first.
    pub(crate) before: u64,
}

impl Record {
    /// The sector, its checksum at its end.
    pub(crate) fn sector(&self) -> [u8; SIZE] {
        let mut sector = [0; SIZE];
        let body = MAGIC
            .into_iter()
            .chain(self.number.to_le_bytes())
            .chain(self.microseconds.to_le_bytes())
            .chain(self.before.to_le_bytes());
        sector.iter_mut().zip(body).for_each(|(to, byte)| *to = byte);
        let sum = checksum(&sector).to_le_bytes();
        sector.iter_mut().skip(BODY).zip(sum).for_each(|(to, byte)| *to = byte);
        sector
    }
}

/// The checksum of a sector, without the place where it stands: FNV-1a, since only accidents have to be seen.
pub(crate) fn checksum(sector: &[u8]) -> u64 {
    sector
        .iter()
        .take(BODY)
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
