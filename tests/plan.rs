//! What a domain depends on, by the scheduler's own word, for every form that an ordering can take in Pacemaker's schema: the
//! product asks real `crm_simulate` and `crm_mon` about a CIB in which n1, where x0 and all else runs, goes into standby.
//!
//! The tools are this machine's, or, with `XEN_HANDOFF_WORLD_ROOT=FOLDER`, those of another release's root (`make worlds`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, missing_docs)]

#[path = "pacemaker/scheduler.rs"]
mod scheduler;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use xen_handoff::cluster::pacemaker::Pacemaker;
use xen_handoff::cluster::{ClusterView, Destination, Plan};
use xen_handoff::host::{NodeName, Root};

const LIMIT: Duration = Duration::from_secs(60);

/// A primitive that runs on n1.
fn primitive(id: &str, more: &str) -> String {
    format!(r#"<primitive id="{id}" class="ocf" provider="pacemaker" type="Stateful" {more}/>"#)
}

fn ran(id: &str, node: &str, operation: &str, rc: u32) -> String {
    let (key, call) = (format!("{id}_{operation}_0"), if rc == 0 { 11 } else { 5 });
    let magic = "1:1:7:aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa";
    format!(
        r#"<lrm_resource id="{id}" class="ocf" provider="pacemaker" type="Stateful"><lrm_rsc_op id="{id}_last_0"
        operation_key="{key}" operation="{operation}" transition-key="{magic}" transition-magic="0:{rc};{magic}"
        on_node="{node}" call-id="{call}" rc-code="{rc}" op-status="0" interval="0" last-rc-change="1" exec-time="1"
        queue-time="0"/></lrm_resource>"#
    )
}

/// A cluster of n1, in standby, and n2. `running`: the instances that run on n1; `there`: those that run on n2.
struct Cluster {
    resources: String,
    constraints: &'static str,
    tags: &'static str,
    running: &'static [&'static str],
    there: &'static [&'static str],
    promoted: &'static [&'static str],
}

impl Cluster {
    fn cib(&self) -> String {
        let state = |n: u32, ops: String| {
            format!(
                r#"<node_state id="{n}" uname="n{n}" in_ccm="true" crmd="online" join="member" expected="member"><lrm id="{n}">
                <lrm_resources>{ops}</lrm_resources></lrm><transient_attributes id="{n}"><instance_attributes id="t{n}">
                <nvpair id="t{n}-1" name="master-disk" value="10"/></instance_attributes></transient_attributes></node_state>"#
            )
        };
        let here = self.running.iter().map(|id| {
            let operation = if self.promoted.contains(id) { "promote" } else { "start" };
            ran(id, "n1", operation, 0)
        });
        let mut absent: Vec<&str> = self.running.to_vec();
        absent.retain(|id| !self.there.contains(id));
        let not_there = absent.iter().map(|id| ran(id, "n2", "monitor", 7));
        let there: String = self.there.iter().map(|id| ran(id, "n2", "start", 0)).collect();
        let elsewhere =
            self.there.iter().filter(|id| !self.running.contains(id)).map(|id| ran(id, "n1", "monitor", 7));
        let states =
            [state(1, here.chain(elsewhere).collect()), state(2, not_there.chain([there]).collect())]
                .concat();
        format!(
            r#"<cib validate-with="pacemaker-3.0" crm_feature_set="3.0.14" epoch="5" num_updates="1" admin_epoch="0"
            have-quorum="1" dc-uuid="1"><configuration><crm_config><cluster_property_set id="opts"><nvpair id="opts1"
            name="stonith-enabled" value="false"/></cluster_property_set></crm_config><nodes><node id="1" uname="n1">
            <instance_attributes id="n1sb"><nvpair id="n1sb1" name="standby" value="on"/></instance_attributes></node>
            <node id="2" uname="n2"/></nodes><resources>{}</resources><constraints>{}</constraints>{}</configuration>
            <status>{states}</status></cib>"#,
            self.resources, self.constraints, self.tags
        )
    }
}

/// One at a time: a tool that is written while another test starts a process cannot be run for a moment ("Text file busy").
static ASKING: Mutex<()> = Mutex::new(());

fn root_of(cib: &str, folder: &Path) -> Root {
    let world = std::env::var_os("XEN_HANDOFF_WORLD_ROOT").map_or_else(|| "/".into(), PathBuf::from);
    scheduler::root_of(cib, folder, &world)
}

fn plan(cluster: &Cluster) -> Plan {
    let _alone = ASKING.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let root = root_of(&cluster.cib(), folder.path());
    let asked = Pacemaker::new(&root).plan_after_stop("x0", &NodeName::new("n1").unwrap(), LIMIT);
    asked.unwrap_or_else(|error| panic!("{error}"))
}

fn lost(form: &str, cluster: &Cluster) -> Vec<String> {
    let plan = plan(cluster);
    assert_eq!(plan.destination, Destination::Node(NodeName::new("n2").unwrap()), "{form}");
    plan.losing.into_iter().map(|loss| loss.resource).collect()
}

/// x0 and fs, both on n1.
fn two(constraints: &'static str, tags: &'static str) -> Cluster {
    Cluster {
        resources: primitive("fs", "") + &primitive("x0", ""),
        constraints,
        tags,
        running: &["fs", "x0"],
        there: &[],
        promoted: &[],
    }
}

const NO_TAGS: &str = "";

#[test]
fn a_domain_that_depends_on_what_leaves_is_known_in_every_form_of_an_ordering() {
    for (form, constraints, tags) in [
        ("first and then", r#"<rsc_order id="o" first="fs" then="x0"/>"#, NO_TAGS),
        ("kind", r#"<rsc_order id="o" first="fs" then="x0" kind="Mandatory"/>"#, NO_TAGS),
        ("score", r#"<rsc_order id="o" first="fs" then="x0" score="INFINITY"/>"#, NO_TAGS),
        ("optional", r#"<rsc_order id="o" first="fs" then="x0" kind="Optional"/>"#, NO_TAGS),
        ("symmetrical", r#"<rsc_order id="o" first="fs" then="x0" symmetrical="true"/>"#, NO_TAGS),
        (
            "first-action",
            r#"<rsc_order id="o" first="fs" first-action="start" then="x0" then-action="start"/>"#,
            NO_TAGS,
        ),
        (
            "of stops alone",
            r#"<rsc_order id="o" first="x0" first-action="stop" then="fs" then-action="stop" symmetrical="false"/>"#,
            NO_TAGS,
        ),
        (
            "a set",
            r#"<rsc_order id="o"><resource_set id="s"><resource_ref id="fs"/><resource_ref id="x0"/></resource_set></rsc_order>"#,
            NO_TAGS,
        ),
        (
            "two sets",
            r#"<rsc_order id="o"><resource_set id="s" sequential="false"><resource_ref id="fs"/></resource_set>
               <resource_set id="t" sequential="false"><resource_ref id="x0"/></resource_set></rsc_order>"#,
            NO_TAGS,
        ),
        (
            "a set with an action",
            r#"<rsc_order id="o"><resource_set id="s" action="start"><resource_ref id="fs"/></resource_set>
               <resource_set id="t" action="start"><resource_ref id="x0"/></resource_set></rsc_order>"#,
            NO_TAGS,
        ),
        (
            "a set that need not be whole",
            r#"<rsc_order id="o"><resource_set id="s" sequential="false" require-all="false"><resource_ref id="fs"/></resource_set>
               <resource_set id="t"><resource_ref id="x0"/></resource_set></rsc_order>"#,
            NO_TAGS,
        ),
        (
            "a set by id-ref",
            r#"<rsc_colocation id="c" score="INFINITY"><resource_set id="s"><resource_ref id="fs"/><resource_ref id="x0"/>
               </resource_set></rsc_colocation><rsc_order id="o"><resource_set id-ref="s"/></rsc_order>"#,
            NO_TAGS,
        ),
        (
            "a tag before",
            r#"<rsc_order id="o" first="storage" then="x0"/>"#,
            r#"<tags><tag id="storage"><obj_ref id="fs"/></tag></tags>"#,
        ),
        (
            "a tag behind",
            r#"<rsc_order id="o" first="fs" then="guests"/>"#,
            r#"<tags><tag id="guests"><obj_ref id="x0"/></tag></tags>"#,
        ),
        (
            "a tag in a set",
            r#"<rsc_order id="o"><resource_set id="s"><resource_ref id="storage"/><resource_ref id="x0"/></resource_set></rsc_order>"#,
            r#"<tags><tag id="storage"><obj_ref id="fs"/></tag></tags>"#,
        ),
    ] {
        assert_eq!(lost(form, &two(constraints, tags)), ["fs"], "{form}");
    }
}

#[test]
fn a_domain_that_depends_on_groups_templates_clones_and_chains_is_known() {
    let x0 = || primitive("x0", "");
    let stateful =
        r#"<meta_attributes id="m"><nvpair id="m1" name="promotable" value="true"/></meta_attributes>"#;
    let with = |resources: String, constraints, running, promoted| Cluster {
        resources,
        constraints,
        tags: NO_TAGS,
        running,
        there: &[],
        promoted,
    };
    let template = r#"<template id="t" class="ocf" provider="pacemaker" type="Stateful"/>"#;
    let of_template = |id: &str| format!(r#"<primitive id="{id}" template="t"/>"#);
    for (form, cluster, expected) in [
        (
            "a group",
            with(format!(r#"<group id="g">{}{}</group>"#, primitive("fs", ""), x0()), "", &["fs", "x0"], &[]),
            &["fs"][..],
        ),
        (
            "a group before",
            with(
                format!(r#"<group id="g">{}{}</group>{}"#, primitive("lvm", ""), primitive("fs", ""), x0()),
                r#"<rsc_order id="o" first="g" then="x0"/>"#,
                &["lvm", "fs", "x0"],
                &[],
            ),
            &["fs", "lvm"],
        ),
        (
            "a group behind",
            with(
                primitive("fs", "") + &format!(r#"<group id="g">{}</group>"#, x0()),
                r#"<rsc_order id="o" first="fs" then="g"/>"#,
                &["fs", "x0"],
                &[],
            ),
            &["fs"],
        ),
        (
            "a chain",
            with(
                primitive("lvm", "") + &primitive("fs", "") + &x0(),
                r#"<rsc_order id="a" first="lvm" then="fs"/><rsc_order id="b" first="fs" then="x0"/>"#,
                &["lvm", "fs", "x0"],
                &[],
            ),
            &["fs", "lvm"],
        ),
        (
            "a template before",
            with(
                format!("{template}{}{}", of_template("fs"), x0()),
                r#"<rsc_order id="o" first="t" then="x0"/>"#,
                &["fs", "x0"],
                &[],
            ),
            &["fs"],
        ),
        (
            "a template behind",
            with(
                format!("{template}{}{}", primitive("fs", ""), of_template("x0")),
                r#"<rsc_order id="o" first="fs" then="t"/>"#,
                &["fs", "x0"],
                &[],
            ),
            &["fs"],
        ),
        (
            "a clone",
            with(
                format!(r#"<clone id="c">{}</clone>{}"#, primitive("fs", ""), x0()),
                r#"<rsc_order id="o" first="c" then="x0"/>"#,
                &["fs", "x0"],
                &[],
            ),
            &["fs"],
        ),
        (
            "a cloned group",
            with(
                format!(
                    r#"<clone id="c"><group id="g">{}{}</group></clone>{}"#,
                    primitive("lvm", ""),
                    primitive("fs", ""),
                    x0()
                ),
                r#"<rsc_order id="o" first="c" then="x0"/>"#,
                &["lvm", "fs", "x0"],
                &[],
            ),
            &["fs", "lvm"],
        ),
        (
            "what is promoted",
            Cluster {
                there: &["disk"],
                ..with(
                    format!(r#"<clone id="c">{stateful}{}</clone>{}"#, primitive("disk", ""), x0()),
                    r#"<rsc_order id="o" first="c" first-action="promote" then="x0" then-action="start"/>"#,
                    &["disk", "x0"],
                    &["disk"],
                )
            },
            &["disk"],
        ),
    ] {
        let mut lost = lost(form, &cluster);
        lost.sort();
        assert_eq!(lost, expected, "{form}");
    }
}

#[test]
fn a_domain_that_does_not_depend_on_what_leaves_is_known_too() {
    for (form, constraints) in [
        ("no ordering", ""),
        ("together, in no order", r#"<rsc_colocation id="c" rsc="x0" with-rsc="fs" score="INFINITY"/>"#),
        ("only when they start", r#"<rsc_order id="o" first="fs" then="x0" symmetrical="false"/>"#),
        ("the other way round", r#"<rsc_order id="o" first="x0" then="fs"/>"#),
        (
            "only before its start",
            r#"<rsc_order id="o" first="fs" first-action="stop" then="x0" then-action="start" symmetrical="false"/>"#,
        ),
    ] {
        assert_eq!(lost(form, &two(constraints, NO_TAGS)), [] as [&str; 0], "{form}");
    }
    let elsewhere = Cluster {
        running: &["x0"],
        there: &["fs"],
        ..two(r#"<rsc_order id="o" first="fs" then="x0"/>"#, NO_TAGS)
    };
    assert_eq!(lost("elsewhere", &elsewhere), [] as [&str; 0], "what runs elsewhere is not lost here");
}

/// Every CIB that was captured in the middle of a real stop, asked anew: the tools of each release see the same plan.
#[test]
fn the_tools_say_of_captured_stops_what_they_said_before() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captured/field");
    for (name, expected) in [("idref", "fs"), ("tag", "fs"), ("template", "fs")] {
        let cib = std::fs::read_to_string(folder.join(format!("{name}.cib.xml"))).unwrap();
        // What an older release can read: nothing in them needs more.
        let cib = cib
            .replace("pacemaker-3.9", "pacemaker-3.0")
            .replace("crm_feature_set=\"3.16.1\"", "crm_feature_set=\"3.0.14\"");
        let _alone = ASKING.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        let root = root_of(&cib, folder.path());
        let plan = Pacemaker::new(&root).plan_after_stop("x0", &NodeName::new("n1").unwrap(), LIMIT);
        let plan = plan.unwrap_or_else(|error| panic!("{name}: {error}"));
        let lost: Vec<&str> = plan.losing.iter().map(|loss| loss.resource.as_str()).collect();
        assert_eq!(lost, [expected], "{name}");
    }
}

/// What `crm_simulate` is asked to do for the plan of x0's stop, and where the plan has x0 go.
fn asked_for(cluster: &Cluster) -> (Vec<&'static str>, Destination) {
    let _alone = ASKING.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let root = root_of(&cluster.cib(), folder.path());
    let (tool, calls) = (folder.path().join("usr/sbin/crm_simulate"), folder.path().join("calls"));
    let script = std::fs::read_to_string(&tool).unwrap();
    let noted = format!("#!/bin/sh\necho \"$*\" >>{}\n", calls.display());
    std::fs::write(&tool, script.replacen("#!/bin/sh\n", &noted, 1)).unwrap();
    let plan = Pacemaker::new(&root).plan_after_stop("x0", &NodeName::new("n1").unwrap(), LIMIT).unwrap();
    let calls = std::fs::read_to_string(&calls).unwrap();
    let mut asked: Vec<&str> = calls
        .lines()
        .flat_map(|line| {
            ["--run", "--simulate"].into_iter().filter(|how| line.split(' ').any(|word| word == *how))
        })
        .collect();
    asked.sort_unstable();
    (asked, plan.destination)
}

/// Carrying a plan out takes the scheduler seconds for each of a hundred domains that leave at once.
#[test]
fn an_evacuation_asks_for_the_plan_alone_and_only_a_domain_that_is_not_started_has_it_carried_out() {
    let there = Destination::Node(NodeName::new("n2").unwrap());
    let leaving = Cluster {
        resources: primitive("x0", "") + &primitive("x1", ""),
        constraints: "",
        tags: "",
        running: &["x0", "x1"],
        there: &[],
        promoted: &[],
    };
    assert_eq!(asked_for(&leaving), (vec!["--run", "--run"], there));
    let off = r#"<primitive id="x0" class="ocf" provider="pacemaker" type="Stateful"><meta_attributes id="m">
        <nvpair id="m1" name="target-role" value="Stopped"/></meta_attributes></primitive>"#;
    let stopped = Cluster { resources: off.to_owned(), running: &["x0"], ..leaving };
    assert_eq!(asked_for(&stopped), (vec!["--run", "--run", "--simulate"], Destination::Nowhere));
}
