//! What becomes of a file that rots, for `tests/rot.rs` and for the unit tests of readers that only their own
//! room knows.

use std::path::Path;

/// Every damage to `whole`: a bit of a byte turned, the file cut, and something behind it.
pub(crate) fn damages(whole: &[u8]) -> Vec<Vec<u8>> {
    let turned = (0..whole.len() * 8).map(|bit| {
        let mut turned = whole.to_vec();
        turned[bit / 8] ^= 1 << (bit % 8);
        turned
    });
    let cut = (0..whole.len()).map(|length| whole[..length].to_vec());
    let behind = [&b"\0"[..], b" ", b"\n", b"}", b"7", b"x0", &[0; 4096], whole];
    let longer = behind.iter().map(|more| [whole, more].concat());
    turned.chain(cut).chain(longer).collect()
}

/// Damages the file at `path` in every way, and leaves it whole. `is_right` is asked after each, and of the
/// whole file too. How many damages there were.
pub(crate) fn rot(path: &Path, is_right: impl Fn() -> bool) -> usize {
    let whole = std::fs::read(path).unwrap();
    assert!(is_right(), "{} as it was", path.display());
    let damages = damages(&whole);
    for damaged in &damages {
        std::fs::write(path, damaged).unwrap();
        assert!(is_right(), "{}: {:?}", path.display(), String::from_utf8_lossy(damaged));
    }
    std::fs::write(path, whole).unwrap();
    damages.len()
}
