//! The cluster's address plan. Everything not named here is free for tests.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where nodes expect the way out. Nobody is there, until a test puts a router there.
pub(crate) const GATEWAY_V4: &str = "10.0.0.1";
pub(crate) const GATEWAY_V6: &str = "fd00:10::1";
pub(crate) const CONTROL_V4: &str = "10.0.0.2";
pub(crate) const CONTROL_V6: &str = "fd00:10::2";
pub(crate) const CLIENT_V4: &str = "10.0.0.3";
pub(crate) const CLIENT_V6: &str = "fd00:10::3";
pub(crate) const SERVICE_CIDRS: &str = "10.32.0.0/16,fd00:32::/112";
pub(crate) const POD_CIDRS: &str = "10.64.0.0/10,fd00:64::/32";

/// The node's addresses on the LAN, 10.0.0.0/24 and fd00:10::/64, by its number from 1.
pub(crate) fn node_addresses(number: u8) -> [IpAddr; 2] {
    let low = NODES.saturating_add(number);
    [
        Ipv4Addr::new(10, 0, 0, low).into(),
        Ipv6Addr::new(0xfd00, 0x10, 0, 0, 0, 0, 0, u16::from(low)).into(),
    ]
}

/// The prefixes of the node's Pods.
pub(crate) fn pod_prefixes(number: u8) -> [String; 2] {
    [
        format!("10.{}.0.0/16", PODS.saturating_add(number)),
        format!("fd00:64:{number}::/64"),
    ]
}

/// The addresses of the node's Pod of that number, from 1.
pub(crate) fn pod_addresses(node: u8, pod: u16) -> [IpAddr; 2] {
    let [high, low] = pod.to_be_bytes();
    [
        Ipv4Addr::new(10, PODS.saturating_add(node), high, low).into(),
        Ipv6Addr::new(0xfd00, 0x64, u16::from(node), 0, 0, 0, 0, pod).into(),
    ]
}

const NODES: u8 = 10;
const PODS: u8 = 64;
