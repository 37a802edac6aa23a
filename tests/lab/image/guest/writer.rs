//! x0's writer: as soon as there is a disk, appends a numbered record to it every 100 ms, each one on the disk before the
//! next begins. `writer DEVICE`, built by `build.sh`.

mod record;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::time::{Duration, Instant};

use record::{Record, SIZE, checksum};

const O_DSYNC: i32 = 0o10000;
const O_DIRECT: i32 = 0o40000;
const PERIOD: Duration = Duration::from_millis(100);

/// Direct I/O wants its memory in whole blocks.
#[repr(align(4096))]
struct Block([u8; SIZE]);

fn main() {
    let path = std::env::args().nth(1).expect("usage: writer DEVICE");
    let disk = wait_for(&path);
    let began = Instant::now();
    let mut before = 0;
    for number in 0.. {
        let microseconds = began.elapsed().as_micros() as u64;
        let block = Block(Record { number, microseconds, before }.sector());
        before = checksum(&block.0);
        if let Err(error) = disk.write_all_at(&block.0, number * SIZE as u64) {
            println!("writer: record {number}: {error}");
            return;
        }
        std::thread::sleep(PERIOD);
    }
}

fn wait_for(path: &str) -> File {
    loop {
        if let Ok(disk) = OpenOptions::new().write(true).custom_flags(O_DIRECT | O_DSYNC).open(path) {
            return disk;
        }
        std::thread::sleep(5 * PERIOD);
    }
}
