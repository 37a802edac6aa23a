//! The names that an operator may type: the cluster's nodes, its resources and their domains; and what is
//! said where a name is none of them.

use std::collections::BTreeSet;

use crate::cluster::managed::ManagedDomain;
use crate::cluster::{ClusterError, ClusterView};
use crate::domain::DomainName;
use crate::here::Here;
use crate::host::{NodeName, Root};
use crate::parameters::Parameters;
use crate::wire::ssh::KNOWN_HOSTS;

/// Nobody knows this name. A mistake of whoever typed it, with an exit status of its own.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("there is no {kind} {name}{}", self.hint())]
pub struct UnknownName {
    /// A node, a domain, ...
    kind: &'static str,
    name: String,
    nearest: Option<String>,
    known: Vec<String>,
}

impl UnknownName {
    /// A name that is none of the known ones.
    pub(super) fn new(kind: &'static str, name: &str, known: impl IntoIterator<Item = String>) -> Self {
        let known: Vec<String> = known.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        let nearest = nearest(name, &known).map(str::to_owned);
        Self { kind, name: name.to_owned(), nearest, known }
    }

    /// One for which somebody else has found the nearest one.
    pub(super) fn with(kind: &'static str, name: &str, nearest: Option<String>) -> Self {
        Self { kind, name: name.to_owned(), nearest, known: Vec::new() }
    }

    fn hint(&self) -> String {
        /// So many names are still a help.
        const FEW: usize = 12;
        match &self.nearest {
            Some(nearest) => format!("; did you mean {nearest}?"),
            None if self.known.is_empty() => String::new(),
            None if self.known.len() <= FEW => format!("; there are {}", self.known.join(", ")),
            None => format!("; there are {} others", self.known.len()),
        }
    }
}

/// The known name that is most like this one: by letters that were left out, doubled, changed or swapped.
fn nearest<'a>(name: &str, known: &'a [String]) -> Option<&'a str> {
    let (name, most) = (name.to_lowercase(), (name.chars().count() / 3).max(1));
    let distance = |known: &String| strsim::damerau_levenshtein(&name, &known.to_lowercase());
    let near = known.iter().map(|known| (distance(known), known)).filter(|(distance, _)| *distance <= most);
    near.min_by_key(|(distance, _)| *distance).map(|(_, known)| known.as_str())
}

/// The nodes of the cluster, as far as this one knows them.
#[derive(Debug)]
pub(super) struct Nodes {
    /// This one.
    pub(super) me: NodeName,
    /// All others.
    pub(super) others: Vec<NodeName>,
    /// Why they were not the cluster manager's to say, and who said it instead.
    pub(super) caveat: Option<String>,
}

impl Nodes {
    /// Asks the cluster manager; where none answers, the known hosts of the transport, which names every
    /// node.
    pub(super) fn of(root: &Root, cluster: &dyn ClusterView) -> Self {
        let me = cluster.own_name();
        let (all, caveat) = match cluster.nodes() {
            Ok(all) => (all, None),
            Err(error) => {
                let listed = in_known_hosts(root);
                let who = if listed.is_empty() {
                    "which other nodes there are is not known".to_owned()
                } else {
                    format!("the other nodes are those of {}", root.key_folder().join(KNOWN_HOSTS).display())
                };
                (listed, Some(format!("{}: {who}", in_words(&error))))
            }
        };
        let others = all.into_iter().filter(|node| *node != me).collect();
        Self { me, others, caveat }
    }

    /// All of them, this one first.
    pub(super) fn all(&self) -> Vec<NodeName> {
        std::iter::once(&self.me).chain(&self.others).cloned().collect()
    }

    /// Whether this is one of them.
    ///
    /// # Errors
    /// [`UnknownName`], if the cluster itself has said who its nodes are.
    pub(super) fn check(&self, node: &NodeName) -> Result<(), UnknownName> {
        if *node == self.me || self.others.contains(node) || self.caveat.is_some() {
            return Ok(());
        }
        Err(UnknownName::new("node", node.as_str(), self.all().iter().map(ToString::to_string)))
    }
}

/// Why the cluster manager says nothing, for whoever typed a command.
pub(super) fn in_words(error: &ClusterError) -> String {
    match error {
        ClusterError::NotRunning => "the cluster is down on this node".to_owned(),
        error => error.to_string(),
    }
}

/// The nodes that `known_hosts` names. Hashed names say nothing.
pub(super) fn in_known_hosts(root: &Root) -> Vec<NodeName> {
    let text = std::fs::read_to_string(root.key_folder().join(KNOWN_HOSTS)).unwrap_or_default();
    let names: BTreeSet<NodeName> = text
        .lines()
        .filter(|line| !line.starts_with(['#', '@', '|']))
        .filter_map(|line| line.split_whitespace().next()?.split(',').next())
        // Nodes are known by their names; an address is none.
        .filter(|name| name.parse::<std::net::IpAddr>().is_err())
        .filter_map(|name| NodeName::new(name).ok())
        .collect();
    names.into_iter().collect()
}

/// The domains that the cluster manages, each with what it is called on its hosts.
#[derive(Debug)]
pub(super) struct Domains {
    /// The resources; or why nobody says which there are.
    pub(super) managed: Result<Vec<(ManagedDomain, Option<DomainName>)>, String>,
}

impl Domains {
    /// Asks the cluster manager.
    pub(super) fn of(here: &Here) -> Self {
        let named = |managed: ManagedDomain| {
            let (parameters, _) = Parameters::judge(&managed.parameters);
            let domain = here.domain_of(&parameters, &managed.resource).ok();
            (managed, domain)
        };
        let managed = here.cluster().domains().map_err(|error| in_words(&error));
        Self { managed: managed.map(|all| all.into_iter().map(named).collect()) }
    }

    /// The resource that `name` means, by its own id or by its domain's name.
    pub(super) fn find(&self, name: &str) -> Option<&(ManagedDomain, Option<DomainName>)> {
        let all = self.managed.as_ref().ok()?;
        let by_id = all.iter().find(|(managed, _)| managed.is_called(name));
        by_id.or_else(|| {
            all.iter().find(|(_, domain)| domain.as_ref().is_some_and(|own| own.as_str() == name))
        })
    }

    /// Ids and domains.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        let all = self.managed.as_ref().map(Vec::as_slice).unwrap_or_default();
        all.iter().flat_map(|(managed, domain)| {
            [Some(managed.resource.clone()), domain.as_ref().map(ToString::to_string)].into_iter().flatten()
        })
    }

    /// What the domain is called that `name` means; `name` itself where the cluster does not know it.
    ///
    /// # Errors
    /// If that cannot be the name of a domain.
    pub(super) fn domain(&self, name: &str) -> anyhow::Result<DomainName> {
        match self.find(name) {
            Some((_, Some(domain))) => Ok(domain.clone()),
            _ => Ok(DomainName::new(name)?),
        }
    }

    /// The error for a name that neither the cluster nor any of `others` knows; that it may be known where
    /// nobody could be asked is said.
    pub(super) fn unknown(&self, name: &str, others: impl IntoIterator<Item = String>) -> anyhow::Error {
        match &self.managed {
            Ok(_) => UnknownName::new("resource or domain", name, self.names().chain(others)).into(),
            Err(why) => anyhow::anyhow!("{why}, and nothing here knows {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_name_is_answered_with_the_one_that_was_meant() {
        let known = || ["n1", "n2", "web-server", "x0"].map(str::to_owned);
        let said = |name: &str| UnknownName::new("node", name, known()).to_string();
        assert_eq!(said("web-sevrer"), "there is no node web-sevrer; did you mean web-server?");
        assert_eq!(said("xO"), "there is no node xO; did you mean x0?");
        assert!(
            said("quite-another").ends_with("; there are n1, n2, web-server, x0"),
            "{}",
            said("quite-another")
        );
    }

    #[test]
    fn known_hosts_names_the_nodes_of_a_cluster_that_is_down() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        std::fs::create_dir_all(root.key_folder()).unwrap();
        let text = "# ours\nn2 ssh-ed25519 AAAA\nn1,10.0.0.1 ssh-ed25519 AAAA\n10.0.0.2 ssh-ed25519 AAAA\n|1|abc= ssh-rsa AAAA\n";
        std::fs::write(root.key_folder().join(KNOWN_HOSTS), text).unwrap();
        let names: Vec<String> = in_known_hosts(&root).iter().map(ToString::to_string).collect();
        assert_eq!(names, ["n1", "n2"]);
    }
}
