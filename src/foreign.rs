//! How a room names its readers of text from outside (what a tool, a file or another node can say to this
//! program), for `make fuzz`, which gives each of them what nobody ever wrote. No other part of the program
//! uses that.
//!
//! Each such room has a list `FOREIGN`, and `tests/fuzz` has all lists. What is public itself (frames of a
//! stream, files below a root) it calls as it is.

use crate::domain::DomainName;
use crate::host::NodeName;

/// One reader.
#[derive(Debug, Clone, Copy)]
pub struct Foreign {
    /// What it reads: the tool, or the file.
    pub name: &'static str,
    /// Reads it and forgets what it said.
    pub read: fn(&str),
}

/// Calls what needs the names of a domain and of a node.
pub(crate) fn of_x0(read: impl FnOnce(&DomainName, &NodeName)) {
    if let (Ok(domain), Ok(node)) = (DomainName::new("x0"), NodeName::new("n1")) {
        read(&domain, &node);
    }
}
