//! What is told about objects: Events, and whether the configuration is valid.

use std::time::{Duration, Instant};

use ironlb_lab::{eventually, eventually_ok, holds_for, needs_the_lab};
use serde_json::{Value, json};

use crate::product::{NAMESPACE, PATIENCE, Product, Tenant, alone, shared};

#[test]
fn the_same_event_again_raises_its_count() {
    needs_the_lab!();
    let product = shared();
    let tenant = Tenant::new(&product, "again", 25);
    let ask = |address: &str| {
        let annotations = json!({ "metallb.io/loadBalancerIPs": address });
        tenant.annotated_service("web", &annotations, &json!({}));
    };
    let refused = || {
        let events = events(&product, "again", "web");
        let told = events
            .into_iter()
            .filter(|event| event["message"].as_str().unwrap().contains("203.0.113.9"));
        told.collect::<Vec<_>>()
    };
    let mut name = Value::Null;
    for count in 1..=3 {
        ask("203.0.113.9");
        let event = eventually_ok("it is told once more", PATIENCE, || match &refused()[..] {
            [event] if event["count"] == count => Ok(event.clone()),
            others => Err(format!("{others:#?}")),
        })
        .unwrap();
        if count == 1 {
            name = event["metadata"]["name"].clone();
        }
        assert_eq!(event["metadata"]["name"], name);
        assert_eq!(event["reason"], "AllocationFailed");
        tenant.wait_for_addresses("web", 0);
        ask(&tenant.v4(0).to_string());
        tenant.wait_for_address("web", tenant.v4(0));
    }
    let described = describe(&product, "service", "again", "web");
    let line = described.lines().find(|line| line.contains("203.0.113.9"));
    assert!(
        line.is_some_and(|line| line.contains("(x3 over")),
        "{described}"
    );

    // The API server forgets Events after an hour; what is repeated then is told anew, with its count.
    let api = product.cluster.api();
    api.delete("v1/Event", "again", name.as_str().unwrap())
        .unwrap();
    ask("203.0.113.9");
    eventually_ok("it is told anew", PATIENCE, || match &refused()[..] {
        [event] if event["count"] == 4 && event["metadata"]["name"] != name => Ok(()),
        others => Err(format!("{others:#?}")),
    })
    .unwrap();
}

#[test]
fn an_error_in_the_configuration_is_told_on_its_object_and_its_time_is_that_of_the_change() {
    needs_the_lab!();
    let product = alone();
    let tenant = Tenant::new(&product, "told", 26);
    let api = product.cluster.api();
    let pool = |name: &str, addresses: &str| {
        let pool = json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
            "metadata": { "name": name, "namespace": NAMESPACE },
            "spec": { "addresses": [addresses] },
        });
        api.apply_object(&pool).unwrap()
    };
    let fine = ["198.51.100.0/28", "198.51.100.16/28"];
    let first = pool("told-first", fine[0]);
    let _deleted = Deleted(&product, ["told-first", "told-second"]);
    pool("told-second", fine[1]);
    let valid = wait_for_state(&product, "controller", |state| is(state, "Valid"));

    // The object says so itself, and is told by its uid: `kubectl describe` asks for that.
    wait_for_another_second();
    pool("told-first", &tenant.range_v4());
    let invalid = wait_for_state(&product, "controller", |state| is(state, "Invalid"));
    assert!(transition(&invalid) > transition(&valid), "{invalid:#?}");
    let told = |count: i32| {
        let event = || match &events(&product, NAMESPACE, "told-first")[..] {
            [event] if event["count"] == count => Ok(event.clone()),
            others => Err(format!("{others:#?}")),
        };
        eventually_ok("the error is told", PATIENCE, event).unwrap()
    };
    let event = told(1);
    assert_eq!(event["reason"], "ConfigurationError");
    let object = &event["involvedObject"];
    assert_eq!(object["uid"], first["metadata"]["uid"]);
    assert_eq!(object["kind"], "IPAddressPool");
    assert_eq!(object["apiVersion"], "metallb.io/v1beta1");
    let described = describe(
        &product,
        "ipaddresspool.metallb.io",
        NAMESPACE,
        "told-first",
    );
    assert!(described.contains("ConfigurationError"), "{described}");

    // Another error is another message, and no transition.
    wait_for_another_second();
    pool("told-second", &tenant.range_v6());
    let both = wait_for_state(&product, "controller", |state| {
        summary(state).contains("told-second")
    });
    assert_eq!(transition(&both), transition(&invalid));
    pool("told-second", fine[1]);
    wait_for_state(&product, "controller", |state| {
        !summary(state).contains("told-second")
    });

    // Mended, and broken again in the same way: one Event, told twice.
    wait_for_another_second();
    pool("told-first", fine[0]);
    let mended = wait_for_state(&product, "controller", |state| is(state, "Valid"));
    assert!(transition(&mended) > transition(&invalid), "{mended:#?}");
    wait_for_another_second();
    pool("told-first", &tenant.range_v4());
    told(2);
    wait_for_state(&product, "controller", |state| is(state, "Invalid"));
    pool("told-first", fine[0]);
    let mended = wait_for_state(&product, "controller", |state| is(state, "Valid"));

    // A controller that starts finds what it would say, and writes nothing.
    wait_for_another_second();
    product.kill_controller();
    product.start_controller();
    product.wait_until_ready();
    tenant.service("web", &json!({}));
    tenant.wait_for_address("web", tenant.v4(0));
    holds_for("nothing is written", Duration::from_secs(1), || {
        state(&product, "controller") == mended
    })
    .unwrap();
}

/// Deletes pools, whatever becomes of the test.
struct Deleted<'a>(&'a Product, [&'static str; 2]);

impl Drop for Deleted<'_> {
    fn drop(&mut self) {
        for name in self.1 {
            let kind = "metallb.io/v1beta1/IPAddressPool";
            let _ = self.0.cluster.api().delete(kind, NAMESPACE, name);
        }
    }
}

/// The Events about an object.
pub(crate) fn events(product: &Product, namespace: &str, object: &str) -> Vec<Value> {
    let mut events = product
        .cluster
        .api()
        .list("v1/Event", namespace, "")
        .unwrap();
    events.retain(|event| event["involvedObject"]["name"] == object);
    events
}

fn describe(product: &Product, kind: &str, namespace: &str, name: &str) -> String {
    product
        .cluster
        .kubectl(&["describe", "-n", namespace, kind, name])
        .unwrap()
}

/// A ConfigurationState; null when there is none.
pub(crate) fn state(product: &Product, name: &str) -> Value {
    let kind = "metallb.io/v1beta1/ConfigurationState";
    let found = product.cluster.api().get(kind, NAMESPACE, name).unwrap();
    found.unwrap_or_default()
}

fn wait_for_state(product: &Product, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let what = format!("the ConfigurationState {name} is as wanted");
    eventually_ok(&what, PATIENCE, || {
        let state = state(product, name);
        if wanted(&state) {
            Ok(state)
        } else {
            Err(format!("{state:#?}"))
        }
    })
    .unwrap()
}

fn is(state: &Value, result: &str) -> bool {
    state["status"]["result"] == result
}

fn summary(state: &Value) -> &str {
    state["status"]["errorSummary"].as_str().unwrap_or_default()
}

/// RFC 3339 in UTC and whole seconds: the order of the texts is that of the times.
fn transition(state: &Value) -> &str {
    let conditions = state["status"]["conditions"].as_array().unwrap();
    assert_eq!(conditions.len(), 1, "{state:#?}");
    conditions[0]["lastTransitionTime"].as_str().unwrap()
}

/// Waits until a transition would have another time than one that was before: times are whole seconds.
fn wait_for_another_second() {
    let begin = Instant::now();
    eventually("the clock has gone on", PATIENCE, || {
        begin.elapsed() > Duration::from_secs(1)
    })
    .unwrap();
}
