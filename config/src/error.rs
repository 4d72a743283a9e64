//! What is wrong with a configuration, and where.

use std::fmt;

use serde::Serialize;

/// One thing that is wrong.
///
/// Prints as `SOURCE:LINE:COLUMN: Kind/name: field.path: message`, without the parts that are not known. Serializes
/// as an object with the same parts. Errors order by source, then place. Passwords never appear in one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Error {
    /// The file; for what came through the API, the cluster's name for it.
    pub source: String,
    /// From 1; `None` for an object that was never text.
    pub line: Option<u32>,
    /// In characters, from 1.
    pub column: Option<u32>,
    /// `Kind/name`; empty when the text could not even be read that far.
    pub object: String,
    /// Path of the field (`spec.addresses[2]`); empty for the object as a whole.
    pub field: String,
    /// What was found and what is allowed; no capital, no full stop.
    pub message: String,
    /// How many characters from `column` on are meant; for pointing at them, not for people to read.
    #[serde(skip)]
    pub width: u32,
}

impl Error {
    /// An error about a source as a whole, for example that it cannot be read.
    pub fn of_source(source: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            source: source.into(),
            line: None,
            column: None,
            object: String::new(),
            field: String::new(),
            message: message.into(),
            width: 1,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        for number in [self.line, self.column].into_iter().flatten() {
            write!(f, ":{number}")?;
        }
        for part in [&self.object, &self.field] {
            if !part.is_empty() {
                write!(f, ": {part}")?;
            }
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    fn error() -> Error {
        Error {
            line: Some(3),
            column: Some(7),
            object: "IPAddressPool/first".to_owned(),
            field: "spec.addresses[2]".to_owned(),
            ..Error::of_source("pools.yaml", "\"x\" is no address")
        }
    }

    #[test]
    fn it_prints_on_one_line_for_machines_and_people() {
        assert_eq!(
            error().to_string(),
            "pools.yaml:3:7: IPAddressPool/first: spec.addresses[2]: \"x\" is no address"
        );
    }

    #[test]
    fn parts_that_are_not_known_are_left_out() {
        assert_eq!(
            Error::of_source("pools.yaml", "no such file").to_string(),
            "pools.yaml: no such file"
        );
    }

    #[test]
    fn as_json_it_has_the_six_fields_and_no_more() {
        let json = serde_json::to_value(error()).unwrap();
        let keys: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
        assert_eq!(
            keys,
            ["column", "field", "line", "message", "object", "source"]
        );
    }
}
