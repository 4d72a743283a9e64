//! A pool that is in error from the start, so that there is no earlier state of it, is known to be there.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use ironlb_config::{LegacyConfigMap, Lowered, ObjectKind, ObjectRef, Objects, Source, crd};
use ironlb_config::{Object, lower, read};
use ironlb_model::{Config, Labels};

fn lowered(text: &str, last_good: &Config) -> Lowered {
    let sources = [Source {
        name: "a.yaml".to_owned(),
        text: text.to_owned(),
    }];
    lower(&read(&sources).objects, last_good)
}

fn at_start(text: &str) -> Config {
    lowered(text, &Config::default()).config
}

fn pool(name: &str, addresses: &str) -> String {
    format!(
        "---\napiVersion: metallb.io/v1beta1\nkind: IPAddressPool\n\
         metadata: {{name: {name}, labels: {{tier: {name}}}}}\nspec: {{addresses: [{addresses}]}}\n"
    )
}

fn legacy(pools: &[(&str, &str)]) -> String {
    let pool = |(name, addresses): &(&str, &str)| {
        format!("- {{name: {name}, protocol: layer2, addresses: [{addresses}]}}\n")
    };
    "---\naddress-pools:\n".to_owned() + &pools.iter().map(pool).collect::<String>()
}

/// The names of the pools in error, with a question mark when there may be more.
fn in_error(config: &Config) -> Vec<&str> {
    let names = config.pools_in_error.labels.keys().map(AsRef::as_ref);
    let more = config.pools_in_error.may_be_more.then_some("?");
    names.chain(more).collect()
}

#[test]
fn its_name_and_labels_are_known() {
    let config = at_start(&(pool("a", "192.0.2.0/99") + &pool("b", "198.51.100.0/24")));
    assert_eq!(config.pools.len(), 1);
    assert_eq!(in_error(&config), ["a"]);
    let labels = Labels::from([("tier".to_owned(), "a".to_owned())]);
    assert_eq!(config.pools_in_error.labels["a"], labels);
}

#[test]
fn a_good_configuration_has_none() {
    for text in [
        include_str!("../../tests/config/valid/pools.yaml"),
        include_str!("../../tests/config/valid/configmap.yaml"),
        "",
    ] {
        assert_eq!(in_error(&at_start(text)), Vec::<&str>::new());
    }
}

#[test]
fn it_stays_in_error_until_it_is_mended_or_deleted() {
    let good = pool("b", "198.51.100.0/24");
    let first = at_start(&(pool("a", "wrong") + &good));
    let second = lowered(&(pool("a", "wrong as well") + &good), &first).config;
    assert_eq!(in_error(&second), ["a"]);
    let mended = lowered(&(pool("a", "192.0.2.0/24") + &good), &second).config;
    assert_eq!(in_error(&mended), Vec::<&str>::new());
    assert_eq!(mended.pools.len(), 2);
    let deleted = lowered(&good, &second).config;
    assert_eq!(in_error(&deleted), Vec::<&str>::new());
}

#[test]
fn one_that_was_good_before_goes_on_and_is_none_of_them() {
    let before = at_start(&pool("a", "192.0.2.0/24"));
    let after = lowered(&pool("a", "wrong"), &before).config;
    assert_eq!(after, before);
}

#[test]
fn the_loser_of_a_clash_is_one_of_them() {
    let config = at_start(&(pool("a", "192.0.2.0/24") + &pool("b", "192.0.2.128/25")));
    assert_eq!(in_error(&config), ["b"]);
}

#[test]
fn of_two_objects_with_one_name_the_loser_is_one_of_them_as_long_as_it_is_there() {
    let both = pool("a", "192.0.2.0/24") + &legacy(&[("a", "198.51.100.0/24")]);
    let first = at_start(&both);
    assert_eq!(first.pools["a"].ranges[0].to_string(), "192.0.2.0/24");
    assert_eq!(in_error(&first), ["a"]);
    assert_eq!(in_error(&lowered(&both, &first).config), ["a"]);
    let one = lowered(&pool("a", "192.0.2.0/24"), &first).config;
    assert_eq!(in_error(&one), Vec::<&str>::new());
}

#[test]
fn where_something_can_not_be_read_at_all_there_may_be_others() {
    let good = pool("b", "198.51.100.0/24");
    for broken in [
        "---\na: [b\n",
        "---\naddress-pools: {name: a}\n",
        "---\naddress-pools:\n- {protocol: layer2, addresses: [192.0.2.0/24]}\n",
        "---\npeers: []\npools: []\n",
        "---\napiVersion: metallb.io/v1beta1\nkind: IpAddressPool\nmetadata: {name: a}\n",
    ] {
        let config = at_start(&(good.clone() + broken));
        assert_eq!(in_error(&config), ["?"], "{broken}");
        let still = lowered(&(good.clone() + broken), &config).config;
        assert_eq!(in_error(&still), ["?"], "{broken}");
        let mended = lowered(&good, &still).config;
        assert_eq!(in_error(&mended), Vec::<&str>::new(), "{broken}");
    }
}

#[test]
fn what_can_not_be_read_but_was_before_hides_nothing() {
    let text = legacy(&[("a", "192.0.2.0/24")]);
    let before = at_start(&text);
    let after = lowered("---\naddress-pools: [\n", &before).config;
    assert_eq!(after, before);
}

#[test]
fn errors_elsewhere_hide_no_pool() {
    let good = legacy(&[("a", "192.0.2.0/24")]);
    let config = at_start(&(good + "peers: nobody\nbfd-profiles: 3\n"));
    assert_eq!(in_error(&config), Vec::<&str>::new());
    let config = at_start("---\naddress-pools:\n- {name: a, addresses: [192.0.2.0/24]}\n");
    assert_eq!(in_error(&config), Vec::<&str>::new());
    assert_eq!(config.pools.len(), 1);
}

#[test]
fn a_list_of_pools_that_is_none_removes_no_pool() {
    let before = at_start(&legacy(&[("a", "192.0.2.0/24")]));
    for broken in [
        "---\naddress-pools: 3\npeers: []\n",
        "---\naddress-pool: []\npeers: []\n",
    ] {
        assert_eq!(lowered(broken, &before).config, before, "{broken}");
    }
}

#[test]
fn one_that_is_not_even_a_pool_by_its_type_is_known_by_its_metadata() {
    let reference = ObjectRef {
        kind: ObjectKind::IPAddressPool,
        namespace: "metallb-system".to_owned(),
        name: "a".to_owned(),
    };
    let undecodable = |objects: &mut Objects| {
        let labels = Labels::from([("tier".to_owned(), "gold".to_owned())]);
        objects.apply_undecodable(reference.clone(), labels, "spec: not a map".to_owned());
    };
    let mut objects = Objects::default();
    undecodable(&mut objects);
    assert!(!objects.is_empty());
    let start = lower(&objects, &Config::default());
    assert_eq!(in_error(&start.config), ["a"]);
    assert_eq!(start.config.pools_in_error.labels["a"].len(), 1);
    assert_eq!(
        start.errors[0].to_string(),
        "kubernetes: IPAddressPool/a: spec: not a map"
    );

    let spec = crd::IPAddressPoolSpec {
        addresses: vec!["192.0.2.0/24".to_owned()],
        ..Default::default()
    };
    let mut pool = crd::IPAddressPool::new("a", spec);
    pool.metadata.namespace = Some("metallb-system".to_owned());
    objects.apply(Object::from(pool));
    let good = lower(&objects, &start.config);
    assert!(good.is_valid());
    assert_eq!(in_error(&good.config), Vec::<&str>::new());

    undecodable(&mut objects);
    let again = lower(&objects, &good.config);
    assert_eq!((again.errors.len(), again.config), (1, good.config));

    objects.delete(&reference);
    assert!(objects.is_empty() && lower(&objects, &start.config).is_valid());
}

#[test]
fn a_configmap_that_is_no_yaml_may_have_others() {
    let mut objects = Objects::default();
    objects.apply(LegacyConfigMap {
        namespace: "metallb-system".to_owned(),
        name: "config".to_owned(),
        text: "address-pools: [".to_owned(),
    });
    let config = lower(&objects, &Config::default()).config;
    assert_eq!(in_error(&config), ["?"]);
}
