//! The knobs that make a subcommand fail, hang, or die at a named point.

use crate::host::Host;
use crate::{Exit, Outcome, system};
use std::time::Duration;

const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What a subcommand meets before it does anything: `CMD.hang`, `CMD.fail-once`, `CMD.fail`.
pub(crate) fn before(host: &Host, command: &str) -> Outcome {
    if command == "standin" {
        return Ok(());
    }
    for who in ["all", command] {
        while host.knob(&format!("{who}.hang")).is_some() {
            system::pause(LOOK_AGAIN);
        }
        for kind in ["fail-once", "fail"] {
            let file = format!("{who}.{kind}");
            let Some(text) = host.knob(&file) else { continue };
            if kind == "fail-once" {
                host.remove_knob(&file)?;
            }
            let (status, says) = text.split_once('\n').unwrap_or((&text, ""));
            return Err(Exit::status(status.trim().parse().unwrap_or(1), says.trim_end()));
        }
    }
    Ok(())
}

/// Whoever (`migrate` or `receive`) passes `point` dies or waits there, when a knob says so.
pub(crate) fn at(host: &Host, who: &str, point: &str) {
    let named = |kind: &str| {
        host.knob(&format!("{who}.{kind}"))
            .is_some_and(|text| text.lines().next().is_some_and(|p| p == point))
    };
    if named("hold") {
        // a test that waits for this must not find the word of an earlier one
        let _unwritable = host.note_held(who, Some(point));
        while named("hold") {
            system::pause(LOOK_AGAIN);
        }
        let _unwritable = host.note_held(who, None);
    }
    if named("kill-once") {
        let _gone = host.remove_knob(&format!("{who}.kill-once"));
        system::kill_myself();
    }
    if named("kill") {
        system::kill_myself();
    }
    if named("kill-once") && host.remove_knob(&format!("{who}.kill-once")).is_ok() {
        system::kill_myself();
    }
}

/// Whether the receiver is to fail at `what`.
pub(crate) fn receive_fails(host: &Host, what: &str) -> bool {
    host.knob("receive.fail").is_some_and(|text| text.lines().any(|line| line.trim() == what))
}
