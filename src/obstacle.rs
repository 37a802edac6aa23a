//! What stands in the way of something that is tried again: said when it is another thing than before, and
//! kept for the end.

use std::fmt;

/// The last thing that stood in the way; empty while nothing has.
#[derive(Debug, Default)]
pub struct Obstacle(String);

impl Obstacle {
    /// `why` stands in the way now; `say` is called unless it did so the last time.
    pub fn is(&mut self, why: String, say: impl FnOnce(&str)) {
        if why != self.0 {
            say(&why);
            self.0 = why;
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_the_way_is_said_once_and_the_last_of_it_is_kept() {
        let mut obstacle = Obstacle::default();
        let mut said = Vec::new();
        for why in ["n1 is silent", "n1 is silent", "it arrives", "n1 is silent"] {
            obstacle.is(why.to_owned(), |why| said.push(why.to_owned()));
        }
        assert_eq!(said, ["n1 is silent", "it arrives", "n1 is silent"]);
        assert_eq!(obstacle.to_string(), "n1 is silent");
    }
}
