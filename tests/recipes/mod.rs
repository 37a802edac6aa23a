//! `doc/recipes.md` as the tests run it: the boxes of a recipe, in order, with the names of the test's own nodes in them.

/// A command of a recipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Given {
    /// On which node; `every`: on each.
    pub(crate) node: String,
    /// What is typed.
    pub(crate) command: String,
    /// Lines that it prints, among others; `...` stands for anything.
    pub(crate) prints: Vec<String>,
}

impl Given {
    /// The first line that it should have printed and did not.
    pub(crate) fn misses(&self, printed: &str) -> Option<&str> {
        self.prints.iter().find(|wanted| !printed.lines().any(|line| fits(line, wanted))).map(String::as_str)
    }
}

/// Whether a printed line is the one that the page shows; how many spaces there are does not count.
fn fits(line: &str, wanted: &str) -> bool {
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (line, wanted) = (plain(line), plain(wanted));
    let mut rest = line.as_str();
    for (place, piece) in wanted.split("...").map(str::trim).enumerate() {
        match rest.find(piece) {
            Some(at) if place > 0 || at == 0 => rest = rest.get(at + piece.len()..).unwrap_or_default(),
            _ => return false,
        }
    }
    rest.trim().is_empty() || wanted.ends_with("...")
}

/// A grey box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// Given one after the other.
    Commands(Vec<Given>),
    /// On every node.
    File {
        /// Where.
        path: String,
        /// Its end, or all of it.
        append: bool,
        /// What nobody else may read.
        secret: bool,
        /// The content.
        text: String,
    },
}

/// The parts of the recipe of that title, each name of the page's replaced by one of the test's.
pub(crate) fn recipe(title: &str, names: &[(&str, &str)]) -> Result<Vec<Part>, String> {
    let page = include_str!("../../doc/recipes.md");
    let (_, rest) =
        page.split_once(&format!("\n## {title}\n")).ok_or_else(|| format!("no recipe {title:?}"))?;
    let section = rest.split("\n## ").next().unwrap_or_default();
    // A longer name may have a shorter one in it.
    let mut names = names.to_vec();
    names.sort_by_key(|(theirs, _)| std::cmp::Reverse(theirs.len()));
    let ours =
        |text: &str| names.iter().fold(text.to_owned(), |text, (theirs, ours)| text.replace(theirs, ours));
    let pieces: Vec<&str> = section.split("```\n").collect();
    let boxes = pieces.chunks_exact(2).filter_map(|pair| Some((pair.first()?, pair.last()?)));
    boxes.map(|(before, text)| part(before, &ours(text))).collect()
}

fn part(before: &str, text: &str) -> Result<Part, String> {
    let command = |line: &str| {
        let (prompt, what) = line.split_once("# ")?;
        let name = !prompt.is_empty() && prompt.chars().all(|c| c.is_ascii_alphanumeric());
        name.then(|| (prompt.to_owned(), what.to_owned()))
    };
    if text.lines().next().is_some_and(|line| command(line).is_some()) {
        let mut commands: Vec<Given> = Vec::new();
        for line in text.lines() {
            match (command(line), commands.last_mut()) {
                (Some((node, command)), _) => commands.push(Given { node, command, prints: Vec::new() }),
                (None, Some(given)) => given.prints.push(line.to_owned()),
                (None, None) => {}
            }
        }
        return Ok(Part::Commands(commands));
    }
    let paragraph = before.trim_end().rsplit("\n\n").next().unwrap_or_default();
    let path = paragraph.split('`').skip(1).step_by(2).find(|quoted| quoted.starts_with('/'));
    let path = path.ok_or_else(|| format!("no path before this box: {text}"))?.to_owned();
    Ok(Part::File {
        path,
        append: paragraph.contains("Add to"),
        secret: paragraph.contains("mode 600"),
        text: text.to_owned(),
    })
}
