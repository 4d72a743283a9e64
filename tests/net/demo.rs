//! `ironlb demo` as its users run it.

use std::process::Command;

use ironlb_lab::needs_the_lab;
use serde_json::Value;

#[test]
fn every_step_of_the_demo_goes_well_and_nothing_is_left() {
    needs_the_lab!();
    let demo = Command::new(env!("CARGO_BIN_EXE_ironlb"))
        .args(["demo", "-o", "json"])
        .output()
        .unwrap();
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
    assert_eq!(
        names,
        [
            "network",
            "nodes",
            "address",
            "IPv4",
            "IPv6",
            "share",
            "failover",
            "IPv6 again",
            "clean up"
        ]
    );
    for step in steps {
        assert_eq!(step["ok"], true, "{step}");
        assert!(step["seconds"].as_f64().unwrap() < 15.0, "{step}");
        assert!(!step["detail"].as_str().unwrap().is_empty(), "{step}");
    }
}
