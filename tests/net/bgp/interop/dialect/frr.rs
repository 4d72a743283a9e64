use std::fmt::Write;

use ironlb_lab::Host;
use ironlb_lab::router::{Frr as Software, Router};
use serde_json::Value;

use super::Dialect;
use crate::bgp::interop::seen::{Path, Session, as_path};
use crate::bgp::interop::wanted::Wanted;

pub(crate) static FRR: &dyn Dialect = &Frr;

struct Frr;

impl Dialect for Frr {
    fn start(&self, host: &Host, wanted: &Wanted) -> Router {
        Router::start(host, Software, &config(wanted)).unwrap()
    }

    fn paths(&self, router: &Router, _: &Wanted, prefix: &str) -> Result<Vec<Path>, String> {
        let family = if prefix.contains(':') { "ipv6" } else { "ipv4" };
        let answer = router.show(&format!("show bgp {family} unicast {prefix} json"));
        let answer = answer.map_err(|error| error.to_string())?;
        let paths = answer["paths"].as_array().into_iter().flatten();
        Ok(paths.map(path).collect())
    }

    fn session(&self, router: &Router, wanted: &Wanted) -> Result<Session, String> {
        let answer = router.show(&format!("show bgp neighbors {} json", wanted.node));
        let answer = answer.map_err(|error| error.to_string())?;
        let neighbour = &answer[wanted.node];
        Ok(Session {
            is_up: neighbour["bgpState"] == "Established",
            updates: neighbour["messageStats"]["updatesRecv"]
                .as_u64()
                .unwrap_or(0),
            all: neighbour.to_string(),
        })
    }

    fn refresh(&self, router: &Router, wanted: &Wanted) {
        for family in wanted.families("ipv4", "ipv6") {
            let command = format!("clear bgp {family} unicast {} soft in", wanted.node);
            router.ask(&command).unwrap();
        }
    }
}

fn config(wanted: &Wanted) -> String {
    let node = wanted.node;
    let bfd = "bfd\n profile node\n  transmit-interval 100\n  receive-interval 100\n exit\nexit\n";
    let mut text = format!(
        "{bfd}router bgp {}\n bgp router-id 10.0.0.254\n no bgp ebgp-requires-policy\n no bgp default ipv4-unicast\n \
         no bgp network import-check\n",
        wanted.asn
    );
    if wanted.is_unnumbered() {
        writeln!(
            text,
            " neighbor {node} interface remote-as {}",
            wanted.node_asn
        )
        .unwrap();
    } else {
        writeln!(text, " neighbor {node} remote-as {}", wanted.node_asn).unwrap();
    }
    let lines = [
        (!wanted.dials, "passive"),
        (wanted.dials, "timers connect 1"),
        (wanted.far && !wanted.is_internal(), "ebgp-multihop 4"),
        (wanted.ttl_security, "ttl-security hops 1"),
        (wanted.extended_next_hop, "capability extended-nexthop"),
        (wanted.old, "dont-capability-negotiate"),
        (wanted.bfd, "bfd profile node"),
    ];
    for (_, line) in lines.into_iter().filter(|(wanted, _)| *wanted) {
        writeln!(text, " neighbor {node} {line}").unwrap();
    }
    if let Some(password) = wanted.password {
        writeln!(text, " neighbor {node} password {password}").unwrap();
    }
    for family in wanted.families("ipv4", "ipv6") {
        writeln!(
            text,
            " address-family {family} unicast\n  neighbor {node} activate"
        )
        .unwrap();
        text += &wanted.announced_of(family == "ipv6", |prefix| format!("  network {prefix}\n"));
        writeln!(text, " exit-address-family").unwrap();
    }
    text
}

fn path(path: &Value) -> Path {
    let number = |name: &str| path[name].as_u64().map(|value| value.try_into().unwrap());
    let texts = |name: &str| path[name]["string"].as_str().unwrap_or("").to_owned();
    let next_hops = path["nexthops"].as_array().into_iter().flatten();
    let extended = texts("extendedCommunity").to_lowercase();
    let words = extended.split_whitespace();
    // `LB:64512:25000000 (200.000 Mbps)`
    let extended = words.filter(|word| !word.starts_with('(') && !word.ends_with(')'));
    let large = texts("largeCommunity");
    let large = large
        .split_whitespace()
        .map(|value| format!("large:{value}"));
    let standard = texts("community");
    Path {
        next_hops: next_hops
            .filter_map(|hop| hop["ip"].as_str())
            .map(str::to_owned)
            .collect(),
        as_path: match path["aspath"]["string"].as_str() {
            None | Some("Local") => Vec::new(),
            Some(text) => as_path(text),
        },
        med: number("metric"),
        local_pref: number("locPrf"),
        communities: standard
            .split_whitespace()
            .chain(extended)
            .map(str::to_owned)
            .chain(large)
            .collect(),
    }
}
