//! How busy processors are: of each domain and of the whole host under Xen, of the machine elsewhere. Two samples make a use.
//!
//! Under Xen the hypervisor's own account counts (`xl list`, seconds of processor time per domain), since dom0's `/proc/stat` knows
//! of dom0 alone. A domain's use is in percent of one processor, as xentop shows it; the host's in percent of all of them.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use xen_handoff::host::Root;
use xen_handoff::toolstack::xl::{self, Xl};

use crate::remote::{LIMIT, Place};

/// What a node is asked by ssh. It has no parts that vary.
const QUESTION: &str = "cat /proc/uptime /proc/stat; xl list 2>/dev/null; xl info 2>/dev/null; true";
/// How long xl may take here.
const XL_LIMIT: Duration = Duration::from_secs(20);

/// What a machine has said.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// By its own clock, in seconds since its boot.
    at: f64,
    /// Processor seconds of each domain; `None` without a hypervisor.
    domains: Option<Vec<(String, f64)>>,
    /// The hypervisor's processors.
    processors: Option<f64>,
    /// The machine's own account: ticks in all, and idle ones.
    ticks: (f64, f64),
}

/// How busy a machine was between two samples, in percent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Which machine.
    pub node: String,
    /// Of all its processors.
    pub host: f64,
    /// Of one processor, for each domain; empty without a hypervisor.
    pub domains: Vec<(String, f64)>,
}

/// Asks a machine.
///
/// # Errors
/// If it does not answer, or in another form.
pub fn sample(root: &Root, place: &Place) -> anyhow::Result<Sample> {
    let text = match place {
        Place::There(remote) => remote.ask(root, QUESTION, LIMIT)?.success()?.stdout,
        Place::Here => {
            let mut text = std::fs::read_to_string("/proc/uptime")? + &std::fs::read_to_string("/proc/stat")?;
            let xl = Xl::new(root);
            // Without xl, or where it does not answer, this is a machine without a hypervisor.
            if let (Ok(list), Ok(info)) = (xl.listing(XL_LIMIT), xl.info(XL_LIMIT)) {
                text = text + &list + &info;
            }
            text
        }
    };
    read(&text).map_err(|what| anyhow::anyhow!("{}: {what}", place.name()))
}

fn read(text: &str) -> Result<Sample, String> {
    let at = text.split_whitespace().next().and_then(|word| word.parse().ok()).ok_or("no uptime")?;
    let stat = text.lines().find_map(|line| line.strip_prefix("cpu ")).ok_or("no /proc/stat")?;
    let ticks: Vec<f64> = stat.split_whitespace().map_while(|word| word.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; what follows is contained in the first two (proc(5)).
    let [_, _, _, idle, waiting, ..] = ticks.as_slice() else {
        return Err(format!("/proc/stat has {stat:?}"));
    };
    let all = ticks.iter().take(8).sum();
    let domains = match text.find("Name ") {
        Some(start) => Some(xl::processor_seconds(text.get(start..).unwrap_or_default())?),
        None => None,
    };
    let processors = text
        .lines()
        .find_map(|line| line.strip_prefix("nr_cpus"))
        .and_then(|rest| rest.split(':').nth(1)?.trim().parse().ok());
    Ok(Sample { at, domains, processors, ticks: (all, idle + waiting) })
}

/// How busy `node` was between two samples. `None` if no time has gone by, or if it has restarted.
pub fn between(node: &str, first: &Sample, second: &Sample) -> Option<Usage> {
    let span = second.at - first.at;
    if span <= 0.0 {
        return None;
    }
    let (Some(before), Some(after)) = (&first.domains, &second.domains) else {
        let all = second.ticks.0 - first.ticks.0;
        let idle = second.ticks.1 - first.ticks.1;
        let host = if all > 0.0 { 100.0 * (1.0 - idle / all) } else { 0.0 };
        return Some(Usage { node: node.to_owned(), host, domains: Vec::new() });
    };
    let domains: Vec<(String, f64)> = after
        .iter()
        .filter_map(|(name, seconds)| {
            let (_, earlier) = before.iter().find(|(known, _)| known == name)?;
            // A domain that was made anew under its name begins at nought.
            let used = seconds - if seconds >= earlier { *earlier } else { 0.0 };
            Some((name.clone(), 100.0 * used / span))
        })
        .collect();
    let all: f64 = domains.iter().map(|(_, percent)| percent).sum();
    Some(Usage { node: node.to_owned(), host: all / second.processors.unwrap_or(1.0).max(1.0), domains })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str =
        "100.50 90.00\ncpu  100 0 50 800 50 0 0 0 0 0\ncpu0 100 0 50 800 50 0 0 0 0 0\nintr 5\n";

    fn under_xen(at: &str, dom0: &str, x0: &str) -> Sample {
        let list = include_str!("../../tests/captured/xl-4.17/list--running.stdout")
            .replace("202.5", dom0)
            .replace("24.2", x0);
        let info = include_str!("../../tests/captured/xl-4.17/info.stdout");
        read(&format!("{}{list}{info}", STAT.replace("100.50", at))).unwrap()
    }

    #[test]
    fn under_xen_the_hypervisors_account_counts() {
        let usage =
            between("node1", &under_xen("100.0", "202.5", "24.2"), &under_xen("110.0", "204.5", "25.2"))
                .unwrap();
        let rounded: Vec<(&str, f64)> =
            usage.domains.iter().map(|(name, percent)| (name.as_str(), percent.round())).collect();
        assert_eq!(rounded, [("Domain-0", 20.0), ("x0", 10.0)]);
        assert_eq!(usage.host.round(), 30.0);
    }

    #[test]
    fn a_plain_machine_counts_its_own_ticks() {
        let first = read(STAT).unwrap();
        let second =
            read(&STAT.replace("100.50", "101.50").replace("100 0 50 800 50", "140 0 50 850 60")).unwrap();
        let usage = between("here", &first, &second).unwrap();
        assert_eq!((usage.host.round(), usage.domains.len()), (40.0, 0));
    }

    #[test]
    fn no_time_and_no_account_are_no_use() {
        let sample = read(STAT).unwrap();
        assert_eq!(between("here", &sample, &sample), None);
        assert!(read("").is_err() && read("1.0 2.0\n").is_err());
        assert!(read(&format!("{STAT}Name   ID Mem VCPUs State Time(s)\nhalf a line\n")).is_err());
    }
}
