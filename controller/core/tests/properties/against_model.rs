//! The allocator does what the slow one does, whatever happens.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ironlb_controller_core::share::Sharing;
use ironlb_controller_core::{Allocator, Families, Refusal, Request};
use ironlb_model::{Family, IpFamilyPolicy, Labels, Namespace, Node, Service, ServiceKey};
use proptest::prelude::*;

use crate::slow::{Answer, Slow, word};
use crate::world::{Pools, key, may_share, node, pools, service};

#[derive(Clone, Debug)]
enum Step {
    Allocate(Box<Service>),
    Keep(ServiceKey, bool),
    Release(ServiceKey, bool),
    Unpublish(usize),
    Pools(Pools),
    Label(bool),
    Node(Node),
    Wait(u64),
    Extend(ServiceKey),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => service().prop_map(|service| Step::Allocate(Box::new(service))),
        2 => (key(), any::<bool>()).prop_map(|(key, written)| Step::Keep(key, written)),
        4 => (key(), any::<bool>()).prop_map(|(key, publish)| Step::Release(key, publish)),
        2 => (0usize..8).prop_map(Step::Unpublish),
        1 => pools().prop_map(Step::Pools),
        1 => any::<bool>().prop_map(Step::Label),
        2 => node().prop_map(Step::Node),
        2 => (0u64..15).prop_map(Step::Wait),
        2 => key().prop_map(Step::Extend),
    ]
}

struct Pair {
    fast: Allocator,
    slow: Slow,
}

impl Pair {
    fn new(pools: &Pools) -> Self {
        let mut pair = Self {
            fast: Allocator::default(),
            slow: Slow::default(),
        };
        pair.set_pools(pools.clone());
        pair
    }

    fn act(&mut self, step: Step) {
        match step {
            Step::Allocate(service) => {
                let families = families(&service);
                let wish = wish(&service);
                self.slow.release(&service.key);
                let expected = self.slow.allocate(&service, families, &wish);
                let found = self.fast.allocate(&request(&service, &wish, &[]));
                assert_eq!(answer(found), sorted(&expected), "{service:?}");
                self.slow.hold(&service, &expected);
            }
            Step::Keep(key, written) => self.keep(&key, written),
            Step::Release(key, publish) => {
                let before = self.slow.get(&key).cloned();
                self.slow.release(&key);
                self.fast.release(&key);
                for address in before.into_iter().flat_map(|held| held.addresses) {
                    if publish && !self.slow.published.contains(&(key.clone(), address)) {
                        self.slow.publish(&key, address);
                        self.fast.publish(&key, address);
                    }
                }
            }
            Step::Unpublish(n) if n < self.slow.published.len() => {
                let (key, address) = self.slow.unpublish(n);
                self.fast.unpublish(&key, address);
            }
            Step::Unpublish(_) => {}
            Step::Pools(pools) => self.set_pools(pools),
            Step::Node(node) => {
                self.slow.nodes.retain(|(name, _)| *name != node.name);
                self.fast.set_node(&node.name, &node.addresses);
                self.slow.nodes.push((node.name, node.addresses));
            }
            Step::Wait(seconds) => {
                self.slow.now = self.slow.now + Duration::from_secs(seconds);
                self.fast.advance(self.slow.now);
            }
            Step::Extend(key) => self.extend(&key),
            Step::Label(team_y) => {
                let labels = if team_y {
                    Labels::from([("team".to_owned(), "y".to_owned())])
                } else {
                    Labels::new()
                };
                self.slow.namespace_labels = vec![("y".to_owned(), labels.clone())];
                let name = "y".into();
                self.fast.apply_namespace(Namespace { name, labels });
            }
        }
    }

    fn set_pools(&mut self, pools: Pools) {
        let affected = self.fast.set_pools(&pools);
        self.slow.pools = pools;
        for held in self.slow.held.clone() {
            let key = &held.service.key;
            if affected.contains(key) {
                self.keep(key, true);
            } else {
                let kept = self.slow.exactly(
                    &held.service,
                    &held.addresses,
                    Some(&held.pool),
                    &held.addresses,
                );
                let same_fence = kept.is_ok() || kept == Err("fenced");
                assert!(same_fence, "{key} is affected: {kept:?}");
                if let Ok((pool, _)) = kept {
                    assert_eq!(pool, held.pool, "{key} is affected");
                }
            }
        }
    }

    /// Gives a Service that has one address another of the other family, where there is one.
    fn extend(&mut self, key: &ServiceKey) {
        let Some(held) = self.slow.get(key).cloned() else {
            return;
        };
        let &[one] = held.addresses.as_slice() else {
            return;
        };
        let expected = self.slow.second(&held.service, &held.pool, one);
        let found = self.fast.extend(&request(&held.service, &[], &[]));
        let Some(second) = expected else {
            assert!(found.is_err());
            return;
        };
        let both = Ok((held.pool, vec![one, second]));
        assert_eq!(answer(found), sorted(&both));
        self.slow.hold(&held.service, &both);
    }

    /// Lets a Service keep what it has, which is in its status if it is `written`, or takes it away.
    fn keep(&mut self, key: &ServiceKey, written: bool) {
        let Some(held) = self.slow.get(key).cloned() else {
            return;
        };
        let status: &[IpAddr] = if written { &held.addresses } else { &[] };
        let expected = self
            .slow
            .exactly(&held.service, &held.addresses, Some(&held.pool), status);
        let request = request(&held.service, &held.addresses, status);
        let found = self.fast.keep(&request, &held.addresses, Some(&held.pool));
        assert_eq!(answer(found), sorted(&expected));
        match &expected {
            Ok(_) => self.slow.hold(&held.service, &expected),
            Err(_) => {
                self.slow.release(key);
                self.fast.release(key);
            }
        }
    }

    fn check(&self) {
        let fast: BTreeMap<ServiceKey, (String, Vec<IpAddr>)> = self
            .fast
            .iter()
            .map(|(key, held)| {
                (
                    key.clone(),
                    (held.pool().to_string(), held.addresses().collect()),
                )
            })
            .collect();
        let slow = self.slow.held.iter().map(|held| {
            let key = held.service.key.clone();
            (key, (held.pool.clone(), held.addresses.clone()))
        });
        assert_eq!(fast, slow.collect());
        for one in &self.slow.held {
            for other in &self.slow.held {
                let common = one.addresses.iter().any(|ip| other.addresses.contains(ip));
                let same = one.service.key == other.service.key;
                assert!(!common || same || may_share(&one.service, &other.service));
            }
        }
        let usage = self.fast.usage();
        assert_eq!(usage.len(), self.slow.pools.len());
        for (name, pool) in &self.slow.pools {
            assert_eq!(usage[name], self.slow.usage(pool), "pool {name}");
        }
    }

    /// Another allocator that is told what everybody has, in whatever order.
    fn replay(&self, backwards: bool) {
        let mut again = Self::new(&self.slow.pools);
        again.slow.namespace_labels = self.slow.namespace_labels.clone();
        for (name, labels) in &again.slow.namespace_labels {
            again.fast.apply_namespace(Namespace {
                name: name.as_str().into(),
                labels: labels.clone(),
            });
        }
        let mut held: Vec<_> = self.slow.held.iter().collect();
        if backwards {
            held.reverse();
        }
        for held in held {
            let request = request(&held.service, &held.addresses, &held.addresses);
            let kept = again.fast.keep(&request, &held.addresses, Some(&held.pool));
            // A namespace's labels may have changed since, and nobody has asked this one again.
            if let Err(Refusal::Fenced { .. }) = kept {
                return;
            }
            assert_eq!(kept.unwrap().pool().to_string(), held.pool);
        }
        again.slow.held.clone_from(&self.slow.held);
        again.check();
    }
}

fn families(service: &Service) -> Families {
    match (service.cluster_ips.as_slice(), service.ip_family_policy) {
        ([one], _) => Families::One(Family::of(*one)),
        (_, IpFamilyPolicy::PreferDualStack) => Families::PreferBoth(Family::V4),
        _ => Families::Both,
    }
}

fn wish(service: &Service) -> Vec<IpAddr> {
    let text = service.requested_ips.as_deref().unwrap_or_default();
    let parts = text.split(',').filter(|part| !part.is_empty());
    parts.map(|part| part.parse().unwrap()).collect()
}

fn request<'a>(service: &'a Service, addresses: &'a [IpAddr], status: &'a [IpAddr]) -> Request<'a> {
    Request {
        service: &service.key,
        labels: &service.labels,
        families: families(service),
        pool: service.requested_pool.as_deref(),
        addresses,
        sharing: Sharing::of(service),
        status,
    }
}

fn answer(found: Result<&ironlb_controller_core::Allocation, Refusal>) -> Answer {
    match found {
        Ok(held) => Ok((held.pool().to_string(), held.addresses().collect())),
        Err(refusal) => Err(word(&refusal)),
    }
}

fn sorted(answer: &Answer) -> Answer {
    let mut answer = answer.clone();
    if let Ok((_, addresses)) = &mut answer {
        addresses.sort();
    }
    answer
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2 * ProptestConfig::default().cases, ..ProptestConfig::default() })]

    #[test]
    fn it_does_what_the_slow_one_does(
        start in pools(),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut pair = Pair::new(&start);
        for step in steps {
            pair.act(step);
            pair.check();
        }
        pair.replay(false);
        pair.replay(true);
    }

    #[test]
    fn a_configuration_and_back_moves_nothing(
        start in pools(),
        services in prop::collection::vec(service(), 1..20),
        extra in any::<bool>(),
    ) {
        let mut pair = Pair::new(&start);
        for service in services {
            pair.act(Step::Allocate(Box::new(service)));
        }
        prop_assert!(pair.fast.set_pools(&start).is_empty());
        let before = pair.slow.held.len();
        let mut other: Pools = start.clone();
        for pool in other.values_mut() {
            pool.auto_assign = !pool.auto_assign;
            if extra {
                pool.ranges.push(ironlb_model::Range::new(
                    format!("10.9.{}.1", pool.name.trim_start_matches('p')).parse().unwrap(),
                    format!("10.9.{}.9", pool.name.trim_start_matches('p')).parse().unwrap(),
                ).unwrap());
                pool.ranges.reverse();
            }
        }
        pair.act(Step::Pools(other));
        pair.check();
        pair.act(Step::Pools(start));
        pair.check();
        prop_assert_eq!(pair.slow.held.len(), before);
    }
}
