//! What the operator wrote, made into what ironlb means: parse, validate, report.
//!
//! Three sources, one model: the legacy ConfigMap, the custom resources of group `metallb.io`, and files with
//! either. Text becomes a tree with places ([`read`]), API objects come typed ([`crd`]); both are [`Objects`], and
//! [`lower`] makes the model's `Config` of them, collecting every error with its source, line, column, object and
//! field. It never panics and never stops at the first error.
//!
//! It does not open files or talk to Kubernetes (the commands and `ironlb-watch` do), and it decides nothing about
//! Services. Start with [`lower`] and, for text, with [`read`].
#![forbid(unsafe_code)]

pub mod crd;
pub mod kinds;
pub mod report;

mod configmap;
mod decode;
mod doubts;
mod error;
mod lower;
mod manifest;
mod objects;
mod path;
mod place;
mod resource;
mod source;
mod suggest;
mod text;
mod tree;

pub use error::Error;
pub use lower::{Lowered, Surroundings, lower, lower_for};
pub use manifest::{Contents, Manifest, ManifestKey, Subject};
pub use objects::{LegacyConfigMap, Object, ObjectKind, ObjectRef, Objects};
pub use source::{Manifests, Source, contents, read};

use ironlb_model::Config;

/// What `sources` say, and the configuration that it makes. The errors of both are those of the latter: everything that is
/// wrong, in order of source and place. In the same order are the doubts, all of which the former has.
pub fn judge(sources: &[Source]) -> (Manifests, Lowered) {
    let mut manifests = read(sources);
    let mut doubts = doubts::of_objects(&manifests.objects);
    manifests.doubts.append(&mut doubts);
    let around = Surroundings {
        nodes: &manifests.nodes,
        without_secrets: false,
    };
    let mut lowered = lower_for(&manifests.objects, &Config::default(), around);
    let order = |error: &Error| {
        sources
            .iter()
            .position(|source| source.name == error.source)
    };
    lowered.errors.append(&mut manifests.errors);
    for list in [&mut lowered.errors, &mut manifests.doubts] {
        list.sort_by_cached_key(|error| (order(error), error.clone()));
    }
    (manifests, lowered)
}

/// Everything that is wrong with `sources`, in order of source and place.
pub fn validate(sources: &[Source]) -> Vec<Error> {
    judge(sources).1.errors
}
