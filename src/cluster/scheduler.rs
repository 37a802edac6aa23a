//! How Pacemaker's scheduler is asked, in the one way that every version from 1.1 on answers: `crm_simulate`
//! reads the CIB from its stdin and writes what came of it to files (`--save-graph`: the plan itself; with
//! `--simulate`, `--save-output`: the CIB once the plan is done), and `crm_mon` says what such a CIB means.
//! What a version can do is seen by what it answers.
//!
//! Not used: the XML that `crm_simulate` prints. Before 2.1.0 there is none (2.0.5 exits with 0 and prints
//! nothing), and from 2.1.8 on it ends too early where something is injected (doc/design/crm_simulate.md).
//! Its exit status counts, and so does each document being whole: 2.0.5 leaves the CIB *as it was* in the
//! file when the scheduler aborts.

use std::path::Path;

use super::graph::Graph;
use super::view::ClusterError;
use super::xml::Element;
use crate::clock::Deadline;
use crate::command::{self, CommandError, Output, Tool};
use crate::host::{NodeName, Root};

/// The largest document that is read, in bytes: a CIB of a few thousand resources has some ten million.
const LARGEST: u64 = 256 << 20;
/// How much of what a tool printed an error repeats, in characters.
const REPEATED: usize = 300;

/// The scheduler below a root, with a time until which all its answers must have come.
#[derive(Debug)]
pub(super) struct Scheduler<'a> {
    root: &'a Root,
    deadline: Deadline,
}

/// What the scheduler makes of a CIB.
#[derive(Debug)]
pub(super) struct Outcome {
    /// What it would do.
    pub(super) graph: Graph,
    /// Where that ends with the resource that was asked about.
    pub(super) end: End,
}

/// Where the cluster ends with a resource.
#[derive(Debug)]
pub(super) enum End {
    /// On this node: its start there, and monitors of it, are all that is done with it.
    Started(String),
    /// As in this: `nodes`, and `resources` if any is active, once all is done, as `crm_mon` prints them.
    As(Element),
}

/// What is to be assumed beside the CIB: that this operation on this node has just succeeded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Assume<'a> {
    /// `stop`, `start`.
    pub(super) task: &'static str,
    /// Of which resource.
    pub(super) resource: &'a str,
    /// Where.
    pub(super) node: &'a NodeName,
}

impl<'a> Scheduler<'a> {
    /// The scheduler below `root`; it has until `deadline` for all that it is asked.
    pub(super) fn new(root: &'a Root, deadline: Deadline) -> Self {
        Self { root, deadline }
    }

    /// What it would do with this CIB, and where that ends with `resource`.
    ///
    /// To carry a plan out on paper takes the scheduler a time that grows with the square of the domains (for
    /// 100 of them 2.8 s of processor time, where the plan takes 0.15 s), so that is only asked for where the
    /// plan alone does not say it.
    ///
    /// # Errors
    /// If a tool is missing, fails, or answers with anything but whole documents.
    pub(super) fn outcome(
        &self,
        cib: &str,
        assume: Option<Assume<'_>>,
        resource: &str,
    ) -> Result<Outcome, ClusterError> {
        let graph = self.graph(cib, assume)?;
        if let Some(node) = graph.only_starts(resource).map(str::to_owned) {
            return Ok(Outcome { graph, end: End::Started(node) });
        }
        self.carried_out(cib, assume)
    }

    /// What it would do with this CIB, and the cluster once all that is done.
    ///
    /// # Errors
    /// As [`Self::outcome`].
    pub(super) fn carried_out(&self, cib: &str, assume: Option<Assume<'_>>) -> Result<Outcome, ClusterError> {
        let folder = folder()?;
        let after = folder.path().join("after.xml");
        let graph = self.plan(cib, &assume_that(assume), folder.path(), Some(&after))?;
        Ok(Outcome { graph, end: End::As(self.state_in(&after)?) })
    }

    /// What it would do with this CIB.
    ///
    /// # Errors
    /// As [`Self::outcome`].
    pub(super) fn graph(&self, cib: &str, assume: Option<Assume<'_>>) -> Result<Graph, ClusterError> {
        self.plan(cib, &assume_that(assume), folder()?.path(), None)
    }

    /// Whether it would have `resource` looked for on `node`; `bring_up`: if that were up.
    ///
    /// # Errors
    /// As [`Self::outcome`].
    pub(super) fn looks_for(
        &self,
        cib: &str,
        resource: &str,
        node: &NodeName,
        bring_up: bool,
    ) -> Result<bool, ClusterError> {
        let up = ["--node-up".to_owned(), node.to_string()];
        let assume = if bring_up { &up[..] } else { &[] };
        Ok(self.plan(cib, assume, folder()?.path(), None)?.probes(resource, node))
    }

    /// The nodes and resources of a CIB, as `crm_mon` prints them.
    ///
    /// # Errors
    /// As [`Self::outcome`].
    pub(super) fn state(&self, cib: &str) -> Result<Element, ClusterError> {
        let folder = folder()?;
        let file = folder.path().join("cib.xml");
        std::fs::write(&file, cib).map_err(|error| unreadable("crm_mon", &error))?;
        self.state_in(&file)
    }

    /// The plan; it is carried out on paper where `after` names a file for the CIB that comes of it.
    fn plan(
        &self,
        cib: &str,
        assume: &[String],
        folder: &Path,
        after: Option<&Path>,
    ) -> Result<Graph, ClusterError> {
        const TOOL: &str = "crm_simulate";
        let graph = folder.join("graph.xml");
        let how = if after.is_some() { "--simulate" } else { "--run" };
        let mut args = vec!["--xml-pipe".to_owned(), how.to_owned()];
        let mut files = vec![("--save-graph", graph.as_path())];
        files.extend(after.map(|after| ("--save-output", after)));
        for (option, file) in files {
            args.extend([option.to_owned(), file.display().to_string()]);
        }
        args.extend_from_slice(assume);
        let output = self.run(TOOL, &args, Some(cib))?;
        let printed = || self.printed(TOOL, &output);
        if !output.status.success() {
            return Err(ClusterError::Unreadable { tool: TOOL, what: printed() });
        }
        let text = read(&graph).map_err(|error| ClusterError::Unreadable {
            tool: TOOL,
            what: format!("no transition graph: {error}; {}", printed()),
        })?;
        Graph::parse(&text).map_err(|error| ClusterError::Unreadable {
            tool: TOOL,
            what: format!("its transition graph: {error}; {}", printed()),
        })
    }

    /// `--output-as=xml` is known from 2.0.3 on, `--as-xml` up to 3.0; what is in them is the same.
    fn state_in(&self, file: &Path) -> Result<Element, ClusterError> {
        const TOOL: &str = "crm_mon";
        let file = file.display().to_string();
        let mut said = String::new();
        for form in ["--output-as=xml", "--as-xml"] {
            let output = self.run(TOOL, &["--one-shot", form, "--xml-file", &file], None)?;
            if output.status.success()
                && let Ok(state) = Element::parse(&output.stdout)
                && state.child("nodes").is_some()
            {
                return Ok(state);
            }
            if said.is_empty() {
                said = self.printed(TOOL, &output);
            }
        }
        Err(ClusterError::Unreadable { tool: TOOL, what: said })
    }

    fn run<S: AsRef<str>>(
        &self,
        tool: &str,
        args: &[S],
        input: Option<&str>,
    ) -> Result<Output, CommandError> {
        let args: Vec<&str> = args.iter().map(AsRef::as_ref).collect();
        command::run(&Tool::find(self.root, tool)?, &args, input, self.deadline.left())
    }

    /// What a tool that gave no usable answer printed, with its version: what a person needs to know to help.
    fn printed(&self, tool: &str, output: &Output) -> String {
        let version = self.run(tool, &["--version"], None).map(|output| output.stdout).unwrap_or_default();
        let version = version.lines().next().map_or("of an unknown version", str::trim);
        let said = [output.stderr.trim(), output.stdout.trim()].into_iter().find(|said| !said.is_empty());
        let said: String = said.unwrap_or("nothing").replace('\n', "; ").chars().take(REPEATED).collect();
        format!("{version}, {}, printed: {said}", output.status)
    }
}

fn assume_that(assume: Option<Assume<'_>>) -> Vec<String> {
    let words = |Assume { task, resource, node }: Assume<'_>| {
        ["--op-inject".to_owned(), format!("{resource}_{task}_0@{node}=0")]
    };
    assume.map(words).into_iter().flatten().collect()
}

fn folder() -> Result<tempfile::TempDir, ClusterError> {
    tempfile::Builder::new()
        .prefix("xen-handoff-plan-")
        .tempdir()
        .map_err(|error| unreadable("crm_simulate", &format!("no room for its answer: {error}")))
}

fn read(file: &Path) -> std::io::Result<String> {
    if std::fs::metadata(file)?.len() > LARGEST {
        return Err(std::io::Error::other(format!("more than {LARGEST} bytes")));
    }
    std::fs::read_to_string(file)
}

fn unreadable(tool: &'static str, what: &dyn std::fmt::Display) -> ClusterError {
    ClusterError::Unreadable { tool, what: what.to_string() }
}
