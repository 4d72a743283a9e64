//! A document as a tree, each node with its place in the text.

use std::fmt;

use crate::path::Step;

/// A place in a text, to point at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    /// From 1.
    pub(crate) line: u32,
    /// In characters, from 1.
    pub(crate) column: u32,
    /// How many characters to underline, at least 1.
    pub(crate) width: u32,
}

impl Mark {
    /// The first character.
    pub(crate) const START: Self = Self {
        line: 1,
        column: 1,
        width: 1,
    };
}

/// Something wrong at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) mark: Mark,
    /// Path of the field, relative to the node that was read; empty for the whole.
    pub(crate) path: String,
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn new(mark: Mark, path: String, message: String) -> Self {
        Self {
            mark,
            path,
            message,
        }
    }

    /// Fields about which nothing further is to be said: the one in fault; for a key that is not known, the one that
    /// was probably meant, which seems to be missing; for a word that is not known, all that may depend on it.
    pub(crate) fn tainted(&self) -> Vec<String> {
        let parent = self.path.rsplit_once('.').map(|(parent, _)| parent);
        let mut fields = vec![self.path.clone()];
        if let Some((_, meant)) = self.message.split_once("did you mean \"") {
            let meant = meant.trim_end_matches("\"?");
            fields.push(
                parent.map_or_else(|| meant.to_owned(), |parent| format!("{parent}.{meant}")),
            );
        }
        if self.message.contains(NOT_ONE_OF) {
            fields.extend(parent.map(str::to_owned));
        }
        fields
    }
}

/// What is said of a word that is not among those that there are.
pub(crate) const NOT_ONE_OF: &str = "is not one of";

/// A value and where it begins. Debug output shows the place only: the value may be a password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) mark: Mark,
    pub(crate) value: Value,
}

/// What a [`Node`] holds.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// Text that nobody has given a type yet.
    Scalar { text: Box<str>, style: Style },
    /// A list.
    Sequence(Vec<Node>),
    /// A map, in the order written; keys are scalars, each there once.
    Mapping(Vec<(Node, Node)>),
}

/// How a scalar was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Bare: it may be a number, a boolean, nothing or text.
    Plain,
    /// In quotes or folded, or tagged as text: it is text.
    Quoted,
    /// A literal block (`|`): it is text, and its lines are lines of the source.
    Literal,
}

/// What a bare scalar is when nobody asks for anything in particular (YAML 1.1, as Kubernetes reads it).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Plain {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text,
}

impl Node {
    /// The text of a scalar, as a key.
    pub(crate) fn key(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Whether it is a scalar without quotes.
    pub(crate) fn is_plain(&self) -> bool {
        matches!(
            self.value,
            Value::Scalar {
                style: Style::Plain,
                ..
            }
        )
    }

    /// Whether it is nothing: empty, `~` or `null`.
    pub(crate) fn is_null(&self) -> bool {
        matches!(self.plain(), Some(Plain::Null))
    }

    /// What it is, when it is a bare scalar.
    pub(crate) fn plain(&self) -> Option<Plain> {
        match &self.value {
            Value::Scalar {
                text,
                style: Style::Plain,
            } => Some(resolve(text)),
            _ => None,
        }
    }

    /// The value under `name` of a map.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        self.entry(name).map(|(_, value)| value)
    }

    /// Key and value of `name` in a map.
    pub(crate) fn entry(&self, name: &str) -> Option<(&Self, &Self)> {
        let Value::Mapping(entries) = &self.value else {
            return None;
        };
        entries
            .iter()
            .find(|(key, _)| key.key() == Some(name))
            .map(|(key, value)| (key, value))
    }

    /// The text of the scalar under `name` of a map.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.key()
    }

    /// Where `path` leads; where it leads nowhere, the deepest node on the way. A map's value that is itself a map
    /// or a list is pointed at by its key.
    pub(crate) fn locate(&self, path: &[Step<'_>]) -> Mark {
        let (mut node, mut mark) = (self, self.mark);
        for step in path {
            let next = match (step, &node.value) {
                (Step::Key(name), Value::Mapping(_)) => node.entry(name).map(|(key, value)| {
                    let scalar = matches!(&value.value, Value::Scalar { .. }) && !value.is_null();
                    (value, if scalar { value.mark } else { key.mark })
                }),
                (Step::Index(index), Value::Sequence(items)) => {
                    items.get(*index).map(|item| (item, item.mark))
                }
                _ => None,
            };
            let Some((next, next_mark)) = next else { break };
            (node, mark) = (next, next_mark);
        }
        mark
    }

    /// How many nodes it is made of, itself included.
    pub(crate) fn size(&self) -> usize {
        1 + match &self.value {
            Value::Scalar { .. } => 0,
            Value::Sequence(items) => items.iter().map(Self::size).sum(),
            Value::Mapping(entries) => entries
                .iter()
                .map(|(key, value)| key.size() + value.size())
                .sum(),
        }
    }

    /// Moves every mark below `lines` down and `columns` to the right, for a text inside a text.
    pub(crate) fn shift(&mut self, shift: Shift) {
        self.mark = shift.apply(self.mark);
        match &mut self.value {
            Value::Scalar { .. } => {}
            Value::Sequence(items) => items.iter_mut().for_each(|item| item.shift(shift)),
            Value::Mapping(entries) => entries.iter_mut().for_each(|(key, value)| {
                key.shift(shift);
                value.shift(shift);
            }),
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.value {
            Value::Scalar { .. } => "scalar",
            Value::Sequence(_) => "sequence",
            Value::Mapping(_) => "mapping",
        };
        write!(f, "{kind} at {}:{}", self.mark.line, self.mark.column)
    }
}

/// Where a text that is a scalar of another text is in that other one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shift {
    /// Its lines are lines of the outer text, so much further down and right.
    By { lines: u32, columns: u32 },
    /// Its lines are not to be found again (it is in quotes, or folded): everything is at the scalar itself.
    To(Mark),
}

impl Shift {
    /// The mark in the outer text.
    pub(crate) fn apply(self, mark: Mark) -> Mark {
        match self {
            Self::By { lines, columns } => Mark {
                line: mark.line.saturating_add(lines),
                column: mark.column.saturating_add(columns),
                width: mark.width,
            },
            Self::To(place) => place,
        }
    }
}

/// What the bare scalar `text` is.
pub(crate) fn resolve(text: &str) -> Plain {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Plain::Null,
        _ => boolean(text)
            .map(Plain::Bool)
            .or_else(|| integer(text).map(Plain::Integer))
            .or_else(|| float(text).map(Plain::Float))
            .unwrap_or(Plain::Text),
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Some(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Some(false)
        }
        _ => None,
    }
}

fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let digits = digits.replace('_', "");
    let radix = |prefix: &str, radix| {
        digits
            .strip_prefix(prefix)
            .map(|rest| i128::from_str_radix(rest, radix).ok())
    };
    let value = radix("0x", 16)
        .or_else(|| radix("0b", 2))
        .or_else(|| radix("0o", 8))
        .or_else(|| {
            (digits.len() > 1)
                .then(|| radix("0", 8))
                .flatten()
                .filter(Option::is_some)
        })
        .unwrap_or_else(|| digits.parse().ok())?;
    Some(if negative { -value } else { value })
}

fn float(text: &str) -> Option<f64> {
    let digits = text.trim_start_matches(['+', '-']);
    let number = digits
        .chars()
        .all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'));
    match digits {
        ".inf" | ".Inf" | ".INF" => Some(f64::INFINITY),
        ".nan" | ".NaN" | ".NAN" => Some(f64::NAN),
        _ if number && digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') => {
            text.parse().ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_words_are_read_as_kubernetes_reads_them() {
        assert_eq!(resolve("no"), Plain::Bool(false));
        assert_eq!(resolve("On"), Plain::Bool(true));
        assert_eq!(resolve("~"), Plain::Null);
        assert_eq!(resolve("0x1F"), Plain::Integer(31));
        assert_eq!(resolve("017"), Plain::Integer(15));
        assert_eq!(resolve("1_000"), Plain::Integer(1000));
        assert_eq!(resolve("-5"), Plain::Integer(-5));
        assert_eq!(resolve("1.5"), Plain::Float(1.5));
        assert_eq!(resolve("192.0.2.1"), Plain::Text);
        assert_eq!(resolve("65000:1"), Plain::Text);
        assert_eq!(resolve("2001:db8::1"), Plain::Text);
        assert_eq!(resolve("90s"), Plain::Text);
        assert_eq!(resolve("-"), Plain::Text);
    }
}
