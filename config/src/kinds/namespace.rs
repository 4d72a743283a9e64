//! Namespace.

use ironlb_model as model;
use kube::core::ObjectMeta;
use serde::{Deserialize, Serialize};

use super::resource::resource;

/// A Namespace: its labels.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Namespace {
    /// `metadata`.
    #[serde(default)]
    pub metadata: ObjectMeta,
}

resource!(
    Namespace,
    "Namespace",
    "",
    "v1",
    "namespaces",
    kube::core::ClusterResourceScope
);

impl Namespace {
    /// What decides.
    pub fn to_model(&self) -> model::Namespace {
        model::Namespace {
            name: self.metadata.name.as_deref().unwrap_or_default().into(),
            labels: self.metadata.labels.clone().unwrap_or_default(),
        }
    }
}
