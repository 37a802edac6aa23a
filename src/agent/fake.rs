//! An action of x0's resource on n1, in a world of stand-ins, for unit tests.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Action, Agent};
use crate::domain::DomainConfig;
use crate::here::fake::{World, node, x0};
use crate::ocf::environment::Environment;
use crate::worker::{Outcome, Word};

/// What the cluster gives the action, in seconds.
pub(super) const TIMEOUT: u64 = 120;

/// As the cluster calls it, with these parameters besides the usual ones. The configuration file is there and
/// can be read.
pub(super) fn agent(world: &World, action: Action, more: &[(&str, &str)]) -> Agent {
    world.xl.config.replace(Some(DomainConfig::blank(&x0())));
    let file = world.file("etc/xen/x0.cfg", "name = \"x0\"\n");
    called(world, action, file.to_str().unwrap(), more)
}

/// The same with this configuration file.
pub(super) fn called(world: &World, action: Action, file: &str, more: &[(&str, &str)]) -> Agent {
    let usual = [("name", "x0"), ("xmfile", file)];
    let parameters: BTreeMap<String, String> =
        usual.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let environment = Environment {
        root: world.here.root.clone(),
        resource: Some("x0".to_owned()),
        parameters,
        on_node: Some(node("n1")),
        timeout: Some(Duration::from_secs(TIMEOUT)),
        ..Environment::default()
    };
    Agent::new(action, &environment, &world.here).unwrap()
}

/// The worker that is started says this, and whether it was.
pub(super) fn worker_says(world: &World, outcome: &Outcome) {
    let word = serde_json::to_string(&Word { end: outcome.clone() }).unwrap();
    let asked = world.here.root.join("/asked").display().to_string();
    world.plant("xen-handoff", &format!("echo $1 >> {asked}\necho '{word}'"));
}

/// How many workers were started.
pub(super) fn workers(world: &World) -> usize {
    std::fs::read_to_string(world.here.root.join("/asked")).unwrap_or_default().lines().count()
}
