//! What stands before the words of a line of the log: `resource=x0 domain=x0 node=n1`.

/// The names of such fields.
const NAMES: [&str; 7] = ["resource", "domain", "node", "domid", "from", "to", "offer"];

/// Whether this word is such a field.
pub(super) fn is_field(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, value)| !value.is_empty() && NAMES.contains(&name))
}

/// The fields of a line, in its order.
pub fn fields(line: &str) -> impl Iterator<Item = (&str, &str)> {
    line.split(' ').take_while(|word| is_field(word)).filter_map(|word| word.split_once('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_a_line_end_where_its_words_begin() {
        let found: Vec<_> = fields("resource=x0 domain=vm-1 node=n1 it says a=b domain=no").collect();
        assert_eq!(found, [("resource", "x0"), ("domain", "vm-1"), ("node", "n1")]);
        assert_eq!(fields("handoff=never").count() + fields("no handoff").count(), 0);
        assert_eq!(fields("").count(), 0);
    }
}
