//! Which cluster managers run on this host, by its process list. Starts no process.

/// Whether a pacemakerd runs on this host. Starts no process.
pub(super) fn pacemakerd_lives() -> bool {
    any_process(|comm, _| comm == "pacemakerd")
}

/// Whether a process of this host has this name and command line. True where that is not known. Starts no
/// process.
pub(super) fn any_process(is_it: impl Fn(&str, &str) -> bool) -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else { return true };
    processes.flatten().any(|process| {
        let read = |file| std::fs::read(process.path().join(file)).unwrap_or_default();
        let (comm, line) = (read("comm"), read("cmdline"));
        // One that has ended and that nobody has waited for yet still has a name, and no command line.
        !line.is_empty() && is_it(String::from_utf8_lossy(&comm).trim_end(), &String::from_utf8_lossy(&line))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a process that ends at once")]
    fn a_process_that_has_ended_runs_no_more_before_anybody_has_waited_for_it() {
        let forking = crate::small_file::FORKING.read();
        let mut child = Command::new("/bin/cat").stdin(Stdio::piped()).spawn().unwrap();
        let comm = format!("/proc/{}/comm", child.id());
        let stat = format!("/proc/{}/stat", child.id());
        while !any_process(|comm, line| comm == "cat" && line.starts_with("/bin/cat")) {
            std::thread::yield_now();
        }
        drop(forking);
        drop(child.stdin.take());
        while !std::fs::read_to_string(&stat).unwrap().contains(") Z ") {
            std::thread::yield_now();
        }
        assert_eq!(std::fs::read_to_string(&comm).unwrap().trim(), "cat");
        let id = child.id().to_string();
        let is_it = |comm: &str, _: &str| comm == "cat";
        let others = std::fs::read_dir("/proc").unwrap().flatten().any(|process| {
            process.file_name().to_string_lossy() != id
                && std::fs::read_to_string(process.path().join("comm")).is_ok_and(|comm| comm.trim() == "cat")
        });
        assert!(others || !any_process(is_it));
        child.wait().unwrap();
    }
}
