//! Small files that are replaced as a whole: whoever reads one finds the old text or the new one, never half of either, and
//! so does whoever comes after a crash.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
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
}
