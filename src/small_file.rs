//! Small files that are replaced as a whole: whoever reads one finds the old text or the new one, never half
//! of either, and so does whoever comes after a crash.
//!
//! What is kept ([`keep`]) ends with its checksum, so that a text that has changed since says nothing
//! ([`kept`]). The checksum is a line of 64 blanks, a space for each bit that is not set and a tab for each
//! that is: a version that knows of no checksum takes blanks at the end for nothing, so that two versions can
//! read and write the same file, whichever of them comes later.

use std::fs::File;
use std::io::{Error, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

/// The most that a small file may hold, in bytes.
pub const LARGEST: u64 = 256 << 10;
/// How long a checksum is: a blank for each of its bits, and the end of its line.
const SEAL: usize = 65;

/// Makes `folder`, for this user alone, unless it is there already.
///
/// # Errors
/// What the system says.
pub fn make_folder(folder: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Opens the file at `path` for a lock on it ([`try_lock`]): made if need be, what it has is kept.
///
/// # Errors
/// What the system says.
pub fn lock_file(path: &Path) -> std::io::Result<File> {
    std::fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)
}

/// Between its fork and its exec a child has copies of all that is open here, locks too. Tests are threads of
/// one process: none of them looks at a lock meanwhile.
#[cfg(test)]
pub(crate) static FORKING: std::sync::RwLock<()> = std::sync::RwLock::new(());

/// Locks the file, which nobody else has locked then: `flock(2)`. The lock belongs to the open file, so every
/// process that inherits the descriptor holds it.
///
/// # Errors
/// If somebody has locked it.
pub fn try_lock(file: &File) -> rustix::io::Result<()> {
    #[cfg(test)]
    let _nobody_forks = FORKING.write();
    rustix::fs::flock(file, rustix::fs::FlockOperation::NonBlockingLockExclusive)
}

/// How many entries of `folder` have such a name; none where there is no folder.
///
/// # Errors
/// What the system says.
pub fn count(folder: &Path, is_one: impl Fn(&str) -> bool) -> std::io::Result<usize> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    Ok(entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(&is_one)).count())
}

/// Puts `text` in the place of the file at `path`: written beside it, synced, renamed. Its folder is made if
/// need be.
///
/// # Errors
/// What the system says; the old file then stands.
pub fn replace(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("/"));
    make_folder(folder)?;
    let mut beside = tempfile::NamedTempFile::new_in(folder)?;
    beside.write_all(text)?;
    beside.as_file().sync_all()?;
    beside.persist(path)?;
    File::open(folder)?.sync_all()
}

/// `text` with its checksum.
pub fn sealed(text: &[u8]) -> Vec<u8> {
    [text, &seal(text)].concat()
}

/// The checksum of `text`, in blanks.
fn seal(text: &[u8]) -> [u8; SEAL] {
    let sum = Sha256::digest(text);
    std::array::from_fn(|bit| match sum.get(bit / 8) {
        _ if bit == SEAL - 1 => b'\n',
        Some(byte) if byte >> (bit % 8) & 1 == 1 => b'\t',
        _ => b' ',
    })
}

/// Puts `text`, with its checksum, in the place of the file at `path`, as [`replace`] does.
///
/// # Errors
/// What the system says; the old file then stands.
pub fn keep(path: &Path, text: &[u8]) -> std::io::Result<()> {
    replace(path, &sealed(text))
}

/// [`keep`] where there is no room for a second file: the same blocks are written once more. Whoever reads
/// meanwhile finds what does not fit its checksum. Not for a file that has to outlive a crash.
///
/// # Errors
/// What the system says; if the blocks do not hold so much. The old file then stands.
pub fn keep_in_place(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let text = sealed(text);
    let file = std::fs::OpenOptions::new().write(true).open(path)?;
    if text.len() as u64 > file.metadata()?.blocks().saturating_mul(512) {
        return Err(Error::new(ErrorKind::StorageFull, "no room"));
    }
    file.write_all_at(&text, 0)?;
    file.set_len(text.len() as u64)
}

/// [`keep`], as JSON.
///
/// # Errors
/// As [`keep`].
pub fn keep_json(path: &Path, what: &impl Serialize) -> std::io::Result<()> {
    keep(path, &serde_json::to_vec(what)?)
}

/// What was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The text without its checksum.
    pub text: String,
    /// Whether there was one. A version that knows of none leaves none.
    pub is_sealed: bool,
}

impl Kept {
    /// What such bytes say.
    ///
    /// # Errors
    /// If they are no text, or do not fit their checksum.
    pub fn of(mut bytes: Vec<u8>) -> std::io::Result<Self> {
        let begin = bytes.len().saturating_sub(SEAL);
        let is_seal = |end: &[u8]| {
            end.strip_suffix(b"\n").is_some_and(|bits| bits.iter().all(|byte| matches!(byte, b' ' | b'\t')))
        };
        let is_sealed = bytes.len() >= SEAL && is_seal(&bytes[begin..]);
        if is_sealed {
            let end = bytes.split_off(begin);
            if end != seal(&bytes) {
                return Err(Error::new(ErrorKind::InvalidData, "it does not fit its checksum"));
            }
        }
        let text = String::from_utf8(bytes).map_err(|error| Error::new(ErrorKind::InvalidData, error))?;
        // No version has ever written more than the end of a line behind a text: this was a checksum.
        if !is_sealed && text.len() - text.trim_end().len() > 1 {
            return Err(Error::new(ErrorKind::InvalidData, "its checksum is not whole"));
        }
        Ok(Self { text, is_sealed })
    }

    /// The one line that it is. Without a checksum its end must be there: half a number is a number, too.
    ///
    /// # Errors
    /// If it is not whole.
    pub fn line(&self) -> std::io::Result<&str> {
        if !self.is_sealed && !self.text.ends_with('\n') {
            return Err(Error::new(ErrorKind::InvalidData, "it is not whole"));
        }
        Ok(self.text.trim())
    }
}

/// What is kept at `path`; `None` if nothing is.
///
/// # Errors
/// What the system says; if it has more than [`LARGEST`] bytes, is no text, or does not fit its checksum.
pub fn kept(path: &Path) -> std::io::Result<Option<Kept>> {
    match read(path, LARGEST) {
        Ok(bytes) => Kept::of(bytes).map(Some),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// [`kept`], as JSON.
///
/// # Errors
/// As [`kept`]; if it is no JSON, or says something else.
pub fn kept_json<T: DeserializeOwned>(path: &Path) -> std::io::Result<Option<T>> {
    let kept = kept(path)?.map(|kept| serde_json::from_str(&kept.text));
    Ok(kept.transpose()?)
}

/// Opens a regular file or a block device for reading. It is looked at before it is opened, since to open
/// some devices (a watchdog, a tape) is to use them, and opened so that nothing can make us wait.
///
/// # Errors
/// If it is anything else, or what the system says.
pub fn open_plain(path: &Path) -> std::io::Result<File> {
    let is_plain =
        |metadata: &std::fs::Metadata| metadata.is_file() || metadata.file_type().is_block_device();
    let other = || Error::other("no block device and no file");
    if !is_plain(&std::fs::metadata(path)?) {
        return Err(other());
    }
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).map_err(Error::other)?;
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    // It may have become another one in between.
    if is_plain(&file.metadata()?) { Ok(file) } else { Err(other()) }
}

/// All of a regular file of at most `most` bytes.
///
/// # Errors
/// If it is no such file, or is larger, or what the system says.
pub fn read(path: &Path, most: u64) -> std::io::Result<Vec<u8>> {
    let file = open_plain(path)?;
    if !file.metadata()?.is_file() {
        return Err(Error::other("no regular file"));
    }
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(Error::other(format!("more than {most} bytes")));
    }
    Ok(bytes)
}

/// What becomes of a file that rots.
#[cfg(test)]
#[path = "../tests/rot/damage.rs"]
pub(crate) mod damage;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_replaced_is_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("made/by/us");
        replace(&path, b"first").unwrap();
        replace(&path, b"second").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"second");
        let in_the_way = folder.path().join("folder");
        std::fs::create_dir_all(in_the_way.join("full")).unwrap();
        assert!(replace(&in_the_way, b"text").is_err());
        assert!(in_the_way.join("full").is_dir());
        let left: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(left.len(), 2, "nothing half-written stays: {left:?}");
    }

    #[test]
    fn only_regular_files_and_block_devices_are_opened_and_no_more_than_allowed_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("file"), [7; 100]).unwrap();
        assert_eq!(read(&path("file"), 100).unwrap().len(), 100);
        assert!(read(&path("file"), 99).unwrap_err().to_string().contains("more than 99 bytes"));
        rustix::fs::mknodat(
            rustix::fs::CWD,
            path("fifo"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        for other in [path("fifo"), "/dev/zero".into(), folder.path().to_owned()] {
            assert!(open_plain(&other).is_err() && read(&other, 10).is_err(), "{}", other.display());
        }
    }
}
