//! What is in error keeps its last good state, and nothing else suffers.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use ironlb_config::{Lowered, Manifests, Source, crd, lower, read};
use ironlb_model::Config;

fn manifests(text: &str) -> Manifests {
    read(&[Source {
        name: "a.yaml".to_owned(),
        text: text.to_owned(),
    }])
}

fn lowered(text: &str, last_good: &Config) -> Lowered {
    lower(&manifests(text).objects, last_good)
}

fn good(text: &str) -> Config {
    let Lowered { config, errors } = lowered(text, &Config::default());
    assert!(errors.is_empty(), "{errors:?}");
    config
}

fn pool(name: &str, addresses: &str) -> String {
    format!(
        "---\napiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {{name: {name}}}\n\
         spec: {{addresses: [{addresses}]}}\n"
    )
}

fn peer(name: &str, profile: &str) -> String {
    format!(
        "---\napiVersion: metallb.io/v1beta2\nkind: BGPPeer\nmetadata: {{name: {name}}}\n\
         spec: {{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, bfdProfile: {profile}}}\n"
    )
}

fn profile(name: &str, multiplier: u8) -> String {
    format!(
        "---\napiVersion: metallb.io/v1beta1\nkind: BFDProfile\nmetadata: {{name: {name}}}\n\
         spec: {{detectMultiplier: {multiplier}}}\n"
    )
}

fn ranges(config: &Config, name: &str) -> Vec<String> {
    let pool = config.pools.get(name);
    pool.map_or_else(Vec::new, |pool| {
        pool.ranges.iter().map(ToString::to_string).collect()
    })
}

#[test]
fn a_pool_in_error_keeps_its_state_and_the_others_change() {
    let before = good(&(pool("a", "192.0.2.0/24") + &pool("b", "198.51.100.0/24")));
    let after = lowered(
        &(pool("a", "192.0.2.0/99") + &pool("b", "203.0.113.0/24")),
        &before,
    );
    assert_eq!(after.errors.len(), 1);
    assert_eq!(ranges(&after.config, "a"), ["192.0.2.0/24"]);
    assert_eq!(ranges(&after.config, "b"), ["203.0.113.0/24"]);
}

#[test]
fn a_pool_in_error_that_was_never_good_is_left_out() {
    let after = lowered(
        &(pool("a", "nonsense") + &pool("b", "192.0.2.0/24")),
        &Config::default(),
    );
    assert_eq!(after.config.pools.len(), 1);
}

#[test]
fn a_pool_that_is_removed_is_gone() {
    let before = good(&(pool("a", "192.0.2.0/24") + &pool("b", "198.51.100.0/24")));
    let after = lowered(&pool("b", "198.51.100.0/24"), &before);
    assert!(after.is_valid());
    assert_eq!(after.config.pools.len(), 1);
}

#[test]
fn nothing_is_removed_while_something_cannot_be_read() {
    let before = good(&(pool("a", "192.0.2.0/24") + &pool("b", "198.51.100.0/24")));
    let after = lowered(&(pool("b", "203.0.113.0/24") + "---\na: [b\n"), &before);
    assert_eq!(ranges(&after.config, "a"), ["192.0.2.0/24"]);
    assert_eq!(ranges(&after.config, "b"), ["203.0.113.0/24"]);
}

#[test]
fn of_two_pools_that_clash_the_one_that_was_there_wins() {
    let before = good(&pool("z", "192.0.2.0/24"));
    let after = lowered(
        &(pool("a", "192.0.2.128/25") + &pool("z", "192.0.2.0/24")),
        &before,
    );
    assert_eq!(after.config.pools, before.pools);
    assert!(
        after.errors[0].object == "IPAddressPool/a",
        "{:?}",
        after.errors
    );
}

#[test]
fn two_pools_may_swap_their_addresses_at_once() {
    let before = good(&(pool("a", "192.0.2.0/24") + &pool("b", "198.51.100.0/24")));
    let after = lowered(
        &(pool("a", "198.51.100.0/24") + &pool("b", "192.0.2.0/24")),
        &before,
    );
    assert!(after.is_valid(), "{:?}", after.errors);
    assert_eq!(ranges(&after.config, "a"), ["198.51.100.0/24"]);
}

#[test]
fn addresses_of_a_pool_in_error_are_not_given_to_another() {
    let before = good(&(pool("a", "192.0.2.0/24") + &pool("b", "198.51.100.0/24")));
    // a was to move away, wrongly; b was to take its place.
    let after = lowered(
        &(pool("a", "203.0.113.0/99") + &pool("b", "192.0.2.0/24")),
        &before,
    );
    assert_eq!(after.config, before);
    assert_eq!(after.errors.len(), 2);
}

#[test]
fn the_loser_of_a_clash_gets_back_what_another_was_to_take() {
    let before = good(
        &(pool("a", "192.0.2.0/24") + &pool("b", "198.51.100.0/24") + &pool("c", "203.0.113.0/24")),
    );
    // a wins against b, so b stays, so c cannot move there.
    let after = lowered(
        &(pool("a", "10.0.0.0/24") + &pool("b", "10.0.0.0/25") + &pool("c", "198.51.100.0/25")),
        &before,
    );
    assert_eq!(ranges(&after.config, "a"), ["10.0.0.0/24"]);
    assert_eq!(ranges(&after.config, "b"), ["198.51.100.0/24"]);
    assert_eq!(ranges(&after.config, "c"), ["203.0.113.0/24"]);
}

#[test]
fn a_profile_in_error_leaves_its_peers_alone() {
    let before = good(&(profile("fast", 3) + &peer("tor", "fast")));
    let after = lowered(&(profile("fast", 1) + &peer("tor", "fast")), &before);
    assert_eq!(after.config, before);
    assert_eq!(after.errors.len(), 1);
}

#[test]
fn a_profile_that_a_peer_still_uses_is_kept_when_it_is_removed() {
    let before = good(&(profile("fast", 3) + &peer("tor", "fast")));
    let after = lowered(&peer("tor", "fast"), &before);
    assert_eq!(after.config, before);
    assert!(after.errors[0].message.contains("there is no BFDProfile"));
}

#[test]
fn a_part_of_the_configmap_in_error_leaves_the_rest_of_it_alone() {
    let legacy = |first: &str, second: &str| {
        format!(
            "address-pools:\n- {{name: a, protocol: layer2, addresses: [{first}]}}\n\
             - {{name: b, protocol: layer2, addresses: [{second}]}}\n"
        )
    };
    let before = good(&legacy("192.0.2.0/24", "198.51.100.0/24"));
    let after = lowered(&legacy("wrong", "203.0.113.0/24"), &before);
    assert_eq!(ranges(&after.config, "a"), ["192.0.2.0/24"]);
    assert_eq!(ranges(&after.config, "b"), ["203.0.113.0/24"]);
    assert_eq!(after.config.l2_advertisements, before.l2_advertisements);
}

#[test]
fn a_protocol_in_error_withdraws_nothing() {
    let legacy = |protocol: &str| {
        format!(
            "address-pools:\n- {{name: a, protocol: {protocol}, addresses: [192.0.2.0/24]}}\n\
             - {{name: b, protocol: layer2, addresses: [198.51.100.0/24]}}\n"
        )
    };
    let before = good(&legacy("layer2"));
    assert_eq!(lowered(&legacy("layer3"), &before).config, before);
}

#[test]
fn objects_of_the_api_come_and_go() {
    let mut objects = ironlb_config::Objects::default();
    let spec = crd::IPAddressPoolSpec {
        addresses: vec!["192.0.2.0/24".to_owned()],
        ..Default::default()
    };
    let object = ironlb_config::Object::from(crd::IPAddressPool::new("a", spec));
    let reference = object.reference();
    objects.apply(object);
    objects.apply(ironlb_config::LegacyConfigMap {
        namespace: "metallb-system".to_owned(),
        name: "config".to_owned(),
        text: "address-pools:\n- {name: b, protocol: layer2, addresses: [192.0.2.128/25]}\n"
            .to_owned(),
    });
    let both = lower(&objects, &Config::default());
    assert_eq!(
        both.errors[0].to_string(),
        "metallb-system/config:2:43: ConfigMap/config: address-pools[0].addresses[0]: \
         192.0.2.128/25 overlaps 192.0.2.0/24 of IPAddressPool/a (kubernetes)"
    );
    objects.delete(&reference);
    let one = lower(&objects, &both.config);
    assert!(one.is_valid());
    assert_eq!(
        one.config
            .pools
            .keys()
            .map(AsRef::as_ref)
            .collect::<Vec<&str>>(),
        ["b"]
    );
}

#[test]
fn a_configuration_lowers_to_itself() {
    for text in [
        include_str!("../../tests/config/valid/pools.yaml"),
        include_str!("../../tests/config/valid/bgp.yaml"),
        include_str!("../../tests/config/valid/layer2.yaml"),
        include_str!("../../tests/config/valid/configmap.yaml"),
    ] {
        let before = good(text);
        assert_eq!(lowered(text, &before).config, before);
    }
}
