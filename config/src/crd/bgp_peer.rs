//! BGPPeer.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LabelSelector;
use super::resource::{Nothing, custom_resource};
use super::rules;

custom_resource!(
    /// A BGP router to peer with.
    BGPPeer,
    "v1beta2",
    "bgppeers",
    BGPPeerSpec,
    Nothing
);

/// The router, and how the session with it is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::peer(), "required" = ["myASN"]))]
pub struct BGPPeerSpec {
    /// Our AS number.
    #[serde(default, rename = "myASN")]
    #[schemars(range(min = 1, max = 4_294_967_295_i64))]
    pub my_asn: Option<i64>,
    /// The peer's AS number; 0 counts as absent.
    #[serde(default, rename = "peerASN", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4_294_967_295_i64))]
    pub peer_asn: Option<i64>,
    /// The AS number that we show this peer in place of ours.
    #[serde(default, rename = "localASN", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4_294_967_295_i64))]
    pub local_asn: Option<i64>,
    /// In place of peerASN: any number that is ours (internal) or is not (external).
    #[serde(
        default,
        rename = "dynamicASN",
        skip_serializing_if = "Option::is_none"
    )]
    pub dynamic_asn: Option<DynamicAsn>,
    /// The peer's address; of a link-local one with the interface (an extension): fe80::1%eth0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("x-kubernetes-validations" = rules::peer_address()))]
    pub peer_address: Option<String>,
    /// In place of peerAddress: the interface on which the peer is found by its link-local address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub interface: Option<String>,
    /// The address to connect from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("x-kubernetes-validations" = rules::address()))]
    pub source_address: Option<String>,
    /// The TCP port to connect to.
    #[serde(default = "bgp_port")]
    #[schemars(range(min = 1, max = 65_535))]
    pub peer_port: i64,
    /// Hold time to propose: 0s for none, or at least 3s; 90s when absent. Counted in whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = rules::DURATION_OR_NOTHING))]
    pub hold_time: Option<String>,
    /// Time between keepalives, at most the hold time; a third of it when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = rules::DURATION_OR_NOTHING))]
    pub keepalive_time: Option<String>,
    /// Time between attempts to connect, 1s to 65535s in whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = rules::DURATION_OR_NOTHING), extend("x-kubernetes-validations" = rules::connect_time()))]
    pub connect_time: Option<String>,
    /// Our BGP identifier, written as an IPv4 address; derived from the node when absent.
    #[serde(default, rename = "routerID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("x-kubernetes-validations" = rules::router_id()))]
    pub router_id: Option<String>,
    /// The nodes that peer; none for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2048))]
    pub node_selectors: Vec<LabelSelector>,
    /// Password of the session (TCP MD5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretText>,
    /// In place of password: a Secret of type kubernetes.io/basic-auth whose key password holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret: Option<SecretReference>,
    /// The BFDProfile to watch the peer with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub bfd_profile: Option<String>,
    /// An extension: whether the BGP session waits until BFD is up, where the peer asks for the same
    /// (draft-ietf-idr-bgp-bfd-strict-mode). Only with bfdProfile.
    #[serde(default)]
    pub bfd_strict: bool,
    /// Whether routes outlive a restart of the speaker (RFC 4724). Cannot be changed later.
    #[serde(default)]
    pub enable_graceful_restart: bool,
    /// Whether an external peer may be more than one hop away.
    #[serde(default)]
    pub ebgp_multi_hop: bool,
    /// The VRF to connect in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub vrf: Option<String>,
    /// Accepted and without effect; dualStackAddressFamily is what decides.
    #[serde(default, rename = "disableMP")]
    pub disable_mp: bool,
    /// Whether both families are announced over this one session.
    #[serde(default)]
    pub dual_stack_address_family: bool,
    /// An extension: whether we leave the connecting to the peer. We then listen, on listenPort.
    #[serde(default)]
    pub passive_mode: bool,
    /// An extension: the TCP port on which the peer may connect to us. When absent we listen only with passiveMode, on 179.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub listen_port: Option<i64>,
    /// An extension: over how many hops at most the peer's packets may come, which is seen by their TTL (RFC 5082): 1 for
    /// a neighbour. The peer must do the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 254))]
    pub ttl_security_hops: Option<i64>,
    /// An extension: for how long the peer is to keep our routes while the speaker restarts, 1s to 4095s in whole seconds; 120s
    /// when absent. Only with enableGracefulRestart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = rules::DURATION), extend("x-kubernetes-validations" = rules::restart_time()))]
    pub restart_time: Option<String>,
    /// An extension: how many prefixes the peer may send before the session is closed; absent for any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4_294_967_295_i64))]
    pub maximum_prefixes: Option<i64>,
    /// An extension: drains this peer: the routes stay, marked with the community graceful-shutdown (RFC 8326) and, for an
    /// internal peer, with LOCAL_PREF 0, so that the peer takes any other path.
    #[serde(default)]
    pub graceful_shutdown: bool,
    /// An extension: how long the routes of a node that leaves stay, marked like that, before they are withdrawn: 0s to 1h;
    /// 5s when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = rules::DURATION), extend("x-kubernetes-validations" = rules::duration_within("0s", "1h")))]
    pub drain_time: Option<String>,
}

impl Default for BGPPeerSpec {
    fn default() -> Self {
        Self {
            my_asn: None,
            peer_asn: None,
            local_asn: None,
            dynamic_asn: None,
            peer_address: None,
            interface: None,
            source_address: None,
            peer_port: bgp_port(),
            hold_time: None,
            keepalive_time: None,
            connect_time: None,
            router_id: None,
            node_selectors: Vec::new(),
            password: None,
            password_secret: None,
            bfd_profile: None,
            bfd_strict: false,
            enable_graceful_restart: false,
            ebgp_multi_hop: false,
            vrf: None,
            disable_mp: false,
            dual_stack_address_family: false,
            passive_mode: false,
            listen_port: None,
            ttl_security_hops: None,
            restart_time: None,
            maximum_prefixes: None,
            graceful_shutdown: false,
            drain_time: None,
        }
    }
}

/// Which AS numbers a peer may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DynamicAsn {
    /// Ours.
    Internal,
    /// Any but ours.
    External,
}

/// A Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct SecretReference {
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its namespace: that of ironlb, whatever is written here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// Text that debug output never shows.
#[derive(Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct SecretText(#[schemars(length(max = 80))] pub String);

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(..)")
    }
}

const fn bgp_port() -> i64 {
    179
}
