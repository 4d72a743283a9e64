//! Label selectors.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::rules;

/// Selects objects by their labels; every requirement must hold, and without any all are selected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels that must be there with exactly this value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend(
        "maxProperties" = 64,
        "additionalProperties" = json!({"type": "string", "maxLength": 63, "pattern": rules::LABEL_VALUE})
    ))]
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub match_expressions: Vec<LabelSelectorRequirement>,
}

/// One requirement of a selector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = rules::requirement(), "required" = ["key", "operator"]))]
pub struct LabelSelectorRequirement {
    /// The label's key.
    #[serde(default)]
    #[schemars(length(min = 1, max = 317), regex(pattern = rules::LABEL_KEY))]
    pub key: Option<String>,
    /// What must hold of its value.
    #[serde(default)]
    pub operator: Option<LabelSelectorOperator>,
    /// The values for In and NotIn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 63), regex(pattern = rules::LABEL_VALUE)))]
    pub values: Vec<String>,
}

/// What a requirement asks of a label's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum LabelSelectorOperator {
    /// It is one of the values.
    In,
    /// It is absent, or none of the values.
    NotIn,
    /// It is there.
    Exists,
    /// It is absent.
    DoesNotExist,
}
