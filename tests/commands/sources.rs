//! Where `validate` and `plan` take manifests from, and what they make of what they find there.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use ironlb_lab::manifest::{file, l2_advertisement, pool, service};
use serde_json::Value;

use crate::run::{run, text};

fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

/// The exit status of `validate`, and all that it says.
fn validate(paths: &[&Path]) -> (Option<i32>, String) {
    let mut arguments = vec!["validate"];
    for path in paths {
        arguments.extend(["-f", path.to_str().unwrap()]);
    }
    let output = run(&arguments, "");
    (
        output.status.code(),
        text(&output.stdout) + &text(&output.stderr),
    )
}

const VALID: (Option<i32>, String) = (Some(0), String::new());

#[test]
fn a_service_in_two_files_is_an_error_that_names_both_for_validate_and_plan() {
    let files = directory(&[
        ("a.yaml", &service("web", "")),
        ("b.yaml", &service("web", "ports: [{port: 80}]")),
    ]);
    let (status, told) = validate(&[files.path()]);
    assert_eq!(status, Some(1));
    let place = |name: &str| files.path().join(name).display().to_string();
    let expected = format!(
        "{}:3:18: Service/web: metadata.name: \"default/web\" is there twice; Service/web ({}:3) is in force, and this \
         one is not\n",
        place("b.yaml"),
        place("a.yaml")
    );
    assert_eq!(told, expected);

    let path = files.path().to_str().unwrap();
    let output = run(&["plan", "-o", "json", "-f", path], "");
    assert_eq!(output.status.code(), Some(1));
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(plan["services"], serde_json::json!([]));
    assert_eq!(plan["errors"][0]["object"], "Service/web");
}

#[test]
fn a_file_that_is_named_twice_is_read_once() {
    let files = directory(&[("pool.yaml", &pool("first", "192.0.2.0/24"))]);
    let pool = files.path().join("pool.yaml");
    symlink(&pool, files.path().join("same.yaml")).unwrap();
    assert_eq!(validate(&[&pool, files.path(), &pool]), VALID);
}

#[test]
fn a_mounted_configmap_is_read_through_its_links_and_once() {
    let files = directory(&[]);
    let path = |name: &str| files.path().join(name);
    fs::create_dir(path("..2026_11_22")).unwrap();
    fs::write(path("..2026_11_22/pool.yaml"), "{").unwrap();
    symlink("..2026_11_22", path("..data")).unwrap();
    symlink("..data/pool.yaml", path("pool.yaml")).unwrap();
    let (status, told) = validate(&[files.path()]);
    assert_eq!((status, told.lines().count()), (Some(1), 1), "{told}");
    fs::write(path("..2026_11_22/pool.yaml"), pool("a", "192.0.2.0/24")).unwrap();
    assert_eq!(validate(&[files.path()]), VALID);
}

#[test]
fn a_pipe_in_a_directory_is_not_waited_for_and_one_that_is_named_is_read() {
    let files = directory(&[("pool.yaml", &pool("a", "192.0.2.0/24"))]);
    let pipe = files.path().join("pipe.yaml");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(validate(&[files.path()]), VALID);
    let writer = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::write(pipe, "{").unwrap()
    });
    let (status, told) = validate(&[&pipe]);
    writer.join().unwrap();
    assert_eq!(status, Some(1), "{told}");
}

#[test]
fn what_cannot_be_read_at_all_is_a_wrong_command() {
    let files = directory(&[("notes.txt", "a: [")]);
    let (status, told) = validate(&[files.path()]);
    assert_eq!(status, Some(2));
    assert!(told.ends_with("has no *.yaml, *.yml or *.json\n"), "{told}");
    symlink("nowhere", files.path().join("gone.yaml")).unwrap();
    assert_eq!(validate(&[files.path()]).0, Some(2));
    fs::remove_file(files.path().join("gone.yaml")).unwrap();
    fs::write(files.path().join("latin.yaml"), b"name: caf\xe9\n").unwrap();
    let (status, told) = validate(&[files.path()]);
    assert_eq!(status, Some(2));
    assert!(told.ends_with("not UTF-8 text after byte 9\n"), "{told}");
}

#[test]
fn the_ways_in_which_editors_and_tools_write_files_are_all_read() {
    let manifests = file(&[pool("first", "192.0.2.0/24"), l2_advertisement("all")]);
    let windows = manifests.replace('\n', "\r\n");
    let marked = format!("\u{feff}{manifests}");
    let anchored = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: &first {name: first}\n\
                    spec: {addresses: &all [192.0.2.0/24]}\n---\n\
                    apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {<<: *first, name: second}\n\
                    spec: {addresses: [198.51.100.0/24]}\n";
    let texts = [
        windows.as_str(),
        &marked,
        "",
        "---\n---\n# nothing\n---\n",
        "%YAML 1.2\n---\n{}\n...\n",
    ];
    for text in texts {
        let output = run(&["validate", "-f", "-"], text);
        let told = crate::run::text(&output.stderr);
        let is_empty_map = text.contains("{}");
        assert_eq!(
            output.status.code(),
            Some(i32::from(is_empty_map)),
            "{text:?}: {told}"
        );
    }
    // An anchor is known in its own document only.
    let output = run(&["validate", "-f", "-"], anchored);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).starts_with("-:8:"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn configuration_in_two_namespaces_is_read_and_warned_of() {
    let other = pool("second", "198.51.100.0/24").replace("metallb-system", "default");
    let manifests = file(&[pool("first", "192.0.2.0/24"), other]);
    let output = run(&["validate", "-f", "-"], &manifests);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        text(&output.stderr),
        "warning: there is configuration in the namespaces default, metallb-system; in a cluster, only that in ironlb's \
         own namespace counts\n"
    );
    let output = run(&["validate", "-o", "json", "-f", "-"], &manifests);
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let shown = |command: &str| {
        // Descriptor 4 is a pipe whose reader has ended.
        let script =
            format!("exec 4> >(true); wait $!; \"$0\" {command} >&4 2>&4; echo \"status $?\"");
        let output = Command::new("bash")
            .args(["-c", &script, env!("CARGO_BIN_EXE_ironlb")])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config"))
            .output()
            .unwrap();
        text(&output.stdout)
    };
    assert_eq!(shown("crds"), "status 0\n");
    assert_eq!(shown("plan -f valid/list.json -o json"), "status 0\n");
    assert_eq!(shown("validate -f malformed"), "status 1\n");
    assert_eq!(shown("validate -f malformed -o json"), "status 1\n");
}

#[test]
fn a_plan_without_a_service_says_so() {
    let output = run(&["plan", "-f", "-"], &pool("first", "192.0.2.0/24"));
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout), "");
    assert_eq!(
        text(&output.stderr),
        "no Services are among the manifests\n"
    );
}

#[test]
fn peers_that_meet_on_a_node_by_its_labels_are_found_by_validate_and_plan() {
    let peer = |name: &str, label: &str| {
        format!(
            "apiVersion: metallb.io/v1beta2\nkind: BGPPeer\nmetadata: {{name: {name}}}\n\
             spec: {{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, nodeSelectors: [{{matchLabels: {{{label}}}}}]}}\n"
        )
    };
    let node = ironlb_lab::manifest::node("n1", "rack: a, row: b");
    let manifests = file(&[peer("one", "rack: a"), peer("two", "row: b"), node]);
    for command in ["validate", "plan"] {
        let output = run(&[command, "-f", "-"], &manifests);
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command}: {told}");
        assert!(
            told.contains("BGPPeer/two") && told.contains("BGPPeer/one"),
            "{told}"
        );
    }
}
