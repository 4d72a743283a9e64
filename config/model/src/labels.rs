//! Labels and the selectors over them, as Kubernetes defines them.

use std::collections::{BTreeMap, BTreeSet};

/// Labels of an object: key to value.
pub type Labels = BTreeMap<String, String>;

/// A label selector: every requirement must hold. Without any it selects everything.
///
/// Kubernetes: `meta/v1` LabelSelector.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelSelector {
    /// Keys that must have exactly this value.
    pub match_labels: Labels,
    /// Further requirements.
    pub match_expressions: Vec<Requirement>,
}

/// One requirement of a [`LabelSelector`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// What must hold of its value.
    pub operator: Operator,
}

/// What a [`Requirement`] asks of a label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    /// It is there, with one of these values.
    In(BTreeSet<String>),
    /// It is absent, or has none of these values.
    NotIn(BTreeSet<String>),
    /// It is there.
    Exists,
    /// It is absent.
    DoesNotExist,
}

impl LabelSelector {
    /// Whether an object with `labels` is selected.
    pub fn matches(&self, labels: &Labels) -> bool {
        let equal = |(key, value)| labels.get(key) == Some(value);
        self.match_labels.iter().all(equal)
            && self
                .match_expressions
                .iter()
                .all(|requirement| requirement.matches(labels))
    }
}

impl Requirement {
    fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match &self.operator {
            Operator::In(values) => value.is_some_and(|value| values.contains(value)),
            Operator::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

/// Whether any of `selectors` selects `labels`; an empty list selects everything.
pub fn any_or_empty(selectors: &[LabelSelector], labels: &Labels) -> bool {
    selectors.is_empty() || selectors.iter().any(|selector| selector.matches(labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Labels {
        Labels::from([("tier".to_owned(), "web".to_owned())])
    }

    fn expression(key: &str, operator: Operator) -> LabelSelector {
        let requirement = Requirement {
            key: key.to_owned(),
            operator,
        };
        LabelSelector {
            match_expressions: vec![requirement],
            ..LabelSelector::default()
        }
    }

    #[test]
    fn an_empty_selector_selects_everything() {
        assert!(LabelSelector::default().matches(&Labels::new()));
        assert!(any_or_empty(&[], &labels()));
    }

    #[test]
    fn an_absent_label_is_not_in_any_set() {
        let values = BTreeSet::from(["web".to_owned()]);
        assert!(expression("zone", Operator::NotIn(values.clone())).matches(&labels()));
        assert!(!expression("zone", Operator::In(values.clone())).matches(&labels()));
        assert!(!expression("tier", Operator::NotIn(values.clone())).matches(&labels()));
        assert!(expression("tier", Operator::In(values)).matches(&labels()));
    }

    #[test]
    fn existence_looks_at_the_key_alone() {
        assert!(expression("tier", Operator::Exists).matches(&labels()));
        assert!(!expression("tier", Operator::DoesNotExist).matches(&labels()));
        assert!(expression("zone", Operator::DoesNotExist).matches(&labels()));
    }

    #[test]
    fn every_requirement_must_hold() {
        let mut selector = expression("tier", Operator::Exists);
        selector
            .match_labels
            .insert("tier".to_owned(), "db".to_owned());
        assert!(!selector.matches(&labels()));
    }
}
