//! `xen-handoff keys`: makes the cluster's key pair and says what each node must know of it.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use crate::command::{self, Tool};
use crate::host::{NodeName, Root};
use crate::transport::ssh::{FAR_COMMAND, KEY, KNOWN_HOSTS};

const HOST_KEY: &str = "/etc/ssh/ssh_host_ed25519_key.pub";

/// The line for `authorized_keys`: this key may run the forced command, and nothing else.
fn authorized_line(public: &str) -> String {
    format!("restrict,command=\"{FAR_COMMAND}\" {}", public.trim())
}

/// Makes the key pair unless there is one, and prints the lines and files for the nodes. `quiet` prints the
/// `authorized_keys` line alone.
///
/// # Errors
/// If the key cannot be made or read.
pub fn run(root: &Root, node: Option<NodeName>, quiet: bool) -> anyhow::Result<()> {
    let folder = root.key_folder();
    let private = folder.join(KEY);
    let public_path = folder.join(format!("{KEY}.pub"));
    let made = !private.is_file();
    if made {
        make(root, &folder, &private)?;
    }
    let public = std::fs::read_to_string(&public_path)
        .with_context(|| format!("reading {}", public_path.display()))?;
    let mut out = std::io::stdout();
    if quiet {
        return Ok(writeln!(out, "{}", authorized_line(&public))?);
    }
    let node = node.unwrap_or_else(NodeName::of_this_host);
    writeln!(out, "# {} key pair {}", if made { "Made the" } else { "There is a" }, private.display())?;
    writeln!(
        out,
        "# The same pair belongs on every node: copy {0} and {0}.pub there (mode 0600).\n",
        private.display()
    )?;
    writeln!(
        out,
        "# 1. On every node, one line of root's ~/.ssh/authorized_keys:\n{}\n",
        authorized_line(&public)
    )?;
    writeln!(
        out,
        "# 2. On every node, {} has one line for each node. This one's:",
        folder.join(KNOWN_HOSTS).display()
    )?;
    match std::fs::read_to_string(root.join(HOST_KEY)) {
        Ok(key) => {
            let words: Vec<_> = key.split_whitespace().take(2).collect();
            writeln!(out, "{node} {}", words.join(" "))?;
        }
        Err(error) => writeln!(out, "# ({HOST_KEY} cannot be read: {error})")?,
    }
    writeln!(out, "\n# 3. Try it from here, for each other node: xen-handoff reach NODE")?;
    Ok(())
}

fn make(root: &Root, folder: &Path, private: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("making {}", folder.display()))?;
    let path = private.to_string_lossy();
    let args = ["-q", "-t", "ed25519", "-N", "", "-C", "xen-handoff", "-f", path.as_ref()];
    command::run(&Tool::find(root, "ssh-keygen")?, &args, None, Duration::from_secs(30))?.success()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authorized_line_allows_the_forced_command_and_nothing_else() {
        let line = authorized_line("ssh-ed25519 AAAA xen-handoff\n");
        assert_eq!(line, "restrict,command=\"/usr/sbin/xen-handoff serve\" ssh-ed25519 AAAA xen-handoff");
    }
}
