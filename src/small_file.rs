//! Small files that are replaced as a whole: whoever reads one finds the old text or the new one, never half of either, and
//! so does whoever comes after a crash.

use std::fs::File;
use std::io::{Error, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// Makes `folder`, for this user alone, unless it is there already.
///
/// # Errors
/// What the system says.
pub fn make_folder(folder: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Puts `text` in the place of the file at `path`: written beside it, synced, renamed. Its folder is made if need be.
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

/// Opens a regular file or a block device for reading. It is looked at before it is opened, since to open some devices (a watchdog, a
/// tape) is to use them, and opened so that nothing can make us wait.
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
