//! What xl is given to read. On EL it runs confined below Pacemaker (`doc/selinux.md`) and may not read `/run` or `/tmp`: every
//! path on its command line is the administrator's own.

use crate::world::{Call, World};
use crate::{NODES, eventually};

/// Every path that xl was given on that host, as seen from its root folder.
fn paths_given_to_xl(world: &World, node: &str) -> Vec<String> {
    let root = world.host(node).root.to_string_lossy().into_owned();
    let calls = world.host(node).root.join("var/lib/xl-standin/commands");
    let calls = std::fs::read_to_string(calls).unwrap_or_default();
    calls
        .split_whitespace()
        // An option may have its value behind an equals sign.
        .flat_map(|word| word.split(['=', '"', '\'']))
        .filter(|word| word.starts_with('/'))
        .map(|path| path.strip_prefix(&root).unwrap_or(path).to_owned())
        .collect()
}

/// Whoever is told to do this has done it.
fn done(call: &Call) {
    assert_eq!(call.code, 0, "{}", call.reason);
}

#[test]
fn xl_is_handed_no_file_of_run_or_tmp() {
    let world = World::new(&NODES);
    for node in NODES {
        std::fs::create_dir_all(world.host(node).root.join("srv/saved")).unwrap();
    }
    let (n1, n2) = (world.host("n1"), world.host("n2"));
    n1.succeeds("start");
    assert_eq!(n1.act("monitor", &[]).code, 0);
    n1.succeeds("validate-all");
    // A handoff there, the cluster's own migration back, and a stop that saves, with what is restored.
    world.plan(&NODES, Some("n2"));
    n1.succeeds("stop");
    n2.succeeds("start");
    eventually("the source has nothing left", || n1.domains().is_empty() && n1.phase() == "idle");
    let ends = [("OCF_RESKEY_CRM_meta_migrate_source", "n2"), ("OCF_RESKEY_CRM_meta_migrate_target", "n1")];
    world.plan(&NODES, Some("n1"));
    done(&n2.act("migrate_to", &ends));
    done(&n1.act("migrate_from", &ends));
    n2.succeeds("stop");
    world.plan(&NODES, None);
    let saved = n1.root.join("srv/saved").to_string_lossy().into_owned();
    let saves = [("OCF_RESKEY_snapshot", saved.as_str())];
    done(&n1.act("stop", &saves));
    done(&n1.act("start", &saves));
    n1.succeeds("stop");
    assert!(n1.domains().is_empty());

    let mut given: Vec<String> =
        ["n1", "n2"].iter().flat_map(|node| paths_given_to_xl(&world, node)).collect();
    given.sort();
    given.dedup();
    let executable = env!("CARGO_BIN_EXE_xen-handoff");
    let others: Vec<&String> = given
        .iter()
        .filter(|path| {
            !path.starts_with("/etc/xen/") && !path.starts_with("/srv/saved/") && *path != executable
        })
        .collect();
    assert!(others.is_empty(), "{others:?}");
    for expected in ["/etc/xen/x0.cfg", executable] {
        assert!(given.iter().any(|path| path == expected), "xl was never given {expected}: {given:?}");
    }
    assert!(given.iter().any(|path| path.starts_with("/srv/saved/")), "nothing was saved: {given:?}");
}
