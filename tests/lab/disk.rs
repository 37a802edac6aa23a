//! x0's disk: a LUN of the tester's own that both nodes reach, what x0 writes to it, and whether all of that is there.
//!
//! As in the paper's figure 1 the store is a host of its own, here the tester: a userspace iSCSI target in the run's
//! network namespace, on the network that the cluster has too. x0's writer (`image/guest/writer.rs`) appends a numbered record
//! every 100 ms. The tester reads the LUN's file and wants an unbroken chain of them.

#[path = "image/guest/record.rs"]
mod record;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::node::{COMMAND, Node};
use crate::process::{self, Running};
use crate::wait;
pub(crate) use record::{Record, SIZE, checksum};

/// Room for some three hours of records.
const BYTES: u64 = 64 << 20;
const PORTAL: &str = "10.77.0.1:3260";
const NAME: &str = "iqn.2026-11.lab.store:x0";
/// Where the target's control socket is: in the current directory, the run's.
const SOCKET: &str = "tgt";
/// How many records more are wanted to say that x0 goes on writing.
const GOES_ON: usize = 10;

/// A LUN that is being served. Dropping it ends the target.
#[derive(Debug)]
pub(crate) struct Disk {
    lun: PathBuf,
    _target: Running,
}

impl Disk {
    /// Makes an empty LUN and serves it.
    pub(crate) fn serve() -> Result<Self> {
        let lun = std::env::current_dir()?.join("lun");
        let _ = std::fs::remove_file(&lun);
        std::fs::File::create(&lun)?.set_len(BYTES)?;
        for stale in ["tgt.0", "tgt.0.lock"] {
            let _ = std::fs::remove_file(stale);
        }
        let mut target = Command::new("tgtd");
        target.args(["-f", "--iscsi", &format!("portal={PORTAL}")]).env("TGT_IPC_SOCKET", SOCKET);
        let disk = Self { lun, _target: process::start(target, None)? };
        wait::until("the iSCSI target", Duration::from_secs(20), || {
            Ok(disk.administer("--op show --mode sys").ok().map(drop))
        })?;
        disk.administer(&format!("--op new --mode target --tid 1 -T {NAME}"))?;
        disk.administer(&format!("--op new --mode logicalunit --tid 1 --lun 1 -b {}", disk.lun.display()))?;
        disk.administer("--op bind --mode target --tid 1 -I ALL")?;
        Ok(disk)
    }

    fn administer(&self, order: &str) -> Result<process::Output> {
        let mut tool = Command::new("tgtadm");
        tool.args(["--lld", "iscsi"]).args(order.split(' ')).env("TGT_IPC_SOCKET", SOCKET);
        let output = process::start(tool, None)?.finish(Duration::from_secs(10))?;
        anyhow::ensure!(output.status.success(), "tgtadm {order}: {}", output.stderr.trim());
        Ok(output)
    }

    /// Logs the nodes in to the store, and returns the LUN's device there, whose name is the same on all of them.
    pub(crate) fn attach(nodes: &[Node]) -> Result<String> {
        let device = format!("/dev/disk/by-path/ip-{PORTAL}-iscsi-{NAME}-lun-1");
        // open-iscsi logs in to what discovery has found, and out again when the host goes down.
        let login = format!(
            "systemctl start iscsid && iscsiadm -m discovery -t sendtargets -p {PORTAL} \
             && iscsiadm -m node -o update -n node.startup -v automatic && systemctl start open-iscsi \
             && udevadm settle --exit-if-exists={device} && test -b {device}"
        );
        let logins = nodes.iter().map(|node| node.start(&login)).collect::<Result<Vec<_>>>()?;
        for login in logins {
            let output = login.finish(COMMAND)?;
            anyhow::ensure!(output.status.success(), "no login to the store: {}", output.stderr.trim());
        }
        Ok(device)
    }

    /// How many records x0 has written, the broken ones among them.
    pub(crate) fn written(&self) -> Result<usize> {
        Ok(self.sectors()?.len() / SIZE)
    }

    /// Waits until x0 has written more than it has now.
    pub(crate) fn grows(&self, limit: Duration) -> Result<usize> {
        let before = self.written()?;
        wait::until("x0 to write to its disk", limit, || {
            Ok(Some(self.written()?).filter(|now| *now >= before + GOES_ON))
        })
    }

    /// Everything that is wrong with what x0 has written.
    pub(crate) fn faults(&self) -> Result<Vec<String>> {
        let found = faults(&self.sectors()?);
        // The last sector may have been half of what it was a moment later.
        if found.is_empty() { Ok(found) } else { Ok(faults(&self.sectors()?)) }
    }

    /// The LUN up to the last sector with anything in it.
    fn sectors(&self) -> Result<Vec<u8>> {
        let mut bytes = std::fs::read(&self.lun).context("reading the LUN")?;
        let end = bytes.chunks(SIZE).rposition(|sector| sector.iter().any(|byte| *byte != 0));
        bytes.truncate(end.map_or(0, |index| (index + 1) * SIZE));
        Ok(bytes)
    }
}

/// Is every record there, whole, in its place, and the successor of the one before?
pub(crate) fn faults(sectors: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let mut before: Option<Record> = None;
    let mut sum = 0;
    for (place, sector) in (0..).zip(sectors.chunks(SIZE)) {
        match read(sector) {
            None => found.push(format!("record {place} is missing or broken")),
            Some(record) if record.number != place => {
                found.push(format!("record {} is in the place of record {place}", record.number));
            }
            Some(record) => {
                if record.before != sum {
                    found.push(format!("record {place} does not follow the one before it: two writers"));
                }
                if before.is_some_and(|before| before.microseconds > record.microseconds) {
                    found.push(format!("record {place} is older than the one before it"));
                }
                before = Some(record);
            }
        }
        sum = checksum(sector);
    }
    let more = found.len().saturating_sub(5);
    found.truncate(5);
    found.extend((more > 0).then(|| format!("and {more} more")));
    found
}

/// A sector that is a record, its checksum right.
fn read(sector: &[u8]) -> Option<Record> {
    let word = |at: usize| Some(u64::from_le_bytes(sector.get(at..at + 8)?.try_into().ok()?));
    let record = Record { number: word(8)?, microseconds: word(16)?, before: word(24)? };
    (record.sector() == sector).then_some(record)
}

/// What a LUN would hold after so many records, for the stories about this audit.
pub(crate) fn sample(records: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut before = 0;
    for number in 0..records {
        let sector = Record { number, microseconds: number * 100_000, before }.sector();
        before = checksum(&sector);
        bytes.extend(sector);
    }
    bytes
}

/// Spoils one record, for a story about this audit.
pub(crate) fn spoil(disk: &Disk, place: u64) -> Result<()> {
    use std::os::unix::fs::FileExt;
    let lun = std::fs::OpenOptions::new().write(true).open(&disk.lun)?;
    lun.write_all_at(&[0xff; SIZE], place * SIZE as u64).context("spoiling the LUN")
}
