//! The OCF standard's nouns: environment, parameters, exit codes, metadata. Nothing here knows Xen.
//!
//! Standard: OCF Resource Agent API 1.1 (ClusterLabs/OCF-spec, `ra/1.1/resource-agent-api.md`). The metadata
//! is valid against `ra-api-1.dtd` of resource-agents, which `ocf-tester` asks for, with what OCF 1.1 adds
//! declared in the document itself.

pub mod environment;
pub mod exit_code;
pub mod span;
