//! What the operator wrote, made into what ironlb means: parse, validate, report.
#![forbid(unsafe_code)]

pub mod kinds;
