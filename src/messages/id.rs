//! The id of a message, and what journald calls it.

use std::fmt::{self, Write};
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// The id of a message: `XH0101`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(u16);

impl Id {
    /// What journald knows the message by: the first 32 digits of the SHA-256 of `xen-handoff:XH0101`.
    pub fn for_journal(self) -> String {
        let digest = Sha256::digest(format!("xen-handoff:{self}"));
        digest.iter().take(16).fold(String::new(), |mut text, byte| {
            // A text takes everything.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// The id that a line ends or begins with, as this program and Pacemaker show one: ` [XH0101]`.
    pub fn on(line: &str) -> Option<Self> {
        line.split(['[', ']']).filter_map(|word| word.parse().ok()).next_back()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "XH{:04}", self.0)
    }
}

impl serde::Serialize for Id {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// This is no id of a message.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id is XH and four digits")]
pub struct NoId;

impl FromStr for Id {
    type Err = NoId;

    fn from_str(text: &str) -> Result<Self, NoId> {
        let digits = text.strip_prefix("XH").or(text.strip_prefix("xh")).ok_or(NoId)?;
        let is_one = digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_one.then(|| digits.parse().ok()).flatten().map(Self).ok_or(NoId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_two_letters_and_four_digits_and_stands_in_brackets_on_a_line() {
        let id: Id = "XH0101".parse().unwrap();
        assert_eq!(id.to_string(), "XH0101");
        for none in ["", "XH", "XH101", "XH01011", "XH+101", "0101", "[XH0101]"] {
            assert_eq!(none.parse::<Id>(), Err(NoId), "{none}");
        }
        assert_eq!(Id::on("domain=x0 it failed [XH0101]"), Some(id));
        assert_eq!(Id::on("[XH0101] domain=x0 it failed"), Some(id));
        assert_eq!(Id::on("domain=x0 it failed [1] XH0101"), None);
    }

    /// What `printf xen-handoff:XH0101 | sha256sum` says, so that nobody needs this program to look for a
    /// message.
    #[test]
    fn the_journals_id_is_made_in_the_way_that_the_catalogue_documents() {
        let id: Id = "XH0101".parse().unwrap();
        assert_eq!(id.for_journal(), "142c523215cf45ea4e3a1d73876daff1");
    }
}
