//! The real kernel takes our transactions, and the nft program sees in them what a person would have written.
//!
//! Needs root and nft: skipped, saying so, unless `IRONLB_LAB` is set.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::io::Write;
use std::net::IpAddr;
use std::process::{Command, Stdio};

use ironlb_forward::{Batch, Ruleset, probe, remove, replace, update};
use ironlb_model::endpoint::EndpointPort;
use ironlb_model::{
    Endpoint, EndpointSlice, Ingress, Port, Protocol, Service, ServiceKey, SliceKey, TrafficPolicy,
};
use ironlb_sys::namespace::NetNamespace;
use ironlb_sys::netfilter::{Error, Netfilter};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::Value;

macro_rules! needs_the_lab {
    () => {
        if std::env::var_os("IRONLB_LAB").is_none() {
            eprintln!("skipped: needs root and nft; run it with IRONLB_LAB=1");
            return;
        }
    };
}

/// A network namespace with nothing in it but our table.
struct Kernel(NetNamespace);

impl Kernel {
    fn new() -> Self {
        Self(NetNamespace::new().unwrap())
    }

    fn send(&self, batch: &Batch) -> Result<(), Error> {
        self.0
            .run(|| {
                Netfilter::open()
                    .unwrap()
                    .send(batch.bytes(), batch.acknowledged())
            })
            .unwrap()
    }

    fn apply(&self, batch: &Batch) {
        if let Err(error) = self.send(batch) {
            let step = match &error {
                Error::Refused(refusal) => batch.step(refusal.sequence),
                _ => None,
            };
            panic!("{error} at {step:?}");
        }
    }

    fn nft(&self, arguments: &[&str], input: &str) -> String {
        let work = || {
            let mut child = Command::new("nft")
                .args(arguments)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            child
                .stdin
                .take()
                .unwrap()
                .write_all(input.as_bytes())
                .unwrap();
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "nft {arguments:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        self.0.run(work).unwrap()
    }

    /// All that is in the kernel, in one order and without the numbers that it gives.
    fn rules(&self) -> Value {
        let mut listing: Value =
            serde_json::from_str(&self.nft(&["-j", "list", "ruleset"], "")).unwrap();
        normalize(&mut listing);
        listing
    }
}

fn normalize(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.remove("handle");
            object.remove("metainfo");
            object.values_mut().for_each(normalize);
            for key in ["nftables", "elem", "set"] {
                if let Some(Value::Array(list)) = object.get_mut(key) {
                    list.sort_by_key(Value::to_string);
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(normalize),
        _ => {}
    }
}

fn service(name: &str, ips: &[&str], policy: TrafficPolicy, protocols: &[Protocol]) -> Service {
    let mut service = Service::new(ServiceKey::new("default", name));
    let ingress = |ip: &&str| Ingress {
        ip: (*ip).to_owned(),
        hostname: String::new(),
    };
    service.ingress = ips.iter().map(ingress).collect();
    service.traffic_policy = policy;
    service.ports = protocols
        .iter()
        .map(|protocol| Port {
            name: protocol.to_string(),
            protocol: *protocol,
            port: 80,
        })
        .collect();
    service
}

fn slice(name: &str, endpoints: &[(&str, &str)], protocols: &[Protocol]) -> EndpointSlice {
    let endpoint = |(address, node): &(&str, &str)| Endpoint {
        node: Some((*node).into()),
        serving: true,
        addresses: vec![address.parse::<IpAddr>().unwrap()],
    };
    let port = |protocol: &Protocol| EndpointPort {
        name: protocol.to_string(),
        protocol: *protocol,
        port: 8080,
    };
    EndpointSlice {
        key: SliceKey::new("default", format!("{name}-{}", endpoints.len())),
        service: ServiceKey::new("default", name),
        endpoints: endpoints.iter().map(endpoint).collect(),
        ports: protocols.iter().map(port).collect(),
    }
}

fn example() -> Ruleset {
    let web = [Protocol::Tcp, Protocol::Sctp];
    let services = [
        service(
            "web",
            &["192.0.2.1", "2001:db8::1"],
            TrafficPolicy::Cluster,
            &web,
        ),
        service(
            "dns",
            &["192.0.2.2"],
            TrafficPolicy::Local,
            &[Protocol::Udp],
        ),
        service(
            "idle",
            &["192.0.2.3"],
            TrafficPolicy::Cluster,
            &[Protocol::Tcp],
        ),
    ];
    let slices = [
        slice("web", &[("10.0.0.1", "n1"), ("10.0.0.2", "n2")], &web),
        slice("web", &[("fd00::1", "n1")], &web),
        slice("dns", &[("10.0.0.2", "n2")], &[Protocol::Udp]),
    ];
    Ruleset::wanted(&services, &slices, "n1")
}

#[test]
fn the_table_is_what_nft_would_have_made_of_its_text() {
    needs_the_lab!();
    let (ours, theirs) = (Kernel::new(), Kernel::new());
    ours.apply(&replace(&example()));
    theirs.nft(&["-f", "-"], include_str!("example.nft"));
    assert_eq!(
        ours.rules(),
        theirs.rules(),
        "{}",
        ours.nft(&["list", "ruleset"], "")
    );
}

#[test]
fn nft_reads_back_what_it_lists() {
    needs_the_lab!();
    let (ours, theirs) = (Kernel::new(), Kernel::new());
    ours.apply(&replace(&example()));
    theirs.nft(&["-f", "-"], &ours.nft(&["list", "ruleset"], ""));
    assert_eq!(ours.rules(), theirs.rules());
}

#[test]
fn other_tables_stay_as_they_are_and_ours_goes_without_a_trace() {
    needs_the_lab!();
    let kernel = Kernel::new();
    kernel.nft(
        &["-f", "-"],
        "table inet filter {\n chain input {\n type filter hook input priority 0;\n }\n}\n",
    );
    let before = kernel.rules();
    kernel.apply(&replace(&example()));
    kernel.apply(&replace(&example()));
    assert_ne!(kernel.rules(), before);
    kernel.apply(&remove());
    kernel.apply(&remove());
    assert_eq!(kernel.rules(), before);
}

#[test]
fn an_update_of_a_table_that_is_not_there_is_refused_and_changes_nothing() {
    needs_the_lab!();
    let kernel = Kernel::new();
    let batch = update(&Ruleset::default(), &example());
    let Err(Error::Refused(refusal)) = kernel.send(&batch) else {
        panic!("taken")
    };
    assert_eq!(refusal.source.kind(), std::io::ErrorKind::NotFound);
    assert!(batch.step(refusal.sequence).is_some());
    assert_eq!(kernel.rules(), Kernel::new().rules());
}

#[test]
fn a_table_that_someone_flushed_is_missed() {
    needs_the_lab!();
    let kernel = Kernel::new();
    let probe = || {
        kernel
            .0
            .run(|| Netfilter::open().unwrap().send(&probe(), 1))
            .unwrap()
    };
    kernel.apply(&replace(&example()));
    probe().unwrap();
    kernel.nft(&["flush", "ruleset"], "");
    let Err(Error::Refused(refusal)) = probe() else {
        panic!("there")
    };
    assert_eq!(refusal.source.kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn an_update_gives_the_same_table_as_a_fresh_start() {
    needs_the_lab!();
    let (updated, fresh) = (Kernel::new(), Kernel::new());
    let mut current = Ruleset::default();
    updated.apply(&replace(&current));
    let strategy = prop::collection::vec(any_service(), 0..4);
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 40,
        ..ProptestConfig::default()
    });
    let current = std::cell::RefCell::new(&mut current);
    runner
        .run(&strategy, |parts| {
            let (services, slices): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
            let wanted = Ruleset::wanted(&services, &slices, "n1");
            let mut current = current.borrow_mut();
            let batch = update(&current, &wanted);
            if !batch.is_empty() {
                updated.apply(&batch);
            }
            **current = wanted;
            fresh.apply(&replace(&current));
            prop_assert_eq!(updated.rules(), fresh.rules());
            Ok(())
        })
        .unwrap();
}

fn any_service() -> impl Strategy<Value = (Service, EndpointSlice)> {
    let protocols =
        prop::sample::subsequence(vec![Protocol::Tcp, Protocol::Udp, Protocol::Sctp], 1..3);
    let all = vec![
        ("10.0.0.1", "n1"),
        ("10.0.0.2", "n2"),
        ("10.0.0.3", "n3"),
        ("fd00::1", "n1"),
    ];
    let endpoints = prop::sample::subsequence(all, 0..4);
    let ips = prop::sample::subsequence(vec!["192.0.2.1", "192.0.2.2", "2001:db8::1"], 0..3);
    let policy = prop::sample::select(vec![TrafficPolicy::Cluster, TrafficPolicy::Local]);
    (
        prop::sample::select(vec!["a", "b", "c"]),
        protocols,
        endpoints,
        ips,
        policy,
    )
        .prop_map(|(name, protocols, endpoints, ips, policy)| {
            (
                service(name, &ips, policy, &protocols),
                slice(name, &endpoints, &protocols),
            )
        })
}

#[test]
fn thousands_of_services_fit_into_one_transaction() {
    needs_the_lab!();
    let kernel = Kernel::new();
    let name = |number: u32| format!("web-{number}");
    let address = |number: u32| {
        format!(
            "192.{}.{}.{}",
            number >> 16,
            (number >> 8) & 255,
            number & 255
        )
    };
    let services: Vec<_> = (0..5_000)
        .map(|n| {
            service(
                &name(n),
                &[&address(n)],
                TrafficPolicy::Cluster,
                &[Protocol::Tcp],
            )
        })
        .collect();
    let ends: Vec<String> = (1..=200).map(|n| format!("10.1.0.{n}")).collect();
    let few = [("10.0.0.1", "n1"), ("10.0.0.2", "n2"), ("10.0.0.3", "n3")];
    let many: Vec<(&str, &str)> = ends.iter().map(|end| (end.as_str(), "n2")).collect();
    let mut slices: Vec<_> = (1..5_000)
        .map(|n| slice(&name(n), &few, &[Protocol::Tcp]))
        .collect();
    slices.push(slice(&name(0), &many, &[Protocol::Tcp]));
    let ruleset = Ruleset::wanted(&services, &slices, "n1");
    let batch = replace(&ruleset);
    eprintln!("{} messages, {} bytes", batch.len(), batch.bytes().len());
    kernel.apply(&batch);

    slices.pop();
    let fewer = Ruleset::wanted(&services, &slices, "n1");
    kernel.apply(&update(&ruleset, &fewer));
    let listing = kernel.nft(&["list", "map", "inet", "ironlb", "services4"], "");
    assert_eq!(listing.matches("goto").count(), 4_999);
}
