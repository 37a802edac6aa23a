//! `ocf:handoff:Xen`: an OCF resource agent for Xen domains whose stop and start are one live migration.
//!
//! **The safety promise.** At no instant do two nodes run the same domain, and a domain is booted from its
//! configuration only with evidence that nobody else can be running it. Where the agent cannot tell, it fails
//! with a reason; it never guesses "not running".
//!
//! # The house
//!
//! Upper rooms use lower ones, never the other way, and no two use each other; within a room, no two files
//! do. `tests/house.rs` reads the `use` lines and keeps it so. From the top:
//!
//! | room | what is in it |
//! |---|---|
//! | `main`, [`cli`] | the command line |
//! | [`heartbeat`] | how classic Heartbeat calls us |
//! | [`agent`] | one file per OCF action: read the world, decide, act |
//! | [`serve`] | what another node may ask: the far end of a connection, one file a verb |
//! | [`tool`] | the operators' subcommands |
//! | [`worker`] | a move that this node begins, in a process of its own: fetch, push, carry, and the order that they get |
//! | [`keeper`] | an offer's end, and the host's guard |
//! | [`transfer`] | xl's migration stream between two nodes: sender, receiver, our pipe in it, and what a broken one leaves |
//! | [`peer`] | a node that is asked |
//! | [`here`] | what this process works with, made once in `main`: this host, its cluster manager, the way to the others |
//! | [`cluster`] | what Pacemaker or Heartbeat plans, who its members are, and its ledger |
//! | [`wire`] | one connection: ssh, greeting, lines, limits, and the words of both ends |
//! | [`preflight`] | whether a node can take the domain: facts and judgement |
//! | [`node`] | this host: records, where a domain stands, memory, snapshots, shutdown, devices |
//! | [`parameters`] | the resource's parameters, and the metadata made from them |
//! | [`moves`] | what is known of a move: terms, slots, progress, the journal of moves |
//! | [`toolstack`] | `xl`, `xm`, `xe`, and which of them this host has |
//! | [`handoff`] | the protocol, without the world: phases, events, the pure [`handoff::step`](fn@handoff::step), evidence, the ledger's entries, the handshake's words |
//! | [`completion`], [`settings`], [`foreign`], [`domain`], [`address`], [`bounds`], [`command`], [`logging`], [`messages`], [`obstacle`] | what those above are made with: settings, names, processes, the log and what is said in it |
//! | [`ocf`] | the standard's nouns: environment, exit codes, spans of time |
//! | [`small_file`], [`clock`], [`descriptor`], [`host`], [`at_once`] | the ground: files, time, descriptors, paths, threads |

// Times, sizes and rates come from outside or are made from what does: no unchecked arithmetic with them
// (`clippy.toml` says what is left out: what counts things here).
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

pub mod address;
pub mod agent;
pub mod at_once;
pub mod bounds;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod command;
pub mod completion;
pub mod descriptor;
pub mod domain;
pub mod foreign;
pub mod handoff;
pub mod heartbeat;
pub mod here;
pub mod host;
pub mod keeper;
pub mod logging;
pub mod messages;
pub mod moves;
pub mod node;
pub mod obstacle;
pub mod ocf;
pub mod parameters;
pub mod peer;
pub mod preflight;
pub mod serve;
pub mod settings;
pub mod small_file;
pub mod tool;
pub mod toolstack;
pub mod transfer;
pub mod wire;
pub mod worker;

/// This build's version, as `--version` prints it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
