//! ServiceL2Statuses say what is announced now: each has an end.

use std::time::Duration;

use ironlb_lab::cluster::Node;
use ironlb_lab::{Host, Link, Process, eventually_ok, holds_for, needs_the_lab};
use serde_json::{Value, json};

use crate::events::state;
use crate::product::{Alone, NAMESPACE, PATIENCE, Tenant, alone};

#[test]
fn the_statuses_of_a_node_that_is_gone_go_with_it() {
    needs_the_lab!();
    let product = alone();
    let tenant = Tenant::new(&product, "node-gone", 27);
    let guest = Guest::new(&product, &tenant, "n8", 18);
    let first = guest.register();
    guest.start();
    tenant.pod("n1", "web", "a");
    tenant.service("web", &json!({}));
    tenant.wait_for_address("web", tenant.v4(0));
    let status = wait_for_status(&tenant, "web", "n8");
    assert_eq!(owners(&status), [json!(first)]);
    assert_eq!(owners(&state(&product, "speaker-n8")), [json!(first)]);
    let shown = product
        .cluster
        .kubectl(&["get", "servicel2statuses", "-n", NAMESPACE])
        .unwrap();
    assert!(shown.contains("n8") && shown.contains("web"), "{shown}");

    // It registers anew while its speaker runs: the same name, another node. The garbage collector deletes what the first
    // one owned, and the speaker writes it again.
    guest.unregister();
    let second = guest.register();
    eventually_ok("the new node owns the status", LONG, || {
        let found = statuses(&tenant, "web");
        match &found[..] {
            [status] if owners(status) == [json!(second)] => Ok(()),
            others => Err(format!("{others:#?}")),
        }
    })
    .unwrap();
    holds_for("and goes on to", Duration::from_secs(2), || {
        statuses(&tenant, "web").len() == 1
    })
    .unwrap();

    // It is gone for good, without a word.
    guest.kill();
    guest.unregister();
    wait_for_no_status(&tenant, "web");
    eventually_ok("its ConfigurationState is gone", LONG, || {
        match state(&product, "speaker-n8") {
            Value::Null => Ok(()),
            state => Err(format!("{state:#?}")),
        }
    })
    .unwrap();
}

#[test]
fn the_statuses_of_a_service_that_is_gone_go_without_its_speaker() {
    needs_the_lab!();
    let product = alone();
    let tenant = Tenant::new(&product, "gone", 27);
    let guest = Guest::new(&product, &tenant, "n9", 19);
    guest.register();
    guest.start();
    tenant.pod("n1", "web", "a");
    for name in ["web", "other"] {
        tenant.service(name, &json!({ "selector": { "app": "web" } }));
        tenant.wait_for_addresses(name, 1);
        wait_for_status(&tenant, name, "n9");
    }
    // The leading controller has to: the speaker is dead, and its node is there.
    guest.kill();
    tenant.delete_service("web");
    wait_for_no_status(&tenant, "web");
    assert_eq!(statuses(&tenant, "other").len(), 1);

    // One that did not see the Service go finds the status when it begins.
    product.kill_controller();
    tenant.delete_service("other");
    product.start_controller();
    wait_for_no_status(&tenant, "other");
}

#[test]
fn a_speaker_that_stops_takes_its_statuses_along() {
    needs_the_lab!();
    let product = alone();
    let tenant = Tenant::new(&product, "stops", 27);
    let guest = Guest::new(&product, &tenant, "n7", 17);
    guest.register();
    tenant.pod("n1", "web", "a");
    tenant.service("web", &json!({}));
    tenant.wait_for_address("web", tenant.v4(0));
    for _ in 0..2 {
        let speaker = guest.start();
        wait_for_status(&tenant, "web", "n7");
        tenant.wait_until_served(tenant.v4(0));
        let end = speaker.terminate(PATIENCE).unwrap();
        assert!(end.success(), "{end}");
        assert_eq!(statuses(&tenant, "web"), [] as [Value; 0]);
    }
}

/// A node of its own, which comes and goes, and from which alone a tenant's Services are announced.
struct Guest<'a> {
    product: &'a Alone,
    host: Host,
    _link: Link,
    speaker: std::cell::RefCell<Option<Process>>,
}

impl<'a> Guest<'a> {
    fn new(product: &'a Alone, tenant: &Tenant<'_>, name: &str, number: u8) -> Self {
        let cluster = product.cluster;
        // Forwards what arrives to a real node, whose kube-proxy knows what to do with it.
        let host = cluster.lab().router(name).unwrap();
        let addresses = [
            format!("10.0.0.{number}/24"),
            format!("fd00:10::{number}/64"),
        ];
        let addresses = addresses.each_ref().map(String::as_str);
        let link = host.connect(cluster.lan(), "eth0", &addresses).unwrap();
        let [v4, _] = cluster.node("n1").map(Node::addresses).unwrap();
        host.add_route(&format!("{}/29", tenant.v4(0)), &v4.to_string())
            .unwrap();
        let advertisement = json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "L2Advertisement",
            "metadata": { "name": tenant.name, "namespace": NAMESPACE },
            "spec": {
                "ipAddressPools": [tenant.name],
                "nodeSelectors": [{ "matchLabels": { "kubernetes.io/hostname": name } }],
            },
        });
        cluster.api().apply_object(&advertisement).unwrap();
        Self {
            product,
            host,
            _link: link,
            speaker: std::cell::RefCell::default(),
        }
    }

    /// Makes its Node, and gives the uid.
    fn register(&self) -> String {
        let name = self.host.name();
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name } },
        });
        let node = self.product.cluster.api().apply_object(&node).unwrap();
        node["metadata"]["uid"].as_str().unwrap().to_owned()
    }

    fn unregister(&self) {
        let api = self.product.cluster.api();
        api.delete("v1/Node", "", self.host.name()).unwrap();
    }

    fn start(&self) -> Process {
        let speaker = self.product.speaker_on(&self.host);
        *self.speaker.borrow_mut() = Some(speaker.clone());
        speaker
    }

    fn kill(&self) {
        if let Some(speaker) = self.speaker.borrow_mut().take() {
            speaker.kill().unwrap();
        }
    }
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        self.kill();
        let api = self.product.cluster.api();
        let _ = api.delete("v1/Node", "", self.host.name());
    }
}

fn statuses(tenant: &Tenant<'_>, service: &str) -> Vec<Value> {
    let selector = format!(
        "metallb.io/service-namespace={},metallb.io/service-name={service}",
        tenant.name
    );
    let api = tenant.product.cluster.api();
    api.list("metallb.io/v1beta1/ServiceL2Status", NAMESPACE, &selector)
        .unwrap()
}

fn wait_for_status(tenant: &Tenant<'_>, service: &str, node: &str) -> Value {
    let what = format!("{node} says that it announces {service}");
    eventually_ok(&what, LONG, || match &statuses(tenant, service)[..] {
        [status] if status["status"]["node"] == node => Ok(status.clone()),
        others => Err(format!("{others:#?}")),
    })
    .unwrap()
}

fn wait_for_no_status(tenant: &Tenant<'_>, service: &str) {
    let what = format!("nobody says any more to announce {service}");
    eventually_ok(&what, LONG, || match &statuses(tenant, service)[..] {
        [] => Ok(()),
        others => Err(format!("{others:#?}")),
    })
    .unwrap();
}

/// The uids of an object's owners.
fn owners(object: &Value) -> Vec<Value> {
    let owners = object["metadata"]["ownerReferences"].as_array();
    let uids = owners
        .into_iter()
        .flatten()
        .map(|owner| owner["uid"].clone());
    uids.collect()
}

/// The garbage collector learns of new kinds every 30 seconds.
const LONG: Duration = Duration::from_secs(60);
