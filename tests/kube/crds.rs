//! The API server refuses and accepts what `ironlb validate` does, from the same files.

use std::path::PathBuf;

use ironlb_lab::needs_the_lab;

use crate::product::shared;

/// The files of tests/config/malformed whose second line says that the API server `answers` so.
fn files(answer: &str) -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config/malformed");
    let line = format!("# api: {answer}");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            text.lines().nth(1) == Some(&line)
        })
        .collect();
    files.sort();
    files
}

/// Creates nothing, but asks what would become of it. kubectl's own checks are left out.
fn create(files: &[PathBuf]) -> Result<String, String> {
    let mut arguments = vec!["create", "--dry-run=server", "--validate=false"];
    for file in files {
        arguments.extend(["-f", file.to_str().unwrap()]);
    }
    let kubectl = shared().cluster.kubectl(&arguments);
    kubectl.map_err(|error| error.to_string())
}

#[test]
fn the_api_server_refuses_what_one_object_alone_does_wrong() {
    needs_the_lab!();
    let files = files("refuses");
    assert!(files.len() >= 100, "only {}", files.len());
    let refusals = create(&files).unwrap_err();
    for file in files {
        let name = file.display().to_string();
        assert!(refusals.contains(&name), "{name} is accepted");
    }
    for reason in [
        "(NotFound)",
        "(AlreadyExists)",
        "(Forbidden)",
        "no matches for kind",
    ] {
        assert!(!refusals.contains(reason), "{refusals}");
    }
}

#[test]
fn the_api_server_accepts_what_only_the_whole_shows_to_be_wrong() {
    needs_the_lab!();
    let files = files("accepts");
    assert!(!files.is_empty());
    create(&files).unwrap();
}

#[test]
fn the_api_server_accepts_what_is_valid() {
    needs_the_lab!();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config/valid");
    let files = ["layer2.yaml", "bgp.yaml"].map(|name| PathBuf::from(folder).join(name));
    create(&files).unwrap();
}

#[test]
fn graceful_restart_of_a_peer_cannot_be_changed() {
    needs_the_lab!();
    let product = shared();
    let api = product.cluster.api();
    let peer = |graceful: bool, port: u16| {
        format!(
            "apiVersion: metallb.io/v1beta2\nkind: BGPPeer\nmetadata: {{name: immutable, namespace: default}}\n\
             spec: {{myASN: 64512, peerASN: 64513, peerAddress: 192.0.2.1, peerPort: {port}, \
             enableGracefulRestart: {graceful}}}\n"
        )
    };
    api.apply(&peer(true, 179)).unwrap();
    let change = api.apply(&peer(false, 179)).unwrap_err().to_string();
    assert!(
        change.contains("enableGracefulRestart cannot be changed"),
        "{change}"
    );
    api.apply(&peer(true, 1179)).unwrap();
    api.delete("metallb.io/v1beta2/BGPPeer", "default", "immutable")
        .unwrap();
}

/// What docs/migrating-from-metallb.md does to the definition of BGPPeers.
const WITHOUT_CONVERSION: &str = r#"[{"op":"remove","path":"/spec/conversion"}]"#;

#[test]
fn peers_under_a_definition_of_metallb_are_read_again_once_its_webhook_is_taken_out() {
    needs_the_lab!();
    let document = include_str!("../../docs/migrating-from-metallb.md");
    assert!(document.contains(WITHOUT_CONVERSION));
    let cluster = &shared().cluster;
    let definitions = include_str!("../../deploy/crds/crds.yaml").split("---\n");
    let mut peers = definitions.filter(|one| one.contains("name: bgppeers.metallb.io"));
    // In a group of its own, so that it is in nobody's way.
    let ours = peers
        .next()
        .unwrap()
        .replace("metallb.io", "migrating.example");
    let webhook = "  conversion:\n    strategy: Webhook\n    webhook:\n      conversionReviewVersions: [v1]\n      \
                   clientConfig: {service: {name: gone, namespace: default, path: /convert}}\n  versions:\n";
    let theirs = ours.replacen("  versions:\n", webhook, 1);
    let file = cluster.lab().directory().join("migrating.yaml");
    let name = "bgppeers.migrating.example";
    let strategy = || {
        let path = "jsonpath={.spec.conversion.strategy}";
        cluster.kubectl(&["get", "crd", name, "-o", path]).unwrap()
    };
    // As Helm does it, which leaves no note of what it applied.
    std::fs::write(&file, theirs).unwrap();
    let file_name = file.to_str().unwrap();
    cluster.kubectl(&["create", "-f", file_name]).unwrap();
    assert_eq!(strategy(), "Webhook");
    let patch = [
        "patch",
        "crd",
        name,
        "--type=json",
        "-p",
        WITHOUT_CONVERSION,
    ];
    cluster.kubectl(&patch).unwrap();
    assert_eq!(strategy(), "None");
    std::fs::write(&file, ours).unwrap();
    cluster.kubectl(&["apply", "-f", file_name]).unwrap();
    assert_eq!(strategy(), "None");
    cluster.kubectl(&["delete", "crd", name]).unwrap();
}

#[test]
fn a_peer_written_under_the_older_version_is_read_under_the_newer() {
    needs_the_lab!();
    let product = shared();
    let api = product.cluster.api();
    let peer = "apiVersion: metallb.io/v1beta1\nkind: BGPPeer\nmetadata: {name: older, namespace: default}\n\
                spec: {myASN: 64512, peerASN: 64513, peerAddress: 192.0.2.1, vrf: red}\n";
    api.apply(peer).unwrap();
    let kind = "metallb.io/v1beta2/BGPPeer";
    let read = api.get(kind, "default", "older").unwrap().unwrap();
    assert_eq!(read["spec"]["vrf"], "red");
    assert_eq!(read["spec"]["peerPort"], 179);
    api.delete(kind, "default", "older").unwrap();
}
