//! The table for people.

use std::fmt::Write;
use std::process::Command;
use std::{env, fs};

use super::{MATRIX, Row, record};

#[test]
fn the_documented_table_is_that_of_the_tests() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/interoperability.md");
    let document = fs::read_to_string(path).unwrap();
    let (before, rest) = document.split_once(BEGIN).unwrap();
    let (table, after) = rest.split_once(END).unwrap();
    if env::var_os("IRONLB_INTEROP_TABLE").is_some() {
        let new = format!("{before}{BEGIN}{}\n{}{END}{after}", versions(), rows(true));
        fs::write(path, new).unwrap();
    } else {
        assert!(
            table.ends_with(&rows(false)),
            "{path} has another table than the tests: see there how it is made"
        );
    }
}

/// The packages that the run was with.
fn versions() -> String {
    let mut command = Command::new("dpkg-query");
    command.args(["-W", "-f", "${Package} ${Version}\n"]);
    let output = command
        .args(ROUTERS.map(|(_, _, package)| package))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let all: Vec<&str> = text.lines().collect();
    format!("\nDebian packages: {}.\n", all.join(", "))
}

fn rows(from_run: bool) -> String {
    let names = ROUTERS.map(|(_, name, _)| name).join(" | ");
    let line = "---|".repeat(ROUTERS.len());
    let mut text = format!("| | session | {names} |\n|---|---|{line}\n");
    for row in MATRIX {
        let cells = ROUTERS.map(|(id, _, _)| cell(row, id, from_run));
        writeln!(
            text,
            "| {} | {} | {} |",
            row.name.replace('_', " "),
            row.session.replace('_', " ").replace("ipv", "IPv"),
            cells.join(" | ")
        )
        .unwrap();
    }
    text
}

fn cell(row: &Row, router: &str, from_run: bool) -> &'static str {
    if row.proved.contains(&router) {
        let passed = !from_run || record(row.name, row.session, router).exists();
        assert!(
            passed,
            "{} was not proved with {router} by the last run",
            row.name
        );
        return "yes";
    }
    let lacking = row.lacking.iter().find(|(other, _)| *other == router);
    lacking.expect("a reason").1
}

const BEGIN: &str = "<!-- table -->\n";
const END: &str = "<!-- end of table -->\n";
const ROUTERS: [(&str, &str, &str); 5] = [
    ("FRR", "FRR", "frr"),
    ("BIRD", "BIRD 2", "bird2"),
    ("GOBGP", "GoBGP", "gobgpd"),
    ("OPENBGPD", "OpenBGPD", "openbgpd"),
    ("EXABGP", "ExaBGP", "exabgp"),
];
