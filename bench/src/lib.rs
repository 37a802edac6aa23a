//! Measurements for operators, on their own cluster: `xen-handoff-bench rtt` and `xen-handoff-bench memory`.
//!
//! They are the two experiments by which the system that this one comes from was judged ("The Evaluation of Network
//! Performance and CPU Utilization during Transfer between Virtual Machines", 2011): the round trips to a domain while it
//! moves, and its response times and processor use while it holds more and more memory. The instruments are the same:
//! `ping` and `httperf`.
//!
//! Doing and judging are apart: [`rtt`] and [`memory`] run things and write files, [`ping`], [`httperf`], [`curl`], [`remote`]
//! each know one foreign tool; [`series`], [`phases`], [`events`] are pure, and so are [`rtt_figures`] and
//! [`memory_figures`], which make tables and pictures of what was measured.
//!
//! A package of its own, so that what is needed to measure is none of the agent's. Of the agent's library it uses how processes are
//! started and waited for, the names of hosts, and what xl says of processors.

pub mod cli;
pub mod curl;
pub mod events;
pub mod httperf;
pub mod memory;
pub mod memory_figures;
pub mod paper;
pub mod phases;
pub mod ping;
pub mod plot;
pub mod progress;
pub mod remote;
pub mod rtt;
pub mod rtt_figures;
pub mod series;
pub mod span;
pub mod table;
pub mod trigger;
pub mod usage;
pub mod ways;
