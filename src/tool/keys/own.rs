//! This node's pair, and its files that say what it knows of the others.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use rustix::io::Errno;

use super::card::{self, ANYWHERE, Card, Cards};
use super::far::{self, KEY_FOLDER};
use crate::address::Address;
use crate::clock::Deadline;
use crate::command::{self, Tool};
use crate::here::Here;
use crate::host::{NodeName, Root};
use crate::small_file;
use crate::tool::names::Nodes;
use crate::tool::shown::counted;
use crate::tool::way;
use crate::wire::authorized::{AUTHORIZED_KEYS, HOST_KEY, LARGEST};
use crate::wire::ssh::{KEY, KNOWN_HOSTS, NEXT_KEY, dial_with};

/// Limit of making a key, and of asking for this host's addresses.
const LIMIT: Duration = Duration::from_secs(30);
/// Limit of trying a new key on one node.
const TRY_LIMIT: Duration = Duration::from_secs(30);

/// This node and its files.
pub(super) struct Own<'a> {
    pub(super) here: &'a Here,
    pub(super) nodes: Nodes,
    pub(super) me: NodeName,
    pub(super) from: Option<String>,
    pub(super) new: bool,
}

/// A text file that may not be there yet.
fn text_of(path: &Path) -> anyhow::Result<String> {
    match small_file::read(path, LARGEST) {
        Ok(bytes) => String::from_utf8(bytes).with_context(|| format!("{} is no text", path.display())),
        Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => Ok(String::new()),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

impl Own<'_> {
    pub(super) fn key(&self, name: &str) -> PathBuf {
        self.here.root.key_folder().join(name)
    }

    fn public(&self, name: &str) -> PathBuf {
        self.key(&format!("{name}.pub"))
    }

    /// A public half that is there, and whether it is this node's own.
    fn parts(&self, name: &str) -> anyhow::Result<(String, bool)> {
        let path = self.public(name);
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        card::parts(&text).with_context(|| format!("{} is no public key", path.display()))
    }

    /// True if it was made.
    pub(super) fn make_unless_there(&self) -> anyhow::Result<bool> {
        if self.key(KEY).is_file() {
            return Ok(false);
        }
        if !self.new {
            self.refuse_beside_a_shared_pair()?;
        }
        self.make(KEY)?;
        Ok(true)
    }

    /// A pair that is the same on every node is there, and this node has none: one of its own would have the
    /// others refuse it until they know it. The traces of such a pair: what was copied here of it, and the
    /// other nodes themselves.
    ///
    /// # Errors
    /// That there is one, and what to do.
    fn refuse_beside_a_shared_pair(&self) -> anyhow::Result<()> {
        let folder = self.here.root.key_folder();
        let or =
            "or xen-handoff keys --new makes one of this node's own, which every other node must be told";
        let accepted = text_of(&self.here.root.join(AUTHORIZED_KEYS))?;
        if accepted.lines().any(card::is_shared) {
            let folder = folder.display();
            anyhow::bail!(
                "this cluster has one key pair for all nodes ({AUTHORIZED_KEYS} has its line): copy {KEY} and {KEY}.pub from a node that has them to \
                 {folder} (mode 0600), {or}"
            );
        }
        for node in &self.nodes.others {
            if far::has_shared(&self.here.root, node) {
                let folder = folder.display();
                anyhow::bail!(
                    "{node} has one key pair for all nodes: copy {KEY} and {KEY}.pub from {node}:{KEY_FOLDER} to {folder} (mode 0600), {or}"
                );
            }
        }
        Ok(())
    }

    pub(super) fn make(&self, name: &str) -> anyhow::Result<()> {
        let folder = self.here.root.key_folder();
        small_file::make_folder(&folder).with_context(|| format!("making {}", folder.display()))?;
        let path = self.key(name);
        let (path, comment) = (path.to_string_lossy(), format!("xen-handoff {}", self.me));
        let args = ["-q", "-t", "ed25519", "-N", "", "-C", &comment, "-f", path.as_ref()];
        command::run(&Tool::find(&self.here.root, "ssh-keygen")?, &args, None, LIMIT)?.success()?;
        Ok(())
    }

    /// From where this node comes: as it was given, or its own addresses; from anywhere where these cannot be
    /// found out.
    fn origin(&self) -> String {
        match self.from.as_deref() {
            Some("any") => return ANYWHERE.to_owned(),
            Some(from) => return from.to_owned(),
            None => {}
        }
        addresses(&self.here.root).unwrap_or_else(|why| {
            // Where nobody reads it, the line says it, too.
            let _ = writeln!(
                std::io::stderr(),
                "xen-handoff: the addresses of this node could not be found out ({why}): its key is taken from anywhere; --from ADDRESSES says from where"
            );
            ANYWHERE.to_owned()
        })
    }

    /// What the others must know of this node.
    pub(super) fn card(&self) -> anyhow::Result<Cards> {
        let mut card = Card::default();
        let origin = self.origin();
        for name in [KEY, NEXT_KEY] {
            if !self.key(name).is_file() {
                continue;
            }
            let (key, is_own) = self.parts(name)?;
            if is_own {
                card.keys.push((origin.clone(), key));
            }
        }
        anyhow::ensure!(
            !card.keys.is_empty(),
            "{} is a pair for all nodes; xen-handoff keys --rotate gives this node one of its own",
            self.key(KEY).display()
        );
        let host = text_of(&self.here.root.join(HOST_KEY))?;
        card.hosts.extend(card::parts(&host).map(|(key, _)| key));
        if card.hosts.is_empty() {
            // Where nobody reads it, the missing line says it, too.
            let _ = writeln!(
                std::io::stderr(),
                "xen-handoff: there is no {HOST_KEY}: the others have to learn this host's key by hand"
            );
        }
        Ok([(self.me.clone(), card)].into())
    }

    /// The line for `authorized_keys` on the other nodes.
    pub(super) fn line(&self) -> anyhow::Result<String> {
        let (key, is_own) = self.parts(KEY)?;
        if is_own {
            return Ok(card::authorized_line(&self.me, &self.origin(), &key));
        }
        Ok(card::shared_line(&text_of(&self.public(KEY))?))
    }

    pub(super) fn show(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let made = self.make_unless_there()?;
        let (_, is_own) = self.parts(KEY)?;
        let whose = if is_own { format!("of {}", self.me) } else { "of all nodes".to_owned() };
        writeln!(
            out,
            "{} key pair {whose}: {}",
            if made { "Made the" } else { "There is a" },
            self.key(KEY).display()
        )?;
        if !is_own {
            writeln!(
                out,
                "The same pair belongs on every node (mode 0600), and on every node this line of root's ~/.ssh/authorized_keys:\n{}\n\
                 A pair of each node's own is safer: xen-handoff keys --rotate, on one node after the other.",
                self.line()?
            )?;
            return Ok(());
        }
        writeln!(
            out,
            "\nEvery node needs a line of each other one. Where root's ssh gets from here to all of them:\n\
             \x20 xen-handoff keys --distribute\n\
             Where it does not: on every node\n\
             \x20 xen-handoff keys --export >{}.keys\n\
             and when these files are on all of them, on every node\n\
             \x20 cat *.keys | xen-handoff keys --accept\n\
             Then, on one node:\n\
             \x20 xen-handoff check",
            self.me
        )?;
        Ok(())
    }

    /// Puts the cards into this node's files.
    pub(super) fn accept(&self, cards: &Cards, out: &mut dyn Write) -> anyhow::Result<()> {
        let keys = self.here.root.join(AUTHORIZED_KEYS);
        let hosts = self.key(KNOWN_HOSTS);
        let (old_keys, old_hosts) = (text_of(&keys)?, text_of(&hosts)?);
        // A node that this one knows and does not let in is the lesser half.
        let (new_keys, new_hosts) =
            (card::authorized(&old_keys, cards, &self.me), card::known_hosts(&old_hosts, cards));
        put(&hosts, &old_hosts, &new_hosts)?;
        put(&keys, &old_keys, &new_keys)?;
        let names: Vec<&str> = cards.keys().filter(|node| **node != self.me).map(NodeName::as_str).collect();
        let names = if names.is_empty() { "no other node".to_owned() } else { names.join(", ") };
        writeln!(out, "{} knows {names}", self.me)?;
        Ok(())
    }

    /// Whether the next key gets to all other nodes; else which of them do not take it, and why.
    pub(super) fn try_next(&self) -> Vec<(NodeName, String)> {
        let ssh = way(self.here);
        let next = self.key(NEXT_KEY);
        let try_one = |node: &NodeName| -> Result<(), String> {
            let address: Address = ssh.address(node).map_err(|error| error.to_string())?;
            let deadline = Deadline::after(TRY_LIMIT);
            dial_with(&self.here.root, &next, &address, deadline).map(drop).map_err(|error| error.to_string())
        };
        self.nodes.others.iter().filter_map(|node| Some((node.clone(), try_one(node).err()?))).collect()
    }

    /// The next pair takes the place of this one. The private half decides; a public half that does not
    /// belong to it would have ssh refuse both, so it goes first.
    pub(super) fn put_next_in_place(&self) -> anyhow::Result<()> {
        let moved = || -> std::io::Result<()> {
            std::fs::remove_file(self.public(KEY)).or_else(|error| match error.kind() {
                std::io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            })?;
            std::fs::rename(self.key(NEXT_KEY), self.key(KEY))?;
            std::fs::rename(self.public(NEXT_KEY), self.public(KEY))
        };
        moved().with_context(|| format!("putting {} in its place", self.key(NEXT_KEY).display()))
    }

    /// By hand, in two steps: a next pair; and when the others take it, in the place of the old one.
    pub(super) fn rotate(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        if !self.key(KEY).is_file() {
            return self.show(out);
        }
        if !self.key(NEXT_KEY).is_file() {
            self.make(NEXT_KEY)?;
            writeln!(
                out,
                "# Made the next key pair of {}: {}\n\
                 # 1. Give these lines to xen-handoff keys --accept on every other node; the old key goes on working:\n{}\
                 # 2. Then give here once more: xen-handoff keys --rotate",
                self.me,
                self.key(NEXT_KEY).display(),
                card::text(&self.card()?)
            )?;
            return Ok(());
        }
        if let Some((node, why)) = self.try_next().into_iter().next() {
            anyhow::bail!("{node} does not take the next key yet, and the old one stays: {why}");
        }
        self.put_next_in_place()?;
        writeln!(
            out,
            "# The next key pair has taken the place of the old one.\n\
             # These lines, given to xen-handoff keys --accept on every other node, take the old key away there:\n{}",
            card::text(&self.card()?)
        )?;
        Ok(())
    }

    pub(super) fn remove(&self, node: &NodeName, out: &mut dyn Write) -> anyhow::Result<()> {
        anyhow::ensure!(*node != self.me, "{node} is this node");
        let (keys, hosts) = (self.here.root.join(AUTHORIZED_KEYS), self.key(KNOWN_HOSTS));
        let (old_keys, old_hosts) = (text_of(&keys)?, text_of(&hosts)?);
        let (new_keys, new_hosts) = card::without(node, &old_keys, &old_hosts);
        let had = (
            old_keys.lines().count() - new_keys.lines().count(),
            old_hosts.lines().count() - new_hosts.lines().count(),
        );
        put(&keys, &old_keys, &new_keys)?;
        put(&hosts, &old_hosts, &new_hosts)?;
        writeln!(
            out,
            "{}: {} and {} of {node} taken away",
            self.me,
            counted(had.0, "key"),
            counted(had.1, "host key")
        )?;
        Ok(())
    }

    pub(super) fn remove_shared(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let (_, is_own) = self.parts(KEY)?;
        anyhow::ensure!(
            is_own,
            "this node still comes with the pair of all nodes: xen-handoff keys --rotate gives it one of its own, which is to be done on every node first"
        );
        let path = self.here.root.join(AUTHORIZED_KEYS);
        let old = text_of(&path)?;
        let new = card::without_shared(&old);
        put(&path, &old, &new)?;
        let had = old.lines().count() - new.lines().count();
        writeln!(out, "{}: {} of the pair of all nodes taken away", self.me, counted(had, "line"))?;
        Ok(())
    }
}

/// Nothing is written where nothing changes.
fn put(path: &Path, old: &str, new: &str) -> anyhow::Result<()> {
    if old == new {
        return Ok(());
    }
    small_file::replace(path, new.as_bytes()).with_context(|| format!("writing {}", path.display()))
}

/// The addresses of this host that others can see, with commas between.
fn addresses(root: &Root) -> anyhow::Result<String> {
    let said =
        command::run(&Tool::find(root, "ip")?, &["-j", "address", "show", "scope", "global"], None, LIMIT)?;
    let said = said.success()?;
    let links: serde_json::Value = serde_json::from_str(&said.stdout).context("reading what ip says")?;
    let links = links.as_array().map(Vec::as_slice).unwrap_or_default();
    let all = links.iter().filter_map(|link| link["addr_info"].as_array()).flatten();
    let mut all: Vec<&str> = all.filter_map(|address| address["local"].as_str()).collect();
    all.sort_unstable();
    all.dedup();
    anyhow::ensure!(!all.is_empty(), "it has none");
    let text = all.join(",");
    anyhow::ensure!(card::is_origin(&text), "there are too many, or they are no addresses");
    Ok(text)
}
