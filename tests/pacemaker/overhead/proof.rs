//! That what counts, counts right.

use super::kernel::{Known, Listener, Program};
use super::moves::{self, Servers, Stamp, Which};
use crate::skip;
use crate::spawn::{command, must, until};
use libtest_mimic::{Failed, Trial};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        skip(Trial::test("overhead::every_process_is_told_of_with_its_time", told_of), false),
        Trial::test("overhead::a_move_is_what_is_before_and_after_its_stream", before_and_after),
    ]
}

/// A shell that starts a shell that works for a while: two processes, one the other's child, and processor
/// time.
fn told_of() -> Result<(), Failed> {
    let listener = Listener::begin()?;
    must(
        command("sh").args([
            "-c",
            "sh -c 'n=0; while [ $n -lt 100000 ]; do n=$((n+1)); done'; true marker-of-this-test",
        ]),
    );
    let found = || {
        let known = listener.known();
        let is_ours = |words: &[String]| words.iter().any(|word| word.ends_with("marker-of-this-test"));
        let outer =
            known.all.iter().position(|p| p.programs.iter().any(|program| is_ours(&program.words)))?;
        let inner =
            known.all.iter().find(|process| process.parent == Some(outer) && process.ended.is_some())?;
        (inner.cpu_ns > 0).then(|| (inner.clone(), known.lost))
    };
    until(SOON, || found().is_some()).map_err(|_| "no word of a process")?;
    let (inner, lost) = found().ok_or("no word of a process")?;
    assert_eq!(lost, 0, "nothing was lost");
    let wall = inner.ended.unwrap_or(0) - inner.begun;
    assert!((1_000_000..=wall + 20_000_000).contains(&inner.cpu_ns), "{} of {wall} ns", inner.cpu_ns);
    assert_eq!(inner.name, "sh");
    Ok(())
}

/// A made-up move: an executor and an sshd on each side, a stop that asks the target, a start that fetches.
fn before_and_after() -> Result<(), Failed> {
    let mut known = Known::default();
    let servers = Servers {
        executors: [known.meet(1), known.meet(2)].into(),
        listeners: [known.meet(3), known.meet(4)].into(),
        kept: [known.meet(5)].into(),
    };
    let from = known.all.len();
    let program = |at: u64, line: &str, resource: Option<&str>| Program {
        at,
        words: line.split(' ').map(str::to_owned).collect(),
        resource: resource.map(str::to_owned),
    };
    let second = 1_000_000_000;
    let mut process =
        |begun: u64, parent: u32, number: u32, line: &str, resource: Option<&str>, ended: u64| {
            known.forked(begun * second, parent, number, number);
            known.became(number, program(begun * second, line, resource));
            known.spent(number, "name", second / 10);
            known.exited(ended * second, number);
        };
    let agent = "/usr/lib/ocf/resource.d/handoff/Xen";
    process(5, 1, 9, &format!("{agent} monitor"), Some("x1"), 6);
    process(10, 1, 10, &format!("{agent} stop"), Some("x0"), 13);
    process(11, 10, 11, "/usr/bin/ssh -F none n2", None, 13);
    process(11, 4, 12, "sshd: root [priv]", None, 13);
    process(12, 12, 13, "/usr/sbin/xen-handoff serve", None, 13);
    process(13, 5, 14, "/usr/sbin/xen-handoff serve", None, 13);
    process(20, 2, 20, &format!("{agent} start"), Some("x0"), 34);
    process(21, 3, 21, "sshd: root [priv]", None, 33);
    process(22, 21, 22, "/usr/sbin/xl migrate -s x x0 n2", None, 33);
    process(25, 22, 23, "/usr/sbin/xen-handoff relay", None, 33);
    process(32, 20, 24, "/usr/sbin/xl list", None, 33);
    let stamp = |at: u64, which| Stamp { at: at * second, domain: "x0".to_owned(), which };
    let stamps = [stamp(24, Which::First), stamp(30, Which::Last), stamp(31, Which::Ready)];
    let run = moves::measure(&known.all, from, &servers, &stamps, &["x0".to_owned()])?;
    assert_eq!((run.before.seconds, run.after.seconds), (vec![3.0 + 4.0], vec![4.0]));
    assert_eq!((run.before.processes, run.before.logins), (8, 2), "{:?}", run.before.kinds);
    assert_eq!((run.after.processes, run.after.logins), (1, 0), "{:?}", run.after.kinds);
    assert!((run.before.cpu_seconds - 0.8).abs() < 1e-9, "{}", run.before.cpu_seconds);
    assert!((run.all_in_all - 24.0).abs() < 1e-9, "{}", run.all_in_all);
    let twice = [stamps.as_slice(), &stamps].concat();
    let said = moves::measure(&known.all, from, &servers, &twice, &["x0".to_owned()]).unwrap_err();
    assert!(said.contains("more than one stream"), "{said}");
    Ok(())
}
