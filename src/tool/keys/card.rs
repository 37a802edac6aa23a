//! What the nodes must know of each other: each one's card, as `xen-handoff keys --export` prints it and
//! `--accept` takes it, and the two files that cards become part of. Pure.
//!
//! A line a fact, so that the cards of several nodes are one text when they stand one behind the other:
//!
//! ```text
//! key n1 192.0.2.1,192.0.2.65 ssh-ed25519 AAAA...
//! host n1 ssh-ed25519 AAAA...
//! ```
//!
//! The third word of `key` is from where the node may come, as `from=` of sshd(8) has it; `-`: from anywhere.

use std::collections::{BTreeMap, BTreeSet};

use crate::host::NodeName;
use crate::wire::authorized::{As, lets_in, public_key};
use crate::wire::ssh::{FAR_COMMAND, is_own_key};

/// A public key without its comment: type and base64.
pub(super) type PublicKey = String;

/// What there is to know of one node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Card {
    /// The keys that it comes with, each with from where. Two while it changes its key.
    pub(super) keys: Vec<(String, PublicKey)>,
    /// The keys of its sshd.
    pub(super) hosts: Vec<PublicKey>,
}

/// The cards of some nodes.
pub(super) type Cards = BTreeMap<NodeName, Card>;

/// From anywhere.
pub(super) const ANYWHERE: &str = "-";

/// Whether this can stand between the quotes of `from=`: addresses, names and patterns, with commas between.
pub(super) fn is_origin(text: &str) -> bool {
    let fits = |c: char| {
        c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | ',' | '/' | '*' | '?' | '!' | '-' | '_')
    };
    !text.is_empty() && text.len() <= 1000 && text.chars().all(fits)
}

/// A public key of these two words, if it can be one.
fn checked_key(kind: &str, key: &str) -> Option<PublicKey> {
    let kind_fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '@' | '.');
    let key_fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    let fits = kind.contains("ssh-") || kind.starts_with("ecdsa-");
    let fits = fits && kind.chars().all(kind_fits) && key.len() >= 4 && key.chars().all(key_fits);
    fits.then(|| format!("{kind} {key}"))
}

/// Type and base64 of a public key, and whether its comment says that it is one node's own.
pub(super) fn parts(public: &str) -> Option<(String, bool)> {
    Some((public_key(public)?, is_own_key(public)))
}

/// Reads the cards of one node or several.
///
/// # Errors
/// The line that is none of a card's, and why. Nothing of such a text is to be used.
pub(super) fn read(text: &str) -> Result<Cards, String> {
    let mut cards = Cards::new();
    for (number, line) in (1..).zip(text.lines()) {
        let wrong = |why: &str| format!("line {number}: {why}: {line}");
        let words: Vec<&str> = line.split_whitespace().collect();
        let (what, name, rest) = match words.as_slice() {
            [] => continue,
            [first, ..] if first.starts_with('#') => continue,
            [what, name, rest @ ..] => (*what, *name, rest),
            _ => return Err(wrong("it should begin with \"key NODE\" or \"host NODE\"")),
        };
        let node = NodeName::new(name).map_err(|error| wrong(&error.to_string()))?;
        let card = cards.entry(node).or_default();
        match (what, rest) {
            ("key", [from, kind, key]) if is_origin(from) => {
                let key = checked_key(kind, key).ok_or_else(|| wrong("that is no public key"))?;
                card.keys.push(((*from).to_owned(), key));
            }
            ("host", [kind, key]) => {
                card.hosts.push(checked_key(kind, key).ok_or_else(|| wrong("that is no public key"))?);
            }
            _ => {
                return Err(wrong("it should be \"key NODE FROM TYPE BASE64\" or \"host NODE TYPE BASE64\""));
            }
        }
    }
    Ok(cards)
}

/// As [`read`] takes them.
pub(super) fn text(cards: &Cards) -> String {
    let of_node = |(node, card): (&NodeName, &Card)| {
        let keys = card.keys.iter().map(|(from, key)| format!("key {node} {from} {key}"));
        joined(keys.chain(card.hosts.iter().map(|key| format!("host {node} {key}"))))
    };
    cards.iter().map(of_node).collect()
}

/// The line for `authorized_keys`: who comes with this key may run `serve` and nothing else, and speaks for
/// `node` alone.
pub(super) fn authorized_line(node: &NodeName, from: &str, key: &str) -> String {
    let from = if from == ANYWHERE { String::new() } else { format!("from=\"{from}\",") };
    format!("restrict,{from}command=\"{FAR_COMMAND} --peer {node}\" {key} xen-handoff {node}")
}

/// The line of the pair that is the same on every node: who comes with it speaks for each of them.
pub(super) fn shared_line(public: &str) -> String {
    format!("restrict,command=\"{FAR_COMMAND}\" {}", public.trim())
}

/// Whether it is a line of a pair that is the same on every node.
pub(super) fn is_shared(line: &str) -> bool {
    lets_in(line).is_some_and(|(whose, _)| whose == As::Any)
}

fn is_of(line: &str, node: &NodeName) -> bool {
    lets_in(line).is_some_and(|(whose, _)| whose == As::Node(node.clone()))
}

/// Whether a line of that node has this key with this origin already, whatever else an administrator has
/// written into it.
fn has(line: &str, node: &NodeName, (from, key): &(String, PublicKey)) -> bool {
    let origin = if from == ANYWHERE { String::new() } else { format!("from=\"{from}\"") };
    let from_fits = line.contains(&origin) && (from != ANYWHERE || !line.contains("from=\""));
    is_of(line, node) && line.contains(key.as_str()) && from_fits
}

fn joined(lines: impl Iterator<Item = String>) -> String {
    lines.map(|line| line + "\n").collect()
}

/// `authorized_keys` with the keys of `cards`, and with no others of those nodes. `me` has no line on its own
/// host.
pub(super) fn authorized(keys: &str, cards: &Cards, me: &NodeName) -> String {
    let wanted = || {
        let others = cards.iter().filter(|(node, _)| *node != me);
        others.flat_map(|(node, card)| card.keys.iter().map(move |key| (node, key)))
    };
    let stays = |line: &&str| {
        let is_a_card = cards.keys().any(|node| is_of(line, node));
        !is_a_card || wanted().any(|(node, key)| has(line, node, key))
    };
    let is_there =
        |(node, key): &(&NodeName, &(String, PublicKey))| keys.lines().any(|line| has(line, node, key));
    let new =
        wanted().filter(|one| !is_there(one)).map(|(node, (from, key))| authorized_line(node, from, key));
    joined(keys.lines().filter(stays).map(str::to_owned).chain(new))
}

/// `known_hosts` with the keys of `cards`. A node whose card has none keeps the lines that it has.
pub(super) fn known_hosts(hosts: &str, cards: &Cards) -> String {
    let said: BTreeSet<&str> =
        cards.iter().filter(|(_, card)| !card.hosts.is_empty()).map(|(node, _)| node.as_str()).collect();
    let stays = |line: &&str| line.split_whitespace().next().is_none_or(|name| !said.contains(name));
    let new = cards.iter().flat_map(|(node, card)| card.hosts.iter().map(move |key| format!("{node} {key}")));
    joined(hosts.lines().filter(stays).map(str::to_owned).chain(new))
}

/// `authorized_keys` and `known_hosts` without what they have of `node`.
pub(super) fn without(node: &NodeName, keys: &str, hosts: &str) -> (String, String) {
    let keys = keys.lines().filter(|line| !is_of(line, node)).map(str::to_owned);
    let of_node = |line: &&str| line.split_whitespace().next() == Some(node.as_str());
    let hosts = hosts.lines().filter(|line| !of_node(line)).map(str::to_owned);
    (joined(keys), joined(hosts))
}

/// `authorized_keys` without the line of the pair that is the same on every node.
pub(super) fn without_shared(keys: &str) -> String {
    joined(keys.lines().filter(|line| !is_shared(line)).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeName {
        NodeName::new(name).unwrap()
    }

    const CARDS: &str = "# xen-handoff keys of n1\nkey n1 192.0.2.1,fd00::1 ssh-ed25519 AAAA\n\
                         host n1 ssh-ed25519 HHHH\nkey n2 - ssh-ed25519 BBBB=\n";

    #[test]
    fn cards_are_read_as_they_are_written() {
        let cards = read(CARDS).unwrap();
        assert_eq!(
            cards[&node("n1")].keys,
            [("192.0.2.1,fd00::1".to_owned(), "ssh-ed25519 AAAA".to_owned())]
        );
        assert_eq!((cards[&node("n1")].hosts.len(), cards[&node("n2")].hosts.len()), (1, 0));
        assert_eq!(read(&text(&cards)).unwrap(), cards);
    }

    #[test]
    fn what_would_leave_the_quotes_of_a_line_is_no_card() {
        for bad in [
            "key n1 \",command=\"/bin/sh ssh-ed25519 AAAA",
            "key n1 - ssh-ed25519 AA\"AA",
            "key n1 - bash AAAA",
            "key -oProxyCommand=x - ssh-ed25519 AAAA",
            "key n1 ssh-ed25519 AAAA",
            "host n1 ssh-ed25519",
            "shell n1 - ssh-ed25519 AAAA",
            "key",
        ] {
            let error = read(&format!("{CARDS}{bad}\n")).unwrap_err();
            assert!(error.starts_with("line 5: ") && error.ends_with(bad), "{error}");
        }
    }

    #[test]
    fn a_card_takes_the_place_of_what_its_node_had_and_of_nothing_else() {
        let cards = read(CARDS).unwrap();
        let before = "# mine\nssh-rsa ROOT root@admin\nrestrict,command=\"/usr/sbin/xen-handoff serve\" ssh-ed25519 SSSS xen-handoff\n\
             restrict,command=\"/usr/sbin/xen-handoff serve --peer n1\" ssh-ed25519 OLD xen-handoff n1\n\
             restrict,command=\"/usr/sbin/xen-handoff serve --peer n11\" ssh-ed25519 N11 xen-handoff n11";
        let after = authorized(before, &cards, &node("n2"));
        let lines: Vec<&str> = after.lines().collect();
        assert_eq!(lines.len(), 5, "{after}");
        assert!(lines[3].contains("N11") && !after.contains("OLD") && after.ends_with('\n'), "{after}");
        assert_eq!(
            lines[4],
            "restrict,from=\"192.0.2.1,fd00::1\",command=\"/usr/sbin/xen-handoff serve --peer n1\" ssh-ed25519 AAAA xen-handoff n1"
        );
        assert_eq!(authorized(&after, &cards, &node("n2")), after, "given twice");
        let hosts = known_hosts("n1 ssh-ed25519 STALE\nn2 ssh-ed25519 KEPT\n", &cards);
        assert_eq!(hosts, "n2 ssh-ed25519 KEPT\nn1 ssh-ed25519 HHHH\n");
        let confined = after.replace(
            "command=\"/usr/sbin/xen-handoff serve --peer n1",
            "command=\"aa-exec -p p -- /usr/sbin/xen-handoff serve --peer n1",
        );
        assert_eq!(authorized(&confined, &cards, &node("n2")), confined, "an administrator's own words stay");
        let (keys, hosts) = without(&node("n1"), &after, &hosts);
        assert!(!keys.contains("--peer n1\"") && keys.contains("N11") && keys.contains("SSSS"), "{keys}");
        assert_eq!(hosts, "n2 ssh-ed25519 KEPT\n");
        assert!(!without_shared(&keys).contains("SSSS") && without_shared(&keys).contains("ROOT"));
    }
}
