//! Settings of this host, not of one resource: `/etc/sysconfig/xen-handoff`, on Debian
//! `/etc/default/xen-handoff`, lines of `name=value`. The far end of a connection has neither a cluster
//! manager's environment nor a resource's parameters, so they are read where they lie.

use crate::foreign::Foreign;
use crate::host::Root;

/// Which toolstack this host has.
pub const TOOLSTACK: &str = "toolstack";
/// How many moves this host takes part in at once: as their source, as their target.
pub const MOVES: [&str; 2] = ["max_outgoing_migrations", "max_incoming_migrations"];
/// How many that are where the setting is not set.
pub const DEFAULT_MOVES: usize = 2;

/// Where they may be: where the RPM and `make install` have them, and where Debian's package has them. One
/// executable is in all three, and systemd reads the same files in the same order for the guard, so the last
/// line that sets something counts, whichever it is in.
pub const FILES: [&str; 2] = ["/etc/sysconfig/xen-handoff", "/etc/default/xen-handoff"];

/// Who reads a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// This module, whenever it is asked.
    EveryTime,
    /// systemd, for the guard's environment, when that starts.
    Guard,
}

/// A setting as it is documented: `xen-handoff.conf(5)` and the packaged file are made from these.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its name.
    pub name: &'static str,
    /// What it may be.
    pub values: &'static str,
    /// What holds where it is not set.
    pub default: &'static str,
    /// What the packaged file has behind its name, switched off: the default, or an example.
    pub example: &'static str,
    /// Who reads it.
    pub reader: Reader,
    /// What it does.
    pub what: &'static str,
}

/// All of them, in the file's order.
pub const SETTINGS: [Setting; 6] = [
    Setting {
        name: TOOLSTACK,
        values: "auto, xl, xm or xe",
        default: "auto",
        example: "auto",
        reader: Reader::EveryTime,
        what: "Which toolstack this host has. auto: xe where there is /etc/xensource-inventory, xm where xend runs or only xm is \
               installed, else xl. See xen-handoff(8), TOOLSTACKS.",
    },
    Setting {
        name: MOVES[0],
        values: "a whole number; 0: no limit",
        default: "2",
        example: "2",
        reader: Reader::EveryTime,
        what: "Moves that this host takes part in at once as their source, handoffs and the cluster's own migrations together. What is \
               beyond that waits in line, inside its action's timeout, in the order of the resources' priorities.",
    },
    Setting {
        name: MOVES[1],
        values: "a whole number; 0: no limit",
        default: "2",
        example: "2",
        reader: Reader::EveryTime,
        what: "The same as their target.",
    },
    Setting {
        name: "HA_debug",
        values: "0 or 1",
        default: "0",
        example: "1",
        reader: Reader::Guard,
        what: "1: debug messages, too.",
    },
    Setting {
        name: "HA_LOGFACILITY",
        values: "a facility of syslog; none: no syslog",
        default: "daemon",
        example: "local4",
        reader: Reader::Guard,
        what: "The facility that the log goes to.",
    },
    Setting {
        name: "HA_LOGFILE",
        values: "an absolute path",
        default: "",
        example: "/var/log/xen-handoff.log",
        reader: Reader::Guard,
        what: "A file that every line goes to as well.",
    },
];

/// The value of `name` in such a text; `None` where it is not set.
pub(crate) fn value(text: &str, name: &str) -> Option<String> {
    // As for a shell and for systemd, the last one counts.
    let mut set = text.lines().rev().filter_map(|line| line.trim().split_once('='));
    let (_, value) = set.find(|(key, _)| key.trim() == name)?;
    let value = value.trim();
    Some(value.trim_matches(['"', '\'']).to_owned()).filter(|value| !value.is_empty())
}

/// The files of this host, one after the other.
fn text(root: &Root) -> String {
    let texts = FILES.iter().filter_map(|file| std::fs::read_to_string(root.join(file)).ok());
    texts.collect::<Vec<_>>().join("\n")
}

/// A setting that is a word.
pub fn word(root: &Root, name: &str) -> Option<String> {
    value(&text(root), name)
}

/// A setting that is a whole number. One that is none is not followed, and the log says so.
pub fn number(root: &Root, name: &str) -> Option<usize> {
    let value = word(root, name)?;
    value
        .parse()
        .inspect_err(|_| log::warn!("settings: {name}={value:?} is no whole number; the default holds"))
        .ok()
}

/// What is read here of others, for `make fuzz`.
pub const FOREIGN: &[Foreign] = &[Foreign {
    name: "settings",
    read: |text| drop((value(text, "max_incoming_migrations"), value(text, "INSTALLATION_UUID"))),
}];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_to_hold_without_a_setting_is_what_holds() {
        for setting in SETTINGS.iter().filter(|setting| setting.reader == Reader::EveryTime) {
            let holds = match setting.name {
                TOOLSTACK => "auto".to_owned(),
                _ => DEFAULT_MOVES.to_string(),
            };
            assert_eq!(setting.default, holds, "{}", setting.name);
            assert_eq!(setting.example, setting.default, "{}", setting.name);
        }
    }

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

    #[test]
    fn of_two_files_with_settings_debians_counts_line_by_line() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        std::fs::create_dir_all(folder.path().join("etc/default")).unwrap();
        std::fs::write(folder.path().join("etc/default/xen-handoff"), "moves=5\n").unwrap();
        assert_eq!(number(&root, "moves"), Some(5));
        std::fs::create_dir_all(folder.path().join("etc/sysconfig")).unwrap();
        std::fs::write(folder.path().join("etc/sysconfig/xen-handoff"), "moves=6\nothers=7").unwrap();
        assert_eq!((number(&root, "moves"), number(&root, "others")), (Some(5), Some(7)));
    }
}
