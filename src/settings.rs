//! Settings of this host, not of one resource: `/etc/sysconfig/xen-handoff`, lines of `name=value`. The far end of a connection has
//! neither a cluster manager's environment nor a resource's parameters, so they are read where they lie.

use crate::host::Root;

const FILE: &str = "/etc/sysconfig/xen-handoff";

/// The value of `name` in such a text; `None` where it is not set.
pub(crate) fn value(text: &str, name: &str) -> Option<String> {
    // As for a shell and for systemd, the last one counts.
    let mut set = text.lines().rev().filter_map(|line| line.trim().split_once('='));
    let (_, value) = set.find(|(key, _)| key.trim() == name)?;
    let value = value.trim();
    Some(value.trim_matches(['"', '\'']).to_owned()).filter(|value| !value.is_empty())
}

/// A setting that is a word.
pub fn word(root: &Root, name: &str) -> Option<String> {
    value(&std::fs::read_to_string(root.join(FILE)).ok()?, name)
}

/// A setting that is a whole number. One that is none is not followed, and the log says so.
pub fn number(root: &Root, name: &str) -> Option<usize> {
    let value = word(root, name)?;
    value
        .parse()
        .inspect_err(|_| log::warn!("{FILE}: {name}={value:?} is no whole number; the default holds"))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_a_shell_would() {
        let text = "# moves=9\nmoves=3\n\n moves = \"4\"\nempty=\nother_moves=7\n";
        assert_eq!(value(text, "moves").as_deref(), Some("4"));
        assert_eq!((value(text, "empty"), value(text, "none")), (None, None));
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        assert_eq!(number(&root, "moves"), None);
        std::fs::create_dir_all(folder.path().join("etc/sysconfig")).unwrap();
        std::fs::write(folder.path().join("etc/sysconfig/xen-handoff"), "moves=many\nothers=0\n").unwrap();
        assert_eq!((number(&root, "moves"), number(&root, "others")), (None, Some(0)));
    }
}
