//! How the product reads what it follows.

use std::collections::BTreeMap;

use ironlb_lab::needs_the_lab;

use crate::product::{Tenant, alone};

#[test]
fn each_kind_is_read_once_by_a_streaming_list_or_by_pages_and_watched_with_bookmarks() {
    needs_the_lab!();
    let product = alone();
    let tenant = Tenant::new(&product, "watches", 27);
    tenant.pod("n1", "web", "a");
    tenant.service("web", &serde_json::json!({}));
    tenant.wait_for_address("web", tenant.v4(0));
    tenant.wait_until_served(tenant.v4(0));
    product.speaker("n1").kill().unwrap();
    let before = product.proxy.reads().len();
    product.start_speaker("n1");
    product.wait_until_ready();
    let reads = product.proxy.reads().split_off(before);

    // By collection: how often a streaming list was asked for, and then how often it was listed.
    let mut begun = BTreeMap::<&str, (usize, usize)>::new();
    for read in &reads {
        let (path, query) = read.split_once('?').unwrap();
        let is_watch = query.contains("watch=true");
        if is_watch {
            assert!(query.contains("allowWatchBookmarks=true"), "{read}");
        } else {
            assert!(query.contains("limit="), "{read}");
        }
        let (streams, lists) = begun.entry(path).or_default();
        if query.contains("sendInitialEvents=true") {
            *streams += 1;
        } else if !is_watch && !query.contains("continue=") {
            *lists += 1;
        }
    }
    // What the node itself left behind in an earlier life is looked at, not followed.
    begun.retain(|path, _| !path.ends_with("statuses"));
    for kind in [
        "services",
        "endpointslices",
        "nodes",
        "secrets",
        "configmaps",
        "ipaddresspools",
        "l2advertisements",
        "bgpadvertisements",
        "bgppeers",
        "bfdprofiles",
        "communities",
    ] {
        let (path, (streams, lists)) = begun
            .iter()
            .find(|(path, _)| path.ends_with(kind))
            .unwrap_or_else(|| panic!("{kind} are not read: {reads:#?}"));
        assert_eq!(*streams, 1, "{path}: {reads:#?}");
        // An API server whose etcd cannot say how far it is serves no streaming lists.
        assert!(*lists <= 1, "{path}: {reads:#?}");
    }
    assert_eq!(begun.len(), 11, "{begun:#?}");
}
