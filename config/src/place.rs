//! Where an object was written, so that an error about one of its fields can point there.

use std::fmt;
use std::sync::Arc;

use crate::error::Error;
use crate::path::{Step, join};
use crate::tree::{Fault, Node};

/// Where an object comes from.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The file, or the cluster's name for it.
    pub(crate) source: Arc<str>,
    /// `Kind/name`.
    pub(crate) object: Arc<str>,
    /// The object as it was written; `None` when it came through the API.
    pub(crate) node: Option<Arc<Node>>,
    /// For a part of a legacy document: the way to it.
    pub(crate) legacy: Option<Vec<Step<'static>>>,
    /// Fields whose values are not what was written, since that was wrong: no error about them is repeated.
    pub(crate) tainted: Vec<String>,
}

impl Place {
    /// The error that `message` is wrong with the field at `path` of the custom resource.
    pub(crate) fn error(&self, path: &[Step<'_>], message: String) -> Error {
        let translated;
        let path = match &self.legacy {
            Some(base) => {
                translated = legacy_path(base, path);
                &translated
            }
            None => path,
        };
        let mark = self.node.as_ref().map(|node| node.locate(path));
        Error {
            line: mark.map(|mark| mark.line),
            column: mark.map(|mark| mark.column),
            object: self.object.as_ref().to_owned(),
            field: join(path),
            width: mark.map_or(1, |mark| mark.width),
            ..Error::of_source(self.source.as_ref(), message)
        }
    }

    /// The error that reading found.
    pub(crate) fn fault(&self, fault: Fault) -> Error {
        Error {
            line: Some(fault.mark.line),
            column: Some(fault.mark.column),
            object: self.object.as_ref().to_owned(),
            field: fault.path,
            width: fault.mark.width,
            ..Error::of_source(self.source.as_ref(), fault.message)
        }
    }

    /// Whether an error about `field` would only repeat what is known: the field, or one in or around it, is tainted.
    pub(crate) fn is_tainted(&self, field: &str) -> bool {
        let inside = |outer: &str, inner: &str| {
            inner
                .strip_prefix(outer)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.tainted
            .iter()
            .any(|tainted| inside(tainted, field) || inside(field, tainted))
    }
}

/// Names the object and where it is, for an error about another one.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let here = self.error(&[], String::new());
        match here.line {
            Some(line) => write!(f, "{} ({}:{line})", self.object, self.source),
            None => write!(f, "{} ({})", self.object, self.source),
        }
    }
}

/// A field of an object: a list of steps on the stack, written out only when there is an error to report.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    parent: Option<&'a Self>,
    step: Option<Part<'a>>,
}

#[derive(Clone, Copy)]
enum Part<'a> {
    Key(&'a str),
    Index(usize),
}

impl<'a> At<'a> {
    /// The object itself.
    pub(crate) const ROOT: At<'static> = At {
        parent: None,
        step: None,
    };

    /// The field `name` of it.
    pub(crate) const fn key(&'a self, name: &'a str) -> Self {
        Self {
            parent: Some(self),
            step: Some(Part::Key(name)),
        }
    }

    /// The item `index` of it.
    pub(crate) const fn index(&'a self, index: usize) -> Self {
        Self {
            parent: Some(self),
            step: Some(Part::Index(index)),
        }
    }

    fn steps(&self) -> Vec<Step<'a>> {
        let mut steps = self.parent.map_or_else(Vec::new, Self::steps);
        steps.extend(self.step.map(|step| match step {
            Part::Key(name) => Step::Key(name.into()),
            Part::Index(index) => Step::Index(index),
        }));
        steps
    }
}

/// Collects the errors of one object.
pub(crate) struct Report<'a> {
    place: &'a Place,
    errors: Vec<Error>,
}

impl<'a> Report<'a> {
    /// For the object at `place`.
    pub(crate) const fn new(place: &'a Place) -> Self {
        Self {
            place,
            errors: Vec::new(),
        }
    }

    /// `message` is wrong with the field `at`.
    pub(crate) fn add(&mut self, at: &At<'_>, message: impl Into<String>) {
        let error = self.place.error(&at.steps(), message.into());
        if !self.place.is_tainted(&error.field) {
            self.errors.push(error);
        }
    }

    /// How many errors there are so far.
    pub(crate) const fn len(&self) -> usize {
        self.errors.len()
    }

    /// All of them.
    pub(crate) fn into_errors(self) -> Vec<Error> {
        self.errors
    }
}

/// The way to a field in a legacy document, from the way to it in the custom resource that means the same.
fn legacy_path(base: &[Step<'static>], path: &[Step<'_>]) -> Vec<Step<'static>> {
    let mut steps = base.to_vec();
    // An alias is a key with a value, and nothing below.
    let is_alias = matches!(base.first(), Some(Step::Key(name)) if name == "bgp-communities");
    for step in path.iter().filter(|_| !is_alias) {
        match step {
            Step::Key(name) if name == "spec" || name == "metadata" => {}
            Step::Key(name) => steps.push(Step::Key(legacy_key(name).into())),
            Step::Index(index) => steps.push(Step::Index(*index)),
        }
    }
    steps
}

/// `autoAssign` becomes `auto-assign`.
fn legacy_key(name: &str) -> String {
    if let Some((_, legacy)) = IRREGULAR.iter().find(|(key, _)| *key == name) {
        return (*legacy).to_owned();
    }
    let mut key = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            key.push('-');
        }
        key.push(c.to_ascii_lowercase());
    }
    key
}

/// Keys that do not follow the rule.
const IRREGULAR: [(&str, &str); 6] = [
    ("localPref", "localpref"),
    ("ebgpMultiHop", "ebgp-multihop"),
    ("myASN", "my-asn"),
    ("peerASN", "peer-asn"),
    ("routerID", "router-id"),
    ("avoidBuggyIPs", "avoid-buggy-ips"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_a_resource_are_found_in_the_legacy_format() {
        let base = [Step::Key("address-pools".into()), Step::Index(3)];
        let spec = At::ROOT.key("spec");
        let list = spec.key("addresses");
        let path = legacy_path(&base, &list.index(2).steps());
        assert_eq!(join(&path), "address-pools[3].addresses[2]");
        assert_eq!(legacy_key("aggregationLengthV6"), "aggregation-length-v6");
        assert_eq!(legacy_key("minimumTtl"), "minimum-ttl");
        assert_eq!(legacy_key("bfdProfile"), "bfd-profile");
        assert_eq!(legacy_key("ebgpMultiHop"), "ebgp-multihop");
    }
}
