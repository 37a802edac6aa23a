//! One finding, and the names of all checks.

use serde::Serialize;

use crate::preflight::Verdict;

/// The names of all checks, in their order.
pub const CHECKS: [&str; 17] = [
    "cluster",
    "domains",
    "fencing",
    "transport",
    "ways",
    "version",
    "keys",
    "authorized",
    "host-keys",
    "guard",
    "xendomains",
    "planner",
    "xen",
    "clock",
    "configuration",
    "storage",
    "timeouts",
];

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) check: &'static str,
    /// The node, pair of nodes or resource that it is about.
    pub(super) of: String,
    pub(super) result: Verdict,
    pub(super) found: String,
    /// What would help; empty where nothing need be done.
    #[serde(rename = "do")]
    pub(super) advice: String,
}

impl Finding {
    pub(super) fn new(
        check: &'static str,
        of: impl ToString,
        result: Verdict,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self { check, of: of.to_string(), result, found: found.into(), advice: advice.into() }
    }

    pub(super) fn ok(check: &'static str, of: impl ToString, found: impl Into<String>) -> Self {
        Self::new(check, of, Verdict::Ok, found, "")
    }
}
