//! The agent's metadata, made from the tables of parameters and actions: what `meta-data` prints and
//! `ocf/Xen.xml` keeps.
//!
//! `<version>` is 1.1: from 2.1.0 on Pacemaker then calls `reload-agent` for a change of parameters that are
//! all `reloadable`. An older one knows `reload` alone, which would make a change of *every* parameter that
//! is not unique restart nothing, of `xmfile` too: it is not offered. `ocf-tester` validates against
//! `ra-api-1.dtd`, which is OCF 1.0's: what 1.1 adds is declared in the document's own subset.

use std::fmt::Write;

use crate::parameters::{Kind, PARAMETERS, Parameter};

/// One action as the metadata shows it; times in seconds. The timeouts are advice, on the safe side for a
/// live migration of a few GiB over gigabit Ethernet.
#[derive(Debug, Clone, Copy)]
pub struct Action {
    /// Its name on the command line.
    pub name: &'static str,
    /// The advised timeout.
    pub timeout: u32,
    /// The advised interval, for monitor.
    pub interval: Option<u32>,
}

/// Every action that the cluster may call, in the order of the metadata. (`usage` is there too, for a person:
/// pcs would make an operation of whatever is listed here.)
pub const ACTIONS: [Action; 9] = [
    Action { name: "start", timeout: 300, interval: None },
    Action { name: "stop", timeout: 180, interval: None },
    Action { name: "migrate_to", timeout: 300, interval: None },
    Action { name: "migrate_from", timeout: 120, interval: None },
    Action { name: "monitor", timeout: 30, interval: Some(10) },
    Action { name: "status", timeout: 30, interval: Some(10) },
    Action { name: "reload-agent", timeout: 30, interval: None },
    Action { name: "meta-data", timeout: 5, interval: None },
    Action { name: "validate-all", timeout: 30, interval: None },
];

/// The agent in one line.
pub const SHORT: &str = "Manages Xen domains and hands them over live";

/// The agent in a few paragraphs.
pub const LONG: &str = "\
Manages a Xen domain: starts, stops, watches and live-migrates it. A drop-in replacement for ocf:heartbeat:Xen, with the \
same parameters.

What sets it apart is the handoff: when the cluster stops the domain on one node only to start it on another, stop \
returns success while the domain goes on running and is offered to the cluster; start, on the node that the cluster \
chose, finds the offer and pulls the running domain over by live migration. The guest notices a short pause instead of a \
reboot. Where the cluster can migrate by itself (meta attribute allow-migrate=true), the agent does that.

A domain is never started while another node might be running it. Where that could not be found out, start fails with a reason.";

/// The whole document.
pub fn document() -> String {
    let names: Vec<&str> = ACTIONS.iter().map(|action| action.name).collect();
    let mut xml = String::from("<?xml version=\"1.0\"?>\n");
    push(
        &mut xml,
        format_args!(
            "<!DOCTYPE resource-agent SYSTEM \"ra-api-1.dtd\" [\n<!ATTLIST parameter reloadable (0|1) \"0\">\n\
             <!ATTLIST action name ({}) #REQUIRED>\n]>\n",
            names.join("|")
        ),
    );
    xml.push_str("<resource-agent name=\"Xen\" version=\"");
    xml.push_str(crate::VERSION);
    xml.push_str("\">\n<version>1.1</version>\n\n");
    describe(&mut xml, "", LONG, SHORT);
    xml.push_str("\n<parameters>\n");
    for parameter in &PARAMETERS {
        add_parameter(&mut xml, parameter);
    }
    xml.push_str("</parameters>\n\n<actions>\n");
    for action in &ACTIONS {
        let interval =
            action.interval.map(|span| format!(" interval=\"{span}s\" depth=\"0\"")).unwrap_or_default();
        push(
            &mut xml,
            format_args!("<action name=\"{}\" timeout=\"{}s\"{interval}/>\n", action.name, action.timeout),
        );
    }
    xml.push_str("</actions>\n</resource-agent>\n");
    xml
}

fn add_parameter(xml: &mut String, parameter: &Parameter) {
    let flag = |set| if set { "1" } else { "0" };
    let kind = match parameter.kind {
        Kind::Text => "string",
        Kind::Integer => "integer",
        Kind::Boolean => "boolean",
        Kind::Time => "time",
    };
    let default = if parameter.default.is_empty() {
        String::new()
    } else {
        format!(" default=\"{}\"", escape(parameter.default))
    };
    push(
        xml,
        format_args!(
            "<parameter name=\"{}\" required=\"{}\" unique=\"{}\" reloadable=\"{}\">\n",
            parameter.name,
            flag(parameter.required),
            flag(parameter.unique),
            flag(parameter.reloadable)
        ),
    );
    describe(xml, "  ", parameter.long, parameter.short);
    push(xml, format_args!("  <content type=\"{kind}\"{default}/>\n</parameter>\n"));
}

fn describe(xml: &mut String, indent: &str, long: &str, short: &str) {
    push(xml, format_args!("{indent}<longdesc lang=\"en\">\n{}\n{indent}</longdesc>\n", escape(long)));
    push(xml, format_args!("{indent}<shortdesc lang=\"en\">{}</shortdesc>\n", escape(short)));
}

/// Appends to a `String`, which cannot fail.
fn push(xml: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = xml.write_fmt(text);
}

fn escape(text: &str) -> String {
    quick_xml::escape::escape(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ocf/Xen.xml` is what packagers and reviewers read. Refresh it: `make man`.
    #[test]
    fn the_kept_document_is_what_the_agent_prints() {
        let kept = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/ocf/Xen.xml")).unwrap();
        assert!(
            kept == document(),
            "ocf/Xen.xml differs from meta-data: run `make man` and commit the result"
        );
    }

    #[test]
    fn an_older_pacemaker_is_not_told_that_every_parameter_can_be_reloaded() {
        let document = document();
        assert!(document.contains("<action name=\"reload-agent\""));
        assert!(!document.contains("name=\"reload\"") && !document.contains("name=\"usage\""));
    }

    #[test]
    fn every_text_is_escaped() {
        assert!(document().contains("(8), &quot;TOOLSTACKS&quot;"));
    }
}
