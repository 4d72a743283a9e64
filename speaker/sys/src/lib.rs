//! What only the operating system can do: packet sockets, TCP as BGP needs it, interfaces and nftables by netlink, network
//! namespaces.
//!
//! The only crate with `unsafe`, item by item. It decides nothing: frames and netlink messages pass through, what they mean is known
//! elsewhere. Linux only.
//!
//! Start with [`packet`] and [`link`], which the speaker's loop waits on.

mod cover;
mod filter;
pub mod link;
pub mod memory;
mod multicast;
pub mod namespace;
pub mod netfilter;
mod option;
pub mod overhear;
pub mod packet;
pub mod tcp;
pub mod timer;
pub mod udp;
