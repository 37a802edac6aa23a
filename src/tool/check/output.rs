//! How the findings are told: to people, to programs, to monitoring.

use serde::Serialize;

use super::finding::{CHECKS, Finding};
use crate::preflight::Verdict;
use crate::tool::shown::{Table, counted};

/// How the result is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A table.
    Table,
    /// For programs.
    Json,
    /// One line, and the exit status of a monitoring plugin.
    Monitoring,
}

/// What counts most: a failure, a warning, something that is not known.
pub(super) fn worst(findings: &[Finding]) -> Verdict {
    let is = |verdict| findings.iter().any(|finding| finding.result == verdict);
    [Verdict::Failed, Verdict::Warning, Verdict::Unknown]
        .into_iter()
        .find(|verdict| is(*verdict))
        .unwrap_or(Verdict::Ok)
}

/// The exit status that monitoring expects: OK, WARNING, CRITICAL, UNKNOWN.
pub(super) fn plugin_status(worst: Verdict) -> u8 {
    match worst {
        Verdict::Ok => 0,
        Verdict::Warning => 1,
        Verdict::Failed => 2,
        Verdict::Unknown => 3,
    }
}

/// One line for a monitoring plugin that could not even begin.
pub fn could_not(why: &str) -> String {
    format!("XEN-HANDOFF UNKNOWN - {}", why.replace(['\n', '|'], " "))
}

/// The first thing that is wrong, how many there are, and figures.
pub(super) fn one_line(findings: &[Finding], nodes: usize, domains: usize) -> String {
    let count = |verdict| findings.iter().filter(|finding| finding.result == verdict).count();
    let (failed, warnings, unknown) =
        (count(Verdict::Failed), count(Verdict::Warning), count(Verdict::Unknown));
    let worst = worst(findings);
    let word = match worst {
        Verdict::Ok => "OK",
        Verdict::Warning => "WARNING",
        Verdict::Failed => "CRITICAL",
        Verdict::Unknown => "UNKNOWN",
    };
    let first = findings.iter().find(|finding| finding.result == worst && worst != Verdict::Ok);
    let said = first.map_or_else(
        || {
            let [checks, nodes, domains] = [(findings.len(), "check"), (nodes, "node"), (domains, "domain")]
                .map(|(all, what)| counted(all, what));
            format!("{checks} of {nodes} and {domains}")
        },
        |finding| {
            let more = failed + warnings + unknown - 1;
            let more = if more == 0 { String::new() } else { format!(" (and {more} more)") };
            format!("{} of {}: {}{more}", finding.check, finding.of, finding.found)
        },
    );
    let said = said.replace(['\n', '|'], " ");
    format!(
        "XEN-HANDOFF {word} - {said} | failed={failed} warnings={warnings} unknown={unknown} checks={}",
        findings.len()
    )
}

/// For programs.
#[derive(Debug, Serialize)]
pub(super) struct Document<'a> {
    result: Verdict,
    checks: &'a [Finding],
}

impl<'a> Document<'a> {
    /// Of these.
    pub(super) fn of(findings: &'a [Finding]) -> Self {
        Self { result: worst(findings), checks: findings }
    }
}

/// What is well, each check on one line; and what is not, each with what to do.
pub(super) fn table(findings: &[Finding]) -> Table {
    let mut table = Table::new(&["CHECK", "OF", "RESULT", "FOUND"]);
    for check in CHECKS {
        let its = || findings.iter().filter(move |finding| finding.check == check);
        let (well, count) = (its().filter(|finding| finding.result == Verdict::Ok), its().count());
        let well: Vec<&Finding> = well.collect();
        if let Some(first) = well.first() {
            let of = match well.len() {
                1 => first.of.clone(),
                all if all == count => format!("all {all}"),
                some => format!("{some} of {count}"),
            };
            let found = if well.iter().all(|finding| finding.found == first.found) {
                first.found.clone()
            } else {
                String::new()
            };
            table.row([check.to_owned(), of, "ok".to_owned(), found], Vec::new());
        }
        for finding in its().filter(|finding| finding.result != Verdict::Ok) {
            let advice = (!finding.advice.is_empty()).then(|| format!("-> {}", finding.advice));
            let cells =
                [check.to_owned(), finding.of.clone(), finding.result.to_string(), finding.found.clone()];
            table.row(cells, advice.into_iter().collect());
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monitoring_is_told_the_worst_in_one_line_with_its_own_exit_status() {
        let finding = |result| Finding::new("guard", "n2", result, "two\nlines | and a bar", "");
        let line = |all: &[Finding]| one_line(all, 3, 1);
        assert!(
            line(&[finding(Verdict::Ok)])
                .starts_with("XEN-HANDOFF OK - 1 check of 3 nodes and 1 domain | failed=0")
        );
        let all = [finding(Verdict::Unknown), finding(Verdict::Warning), finding(Verdict::Failed)];
        let said = line(&all);
        assert!(
            said.starts_with("XEN-HANDOFF CRITICAL - guard of n2: two lines   and a bar (and 2 more) | "),
            "{said}"
        );
        assert_eq!(said.matches('|').count(), 1);
        assert_eq!(plugin_status(worst(&all)), 2);
        assert_eq!([&all[..2], &all[..1], &[]].map(|some| plugin_status(worst(some))), [1, 3, 0]);
    }
}
