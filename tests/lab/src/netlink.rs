//! One request at a time to the kernel's routing tables inside a namespace.

use std::{
    fmt::Display,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;
use ironlb_sys::namespace::NetNamespace;
use rtnetlink::{
    Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
    RouteNextHopBuilder,
    packet_route::{
        address::AddressHeaderFlags,
        link::{InfoBridge, InfoData, InfoKind, InfoVeth, LinkAttribute, LinkMessage},
        neighbour::{NeighbourMessage, NeighbourState},
        route::{RouteAddress, RouteAttribute, RouteMessage, RouteType},
    },
};
use std::os::fd::{AsFd, AsRawFd};

use crate::{Result, error::Doing};

type Outcome<T> = std::result::Result<T, rtnetlink::Error>;

/// Lets `work` talk to the kernel from inside the namespace. `what` says what is being done.
pub(crate) fn ask<T: Send>(
    namespace: &NetNamespace,
    what: impl Fn() -> String + Sync,
    work: impl AsyncFnOnce(Handle) -> Outcome<T> + Send,
) -> Result<T> {
    let asked = namespace.run(|| -> Result<T> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .doing(&what)?;
        runtime.block_on(async {
            let (connection, handle, _messages) = rtnetlink::new_connection().doing(&what)?;
            let connection = tokio::spawn(connection);
            let answer = work(handle).await;
            connection.abort();
            answer.doing(&what)
        })
    });
    asked.doing(what)?
}

pub(crate) async fn set_up(handle: &Handle, index: u32, up: bool) -> Outcome<()> {
    let link = LinkUnspec::new_with_index(index);
    let link = if up { link.up() } else { link.down() };
    handle.link().set(link.build()).execute().await
}

pub(crate) async fn add_bridge(handle: &Handle, name: &str) -> Outcome<u32> {
    let bridge = InfoData::Bridge(vec![InfoBridge::MulticastSnooping(false)]);
    let link = LinkBridge::new(name).set_info_data(bridge).build();
    handle.link().add(link).execute().await?;
    Ok(link_by_name(handle, name).await?.header.index)
}

/// A cable from here, where its end is up, to `peer` there, where it is down: the kernel refuses to set up the
/// end that it makes first, ENOTCONN. `bridge` is the index of a bridge for this end.
pub(crate) async fn add_cable(
    handle: &Handle,
    here: &str,
    bridge: Option<u32>,
    there: &NetNamespace,
    peer: &str,
) -> Outcome<()> {
    let far_end = LinkUnspec::new_with_name(peer)
        .setns_by_fd(there.as_fd().as_raw_fd())
        .build();
    let mut near_end = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
        .name(here)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(far_end)))
        .up();
    if let Some(bridge) = bridge {
        near_end = near_end.controller(bridge);
    }
    handle.link().add(near_end.build()).execute().await
}

pub(crate) async fn link_by_name(handle: &Handle, name: &str) -> Outcome<LinkMessage> {
    use futures_util::TryStreamExt;
    let mut links = std::pin::pin!(handle.link().get().match_name(name).execute());
    links
        .try_next()
        .await?
        .ok_or(rtnetlink::Error::RequestFailed)
}

pub(crate) fn hardware_address(link: &LinkMessage) -> Option<[u8; 6]> {
    link.attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::Address(bytes) => bytes.as_slice().try_into().ok(),
            _ => None,
        })
}

pub(crate) async fn add_address(handle: &Handle, index: u32, address: IpNet) -> Outcome<()> {
    let mut request = handle
        .address()
        .add(index, address.addr(), address.prefix_len());
    // Usable at once; the kernel ignores the flag for IPv4.
    request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
    request.execute().await
}

pub(crate) async fn remove_address(handle: &Handle, index: u32, address: IpNet) -> Outcome<()> {
    let request = handle
        .address()
        .add(index, address.addr(), address.prefix_len());
    let mut request = request;
    let message = request.message_mut().clone();
    handle.address().del(message).execute().await
}

/// Sends what is for `to` by all of `gateways` alike, and no longer by any other.
pub(crate) async fn add_route(handle: &Handle, to: IpNet, gateways: &[IpAddr]) -> Outcome<()> {
    let route = route_to(to)?;
    let gateways = gateways.iter().map(|gateway| {
        let next_hop = match gateway {
            IpAddr::V4(_) => RouteNextHopBuilder::new_ipv4(),
            IpAddr::V6(_) => RouteNextHopBuilder::new_ipv6(),
        };
        Ok(next_hop.via(*gateway).map_err(invalid)?.build())
    });
    let route = route.multipath(gateways.collect::<Outcome<_>>()?);
    handle.route().add(route.build()).replace().execute().await
}

pub(crate) async fn remove_route(handle: &Handle, to: IpNet, gateway: IpAddr) -> Outcome<()> {
    let route = route_to(to)?.gateway(gateway).map_err(invalid)?;
    handle.route().del(route.build()).execute().await
}

/// Removes all routes to exactly `to`.
pub(crate) async fn remove_routes(handle: &Handle, to: IpNet) -> Outcome<()> {
    for route in routes(handle, to).await? {
        handle.route().del(route).execute().await?;
    }
    Ok(())
}

/// The routes to exactly `to`.
pub(crate) async fn routes(handle: &Handle, to: IpNet) -> Outcome<Vec<RouteMessage>> {
    use futures_util::TryStreamExt;
    // With a destination, the kernel would say which way a packet goes rather than what there is.
    let all = match to {
        IpNet::V4(_) => RouteMessageBuilder::<Ipv4Addr>::new().build(),
        IpNet::V6(_) => RouteMessageBuilder::<Ipv6Addr>::new().build(),
    };
    let mut routes: Vec<_> = handle.route().get(all).execute().try_collect().await?;
    let destination = RouteAttribute::Destination(to.addr().into());
    routes.retain(|route| {
        route.header.destination_prefix_length == to.prefix_len()
            && route.header.kind == RouteType::Unicast
            // The default route's is left out.
            && (to.prefix_len() == 0 || route.attributes.contains(&destination))
    });
    Ok(routes)
}

/// Where a route sends its packets.
pub(crate) fn gateways(route: &RouteMessage) -> Vec<IpAddr> {
    let gateway = |attribute: &RouteAttribute| match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(address)) => Some(IpAddr::V4(*address)),
        RouteAttribute::Gateway(RouteAddress::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    };
    let several = route
        .attributes
        .iter()
        .flat_map(|attribute| match attribute {
            RouteAttribute::MultiPath(next_hops) => next_hops.as_slice(),
            _ => &[],
        });
    let several = several.flat_map(|next_hop| &next_hop.attributes);
    route
        .attributes
        .iter()
        .chain(several)
        .filter_map(gateway)
        .collect()
}

fn route_to(to: IpNet) -> Outcome<RouteMessageBuilder<IpAddr>> {
    RouteMessageBuilder::<IpAddr>::new()
        .destination_prefix(to.addr(), to.prefix_len())
        .map_err(invalid)
}

fn invalid(error: impl Display) -> rtnetlink::Error {
    rtnetlink::Error::InvalidNla(error.to_string())
}

pub(crate) async fn neighbours(handle: &Handle) -> Outcome<Vec<NeighbourMessage>> {
    use futures_util::TryStreamExt;
    handle.neighbours().get().execute().try_collect().await
}

pub(crate) async fn set_neighbour(
    handle: &Handle,
    index: u32,
    address: IpAddr,
    mac: [u8; 6],
) -> Outcome<()> {
    let request = handle
        .neighbours()
        .add(index, address)
        .link_layer_address(&mac);
    request
        .state(NeighbourState::Permanent)
        .replace()
        .execute()
        .await
}
