use std::fmt::Write;

use ironlb_lab::Host;
use ironlb_lab::router::{Bird as Software, Router};
use serde_json::Value;

use super::Dialect;
use crate::bgp::interop::seen::{Path, Session, as_path, community, extended_community};
use crate::bgp::interop::wanted::Wanted;

pub(crate) static BIRD: &dyn Dialect = &Bird;

struct Bird;

impl Dialect for Bird {
    fn start(&self, host: &Host, wanted: &Wanted) -> Router {
        Router::start(host, Software, &config(wanted)).unwrap()
    }

    fn paths(&self, router: &Router, wanted: &Wanted, prefix: &str) -> Result<Vec<Path>, String> {
        let answer = router.show(&format!("show route all protocol {}", protocol(wanted)));
        let answer = answer.map_err(|error| error.to_string())?;
        let routes = answer.as_array().into_iter().flatten();
        Ok(routes
            .filter(|route| route["network"] == prefix)
            .map(path)
            .collect())
    }

    fn session(&self, router: &Router, wanted: &Wanted) -> Result<Session, String> {
        let all = router.ask(&format!("show protocols all {}", protocol(wanted)));
        let all = all.map_err(|error| error.to_string())?;
        let updates = all
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Import updates:"));
        let updates = updates.filter_map(|counts| counts.split_whitespace().next());
        Ok(Session {
            is_up: all.contains("BGP state:          Established"),
            updates: updates.filter_map(|count| count.parse::<u64>().ok()).sum(),
            all: format!("{all}{}", router.log()),
        })
    }

    fn refresh(&self, router: &Router, _: &Wanted) {
        router.ask("reload in node").unwrap();
    }
}

fn config(wanted: &Wanted) -> String {
    let mut text = "router id 10.0.0.254;\nlog stderr all;\nprotocol device {}\n".to_owned();
    if wanted.far {
        text += "protocol static { ipv4; route 10.0.0.0/24 via 10.1.0.254; }\n";
        text += "protocol static { ipv6; route fd00::/64 via fd01::fe; }\n";
    }
    for (ipv6, family) in [(false, "ipv4"), (true, "ipv6")] {
        let routes = wanted.announced_of(ipv6, |prefix| format!("route {prefix} blackhole; "));
        writeln!(text, "protocol static {{ {family}; {routes} }}").unwrap();
    }
    if wanted.bfd {
        let every = "{ interval 100 ms; multiplier 3; }";
        writeln!(
            text,
            "protocol bfd watch {{ interface \"*\" {every}; multihop {every}; }}"
        )
        .unwrap();
    }
    let (asn, node_asn) = (wanted.asn, wanted.node_asn);
    let ends = if wanted.is_unnumbered() {
        text += "protocol radv { interface \"eth0\" { max ra interval 5; }; }\n";
        format!(
            "local as {asn};\n neighbor range fe80::/10 as {node_asn};\n interface \"eth0\";\n dynamic name \"node\""
        )
    } else {
        let (router, node) = (wanted.router, wanted.node);
        format!("local {router} as {asn};\n neighbor {node} as {node_asn}")
    };
    writeln!(
        text,
        "protocol bgp node {{\n {ends};\n enable extended messages on;\n graceful restart on;\n connect delay time 1;\n \
         connect retry time 1;\n error wait time 1, 5;",
    )
    .unwrap();
    let lines = [
        (!wanted.dials && !wanted.is_unnumbered(), "passive on"),
        (wanted.far, "multihop 4"),
        (!wanted.far, "direct"),
        (wanted.ttl_security, "ttl security on"),
        (wanted.old, "enable as4 off"),
        (wanted.bfd, "bfd on"),
    ];
    for (_, line) in lines.into_iter().filter(|(wanted, _)| *wanted) {
        writeln!(text, " {line};").unwrap();
    }
    if let Some(password) = wanted.password {
        writeln!(text, " password \"{password}\";").unwrap();
    }
    let more = if wanted.extended_next_hop {
        "extended next hop on; "
    } else {
        ""
    };
    for family in wanted.families("ipv4", "ipv6") {
        writeln!(
            text,
            " {family} {{ import all; export where source = RTS_STATIC; {more}}};"
        )
        .unwrap();
    }
    text + "}\n"
}

/// What BIRD calls the session: one that came is a protocol of its own.
fn protocol(wanted: &Wanted) -> &'static str {
    if wanted.is_unnumbered() {
        "node1"
    } else {
        "node"
    }
}

fn path(route: &Value) -> Path {
    let attribute = |name: &str| route["attributes"][name].as_str();
    let number = |name: &str| attribute(name).map(|value| value.parse().unwrap());
    let tuples = |name: &str| {
        let text = attribute(name).unwrap_or("").replace(' ', "");
        let inner = text.trim_matches(['(', ')']).to_owned();
        let all: Vec<String> = inner
            .split(")(")
            .filter(|one| !one.is_empty())
            .map(str::to_owned)
            .collect();
        all
    };
    let standard = tuples("BGP.community").into_iter().map(|pair| {
        let (high, low) = pair.split_once(',').unwrap();
        community(high.parse::<u32>().unwrap() << 16 | low.parse::<u32>().unwrap())
    });
    let large = tuples("BGP.large_community")
        .into_iter()
        .map(|one| format!("large:{}", one.replace(',', ":")));
    let extended = tuples("BGP.ext_community")
        .into_iter()
        .map(|one| extended(&one));
    Path {
        next_hops: attribute("BGP.next_hop")
            .unwrap_or("")
            .split_whitespace()
            .map(str::to_owned)
            .collect(),
        as_path: as_path(attribute("BGP.as_path").unwrap_or("")),
        med: number("BGP.med"),
        local_pref: number("BGP.local_pref"),
        communities: standard.chain(large).chain(extended).collect(),
    }
}

/// `rt,65000,1`, `ro,192.0.2.1,1` or `unknown0x4,64512,1270791200`, with 0x4004 where it is not transitive.
fn extended(text: &str) -> String {
    let parts: Vec<&str> = text.split(',').collect();
    match parts[..] {
        ["rt", a, b] => format!("rt:{a}:{b}"),
        ["ro", a, b] => format!("soo:{a}:{b}"),
        ["unknown0x4" | "unknown0x4004", a, b] => {
            let (a, b): (u64, u64) = (a.parse().unwrap(), b.parse().unwrap());
            extended_community(4 << 48 | a << 32 | b)
        }
        _ => text.to_owned(),
    }
}
