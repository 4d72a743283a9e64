use std::collections::BTreeSet;
use std::time::Duration;

use ironlb_model::Family;

/// How a router is set up.
#[derive(Clone, Debug)]
pub struct Traits {
    /// Its AS.
    pub asn: u32,
    /// The hold time that it proposes, in seconds.
    pub hold_time: u16,
    /// The families that it carries.
    pub families: BTreeSet<Family>,
    /// Its own restart time in seconds, when it knows graceful restart (RFC 4724).
    pub restart_time: Option<u16>,
    /// Whether it keeps routes over a NOTIFICATION too (RFC 8538).
    pub keeps_over_notification: bool,
    /// Whether it takes messages of up to 65,535 bytes (RFC 8654).
    pub extended_message: bool,
    /// Whether it knows AS numbers of four octets (RFC 6793).
    pub four_octet_as: bool,
    /// Whether it knows ROUTE-REFRESH with beginning and end (RFC 7313).
    pub enhanced_refresh: bool,
    /// Whether its sessions wait for BFD where the node's do (draft-ietf-idr-bgp-bfd-strict-mode).
    pub bfd_strict: bool,
    /// How many prefixes it announces itself.
    pub prefixes: u32,
    /// To a node and back, half of it.
    pub latency: Duration,
    /// How much it leaves unread in the kernel.
    pub window: usize,
}
