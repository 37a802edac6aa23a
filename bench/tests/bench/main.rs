//! The bench end to end: the real executable, real ping, httperf and curl, and the real load service as the guest, in
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

use net::{GUEST, Net, Planted};

/// How far a planted moment may be measured off, in seconds: pings are 10 ms apart, on a busy machine up to ten times that.
const TOLERANCE: f64 = 0.15;

fn main() -> ExitCode {
    if let Some(code) = net::enter() {
        return code;
    }
    let mut arguments = Arguments::from_args();
    // They measure time.
    arguments.test_threads = Some(1);
    let why = net::missing();
    if let Some(why) = &why {
        println!("the bench is not tested here: {why}");
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

/// `is` lies between the two moments, or nearly.
fn within(what: &str, is: f64, planted: (f64, f64)) -> Result<(), String> {
    let fits = (planted.0 - TOLERANCE..=planted.1 + TOLERANCE).contains(&is);
    if fits { Ok(()) } else { Err(format!("{what} is {is}, planted was {planted:?}")) }
}

/// The pause is the outage that was planted.
fn pause_is(result: &Value, planted: Planted) -> Result<(), String> {
    let (pause, zero) = (phase(result, "pause")?, number(result, "/began_unix")?);
    within("the pause's beginning", number(pause, "/from")? + zero, planted.began)?;
    within("the pause's end", number(pause, "/to")? + zero, planted.ended)
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
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (out, rows, stamps) = (path("out"), path("rows.json"), folder.path().join("stamps"));
    let args =
        ["rtt", GUEST, "--count", "600", "--at", "2s", "--name", "cut", "--out", &out, "--rows", &rows, "--"];
    let said = net.bench(&[args.map(str::to_owned).as_slice(), &net.cut_for("1.5", &stamps)].concat())?;

    let (result, planted) = (read(folder.path(), "out/rtt.json")?, Planted::read(&stamps)?);
    pause_is(&result, planted)?;
    let lasted = (planted.ended.0 - planted.began.1, planted.ended.1 - planted.began.0);
    within(
        "the longest gap",
        number(&result, "/longest_gap/to")? - number(&result, "/longest_gap/from")?,
        lasted,
    )?;
    within("the downtime", number(&result, "/downtime_s")?, lasted)?;
    let (zero, at) = (number(&result, "/began_unix")?, number(&result, "/command/at_s")?);
    within("the command's time", at, (2.0, planted.began.0 - zero))?;
    let until_answered = (planted.ended.0 - zero - at, planted.ended.1 - zero - at);
    within("the time to the first answer", number(&result, "/total_s")?, until_answered)?;
    let lost = number(&result, "/lost")?;
    let pause = phase(&result, "pause")?;
    // At its very beginning one may be on its way.
    ensure(lost > 20.0 && lost - number(pause, "/lost")? <= 2.0, || {
        format!("lost {lost}, in the pause: {pause}")
    })?;

    ensure(said.contains("| pause "), || format!("no pause in the table:\n{said}"))?;
    let rows = read(folder.path(), "rows.json")?;
    ensure(rows.pointer("/0/name").and_then(Value::as_str) == Some("cut"), || format!("{rows}"))?;
    ensure(rows.pointer("/0/reboots").is_some_and(Value::is_null), || {
        format!("nobody asked the guest: {rows}")
    })?;
    let text =
        |file: &str| std::fs::read_to_string(folder.path().join(file)).map_err(|error| error.to_string());
    ensure(text("out/rtt.csv")?.lines().count() == 601, || "not a line for each ping".to_owned())?;
    let picture = text("out/rtt.svg")?;
    ensure(picture.contains(">pause<") && !picture.contains("NaN"), || picture)?;
    let bars = folder.path().join("bars.svg").display().to_string();
    let compared = net.bench(&["compare", &out, "--bars", &bars].map(str::to_owned))?;
    ensure(text("bars.svg")?.contains(">cut</text>"), || "no bar in the picture".to_owned())?;
    ensure(compared.contains("| cut ") && compared.contains("the paper, Xen alone"), || compared)
}

/// The same, with a journal that says when the stream was opened and when the transfer was over.
fn events(net: &Net) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (out, journal, stamps) = (path("out"), path("journal"), folder.path().join("stamps"));
    let line = |node: &str, event: &str| {
        format!(
            "echo \"$(date +%s.%N) {node} xen-handoff[7]: domain=x0 phase=a->b event={event} generation=1 by=t\" >>{journal}"
        )
    };
    let cut = net.cut_for("0.6", &stamps).last().cloned().unwrap_or_default();
    let cut = cut.replace("sleep 0.6", &format!("sleep 0.3; {}; sleep 0.3", line("node2", "GoArrived")));
    let (opened, ended) = (line("node1", "Claimed"), line("node2", "Confirmed"));
    // A longer silence follows, which is none of the transfer's: the one in which GO arrived counts.
    let later = net.cut_for("1.2", &folder.path().join("later")).last().cloned().unwrap_or_default();
    let story = format!("sleep 0.5; {opened}; sleep 0.5; {cut}; sleep 0.5; {ended}; sleep 0.5; {later}");
    std::fs::write(&journal, "").map_err(|error| error.to_string())?;
    let args =
        ["rtt", GUEST, "--duration", "9s", "--at", "1s", "--json", "--events", &journal, "--out", &out];
    let said = net.bench(
        &[args.map(str::to_owned).as_slice(), &["--", "sh", "-c", &story].map(str::to_owned)].concat(),
    )?;

    let result: Value = serde_json::from_str(&said).map_err(|error| format!("{error}: {said}"))?;
    ensure(result.get("basis").and_then(Value::as_str) == Some("events"), || format!("{result:#}"))?;
    pause_is(&result, Planted::read(&stamps)?)?;
    let event = |index: usize| number(&result, &format!("/events/{index}/at"));
    let (ordered, transfer) = (phase(&result, "ordered")?, phase(&result, "transfer")?);
    ensure(number(ordered, "/to")? == event(0)? && number(transfer, "/from")? == event(0)?, || {
        format!("{result:#}")
    })?;
    // Round trips may settle later still, on a busy machine.
    let (confirmed, settled) = (event(2)?, number(phase(&result, "after")?, "/from")?);
    ensure(settled >= confirmed - 0.001, || {
        format!("settled at {settled}, before the last event at {confirmed}")
    })
}

fn quiet_and_restarted(net: &Net) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let out = folder.path().join("out").display().to_string();
    let stats = format!("http://{GUEST}:8080/stats");
    let mut args: Vec<String> = ["rtt", GUEST, "--count", "200", "--json", "--stats", &stats, "--out", &out]
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
    let args =
        ["memory", GUEST, "--steps", "3", "--num-conns", "40", "--rate", "40", "--out"].map(str::to_owned);
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
    let said = net.bench(
        &[
            args.map(str::to_owned).as_slice(),
            &more,
            &out_and_end,
            &net.cut_for("1.5", &folder.path().join("stamps")),
        ]
        .concat(),
    )?;

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
    refused(&["rtt", "10.99.0.9", "--count", "5"], "answers no ping")?;
    refused(&["rtt", GUEST, "--count", "100", "--at", "9s"], "the pings end after 1.0 s")?;
    refused(&["rtt", "nobody.invalid", "--count", "5"], "ping failed")?;
    refused(&["memory", GUEST, "--port", "9", "--steps", "1"], "does not answer")?;
    refused(&["memory", GUEST, "--steps", "9", "--num-conns", "1"], "--limit-mb")?;
    let unprivileged =
        net.bench_as_nobody(&["rtt", GUEST, "--interval", "1ms", "--count", "5", "--out", "/tmp"]);
    ensure(unprivileged.as_ref().is_err_and(|why| why.contains("only to root")), || {
        format!("{unprivileged:?}")
    })
}

fn path_of(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_xen-handoff-bench")).with_file_name(name)
}
