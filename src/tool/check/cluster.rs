//! The cluster as a whole: whether it fences.

use super::finding::Finding;
use crate::cluster::{ClusterError, Fencing};
use crate::preflight::Verdict;
use crate::tool::names::in_words;
use crate::tool::shown::counted;

/// What a cluster without fencing comes to.
const HOLDS_UP: &str =
    "a node that is lost holds up the start of what it had, until a person says that it is off";
const RECIPE: &str = "doc/recipes.md, \"Two nodes with fencing\", sets it up";

/// Whether a lost node would be switched off.
pub(super) fn fencing(said: Result<Fencing, ClusterError>) -> Vec<Finding> {
    let (check, of) = ("fencing", "cluster");
    let finding = |result, found: String, advice: &str| vec![Finding::new(check, of, result, found, advice)];
    let well = |found: String| vec![Finding::ok(check, of, found)];
    let (devices, by_watchdog) = match said {
        Err(error) => {
            return finding(Verdict::Unknown, in_words(&error), "check again where the cluster runs");
        }
        Ok(Fencing::Off) => {
            return finding(Verdict::Warning, format!("the cluster does not fence: {HOLDS_UP}"), RECIPE);
        }
        Ok(Fencing::Configured(devices)) => {
            return well(format!("ha.cf has {}", devices.join(", ")));
        }
        Ok(Fencing::On { devices, by_watchdog }) => (devices, by_watchdog),
    };
    let (work, idle): (Vec<_>, Vec<_>) = devices.into_iter().partition(|(_, works)| *works);
    let names =
        |all: &[(String, bool)]| all.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    match (work.len(), idle.len()) {
        (0, 0) if by_watchdog => well("nodes switch themselves off by their watchdogs".to_owned()),
        (0, 0) => {
            let found =
                "fencing is enabled and there is no fencing device: the cluster starts nothing".to_owned();
            finding(Verdict::Failed, found, RECIPE)
        }
        (0, _) if !by_watchdog => {
            let found = format!("no fencing device is started ({}): {HOLDS_UP}", names(&idle));
            finding(Verdict::Failed, found, "pcs status, or crm_mon --one-shot, says why")
        }
        (_, 0) => well(format!("{} started", counted(work.len(), "fencing device"))),
        _ => {
            let found = format!("not started, or failed: {}", names(&idle));
            finding(Verdict::Warning, found, "pcs status, or crm_mon --one-shot, says why")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_that_would_not_fence_is_never_fine_and_one_that_does_not_say_is_unknown() {
        let result = |said| {
            let findings = fencing(said);
            assert_eq!(findings.len(), 1);
            let well = findings[0].result == Verdict::Ok;
            assert!(well || !findings[0].advice.is_empty(), "{findings:?}");
            findings[0].result
        };
        let on = |devices: &[(&str, bool)], by_watchdog| {
            let devices = devices.iter().map(|(name, works)| ((*name).to_owned(), *works)).collect();
            result(Ok(Fencing::On { devices, by_watchdog }))
        };
        assert_eq!(on(&[("a", true), ("b", true)], false), Verdict::Ok);
        assert_eq!(on(&[], true), Verdict::Ok);
        assert_eq!(on(&[("a", true), ("b", false)], false), Verdict::Warning);
        assert_eq!(on(&[("a", false)], true), Verdict::Warning);
        assert_eq!(on(&[("a", false), ("b", false)], false), Verdict::Failed);
        assert_eq!(on(&[], false), Verdict::Failed);
        assert_eq!(result(Ok(Fencing::Off)), Verdict::Warning);
        assert_eq!(result(Ok(Fencing::Configured(vec!["external/ipmi".to_owned()]))), Verdict::Ok);
        assert_eq!(result(Err(ClusterError::NotRunning)), Verdict::Unknown);
    }
}
