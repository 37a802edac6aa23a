//! Measurements for operators, on their own cluster: `xen-handoff bench rtt` and `bench memory`.
//!
//! They are the two experiments by which the system that this one comes from was judged ("The Evaluation of Network
//! Performance and CPU Utilization during Transfer between Virtual Machines", 2011): the round trips to a domain while it
//! moves, and its response times and processor use while it holds more and more memory. The instruments are the same:
//! `ping` and `httperf`.
//!
//! Doing and judging are apart: [`rtt`] and [`memory`] run things and write files, [`ping`], [`httperf`], [`curl`], [`remote`]
//! each know one foreign tool, and [`series`], [`phases`], [`events`], [`usage`] are pure. The agent uses nothing of this.

pub mod curl;
pub mod events;
pub mod httperf;
pub mod measurement;
pub mod memory;
pub mod paper;
pub mod phases;
pub mod ping;
pub mod plot;
pub mod progress;
pub mod remote;
pub mod rtt;
pub mod series;
pub mod span;
pub mod table;
pub mod trigger;
pub mod usage;
