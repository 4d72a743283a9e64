//! `ironlb demo` as its users run it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use ironlb_lab::needs_the_lab;
use serde_json::Value;

#[test]
fn every_step_of_the_demo_goes_well() {
    needs_the_lab!();
    let mut demo = Command::new(IRONLB);
    let router = every_step_goes_well(&mut demo);
    assert!(router.contains("FRRouting"), "{router}");
}

#[test]
fn where_frr_is_not_installed_the_router_is_the_built_in_engine_and_the_demo_says_so() {
    needs_the_lab!();
    let hide = "mount -t tmpfs none /usr/lib/frr && exec \"$0\" \"$@\"";
    let mut demo = Command::new("unshare");
    demo.args(["--mount", "sh", "-c", hide, IRONLB]);
    let router = every_step_goes_well(&mut demo);
    assert!(
        router.contains("zebra is needed and was not found"),
        "{router}"
    );
    assert!(router.contains("own engine as a passive peer"), "{router}");
}

#[test]
fn the_demo_needs_no_root_where_user_namespaces_are_allowed() {
    needs_the_lab!();
    let nobody = ["-u", "nobody", "--"];
    let may = Command::new("runuser")
        .args(nobody)
        .args(["unshare", "--user", "--net", "true"])
        .output()
        .unwrap();
    if !may.status.success() {
        ironlb_lab::skip("user namespaces are not allowed here");
        return;
    }
    // The checkout may be where nobody may look.
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = directory.path().join("ironlb");
    fs::copy(IRONLB, &program).unwrap();
    let mut demo = Command::new("runuser");
    demo.args(nobody).arg(program).current_dir("/");
    every_step_goes_well(&mut demo);
}

/// Runs the demo with the program that `command` ends with, and gives what it says of the router.
fn every_step_goes_well(command: &mut Command) -> String {
    let demo = command.args(["demo", "-o", "json"]).output().unwrap();
    let told = String::from_utf8_lossy(&demo.stdout);
    assert!(
        demo.status.success(),
        "{told}\n{}",
        String::from_utf8_lossy(&demo.stderr)
    );
    let document: Value = serde_json::from_str(&told).unwrap();
    let steps = document["steps"].as_array().unwrap();
    let names: Vec<&str> = steps
        .iter()
        .map(|step| step["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, STEPS);
    for step in steps {
        assert_eq!(step["ok"], true, "{step}");
        assert!(step["seconds"].as_f64().unwrap() < 15.0, "{step}");
        assert!(!step["detail"].as_str().unwrap().is_empty(), "{step}");
    }
    let router = steps.iter().find(|step| step["name"] == "router").unwrap();
    router["detail"].as_str().unwrap().to_owned()
}

const IRONLB: &str = env!("CARGO_BIN_EXE_ironlb");
const STEPS: [&str; 15] = [
    "network",
    "nodes",
    "address",
    "IPv4",
    "IPv6",
    "share",
    "failover",
    "IPv6 again",
    "repair",
    "router",
    "BGP",
    "ECMP",
    "drain",
    "return",
    "clean up",
];
