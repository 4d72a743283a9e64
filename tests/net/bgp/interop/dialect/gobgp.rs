use std::collections::BTreeSet;
use std::fmt::Write;
use std::process::Command;

use ironlb_lab::Host;
use ironlb_lab::router::{GoBgp as Software, Router};
use serde_json::Value;

use super::Dialect;
use crate::bgp::interop::seen::{Path, Session, community};
use crate::bgp::interop::wanted::Wanted;

pub(crate) static GOBGP: &dyn Dialect = &GoBgp;

struct GoBgp;

impl Dialect for GoBgp {
    fn start(&self, host: &Host, wanted: &Wanted) -> Router {
        let router = Router::start(host, Software, &config(wanted)).unwrap();
        for prefix in wanted.announced {
            let mut command = Command::new("gobgp");
            let family = if prefix.contains(':') { "ipv6" } else { "ipv4" };
            command.args(["global", "rib", "add", prefix, "-a", family]);
            assert!(host.run(&mut command).unwrap().status.success());
        }
        router
    }

    fn paths(&self, router: &Router, _: &Wanted, prefix: &str) -> Result<Vec<Path>, String> {
        let family = if prefix.contains(':') { "ipv6" } else { "ipv4" };
        let answer = router.show(&format!("global rib -a {family}"));
        let answer = answer.map_err(|error| error.to_string())?;
        Ok(answer[prefix]
            .as_array()
            .into_iter()
            .flatten()
            .map(path)
            .collect())
    }

    fn session(&self, router: &Router, wanted: &Wanted) -> Result<Session, String> {
        let answer = router.show(&format!("neighbor {}", wanted.node));
        let answer = answer.map_err(|error| error.to_string())?;
        let state = &answer["state"];
        Ok(Session {
            // ESTABLISHED in the enumeration of its API.
            is_up: state["session_state"] == 6,
            updates: state["messages"]["received"]["update"]
                .as_u64()
                .unwrap_or(0),
            all: format!("{answer}{}", router.log()),
        })
    }
}

fn config(wanted: &Wanted) -> String {
    let mut text = format!(
        "[global.config]\nas = {}\nrouter-id = \"10.0.0.254\"\n[[neighbors]]\n[neighbors.config]\n\
         neighbor-address = \"{}\"\npeer-as = {}\n",
        wanted.asn, wanted.node, wanted.node_asn
    );
    if let Some(password) = wanted.password {
        writeln!(text, "auth-password = \"{password}\"").unwrap();
    }
    writeln!(
        text,
        "[neighbors.transport.config]\nlocal-address = \"{}\"",
        wanted.router
    )
    .unwrap();
    writeln!(text, "passive-mode = {}", !wanted.dials).unwrap();
    writeln!(text, "[neighbors.timers.config]\nconnect-retry = 1").unwrap();
    if wanted.far {
        writeln!(
            text,
            "[neighbors.ebgp-multihop.config]\nenabled = true\nmultihop-ttl = 4"
        )
        .unwrap();
    }
    if wanted.ttl_security {
        writeln!(
            text,
            "[neighbors.ttl-security.config]\nenabled = true\nttl-min = 255"
        )
        .unwrap();
    }
    if wanted.graceful_restart {
        writeln!(
            text,
            "[neighbors.graceful-restart.config]\nenabled = true\nrestart-time = 60"
        )
        .unwrap();
    }
    for family in wanted.families("ipv4-unicast", "ipv6-unicast") {
        writeln!(
            text,
            "[[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = \"{family}\""
        )
        .unwrap();
        if wanted.graceful_restart {
            writeln!(
                text,
                "[neighbors.afi-safis.mp-graceful-restart.config]\nenabled = true"
            )
            .unwrap();
        }
    }
    text
}

fn path(path: &Value) -> Path {
    let mut seen = Path::default();
    for attribute in path["attrs"].as_array().into_iter().flatten() {
        let value = &attribute["value"];
        let number = |value: &Value| u32::try_from(value.as_u64().unwrap()).unwrap();
        match attribute["type"].as_u64().unwrap() {
            2 => {
                let segments = attribute["as_paths"].as_array().into_iter().flatten();
                let asns = segments.flat_map(|segment| segment["asns"].as_array().unwrap());
                seen.as_path = asns.map(number).collect();
            }
            3 | 14 => {
                seen.next_hops
                    .insert(attribute["nexthop"].as_str().unwrap().to_owned());
            }
            4 => seen.med = Some(number(&attribute["metric"])),
            5 => seen.local_pref = Some(number(value)),
            8 => {
                let all = attribute["communities"].as_array().unwrap();
                seen.communities
                    .extend(all.iter().map(|value| community(number(value))));
            }
            16 => seen
                .communities
                .extend(value.as_array().unwrap().iter().map(extended)),
            32 => seen.communities.extend(large(value)),
            _ => {}
        }
    }
    seen
}

fn extended(value: &Value) -> String {
    let text = value["value"].as_str().unwrap_or("");
    match value["subtype"].as_u64() {
        Some(2) => format!("rt:{text}"),
        Some(3) => format!("soo:{text}"),
        Some(4) => format!("lb:{}:{}", value["asn"], value["bandwidth"]),
        _ => value.to_string(),
    }
}

fn large(value: &Value) -> BTreeSet<String> {
    let all = value.as_array().unwrap().iter();
    all.map(|one| {
        format!(
            "large:{}:{}:{}",
            one["ASN"], one["LocalData1"], one["LocalData2"]
        )
    })
    .collect()
}
