//! How full the pools are, for dashboards.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicI64;

use ironlb_controller_core::Usage;
use ironlb_model::Name;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// MetalLB's gauges of its allocator, by pool.
#[derive(Clone, Debug, Default)]
pub struct PoolMetrics {
    total: Gauges,
    total_v4: Gauges,
    total_v6: Gauges,
    in_use: Gauges,
    in_use_v4: Gauges,
    in_use_v6: Gauges,
}

/// What a gauge shows of a pool.
type Value = fn(&Usage) -> u128;

type Gauges = Family<Pool, Gauge<i64, AtomicI64>>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Pool {
    pool: String,
}

impl PoolMetrics {
    /// Gauges that `registry` shows.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let allocator = registry.sub_registry_with_prefix("metallb_allocator");
        let mut register =
            |name, help, gauges: &Gauges| allocator.register(name, help, gauges.clone());
        register("addresses_total", "Addresses of a pool", &metrics.total);
        register(
            "ipv4_addresses_total",
            "IPv4 addresses of a pool",
            &metrics.total_v4,
        );
        register(
            "ipv6_addresses_total",
            "IPv6 addresses of a pool",
            &metrics.total_v6,
        );
        register(
            "addresses_in_use_total",
            "Addresses of a pool in use",
            &metrics.in_use,
        );
        register(
            "ipv4_addresses_in_use_total",
            "IPv4 addresses of a pool in use",
            &metrics.in_use_v4,
        );
        register(
            "ipv6_addresses_in_use_total",
            "IPv6 addresses of a pool in use",
            &metrics.in_use_v6,
        );
        metrics
    }

    /// Shows these pools and no others.
    pub fn show(&self, usage: &BTreeMap<Name, Usage>) {
        for (gauges, value) in self.gauges() {
            gauges.clear();
            for (pool, usage) in usage {
                let pool = Pool {
                    pool: pool.to_string(),
                };
                gauges.get_or_create(&pool).set(saturated(value(usage)));
            }
        }
    }

    fn gauges(&self) -> [(&Gauges, Value); 6] {
        [
            (&self.total, |usage| {
                usage.v4.total.saturating_add(usage.v6.total)
            }),
            (&self.total_v4, |usage| usage.v4.total),
            (&self.total_v6, |usage| usage.v6.total),
            (&self.in_use, |usage| {
                usage.v4.in_use.saturating_add(usage.v6.in_use)
            }),
            (&self.in_use_v4, |usage| usage.v4.in_use),
            (&self.in_use_v6, |usage| usage.v6.in_use),
        ]
    }
}

/// A count as the 64-bit number that metrics and statuses hold; a wide IPv6 prefix has more addresses than that.
pub(crate) fn saturated(count: u128) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use ironlb_controller_core::Count;
    use prometheus_client::encoding::text::encode;

    use super::*;

    fn usage(total: u128, in_use: u128) -> Usage {
        Usage {
            v4: Count { total, in_use },
            v6: Count {
                total: u128::MAX,
                in_use: 0,
            },
        }
    }

    #[test]
    fn a_pool_that_is_gone_is_shown_no_longer() {
        let mut registry = Registry::default();
        let metrics = PoolMetrics::register(&mut registry);
        metrics.show(&BTreeMap::from([
            ("first".into(), usage(8, 3)),
            ("second".into(), usage(4, 4)),
        ]));
        metrics.show(&BTreeMap::from([("first".into(), usage(8, 2))]));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        assert!(
            text.contains("metallb_allocator_ipv4_addresses_in_use_total{pool=\"first\"} 2"),
            "{text}"
        );
        assert!(text.contains(&format!(
            "metallb_allocator_addresses_total{{pool=\"first\"}} {}",
            i64::MAX
        )));
        assert!(!text.contains("second"));
    }
}
