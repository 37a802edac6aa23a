//! Writes what is made from the code's own tables: `man/ocf_handoff_Xen.7`, `man/xen-handoff.8` and a page for each
//! subcommand, `man/xen-handoff.conf.5`, the settings file of the package, `ocf/Xen.xml` and the shells' completions; from the catalogue of messages, `doc/messages.txt`, the
//! operators' page and journald's catalogue; and the README's table of what has been run where, from `doc/support.tsv`. The results are committed; `make man` refreshes them, and `make lint` fails if they differ.

mod messages;
mod pages;
mod shared;
#[allow(dead_code, reason = "the test of the README reads the rest")]
mod support;

use std::fmt::Write;
use std::path::Path;

use clap::CommandFactory;
use shared::{DATE, completions, plain};
use xen_handoff::cli::Cli;
use xen_handoff::messages::Catalogue;
use xen_handoff::ocf::exit_code::ExitCode;
use xen_handoff::parameters::PARAMETERS;
use xen_handoff::parameters::metadata::{ACTIONS, LONG, SHORT, document};
use xen_handoff::settings::{self, Reader, SETTINGS};

fn main() -> anyhow::Result<()> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::write(top.join("ocf/Xen.xml"), document())?;
    std::fs::write(top.join("man/ocf_handoff_Xen.7"), agent_page()?)?;
    std::fs::write(top.join("man/xen-handoff.8"), tool_page()?)?;
    for subcommand in Cli::for_people().get_subcommands() {
        let page = top.join(format!("man/xen-handoff-{}.8", subcommand.get_name()));
        std::fs::write(page, pages::page(top, subcommand)?)?;
    }
    std::fs::write(top.join("man/xen-handoff.conf.5"), settings_page()?)?;
    std::fs::write(top.join("packaging/sysconfig/xen-handoff"), settings_file()?)?;
    let (head, tail) =
        (include_str!("xen-handoff-handoff.7.head"), include_str!("xen-handoff-handoff.7.tail"));
    let page = messages::page(Catalogue::own(), head, tail)?;
    std::fs::write(top.join("man/xen-handoff-handoff.7"), page)?;
    std::fs::write(top.join("packaging/systemd/xen-handoff.catalog"), messages::journal(Catalogue::own())?)?;
    let (readme, runs) = (top.join("README.md"), std::fs::read_to_string(top.join("doc/support.tsv"))?);
    std::fs::write(&readme, support::readme(&std::fs::read_to_string(&readme)?, &runs)?)?;
    completions(top, "xen-handoff")
}

/// What belongs together, in the order in which somebody sets it. Each parameter is in one group.
const GROUPS: [(&str, &[&str]); 6] = [
    ("The domain", &["xmfile", "name", "toolstack"]),
    ("Handoff", &["handoff", "handoff_timeout", "handoff_unreachable", "handoff_peer_timeout"]),
    (
        "The way to the other nodes",
        &[
            "migration_network_suffix",
            "node_ip_attribute",
            "migration_user",
            "migration_port",
            "migration_connect_timeout",
        ],
    ),
    (
        "What a move may take",
        &["migration_rate", "migration_compression", "migration_deadline", "migration_detach_pci"],
    ),
    (
        "Its end, and whether it is well",
        &["shutdown_timeout", "shutdown_acpi", "monitor_scripts", "snapshot"],
    ),
    (
        "Memory, and what the scheduler is told",
        &[
            "allow_mem_management",
            "reserved_Dom0_memory",
            "memory_floor",
            "autoset_utilization_cpu",
            "autoset_utilization_hv_memory",
        ],
    ),
];

fn write_parameters(page: &mut String) -> anyhow::Result<()> {
    for parameter in &PARAMETERS {
        let groups = GROUPS.iter().filter(|(_, names)| names.contains(&parameter.name)).count();
        anyhow::ensure!(groups == 1, "{} is in {groups} groups of man/generate.rs", parameter.name);
    }
    for (title, names) in GROUPS {
        writeln!(page, ".SS {title}")?;
        for name in names {
            let parameter = PARAMETERS.iter().find(|parameter| parameter.name == *name);
            let parameter = parameter.ok_or_else(|| anyhow::anyhow!("there is no parameter {name}"))?;
            writeln!(page, ".TP\n.B {}", plain(parameter.name))?;
            writeln!(page, "{}.", plain(parameter.short))?;
            writeln!(page, "{}", plain(parameter.long))?;
            let required = if parameter.required { "Required" } else { "Optional" };
            match parameter.default {
                "" => writeln!(page, "({required}, no default.)")?,
                default => writeln!(page, "({required}, default \\fB{}\\fR.)", plain(default))?,
            }
        }
    }
    Ok(())
}

fn agent_page() -> anyhow::Result<String> {
    let mut page = String::new();
    writeln!(page, ".\\\" Made by man/generate.rs from the agent's tables. Do not edit.")?;
    writeln!(
        page,
        ".TH OCF_HANDOFF_XEN 7 \"{DATE}\" \"xen\\-handoff {}\" \"OCF resource agents\"",
        xen_handoff::VERSION
    )?;
    writeln!(page, ".SH NAME\nocf_handoff_Xen \\- {}", plain(SHORT))?;
    writeln!(
        page,
        ".SH SYNOPSIS\n.B Xen\n\\fI{}\\fR",
        ACTIONS.map(|action| plain(action.name)).join("\\fR | \\fI")
    )?;
    writeln!(page, ".SH DESCRIPTION")?;
    let paragraphs: Vec<String> = LONG.split("\n\n").map(plain).collect();
    writeln!(page, "{}", paragraphs.join("\n.PP\n"))?;
    writeln!(page, ".SH PARAMETERS")?;
    write_parameters(&mut page)?;
    writeln!(
        page,
        ".SH ACTIONS\nAdvised minimum timeouts; a stop or start that moves a domain needs the time of the move."
    )?;
    for action in &ACTIONS {
        let interval = action.interval.map(|span| format!(", every {span} s")).unwrap_or_default();
        writeln!(page, ".TP\n.B {}\n{} s{interval}", plain(action.name), action.timeout)?;
    }
    writeln!(page, ".SH EXIT STATUS")?;
    for (code, meaning) in [
        (ExitCode::Success, "done, or it runs"),
        (ExitCode::Generic, "failed, or it cannot be told; the exit reason says what holds now"),
        (ExitCode::Arguments, "called with what cannot be"),
        (ExitCode::Unimplemented, "no such action"),
        (ExitCode::Permission, "not allowed"),
        (ExitCode::NotInstalled, "a tool or the configuration file is not on this node"),
        (ExitCode::Configured, "a parameter is wrong on every node"),
        (ExitCode::NotRunning, "cleanly stopped here, or on offer; never for \"I cannot tell\""),
        (ExitCode::Degraded, "it runs, but is paused"),
    ] {
        writeln!(page, ".TP\n.B {}\n{}", code as u8, plain(meaning))?;
    }
    page.push_str(include_str!("ocf_handoff_Xen.7.tail"));
    Ok(page)
}

/// What the two kinds of settings are, by who reads them.
fn about(reader: Reader) -> &'static str {
    match reader {
        Reader::EveryTime => {
            "Settings of this host. They are read whenever they are needed, so a change needs no restart."
        }
        Reader::Guard => {
            "Settings of xen-handoff-guard.service, and of what it starts (the keepers of offers, the settling of broken transfers). \
             They hold from its next start on: systemctl restart xen-handoff-guard.service, which ends no offer. The agent \
             itself takes these from the cluster manager: under Pacemaker, from its own sysconfig file."
        }
    }
}

fn settings_page() -> anyhow::Result<String> {
    let mut page = String::new();
    writeln!(page, ".\\\" Made by man/generate.rs from the table of settings. Do not edit.")?;
    writeln!(
        page,
        ".TH XEN\\-HANDOFF.CONF 5 \"{DATE}\" \"xen\\-handoff {}\" \"File formats\"",
        xen_handoff::VERSION
    )?;
    writeln!(page, ".SH NAME\nxen\\-handoff.conf \\- settings of xen\\-handoff on one host")?;
    let files = settings::FILES.map(|file| format!(".I {}", plain(file)));
    writeln!(page, ".SH SYNOPSIS\n{}", files.join("\n.br\n"))?;
    for (heading, reader) in
        [("SETTINGS OF THE HOST", Reader::EveryTime), ("SETTINGS OF THE GUARD", Reader::Guard)]
    {
        writeln!(page, ".SH {heading}\n{}", plain(about(reader)))?;
        for setting in SETTINGS.iter().filter(|setting| setting.reader == reader) {
            writeln!(page, ".TP\n.BR {} =\\fIvalue\\fR", plain(setting.name))?;
            writeln!(page, "{}", plain(setting.what))?;
            let default = if setting.default.is_empty() { "none" } else { setting.default };
            writeln!(page, "({}; default \\fB{}\\fR.)", plain(setting.values), plain(default))?;
        }
    }
    page.push_str(include_str!("xen-handoff.conf.5.tail"));
    Ok(page)
}

/// The file as the package brings it: all settings switched off.
fn settings_file() -> anyhow::Result<String> {
    let mut file = String::new();
    comment(
        &mut file,
        "Settings of xen-handoff on this host, as name=value: see xen-handoff.conf(5). An edited file is kept at an upgrade.",
    )?;
    for reader in [Reader::EveryTime, Reader::Guard] {
        writeln!(file)?;
        comment(&mut file, about(reader))?;
        for setting in SETTINGS.iter().filter(|setting| setting.reader == reader) {
            writeln!(file)?;
            comment(&mut file, &format!("{} ({}.)", setting.what, setting.values))?;
            writeln!(file, "#{}={}", setting.name, setting.example)?;
        }
    }
    Ok(file)
}

/// Text as a comment, broken into lines.
fn comment(file: &mut String, text: &str) -> std::fmt::Result {
    let mut line = "#".to_owned();
    for word in text.split(' ') {
        if line.len() + word.len() >= 100 {
            writeln!(file, "{line}")?;
            "#".clone_into(&mut line);
        }
        write!(line, " {word}")?;
    }
    writeln!(file, "{line}")
}

fn tool_page() -> anyhow::Result<String> {
    let command = Cli::command();
    let mut text = String::new();
    writeln!(text, ".\\\" Made by man/generate.rs from the command line's definition. Do not edit.")?;
    writeln!(
        text,
        ".TH XEN\\-HANDOFF 8 \"{DATE}\" \"xen\\-handoff {}\" \"System administration\"",
        xen_handoff::VERSION
    )?;
    let about = command.get_about().unwrap_or_default().to_string();
    writeln!(text, ".SH NAME\nxen\\-handoff \\- {}", plain(&about))?;
    writeln!(text, ".SH SYNOPSIS\n.B xen\\-handoff\n\\fISUBCOMMAND\\fR [\\fIOPTIONS\\fR]")?;
    writeln!(
        text,
        ".SH DESCRIPTION\nThe operators' tool of the resource agent\n.BR ocf_handoff_Xen (7).\nIt needs root."
    )?;
    writeln!(text, ".SH SUBCOMMANDS\nEach has a page of its own.")?;
    for subcommand in Cli::for_people().get_subcommands() {
        text.push_str(&pages::entry(subcommand)?);
    }
    text.push_str(include_str!("xen-handoff.8.tail"));
    Ok(text)
}
