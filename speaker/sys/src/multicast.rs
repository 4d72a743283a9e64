//! Multicast Listener Discovery (RFC 3810): a switch that snoops on it hands on frames to a group only where a listener has
//! reported itself. A packet socket's membership opens the interface for the group, but reports nothing; this does.
//!
//! It reports and no more: what arrives for these groups is read from the packet socket.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv6Addr;

use ironlb_model::Mac;
use socket2::{Domain, Socket, Type};
use tracing::debug;

/// Groups that are reported as listened to. All are left when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Listener {
    sockets: Vec<Members>,
    joined: BTreeMap<Mac, usize>,
}

impl Listener {
    /// Reports a group of the link. Failing at it is no error: IPv6 may be switched off on the interface, and most segments
    /// need no report.
    pub(crate) fn join(&mut self, interface: u32, group: Mac) {
        let Some(address) = group_on_link(group) else {
            return;
        };
        match self.try_join(interface, address) {
            Ok(place) => {
                self.joined.insert(group, place);
            }
            Err(error) => debug!(interface, %address, %error, "group is not reported by MLD"),
        }
    }

    /// Reports that the group is left.
    pub(crate) fn leave(&mut self, interface: u32, group: Mac) {
        let (Some(address), Some(place)) = (group_on_link(group), self.joined.remove(&group))
        else {
            return;
        };
        let Some(members) = self.sockets.get_mut(place) else {
            return;
        };
        members.count = members.count.saturating_sub(1);
        if let Err(error) = members.socket.leave_multicast_v6(&address, interface) {
            debug!(interface, %address, %error, "group is not left by MLD");
        }
    }

    fn try_join(&mut self, interface: u32, address: Ipv6Addr) -> io::Result<usize> {
        let place = self.place()?;
        let members = self.sockets.get_mut(place).ok_or(io::ErrorKind::NotFound)?;
        members.socket.join_multicast_v6(&address, interface)?;
        members.count = members.count.saturating_add(1);
        Ok(place)
    }

    /// A socket with room.
    fn place(&mut self) -> io::Result<usize> {
        let free = |members: &Members| members.count < GROUPS_PER_SOCKET;
        if let Some(place) = self.sockets.iter().position(free) {
            return Ok(place);
        }
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, None)?;
        self.sockets.push(Members { socket, count: 0 });
        Ok(self.sockets.len().saturating_sub(1))
    }
}

/// A socket and how many groups it is in.
#[derive(Debug)]
struct Members {
    socket: Socket,
    count: usize,
}

/// The IPv6 group behind an Ethernet group (RFC 2464 §7), when it is a solicited-node group (RFC 4291 §2.7.1) or one of the
/// 255 lowest of the link. What else has the same Ethernet group is not listened to.
fn group_on_link(group: Mac) -> Option<Ipv6Addr> {
    match group.0 {
        [0x33, 0x33, 0xff, high, middle, low] => {
            let low = u16::from_be_bytes([middle, low]);
            let high = u16::from_be_bytes([0xff, high]);
            Some(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, high, low))
        }
        [0x33, 0x33, 0, 0, 0, low] => Some(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, low.into())),
        _ => None,
    }
}

/// The kernel accounts memberships to the socket, up to net.core.optmem_max (20 kB on old kernels).
const GROUPS_PER_SOCKET: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ethernet_group_has_the_group_of_the_link_behind_it() {
        let of = |bytes| group_on_link(Mac(bytes)).map(|group| group.to_string());
        let solicited = of([0x33, 0x33, 0xff, 0x0e, 0x8c, 0x6c]);
        assert_eq!(solicited.as_deref(), Some("ff02::1:ff0e:8c6c"));
        let routers = of([0x33, 0x33, 0, 0, 0, 2]);
        assert_eq!(routers.as_deref(), Some("ff02::2"));
        assert_eq!(of([0x33, 0x33, 0, 1, 0, 2]), None);
        assert_eq!(of(Mac::BROADCAST.0), None);
    }

    #[test]
    fn more_groups_than_one_socket_takes_are_spread() {
        let mut listener = Listener::default();
        let loopback = 1;
        let groups = |low: u16| {
            Mac([
                0x33,
                0x33,
                0xff,
                0x10,
                low.to_be_bytes()[0],
                low.to_be_bytes()[1],
            ])
        };
        for low in 0..450 {
            listener.join(loopback, groups(low));
        }
        if listener.joined.is_empty() {
            eprintln!("skipped: no IPv6 on the loopback interface here");
            return;
        }
        assert_eq!((listener.joined.len(), listener.sockets.len()), (450, 3));
        for low in 0..450 {
            listener.leave(loopback, groups(low));
        }
        assert!(listener.joined.is_empty());
        assert!(listener.sockets.iter().all(|members| members.count == 0));
    }
}
