//! What is not the same each time that a screen is printed, by the command.

/// `#` is a number, `*` is anything. How many spaces stand in a line does not count.
const MASKS: &[(&str, &[&str])] = &[
    // When it was, how long it took and how fast it was; columns are as wide as that.
    (
        "n1# xen-handoff history --all",
        &[
            "BEGAN (UTC) DOMAIN WAY WHY TOOK PAUSE MIB MIB/S END",
            "#-#-# #:# x0 n1 > n2 handoff # s - 8 * moved",
        ],
    ),
    // How far it is when it is looked at.
    (
        "n2# xen-handoff status --all",
        &["from n1, # MiB in # s*", "to n2, the offer ends in # s, # MiB in # s*"],
    ),
    // When each thing was seen, and how far the move was by then.
    (
        "n1# xen-handoff drain n1",
        &[
            "# s x0: running (domid 1)",
            "# s x0: on offer, not fetched yet",
            "# s x0: on its way to n2: # MiB in # s*",
            "# s x0: has left",
            "# s n1 is empty",
            "x0: handed over to n2 in # s",
        ],
    ),
    ("n1# xen-handoff reach n2", &["n2 answers in # s and reaches n1 in # s."]),
    // How long each took.
    (
        "n1# xen-handoff reach --all",
        &["n1 n2 # yes", "n2 n1 # yes", "n2 n3 # yes", "n1 n3 # yes", "n3 n1 # yes", "n3 n2 # yes"],
    ),
    // When it was said.
    (
        "n1# xen-handoff explain x0",
        &[
            "#-#-#T#:#:#Z stop: domain=x0 node=n1 no handoff: the planned target",
            "#-#-#T#:#:#Z stop: domain=x0 domid=1 asking the guest to shut down",
            "#-#-#T#:#:#Z stop: domain=x0 node=n1 stop: shut down [XH0204]",
        ],
    ),
    // The keys themselves, which a stand-in makes here.
    ("n1# xen-handoff keys --export", &["key n1 192.0.2.1 ssh-ed25519 *", "host n1 ssh-ed25519 *"]),
];

/// The lines of what this command prints, behind its prompt, that differ.
pub(crate) fn masks_of(given: &str) -> &'static [&'static str] {
    MASKS.iter().find(|(of, _)| *of == given).map_or(&[], |(_, masks)| masks)
}
