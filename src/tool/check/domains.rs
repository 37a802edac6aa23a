//! The domains: what the cluster and this node have of them, their parameters, their files and their
//! timeouts.

use super::ask::NodeSays;
use super::finding::Finding;
use crate::cluster::managed::ManagedDomain;
use crate::here::{CONFIG_LIMIT, Here};
use crate::host::LocalPath;
use crate::parameters::Parameters;
use crate::parameters::kept::Kept;
use crate::preflight::facts::{FileState, digest};
use crate::preflight::{Check, FileDigest, Verdict};
use crate::tool::limits::limits;
use crate::tool::names::in_words;

/// A domain, as the cluster and this node have it.
#[derive(Debug)]
pub(super) struct DomainSays {
    pub(super) managed: ManagedDomain,
    pub(super) parameters: Parameters,
    /// What is wrong with its parameters or its configuration file on this node.
    pub(super) mistakes: Vec<String>,
    pub(super) file: Option<FileDigest>,
    pub(super) disks: Vec<LocalPath>,
    pub(super) memory_mib: u64,
}

/// The domains that the cluster manages, with what this node has of them.
pub(super) fn domains(here: &Here, findings: &mut Vec<Finding>) -> Vec<DomainSays> {
    let managed = match here.cluster().domains() {
        Ok(managed) => managed,
        Err(error) => {
            let advice = "check again where the cluster runs";
            findings.push(Finding::new("domains", "cluster", Verdict::Unknown, in_words(&error), advice));
            return Vec::new();
        }
    };
    let found = match managed.len() {
        0 => "no resource is of ocf:handoff:Xen yet".to_owned(),
        some => format!("{some} of ocf:handoff:Xen"),
    };
    findings.push(Finding::ok("domains", "cluster", found));
    managed.into_iter().map(|managed| domain(here, managed)).collect()
}

fn domain(here: &Here, managed: ManagedDomain) -> DomainSays {
    let (parameters, bad) = Parameters::judge(&managed.parameters);
    let mut mistakes: Vec<String> = bad.iter().map(ToString::to_string).collect();
    let (root, toolstack) = (&here.root, here.toolstack());
    let mut says = DomainSays {
        managed,
        parameters,
        mistakes: Vec::new(),
        file: None,
        disks: Vec::new(),
        memory_mib: 0,
    };
    if let Some(path) = says.parameters.xmfile.as_deref().filter(|_| toolstack.kind().has_files()) {
        let inside = root.seen_inside(path);
        match inside.as_ref().map(|path| digest(root, path)) {
            Some(Ok(file)) => says.file = Some(file),
            Some(Err(error)) => mistakes.push(format!("{} on this node: {error}", path.display())),
            None => mistakes.push(format!("xmfile={} is no absolute path", path.display())),
        }
        if says.file.is_some() {
            let path = inside.as_ref().map_or_else(|| path.to_owned(), |inside| root.join(inside.as_str()));
            match toolstack.read_config(&path, CONFIG_LIMIT) {
                Ok(config) => {
                    says.disks = config.disks;
                    says.memory_mib = config.memory_mib;
                }
                Err(error) => mistakes.push(error.to_string()),
            }
        }
    }
    says.mistakes = mistakes;
    says
}

/// What the nodes are asked for: the files and the disks of all domains, in their order.
pub(super) fn things(domains: &[DomainSays]) -> (Vec<FileDigest>, Vec<LocalPath>) {
    let files = domains.iter().filter_map(|domain| domain.file.clone());
    (files.collect(), domains.iter().flat_map(|domain| domain.disks.clone()).collect())
}

/// Whether its parameters are right and its file is the same everywhere. `at`: where its file is among those
/// that the nodes were asked for.
pub(super) fn configuration(domain: &DomainSays, says: &[NodeSays], at: Option<usize>) -> Vec<Finding> {
    let (check, resource) = ("configuration", &domain.managed.resource);
    let mut findings: Vec<Finding> = domain
        .mistakes
        .iter()
        .map(|what| Finding::new(check, resource, Verdict::Failed, what, "mend it, on every node"))
        .collect();
    let Some((at, file)) = at.zip(domain.file.as_ref()) else {
        return findings;
    };
    let path = &file.path;
    for node in says {
        let Some(state) = node.seen.as_ref().and_then(|seen| seen.files.get(at)) else { continue };
        let advice = format!("copy {path} to {}", node.node);
        let trouble = match state {
            FileState::Same => continue,
            FileState::Different => (Verdict::Failed, format!("{path} is another one on {}", node.node)),
            FileState::Missing => (Verdict::Failed, format!("there is no {path} on {}", node.node)),
            FileState::Unreadable(why) => (Verdict::Unknown, format!("{path} on {}: {why}", node.node)),
        };
        findings.push(Finding::new(check, resource, trouble.0, trouble.1, advice));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(check, resource, "the same on all nodes"));
    }
    findings
}

/// Whether the timeouts suffice, by what the slowest node has measured.
pub(super) fn timeouts(domain: &DomainSays, slowest: Option<u64>) -> Vec<Finding> {
    let resource = &domain.managed.resource;
    if domain.memory_mib == 0 {
        return Vec::new();
    }
    #[allow(clippy::cast_precision_loss, reason = "a rate")]
    let measured = slowest.map(|rate| rate as f64);
    let checks = limits(
        &domain.managed,
        domain.memory_mib,
        measured,
        &domain.parameters.terms,
        Kept::by(&domain.parameters),
    );
    let finding = |check: Check| {
        // That nothing has moved yet is no fault.
        let well = check.result == Verdict::Ok || (measured.is_none() && check.advice.is_empty());
        let result = if well { Verdict::Ok } else { check.result };
        Finding::new("timeouts", resource, result, check.found, check.advice)
    };
    checks.into_iter().map(finding).collect()
}
