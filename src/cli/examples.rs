//! Examples of each subcommand. Its `--help` shows them, and they begin the EXAMPLES of its page
//! (`man/pages.rs`), which goes on with what is printed.

use clap::builder::Styles;

/// What is typed, and what for.
pub type Example = (&'static str, &'static str);

const ALL: [(&str, &[Example]); 11] = [
    (
        "keys",
        &[
            (
                "xen-handoff keys --distribute",
                "On one node whose root gets to the others: a key each, known to all",
            ),
            ("xen-handoff keys --export >n1.keys", "By hand, on each node: what the others must know of it"),
            ("xen-handoff keys --accept <n1.keys", "On each of the others, with that file"),
            ("xen-handoff keys --rotate --distribute", "Another pair for this node, known to all"),
            ("xen-handoff keys --remove n3 --distribute", "n3 is lost: no node takes its key any more"),
        ],
    ),
    (
        "check",
        &[
            ("xen-handoff check", "Is the cluster set up well, and what is to be done where it is not?"),
            ("xen-handoff check --ignore clock", "Without the check of the clocks"),
            ("xen-handoff check --monitoring", "For Nagios and its like"),
        ],
    ),
    (
        "status",
        &[
            ("xen-handoff status --all", "What goes on, on all nodes"),
            ("xen-handoff status --all --watch", "As one picture that is kept up to date"),
            (
                "xen-handoff status --all --watch --json",
                "For a program: every two seconds, one document a line",
            ),
        ],
    ),
    (
        "preflight",
        &[
            ("xen-handoff preflight x0", "Can every other node take x0?"),
            ("xen-handoff preflight x0 --to n2", "Can n2?"),
        ],
    ),
    (
        "adopt",
        &[
            ("xen-handoff adopt --dry-run", "What would be done, of all resources"),
            ("xen-handoff adopt x0", "One resource alone, while its domain runs"),
        ],
    ),
    (
        "drain",
        &[
            ("xen-handoff drain --plan n1", "What would become of each domain on n1, and why"),
            ("xen-handoff drain n1", "Before its update: empty n1"),
            ("crm_standby --node n1 --delete", "When it is up again: back in service"),
        ],
    ),
    (
        "history",
        &[
            ("xen-handoff history --all", "The last moves of all nodes"),
            ("xen-handoff history --last 1 --json x0", "For a program: the last move of x0 at this node"),
        ],
    ),
    (
        "reach",
        &[
            ("xen-handoff reach n2", "n2, both ways"),
            ("xen-handoff reach --all", "Every node from every other"),
            (
                "xen-handoff reach --network-suffix=-mig n2",
                "Over a migration network, before it is made the resources' own",
            ),
        ],
    ),
    (
        "explain",
        &[
            ("xen-handoff explain x0", "What the last stop of x0 at this node did, and why"),
            ("xen-handoff explain XH0101", "What a message means"),
            (
                "xen-handoff explain \"stop: domain=x0 node=n1 stop: shut down [XH0204]\"",
                "What a line of the log means, or of pcs status; in quotes",
            ),
        ],
    ),
    (
        "recover",
        &[
            ("xen-handoff recover --dry-run x0", "Both ends of a transfer that broke off, and what follows"),
            ("xen-handoff recover x0", "Settle it so"),
        ],
    ),
    (
        "agent",
        &[
            (
                "OCF_RESOURCE_INSTANCE=x0 OCF_RESKEY_name=x0 xen-handoff agent monitor",
                "Does x0 run here? Exit status 0: it does; 7: it does not",
            ),
            ("xen-handoff agent meta-data", "The agent's parameters and actions"),
        ],
    ),
];

/// Those of a subcommand.
pub fn of(subcommand: &str) -> &'static [Example] {
    ALL.iter().find(|(name, _)| *name == subcommand).map_or(&[], |(_, examples)| examples)
}

/// The end of its long help, in the form of the rest.
pub(super) fn help(subcommand: &str) -> String {
    let (styles, examples) = (Styles::styled(), of(subcommand));
    let (header, literal) = (styles.get_header(), styles.get_literal());
    let shown = examples
        .iter()
        .map(|(typed, what)| format!("  {literal}{typed}{literal:#}\n          {what}"))
        .collect::<Vec<_>>();
    format!("{header}Examples:{header:#}\n{}", shown.join("\n\n"))
}
