//! A recipe on nodes made of namespaces: what a reader of the page would do, and whether he sees what it shows.

use crate::fabric::Fabric;
use crate::recipes::Part;

/// A command that cannot be given in a node of namespaces, done in another way. True if this is one.
pub(crate) type Instead<'a> = &'a dyn Fn(&str, &str) -> bool;

/// None.
pub(crate) const AS_IT_STANDS: Instead<'static> = &|_, _| false;

/// Does what stands in a box, on `every` node where it says so, and compares what is printed with what the page shows.
pub(crate) fn follow(fabric: &Fabric, every: &[&str], part: &Part, instead: Instead<'_>) {
    match part {
        Part::File { path, append, secret, text } => {
            for node in every {
                let before = if *append { fabric.get(node, path) } else { String::new() };
                let mode = if *secret { 0o600 } else { 0o644 };
                fabric.put(node, path, mode, before + text);
            }
        }
        Part::Commands(commands) => {
            for given in commands {
                let nodes = every.iter().filter(|node| given.node == "every" || given.node == **node);
                assert!(nodes.clone().count() > 0, "{}# {}: which node?", given.node, given.command);
                for node in nodes.filter(|node| !instead(node, &given.command)) {
                    let said = fabric.on(node, &["timeout", "120", "sh", "-c", &given.command]);
                    let printed = format!("{}{}", said.stdout, said.stderr);
                    assert!(said.ok(), "{node}# {}: {printed}", given.command);
                    let missed = given.misses(&printed);
                    assert_eq!(
                        missed, None,
                        "{node}# {} does not print that, but:\n{printed}",
                        given.command
                    );
                }
            }
        }
    }
}
