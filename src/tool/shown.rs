//! How the tools lay out what people read: tables and paragraphs that fit a terminal, 80 columns where there
//! is none.

use std::io::IsTerminal;

/// What a line may take where no terminal says otherwise.
const WIDTH: usize = 80;
/// The least room in which a text is broken into lines beside something else.
const LEAST: usize = 24;

/// How many columns a line of stdout may take.
pub(super) fn width() -> usize {
    let stdout = std::io::stdout();
    let size = stdout.is_terminal().then(|| rustix::termios::tcgetwinsize(&stdout).ok()).flatten();
    size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns >= LEAST * 2).unwrap_or(WIDTH)
}

/// `text` behind `first`, broken into lines of `width`; the later lines begin below the text. Ends with a
/// line end.
pub(super) fn paragraph(first: &str, text: &str, width: usize) -> String {
    let beside = first.chars().count();
    // Where nothing is left beside it, the text begins on a line of its own.
    let (mut all, indent) = if beside + LEAST.min(text.chars().count()) <= width {
        (first.to_owned(), beside)
    } else {
        (format!("{}\n    ", first.trim_end()), 4)
    };
    let mut column = indent;
    let mut is_first = true;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if !is_first && column + 1 + length > width {
            all.push('\n');
            all.extend(std::iter::repeat_n(' ', indent));
            column = indent;
        } else if !is_first {
            all.push(' ');
            column += 1;
        }
        all.push_str(word);
        column += length;
        is_first = false;
    }
    all.truncate(all.trim_end().len());
    all.push('\n');
    all
}

/// A table with a heading; each row may have lines of details below it.
#[derive(Debug)]
pub(super) struct Table {
    heads: Vec<&'static str>,
    rows: Vec<(Vec<String>, Vec<String>)>,
}

impl Table {
    /// A table with these columns. One whose head begins with `>` has numbers: they stand at its right edge.
    pub(super) fn new(heads: &[&'static str]) -> Self {
        Self { heads: heads.to_vec(), rows: Vec::new() }
    }

    /// One more row, with what else is to be said of it.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>, details: Vec<String>) {
        self.rows.push((cells.into_iter().collect(), details));
    }

    /// All of it, in lines of `width` at most. The last column is broken into lines; the others are as wide
    /// as what they hold.
    pub(super) fn text(&self, width: usize) -> String {
        let head: Vec<&str> = self.heads.iter().map(|head| head.trim_start_matches('>')).collect();
        let wide = |column: usize| {
            let cells = self.rows.iter().filter_map(|(cells, _)| cells.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(head[column].chars().count())
        };
        let last = head.len().saturating_sub(1);
        let widths: Vec<usize> = (0..last).map(wide).collect();
        let line = |cells: &[&str]| {
            let mut first = String::new();
            for (column, columns) in widths.iter().enumerate() {
                let cell = cells.get(column).copied().unwrap_or_default();
                let right = self.heads[column].starts_with('>');
                let padded =
                    if right { format!("{cell:>columns$}  ") } else { format!("{cell:<columns$}  ") };
                first.push_str(&padded);
            }
            paragraph(&first, cells.get(last).copied().unwrap_or_default(), width)
        };
        let mut all = line(&head);
        for (cells, details) in &self.rows {
            let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
            all.push_str(&line(&cells));
            all.extend(details.iter().map(|detail| paragraph("    ", detail, width)));
        }
        all
    }
}

/// Seconds for people: `5.3 s`, `42 s`, `3 min 20 s`.
pub(super) fn span(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match seconds {
        0..10 => format!("{seconds}.{} s", milliseconds % 1000 / 100),
        10..120 => format!("{seconds} s"),
        _ => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

/// So many of a thing.
pub(super) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_wider_than_the_terminal_and_no_word_is_lost() {
        let mut table = Table::new(&["NODE", ">SECONDS", "WHY"]);
        let why = "the planned target cannot fetch it: n3 says: no key on n3: copy the cluster's key pair from a node that has it";
        table.row(["node1", "5", why].map(str::to_owned), vec![format!("-> {why}")]);
        for width in [60, 80, 120] {
            let text = table.text(width);
            assert!(text.lines().all(|line| line.chars().count() <= width), "{text}");
            let words: Vec<&str> = text.split_whitespace().collect();
            assert_eq!(words.len(), 3 + 2 + 1 + 2 * why.split_whitespace().count(), "{text}");
        }
        assert!(table.text(80).starts_with("NODE   SECONDS  WHY\nnode1        5  the planned"));
    }

    #[test]
    fn a_text_beside_which_there_is_no_room_begins_on_its_own_line() {
        let long = "x".repeat(70);
        let text = paragraph(&format!("{long}  "), "two words", 80);
        assert_eq!(text, format!("{long}\n    two words\n"));
        assert_eq!(paragraph("x0  ", "", 80), "x0\n");
    }

    #[test]
    fn spans_are_as_exact_as_a_person_needs() {
        assert_eq!([span(5340), span(42_900), span(200_000)], ["5.3 s", "42 s", "3 min 20 s"]);
    }
}
