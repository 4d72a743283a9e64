//! Tests that prove nothing where they run.

use std::fmt::Display;
use std::io::{self, Write};
use std::sync::Once;

/// Says which test is left out here, and why.
pub fn skip(why: impl Display) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    say(&format!("{test}: {why}"));
}

/// Says, once, that the tests of this program want root and the programs that `./test` installs.
pub fn skip_without_lab() {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        say("tests that need root; run them with `./test lab kube`, or with IRONLB_LAB=1");
    });
}

/// Not by `eprintln!`: what that prints is not shown of a test that passes.
fn say(what: &str) {
    // Who cannot be told is not told.
    let _ = io::stderr().write_all(format!("skipped: {what}\n").as_bytes());
}
