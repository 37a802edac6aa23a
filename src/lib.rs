//! `ocf:handoff:Xen`: an OCF resource agent for Xen domains whose stop and start are one live migration.
//!
//! **The safety promise.** At no instant do two nodes run the same domain, and a domain is booted from its
//! configuration only with evidence that nobody else can be running it. Where the agent cannot tell, it fails with
//! a reason; it never guesses "not running".
//!
//! # Where to find what
//!
//! | room | what is in it |
//! |---|---|
//! | [`agent`] | one file per OCF action: read the world, decide, act |
//! | [`handoff`] | the protocol: phases, events, the pure [`handoff::step`](fn@handoff::step), evidence, the record on disk |
//! | [`transfer`] | xl's migration stream between two nodes: sender, receiver, and our pipe in it |
//! | [`transport`] | ssh between two nodes: verbs, never command lines |
//! | [`cluster`] | what Pacemaker or Heartbeat plans, who its members are, and its ledger |
//! | [`heartbeat`] | how classic Heartbeat calls us |
//! | [`preflight`] | whether another node can take the domain |
//! | [`snapshot`] | a domain's saved memory, and when it may be used |
//! | [`memory`] | room for a domain, out of the memory of others |
//! | [`toolstack`] | `xl`, `xm`, `xe`, and which of them this host has |
//! | [`ocf`] | the standard's nouns: environment, parameters, exit codes, metadata (knows no Xen) |
//! | [`domain`] | names, ids, what a listing says of a domain |
//! | [`tool`] | the operators' subcommands |
//! | [`bench`] | the operators' measurements: round trips and memory while a domain moves |
//! | [`command`], [`clock`], [`host`], [`descriptor`], [`small_file`], [`settings`], [`logging`] | the outside world: processes, time, paths, descriptors, files, settings, log |

pub mod agent;
pub mod bench;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod command;
pub mod descriptor;
pub mod domain;
pub mod handoff;
pub mod heartbeat;
pub mod host;
pub mod logging;
pub mod memory;
pub mod ocf;
pub mod preflight;
pub mod settings;
pub mod small_file;
pub mod snapshot;
pub mod tool;
pub mod toolstack;
pub mod transfer;
pub mod transport;

/// This build's version, as `--version` prints it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
