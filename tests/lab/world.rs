//! Of which suite of Debian each node is: `XEN_HANDOFF_LAB_WORLD`, which `make lab WORLD=...` sets.

use anyhow::{Result, ensure};

/// What says it: the name of one suite for all nodes, or one for each, with commas between. Without it the nodes are of bookworm.
const ASKED: &str = "XEN_HANDOFF_LAB_WORLD";

/// The suites that the lab was made to boot, the oldest first: Xen 4.17 and Pacemaker 2.1.5, Xen 4.20 and Pacemaker 3.0.0.
const SUITES: [&str; 2] = ["bookworm", "trixie"];

/// The nodes' suites, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct World(Vec<String>);

impl World {
    /// What is asked for, for so many nodes.
    pub(crate) fn asked(nodes: usize) -> Result<Self> {
        Self::read(&std::env::var(ASKED).unwrap_or_default(), nodes)
    }

    fn read(asked: &str, nodes: usize) -> Result<Self> {
        let asked = if asked.trim().is_empty() { SUITES[0] } else { asked.trim() };
        let mut suites: Vec<String> = asked.split(',').map(|suite| suite.trim().to_string()).collect();
        if let [one] = suites.as_slice() {
            suites = vec![one.clone(); nodes];
        }
        let known = suites.iter().all(|suite| SUITES.contains(&suite.as_str()));
        ensure!(known, "{ASKED}={asked}: the suites are {}", SUITES.join(", "));
        ensure!(suites.len() == nodes, "{ASKED}={asked}: there are {nodes} nodes");
        Ok(Self(suites))
    }

    /// The suite of each node.
    pub(crate) fn suites(&self) -> &[String] {
        &self.0
    }

    /// Whether the nodes differ.
    pub(crate) fn is_mixed(&self) -> bool {
        self.0.windows(2).any(|pair| pair[0] != pair[1])
    }

    /// Its name, also in the cache.
    pub(crate) fn name(&self) -> String {
        if self.is_mixed() { self.0.join("+") } else { self.0.first().cloned().unwrap_or_default() }
    }
}

/// About this file itself: [`crate::story`] tells it anywhere.
pub(crate) fn what_is_asked_for_is_read_or_refused() -> Result<()> {
    let name = |asked: &str| World::read(asked, 2).map(|world| world.name());
    ensure!(name("")? == "bookworm" && name(" trixie")? == "trixie");
    ensure!(name("bookworm,trixie")? == "bookworm+trixie" && name("trixie,trixie")? == "trixie");
    for odd in ["sid", "trixie,", "bookworm,trixie,trixie", "bookworm trixie"] {
        ensure!(name(odd).is_err(), "{odd:?} was taken for {:?}", name(odd));
    }
    Ok(())
}
