use std::fmt::Write;

use ironlb_lab::Host;
use ironlb_lab::router::{OpenBgpd as Software, Router};
use serde_json::Value;

use super::Dialect;
use crate::bgp::interop::seen::{Path, Session, as_path, extended_community};
use crate::bgp::interop::wanted::Wanted;

pub(crate) static OPENBGPD: &dyn Dialect = &OpenBgpd;

struct OpenBgpd;

impl Dialect for OpenBgpd {
    fn start(&self, host: &Host, wanted: &Wanted) -> Router {
        Router::start(host, Software, &config(wanted)).unwrap()
    }

    fn paths(&self, router: &Router, _: &Wanted, prefix: &str) -> Result<Vec<Path>, String> {
        let answer = router.show("show rib detail");
        let answer = answer.map_err(|error| error.to_string())?;
        let routes = answer["rib"].as_array().into_iter().flatten();
        Ok(routes
            .filter(|route| route["prefix"] == prefix)
            .map(path)
            .collect())
    }

    fn session(&self, router: &Router, wanted: &Wanted) -> Result<Session, String> {
        let answer = router.show(&format!("show neighbor {}", wanted.node));
        let answer = answer.map_err(|error| error.to_string())?;
        let neighbour = &answer["neighbors"][0];
        let received = &neighbour["stats"]["update"]["received"]["updates"];
        Ok(Session {
            is_up: neighbour["state"] == "Established",
            updates: received.as_u64().unwrap_or(0),
            all: format!("{neighbour}{}", router.log()),
        })
    }

    fn refresh(&self, router: &Router, wanted: &Wanted) {
        router
            .ask(&format!("neighbor {} refresh", wanted.node))
            .unwrap();
    }

    /// After a refusal it would wait for half a minute.
    fn dial(&self, router: &Router, wanted: &Wanted) {
        router
            .ask(&format!("neighbor {} clear", wanted.node))
            .unwrap();
    }
}

fn config(wanted: &Wanted) -> String {
    let mut text = format!(
        "AS {}\nrouter-id 10.0.0.254\nlisten on {}\nfib-update no\n",
        wanted.asn, wanted.router
    );
    for prefix in wanted.announced {
        writeln!(text, "network {prefix}").unwrap();
    }
    writeln!(
        text,
        "neighbor {} {{\n remote-as {}\n local-address {}",
        wanted.node, wanted.node_asn, wanted.router
    )
    .unwrap();
    let lines = [
        (!wanted.dials, "passive"),
        (wanted.far, "multihop 4"),
        (wanted.ttl_security, "ttl-security yes"),
        (wanted.old, "announce as-4byte no"),
        (wanted.ipv4, "announce IPv4 unicast"),
        (!wanted.ipv4, "announce IPv4 none"),
        (wanted.ipv6, "announce IPv6 unicast"),
        (!wanted.ipv6, "announce IPv6 none"),
    ];
    for (_, line) in lines.into_iter().filter(|(wanted, _)| *wanted) {
        writeln!(text, " {line}").unwrap();
    }
    if let Some(password) = wanted.password {
        writeln!(text, " tcp md5sig password {password}").unwrap();
    }
    text + "}\nallow from any\nallow to any\n"
}

fn path(path: &Value) -> Path {
    let number = |name: &str| path[name].as_u64().map(|value| value.try_into().unwrap());
    let texts = |name: &str| {
        path[name]
            .as_array()
            .into_iter()
            .flatten()
            .map(|one| one.as_str().unwrap())
    };
    let standard = texts("communities").map(|one| match one {
        "NO_EXPORT" | "GRACEFUL_SHUTDOWN" => one.to_lowercase().replace('_', "-"),
        _ => one.to_owned(),
    });
    let large = texts("large_communities").map(|one| format!("large:{one}"));
    Path {
        next_hops: path["exit_nexthop"]
            .as_str()
            .map(str::to_owned)
            .into_iter()
            .collect(),
        as_path: as_path(path["aspath"].as_str().unwrap_or("")),
        // It shows 0 for none.
        med: number("metric").filter(|metric| *metric != 0),
        local_pref: number("localpref"),
        communities: standard
            .chain(large)
            .chain(texts("extended_communities").map(extended))
            .collect(),
    }
}

/// `rt 65000:1` or `[4] 64512:1270791200`.
fn extended(text: &str) -> String {
    let (kind, value) = text.split_once(' ').unwrap();
    if kind != "[4]" {
        return format!("{kind}:{value}");
    }
    let (asn, value) = value.split_once(':').unwrap();
    let (asn, value): (u64, u64) = (asn.parse().unwrap(), value.parse().unwrap());
    extended_community(4 << 48 | asn << 32 | value)
}
