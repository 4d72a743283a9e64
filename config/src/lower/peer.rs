//! BGP peers.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use ironlb_model::bgp::{Password, PeerAsn, PeerEndpoint};
use ironlb_model::labels::any_or_empty;
use ironlb_model::{BgpPeer, Config, Family, LabelSelector, Name, Node};

use super::Surroundings;
use super::advertisement::{known, refuse};
use super::number::{duration, duration_within, filled, number, quoted};
use super::selector;
use super::table::{Keep, Table, settle};
use crate::crd::{BGPPeerSpec, DynamicAsn};
use crate::error::Error;
use crate::objects::{Draft, Spec};
use crate::place::{At, Report};
use crate::suggest::did_you_mean;

/// Puts the peers into `config`, which has its BFD profiles. A profile that the operator removed while a peer that
/// is kept in its last good state uses it is kept too.
pub(super) fn lower(
    drafts: &[&Draft],
    last_good: &Config,
    keep: Keep,
    around: Surroundings<'_>,
    config: &mut Config,
    errors: &mut Vec<Error>,
) {
    let mut table = settle(drafts, &last_good.peers, keep, errors, |draft, report| {
        if around.without_secrets {
            refuse_secret(draft, report);
        }
        peer(draft, config, report)
    });
    refuse_same_session(&mut table, last_good, around.nodes, errors);
    for settled in table.values() {
        let profile = settled.value.bfd_profile.as_ref();
        let missing = profile.filter(|name| !config.bfd_profiles.contains_key(*name));
        let kept = missing.and_then(|name| last_good.bfd_profiles.get_key_value(name));
        config
            .bfd_profiles
            .extend(kept.map(|(name, profile)| (name.clone(), profile.clone())));
    }
    config.peers = table
        .into_iter()
        .map(|(name, settled)| (name, settled.value))
        .collect();
}

/// Where no Secret can be, a peer would wait for its password for ever.
fn refuse_secret(draft: &Draft, report: &mut Report<'_>) {
    let Spec::Peer(spec) = &draft.spec else {
        return;
    };
    let secret = spec.password_secret.as_ref();
    if let Some(name) = secret.and_then(|secret| filled(secret.name.as_ref())) {
        let message = format!(
            "is {}, and Secrets are read in a cluster only; set password here",
            quoted(name)
        );
        report.add(&At::ROOT.key("spec").key("passwordSecret"), message);
    }
}

fn peer(draft: &Draft, config: &Config, report: &mut Report<'_>) -> Option<BgpPeer> {
    let Spec::Peer(spec) = &draft.spec else {
        return None;
    };
    let at = At::ROOT.key("spec");
    let my_asn = my_asn(spec, &at, report);
    let peer_asn = peer_asn(spec, &at, report);
    let endpoint = endpoint(spec, &at, report);
    let port = number(spec.peer_port, 1..=65_535, &at.key("peerPort"), report);
    let nodes = selector::list(&spec.node_selectors, &at.key("nodeSelectors"), report);
    let timers = timers(spec, &at, report);
    let connect_time = connect_time(spec, &at, report);
    let restart_time = restart_time(spec, &at, report);
    multihop(spec, &at, report);
    let listen_port = listen_port(spec, &at, report);
    let ttl_security_hops = ttl_security_hops(spec, &at, report);
    if spec.bfd_strict && filled(spec.bfd_profile.as_ref()).is_none() {
        let message = "is for a session with BFD, and bfdProfile is not set";
        report.add(&at.key("bfdStrict"), message);
    }
    let drain_time = spec.drain_time.as_deref().and_then(|text| {
        let at = at.key("drainTime");
        duration_within(text, DRAIN_TIME, "0s to 1h", &at, report)
    });
    let maximum_prefixes = spec.maximum_prefixes.and_then(|number_of| {
        let allowed = 1..=i64::from(u32::MAX);
        number(number_of, allowed, &at.key("maximumPrefixes"), report)
    });
    let (my_asn, peer_asn, endpoint, port) = (my_asn?, peer_asn?, endpoint?, port?);
    let (hold_time, keepalive_time) = timers?;
    Some(BgpPeer {
        name: draft.name.clone(),
        my_asn,
        local_asn: spec
            .local_asn
            .and_then(|asn| number(asn, ASN, &at.key("localASN"), report)),
        peer_asn,
        source: source(spec, &endpoint, &at, report),
        endpoint,
        port,
        hold_time,
        keepalive_time,
        connect_time,
        router_id: router_id(spec, &at, report),
        nodes,
        password: password(spec, &at, report),
        bfd_profile: bfd_profile(spec, config, &at, report),
        bfd_strict: spec.bfd_strict,
        graceful_restart: spec.enable_graceful_restart,
        restart_time: restart_time.unwrap_or(BgpPeer::RESTART_TIME),
        ebgp_multihop: spec.ebgp_multi_hop,
        vrf: filled(spec.vrf.as_ref()).map(str::to_owned),
        dual_stack: spec.dual_stack_address_family,
        passive: spec.passive_mode,
        listen_port,
        ttl_security_hops,
        maximum_prefixes,
        graceful_shutdown: spec.graceful_shutdown,
        drain_time: drain_time.unwrap_or(BgpPeer::DRAIN_TIME),
    })
}

fn my_asn(spec: &BGPPeerSpec, at: &At<'_>, report: &mut Report<'_>) -> Option<u32> {
    let at = at.key("myASN");
    match spec.my_asn {
        Some(asn) => number(asn, ASN, &at, report),
        None => {
            report.add(&at, "is missing; it must be 1 to 4294967295");
            None
        }
    }
}

fn peer_asn(spec: &BGPPeerSpec, at: &At<'_>, report: &mut Report<'_>) -> Option<PeerAsn> {
    let field = at.key("peerASN");
    match (spec.peer_asn.filter(|asn| *asn != 0), spec.dynamic_asn) {
        (Some(asn), None) => number(asn, ASN, &field, report).map(PeerAsn::Number),
        (None, Some(DynamicAsn::Internal)) => Some(PeerAsn::Internal),
        (None, Some(DynamicAsn::External)) => Some(PeerAsn::External),
        (None, None) => {
            let allowed = "is missing; set it, or dynamicASN to internal or external";
            report.add(&field, allowed);
            None
        }
        (Some(asn), Some(_)) => {
            let message = format!("is set besides peerASN {asn}; one of the two is allowed");
            report.add(&at.key("dynamicASN"), message);
            None
        }
    }
}

fn endpoint(spec: &BGPPeerSpec, at: &At<'_>, report: &mut Report<'_>) -> Option<PeerEndpoint> {
    let address = filled(spec.peer_address.as_ref());
    let interface = filled(spec.interface.as_ref());
    match (address, interface) {
        (Some(text), None) => place(text, &at.key("peerAddress"), report),
        (None, Some(name)) => Some(PeerEndpoint::Interface(name.to_owned())),
        (None, None) => {
            report.add(&at.key("peerAddress"), "is missing; set it, or interface");
            None
        }
        (Some(_), Some(_)) => {
            let message = "is set besides peerAddress; one of the two is allowed";
            report.add(&at.key("interface"), message);
            None
        }
    }
}

/// An address, and of a link-local one also the interface: `fe80::1%eth0`.
fn place(text: &str, at: &At<'_>, report: &mut Report<'_>) -> Option<PeerEndpoint> {
    let (address, interface) = match text.split_once('%') {
        Some((address, interface)) => (address, Some(interface)),
        None => (text, None),
    };
    let address: IpAddr = address_of(address, "an IP address", at, report)?;
    let link_local = match address {
        IpAddr::V6(address) if address.is_unicast_link_local() => Some(address),
        _ => None,
    };
    let message = match (link_local, interface) {
        (None, None) => return Some(PeerEndpoint::Address(address)),
        (Some(address), Some(name)) if is_interface_name(name) => {
            return Some(PeerEndpoint::LinkLocal(address, name.to_owned()));
        }
        (Some(_), Some(name)) => format!(
            "{} is not the name of an interface, which has 1 to 15 bytes without blanks, / and :",
            quoted(name)
        ),
        (Some(_), None) => {
            format!("{address} is link-local; say on which interface it is, such as {address}%eth0")
        }
        (None, Some(_)) => {
            format!("{address} is not link-local (fe80::/10), and must not have an interface")
        }
    };
    report.add(at, message);
    None
}

/// What Linux takes for one.
fn is_interface_name(name: &str) -> bool {
    let allowed = |byte: u8| !byte.is_ascii_whitespace() && !matches!(byte, b'/' | b':' | b'%');
    (1..=15).contains(&name.len()) && name.bytes().all(allowed)
}

fn source(
    spec: &BGPPeerSpec,
    endpoint: &PeerEndpoint,
    at: &At<'_>,
    report: &mut Report<'_>,
) -> Option<IpAddr> {
    let text = filled(spec.source_address.as_ref())?;
    let at = at.key("sourceAddress");
    let address: IpAddr = address_of(text, "an IP address", &at, report)?;
    let family = match endpoint {
        PeerEndpoint::Address(peer) => Some(Family::of(*peer)),
        PeerEndpoint::LinkLocal(..) => Some(Family::V6),
        PeerEndpoint::Interface(_) => None,
    };
    if family.is_some_and(|family| family != Family::of(address)) {
        report.add(
            &at,
            format!("{address} is of another family than the peer's address {endpoint}"),
        );
        return None;
    }
    Some(address)
}

fn router_id(spec: &BGPPeerSpec, at: &At<'_>, report: &mut Report<'_>) -> Option<Ipv4Addr> {
    let text = filled(spec.router_id.as_ref())?;
    let at = at.key("routerID");
    let id: Ipv4Addr = address_of(
        text,
        "a router ID, which is like an IPv4 address",
        &at,
        report,
    )?;
    if id.is_unspecified() {
        report.add(&at, "0.0.0.0 is no router ID");
        return None;
    }
    Some(id)
}

fn address_of<T: FromStr>(
    text: &str,
    what: &str,
    at: &At<'_>,
    report: &mut Report<'_>,
) -> Option<T> {
    let address = text.parse().ok();
    if address.is_none() {
        let hint = address_meant(text);
        report.add(at, format!("{} is not {what}{hint}", quoted(text)));
    }
    address
}

/// What to do about an address with something behind it.
fn address_meant(text: &str) -> String {
    let is_address = |text: &str| text.parse::<IpAddr>().is_ok();
    match (text.split_once('/'), text.parse::<SocketAddr>()) {
        (Some((address, _)), _) if is_address(address) => format!("; write {address}"),
        (_, Ok(socket)) => format!("; write {} (the peer's port is peerPort)", socket.ip()),
        _ => String::new(),
    }
}

/// Hold time and keepalive time, in whole seconds. Either follows from the other: keepalive is a third.
fn timers(
    spec: &BGPPeerSpec,
    at: &At<'_>,
    report: &mut Report<'_>,
) -> Option<(Duration, Duration)> {
    let hold_at = at.key("holdTime");
    let keepalive_at = at.key("keepaliveTime");
    let mut seconds = |text: Option<&String>, at: &At<'_>| -> Option<Option<u64>> {
        match filled(text) {
            None => Some(None),
            Some(text) => Some(Some(duration(text, at, report)?.as_secs())),
        }
    };
    let hold = seconds(spec.hold_time.as_ref(), &hold_at);
    let keepalive = seconds(spec.keepalive_time.as_ref(), &keepalive_at);
    let (hold, keepalive) = match (hold?, keepalive?) {
        (None, None) => (90, 30),
        (Some(hold), None) => (hold, hold / 3),
        (None, Some(keepalive)) => (keepalive.saturating_mul(3), keepalive),
        (Some(hold), Some(keepalive)) => (hold, keepalive),
    };
    let mut sound = true;
    if (1..3).contains(&hold) || hold > 65_535 {
        let message = format!("{hold}s is not allowed; it must be 0s, or 3s to 65535s");
        report.add(
            if spec.hold_time.is_some() {
                &hold_at
            } else {
                &keepalive_at
            },
            message,
        );
        sound = false;
    }
    if keepalive > hold {
        let message = format!("{keepalive}s is not allowed; the hold time is {hold}s");
        report.add(&keepalive_at, message);
        sound = false;
    }
    sound.then(|| (Duration::from_secs(hold), Duration::from_secs(keepalive)))
}

fn connect_time(spec: &BGPPeerSpec, at: &At<'_>, report: &mut Report<'_>) -> Option<Duration> {
    let text = filled(spec.connect_time.as_ref())?;
    let at = at.key("connectTime");
    whole_seconds(text, CONNECT_TIME, "1s to 65535s", &at, report)
}

fn restart_time(spec: &BGPPeerSpec, at: &At<'_>, report: &mut Report<'_>) -> Option<Duration> {
    let text = spec.restart_time.as_ref()?;
    let at = at.key("restartTime");
    if !spec.enable_graceful_restart {
        report.add(&at, "is for enableGracefulRestart, which is not set");
    }
    whole_seconds(text, RESTART_TIME, "1s to 4095s", &at, report)
}

fn whole_seconds(
    text: &str,
    allowed: (Duration, Duration),
    limits: &str,
    at: &At<'_>,
    report: &mut Report<'_>,
) -> Option<Duration> {
    let time = duration_within(text, allowed, limits, at, report)?;
    if time.subsec_millis() != 0 {
        let message = format!("{text} is not allowed; it must be a whole number of seconds");
        report.add(at, message);
    }
    Some(time)
}

fn multihop(spec: &BGPPeerSpec, at: &At<'_>, report: &mut Report<'_>) {
    let is_internal = spec.peer_asn.is_some() && spec.peer_asn == spec.my_asn
        || spec.dynamic_asn == Some(DynamicAsn::Internal);
    if spec.ebgp_multi_hop && is_internal {
        let message = "is for external peers, and this one has our AS number";
        report.add(&at.key("ebgpMultiHop"), message);
    }
}

fn listen_port(spec: &BGPPeerSpec, at: &At<'_>, report: &mut Report<'_>) -> Option<u16> {
    match spec.listen_port {
        Some(port) => number(port, 1..=65_535, &at.key("listenPort"), report),
        None => spec.passive_mode.then_some(BgpPeer::PORT),
    }
}

fn ttl_security_hops(spec: &BGPPeerSpec, at: &At<'_>, report: &mut Report<'_>) -> Option<u8> {
    let at = at.key("ttlSecurityHops");
    let hops = number(spec.ttl_security_hops?, 1..=254, &at, report);
    if spec.ebgp_multi_hop {
        report.add(
            &at,
            "is set besides ebgpMultiHop; one of the two is allowed",
        );
    }
    hops
}

fn password(spec: &BGPPeerSpec, at: &At<'_>, report: &mut Report<'_>) -> Password {
    let plain = spec.password.as_ref().map(|password| &password.0);
    let secret = spec.password_secret.as_ref();
    let secret_name = secret.and_then(|secret| filled(secret.name.as_ref()));
    match (filled(plain), secret_name) {
        (Some(_), Some(_)) => {
            let message = "is set besides password; one of the two is allowed";
            report.add(&at.key("passwordSecret"), message);
            Password::None
        }
        (Some(plain), None) => {
            if plain.len() > Password::LONGEST {
                let message = format!("has {} bytes; at most 80 are allowed", plain.len());
                report.add(&at.key("password"), message);
            }
            Password::Plain(plain.to_owned())
        }
        (None, Some(name)) => Password::Secret(name.to_owned()),
        (None, None) => Password::None,
    }
}

fn bfd_profile(
    spec: &BGPPeerSpec,
    config: &Config,
    at: &At<'_>,
    report: &mut Report<'_>,
) -> Option<Name> {
    let name = filled(spec.bfd_profile.as_ref())?;
    if let Some((name, _)) = config.bfd_profiles.get_key_value(name) {
        return Some(name.clone());
    }
    let names = config.bfd_profiles.keys().map(AsRef::as_ref);
    let hint = match did_you_mean(name, names) {
        Some(meant) => format!("; did you mean \"{meant}\"?"),
        None => String::new(),
    };
    let message = format!("there is no BFDProfile {}{hint}", quoted(name));
    report.add(&at.key("bfdProfile"), message);
    None
}

/// Refuses a peer that a node would have a second session with: same place, port and VRF. The one that is as in the
/// last good configuration stays, else the first by name.
fn refuse_same_session(
    table: &mut Table<'_, BgpPeer>,
    last_good: &Config,
    nodes: &[Node],
    errors: &mut Vec<Error>,
) {
    let mut sessions: BTreeMap<_, Vec<(bool, Name)>> = BTreeMap::new();
    for (name, settled) in &*table {
        let peer = &settled.value;
        let session = (peer.endpoint.clone(), peer.port, peer.vrf.clone());
        let is_changed = last_good.peers.get(name) != Some(peer);
        let peers = sessions.entry(session).or_default();
        peers.push((is_changed, name.clone()));
    }
    for mut peers in sessions.into_values() {
        peers.sort();
        for (index, (_, name)) in peers.iter().enumerate() {
            let earlier = peers.iter().take(index).map(|(_, name)| name);
            let Some(other) = earlier
                .clone()
                .find(|other| same_node(table, name, other, nodes))
            else {
                continue;
            };
            let message = format!(
                "{} peers with the same place, port and VRF on the same node",
                known(table, other)
            );
            let spec = At::ROOT.key("spec");
            let peer = table.get(name).map(|settled| &settled.value.endpoint);
            let field = match peer {
                Some(PeerEndpoint::Interface(_)) => "interface",
                _ => "peerAddress",
            };
            refuse(
                table,
                &last_good.peers,
                name,
                &spec.key(field),
                message,
                errors,
            );
        }
    }
}

fn same_node(table: &Table<'_, BgpPeer>, one: &Name, other: &Name, nodes: &[Node]) -> bool {
    match (table.get(one), table.get(other)) {
        (Some(one), Some(other)) => nodes_meet(&one.value.nodes, &other.value.nodes, nodes),
        _ => false,
    }
}

/// Whether some node is bound to be selected by both: one of them selects every node, or they share a selector, or
/// both select one of `known`. Selectors that differ may meet on a node that is not known here as well.
pub(super) fn nodes_meet(one: &[LabelSelector], other: &[LabelSelector], known: &[Node]) -> bool {
    let all =
        |nodes: &[LabelSelector]| nodes.is_empty() || nodes.contains(&LabelSelector::default());
    let both = |node: &Node| any_or_empty(one, &node.labels) && any_or_empty(other, &node.labels);
    all(one)
        || all(other)
        || one.iter().any(|selector| other.contains(selector))
        || known.iter().any(both)
}

/// Every AS number but 0, which nobody has (RFC 7607).
const ASN: std::ops::RangeInclusive<i64> = 1..=4_294_967_295;

const CONNECT_TIME: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(65_535));

/// What twelve bits hold (RFC 4724 §3).
const RESTART_TIME: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(4_095));

const DRAIN_TIME: (Duration, Duration) = (Duration::ZERO, Duration::from_secs(3_600));
