//! Runs the binary, and waits for its end.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

/// What `ironlb ARGUMENTS` gives, in tests/config, with `input` on its standard input.
pub(crate) fn run(arguments: &[&str], input: &str) -> Output {
    let mut process = Command::new(env!("CARGO_BIN_EXE_ironlb"))
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = process.stdin.take().unwrap();
    // It may have ended already, over its arguments.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    process.wait_with_output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
