//! Label selectors.

use std::collections::BTreeSet;

use ironlb_model::{LabelSelector, Operator, Requirement};

use super::number::quoted;
use crate::crd::{self, LabelSelectorOperator};
use crate::place::{At, Report};

/// The selectors of a list; two that are the same are an error.
pub(super) fn list(
    selectors: &[crd::LabelSelector],
    at: &At<'_>,
    report: &mut Report<'_>,
) -> Vec<LabelSelector> {
    let mut seen = std::collections::BTreeMap::new();
    let mut lowered = Vec::with_capacity(selectors.len());
    for (index, selector) in selectors.iter().enumerate() {
        let at = at.index(index);
        let selector = one(selector, &at, report);
        if let Some(first) = seen.insert(selector.clone(), index) {
            report.add(&at, format!("is the same as item {first}"));
        }
        lowered.push(selector);
    }
    lowered
}

/// One selector.
pub(super) fn one(
    selector: &crd::LabelSelector,
    at: &At<'_>,
    report: &mut Report<'_>,
) -> LabelSelector {
    let labels = at.key("matchLabels");
    for (name, value) in &selector.match_labels {
        key(name, &labels.key(name), report);
        label_value(value, &labels.key(name), report);
    }
    let expressions = at.key("matchExpressions");
    let requirements = selector.match_expressions.iter().enumerate();
    let mut match_expressions: Vec<_> = requirements
        .filter_map(|(index, expression)| {
            requirement(expression, &expressions.index(index), report)
        })
        .collect();
    match_expressions.sort();
    LabelSelector {
        match_labels: selector.match_labels.clone(),
        match_expressions,
    }
}

fn requirement(
    expression: &crd::LabelSelectorRequirement,
    at: &At<'_>,
    report: &mut Report<'_>,
) -> Option<Requirement> {
    match &expression.key {
        Some(name) => key(name, &at.key("key"), report),
        None => report.add(&at.key("key"), "is missing"),
    }
    let values = at.key("values");
    for (index, value) in expression.values.iter().enumerate() {
        label_value(value, &values.index(index), report);
    }
    let Some(operator) = expression.operator else {
        let allowed = "is missing; there are In, NotIn, Exists, DoesNotExist";
        report.add(&at.key("operator"), allowed);
        return None;
    };
    let needs_values = matches!(
        operator,
        LabelSelectorOperator::In | LabelSelectorOperator::NotIn
    );
    if needs_values && expression.values.is_empty() {
        report.add(
            &values,
            format!("is missing; {operator:?} needs at least one"),
        );
    }
    if !needs_values && !expression.values.is_empty() {
        report.add(&values, format!("must be empty with {operator:?}"));
    }
    let set = || expression.values.iter().cloned().collect::<BTreeSet<_>>();
    Some(Requirement {
        key: expression.key.clone()?,
        operator: match operator {
            LabelSelectorOperator::In => Operator::In(set()),
            LabelSelectorOperator::NotIn => Operator::NotIn(set()),
            LabelSelectorOperator::Exists => Operator::Exists,
            LabelSelectorOperator::DoesNotExist => Operator::DoesNotExist,
        },
    })
}

/// A label key: a name, with or without a DNS name and a slash before it.
fn key(text: &str, at: &At<'_>, report: &mut Report<'_>) {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    let prefix_is_wrong = prefix.is_some_and(|prefix| !is_domain(prefix));
    if name.is_empty() || !is_word(name) || prefix_is_wrong {
        report.add(at, format!("{} is no label key", quoted(text)));
    }
}

fn label_value(text: &str, at: &At<'_>, report: &mut Report<'_>) {
    if !text.is_empty() && !is_word(text) {
        report.add(
            at,
            format!(
                "{} is no label value; letters, digits, -, _ and . are allowed, 63 at most, \
                 and a letter or digit at both ends",
                quoted(text)
            ),
        );
    }
}

/// What may stand as a label's value or the name part of its key.
fn is_word(text: &str) -> bool {
    let end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    text.len() <= 63
        && end(text.chars().next())
        && end(text.chars().next_back())
        && text.chars().all(inner)
}

fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        is_word(label)
            && !label
                .chars()
                .any(|c| c.is_ascii_uppercase() || matches!(c, '_'))
    };
    text.len() <= 253 && text.split('.').all(label)
}
