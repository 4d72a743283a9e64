//! One node, one router, and a Service that the router is to learn of.

use ironlb_lab::{Process, eventually_ok};

use super::super::fabric::{Fabric, LIMIT, OUR_ASN};
use super::dialect::Dialect;
use super::seen::{Path, Session};
use super::wanted::Wanted;

/// The first Service's addresses.
pub(crate) const IPV4: &str = "192.0.2.0/32";
pub(crate) const IPV6: &str = "2001:db8::/128";

/// A router beside the node, or a network away from it, both running.
pub(crate) struct Bench {
    pub(crate) fabric: Fabric,
    on: &'static dyn Dialect,
    wanted: Wanted,
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
            on.start(if wanted.multihop { far } else { near }, &wanted)
        });
        let place = match wanted.node {
            "eth0" => "interface: eth0".to_owned(),
            _ => format!("peerAddress: '{}'", wanted.router),
        };
        let spec = format!("peerASN: {}, {place}, connectTime: 1s, {peer}", wanted.asn);
        fabric.peer_as(asn, "router", &spec);
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

    pub(crate) fn internal(on: &'static dyn Dialect, peer: &str, advertisement: &str) -> Self {
        Self::new(on, Wanted::internal(), peer, advertisement)
    }

    pub(crate) fn external(on: &'static dyn Dialect, peer: &str, advertisement: &str) -> Self {
        Self::new(on, Wanted::external(), peer, advertisement)
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

/// What an ordinary route of ours to an external peer is.
pub(crate) fn assert_external(path: &Path, next_hop: &str) {
    assert!(path.next_hops.contains(next_hop), "{path:?}");
    assert_eq!(
        (&path.as_path[..], path.med),
        (&[OUR_ASN][..], None),
        "{path:?}"
    );
    assert!(path.communities.is_empty(), "{path:?}");
}

/// What an ordinary route of ours to an internal peer is.
pub(crate) fn assert_internal(path: &Path, next_hop: &str) {
    assert!(path.next_hops.contains(next_hop), "{path:?}");
    assert_eq!((path.as_path.len(), path.med), (0, None), "{path:?}");
}
