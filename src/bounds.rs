//! Bounds of what comes from another node, or from a file that one had us write.

use serde::{Deserialize, Deserializer};

/// Longer than any action, in seconds.
pub const WEEK: u64 = 7 * 24 * 60 * 60;
/// More than any host has, in MiB: 16 EiB would be a sum that wraps.
pub const MEMORY: u64 = 1 << 34;

/// A number that comes from another node, or from a file that it had us write, is not used beyond its bound:
/// whoever adds it to a time or to another number need not think of what it may be.
pub fn at_most<'de, D: Deserializer<'de>, const MOST: u64>(from: D) -> Result<u64, D::Error> {
    let number = u64::deserialize(from)?;
    if number > MOST {
        return Err(serde::de::Error::custom(format!("{number} is more than {MOST}")));
    }
    Ok(number)
}
