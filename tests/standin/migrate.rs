//! The sender, `xl migrate`: the order of its steps, its words, and where each failure leaves the domain.

use crate::domain::{Domain, Reason};
use crate::host::Host;
use crate::stream::{self, Record};
use crate::{Exit, Outcome, Words, config, find, knobs, system};
use anyhow::Context;
use std::io::{IsTerminal, Read, Seek, SeekFrom, Write};
use std::process::{Child, ChildStdin, ChildStdout};
use std::time::{Duration, Instant};

const CHUNK: usize = 64 * 1024;
/// The largest record: libxc sends up to 1024 pages at once.
const RECORD: usize = 4 << 20;
const CHILD_MAY_TAKE: Duration = Duration::from_secs(2);

struct Sender<'a> {
    host: &'a Host,
    domid: u32,
    name: String,
    rune: String,
    child: Child,
    to: Option<ChildStdin>,
    from: ChildStdout,
}

/// How a failed migration ends at the sender; xl's labels are failed_suspend, failed_resume and failed_badly.
enum Ending {
    GuestStays,
    Resume,
    Undefined,
}

/// `xl migrate [-s COMMAND] [-e] [-C FILE] [-p] DOMAIN HOST`
pub(crate) fn migrate(host: &Host, words: &Words) -> Outcome {
    let (domid, domain) = {
        let locked = host.lock()?;
        let domid = find(&locked, words.word(0))?;
        let Some(domain) = locked.get(domid).cloned() else {
            return Err(Exit::failure("unable to retrieve domain configuration"));
        };
        (domid, domain)
    };
    let config = configuration(&domain, words.value('C'))?;
    let rune = rune(words);
    let mut child = system::spawn_transport(&rune).context("starting the transport")?;
    let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(Exit::failure("no pipes to the transport"));
    };
    let mut sender = Sender { host, domid, name: domain.name.clone(), rune, child, to: Some(to), from };
    knobs::at(host, "migrate", "before-banner");
    if !stream::expect(&mut sender.from, stream::BANNER, "banner", Some(&sender.rune)) {
        sender.hang_up();
        return Err(Exit::failure(""));
    }
    if domain.config["pcidevs"].as_array().is_some_and(|devices| !devices.is_empty()) {
        eprintln!(
            "xc: error: Hypervisor logdirty support is incompatible with hardware passthrough: Internal error"
        );
        return Err(sender.end_badly(&Ending::GuestStays));
    }
    if let Some(why) = cannot_be_saved(host, &domain) {
        eprintln!("{why}\nmigration sender: libxl_domain_suspend failed (rc=-3)");
        return Err(sender.end_badly(&Ending::Resume));
    }
    match sender.send(&config) {
        Ok(()) => sender.wait_until_it_runs_there(),
        Err(ending) => Err(sender.end_badly(&ending)),
    }
}

/// What libxl and libxc refuse before the first page.
fn cannot_be_saved(host: &Host, domain: &Domain) -> Option<&'static str> {
    let config = &domain.config;
    if config["b_info"]["vnuma_nodes"].as_array().is_some_and(|nodes| !nodes.is_empty()) {
        return Some("libxl: error: libxl_dom_save.c:424: Cannot save a guest with vNUMA configured");
    }
    let has_shadow = crate::list::virt_caps(host).split(' ').any(|word| word == "shadow");
    (config["c_info"]["type"] == "pv" && !has_shadow).then_some(
        "xc: error: Failed to enable logdirty: 95,22,0 (95 = Operation not supported): Internal error\nxc: error: Save \
         failed (95 = Operation not supported): Internal error",
    )
}

/// The domain's JSON, or the file of `-C`.
fn configuration(domain: &Domain, file: Option<&str>) -> Result<String, Exit> {
    let mut config = match file {
        None => domain.config.clone(),
        Some(file) => {
            let text = std::fs::read_to_string(file)
                .map_err(|_| Exit::failure("unable to read overridden config file"))?;
            config::parse(file, &text)?
        }
    };
    if file.is_none() {
        config["c_info"]["name"] = serde_json::json!(domain.name);
    }
    Ok(config::to_json(&config)?)
}

/// The shell command that reaches the receiver.
fn rune(words: &Words) -> String {
    let (host, command) = (words.word(1), words.value('s').unwrap_or("ssh"));
    if command.is_empty() {
        return host.to_owned();
    }
    let tty = if std::io::stderr().is_terminal() { " -t" } else { "" };
    let e = if words.has('e') { " -e" } else { "" };
    let p = if words.has('p') { " -p" } else { "" };
    format!("exec {command} {host} xl{tty} migrate-receive{e}{p}")
}

impl Sender<'_> {
    /// Everything up to the point of no return.
    fn send(&mut self, config: &str) -> Result<(), Ending> {
        let Some(mut to) = self.to.take() else { return Err(Ending::Resume) };
        let sent = self.send_stream(&mut to, config);
        self.to = Some(to);
        sent?;
        let ready = stream::expect(&mut self.from, stream::READY, "ready message", Some(&self.rune));
        if !ready {
            return Err(Ending::Resume);
        }
        self.note("ready");
        knobs::at(self.host, "migrate", "after-ready");
        eprintln!("migration sender: Target has acknowledged transfer.");
        let away = format!("{}--migratedaway", self.name);
        let renamed = self.host.lock().and_then(|mut l| l.rename(self.domid, &away)).unwrap_or(false);
        if !renamed {
            return Err(Ending::Resume);
        }
        knobs::at(self.host, "migrate", "after-rename");
        eprintln!("migration sender: Giving target permission to start.");
        let go = self.to.as_mut().map(|to| to.write_all(stream::GO).and_then(|()| to.flush()));
        if let Some(Err(error)) = go {
            stream::said_by_write_exactly(&error, "migration stream", "GO message");
            return Err(Ending::Undefined);
        }
        knobs::at(self.host, "migrate", "after-go");
        Ok(())
    }

    fn send_stream(&mut self, to: &mut ChildStdin, config: &str) -> Result<(), Ending> {
        let domid = self.domid;
        let failed = |error: std::io::Error| {
            let why = system::strerror(&error);
            eprintln!(
                "libxl: error: libxl_utils.c:505:libxl_read_exactly: file/stream truncated reading ipc msg header from \
                 domain {domid} save/restore helper stdout pipe\nlibxl: error: \
                 libxl_exec.c:127:libxl_report_child_exitstatus: domain {domid} save/restore helper died due to fatal \
                 signal {why}"
            );
            eprintln!("migration sender: libxl_domain_suspend failed (rc=-3)");
            Ending::Resume
        };
        self.note("first");
        let length = stream::write_header(to, config).map_err(failed)?;
        eprintln!("Saving to migration stream new xl format (info 0x{:x}/0x0/{length})", stream::MANDATORY);
        eprintln!("xc: info: Saving domain {}, type x86 HVM", self.domid);
        self.send_pages(to).map_err(failed)?;
        // Nor does a guest suspend that is paused.
        let paused = self.host.lock().is_ok_and(|l| l.get(self.domid).is_some_and(|d| d.paused));
        let no_suspend = self.host.knob(&format!("{}.no-suspend", self.name));
        if let Some(seconds) = no_suspend.or(paused.then(String::new)) {
            system::pause(Duration::try_from_secs_f64(seconds.parse().unwrap_or(1.0)).unwrap_or_default());
            eprintln!(
                "libxl: error: libxl_dom_suspend.c:334:suspend_common_wait_guest_timeout: Domain {}:guest did not \
                 suspend, timed out",
                self.domid
            );
            eprintln!("migration sender: libxl_domain_suspend failed (rc=-8)");
            return Err(Ending::GuestStays);
        }
        let guest = self.suspend().map_err(failed)?;
        knobs::at(self.host, "migrate", "stop-and-copy");
        system::pause(self.host.seconds("stream.last-seconds", 0.05));
        stream::write_record(to, &Record::Guest(guest)).map_err(failed)?;
        self.note("last");
        knobs::at(self.host, "migrate", "before-ready");
        Ok(())
    }

    /// Who measures reads it; nobody needs it.
    fn note(&self, which: &str) {
        let _unwritable = self.host.note_stream(&self.name, which);
    }

    /// The precopy: the knobs' size at the knobs' rate. Whoever shuts the guest down meanwhile makes it fail.
    fn send_pages(&self, to: &mut ChildStdin) -> std::io::Result<()> {
        if let Some(file) = self.host.knob("stream.file") {
            return self.send_file(to, &file);
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a knob of some MiB")]
        let chunks = (self.host.number("stream.mib", 8.0) * 16.0) as u32;
        let each = Duration::try_from_secs_f64(
            1.0 / 16.0 / self.host.number("stream.mib-per-second", 16.0).max(0.001),
        )
        .unwrap_or_default();
        let zeros = self.host.knob("stream.zeros").is_some();
        let begin = Instant::now();
        for n in 0..chunks {
            if n == chunks / 2 {
                knobs::at(self.host, "migrate", "in-stream");
            }
            let page = if zeros { vec![0; CHUNK] } else { stream::noise(CHUNK, u64::from(n) + 1) };
            stream::write_record(to, &Record::Pages(page))?;
            system::pause((each * (n + 1)).saturating_sub(begin.elapsed()));
        }
        Ok(())
    }

    /// The same of a file, again and again, as fast as it goes and in records as large as libxc's.
    fn send_file(&self, to: &mut ChildStdin, file: &str) -> std::io::Result<()> {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a knob of some MiB")]
        let mut left = self.host.number("stream.mib", 8.0) as u64 * (1 << 20);
        let mut file = std::fs::File::open(file)?;
        let mut pages = vec![0; RECORD];
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(RECORD).min(RECORD);
            pages.resize(most, 0);
            let mut read = 0;
            while read < most {
                match file.read(pages.get_mut(read..).unwrap_or_default())? {
                    0 => file.seek(SeekFrom::Start(0)).map(drop)?,
                    more => read += more,
                }
            }
            let record = Record::Pages(pages);
            stream::write_record(to, &record)?;
            let Record::Pages(again) = record else { return Ok(()) };
            pages = again;
            left -= most as u64;
        }
        Ok(())
    }

    /// The guest stands still; what it is, as JSON.
    fn suspend(&self) -> std::io::Result<Vec<u8>> {
        let mut locked = self.host.lock().map_err(std::io::Error::other)?;
        if locked.get(self.domid).is_none_or(|d| d.shutdown.is_some()) {
            let says = "guest we were suspending has shut down with unexpected reason code";
            return Err(std::io::Error::other(says));
        }
        locked.change(self.domid, |d| d.shutdown = Some(Reason::Suspend)).map_err(std::io::Error::other)?;
        let guest = locked.get(self.domid).map(Domain::guest_now);
        serde_json::to_vec(&guest).map_err(std::io::Error::other)
    }

    /// After GO: the report, and what follows from it.
    fn wait_until_it_runs_there(mut self) -> Outcome {
        let what = "success/failure report message";
        if !stream::expect(&mut self.from, stream::REPORT, what, Some(&self.rune)) {
            return Err(self.end_badly(&Ending::Undefined));
        }
        let mut status = [0];
        if let Err(error) = self.from.read_exact(&mut status) {
            stream::said_by_read_exactly(&error, "migration ack stream", "success/failure status");
            return Err(self.end_badly(&Ending::Undefined));
        }
        let [status] = status;
        if status != 0 {
            eprintln!("migration sender: Target reports startup failure (status code {status}).");
            let what = "permission for sender to resume";
            if !stream::expect(&mut self.from, stream::GO, what, Some(&self.rune)) {
                return Err(self.end_badly(&Ending::Undefined));
            }
            eprintln!("migration sender: Trying to resume at our end.");
            let mut locked = self.host.lock()?;
            locked.rename(self.domid, &self.name)?;
            if locked.change(self.domid, Domain::resume)? {
                eprintln!("migration sender: Resumed OK.");
            }
            return Err(Exit::failure("Migration failed due to problems at target."));
        }
        eprintln!("migration sender: Target reports successful startup.");
        knobs::at(self.host, "migrate", "before-destroy");
        self.host.destroy(self.domid)?;
        eprintln!("Migration successful.");
        Ok(())
    }

    fn end_badly(&mut self, ending: &Ending) -> Exit {
        match ending {
            Ending::GuestStays => {
                self.hang_up();
                Exit::failure("Migration failed, failed to suspend at sender.")
            }
            Ending::Resume => {
                self.hang_up();
                eprintln!("Migration failed, resuming at sender.");
                let mut suspended = true;
                let resumed = self.host.lock().and_then(|mut l| {
                    suspended = l.get(self.domid).is_some_and(|d| d.shutdown.is_some());
                    l.change(self.domid, Domain::resume)
                });
                if !suspended {
                    eprintln!(
                        "xc: error: Dom {} not suspended: (shutdown 0, reason 255): Internal error",
                        self.domid
                    );
                    eprintln!(
                        "libxl: error: libxl_dom_suspend.c:666:domain_resume_done: Domain {}:xc_domain_resume failed: \
                         Invalid argument",
                        self.domid
                    );
                }
                match resumed {
                    Ok(_) => Exit::failure(""),
                    Err(error) => error.into(),
                }
            }
            Ending::Undefined => {
                eprintln!(
                    "** Migration failed during final handshake **\nDomain state is now undefined !\nPlease CHECK AT \
                     BOTH ENDS for running instances, before renaming and\n resuming at most one instance.  Two \
                     simultaneous instances of the domain\n would probably result in SEVERE DATA LOSS and it is now \
                     your\n responsibility to avoid that.  Sorry."
                );
                self.hang_up();
                Exit::failure("")
            }
        }
    }

    /// Closes the stream and waits up to two seconds for the transport to go.
    fn hang_up(&mut self) {
        drop(self.to.take());
        let pid = self.child.id();
        let deadline = Instant::now() + CHILD_MAY_TAKE;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return,
                Ok(Some(status)) => {
                    let how =
                        status.code().map_or("died".into(), |c| format!("exited with error status {c}"));
                    eprintln!(
                        "libxl: info: libxl_exec.c:117:libxl_report_child_exitstatus: migration transport process \
                         [{pid}] {how}"
                    );
                    return;
                }
                Ok(None) if Instant::now() < deadline => system::pause(Duration::from_millis(10)),
                Ok(None) => {
                    eprintln!(
                        "migration child [{pid}] not exiting, no longer waiting (exit status will be unreported)"
                    );
                    return;
                }
                Err(error) => {
                    eprintln!("wait for migration child [{pid}] failed: {error}");
                    return;
                }
            }
        }
    }
}
