//! What sshd has of this host and of those that may come in: root's `authorized_keys`, the host's own key,
//! and the form of a public key (sshd(8)).

use super::ssh::FAR_COMMAND;
use crate::host::NodeName;

/// Where sshd looks for the keys that may log in as root.
pub const AUTHORIZED_KEYS: &str = "/root/.ssh/authorized_keys";
/// The public half of this host's own key.
pub const HOST_KEY: &str = "/etc/ssh/ssh_host_ed25519_key.pub";
/// The largest file of keys that is read, in bytes.
pub const LARGEST: u64 = 1 << 20;

/// As whom such a line lets somebody in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum As {
    /// This node, and no other.
    Node(NodeName),
    /// Any node: the pair is the same on every one.
    Any,
}

/// Type and base64 of a public key, without its comment.
pub fn public_key(text: &str) -> Option<String> {
    let mut words = text.split_whitespace();
    Some(format!("{} {}", words.next()?, words.next()?))
}

/// As whom a line lets in who may run our far end, and what stands behind that command; `None` for every
/// other line. Something may stand before the command, as `aa-exec`.
pub fn lets_in(line: &str) -> Option<(As, &str)> {
    let (before, rest) = line.split_once(FAR_COMMAND)?;
    if before.trim_start().starts_with('#') {
        return None;
    }
    if let Some(rest) = rest.strip_prefix('"') {
        return Some((As::Any, rest));
    }
    let (node, rest) = rest.strip_prefix(" --peer ")?.split_once('"')?;
    Some((As::Node(NodeName::new(node).ok()?), rest))
}

/// The key of such a line, from what stands behind the command: options end with the first blank outside of
/// quotes.
pub fn key_behind(rest: &str) -> Option<String> {
    public_key(rest.split_once(char::is_whitespace)?.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_lets_in_one_node_or_any_or_is_none_of_ours() {
        let node = |name| As::Node(NodeName::new(name).unwrap());
        let own = "restrict,from=\"10.0.0.2\",command=\"/usr/sbin/xen-handoff serve --peer n2\",no-pty ssh-ed25519 BBBB c";
        let (whose, rest) = lets_in(own).unwrap();
        assert_eq!((whose, key_behind(rest).as_deref()), (node("n2"), Some("ssh-ed25519 BBBB")));
        let confined = "restrict,command=\"aa-exec -p p -- /usr/sbin/xen-handoff serve\" ssh-ed25519 AAAA";
        assert_eq!(lets_in(confined).unwrap().0, As::Any);
        for none in [
            "ssh-ed25519 AAAA root@admin",
            "# restrict,command=\"/usr/sbin/xen-handoff serve\" ssh-ed25519 AAAA",
            "restrict,command=\"/usr/sbin/xen-handoff serve --peer -n\" ssh-ed25519 AAAA",
            "restrict,command=\"/usr/sbin/xen-handoff serve2\" ssh-ed25519 AAAA",
        ] {
            assert_eq!(lets_in(none), None, "{none}");
        }
    }
}
