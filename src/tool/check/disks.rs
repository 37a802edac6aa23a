//! The disks: whether all nodes mean the same by one path.

use super::finding::Finding;
use crate::host::{LocalPath, NodeName};
use crate::preflight::Verdict;
use crate::preflight::setup::Disk;

/// Whether all nodes mean the same by this path.
pub(super) fn storage(
    resource: &str,
    path: &LocalPath,
    seen: &[(NodeName, Result<Disk, String>)],
) -> Finding {
    let check = "storage";
    let advice =
        "what a domain moves with must be one and the same on every node: shared or replicated storage";
    let fails = |found: String| Finding::new(check, resource, Verdict::Failed, found, advice);
    if let Some((node, Err(why))) = seen.iter().find(|(_, disk)| disk.is_err()) {
        return fails(format!("{path} on {node}: {why}"));
    }
    let disks: Vec<(&NodeName, &Disk)> =
        seen.iter().filter_map(|(node, disk)| Some((node, disk.as_ref().ok()?))).collect();
    let Some((first, rest)) = disks.split_first() else {
        return Finding::new(check, resource, Verdict::Unknown, format!("nobody was asked for {path}"), "");
    };
    for (node, disk) in rest {
        if disk.bytes != first.1.bytes {
            let (one, other) = (first.1.bytes, disk.bytes);
            return fails(format!(
                "{path} has {one} bytes on {} and {other} on {node}: not the same disk",
                first.0
            ));
        }
        if let (Some(one), Some(other)) = (&first.1.mark, &disk.mark)
            && one != other
        {
            return fails(format!("{path} is {one} on {} and {other} on {node}: not the same disk", first.0));
        }
    }
    if let Some((node, _)) = disks.iter().find(|(_, disk)| disk.is_on_shared_files == Some(false)) {
        return fails(format!("{path} is a file on a local file system of {node}: each node has its own"));
    }
    if disks.iter().all(|(_, disk)| disk.mark.is_some() || disk.is_on_shared_files == Some(true)) {
        return Finding::ok(check, resource, "the same on all nodes");
    }
    let found =
        format!("{path} has one size on all nodes; the kernel does not say whether it is the same disk");
    let advice = "make sure of it, and check with --ignore storage from then on";
    Finding::new(check, resource, Verdict::Unknown, found, advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeName {
        NodeName::new(name).unwrap()
    }

    #[test]
    fn a_disk_that_is_not_one_and_the_same_fails_and_what_is_not_known_is_never_fine() {
        let path = LocalPath::new("/dev/vg/x0").unwrap();
        let disk = |bytes, mark: Option<&str>, shared| {
            Ok(Disk { bytes, mark: mark.map(str::to_owned), is_on_shared_files: shared })
        };
        let result = |one: Result<Disk, String>, other| {
            storage("x0", &path, &[(node("n1"), one), (node("n2"), other)]).result
        };
        let marked = || disk(10, Some("LVM-a"), None);
        assert_eq!(result(marked(), marked()), Verdict::Ok);
        assert_eq!(result(disk(10, None, Some(true)), disk(10, None, Some(true))), Verdict::Ok);
        assert_eq!(result(marked(), disk(10, Some("LVM-b"), None)), Verdict::Failed);
        assert_eq!(result(marked(), disk(11, Some("LVM-a"), None)), Verdict::Failed);
        assert_eq!(result(marked(), Err("No such file or directory".to_owned())), Verdict::Failed);
        assert_eq!(result(disk(10, None, Some(false)), disk(10, None, Some(false))), Verdict::Failed);
        assert_eq!(result(disk(10, None, None), disk(10, None, None)), Verdict::Unknown);
    }
}
