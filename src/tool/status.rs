//! `xen-handoff status`: the offers and transfers of this node.

use std::io::Write;

use serde::Serialize;

use crate::clock::UnixTime;
use crate::domain::{DomainName, Presence};
use crate::handoff::Phase;
use crate::handoff::record::Store;
use crate::host::Root;
use crate::transfer::progress::{self, Progress};
use crate::transport::forced_command::stands;

/// One line of the table.
#[derive(Debug, Serialize)]
struct Row {
    domain: DomainName,
    presence: Presence,
    record: Phase,
    progress: Option<Progress>,
}

/// Prints every domain that has a record here.
///
/// # Errors
/// If the records cannot be read or stdout is closed.
pub fn run(root: &Root, json: bool) -> anyhow::Result<()> {
    let rows: Vec<Row> = Store::new(root.state_folder())
        .domains()?
        .into_iter()
        .map(|domain| {
            let (presence, record) = stands(root, &domain);
            Row { presence, record, progress: progress::read(root, &domain), domain }
        })
        .collect();
    let mut out = std::io::stdout();
    if json {
        serde_json::to_writer_pretty(&mut out, &rows)?;
        return Ok(writeln!(out)?);
    }
    if rows.is_empty() {
        return Ok(writeln!(out, "No offers and no transfers on this node.")?);
    }
    writeln!(out, "{:<24} {:<12} {:<28} DETAILS", "DOMAIN", "PHASE", "HERE")?;
    for row in rows {
        let here = row.presence.to_string();
        writeln!(out, "{:<24} {:<12} {here:<28} {}", row.domain.as_str(), row.record.name(), details(&row))?;
    }
    Ok(())
}

fn details(row: &Row) -> String {
    let mut words = Vec::new();
    match &row.record {
        Phase::Sending { transfer, .. } | Phase::Settling { transfer, .. } | Phase::Left { transfer } => {
            words.push(format!("to {}", transfer.target));
        }
        Phase::Receiving { transfer } | Phase::Arriving { transfer } | Phase::Arrived { transfer } => {
            words.push(format!("from {}", transfer.source));
        }
        Phase::Claiming { offer } => words.push(format!("from {}", offer.source)),
        Phase::Idle | Phase::Offering { .. } | Phase::Offered { .. } | Phase::Withdrawing { .. } => {}
    }
    if let Some(offer) = row.record.offer() {
        words.push(match offer.deadline.from_now().as_secs() {
            0 => format!(
                "the offer ended {} s ago",
                UnixTime::now().0 - offer.deadline.0.min(UnixTime::now().0)
            ),
            left => format!("the offer ends in {left} s"),
        });
    }
    if let Some(progress) = &row.progress {
        words.push(format!("{} MiB in {} s", progress.bytes >> 20, progress.started_at.age().as_secs()));
    }
    words.join(", ")
}
