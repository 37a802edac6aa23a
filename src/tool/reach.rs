//! `xen-handoff reach`: the gate of a handoff, by hand: does that node answer, and can it reach this one?

use std::io::Write;
use std::time::Duration;

use crate::clock::Deadline;
use crate::cluster::detect;
use crate::host::{NodeName, Root};
use crate::ocf::parameters::Reach;
use crate::transport::Transport;
use crate::transport::message::{Answer, Request};
use crate::transport::ssh::Ssh;

/// Limit of the whole try.
const LIMIT: Duration = Duration::from_secs(30);

/// Tries it and says what came of it.
///
/// # Errors
/// With the reason, if either way is shut.
pub fn run(root: &Root, node: &NodeName, us: &NodeName, reach: &Reach) -> anyhow::Result<()> {
    let ssh = Ssh::new(root, reach, detect(root));
    let began = std::time::Instant::now();
    let deadline = Deadline::after(LIMIT);
    let mut connection = ssh.connect(node, deadline)?;
    let there = began.elapsed();
    match connection.ask(&Request::Reach { back: ssh.address(us)? }, deadline)? {
        Answer::Reached => {}
        Answer::Refused { reason, .. } => anyhow::bail!("{node} answers, but cannot reach {us}: {reason}"),
        other => anyhow::bail!("{node} answers {other:?}"),
    }
    writeln!(
        std::io::stdout(),
        "{node} answers in {:.1} s and reaches {us} in {:.1} s.",
        there.as_secs_f64(),
        (began.elapsed() - there).as_secs_f64()
    )?;
    Ok(())
}
