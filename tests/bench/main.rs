//! The bench tools end to end: the real executable, real ping, httperf and curl, and the real load service as the guest, in
//! network namespaces of their own. What is measured was planted, so it is known.
//!
//! `make bench-check`, and in `make check`. Needs root and the load service (`cargo build -p xen-handoff-load`); where one is
//! missing, the tests are listed as ignored and the reason is printed.
#![allow(
    clippy::disallowed_methods,
    reason = "the harness is no part of the agent: it starts processes and reads its own environment"
)]
#![allow(clippy::print_stdout, reason = "a harness talks to a person")]

mod net;

use std::path::PathBuf;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;

use net::{GUEST, Net};

/// How far a planted outage may be measured off, in seconds: what starting the commands that plant it takes on a busy machine.
const TOLERANCE: f64 = 0.35;

fn main() -> ExitCode {
    if let Some(code) = net::enter() {
        return code;
    }
    let mut arguments = Arguments::from_args();
    // They measure time.
    arguments.test_threads = Some(1);
    let why = net::missing();
    if let Some(why) = &why {
        println!("the bench tools are not tested here: {why}");
    }
    let trial = |name: &str, test: fn(&Net) -> Result<(), String>| {
        let run = move || -> Result<(), Failed> {
            let net = Net::new()?;
            Ok(test(&net)?)
        };
        Trial::test(name, run).with_ignored_flag(why.is_some())
    };
    let trials = vec![
        trial("an_outage_that_was_planted_is_found_as_the_pause", outage),
        trial("the_transfers_own_events_begin_and_end_the_phases", events),
        trial("a_quiet_run_has_no_pause_and_a_guest_that_restarts_is_counted", quiet_and_restarted),
        trial("memory_goes_up_and_down_and_every_step_is_measured", memory),
        trial("calls_fail_while_a_guest_is_cut_off_and_are_answered_again", during),
        trial("what_cannot_be_measured_is_said", refusals),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn number(of: &Value, path: &str) -> Result<f64, String> {
    of.pointer(path).and_then(Value::as_f64).ok_or_else(|| format!("no number at {path} in {of:#}"))
}

fn near(what: &str, is: f64, planted: f64, tolerance: f64) -> Result<(), String> {
    if (is - planted).abs() <= tolerance {
        Ok(())
    } else {
        Err(format!("{what} is {is}, planted were {planted}"))
    }
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

fn phase<'v>(result: &'v Value, name: &str) -> Result<&'v Value, String> {
    let phases = result.get("phases").and_then(Value::as_array).ok_or("no phases")?;
    let found = phases.iter().find(|phase| phase.get("name").and_then(Value::as_str) == Some(name));
    found.ok_or_else(|| format!("no phase {name} in {phases:?}"))
}

fn read(folder: &std::path::Path, file: &str) -> Result<Value, String> {
    let path = folder.join(file);
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// The guest is cut off for 1.5 s, two seconds after the beginning.
fn outage(net: &Net) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let (out, rows) = (folder.path().join("out"), folder.path().join("rows.json"));
    let cut = net.cut_for("1.5");
    let mut args: Vec<String> =
        ["bench", "rtt", GUEST, "--count", "600", "--at", "2s", "--name", "cut"].map(str::to_owned).into();
    args.extend([
        "--out".to_owned(),
        out.display().to_string(),
        "--rows".to_owned(),
        rows.display().to_string(),
    ]);
    args.push("--".to_owned());
    args.extend(cut);
    let said = net.bench(&args)?;

    let result = read(&out, "rtt.json")?;
    near(
        "the longest gap",
        number(&result, "/longest_gap/to")? - number(&result, "/longest_gap/from")?,
        1.5,
        TOLERANCE,
    )?;
    near("the downtime", number(&result, "/downtime_s")?, 1.5, TOLERANCE)?;
    let pause = phase(&result, "pause")?;
    near("the pause's beginning", number(pause, "/from")?, 2.0, TOLERANCE)?;
    near("the time to the first answer", number(&result, "/total_s")?, 1.5, TOLERANCE)?;
    let lost = number(&result, "/lost")?;
    ensure(lost > 20.0 && number(pause, "/lost")? == lost, || {
        format!("lost {lost}, all of them in the pause: {pause}")
    })?;
    ensure(said.contains("| pause "), || format!("no pause in the table:\n{said}"))?;
    let rows = read(folder.path(), "rows.json")?;
    ensure(rows.pointer("/0/name").and_then(Value::as_str) == Some("cut"), || format!("{rows}"))?;
    ensure(rows.pointer("/0/reboots").is_some_and(Value::is_null), || {
        format!("nobody asked the guest: {rows}")
    })?;
    let csv = std::fs::read_to_string(out.join("rtt.csv")).map_err(|error| error.to_string())?;
    ensure(csv.lines().count() == 601, || format!("{} lines of 601", csv.lines().count()))?;
    let picture = std::fs::read_to_string(out.join("rtt.svg")).map_err(|error| error.to_string())?;
    ensure(picture.contains(">pause<") && !picture.contains("NaN"), || picture)?;
    let compared = net.bench(&["bench".to_owned(), "compare".to_owned(), out.display().to_string()])?;
    ensure(compared.contains("| cut ") && compared.contains("the paper, Xen alone"), || compared)
}

/// The same, with a journal that says when the stream was opened and when the transfer was over.
fn events(net: &Net) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let (out, journal) = (folder.path().join("out"), folder.path().join("journal"));
    let line = |node: &str, event: &str| {
        format!(
            "echo \"$(date +%s.%N) {node} xen-handoff[7]: domain=x0 phase=a->b event={event} generation=1 by=t\" >>{}; ",
            journal.display()
        )
    };
    let cut = net.cut_for("0.6");
    let story = [
        "sleep 0.5; ".to_owned(),
        line("node1", "Claimed"),
        "sleep 0.5; ".to_owned(),
        cut.last()
            .cloned()
            .unwrap_or_default()
            .replace("sleep 0.6", &format!("sleep 0.3; {}sleep 0.3", line("node2", "GoArrived"))),
        "; sleep 1; ".to_owned(),
        line("node2", "Confirmed"),
    ]
    .concat();
    std::fs::write(&journal, "").map_err(|error| error.to_string())?;
    let args =
        ["bench", "rtt", GUEST, "--count", "600", "--at", "1s", "--json", "--events"].map(str::to_owned);
    let rest =
        [journal.display().to_string(), "--out".to_owned(), out.display().to_string(), "--".to_owned()];
    let command = ["sh".to_owned(), "-c".to_owned(), story];
    let said = net.bench(&[args.as_slice(), &rest, &command].concat())?;

    let result: Value = serde_json::from_str(&said).map_err(|error| format!("{error}: {said}"))?;
    ensure(result.get("basis").and_then(Value::as_str) == Some("events"), || format!("{result:#}"))?;
    near("the time until the stream was opened", number(phase(&result, "ordered")?, "/to")?, 1.5, TOLERANCE)?;
    near("the pause's beginning", number(phase(&result, "pause")?, "/from")?, 2.0, TOLERANCE)?;
    // Round trips may settle later still, on a busy machine.
    let last = result.pointer("/events/2").ok_or("less than three events")?;
    let (confirmed, settled) = (number(last, "/at")?, number(phase(&result, "after")?, "/from")?);
    near("the last event", confirmed, 3.6, 2.0 * TOLERANCE)?;
    ensure(settled >= confirmed - 0.001, || {
        format!("settled at {settled}, before the last event at {confirmed}")
    })
}

fn quiet_and_restarted(net: &Net) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let out = folder.path().join("out").display().to_string();
    let stats = format!("http://{GUEST}:8080/stats");
    let mut args: Vec<String> =
        ["bench", "rtt", GUEST, "--count", "200", "--json", "--stats", &stats, "--out", &out]
            .map(str::to_owned)
            .into();
    let quiet: Value = serde_json::from_str(&net.bench(&args)?).map_err(|error| error.to_string())?;
    ensure(quiet.get("reboots").and_then(Value::as_u64) == Some(0), || format!("{quiet:#}"))?;
    ensure(phase(&quiet, "pause").is_err(), || format!("{quiet:#}"))?;

    // Another boot: the service sees another boot id from then on.
    args.extend([
        "--duration".to_owned(),
        "6s".to_owned(),
        "--at".to_owned(),
        "2s".to_owned(),
        "--".to_owned(),
    ]);
    args.retain(|word| word != "--count" && word != "200");
    args.extend(net.reboot());
    let rebooted: Value = serde_json::from_str(&net.bench(&args)?).map_err(|error| error.to_string())?;
    ensure(rebooted.get("reboots").and_then(Value::as_u64) == Some(1), || format!("{rebooted:#}"))
}

fn memory(net: &Net) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let out = folder.path().join("out");
    let args = ["bench", "memory", GUEST, "--steps", "3", "--num-conns", "40", "--rate", "40", "--out"]
        .map(str::to_owned);
    let said = net.bench(&[args.as_slice(), &[out.display().to_string()]].concat())?;

    let result = read(&out, "memory.json")?;
    let steps = result.get("steps").and_then(Value::as_array).ok_or("no steps")?;
    let held: Vec<f64> = steps.iter().filter_map(|step| step.get("held_mib")?.as_f64()).collect();
    ensure(held == [10.0, 20.0, 30.0, 20.0, 10.0], || format!("{held:?}"))?;
    for step in steps {
        let (touching, response) = (number(step, "/touch_ms")?, number(step, "/response_ms")?);
        ensure(touching > 0.0 && response > 0.0 && number(step, "/failed")? == 0.0, || step.to_string())?;
        ensure((0.0..=100.0).contains(&number(step, "/usage/0/host")?), || step.to_string())?;
    }
    // Three times the pages: at least half as much more time again, whatever else the machine does.
    let touching =
        |index: usize| steps.get(index).map_or(Err("no step".to_owned()), |step| number(step, "/touch_ms"));
    ensure(touching(2)? > 1.5 * touching(0)?, || said.clone())?;
    ensure(said.contains("| 30 up ") && said.contains("the paper, plain machine"), || said.clone())?;
    ensure(net.stats()?.get("held_bytes").and_then(Value::as_u64) == Some(0), || {
        "memory is still held".to_owned()
    })
}

fn during(net: &Net) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let out = folder.path().join("out");
    let args = [
        "bench",
        "memory",
        GUEST,
        "--steps",
        "2",
        "--rate",
        "20",
        "--timeout",
        "500ms",
        "--during",
        "--duration",
        "8s",
    ];
    let more = ["--at", "3s", "--out"].map(str::to_owned);
    let out_and_end = [out.display().to_string(), "--".to_owned()];
    let said =
        net.bench(&[args.map(str::to_owned).as_slice(), &more, &out_and_end, &net.cut_for("1.5")].concat())?;

    let result = read(&out, "memory.json")?;
    let slices = result.get("slices").and_then(Value::as_array).ok_or("no slices")?;
    let failed: Vec<bool> =
        slices.iter().filter_map(|slice| Some(slice.get("failed")?.as_u64()? > 0)).collect();
    ensure(failed.first() == Some(&false) && failed.last() == Some(&false), || said.clone())?;
    ensure(failed.contains(&true), || format!("no call failed while the guest was cut off\n{said}"))?;
    ensure(result.get("rebooted") == Some(&Value::Bool(false)), || result.to_string())
}

fn refusals(net: &Net) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let out = folder.path().join("out").display().to_string();
    let refused = |words: &[&str], reason: &str| -> Result<(), String> {
        let mut args: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        args.extend(["--out".to_owned(), out.clone()]);
        match net.bench(&args) {
            Ok(said) => Err(format!("{words:?} was not refused: {said}")),
            Err(why) => ensure(why.contains(reason), || format!("{words:?}: {why}")),
        }
    };
    refused(&["bench", "rtt", "10.99.0.9", "--count", "5"], "answers no ping")?;
    refused(&["bench", "rtt", GUEST, "--count", "100", "--at", "9s"], "the pings end after 1.0 s")?;
    refused(&["bench", "rtt", "nobody.invalid", "--count", "5"], "ping failed")?;
    refused(&["bench", "memory", GUEST, "--port", "9", "--steps", "1"], "does not answer")?;
    refused(&["bench", "memory", GUEST, "--steps", "9", "--num-conns", "1"], "--limit-mb")?;
    let unprivileged =
        net.bench_as_nobody(&["bench", "rtt", GUEST, "--interval", "1ms", "--count", "5", "--out", "/tmp"]);
    ensure(unprivileged.as_ref().is_err_and(|why| why.contains("only to root")), || {
        format!("{unprivileged:?}")
    })
}

fn path_of(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_xen-handoff")).with_file_name(name)
}
