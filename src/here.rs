//! What this process works with: this host, its cluster manager, and the way to the other nodes. Made once,
//! in `main`, and handed down; what costs something to make is made when it is first asked for. A test makes
//! one of stand-ins.

use std::cell::OnceCell;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::address::Reach;
use crate::cluster::{ClusterView, detect, detect_reached};
use crate::domain::DomainName;
use crate::host::Root;
use crate::node::host::ThisHost;
use crate::parameters::Parameters;
use crate::toolstack::Toolstack;
use crate::wire::Dial;
use crate::wire::warm::Ssh;

#[cfg(test)]
pub mod fake;

/// Limit of reading a configuration file.
pub const CONFIG_LIMIT: Duration = Duration::from_secs(15);

/// The world as this process has it.
#[derive(Debug, Clone)]
pub struct Here {
    host: ThisHost,
    cluster: OnceCell<Rc<dyn ClusterView>>,
    /// Whether the cluster manager was given and not found.
    is_given: bool,
    dial: Arc<dyn Dial>,
}

/// This host's own parts are those of the whole, too.
impl Deref for Here {
    type Target = ThisHost;
    fn deref(&self) -> &ThisHost {
        &self.host
    }
}

impl Here {
    /// The world below `root`. Looks at nothing yet.
    pub fn new(root: &Root) -> Self {
        let dial = Arc::new(Ssh::of(root));
        Self { host: ThisHost::new(root), cluster: OnceCell::new(), is_given: false, dial }
    }

    /// One of these parts, whatever is installed.
    pub fn of(
        root: &Root,
        toolstack: Rc<dyn Toolstack>,
        cluster: Rc<dyn ClusterView>,
        dial: Arc<dyn Dial>,
    ) -> Self {
        let host = ThisHost::new(root).with_toolstack(toolstack);
        Self { host, cluster: OnceCell::from(cluster), is_given: true, dial }
    }

    /// This host's own parts.
    pub fn host(&self) -> &ThisHost {
        &self.host
    }

    /// The cluster manager, looked for once.
    pub fn cluster(&self) -> &Rc<dyn ClusterView> {
        self.cluster.get_or_init(|| detect(&self.root))
    }

    /// The same for a resource whose parameters say how the other nodes are reached, which matters where the
    /// ledger lies on them.
    pub fn cluster_reached(&self, reach: &Reach) -> Rc<dyn ClusterView> {
        if self.is_given { Rc::clone(self.cluster()) } else { detect_reached(&self.root, reach) }
    }

    /// The domain of a resource: its parameter `name`, or what its configuration file on this node says, or
    /// its own id.
    ///
    /// # Errors
    /// If the file cannot be read, or the id is no name of a domain.
    pub fn domain_of(&self, parameters: &Parameters, resource: &str) -> anyhow::Result<DomainName> {
        if let Some(name) = &parameters.name {
            return Ok(name.clone());
        }
        let toolstack = self.toolstack();
        let has_files = toolstack.kind().has_files();
        match parameters.xmfile.as_deref().filter(|file| has_files && file.is_file()) {
            Some(file) => Ok(toolstack.read_config(file, CONFIG_LIMIT)?.name),
            None => Ok(DomainName::new(resource)?),
        }
    }

    /// How other nodes are called.
    pub fn dial(&self) -> &Arc<dyn Dial> {
        &self.dial
    }

    /// What another thread can make one of its own from.
    pub fn seed(&self) -> Seed {
        Seed { root: self.root.clone(), dial: Arc::clone(&self.dial) }
    }
}

/// What goes to another thread.
#[derive(Debug, Clone)]
pub struct Seed {
    root: Root,
    dial: Arc<dyn Dial>,
}

impl Seed {
    /// The world of that thread.
    pub fn grow(self) -> Here {
        Here { dial: self.dial, ..Here::new(&self.root) }
    }
}
