//! The allocator and the controller around it.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use ironlb_controller_core::{Allocator, Controller, Families, Input, Output, Request, Settings};
use ironlb_model::{Config, Family, Labels, Name, Pool, Range, Service, ServiceKey, Time};

use crate::HEAP;
use crate::report::{Measurement, Report, median, median_seconds};

pub(crate) fn run(report: &Report) -> anyhow::Result<()> {
    sequential(report)?;
    filling(report)?;
    last_free(report)?;
    reconfiguration(report)?;
    sharing(report)?;
    heap(report)?;
    controller(report)
}

fn sequential(report: &Report) -> anyhow::Result<()> {
    const N: usize = 50_000;
    let services = keys(N);
    // In turn, so that whatever else the machine does hits both.
    let mut runs = [
        ("10.0.0.0-10.0.255.255", Family::V4),
        ("2001:db8::-2001:db8::ffff:ffff:ffff:ffff", Family::V6),
    ]
    .map(|(range, family)| (pools([pool("pool", &[range])]), family, Vec::<f64>::new()));
    for _ in 0..15 {
        for (pools, family, seconds) in &mut runs {
            let fill = |allocator: &mut Allocator| allocate_all(allocator, &services, *family);
            seconds.push(median_seconds(1, || with_pools(pools), fill));
        }
    }
    let [v4, v6] = runs.map(|(_, _, mut seconds)| {
        seconds.sort_unstable_by(f64::total_cmp);
        seconds[seconds.len() / 2]
    });
    let measurement = Measurement::new("sequential /16", N as u64, v4, "s");
    report.say(measurement.at_most(0.100))?;
    let measurement = Measurement::new("sequential IPv6 /64, against IPv4 /16", N as u64, v6, "s");
    report.say(measurement.at_most(v4 * 1.1).peer(v4))?;
    Ok(())
}

/// What one more Service costs, when few and when many have an address already: one that comes and goes again and again, and one
/// that was never there before. The latter finds its place in memory that is in no cache of the processor, and that costs what it
/// costs a map that is as large and nothing else, the limit.
fn filling(report: &Report) -> anyhow::Result<()> {
    const MORE: usize = 1_000;
    const ROUNDS: usize = 15;
    let pools = pools([pool("pool", &["10.0.0.0-10.255.255.255"])]);
    let mut with_few = None;
    for n in [5_000, 500_000] {
        let services = keys(n + MORE * ROUNDS);
        let (first, more) = services.split_at(n);
        let mut allocator = with_pools(&pools);
        allocate_all(&mut allocator, first, Family::V4);
        let (again, _) = more.split_at(MORE);
        let seconds = median_seconds(
            ROUNDS,
            || (),
            |()| {
                allocate_all(&mut allocator, again, Family::V4);
                for service in again {
                    allocator.release(service);
                }
            },
        );
        let each = seconds / MORE as f64;
        let case = "one more Service from a /8, and back";
        let measurement = Measurement::new(case, n as u64, each, "s");
        report.say(match with_few {
            Some(few) => measurement.at_most(few * 1.1).peer(few),
            None => measurement,
        })?;
        with_few.get_or_insert(each);

        let mut map: HashMap<ServiceKey, [u64; 8]> = HashMap::new();
        map.extend(first.iter().map(|key| (key.clone(), [0; 8])));
        let (mut ours, mut least) = (Vec::new(), Vec::new());
        for more in more.chunks(MORE) {
            // Names that have just been read are in a cache: so that they are for both.
            let names = || more.to_vec();
            let insert = |_: &mut Vec<_>| map.extend(more.iter().map(|key| (key.clone(), [0; 8])));
            least.push(median_seconds(1, names, insert) / MORE as f64);
            let allocate = |_: &mut Vec<_>| allocate_all(&mut allocator, more, Family::V4);
            ours.push(median_seconds(1, names, allocate) / MORE as f64);
        }
        let case = "one more Service from a /8, never seen before";
        let measurement = Measurement::new(case, n as u64, median(ours), "s");
        report.say(measurement.limit(median(least)))?;
    }
    Ok(())
}

/// One address left, taken and given back again and again.
fn last_free(report: &Report) -> anyhow::Result<()> {
    let entries: Vec<String> = (0..10_000)
        .map(|n| format!("10.{}.{}.1-10.{}.{}.1", n / 200, n % 200, n / 200, n % 200))
        .collect();
    let entries: Vec<&str> = entries.iter().map(String::as_str).collect();
    let one_pool = pools([pool("pool", &["10.0.0.0-10.0.255.255"])]);
    let many_entries = pools([pool("pool", &entries)]);
    let many_pools = pools((0..1_000).map(|n| {
        let range = format!("10.{}.{}.1-10.{}.{}.10", n / 200, n % 200, n / 200, n % 200);
        pool(&format!("pool-{n:04}"), &[&range])
    }));
    let cases = [
        ("last free address of a /16", &one_pool, 65_536),
        (
            "last free address of 10000 one-address entries",
            &many_entries,
            10_000,
        ),
        ("last free address of 1000 pools of 10", &many_pools, 10_000),
    ];
    for (case, pools, n) in cases {
        let services = keys(n + 1);
        let (more, filled) = services.split_last().expect("not empty");
        let (last, rest) = filled.split_last().expect("not empty");
        let mut allocator = with_pools(pools);
        allocate_all(&mut allocator, rest, Family::V4);
        let rounds = 1_000;
        let seconds = median_seconds(
            15,
            || (),
            |()| {
                for _ in 0..rounds {
                    allocate(&mut allocator, last, Family::V4);
                    allocator.release(last);
                }
            },
        );
        let each = seconds / f64::from(rounds);
        let measurement = Measurement::new(format!("{case}, and back"), n as u64, each, "s");
        report.say(measurement.at_most(10e-6))?;
        allocate(&mut allocator, last, Family::V4);
        let seconds = median_seconds(
            15,
            || (),
            |()| {
                for _ in 0..rounds {
                    assert!(allocator.allocate(&request(more, Family::V4)).is_err());
                }
            },
        );
        let each = seconds / f64::from(rounds);
        let case = format!(
            "refusal when none is left: {}",
            case.trim_start_matches("last free ")
        );
        report.say(Measurement::new(case, n as u64, each, "s"))?;
    }
    Ok(())
}

/// Ten Services in each of 1,000 pools of ten addresses, and another configuration.
fn reconfiguration(report: &Report) -> anyhow::Result<()> {
    let range = |n: usize, last: usize| {
        let (a, b) = (n / 200, n % 200);
        format!("10.{a}.{b}.1-10.{a}.{b}.{last}")
    };
    let all = |prefix: &str, last: usize| {
        pools((0..1_000).map(|n| pool(&format!("{prefix}-{n:04}"), &[&range(n, last)])))
    };
    let before = all("pool", 10);
    let mut one_renamed = before.clone();
    one_renamed.remove("pool-0500");
    one_renamed.insert("other".into(), pool("other", &[&range(500, 10)]));
    let mut one_shrunk = before.clone();
    one_shrunk.insert("pool-0500".into(), pool("pool-0500", &[&range(500, 5)]));
    one_shrunk.insert("spare".into(), pool("spare", &["10.200.0.0-10.200.0.255"]));
    let cases = [
        ("the same", before.clone()),
        ("one pool renamed", one_renamed),
        ("one pool halved, its Services move", one_shrunk),
        ("every pool extended", all("pool", 20)),
        ("every pool renamed", all("renamed", 10)),
    ];
    let services = keys(10_000);
    let labels = Labels::new();
    for (case, after) in &cases {
        let seconds = median_seconds(
            15,
            || {
                let mut allocator = with_pools(&before);
                allocate_all(&mut allocator, &services, Family::V4);
                allocator
            },
            |allocator| {
                for service in allocator.set_pools(after) {
                    let held = allocator.get(&service).expect("affected");
                    let addresses: Vec<IpAddr> = held.addresses().collect();
                    let request = Request {
                        labels: &labels,
                        ..request(&service, Family::V4)
                    };
                    if allocator.keep(&request, &addresses, None).is_err() {
                        allocator.release(&service);
                        allocator.allocate(&request).expect("room");
                    }
                }
            },
        );
        let case = format!("new configuration of 1000 pools: {case}");
        report.say(Measurement::new(case, 10_000, seconds, "s").at_most(0.010))?;
    }
    Ok(())
}

fn sharing(report: &Report) -> anyhow::Result<()> {
    const N: usize = 50_000;
    let pools = pools([pool("pool", &["10.0.0.0-10.255.255.255"])]);
    type Ports = fn(usize) -> u16;
    let cases: [(&str, Ports); 3] = [
        ("one key, every port another", |n| {
            u16::try_from(n).expect("fits")
        }),
        ("one key, one port", |_| 80),
        ("one key, two ports in turn", |n| {
            if n % 2 == 0 { 80 } else { 443 }
        }),
    ];
    for (case, port) in cases {
        let services: Vec<Service> = (0..N)
            .map(|n| Service {
                sharing_key: Some("key".to_owned()),
                ports: vec![ironlb_model::Port {
                    name: String::new(),
                    protocol: ironlb_model::Protocol::Tcp,
                    port: port(n),
                }],
                ..Service::new(key(n))
            })
            .collect();
        let seconds = median_seconds(
            5,
            || with_pools(&pools),
            |allocator| {
                for service in &services {
                    let request = Request {
                        sharing: ironlb_controller_core::share::Sharing::of(service),
                        ..request(&service.key, Family::V4)
                    };
                    allocator.allocate(&request).expect("room");
                }
            },
        );
        report.say(Measurement::new(
            format!("shared: {case}"),
            N as u64,
            seconds,
            "s",
        ))?;
    }
    Ok(())
}

/// What the allocator keeps for a Service, its name included.
fn heap(report: &Report) -> anyhow::Result<()> {
    const N: usize = 50_000;
    for (case, range, family) in [
        (
            "heap per Service, IPv4",
            "10.0.0.0-10.0.255.255",
            Family::V4,
        ),
        (
            "heap per Service, IPv6",
            "2001:db8::-2001:db8::ffff",
            Family::V6,
        ),
    ] {
        let mut allocator = with_pools(&pools([pool("pool", &[range])]));
        let before = HEAP.current_usage();
        for n in 0..N {
            allocate(&mut allocator, &key(n), family);
        }
        let bytes = (HEAP.current_usage() - before) as f64 / N as f64;
        report.say(Measurement::new(case, N as u64, bytes, "B").at_most(300.0))?;
        drop(allocator);
    }
    Ok(())
}

/// The whole controller: Services that it has never seen, and Services that have their address already.
fn controller(report: &Report) -> anyhow::Result<()> {
    const N: usize = 10_000;
    let pools = pools([pool("pool", &["10.0.0.0-10.0.255.255"])]);
    let config = Arc::new(Config {
        pools,
        ..Config::default()
    });
    let fresh: Vec<Service> = (0..N).map(service).collect();
    let started = |services: &[Service]| {
        let mut controller = Controller::new(Settings::default());
        controller.handle(Time::ZERO, Input::Config(Arc::clone(&config)));
        for service in services {
            controller.handle(Time::ZERO, Input::ServiceApplied(Box::new(service.clone())));
        }
        controller
    };
    let mut held = fresh.clone();
    let mut controller = started(&fresh);
    for output in synced(&mut controller) {
        if let Output::Write(write) = output {
            let at = held.iter_mut().find(|service| service.key == write.service);
            let service = at.expect("one of them");
            service.ingress = write
                .ips
                .iter()
                .map(|ip| ironlb_model::Ingress {
                    ip: ip.to_string(),
                    hostname: String::new(),
                })
                .collect();
            service.allocated_from = write.pool.map(|pool| pool.to_string());
        }
    }
    for (case, services, writes) in [
        ("controller starts, Services without an address", &fresh, N),
        ("controller starts, Services with an address", &held, 0),
    ] {
        let seconds = median_seconds(
            5,
            || started(services),
            |controller| {
                let outputs = synced(controller);
                let is_write = |output: &&Output| matches!(output, Output::Write(_));
                assert_eq!(outputs.iter().filter(is_write).count(), writes);
            },
        );
        report.say(Measurement::new(case, N as u64, seconds, "s"))?;
    }
    Ok(())
}

fn synced(controller: &mut Controller) -> Vec<Output> {
    controller.handle(Time::ZERO, Input::Synced);
    std::iter::from_fn(|| controller.poll()).collect()
}

fn service(n: usize) -> Service {
    Service {
        cluster_ips: vec![IpAddr::from([10, 96, 0, 1])],
        resource_version: n.to_string().into(),
        ports: vec![ironlb_model::Port {
            name: String::new(),
            protocol: ironlb_model::Protocol::Tcp,
            port: 80,
        }],
        ..Service::new(key(n))
    }
}

fn pools(pools: impl IntoIterator<Item = Pool>) -> BTreeMap<Name, Pool> {
    pools
        .into_iter()
        .map(|pool| (pool.name.clone(), pool))
        .collect()
}

fn pool(name: &str, ranges: &[&str]) -> Pool {
    let range = |text: &&str| {
        let (first, last) = text.split_once('-').expect("a range");
        Range::new(first.parse().expect("first"), last.parse().expect("last")).expect("in order")
    };
    Pool::new(name, ranges.iter().map(range).collect())
}

fn key(n: usize) -> ServiceKey {
    ServiceKey::new(format!("team-{}", n % 100), format!("service-{n}"))
}

fn keys(n: usize) -> Vec<ServiceKey> {
    (0..n).map(key).collect()
}

fn with_pools(pools: &BTreeMap<Name, Pool>) -> Allocator {
    let mut allocator = Allocator::default();
    allocator.set_pools(pools);
    allocator
}

fn request(service: &ServiceKey, family: Family) -> Request<'_> {
    static NONE: Labels = Labels::new();
    Request {
        service,
        labels: &NONE,
        families: Families::One(family),
        pool: None,
        addresses: &[],
        sharing: None,
        status: &[],
    }
}

fn allocate(allocator: &mut Allocator, service: &ServiceKey, family: Family) {
    allocator
        .allocate(&request(service, family))
        .expect("a free address");
}

fn allocate_all(allocator: &mut Allocator, services: &[ServiceKey], family: Family) {
    for service in services {
        allocate(allocator, service, family);
    }
}
