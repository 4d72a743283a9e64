//! nftables rules that carry a Service's traffic to its endpoints, as netlink messages.
//!
//! For hosts without kube-proxy. [`Ruleset::wanted`] turns Services and EndpointSlices into what one node's kernel is to
//! do; [`replace`], [`update`] and [`remove`] turn that into one transaction of nf_tables messages, which the kernel
//! takes as a whole or not at all. [`conntrack`] finds the connections that the kernel remembers wrongly afterwards.
//!
//! The rules live in a table of their own, `inet ironlb`, and are written so that `nft list table inet ironlb` shows them as
//! a person would have written them. Other tables are never touched.
//!
//! It does not open sockets (`ironlb-sys` does), announce addresses, check whether endpoints are healthy, or keep a client
//! on one endpoint for longer than a connection (`sessionAffinity` has no effect).
//!
//! Start with [`Ruleset`].
#![forbid(unsafe_code)]

mod batch;
pub mod conntrack;
mod expression;
pub mod netlink;
mod ruleset;
mod skeleton;
mod uapi;

pub use batch::{probe, remove, replace, update};
pub use netlink::Batch;
pub use ruleset::{Backends, Destination, Ruleset, Unserved};
