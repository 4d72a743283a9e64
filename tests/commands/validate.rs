//! `ironlb validate` and `ironlb crds` as operators and their pipelines call them.

use std::process::Output;

use crate::run::{run, text};

fn ironlb(arguments: &[&str]) -> Output {
    run(arguments, "")
}

#[test]
fn valid_files_give_zero_and_no_word() {
    let output = ironlb(&["validate", "-f", "valid/bgp.yaml", "-f", "valid/list.json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr) + &text(&output.stdout), "");
}

#[test]
fn what_is_wrong_is_on_one_line_each_when_piped() {
    let output = ironlb(&[
        "validate",
        "-f",
        "malformed/pool-address-without-length.yaml",
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "");
    assert_eq!(
        text(&output.stderr),
        "malformed/pool-address-without-length.yaml:10:5: IPAddressPool/one: spec.addresses[0]: \
         \"192.0.2.1\" has no length; a single address is 192.0.2.1/32\n"
    );
}

#[test]
fn machines_get_an_object_on_standard_output() {
    let output = ironlb(&[
        "validate",
        "-o",
        "json",
        "-f",
        "malformed/peer-port-zero.yaml",
    ]);
    assert_eq!(output.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let error = &json["errors"][0];
    assert_eq!(error["source"], "malformed/peer-port-zero.yaml");
    assert_eq!(error["object"], "BGPPeer/one");
    assert_eq!(error["field"], "spec.peerPort");
    assert!(error["line"].is_u64() && error["column"].is_u64());
    let valid = ironlb(&["validate", "-o", "json", "-f", "valid/bgp.yaml"]);
    assert_eq!(text(&valid.stdout), "{\"errors\":[]}\n");
}

#[test]
fn people_are_warned_of_what_is_probably_not_meant_and_it_is_valid() {
    let file = "doubtful/service-annotation-case.yaml";
    for command in ["validate", "plan"] {
        let output = ironlb(&[command, "-f", file]);
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(
            text(&output.stderr),
            "warning: doubtful/service-annotation-case.yaml:7:5: Service/web: \
             metadata.annotations.metallb.io/loadbalancerIPs: \"metallb.io/loadbalancerIPs\" is no annotation that means \
             anything; did you mean \"metallb.io/loadBalancerIPs\"?\n"
        );
        let output = ironlb(&[command, "-o", "json", "-f", file]);
        assert_eq!(text(&output.stderr), "");
    }
}

#[test]
fn a_directory_is_all_its_manifests() {
    let output = ironlb(&["validate", "-f", "malformed"]);
    assert_eq!(output.status.code(), Some(1));
    let errors = text(&output.stderr);
    assert!(errors.lines().count() >= 100);
    assert!(errors.lines().all(|line| line.starts_with("malformed/")));
}

#[test]
fn standard_input_is_a_file_called_minus_and_read_once() {
    for arguments in [&["-f", "-"][..], &["-f", "-", "-f", "-"]] {
        let output = run(&[&["validate"], arguments].concat(), "a: [b\n");
        assert_eq!(output.status.code(), Some(1));
        let told = text(&output.stderr);
        assert!(told.starts_with("-:1:4: not YAML"), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
}

#[test]
fn a_command_that_is_wrong_gives_two() {
    for arguments in [
        &["validate"][..],
        &["validate", "-f", "no-such-file.yaml"],
        &["validate", "-f", "valid/bgp.yaml", "-o", "xml"],
        &["validate", "--colour"],
    ] {
        let output = ironlb(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn the_definitions_that_are_printed_are_those_that_are_deployed() {
    let output = ironlb(&["crds"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        text(&output.stdout),
        include_str!("../../deploy/crds/crds.yaml")
    );
}
