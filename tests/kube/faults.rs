//! An API server that misbehaves: whatever it does, no update is lost, no address withdrawn, and it is not hammered.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use ironlb_lab::{eventually, holds_for, needs_the_lab};
use serde_json::json;

use crate::product::{Alone, Tenant, alone};
use crate::proxy::{Fault, What};

#[test]
fn whatever_the_api_server_does_no_update_is_lost_and_no_address_withdrawn() {
    needs_the_lab!();
    let product = alone();
    let tenant = Tenant::new(&product, "faults", 18);
    tenant.pod("n1", "web", "a");
    tenant.service("web", &json!({}));
    let address = tenant.v4(0);
    tenant.wait_for_address("web", address);
    tenant.wait_until_served(address);

    // The versions that the watches go on from have expired (410): by status, and inside the stream.
    for fault in [Fault::Refuse(410, None), Fault::Expire] {
        product.proxy.inject(What::ResumedWatches, fault, 20);
        still_in_force(&product, &tenant, "web");
    }
    // Too many requests (429), as the API server says it.
    product
        .proxy
        .inject(What::Everything, Fault::Refuse(429, Some(1)), 30);
    still_in_force(&product, &tenant, "web");
    // Something in between is broken.
    product
        .proxy
        .inject(What::Everything, Fault::Refuse(503, None), 20);
    still_in_force(&product, &tenant, "web");
    // Every answer is slow.
    product
        .proxy
        .inject(What::Everything, Fault::Slow(Duration::from_secs(2)), 20);
    still_in_force(&product, &tenant, "web");
    // Writes arrive, and nobody hears of it; the next try is then a conflict (409).
    product.proxy.inject(What::Writes, Fault::LoseAnswer, 5);
    still_in_force(&product, &tenant, "web");
    // Whatever is written, Lease, Events and all, is said to have changed meanwhile, and has not.
    product.proxy.inject(What::Writes, Fault::Conflict, 8);
    still_in_force(&product, &tenant, "web");
}

#[test]
fn an_api_server_that_only_refuses_is_not_hammered() {
    needs_the_lab!();
    let product = alone();
    let period = Duration::from_secs(10);
    for fault in [
        Fault::Refuse(503, None),
        Fault::Refuse(429, Some(1)),
        Fault::Refuse(410, None),
        Fault::Expire,
    ] {
        product.proxy.inject(What::Everything, fault, usize::MAX);
        product.proxy.cut();
        let (before, begin) = (product.proxy.requests(), Instant::now());
        while begin.elapsed() < period {
            thread::sleep(period - begin.elapsed());
        }
        let requests = product.proxy.requests() - before;
        // Four processes with some ten watches each, which come back after 0.1, 0.2, 0.4 s and so on.
        assert!(
            (20..600).contains(&requests),
            "{requests} requests in {period:?} of {fault:?}"
        );
        product.proxy.heal();
    }
    product.wait_until_ready();
}

/// Cuts all watches, changes something at once, and waits until the change is in force; meanwhile the Service that was
/// there before is answered for all the time.
fn still_in_force(product: &Alone, tenant: &Tenant<'_>, service: &str) {
    let client = product.cluster.client();
    let socket = SocketAddr::new(tenant.addresses(service)[0], 80);
    let faulted = product.proxy.faulted();
    product.proxy.cut();
    tenant.service("another", &json!({}));
    let mut served = true;
    let limit = Duration::from_secs(60);
    eventually("the change is in force", limit, || {
        served &= client.tcp_get(socket).is_ok();
        tenant.addresses("another").len() == 1
    })
    .unwrap();
    assert!(served, "the address was withdrawn");
    assert!(product.proxy.faulted() > faulted, "no request met a fault");
    let address = tenant.addresses("another")[0];
    product.proxy.heal();
    holds_for("it is still there", Duration::from_millis(500), || {
        tenant.addresses("another") == [address]
    })
    .unwrap();
    tenant.delete_service("another");
    tenant.wait_for_announcer(address, None);
}
