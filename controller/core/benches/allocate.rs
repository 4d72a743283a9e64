//! The allocator's two hot paths, for comparing one commit with another. What is promised is measured by `tests/bench`.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use ironlb_controller_core::{Allocator, Families, Request};
use ironlb_model::{Family, Labels, Pool, Range, ServiceKey};

fn allocator() -> Allocator {
    let range = Range::new("10.0.0.0".parse().unwrap(), "10.0.255.255".parse().unwrap());
    let pool = Pool::new("pool", vec![range.unwrap()]);
    let mut allocator = Allocator::default();
    allocator.set_pools(&BTreeMap::from([(pool.name.clone(), pool)]));
    allocator
}

fn allocate(allocator: &mut Allocator, service: &ServiceKey) {
    let request = Request {
        service,
        labels: &Labels::new(),
        families: Families::One(Family::V4),
        pool: None,
        addresses: &[],
        sharing: None,
        status: &[],
    };
    allocator.allocate(&request).unwrap();
}

fn bench(criterion: &mut Criterion) {
    let keys: Vec<ServiceKey> = (0..10_000)
        .map(|n| ServiceKey::new(format!("team-{}", n % 100), format!("service-{n}")))
        .collect();
    criterion.bench_function("allocate 10000 from a /16", |bencher| {
        let fill = |mut allocator: Allocator| {
            keys.iter().for_each(|key| allocate(&mut allocator, key));
            allocator
        };
        bencher.iter_batched(allocator, fill, BatchSize::LargeInput);
    });
    let mut allocator = allocator();
    keys.iter().for_each(|key| allocate(&mut allocator, key));
    criterion.bench_function("release and allocate one of 10000", |bencher| {
        let key = keys.get(5_000).unwrap();
        bencher.iter(|| {
            allocator.release(key);
            allocate(&mut allocator, black_box(key));
        });
    });
}

criterion_group!(benches, bench);
criterion_main!(benches);
