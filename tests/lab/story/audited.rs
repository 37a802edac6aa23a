//! Stories about the audits: each breaks what it watches over, on purpose, and wants to be caught.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Scene, Story, dry, lab};
use crate::audit::{Timed, blind, identity, two_running};
use crate::disk::{self, Record};
use crate::guest::Witness;
use crate::sampler::Copy;
use crate::wait::{say, until};

pub(super) const STORIES: &[Story] = &[
    dry("audit_sees_an_overlap_and_no_handover", overlap),
    dry("audit_gives_the_clocks_the_benefit_of_the_doubt", doubt),
    dry("audit_sees_a_reboot_and_a_second_guest", second_guest),
    dry("audit_does_not_trust_a_silent_sampler", silent_sampler),
    dry(
        "harness_reads_the_world_that_is_asked_for_or_refuses_it",
        crate::world::what_is_asked_for_is_read_or_refused,
    ),
    dry("harness_counts_every_second_of_a_story_once", crate::spent::every_second_counts_once),
    dry("harness_knows_the_quick_stories", super::quick_ones_are_there),
    dry("audit_sees_a_record_that_is_lost_torn_or_written_by_another", records),
    lab("audit_reports_two_running_copies", two_copies),
];

fn sample(node: usize, at: f64, running: bool) -> Timed {
    Timed { node, at, uncertainty: 0.005, running: running.then_some(Copy { domid: 1, flags: 0 }) }
}

fn overlap() -> Result<()> {
    // node1 runs it until 1.0; node2 from 0.8 on, or from 1.2 on.
    let tale = |begins: f64| -> Vec<Timed> {
        let times = (0..40).map(|turn| f64::from(turn) * 0.05);
        times.flat_map(|at| [sample(1, at, at < 1.0), sample(2, at + 0.02, at > begins)]).collect()
    };
    ensure!(two_running(&tale(1.2)).is_empty(), "a proper handover was taken for two copies");
    let found = two_running(&tale(0.8));
    ensure!(found.len() == 1, "two copies were not seen: {found:?}");
    Ok(())
}

fn doubt() -> Result<()> {
    // node1 certainly runs it up to 0.2, less what its clock may be wrong by.
    let mut samples: Vec<Timed> = (0..5).map(|turn| sample(1, f64::from(turn) * 0.05, true)).collect();
    samples.push(sample(2, 0.198, true));
    ensure!(two_running(&samples).is_empty(), "an overlap was claimed that the clocks do not prove");
    samples.push(sample(2, 0.185, true));
    ensure!(!two_running(&samples).is_empty(), "a certain overlap was not seen");
    Ok(())
}

fn second_guest() -> Result<()> {
    let says = |boot: &str, tick| Witness { at: 0.0, boot: boot.to_string(), tick, uptime: 0.0 };
    ensure!(identity(&[says("a", 1), says("a", 2)], &(0..=0)).is_empty(), "a well guest was accused");
    ensure!(identity(&[says("a", 9), says("b", 1)], &(1..=1)).is_empty(), "an expected reboot was accused");
    ensure!(!identity(&[says("a", 9), says("b", 1)], &(0..=0)).is_empty(), "a reboot was not seen");
    ensure!(
        !identity(&[says("a", 1), says("b", 1), says("a", 5)], &(2..=2)).is_empty(),
        "a second guest was not seen"
    );
    ensure!(!identity(&[says("a", 5), says("a", 4)], &(0..=0)).is_empty(), "a rollback was not seen");
    Ok(())
}

fn silent_sampler() -> Result<()> {
    let samples: Vec<Timed> = (0..100).map(|turn| sample(1, f64::from(turn), true)).collect();
    ensure!(blind(&samples, 1, 0.0, 100.0).is_none(), "a watched node was said to be unwatched");
    ensure!(blind(&samples, 1, 0.0, 120.0).is_some(), "a sampler that ended early was trusted");
    ensure!(blind(&samples, 2, 0.0, 100.0).is_some(), "a sampler that never spoke was trusted");
    Ok(())
}

fn records() -> Result<()> {
    let sector = |place: usize| place * disk::SIZE..(place + 1) * disk::SIZE;
    let spoiled = |spoil: fn(&mut Vec<u8>)| {
        let mut bytes = disk::sample(20);
        spoil(&mut bytes);
        disk::faults(&bytes)
    };
    ensure!(spoiled(|_| ()).is_empty(), "an unbroken chain was accused: {:?}", spoiled(|_| ()));
    let lost = spoiled(|bytes| bytes[7 * disk::SIZE..8 * disk::SIZE].fill(0));
    ensure!(
        lost.iter().any(|fault| fault.starts_with("record 7 is missing")),
        "a lost record was not seen: {lost:?}"
    );
    let torn = spoiled(|bytes| bytes[9 * disk::SIZE + 300] ^= 1);
    ensure!(
        torn.iter().any(|fault| fault.starts_with("record 9 is missing or")),
        "a torn record was not seen: {torn:?}"
    );
    let twice = spoiled(|bytes| bytes.copy_within(4 * disk::SIZE..5 * disk::SIZE, 5 * disk::SIZE));
    ensure!(
        twice.iter().any(|fault| fault.contains("in the place of")),
        "a record written twice was not seen: {twice:?}"
    );

    // Two copies of one guest go on from record 10, with the same numbers, to the same places; the second is a bit later.
    let mut bytes = disk::sample(20);
    let other = Record { number: 11, microseconds: 1_100_007, before: disk::checksum(&bytes[sector(10)]) };
    bytes[sector(11)].copy_from_slice(&other.sector());
    let found = disk::faults(&bytes);
    ensure!(
        found.iter().any(|fault| fault.contains("two writers")),
        "a second writer was not seen: {found:?}"
    );
    Ok(())
}

/// x0 is started by hand on node2 as well, past the cluster and the agent.
fn two_copies(scene: &mut Scene<'_>) -> Result<()> {
    scene.give_x0_a_disk()?;
    let node2 = scene.node(2)?;
    node2.ok("crm_attribute -t crm_config -n maintenance-mode -v true")?;
    say("xl create x0 on node2 too");
    node2.ok("xl create -q /etc/xen/x0.cfg 2>&1")?;
    until("both to run for a while", Duration::from_secs(30), || {
        let timed = scene.audit().timed(scene.lab)?;
        Ok((timed.iter().filter(|sample| sample.node == 2 && sample.running.is_some()).count() > 10)
            .then_some(()))
    })?;
    disk::spoil(scene.disk()?, 3)?;
    let wrong = scene.verdict()?;
    ensure!(
        wrong.iter().any(|line| line.starts_with("P1:")),
        "two copies of x0 ran and the audit says {wrong:?}"
    );
    let lost = "x0's disk: record 3 is missing or broken";
    ensure!(wrong.iter().any(|line| line == lost), "a record of x0's was lost and the audit says {wrong:?}");
    say(format_args!("the audit says: {}", wrong.join("; ")));

    // The story has to end well by its own audit: what it did so far is not its subject any more.
    node2.ok("xl destroy x0")?;
    scene.forget_the_disk();
    scene.watch_anew()
}
