//! The memory that is held, in blocks of 10 MiB.

use std::hint::black_box;

/// How much one call holds or lets go: the paper's step.
pub(crate) const BLOCK: u64 = 10 << 20;
/// A page, or a part of one where pages are larger.
const PAGE: usize = 4096;
/// What the guest keeps for itself beside a new block. Without it the kernel would kill somebody.
const SPARE: u64 = 8 << 20;

/// Why no more is held.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It would be more than the limit.
    Limit(u64),
    /// The guest has not enough left.
    Available(u64),
    /// The allocator has none.
    Allocator,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Limit(limit) => write!(f, "that would be more than --limit-mb {}", limit >> 20),
            Self::Available(left) => {
                write!(f, "the guest has only {} MiB left, and needs some for itself", left >> 20)
            }
            Self::Allocator => f.write_str("the allocator refuses"),
        }
    }
}

/// Blocks of written memory.
#[derive(Debug, Default)]
pub(crate) struct Held {
    blocks: Vec<Vec<u8>>,
    limit: Option<u64>,
}

impl Held {
    /// Nothing, and never more than `limit` bytes.
    pub(crate) fn new(limit: Option<u64>) -> Self {
        Self { blocks: Vec::new(), limit }
    }

    /// How much is held.
    pub(crate) fn bytes(&self) -> u64 {
        self.blocks.iter().map(|block| block.len() as u64).sum()
    }

    /// Holds one more block; `available` is what the guest has left, where known.
    pub(crate) fn increase(&mut self, available: Option<u64>) -> Result<(), Refused> {
        if let Some(limit) = self.limit
            && self.bytes() + BLOCK > limit
        {
            return Err(Refused::Limit(limit));
        }
        // The kernel gives away more than it has, and kills somebody when it is used: so look before.
        if let Some(left) = available
            && left < BLOCK + SPARE
        {
            return Err(Refused::Available(left));
        }
        let size = usize::try_from(BLOCK).map_err(|_| Refused::Allocator)?;
        let mut block = Vec::new();
        block.try_reserve_exact(size).map_err(|_| Refused::Allocator)?;
        // Written, and not all alike, so that the pages are there and nobody can merge or compress them to nothing.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ self.blocks.len() as u64;
        while block.len() < size {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            block.extend_from_slice(&state.to_le_bytes());
        }
        self.blocks.push(block);
        Ok(())
    }

    /// Lets the last block go. False if there is none.
    pub(crate) fn decrease(&mut self) -> bool {
        self.blocks.pop().is_some()
    }

    /// Reads and writes one byte in each page.
    pub(crate) fn touch(&mut self) -> u64 {
        let mut sum = 0;
        for byte in self.blocks.iter_mut().flat_map(|block| block.iter_mut().step_by(PAGE)) {
            *byte = black_box(byte.wrapping_add(1));
            sum += u64::from(*byte);
        }
        black_box(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_held_and_let_go_one_at_a_time() {
        let mut held = Held::new(None);
        for blocks in 1..=3 {
            held.increase(None).unwrap();
            assert_eq!(held.bytes(), blocks * BLOCK);
        }
        assert!(held.touch() > 0);
        assert!(held.decrease() && held.decrease() && held.decrease());
        assert!(!held.decrease());
        assert_eq!(held.bytes(), 0);
    }

    #[test]
    fn held_memory_is_really_there() {
        let before = crate::system::resident_bytes().unwrap();
        let mut held = Held::new(None);
        held.increase(None).unwrap();
        let grown = crate::system::resident_bytes().unwrap() - before;
        assert!(grown > BLOCK * 9 / 10, "only {grown} bytes more are resident");
    }

    #[test]
    fn more_than_the_limit_and_more_than_there_is_are_refused() {
        let mut held = Held::new(Some(BLOCK));
        held.increase(None).unwrap();
        assert_eq!(held.increase(None), Err(Refused::Limit(BLOCK)));
        let mut held = Held::new(None);
        assert_eq!(held.increase(Some(BLOCK)), Err(Refused::Available(BLOCK)));
        assert_eq!(held.bytes(), 0);
    }
}
