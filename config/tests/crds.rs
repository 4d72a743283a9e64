//! The CustomResourceDefinitions are generated, checked in, and of a form that the API server takes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::PathBuf;

use ironlb_config::crd;

fn checked_in() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/crds/crds.yaml")
}

/// `IRONLB_UPDATE=1 cargo test -p ironlb-config --test crds` writes the file anew.
#[test]
fn the_file_that_is_deployed_is_what_the_types_say() {
    let generated = crd::yaml().unwrap();
    if std::env::var_os("IRONLB_UPDATE").is_some() {
        std::fs::write(checked_in(), &generated).unwrap();
    }
    let deployed = std::fs::read_to_string(checked_in()).unwrap();
    assert!(
        deployed == generated,
        "deploy/crds/crds.yaml is out of date: run IRONLB_UPDATE=1 cargo test -p ironlb-config --test crds"
    );
}

#[test]
fn every_kind_has_one_version_that_is_stored() {
    for definition in crd::all().unwrap() {
        let stored = definition
            .spec
            .versions
            .iter()
            .filter(|version| version.storage);
        assert_eq!(stored.count(), 1, "{:?}", definition.metadata.name);
    }
}

#[test]
fn peers_are_served_under_both_versions_with_one_schema() {
    let all = crd::all().unwrap();
    let name = Some("bgppeers.metallb.io".to_owned());
    let peers = all
        .iter()
        .find(|definition| definition.metadata.name == name)
        .unwrap();
    let versions: Vec<_> = peers
        .spec
        .versions
        .iter()
        .map(|version| version.name.as_str())
        .collect();
    assert_eq!(versions, ["v1beta1", "v1beta2"]);
    assert_eq!(peers.spec.versions[0].schema, peers.spec.versions[1].schema);
}
