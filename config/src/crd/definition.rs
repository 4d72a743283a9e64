//! The CustomResourceDefinitions.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

/// Every CustomResourceDefinition, in the order in which they are documented.
pub fn all() -> Vec<CustomResourceDefinition> {
    Vec::new()
}
