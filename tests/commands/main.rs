//! The commands that end by themselves, as people and pipelines call them: the real binary, its output and its exit status.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

mod documents;
mod plan;
mod run;
mod sources;
mod validate;
