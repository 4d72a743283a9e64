//! A node that leaves by a taint, as `kubectl cordon` and `kubectl drain` set it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use ironlb_lab::{Error, Host, eventually, needs_the_lab};
use serde_json::{Value, json};

use super::{ADDRESS, address_of, configured, every_node_is_used, peer, router, wait_for_paths};
use crate::product::{Alone, PATIENCE, Tenant, alone};

#[test]
fn a_cordoned_node_says_that_it_leaves_then_withdraws_and_comes_back_and_no_request_is_lost() {
    needs_the_lab!();
    let product = alone();
    let tenant = Tenant::beyond(&product, "leaving", &["203.0.113.0/29"]);
    let router = router(&product);
    let draining = Draining::start(&product);
    let drain_time = |time: &str| json!({ "drainTime": time });
    let _configured = configured(&product, "leaving", &drain_time("1h"));
    tenant.pod("n1", "web", "a");
    tenant.pod("n2", "web", "b");
    tenant.service("web", &json!({}));
    tenant.wait_for_address("web", ADDRESS);
    let paths = |nodes: &[&str]| wait_for_paths(&product, router, nodes);
    paths(&["n1", "n2", "n3"]);
    every_node_is_used(&product, router);
    let requests = Requests::start(&router.client, SocketAddr::new(ADDRESS, 80));
    requests.go_on();

    draining.cordon("n1");
    let leaving = address_of(&product, "n1");
    let question = format!("show bgp ipv4 unicast {ADDRESS}/32 json");
    let is_leaving = |route: &Value| {
        let paths = route["paths"].as_array().into_iter().flatten();
        let (left, stay): (Vec<&Value>, Vec<&Value>) =
            paths.partition(|path| is_by(path, &leaving));
        let is_marked = |path: &&Value| path["community"]["string"] == "graceful-shutdown";
        let is_used = |path: &&Value| path["multipath"] == true;
        matches!(left[..], [path] if is_marked(&path) && !is_used(&path))
            && stay.iter().all(|path| is_used(path) && !is_marked(path))
            && stay.len() == 2
    };
    let what = "n1 is about to go, and the router turns to the others";
    router
        .tor
        .wait_for(what, &question, PATIENCE, is_leaving)
        .unwrap();
    requests.go_on();

    // Its time is over as soon as it is shorter: nobody has to look within a few seconds.
    peer(&product, "leaving", &drain_time("0s"));
    paths(&["n2", "n3"]);
    requests.go_on();
    let sessions = router.tor.show("show bgp summary json").unwrap();
    let state = &sessions["ipv4Unicast"]["peers"][&leaving]["state"];
    assert_eq!(state, "Established", "the session stays: {sessions:#}");

    draining.uncordon("n1").unwrap();
    paths(&["n1", "n2", "n3"]);
    requests.go_on();
    let lost = requests.end();
    assert!(lost.is_empty(), "{lost:#?}");
    drop(draining);
    product.wait_until_ready();
}

/// Speakers of nodes that leave when they are cordoned. All is as before when it is dropped.
struct Draining<'a>(&'a Alone);

impl<'a> Draining<'a> {
    fn start(product: &'a Alone) -> Self {
        let draining = Self(product);
        draining.restart(&["--drain-taint", UNSCHEDULABLE]);
        product.wait_until_ready();
        draining
    }

    fn restart(&self, arguments: &[&str]) {
        for node in self.0.cluster.nodes() {
            let _ = self.0.speaker(node.name()).kill();
            self.0.start_speaker_with(node.name(), arguments);
        }
    }

    /// As `kubectl cordon` does, and the controller of Kubernetes that makes a taint of it.
    fn cordon(&self, node: &str) {
        let taint = json!({ "key": UNSCHEDULABLE, "effect": "NoSchedule" });
        let spec = json!({ "unschedulable": true, "taints": [taint] });
        self.patch(node, &spec).unwrap();
    }

    fn uncordon(&self, node: &str) -> Result<Value, Error> {
        self.patch(node, &json!({ "unschedulable": null, "taints": null }))
    }

    fn patch(&self, node: &str, spec: &Value) -> Result<Value, Error> {
        let api = self.0.cluster.api();
        api.patch("v1/Node", "", node, &json!({ "spec": spec }))
    }
}

impl Drop for Draining<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = self.uncordon("n1");
        }
        self.restart(&[]);
    }
}

/// A client that asks a Service all the time, one datagram after the other.
struct Requests {
    is_over: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    asking: Option<JoinHandle<Vec<String>>>,
}

impl Requests {
    fn start(client: &Host, server: SocketAddr) -> Self {
        let (is_over, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (client, over, count) = (client.clone(), Arc::clone(&is_over), Arc::clone(&answered));
        let asking = thread::spawn(move || {
            let mut lost = Vec::new();
            while !over.load(Ordering::Relaxed) {
                match client.udp_exchange(server) {
                    Ok(_) => _ = count.fetch_add(1, Ordering::Relaxed),
                    Err(error) => lost.push(error.to_string()),
                }
            }
            lost
        });
        Self {
            is_over,
            answered,
            asking: Some(asking),
        }
    }

    /// Waits until so many more are answered that every path is likely to have been taken.
    fn go_on(&self) {
        let wanted = self.answered.load(Ordering::Relaxed) + 30;
        eventually("the client is served", PATIENCE, || {
            self.answered.load(Ordering::Relaxed) >= wanted
        })
        .unwrap();
    }

    /// Those that were not answered.
    fn end(mut self) -> Vec<String> {
        self.is_over.store(true, Ordering::Relaxed);
        let asking = self.asking.take();
        asking.map_or_else(Vec::new, |asking| asking.join().unwrap())
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

fn is_by(path: &Value, next_hop: &str) -> bool {
    path["nexthops"][0]["ip"] == next_hop
}

/// The taint of a node that is cordoned.
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
