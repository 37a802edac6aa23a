//! `monitor_scripts`: what the operator's own checks say of the guest.
//!
//! All of them run at the same time, each within what is left of the action: a script that hangs is one that
//! failed, and holds up none of the others.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::context::Agent;
use crate::at_once::at_once;
use crate::clock::{Clock, Deadline, LOOK_AGAIN, SystemClock};
use crate::command::{self, Tool};
use crate::obstacle::Obstacle;
use crate::ocf::exit_code::Failure;

/// Time that is left to say why, when a script has hung.
const TO_SAY_WHY: Duration = Duration::from_millis(500);

impl Agent {
    /// Waits until every script passes, for an action that has just made the domain run here.
    ///
    /// # Errors
    /// `Generic` with the scripts that do not pass by the action's deadline.
    pub(super) fn wait_until_healthy(&self) -> Result<(), Failure> {
        let mut obstacle = Obstacle::default();
        let healthy = SystemClock.wait_until(self.deadline, LOOK_AGAIN, || match self.check_health() {
            Ok(()) => Some(()),
            Err(why) => {
                obstacle.is(why, |why| log::info!("domain={} not healthy yet: {why}", self.domain));
                None
            }
        });
        healthy.ok_or_else(|| self.generic(format!("it runs here, but {obstacle}")))
    }

    /// Runs every script once.
    ///
    /// # Errors
    /// Those that failed, and what they said.
    pub(super) fn check_health(&self) -> Result<(), String> {
        let failed = run_all(&self.parameters.monitor_scripts, self.deadline.less(TO_SAY_WHY));
        if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
    }
}

/// Runs them all at once. Gives what is wrong, in their order.
fn run_all(scripts: &[PathBuf], deadline: Deadline) -> Vec<String> {
    let results = at_once(scripts, |script| run(script, deadline.left()));
    let results = results.into_iter().map(|result| {
        result.unwrap_or_else(|| Err("running it was broken off by an error of this program".to_owned()))
    });
    results
        .zip(scripts)
        .filter_map(|(result, script)| {
            result.err().map(|why| format!("monitor script {} fails: {why}", script.display()))
        })
        .collect()
}

fn run(script: &Path, limit: Duration) -> Result<(), String> {
    let output = command::run(&Tool::script(script), &[] as &[&str], None, limit)
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let said = [&output.stderr, &output.stdout]
        .into_iter()
        .find_map(|text| text.lines().map(str::trim).rfind(|line| !line.is_empty()))
        .unwrap_or("it says nothing");
    Err(format!("{}: {said}", output.status))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn script(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn a_script_that_hangs_fails_and_holds_up_none_of_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let (met, waits) = (folder.join("met"), folder.join("waits"));
        let scripts = [
            script(folder, "hangs", "exec sleep 60"),
            // The two can only pass together: each waits for what the other one makes.
            script(
                folder,
                "first",
                &format!("touch {0}; until [ -e {1} ]; do :; done", met.display(), waits.display()),
            ),
            script(
                folder,
                "second",
                &format!("touch {1}; until [ -e {0} ]; do :; done", met.display(), waits.display()),
            ),
            script(folder, "sick", "echo the database is down >&2; exit 3"),
        ];
        let failed = run_all(&scripts, Deadline::after(Duration::from_secs(8)));
        assert_eq!(failed.len(), 2, "{failed:?}");
        assert!(failed[0].contains("hangs fails:"), "{failed:?}");
        assert!(failed[1].ends_with("sick fails: exit status: 3: the database is down"), "{failed:?}");
        assert_eq!(run_all(&[], Deadline::after(Duration::ZERO)), [] as [&str; 0]);
        assert!(run_all(&[folder.join("none")], Deadline::after(Duration::from_secs(5)))[0].contains("none"));
    }
}
