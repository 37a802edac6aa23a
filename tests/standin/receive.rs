//! The receiver, `xl migrate-receive`: it unpauses after GO and only then, and destroys its copy when GO fails to
//! come, provided that it can still write its report: like real `xl`, it leaves first when the report cannot be
//! written, and `NAME--incoming` stays behind, paused.

use crate::domain::{Domain, Guest};
use crate::host::Host;
use crate::stream::{self, Record};
use crate::{Exit, Outcome, Words, build, config, knobs, monitor};
use anyhow::Context;
use std::io::{Read, Write};

/// `xl migrate-receive [-e] [-p]`, the stream on standard input, the answers on standard output.
pub(crate) fn receive(host: &Host, words: &Words) -> Outcome {
    // unbuffered: what the sender reads must be what was written, and what we have not read must stay in the pipe
    let (mut from, mut to) = (unbuffered(rustix::stdio::stdin())?, unbuffered(rustix::stdio::stdout())?);
    eprintln!("migration target: Ready to receive domain.");
    knobs::at(host, "receive", "before-banner");
    say(&mut to, stream::BANNER, "banner")?;
    let (domid, name, incoming) = match create(host, words, &mut from) {
        Ok(created) => created,
        Err(says) => {
            if !says.is_empty() {
                eprintln!("{says}");
            }
            return Err(Exit::failure("migration target: Domain creation failed (code -3)."));
        }
    };
    eprintln!("migration target: Transfer complete, requesting permission to start domain.");
    knobs::at(host, "receive", "before-ready");
    say(&mut to, stream::READY, "ready message")?;
    knobs::at(host, "receive", "after-ready");
    let go = stream::expect(&mut from, stream::GO, "GO message", None);
    let status = if go { take_over(host, words, domid, &name)? } else { 1 };
    say(&mut to, stream::REPORT, "success/failure report")?;
    say(&mut to, &[status], "success/failure code")?;
    knobs::at(host, "receive", "after-report");
    if status == 0 {
        return Ok(());
    }
    eprintln!("migration target: Failure, destroying our copy.");
    if knobs::receive_fails(host, "destroy") || !host.destroy(domid)? {
        return Err(Exit::failure("migration target: Failed to destroy our copy (code -3)."));
    }
    eprintln!("migration target: Cleanup OK, granting sender permission to resume.");
    say(&mut to, stream::GO, "permission to sender to have domain back")?;
    drop(incoming);
    Ok(())
}

fn unbuffered(fd: std::os::fd::BorrowedFd<'static>) -> Result<std::fs::File, Exit> {
    Ok(std::fs::File::from(fd.try_clone_to_owned().context("taking a standard stream")?))
}

/// A write that fails ends the receiver, with nothing cleaned up.
fn say(to: &mut impl Write, message: &[u8], what: &str) -> Outcome {
    to.write_all(message).and_then(|()| to.flush()).map_err(|error| {
        stream::said_by_write_exactly(&error, "migration ack stream", what);
        Exit::failure("")
    })
}

/// Header and stream into a paused `NAME--incoming` with its monitor daemon: domid, NAME, NAME--incoming.
fn create(host: &Host, words: &Words, from: &mut impl Read) -> Result<(u32, String, String), String> {
    let source = "<incoming migration stream>";
    let header = stream::read_header(from).map_err(|error| {
        if error.kind() == std::io::ErrorKind::InvalidData {
            return error.to_string();
        }
        stream::said_by_read_exactly(&error, source, "header");
        String::new()
    })?;
    let stream::Header { mandatory, optional, length, config } = header;
    eprintln!("Loading new save file {source} (new xl fmt info 0x{mandatory:x}/0x{optional:x}/{length})");
    eprintln!(" Savefile contains xl domain config in JSON format");
    eprintln!("Parsing config from <saved>");
    let mut config: serde_json::Value = serde_json::from_str(&config).map_err(|e| e.to_string())?;
    let name = config::name(&config);
    let incoming = format!("{name}--incoming");
    if knobs::receive_fails(host, "create") {
        return Err("libxl: error: libxl_create.c:1278:initiate_domain_create: cannot make domain: -3".into());
    }
    let _turn = host.creation_turn().map_err(|e| format!("{e:#}"))?;
    config["c_info"]["name"] = serde_json::json!(name);
    let nobody = Guest { boot_id: "-".into(), boots: 0, started_at_ns: 0, ran_ns: 0 };
    let half_made = Domain { unfinished: true, ..Domain::around(nobody, &config, incoming.clone()) };
    let domid = build(host, half_made)?;
    eprintln!("xc: info: Found x86 HVM domain from Xen 4.17");
    eprintln!("xc: info: Restoring domain");
    match read_body(host, from) {
        Ok(guest) => {
            let entered = host.lock().and_then(|mut l| {
                l.change(domid, |d| {
                    d.guest = guest;
                    d.unfinished = false;
                })
            });
            entered.map_err(|e| format!("{e:#}"))?;
        }
        Err(error) => {
            eprintln!("xc: error: Failed to read Record Header from stream ({error}): Internal error");
            eprintln!("xc: error: Restore failed ({error}): Internal error");
            eprintln!(
                "libxl: error: libxl_stream_read.c:850:libxl__xc_domain_restore_done: restoring domain: Input/output error"
            );
            eprintln!(
                "libxl: error: libxl_create.c:1690:domcreate_rebuild_done: Domain {domid}:cannot (re-)build domain: -3"
            );
            host.destroy(domid).map_err(|e| format!("{e:#}"))?;
            return Err(String::new());
        }
    }
    eprintln!("xc: info: Restore successful");
    eprintln!("xc: info: XenStore: mfn 0xfeffc, dom 0, evt 1");
    eprintln!("xc: info: Console: mfn 0xfefff, dom 0, evt 2");
    if !words.has('e') {
        monitor::start(host, domid, &incoming).map_err(|e| format!("{e:#}"))?;
    }
    Ok((domid, name, incoming))
}

fn read_body(host: &Host, from: &mut impl Read) -> std::io::Result<Guest> {
    let mut records = 0;
    loop {
        match stream::read_record(from)? {
            Record::Pages(_) => {
                records += 1;
                if records == 8 {
                    knobs::at(host, "receive", "in-stream");
                }
            }
            Record::Guest(json) => return serde_json::from_slice(&json).map_err(std::io::Error::other),
        }
    }
}

/// GO is here: the name, then the guest runs. Not 0 when one of them fails.
fn take_over(host: &Host, words: &Words, domid: u32, name: &str) -> Result<u8, Exit> {
    eprintln!("migration target: Got permission, starting domain.");
    knobs::at(host, "receive", "after-go");
    if knobs::receive_fails(host, "rename") || !host.lock()?.rename(domid, name)? {
        return Ok(6);
    }
    let unpause = !words.has('p');
    if unpause
        && (knobs::receive_fails(host, "unpause") || !host.lock()?.change(domid, |d| d.paused = false)?)
    {
        return Ok(3);
    }
    knobs::at(host, "receive", "after-unpause");
    eprintln!("migration target: Domain started successsfully.");
    Ok(0)
}
