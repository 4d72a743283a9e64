//! What a standalone process shows to dashboards and to whoever watches over it.

use ironlb_lab::{eventually, needs_the_lab};

use super::site::{LIMIT, Site, socket};

/// The value of the metric of this name and labels.
pub(crate) fn value(text: &str, metric: &str) -> Option<f64> {
    let mut lines = text.lines();
    lines.find_map(|line| line.strip_prefix(metric)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn metrics_count_by_address_and_tell_of_pools_and_of_errors() {
    needs_the_lab!();
    let site = Site::new("standalone-metrics", 1);
    site.service("web", &[1], "");
    let _running = site.start_with(1, &["--metrics", "127.0.0.1:7472"]);
    let server = socket("127.0.0.1", 7472);
    let get = |path: &str| site.nodes[0].http_get(server, path).unwrap();
    let becomes = |metric: &str, wanted: f64| {
        eventually(&format!("{metric} {wanted}"), LIMIT, || {
            value(&get("/metrics"), metric) == Some(wanted)
        })
        .unwrap();
    };
    let address = site.addresses("web")[0];
    site.reach(address);
    // It was told of the address already; now it asks.
    site.client.forget_neighbour(address).unwrap();
    assert!(site.client.who_has(address).unwrap().is_some());
    eventually("it is ready", LIMIT, || get("/readyz") == "ok\n").unwrap();
    assert_eq!(get("/healthz"), "ok\n");

    let labels = format!("{{ip=\"{address}\"}}");
    let text = get("/metrics");
    for counter in ["requests_received", "responses_sent", "gratuitous_sent"] {
        let counted = value(&text, &format!("metallb_layer2_{counter}{labels}"));
        assert!(
            counted.is_some_and(|count| count >= 1.0),
            "{counter}: {text}"
        );
    }
    let announced = format!(
        "metallb_speaker_announced{{service=\"default/web\",protocol=\"layer2\",node=\"n1\",ip=\"{address}\"}}"
    );
    assert_eq!(value(&text, &announced), Some(1.0), "{text}");
    becomes(
        "metallb_allocator_ipv4_addresses_in_use_total{pool=\"first\"}",
        1.0,
    );
    becomes(
        "metallb_allocator_ipv4_addresses_total{pool=\"first\"}",
        4.0,
    );
    becomes("metallb_k8s_client_config_loaded_bool", 1.0);
    becomes("metallb_k8s_client_config_stale_bool", 0.0);

    site.write("web.yaml", "{");
    becomes("metallb_k8s_client_config_stale_bool", 1.0);
    site.remove("web.yaml");
    becomes("metallb_k8s_client_config_stale_bool", 0.0);
    becomes(
        "metallb_allocator_ipv4_addresses_in_use_total{pool=\"first\"}",
        0.0,
    );
    assert!(!get("/metrics").contains(&labels));
}

#[test]
fn nobody_is_told_anything_unless_it_is_asked_for() {
    needs_the_lab!();
    let site = Site::new("standalone-silent", 1);
    let _running = site.start(1);
    let error = site.nodes[0].tcp_connect(socket("127.0.0.1", 7472));
    assert!(error.unwrap_err().to_string().contains("refused"));
}
