//! Whether the time that a move is given is enough for it.

use crate::cluster::managed::ManagedDomain;
use crate::moves::journal::{expected_seconds, shown_rate};
use crate::moves::terms::Terms;
use crate::parameters::kept::Kept;
use crate::parameters::metadata::ACTIONS;
use crate::preflight::{Check, Hinders};

/// Whether the cluster's limits, and the resource's own, leave a move the time that it takes. A start that
/// fetches has `kept` less than its limit. `measured`: what moves of this node have shown, in MiB/s.
pub(super) fn limits(
    managed: &ManagedDomain,
    memory_mib: u64,
    measured: Option<f64>,
    terms: &Terms,
    kept: Kept,
) -> Vec<Check> {
    let operation = if managed.allow_migrate { "migrate_to" } else { "start" };
    if let Some(text) = managed.unreadable.get(operation) {
        let found = format!(
            "the timeout {text:?} of {operation} could not be read, and Pacemaker takes its default for it"
        );
        let advice = format!("pcs resource update {} op {operation} timeout=300s", managed.resource);
        return vec![Check::unknown("timeouts", found, advice)];
    }
    let Some(limit) = managed.timeouts.get(operation).copied() else { return Vec::new() };
    let kept = if managed.allow_migrate { 0 } else { kept.of(limit).as_secs() };
    let limit = limit.as_secs();
    let Some(rate) = expected_rate(measured, terms) else {
        let unknown = "no move of this node has shown yet how fast it is";
        let advised =
            ACTIONS.iter().find(|action| action.name == operation).map(|action| u64::from(action.timeout));
        if let Some(advised) = advised.filter(|advised| limit < *advised) {
            let found = format!("{operation} may take {limit} s, and {advised} s are advised; {unknown}");
            let advice =
                format!("pcs resource update {} op {operation} timeout={advised}s", managed.resource);
            return vec![Check::warns("timeouts", found, advice)];
        }
        let found = format!("{operation} may take {limit} s; {unknown}");
        return vec![Check::unknown("timeouts", found, "")];
    };
    let takes = format!("{memory_mib} MiB at {} MiB/s take", shown_rate(rate));
    let needed = expected_seconds(memory_mib, rate);
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let once = (memory_mib as f64 / rate.max(0.1)) as u64;
    let less = if kept == 0 {
        String::new()
    } else {
        format!(", {kept} s of that to shut it down and boot it if it cannot be moved")
    };
    let found = format!("{operation} may take {limit} s{less}; {takes} up to {needed} s");
    let mut checks = vec![if needed.saturating_add(kept) > limit {
        // Of twice as much time no more than half is ever kept.
        let (resource, enough) = (&managed.resource, needed.saturating_mul(2));
        let advice = format!("pcs resource update {resource} op {operation} timeout={enough}s");
        Check::fails("timeouts", Hinders::Move, found, advice)
    } else {
        Check::ok("timeouts", found)
    }];
    checks.extend(terms.deadline.map(|deadline| {
        let found = format!("migration_deadline is {deadline} s; {takes} {once} s at the least");
        if once < deadline {
            return Check::ok("deadline", found);
        }
        Check::fails(
            "deadline",
            Hinders::Move,
            found,
            "every move would be broken off: give it more time, or none",
        )
    }));
    checks
}

/// What a move can be expected to carry, in MiB/s: what was measured, and no more than the resource allows.
/// Where that counts what is compressed, the domain itself may be faster.
fn expected_rate(measured: Option<f64>, terms: &Terms) -> Option<f64> {
    #[allow(clippy::cast_precision_loss, reason = "a rate")]
    let allowed = terms.rate.filter(|_| terms.compression.is_none()).map(|rate| rate as f64);
    // What is allowed says nothing of a network that is slower than that.
    measured.map(|measured| measured.min(allowed.unwrap_or(f64::INFINITY)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::moves::terms::Compression;
    use crate::preflight::Verdict;

    fn kept() -> Kept {
        Kept::new(None, Duration::from_secs(5))
    }

    #[test]
    fn a_start_is_advised_the_time_that_it_keeps_for_an_end_and_a_boot_too() {
        let check = |operation: &str, limit: u64| {
            let timeouts = [(operation.to_owned(), Duration::from_secs(limit))].into();
            let allow_migrate = operation == "migrate_to";
            let resource = "x0".to_owned();
            let managed = ManagedDomain { resource, timeouts, allow_migrate, ..ManagedDomain::default() };
            limits(&managed, 4096, Some(100.0), &Terms::default(), kept()).remove(0)
        };
        // A move takes up to 71 s; of 100 s a start keeps 33.
        assert_eq!(check("migrate_to", 100).result, Verdict::Ok);
        let short = check("start", 100);
        assert_eq!(short.result, Verdict::Failed, "{}", short.found);
        assert_eq!(
            short.found,
            "start may take 100 s, 33 s of that to shut it down and boot it if it cannot be moved; 4096 MiB at 100 MiB/s \
             take up to 71 s"
        );
        assert_eq!(short.advice, "pcs resource update x0 op start timeout=142s");
        assert_eq!(check("start", 142).result, Verdict::Ok, "what is advised is enough");
        assert!(!check("migrate_to", 100).found.contains("of that"));
    }

    #[test]
    fn a_limit_that_a_move_cannot_keep_fails_with_the_command_that_mends_it() {
        let seconds = std::time::Duration::from_secs;
        let timeouts = [("start", 300), ("migrate_to", 60)];
        let timeouts = timeouts.map(|(name, limit)| (name.to_owned(), seconds(limit))).into();
        let mut managed = ManagedDomain { resource: "x0".to_owned(), timeouts, ..ManagedDomain::default() };
        let plain = Terms::default();
        let limits =
            |managed: &ManagedDomain, measured, terms: &Terms| limits(managed, 4096, measured, terms, kept());
        assert_eq!(limits(&managed, Some(100.0), &plain)[0].result, Verdict::Ok);
        managed.allow_migrate = true;
        let check = &limits(&managed, Some(100.0), &plain)[0];
        assert_eq!(check.result, Verdict::Failed);
        assert_eq!(check.advice, "pcs resource update x0 op migrate_to timeout=142s");
        let check = &limits(&managed, None, &plain)[0];
        assert_eq!(
            (check.result, check.advice.as_str()),
            (Verdict::Warning, "pcs resource update x0 op migrate_to timeout=300s")
        );
        managed.allow_migrate = false;
        assert_eq!(limits(&managed, None, &plain)[0].result, Verdict::Unknown, "as is advised");
        assert_eq!(limits(&ManagedDomain::default(), None, &plain), [], "Heartbeat has no limits");
    }

    #[test]
    fn what_the_resource_itself_allows_a_move_counts_too() {
        let timeouts = [("start".to_owned(), Duration::from_secs(300))].into();
        let managed = ManagedDomain { resource: "x0".to_owned(), timeouts, ..ManagedDomain::default() };
        let results = |terms: &Terms| -> Vec<(&'static str, Verdict)> {
            let checks = limits(&managed, 4096, Some(100.0), terms, kept());
            checks.iter().map(|check| (check.check, check.result)).collect()
        };
        let slow = Terms { rate: Some(10), ..Terms::default() };
        assert_eq!(results(&slow), [("timeouts", Verdict::Failed)], "410 s at 10 MiB/s");
        let compressed = Terms { compression: Compression::Zstd, ..slow };
        assert_eq!(
            results(&compressed),
            [("timeouts", Verdict::Ok)],
            "it is the connection that has 10 MiB/s"
        );
        let short = Terms { deadline: Some(40), ..Terms::default() };
        assert_eq!(results(&short), [("timeouts", Verdict::Ok), ("deadline", Verdict::Failed)]);
        assert_eq!(results(&Terms { deadline: Some(41), ..short })[1].1, Verdict::Ok);
    }
}
