//! Something to compute: the product of two matrices.

/// The most rows: about a second's work on a slow machine, for which nobody else is answered.
pub(crate) const MOST: usize = 400;

/// Why the number of rows cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wrong(String);

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "n={}: wanted is a whole number from 1 to {MOST}", self.0)
    }
}

/// The number of rows from a query's text.
pub(crate) fn rows(text: &str) -> Result<usize, Wrong> {
    let rows = text.parse().ok().filter(|rows| (1..=MOST).contains(rows));
    rows.ok_or_else(|| Wrong(text.chars().take(40).collect()))
}

/// Multiplies two matrices of so many rows, and returns the sum of the product's diagonal.
pub(crate) fn multiply(rows: usize) -> f64 {
    let left: Vec<Vec<f64>> =
        (0..rows).map(|row| (0..rows).map(|column| (row + column) as f64).collect()).collect();
    let right: Vec<Vec<f64>> = (0..rows)
        .map(|row| (0..rows).map(|column| if row == column { 2.0 } else { 0.0 }).collect())
        .collect();
    let product = left.iter().map(|line| -> Vec<f64> {
        (0..rows)
            .map(|column| {
                line.iter().zip(&right).map(|(a, line)| a * line.get(column).copied().unwrap_or(0.0)).sum()
            })
            .collect()
    });
    let diagonal = product.enumerate().filter_map(|(row, line)| line.get(row).copied());
    std::hint::black_box(diagonal.sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_product_is_right() {
        // Twice the sum of 0 + 2 + 4 + 6 + 8.
        assert_eq!(multiply(5), 40.0);
    }

    #[test]
    fn only_a_number_in_bounds_is_taken() {
        assert_eq!(rows("5"), Ok(5));
        for wrong in ["0", "-1", "401", "many", "", "5.5", "99999999999999999999"] {
            assert!(rows(wrong).unwrap_err().to_string().starts_with(&format!("n={wrong}:")));
        }
    }
}
