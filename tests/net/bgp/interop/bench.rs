//! One node, one router, and a Service that the router is to learn of.

use ironlb_lab::{Process, eventually_ok};

use super::super::fabric::{Fabric, LIMIT};
use super::dialect::Dialect;
use super::seen::{Path, Session};
use super::wanted::Wanted;

/// The first Service's addresses, and the second one's.
pub(crate) const FIRST: [&str; 2] = ["192.0.2.0/32", "2001:db8::/128"];
pub(crate) const SECOND: [&str; 2] = ["192.0.2.1/32", "2001:db8::1/128"];

/// A router beside the node, or a network away from it, both running.
pub(crate) struct Bench {
    pub(crate) fabric: Fabric,
    on: &'static dyn Dialect,
    pub(crate) wanted: Wanted,
    pub(crate) node: Process,
}

impl Bench {
    /// With the AS number that the router expects. `peer` adds to the specification of the BGPPeer, `advertisement` is that of the
    /// BGPAdvertisement, both in flow style.
    pub(crate) fn new(
        on: &'static dyn Dialect,
        wanted: Wanted,
        peer: &str,
        advertisement: &str,
    ) -> Self {
        let asn = wanted.node_asn;
        Self::with_asn(asn, on, wanted, peer, advertisement)
    }

    /// The same with another AS number.
    pub(crate) fn with_asn(
        asn: u32,
        on: &'static dyn Dialect,
        wanted: Wanted,
        peer: &str,
        advertisement: &str,
    ) -> Self {
        let fabric = Fabric::with("interop", 1, |near, far| {
            on.start(if wanted.far { far } else { near }, &wanted)
        });
        let spec = format!("peerASN: {}, {}, {peer}", wanted.asn, place(&wanted));
        fabric.peer_as(asn, "router", &spec);
        fabric.bfd_profile(
            "fast",
            "transmitInterval: 100, receiveInterval: 100, minimumTtl: 60",
        );
        fabric.advertise("all", advertisement);
        fabric.service("web", &[1], "");
        let node = fabric.start(1);
        Self {
            fabric,
            on,
            wanted,
            node,
        }
    }

    /// Changes the specification of the BGPPeer but for the place; `spec` in flow style.
    pub(crate) fn change_peer(&self, spec: &str) {
        let spec = format!("{}, {spec}", place(&self.wanted));
        self.fabric.peer_as(self.wanted.node_asn, "router", &spec);
    }

    /// The prefixes of `both` that the router is to have.
    pub(crate) fn of(&self, [ipv4, ipv6]: [&'static str; 2]) -> Vec<&'static str> {
        self.wanted.families(ipv4, ipv6)
    }

    /// The one prefix of the first Service.
    pub(crate) fn first(&self) -> &'static str {
        self.of(FIRST)[0]
    }

    /// Waits until the router has one route to each prefix of the first Service, as an ordinary one should be.
    pub(crate) fn learns_ordinary_routes(&self) {
        for prefix in self.of(FIRST) {
            let path = self.path(prefix);
            let hop = self.next_hop(prefix);
            assert!(path.next_hops.contains(hop), "{hop}: {path:?}");
            let numbers = match self.wanted.is_internal() {
                true => &[][..],
                false => &[self.wanted.node_asn],
            };
            assert_eq!((&path.as_path[..], path.med), (numbers, None), "{path:?}");
            assert!(path.communities.is_empty(), "{path:?}");
        }
    }

    /// Our address of the prefix's family, or that of the session where next hops may be of another.
    fn next_hop(&self, prefix: &str) -> &'static str {
        match prefix.contains(':') || self.wanted.extended_next_hop {
            true => "fd00::1",
            false => "10.0.0.1",
        }
    }

    /// Waits until the router has one route to a prefix, as it should be.
    pub(crate) fn learns(
        &self,
        prefix: &str,
        what: &str,
        condition: impl Fn(&Path) -> bool,
    ) -> Path {
        eventually_ok(&format!("{prefix}: {what}"), LIMIT, || {
            match &self.paths(prefix)?[..] {
                [path] if condition(path) => Ok(path.clone()),
                other => Err(format!("{other:?}")),
            }
        })
        .unwrap()
    }

    /// Waits until the router has a route to a prefix.
    pub(crate) fn path(&self, prefix: &str) -> Path {
        self.learns(prefix, "is learnt", |_| true)
    }

    /// Waits until the router has none.
    pub(crate) fn forgets(&self, prefix: &str) {
        eventually_ok(&format!("{prefix} is forgotten"), LIMIT, || {
            match &self.paths(prefix)?[..] {
                [] => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .unwrap();
    }

    pub(crate) fn paths(&self, prefix: &str) -> Result<Vec<Path>, String> {
        self.on.paths(&self.fabric.tor, &self.wanted, prefix)
    }

    pub(crate) fn session(&self) -> Session {
        self.on.session(&self.fabric.tor, &self.wanted).unwrap()
    }

    /// Waits until the session is as it should be.
    pub(crate) fn session_is(&self, what: &str, condition: impl Fn(&Session) -> bool) {
        eventually_ok(what, LIMIT, || {
            let session = self.on.session(&self.fabric.tor, &self.wanted)?;
            if condition(&session) {
                Ok(())
            } else {
                Err(format!("{session:?}"))
            }
        })
        .unwrap();
    }

    pub(crate) fn refresh(&self) {
        self.on.refresh(&self.fabric.tor, &self.wanted);
    }

    /// Waits until the session is up, having the router connect.
    pub(crate) fn dial(&self) {
        let line = self.node.wait_for_line("listening for BGP peers", LIMIT);
        line.unwrap();
        self.on.dial(&self.fabric.tor, &self.wanted);
        self.session_is("the session is up", |session| session.is_up);
    }
}

/// Where a BGPPeer says that the router is, what it is to be told, and that it is worth trying often.
fn place(wanted: &Wanted) -> String {
    if wanted.is_unnumbered() {
        return "interface: eth0, connectTime: 1s".to_owned();
    }
    let dual = wanted.ipv4 && wanted.ipv6;
    format!(
        "peerAddress: '{}', connectTime: 1s, dualStackAddressFamily: {dual}",
        wanted.router
    )
}
