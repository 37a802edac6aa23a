//! What an operator does on the nodes, beyond moving x0: other parameters, and the tools.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Scene;
use crate::cluster::{CHANGE, Status};
use crate::node::Node;
use crate::wait::say;

impl Scene<'_> {
    /// Gives x0 another parameter, or takes it away.
    pub(crate) fn parameter(&self, name: &str, value: Option<&str>) -> Result<()> {
        self.parameters(&[(name, value)])
    }

    /// Gives x0 other parameters without a restart.
    pub(crate) fn parameters(&self, changes: &[(&str, Option<&str>)]) -> Result<()> {
        self.while_unmanaged(|node| {
            for (name, value) in changes {
                say(format_args!("x0 {name}={}", value.unwrap_or("(none)")));
                let change = match value {
                    Some(value) => format!("--set-parameter {name} --parameter-value={value}"),
                    None => format!("--delete-parameter {name}"),
                };
                node.ok(&format!("crm_resource --resource x0 {change}"))?;
            }
            Ok(())
        })
    }

    /// Turns x0's resource into one of the stock agent's, while x0 runs: `doc/recipes.md`, "Undoing everything". What only ours
    /// knows stays, since a story goes on with it; the stock agent does not look at it.
    pub(crate) fn back_to_the_stock_agent(&self) -> Result<()> {
        say("x0 is given to ocf:heartbeat:Xen");
        self.while_unmanaged(|node| {
            let primitive = r#"<primitive id="x0" provider="heartbeat"/>"#;
            node.ok(&format!(r#"cibadmin --modify --xpath '//primitive[@id="x0"]' --xml-text '{primitive}'"#))
                .map(drop)
        })
    }

    /// Changes x0's resource as `doc/recipes.md` does: while the cluster does not manage it, since it would restart x0 otherwise.
    pub(super) fn while_unmanaged(&self, change: impl FnOnce(&Node) -> Result<()>) -> Result<()> {
        let node = self.node(2)?;
        node.ok("crm_resource --resource x0 --meta --set-parameter is-managed --parameter-value false")?;
        change(node)?;
        node.ok("crm_resource --refresh --resource x0 2>&1")?;
        Status::wait(node, "x0 to be found again", |status| {
            status.resource("x0").is_some_and(|x0| !x0.nodes.is_empty() && x0.pending.is_none())
        })?;
        node.ok("crm_resource --resource x0 --meta --delete-parameter is-managed")?;
        Status::wait(node, "x0 to be the cluster's again", |status| {
            status.resource("x0").is_some_and(|x0| x0.managed)
        })
        .map(drop)
    }

    /// Gives a command of the tool on a node, whatever comes of it; what it prints is shown.
    pub(crate) fn tool(&self, node: usize, command: &str) -> Result<(i32, String)> {
        let output = self.node(node)?.start(&format!("xen-handoff {command}"))?.finish(CHANGE)?;
        let (code, text) = (output.code(), output.stdout);
        let complaints = output.stderr;
        say(format_args!("node{node}# xen-handoff {command}"));
        text.lines().chain(complaints.lines()).for_each(|line| say(format_args!("    {line}")));
        Ok((code, text))
    }

    /// The same of one that has to succeed.
    pub(crate) fn tool_ok(&self, node: usize, command: &str) -> Result<String> {
        let (code, text) = self.tool(node, command)?;
        ensure!(code == 0, "xen-handoff {command} on node{node}: status {code}");
        Ok(text)
    }

    /// The moves of x0 that a node has in its log.
    pub(crate) fn history(&self, node: usize, domain: &str) -> Result<Vec<Moved>> {
        let text = self.tool_ok(node, &format!("history --json {domain}"))?;
        let document: Value = serde_json::from_str(&text)?;
        document["moves"].as_array().into_iter().flatten().map(Moved::read).collect()
    }
}

/// Is this line of `xl list` that domain's?
pub(super) fn name_is(line: &str, domain: &str) -> bool {
    line.split_whitespace().next() == Some(domain)
}

/// One line of the log of moves.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Moved {
    /// `moved`, `not-moved`, ...
    pub(crate) end: String,
    /// `handoff` or `migration`.
    pub(crate) why: String,
    /// What xl, or the agent, said at last.
    pub(crate) said: String,
    /// When the stream began, in seconds of the node's clock.
    pub(crate) began: f64,
    /// How long it took until it was settled, in seconds.
    pub(crate) took: f64,
    /// From the banner of xl's receiver to *ready*, in seconds; none if it did not come to that.
    pub(crate) streamed: Option<f64>,
    /// xl's bytes.
    pub(crate) bytes: u64,
    /// Those on the connection, where these are others.
    pub(crate) wire: Option<u64>,
}

/// The seconds since 1970 of `2026-11-22T10:41:07Z`.
#[allow(clippy::cast_precision_loss, reason = "a time of these days")]
fn seconds_of(text: &str) -> Option<f64> {
    let (date, clock) = text.strip_suffix('Z')?.split_once('T')?;
    let numbers =
        |text: &str, mark| text.split(mark).map(|part| part.parse().ok()).collect::<Option<Vec<u16>>>();
    let ([year, month, day], [hour, minute, second]) =
        (numbers(date, '-')?.try_into().ok()?, numbers(clock, ':')?.try_into().ok()?);
    let small = |number: u16| u8::try_from(number).ok();
    let month = time::Month::try_from(small(month)?).ok()?;
    let date = time::Date::from_calendar_date(i32::from(year), month, small(day)?).ok()?;
    let at = date.with_hms(small(hour)?, small(minute)?, small(second)?).ok()?;
    Some(at.assume_utc().unix_timestamp() as f64)
}

impl Moved {
    fn read(value: &Value) -> Result<Self> {
        let text = |name: &str| {
            value[name].as_str().map(str::to_owned).with_context(|| format!("no {name} in {value}"))
        };
        let number =
            |value: &Value, name: &str| value[name].as_f64().with_context(|| format!("no {name} in {value}"));
        let number = |name: &str| number(value, name);
        let streamed =
            number("ready_after_seconds").and_then(|ready| Ok(ready - number("opened_after_seconds")?));
        Ok(Self {
            end: text("end")?,
            why: text("reason")?,
            said: text("said")?,
            began: seconds_of(&text("began_at")?).with_context(|| format!("no time in {value}"))?,
            took: number("seconds")?,
            streamed: streamed.ok(),
            bytes: value["bytes"].as_u64().with_context(|| format!("no bytes in {value}"))?,
            wire: value["connection_bytes"].as_u64(),
        })
    }

    /// MiB/s over the connection, while the stream went.
    #[allow(clippy::cast_precision_loss, reason = "a rate")]
    pub(crate) fn rate(&self) -> Option<f64> {
        Some(self.wire.unwrap_or(self.bytes) as f64 / f64::from(1 << 20) / self.streamed?)
    }
}
