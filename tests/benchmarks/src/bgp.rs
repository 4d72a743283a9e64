//! BGP: ironlb beside BIRD, GoBGP and ExaBGP as senders of the same routes, and what a change and many peers cost.

mod change;
mod fan_out;
mod mrt;
mod race;
mod receivers;
mod relay;
mod senders;
mod sink;
mod tally;

use std::net::Ipv4Addr;

use crate::report::Report;

pub(crate) fn run(report: &Report) -> anyhow::Result<()> {
    race::run(report)?;
    change::run(report)?;
    fan_out::run(report)
}

/// The host route of this number.
fn route(number: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(FIRST_ROUTE.to_bits() + u32::try_from(number).expect("a /16"))
}

const FIRST_ROUTE: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 0);
const SENDER_ASN: u32 = 64_512;
const RECEIVER_ASN: u32 = 64_500;
