//! What an action costs, as a ratio to a bare `xl list NAME` beside it: wall time, processor time, processes, memory.
//!
//! `agent-cost <SPEC` (for `make bench-agent`; it is copied to the lab's nodes, so it needs nothing there but strace). SPEC is JSON:
//!
//! ```json
//! {"where": "stand-in", "seconds": 20, "xl": ["/usr/sbin/xl", "list", "x0"],
//!  "cases": [{"case": "monitor", "agent": "ocf:handoff:Xen", "command": ["..."], "environment": {}, "status": 0}]}
//! ```
//!
//! Each case runs in turn with xl, first one of them first and then the other, for so many seconds, three times at least and two
//! hundred times at most. A row's ratio is the median of the pairs' ratios. An action whose exit status is another one gets no row.
//!
//! - `wall_vs_xl`: from the start of the process to its end.
//! - `cpu_vs_xl`: processor time of the process and all that it started and waited for (`wait4`); a daemon's or the hypervisor's
//!   work for it is not in it.
//! - `processes`: how many processes it starts, itself not among them; threads do not count (`strace -f`, in a run of its own).
//! - `rss_kib`: the largest resident set of a process among them (`wait4`).
#![allow(clippy::print_stdout, reason = "the rows are what this program is for")]
#![allow(clippy::disallowed_methods, reason = "a measuring program, no part of the agent")]

use std::collections::BTreeMap;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Spec {
    r#where: String,
    seconds: u64,
    xl: Vec<String>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    case: String,
    agent: String,
    command: Vec<String>,
    environment: BTreeMap<String, String>,
    status: i32,
}

#[derive(Serialize)]
struct Row {
    case: String,
    agent: String,
    r#where: String,
    wall_vs_xl: f64,
    cpu_vs_xl: f64,
    processes: usize,
    rss_kib: i64,
    /// How many pairs the ratios are the medians of, and the middle half of the wall times' ratios.
    pairs: usize,
    wall_from: f64,
    wall_to: f64,
}

/// What one run took.
#[derive(Clone, Copy)]
struct Run {
    wall: f64,
    cpu: f64,
    rss_kib: i64,
    status: i32,
}

fn main() -> ExitCode {
    match measure_all() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("agent-cost: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure_all() -> Result<()> {
    let spec: Spec = serde_json::from_reader(std::io::stdin().lock()).context("the specification")?;
    let xl = Case {
        case: "xl list NAME".to_owned(),
        agent: "xl".to_owned(),
        command: spec.xl.clone(),
        environment: BTreeMap::new(),
        status: 0,
    };
    let mut rows = Vec::new();
    for case in std::iter::once(&xl).chain(&spec.cases) {
        match pairs(case, &xl, Duration::from_secs(spec.seconds)) {
            Ok(pairs) => rows.push(row(&spec.r#where, case, &pairs)?),
            Err(error) => eprintln!("agent-cost: no row for {}, {}: {error:#}", case.agent, case.case),
        }
    }
    println!("{}", serde_json::to_string(&rows)?);
    Ok(())
}

/// Runs both in turn.
fn pairs(case: &Case, xl: &Case, span: Duration) -> Result<Vec<(Run, Run)>> {
    // The first one fills caches, on disk and in memory, for both.
    run(xl)?;
    let warm = run(case)?;
    ensure!(warm.status == case.status, "exit status {} and not {}", warm.status, case.status);
    let until = Instant::now() + span;
    let mut pairs = Vec::new();
    while pairs.len() < 3 || (pairs.len() < 200 && Instant::now() < until) {
        let pair = if pairs.len() % 2 == 0 {
            let ours = run(case)?;
            (ours, run(xl)?)
        } else {
            let bare = run(xl)?;
            (run(case)?, bare)
        };
        ensure!(pair.0.status == case.status, "exit status {} and not {}", pair.0.status, case.status);
        ensure!(pair.1.status == xl.status, "{}: exit status {}", xl.command.join(" "), pair.1.status);
        pairs.push(pair);
    }
    Ok(pairs)
}

fn row(place: &str, case: &Case, pairs: &[(Run, Run)]) -> Result<Row> {
    let sorted = |of: fn(&Run) -> f64| {
        let mut ratios: Vec<f64> = pairs.iter().map(|(ours, xl)| of(ours) / of(xl)).collect();
        ratios.sort_by(f64::total_cmp);
        ratios
    };
    let (wall, cpu) = (sorted(|run| run.wall), sorted(|run| run.cpu));
    Ok(Row {
        case: case.case.clone(),
        agent: case.agent.clone(),
        r#where: place.to_owned(),
        wall_vs_xl: round(wall[wall.len() / 2]),
        cpu_vs_xl: round(cpu[cpu.len() / 2]),
        processes: processes(case)?,
        rss_kib: pairs.iter().map(|(ours, _)| ours.rss_kib).max().unwrap_or_default(),
        pairs: pairs.len(),
        wall_from: round(wall[wall.len() / 4]),
        wall_to: round(wall[wall.len() * 3 / 4]),
    })
}

fn round(ratio: f64) -> f64 {
    (ratio * 1000.0).round() / 1000.0
}

fn command(program: &str, arguments: &[String], case: &Case) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").envs(&case.environment);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn run(case: &Case) -> Result<Run> {
    let (program, arguments) = case.command.split_first().context("an empty command")?;
    let mut command = command(program, arguments, case);
    let began = Instant::now();
    let child = command.spawn().with_context(|| format!("starting {program}"))?;
    let (status, usage) = wait(child.id())?;
    let wall = began.elapsed().as_secs_f64();
    let status = std::os::unix::process::ExitStatusExt::from_raw(status);
    let status = std::process::ExitStatus::code(&status).unwrap_or(-1);
    Ok(Run { wall, cpu: usage.user.seconds() + usage.system.seconds(), rss_kib: usage.rss_kib, status })
}

/// The calls that made a process, as strace saw them.
fn processes(case: &Case) -> Result<usize> {
    let trace = std::env::temp_dir().join(format!("agent-cost.{}", std::process::id()));
    let mut arguments: Vec<String> =
        ["-f", "-qq", "-e", "trace=fork,vfork,clone,clone3", "-o"].map(str::to_owned).to_vec();
    arguments.push(trace.display().to_string());
    arguments.extend_from_slice(&case.command);
    let status = command("strace", &arguments, case).status().context("starting strace")?;
    let text = std::fs::read_to_string(&trace);
    let _ = std::fs::remove_file(&trace);
    ensure!(status.code() == Some(case.status), "under strace: {status}");
    Ok(text?.lines().filter(|line| begins_a_process(line)).count())
}

fn begins_a_process(line: &str) -> bool {
    let call = ["fork(", "clone(", "clone3("].iter().any(|call| line.contains(call));
    call && !line.contains("CLONE_THREAD")
}

/// `struct timeval`.
#[repr(C)]
#[derive(Default)]
struct Time {
    seconds: i64,
    microseconds: i64,
}

impl Time {
    #[allow(clippy::cast_precision_loss, reason = "seconds of a process")]
    fn seconds(&self) -> f64 {
        self.seconds as f64 + self.microseconds as f64 / 1e6
    }
}

/// `struct rusage` of 64-bit Linux.
#[repr(C)]
#[derive(Default)]
struct Usage {
    user: Time,
    system: Time,
    rss_kib: i64,
    others: [i64; 13],
}

#[allow(unsafe_code, reason = "no safe crate here has it")]
unsafe extern "C" {
    fn wait4(pid: i32, status: *mut i32, options: i32, usage: *mut Usage) -> i32;
}

/// Waits for a child's end, and for what it used.
#[allow(unsafe_code, reason = "no safe crate here has it")]
fn wait(pid: u32) -> Result<(i32, Usage)> {
    let pid = i32::try_from(pid)?;
    let (mut status, mut usage) = (0, Usage::default());
    // SAFETY: wait4(2) writes one int and one struct rusage, and that is what the pointers are to. The child is ours and nobody else
    // waits for it.
    let waited = unsafe { wait4(pid, &raw mut status, 0, &raw mut usage) };
    ensure!(waited == pid, "wait4: {}", std::io::Error::last_os_error());
    Ok((status, usage))
}
