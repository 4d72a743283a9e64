//! End to end: the real binary against a real kube-apiserver, real kube-proxies and a real client on a real Ethernet
//! segment, under exactly the ServiceAccounts and roles of `deploy/`.
//!
//! All tests share one cluster; each has a namespace and addresses of its own. Those that restart something that the others
//! need wait until they are alone. `./test kube` runs them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod allocation;
mod bgp;
mod conflicts;
mod crds;
mod events;
mod faults;
mod pods;
mod product;
mod proxy;
mod restarts;
mod statuses;
mod traffic;
mod watches;
