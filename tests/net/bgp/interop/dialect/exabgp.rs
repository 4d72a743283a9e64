use std::fmt::Write;

use ironlb_lab::Host;
use ironlb_lab::router::{ExaBgp as Software, Router};
use serde_json::Value;

use super::Dialect;
use crate::bgp::interop::seen::{Path, Session, community, extended_community};
use crate::bgp::interop::wanted::Wanted;

pub(crate) static EXABGP: &dyn Dialect = &ExaBgp;

struct ExaBgp;

impl Dialect for ExaBgp {
    fn start(&self, host: &Host, wanted: &Wanted) -> Router {
        Router::start(host, Software, &config(wanted)).unwrap()
    }

    fn paths(&self, router: &Router, _: &Wanted, prefix: &str) -> Result<Vec<Path>, String> {
        let messages = router.show("received").map_err(|error| error.to_string())?;
        let mut known: Option<Path> = None;
        for message in messages.as_array().unwrap() {
            if message["neighbor"]["state"] == "down" {
                known = None;
            }
            let update = &message["neighbor"]["message"]["update"];
            if families(&update["withdraw"]).any(|all| has(all, prefix)) {
                known = None;
            }
            let next_hops = families(&update["announce"]).flat_map(|all| all.as_object().unwrap());
            let next_hops: Vec<_> = next_hops.filter(|(_, all)| has(all, prefix)).collect();
            if !next_hops.is_empty() {
                let next_hops = next_hops.into_iter().map(|(hop, _)| hop.clone()).collect();
                let path = attributes(&update["attribute"]);
                known = Some(Path { next_hops, ..path });
            }
        }
        Ok(known.into_iter().collect())
    }

    fn refresh(&self, router: &Router, wanted: &Wanted) {
        for family in wanted.families("ipv4", "ipv6") {
            let node = wanted.node;
            let command = format!("neighbor {node} announce route-refresh {family} unicast\n");
            router.configure(&command).unwrap();
        }
    }

    fn session(&self, router: &Router, _: &Wanted) -> Result<Session, String> {
        let messages = router.show("received").map_err(|error| error.to_string())?;
        let messages = messages.as_array().unwrap();
        let mut states = messages.iter().filter(|message| message["type"] == "state");
        let updates = messages
            .iter()
            .filter(|message| message["neighbor"]["message"]["update"].is_object());
        Ok(Session {
            is_up: states
                .next_back()
                .is_some_and(|message| message["neighbor"]["state"] == "up"),
            updates: u64::try_from(updates.count()).unwrap(),
            all: format!("{messages:?}{}", router.log()),
        })
    }
}

fn config(wanted: &Wanted) -> String {
    let families = wanted.families("ipv4 unicast; ", "ipv6 unicast; ").concat();
    let mut text = format!(
        "neighbor {} {{\n router-id 10.0.0.254;\n local-address {};\n local-as {};\n peer-as {};\n family {{ {families}}}\n \
         capability {{ asn4 {}; route-refresh enable; extended-message enable; nexthop {}; }}\n \
         api {{ processes [ seen ]; neighbor-changes; receive {{ parsed; update; open; notification; }} }}\n",
        wanted.node,
        wanted.router,
        wanted.asn,
        // AS_TRANS stands for a number that it does not know of.
        if wanted.old { 23_456 } else { wanted.node_asn },
        if wanted.old { "disable" } else { "enable" },
        if wanted.extended_next_hop {
            "enable"
        } else {
            "disable"
        },
    );
    if wanted.extended_next_hop {
        writeln!(text, " nexthop {{ ipv4 unicast ipv6; }}").unwrap();
    }
    if wanted.dials {
        writeln!(text, " connect 179;").unwrap();
    } else {
        writeln!(text, " passive;\n listen 179;").unwrap();
    }
    if wanted.ttl_security {
        writeln!(text, " outgoing-ttl 255;\n incoming-ttl 255;").unwrap();
    }
    if let Some(password) = wanted.password {
        writeln!(text, " md5-password \"{password}\";").unwrap();
    }
    let route = |prefix: &str| format!("route {prefix} next-hop self; ");
    for ipv6 in [false, true] {
        writeln!(text, " static {{ {} }}", wanted.announced_of(ipv6, route)).unwrap();
    }
    text + "}\n"
}

fn families(routes: &Value) -> impl Iterator<Item = &Value> {
    routes.as_object().into_iter().flatten().map(|(_, all)| all)
}

fn has(routes: &Value, prefix: &str) -> bool {
    let routes = routes.as_array().into_iter().flatten();
    routes.into_iter().any(|route| route["nlri"] == prefix)
}

fn attributes(attributes: &Value) -> Path {
    let all = |name: &str| attributes[name].as_array().cloned().unwrap_or_default();
    let number = |value: &Value| u32::try_from(value.as_u64().unwrap()).unwrap();
    let standard = all("community")
        .into_iter()
        .map(|pair| community(number(&pair[0]) << 16 | number(&pair[1])));
    let large = all("large-community").into_iter();
    let large = large.map(|one| format!("large:{}:{}:{}", one[0], one[1], one[2]));
    let extended = all("extended-community").into_iter();
    let extended = extended.map(|one| extended_community(one["value"].as_u64().unwrap()));
    Path {
        as_path: all("as-path").iter().map(number).collect(),
        med: attributes["med"]
            .as_u64()
            .map(|med| med.try_into().unwrap()),
        local_pref: attributes["local-preference"]
            .as_u64()
            .map(|value| value.try_into().unwrap()),
        communities: standard.chain(large).chain(extended).collect(),
        ..Path::default()
    }
}
