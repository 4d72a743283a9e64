//! Which Services may share an address, and where a sharing key already has one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ironlb_model::{Family, Labels, Name, Protocol, Service, ServiceKey, TrafficPolicy};

/// A protocol and a port number, as clients use them.
pub type PortKey = (Protocol, u16);

/// On which terms a Service shares its address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sharing {
    /// What must be the same for all on one address.
    pub bond: Arc<Bond>,
    /// What must be different.
    pub ports: BTreeSet<PortKey>,
}

impl Sharing {
    /// The terms of a Service; `None` when it shares with nobody.
    pub fn of(service: &Service) -> Option<Self> {
        let key = service
            .sharing_key
            .as_deref()
            .filter(|key| !key.is_empty())?;
        let backend = match service.traffic_policy {
            TrafficPolicy::Cluster => Backend::Any,
            TrafficPolicy::Local => Backend::Local(service.selector.clone()),
        };
        Some(Self {
            bond: Arc::new(Bond {
                key: key.to_owned(),
                backend,
            }),
            ports: service
                .ports
                .iter()
                .map(|port| (port.protocol, port.port))
                .collect(),
        })
    }
}

/// What must be the same for all Services on one address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bond {
    /// The sharing key (annotation `allow-shared-ip`), not empty.
    pub key: String,
    /// Where the traffic goes.
    pub backend: Backend,
}

/// Where the traffic of a Service may go, as far as sharing is concerned.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Backend {
    /// To an endpoint on any node, so any node may take it (`externalTrafficPolicy: Cluster`).
    Any,
    /// To the endpoints of this selector on the node that takes it (`externalTrafficPolicy: Local`). Only Services with
    /// the same endpoints can be taken by the same nodes.
    Local(Labels),
}

/// Why a Service can not have an address that others have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// The other one shares with nobody, or this one does not.
    #[error(
        "is in use by {by}; to share it, give both the same annotation metallb.io/allow-shared-ip"
    )]
    InUse {
        /// The other Service.
        by: ServiceKey,
    },
    /// The sharing keys differ.
    #[error("is in use by {by} with another sharing key (metallb.io/allow-shared-ip)")]
    OtherKey {
        /// The other Service.
        by: ServiceKey,
    },
    /// One has `externalTrafficPolicy: Local` and the other has not, or their selectors differ.
    #[error(
        "is in use by {by} with other endpoints: Services with externalTrafficPolicy Local share an address only when \
         their selectors are the same"
    )]
    OtherEndpoints {
        /// The other Service.
        by: ServiceKey,
    },
    /// They have a port in common.
    #[error("is in use by {by} on the same port {number}/{protocol}")]
    SamePort {
        /// The port's number.
        number: u16,
        /// The port's protocol.
        protocol: Protocol,
        /// The other Service.
        by: ServiceKey,
    },
    /// The other Service has it in its status still, though no longer by our decision.
    #[error("is still in the status of {by}")]
    Published {
        /// The other Service.
        by: ServiceKey,
    },
}

/// Who has an address.
#[derive(Debug)]
pub(crate) enum Tenants {
    /// A Service that shares with nobody.
    One(ServiceKey),
    /// Services that share.
    Group(Box<Group>),
}

/// Services that share one address.
#[derive(Debug)]
pub(crate) struct Group {
    bond: Arc<Bond>,
    members: BTreeSet<ServiceKey>,
    ports: BTreeMap<PortKey, ServiceKey>,
}

impl Tenants {
    pub(crate) fn new(service: &ServiceKey, sharing: Option<&Sharing>) -> Self {
        let Some(sharing) = sharing else {
            return Self::One(service.clone());
        };
        let mut group = Group {
            bond: Arc::clone(&sharing.bond),
            members: BTreeSet::new(),
            ports: BTreeMap::new(),
        };
        group.insert(service, sharing);
        Self::Group(Box::new(group))
    }

    /// Adds a Service that [`admit`](Self::admit) has let in.
    pub(crate) fn insert(&mut self, service: &ServiceKey, sharing: Option<&Sharing>) {
        match (self, sharing) {
            (Self::Group(group), Some(sharing)) if group.bond == sharing.bond => {
                group.insert(service, sharing);
            }
            (this, sharing) => *this = Self::new(service, sharing),
        }
    }

    /// Takes a Service out, who is in by the terms of `sharing`; `true` when nobody is left.
    pub(crate) fn remove(&mut self, service: &ServiceKey, sharing: Option<&Sharing>) -> bool {
        match self {
            Self::One(tenant) => tenant == service,
            Self::Group(group) => {
                group.members.remove(service);
                for port in sharing.into_iter().flat_map(|sharing| &sharing.ports) {
                    group.ports.remove(port);
                }
                group.members.is_empty()
            }
        }
    }

    /// Whether a Service may have the address, beside those that have it.
    pub(crate) fn admit(
        &self,
        service: &ServiceKey,
        sharing: Option<&Sharing>,
    ) -> Result<(), Conflict> {
        match self {
            Self::One(tenant) if tenant == service => Ok(()),
            Self::One(tenant) => Err(Conflict::InUse { by: tenant.clone() }),
            Self::Group(group) => group.admit(service, sharing),
        }
    }

    pub(crate) fn services(&self) -> Box<dyn Iterator<Item = &ServiceKey> + '_> {
        match self {
            Self::One(tenant) => Box::new(std::iter::once(tenant)),
            Self::Group(group) => Box::new(group.members.iter()),
        }
    }
}

impl Group {
    fn insert(&mut self, service: &ServiceKey, sharing: &Sharing) {
        self.members.insert(service.clone());
        for port in &sharing.ports {
            self.ports.insert(*port, service.clone());
        }
    }

    fn admit(&self, service: &ServiceKey, sharing: Option<&Sharing>) -> Result<(), Conflict> {
        let Some(by) = self
            .members
            .iter()
            .find(|member| *member != service)
            .cloned()
        else {
            return Ok(());
        };
        let Some(sharing) = sharing else {
            return Err(Conflict::InUse { by });
        };
        if self.bond.key != sharing.bond.key {
            return Err(Conflict::OtherKey { by });
        }
        if self.bond.backend != sharing.bond.backend {
            return Err(Conflict::OtherEndpoints { by });
        }
        let holder = |port: &PortKey| Some((*port, self.ports.get(port)?.clone()));
        let taken = sharing.ports.iter().filter_map(holder);
        match taken.into_iter().find(|(_, holder)| holder != service) {
            Some(((protocol, number), by)) => Err(Conflict::SamePort {
                number,
                protocol,
                by,
            }),
            None => Ok(()),
        }
    }
}

/// Where every sharing key has addresses: by pool and family, ascending.
#[derive(Debug, Default)]
pub(crate) struct SharedAddresses {
    shelves: BTreeMap<Arc<Bond>, BTreeMap<(Name, Family), Shelf>>,
}

/// The addresses of one bond in one pool and family, with the number of Services on each.
#[derive(Debug, Default)]
struct Shelf {
    addresses: BTreeMap<IpAddr, usize>,
    /// For every port that is used on one of them: those on which it is not.
    room: BTreeMap<PortKey, Room>,
}

/// Where a port is not used, and on how many addresses it is.
#[derive(Debug, Default)]
struct Room {
    addresses: BTreeSet<IpAddr>,
    used: usize,
}

impl SharedAddresses {
    pub(crate) fn insert(&mut self, sharing: &Sharing, pool: &Name, address: IpAddr) {
        let pools = self.shelves.entry(Arc::clone(&sharing.bond)).or_default();
        let at = (pool.clone(), Family::of(address));
        pools.entry(at).or_default().insert(&sharing.ports, address);
    }

    pub(crate) fn remove(&mut self, sharing: &Sharing, pool: &Name, address: IpAddr) {
        let Some(pools) = self.shelves.get_mut(&sharing.bond) else {
            return;
        };
        let at = (pool.clone(), Family::of(address));
        if let Some(shelf) = pools.get_mut(&at) {
            shelf.remove(&sharing.ports, address);
            if shelf.addresses.is_empty() {
                pools.remove(&at);
            }
        }
        if pools.is_empty() {
            self.shelves.remove(&sharing.bond);
        }
    }

    /// The pools in which the bond of `sharing` has an address, in the order of their names; a pool with both
    /// families comes twice.
    pub(crate) fn pools(&self, sharing: &Sharing) -> impl Iterator<Item = &Name> {
        let pools = self.shelves.get(&sharing.bond).into_iter().flatten();
        pools.map(|((pool, _), _)| pool)
    }

    /// Whether the bond of `sharing` has an address in `pool`.
    pub(crate) fn is_in(&self, sharing: &Sharing, pool: &Name) -> bool {
        let pools = self.shelves.get(&sharing.bond);
        let has = |family| pools.is_some_and(|p| p.contains_key(&(pool.clone(), family)));
        has(Family::V4) || has(Family::V6)
    }

    /// The addresses of the bond in `pool`, ascending, on which the port of `sharing` that has the least room is free.
    pub(crate) fn addresses<'a>(
        &'a self,
        sharing: &Sharing,
        pool: &Name,
        family: Family,
    ) -> Box<dyn Iterator<Item = IpAddr> + 'a> {
        let pools = self.shelves.get(&sharing.bond);
        let shelf = pools.and_then(|pools| pools.get(&(pool.clone(), family)));
        let Some(shelf) = shelf else {
            return Box::new(std::iter::empty());
        };
        let rooms = sharing.ports.iter().filter_map(|port| shelf.room.get(port));
        match rooms.min_by_key(|room| room.addresses.len()) {
            Some(room) => Box::new(room.addresses.iter().copied()),
            None => Box::new(shelf.addresses.keys().copied()),
        }
    }
}

impl Shelf {
    fn insert(&mut self, ports: &BTreeSet<PortKey>, address: IpAddr) {
        let services = self.addresses.entry(address).or_default();
        *services += 1;
        if *services == 1 {
            for room in self.room.values_mut() {
                room.addresses.insert(address);
            }
        }
        for port in ports {
            let room = self.room.entry(*port).or_insert_with(|| Room {
                addresses: self.addresses.keys().copied().collect(),
                used: 0,
            });
            room.addresses.remove(&address);
            room.used += 1;
        }
    }

    fn remove(&mut self, ports: &BTreeSet<PortKey>, address: IpAddr) {
        for port in ports {
            if let Some(room) = self.room.get_mut(port) {
                room.addresses.insert(address);
                room.used = room.used.saturating_sub(1);
                if room.used == 0 {
                    self.room.remove(port);
                }
            }
        }
        let services = self.addresses.entry(address).or_default();
        *services = services.saturating_sub(1);
        if *services == 0 {
            self.addresses.remove(&address);
            for room in self.room.values_mut() {
                room.addresses.remove(&address);
            }
        }
    }
}
