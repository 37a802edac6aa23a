//! The README's table of what has been run where, made from `doc/support.tsv`.

/// What stands before and after the table.
pub(crate) const MARKS: [&str; 2] = ["<!-- made from doc/support.tsv by make man -->\n", "<!-- end -->\n"];

/// A line of the file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row<'a> {
    /// The cluster manager, with the release that brings it.
    pub(crate) manager: &'a str,
    /// The hypervisor and the guest's kind.
    pub(crate) place: &'a str,
    /// How xen-handoff came there.
    pub(crate) package: &'a str,
    /// `tried` or `built`.
    pub(crate) state: &'a str,
    /// What has shown it.
    pub(crate) by: &'a str,
    /// The day of that.
    pub(crate) when: &'a str,
}

/// The lines of the file.
///
/// # Errors
/// A line that is none of these.
pub(crate) fn rows(text: &str) -> anyhow::Result<Vec<Row<'_>>> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| match line.split('\t').collect::<Vec<_>>()[..] {
            [manager, place, package, state @ ("tried" | "built"), by, when] => {
                Ok(Row { manager, place, package, state, by, when })
            }
            _ => anyhow::bail!("doc/support.tsv: {line:?} is not as the file's head says"),
        })
        .collect()
}

/// Each value once, in the order of the alphabet.
fn each<T: Ord>(values: impl Iterator<Item = T>) -> Vec<T> {
    values.collect::<std::collections::BTreeSet<T>>().into_iter().collect()
}

/// The table: a line for a cluster manager and a package, a column for a hypervisor and a kind of guest.
///
/// # Errors
/// Those of [`rows`].
pub(crate) fn table(text: &str) -> anyhow::Result<String> {
    let rows = rows(text)?;
    let places = each(rows.iter().map(|row| row.place));
    let mut table = format!("| | {} |\n|---|{}\n", places.join(" | "), "---|".repeat(places.len()));
    for (manager, package) in each(rows.iter().map(|row| (row.manager, row.package))) {
        let cell = |place: &&str| {
            let of = |row: &&Row<'_>| (row.manager, row.package, row.place) == (manager, package, *place);
            match rows.iter().find(of) {
                Some(row) if row.state == "tried" => "**tried**",
                Some(_) => "built",
                None => "not tried",
            }
        };
        let cells: Vec<&str> = places.iter().map(cell).collect();
        table += &format!("| {manager}, {package} | {} |\n", cells.join(" | "));
    }
    Ok(table)
}

/// The README with the table of this file in it.
///
/// # Errors
/// Those of [`rows`], and a README without its marks.
pub(crate) fn readme(readme: &str, support: &str) -> anyhow::Result<String> {
    let [begin, end] = MARKS;
    let parts = readme.split_once(begin).and_then(|(before, rest)| Some((before, rest.split_once(end)?.1)));
    let (before, after) = parts.ok_or_else(|| anyhow::anyhow!("README.md has not {begin:?} and {end:?}"))?;
    Ok(format!("{before}{begin}{}{end}{after}", table(support)?))
}
