//! Routes that divide their packets among several next hops, as a router installs them.

use std::net::IpAddr;

use ipnet::IpNet;
use ironlb_sys::namespace::NetNamespace;

use crate::{Result, netlink};

/// Sends what is for `to` by all of `next_hops` alike; by nobody when there are none. What was there for `to` is replaced.
///
/// # Errors
/// The kernel's refusal, such as for a next hop on no network of the namespace.
pub fn set(namespace: &NetNamespace, to: IpNet, next_hops: &[IpAddr]) -> Result<()> {
    let what = || format!("set the route to {to}");
    netlink::ask(namespace, what, async |handle| {
        if next_hops.is_empty() {
            return netlink::remove_routes(&handle, to).await;
        }
        netlink::add_route(&handle, to, next_hops).await
    })
}

/// The next hops to `to` itself, in order; none when there is no route to exactly that.
///
/// # Errors
/// The kernel's refusal.
pub fn next_hops(namespace: &NetNamespace, to: IpNet) -> Result<Vec<IpAddr>> {
    let what = || format!("look for the route to {to}");
    let mut next_hops = netlink::ask(namespace, what, async |handle| {
        let routes = netlink::routes(&handle, to).await?;
        Ok(routes
            .iter()
            .flat_map(netlink::gateways)
            .collect::<Vec<_>>())
    })?;
    next_hops.sort_unstable();
    Ok(next_hops)
}
