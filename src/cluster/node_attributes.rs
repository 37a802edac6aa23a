//! The ledger under Pacemaker: private node attributes, kept by attrd in the memory of every member.
//!
//! An entry is written under each *survivor's* name, since the attributes of a node that leaves are dropped, and private
//! (`--private`), since a write to the CIB would abort the transition that runs. attrd loses all of them when the last
//! member's attrd goes, and a node's own when that node leaves; therefore each node also notes under its own name when it
//! first looked (`xen-handoff-since`). An offer that was made since then was written under this node's name too, and has
//! not been lost; the note's age is the ledger's.
//!
//! attrd cannot delete an attribute, only empty it: an empty value is no offer.

use std::cell::OnceCell;
use std::time::Duration;

use super::ClusterView;
use super::pacemaker::Pacemaker;
use crate::clock::UnixTime;
use crate::command::{self, CommandError, Tool};
use crate::domain::DomainName;
use crate::handoff::Epoch;
use crate::handoff::ledger::{Entries, Entry, Ledger, LedgerError, NoAnswer, from_text, to_text};
use crate::host::{NodeName, Root};

/// Limit of one call of attrd_updater. It answers in tens of milliseconds.
const LIMIT: Duration = Duration::from_secs(10);
const SINCE: &str = "xen-handoff-since";

/// attrd's memory.
#[derive(Debug, Clone)]
pub(super) struct NodeAttributes {
    root: Root,
    /// Asked for (it is a process) only where it counts.
    me: OnceCell<NodeName>,
}

fn name_of(domain: &DomainName) -> String {
    format!("xen-handoff-{domain}")
}

/// Where a node says what it calls a resource's domain. No domain's name has this character.
fn name_note(resource: &str) -> String {
    format!("xen-handoff-name@{resource}")
}

impl NodeAttributes {
    pub(super) fn new(root: &Root) -> Self {
        Self { root: root.clone(), me: OnceCell::new() }
    }

    fn me(&self) -> &NodeName {
        self.me.get_or_init(|| Pacemaker::new(&self.root).own_name())
    }

    fn run(&self, args: &[&str]) -> Result<command::Output, CommandError> {
        command::run(&Tool::find(&self.root, "attrd_updater")?, args, None, LIMIT)
    }

    fn set(&self, node: &NodeName, name: &str, value: &str) -> Result<(), CommandError> {
        self.run(&["--private", "-N", node.as_str(), "-n", name, "-U", value])?.success()?;
        Ok(())
    }

    /// Whether the agent has left a note under this node's name: it has run there since the node joined, and each probe leaves one.
    pub(super) fn has_noted(&self, node: &NodeName, resource: &str) -> Result<bool, NoAnswer> {
        let notes = [self.values(SINCE)?, self.values(&name_note(resource))?];
        Ok(notes.iter().flatten().any(|(noted, _)| noted == node))
    }

    /// The values of `name` that are not empty, by node.
    fn values(&self, name: &str) -> Result<Vec<(NodeName, String)>, NoAnswer> {
        let unreadable = |error: &dyn std::fmt::Display| NoAnswer::Unreadable(error.to_string());
        let output = self.run(&["-Q", "-A", "-n", name]).map_err(|error| unreadable(&error))?;
        if says_there_is_none(&output) {
            return Ok(Vec::new());
        }
        let output = output.success().map_err(|error| {
            if super::pacemaker::daemon_lives() { unreadable(&error) } else { NoAnswer::NoCluster }
        })?;
        let lines = output.stdout.lines().filter(|line| !line.trim().is_empty());
        let values: Vec<_> =
            lines.map(parse_line).collect::<Result<_, String>>().map_err(NoAnswer::Unreadable)?;
        Ok(values.into_iter().filter(|(_, value)| !value.is_empty()).collect())
    }
}

/// attrd_updater fails both when attrd does not answer and when nobody has ever set the attribute. Its words differ.
fn says_there_is_none(output: &command::Output) -> bool {
    if output.status.success() {
        return false;
    }
    let words = format!("{}{}", output.stdout, output.stderr);
    words.contains("does not exist") || words.contains("No such device or address")
}

/// `name="x" host="n1" value="v"`, as attrd_updater prints it.
fn parse_line(line: &str) -> Result<(NodeName, String), String> {
    let field = |key: &str| {
        let start = line.find(&format!("{key}=\""))? + key.len() + 2;
        Some(&line[start..start + line[start..].find('"')?])
    };
    let unreadable = || format!("attrd_updater says {line:?}");
    let node = field("host").and_then(|host| NodeName::new(host).ok()).ok_or_else(unreadable)?;
    Ok((node, field("value").ok_or_else(unreadable)?.to_owned()))
}

impl Ledger for NodeAttributes {
    fn write(&self, entry: &Entry, survivors: &[NodeName]) -> Result<(), LedgerError> {
        let (name, text) = (name_of(entry.domain()), to_text(entry));
        if survivors.is_empty() {
            return Err(LedgerError("there is no other node to write it for".to_owned()));
        }
        for node in survivors {
            self.set(node, &name, &text).map_err(|error| LedgerError(error.to_string()))?;
        }
        Ok(())
    }

    fn entries(&self, domain: &DomainName) -> Result<Entries, NoAnswer> {
        let values = self.values(&name_of(domain))?;
        let entries = Entries::gather(values.iter().map(|(_, value)| from_text(domain, value)));
        for why in &entries.unreadable {
            log::warn!("domain={domain} the ledger has an entry that this version cannot read: {why}");
        }
        Ok(entries)
    }

    fn age(&self) -> Result<Duration, NoAnswer> {
        let notes = self.values(SINCE)?;
        let own = notes.iter().find(|(node, _)| node == self.me()).and_then(|(_, value)| value.parse().ok());
        if let Some(since) = own.map(UnixTime) {
            return Ok(since.age());
        }
        self.set(self.me(), SINCE, &UnixTime::now().to_string())
            .map_err(|error| NoAnswer::Unreadable(error.to_string()))?;
        Ok(Duration::ZERO)
    }

    fn note_name(&self, resource: &str, domain: &DomainName) {
        if let Err(error) = self.set(self.me(), &name_note(resource), domain.as_str()) {
            log::info!("domain={domain} the other nodes were not told its name: {error}");
        }
    }

    fn names(&self, resource: &str) -> Result<Vec<DomainName>, NoAnswer> {
        let unreadable = |error: &dyn std::fmt::Display| NoAnswer::Unreadable(error.to_string());
        let values = self.values(&name_note(resource))?;
        let names = values.into_iter().map(|(_, name)| DomainName::new(name));
        let mut names: Vec<DomainName> =
            names.collect::<Result<_, _>>().map_err(|error| unreadable(&error))?;
        names.sort();
        names.dedup();
        Ok(names)
    }

    fn erase(&self, domain: &DomainName, epoch: Epoch) {
        let name = name_of(domain);
        let values = match self.values(&name) {
            Ok(values) => values,
            // The source has left the cluster; whoever has fetched the domain clears up.
            Err(NoAnswer::NoCluster) => return,
            Err(why) => {
                log::warn!("domain={domain} epoch={epoch} stays in the ledger: {why}");
                return;
            }
        };
        for (node, value) in values {
            let ours = from_text(domain, &value).is_ok_and(|entry| entry.epoch() == epoch);
            let erased = if ours { self.set(&node, &name, "") } else { Ok(()) };
            if let Err(error) = erased {
                log::warn!("domain={domain} epoch={epoch} stays in the ledger of {node}: {error}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_attrd_updater_gives_node_and_value() {
        let line = "name=\"xen-handoff-x0\" host=\"n2\" value=\"v=1;source=n1;epoch=7;made=1;deadline=2\"";
        let (node, value) = parse_line(line).unwrap();
        assert_eq!(node.as_str(), "n2");
        let entry = from_text(&DomainName::new("x0").unwrap(), &value).unwrap();
        assert_eq!(entry.epoch(), Epoch(7));
        assert!(parse_line("something else").is_err());
    }
}
