//! Paths to fields: `spec.addresses[2]`.

use std::borrow::Cow;
use std::fmt::Write as _;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// Into a map.
    Key(Cow<'a, str>),
    /// Into a list.
    Index(usize),
}

/// The path as operators write it.
pub(crate) fn join(steps: &[Step<'_>]) -> String {
    let mut text = String::new();
    for step in steps {
        match step {
            Step::Key(name) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(name);
            }
            // Writing to a String cannot fail.
            Step::Index(index) => drop(write!(text, "[{index}]")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_joined_by_dots_and_items_are_in_brackets() {
        let key = |name: &'static str| Step::Key(name.into());
        let path = [
            key("spec"),
            key("terms"),
            Step::Index(3),
            key("values"),
            Step::Index(1),
        ];
        assert_eq!(join(&path), "spec.terms[3].values[1]");
    }
}
