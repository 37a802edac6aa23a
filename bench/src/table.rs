//! Tables that a person reads in a terminal and that Markdown takes as they are.

/// Columns with a heading each, rows of as many cells.
#[derive(Debug, Clone, Default)]
pub struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// What stands for a value that is not known.
pub const UNKNOWN: &str = "-";

impl Table {
    /// A table with these headings. The first column is of words, the others are of numbers.
    pub fn new(head: &[&str]) -> Self {
        Self { head: head.iter().map(|cell| (*cell).to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table as text.
    pub fn render(&self) -> String {
        let widths: Vec<usize> = (0..self.head.len())
            .map(|column| {
                let cells = self.rows.iter().chain([&self.head]).filter_map(|row| row.get(column));
                cells.map(|cell| width(cell)).max().unwrap_or_default().max(2)
            })
            .collect();
        let line = |row: &[String]| -> String {
            let cells = widths.iter().enumerate().map(|(column, width_of_column)| {
                let cell = row.get(column).map(String::as_str).unwrap_or_default();
                let filling = " ".repeat(width_of_column.saturating_sub(width(cell)));
                if column == 0 { format!(" {cell}{filling} |") } else { format!(" {filling}{cell} |") }
            });
            format!("|{}\n", cells.collect::<String>())
        };
        let rule: String = widths
            .iter()
            .enumerate()
            .map(|(column, width)| match column {
                0 => format!("{}|", "-".repeat(width + 2)),
                _ => format!("{}:|", "-".repeat(width + 1)),
            })
            .collect();
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        format!("{}|{rule}\n{rows}", line(&self.head))
    }
}

/// How many columns a text takes: its characters, since ours are all narrow.
fn width(text: &str) -> usize {
    text.chars().count()
}

/// A value with so many decimals, or the mark for an unknown one.
pub fn number(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), |value| format!("{value:.decimals$}"))
}

/// Milliseconds with as many decimals as make sense for their size.
pub fn milliseconds(value: Option<f64>) -> String {
    let Some(value) = value else { return UNKNOWN.to_owned() };
    let decimals = match value {
        value if value < 1.0 => 3,
        value if value < 10.0 => 2,
        value if value < 100.0 => 1,
        _ => 0,
    };
    number(Some(value), decimals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_it_is_markdown() {
        let mut table = Table::new(&["phase", "p50"]);
        table.row(["before".to_owned(), milliseconds(Some(0.25))]);
        table.row(["p\u{e4}use".to_owned(), milliseconds(None)]);
        assert_eq!(
            table.render(),
            "| phase  |   p50 |\n|--------|------:|\n| before | 0.250 |\n| p\u{e4}use  |     - |\n"
        );
    }

    #[test]
    fn milliseconds_have_three_digits_that_mean_something() {
        let shown = [0.0461, 1.302, 12.34, 1234.5].map(|value| milliseconds(Some(value)));
        assert_eq!(shown, ["0.046", "1.30", "12.3", "1234"].map(str::to_owned));
    }
}
