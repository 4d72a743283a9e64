//! ironlb: one binary, every command.
fn main() {}
