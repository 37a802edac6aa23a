//! This host's own parts, made once: its records and its toolstack.

use std::cell::OnceCell;
use std::rc::Rc;

use super::record::Store;
use crate::host::Root;
use crate::toolstack::xl::Xl;
use crate::toolstack::{self, Toolstack};

/// What every look at this host, and all that is done to a domain here, is made with.
#[derive(Debug, Clone)]
pub struct ThisHost {
    /// The world.
    pub root: Root,
    /// The records.
    pub store: Store,
    /// xl itself, for what only its streams need. Whether there is one shows at the first call.
    pub xl: Xl,
    toolstack: OnceCell<Rc<dyn Toolstack>>,
}

impl ThisHost {
    /// The host below `root`. Looks at nothing yet.
    pub fn new(root: &Root) -> Self {
        Self {
            root: root.clone(),
            store: Store::new(root.state_folder()),
            xl: Xl::new(root),
            toolstack: OnceCell::new(),
        }
    }

    /// The same with this toolstack, whatever is installed.
    #[must_use]
    pub fn with_toolstack(self, toolstack: Rc<dyn Toolstack>) -> Self {
        Self { toolstack: OnceCell::from(toolstack), ..self }
    }

    /// Its toolstack, looked for once.
    pub fn toolstack(&self) -> &Rc<dyn Toolstack> {
        self.toolstack.get_or_init(|| toolstack::of(&self.root, &self.xl))
    }
}
