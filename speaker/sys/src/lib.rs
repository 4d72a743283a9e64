//! The only unsafe code: packet sockets, filters, netlink, network namespaces.

pub mod namespace;
pub mod netfilter;
