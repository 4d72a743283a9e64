//! The choice of an address: what a request leaves open, and what speaks against it.

use std::net::IpAddr;

use ironlb_model::{Family, Name};

use crate::alloc::{Allocator, Request};
use crate::pool::PoolState;
use crate::pools::Reach;
use crate::refusal::{Families, InError, Names, Refusal};

/// What a Service is to have.
pub(crate) struct Pick {
    pub(crate) pool: Name,
    pub(crate) addresses: Vec<IpAddr>,
}

impl Allocator {
    pub(crate) fn choose(&self, request: &Request<'_>) -> Result<Pick, Refusal> {
        if self.ledger.pools.is_empty() {
            return Err(self.no_pools(request));
        }
        if !request.addresses.is_empty() {
            return self.choose_addresses(request);
        }
        match request.pool {
            Some(pool) => self.choose_in(request, pool),
            None => self.choose_anywhere(request),
        }
    }

    fn choose_addresses(&self, request: &Request<'_>) -> Result<Pick, Refusal> {
        let needed = match request.families {
            Families::PreferBoth(_) => Families::Both,
            needed => needed,
        };
        if !needed.accept(request.addresses) {
            return Err(Refusal::OtherFamily {
                addresses: request.addresses.to_vec(),
                needed,
            });
        }
        let pick = self.pick_exactly(request, request.addresses, None)?;
        match request.pool {
            Some(asked) if asked != &*pick.pool => Err(Refusal::OtherPool {
                addresses: request.addresses.to_vec(),
                asked: asked.to_owned(),
                actual: pick.pool,
            }),
            _ => Ok(pick),
        }
    }

    pub(crate) fn pick_exactly(
        &self,
        request: &Request<'_>,
        addresses: &[IpAddr],
        held_by: Option<&Name>,
    ) -> Result<Pick, Refusal> {
        let pool_of = |address: &IpAddr| {
            let pool = self.ledger.pools.of_address(*address).or(held_by);
            pool.ok_or_else(|| self.outside_pools(*address))
        };
        let mut all = addresses.iter().map(pool_of);
        let pool = all.next().unwrap_or(Err(Refusal::NoPools))?;
        for other in all {
            let other = other?;
            if other != pool {
                return Err(Refusal::TwoPools {
                    addresses: addresses.to_vec(),
                    pools: vec![pool.clone(), other.clone()],
                });
            }
        }
        let state = self.pool(pool)?;
        self.enter(request, state)?;
        for address in addresses {
            if !state.allows(*address) && held_by != Some(pool) {
                return Err(Refusal::Buggy {
                    address: *address,
                    pool: pool.clone(),
                });
            }
            self.admit(request, *address)?;
        }
        Ok(Pick {
            pool: pool.clone(),
            addresses: addresses.to_vec(),
        })
    }

    fn choose_in(&self, request: &Request<'_>, pool: &str) -> Result<Pick, Refusal> {
        let state = self.pool(pool)?;
        self.enter(request, state)?;
        let name = &state.pool.name;
        let mut attempts = request.families.attempts().iter();
        let last = Reach::KeptBack;
        let found = attempts.find_map(|families| self.pick(request, name, families, last));
        found.ok_or_else(|| {
            let lacking = |family: &Family| self.address_in(request, name, *family, last).is_none();
            let family = match request.families {
                Families::One(family) => family,
                Families::Both => {
                    let absent = |family: &Family| !self.pool_has(name, *family);
                    let mut all = Family::ALL.into_iter();
                    let absent = all.clone().find(absent);
                    absent.or_else(|| all.find(lacking)).unwrap_or(Family::V4)
                }
                Families::PreferBoth(family) if self.pool_has(name, family) => family,
                Families::PreferBoth(family) if self.pool_has(name, family.other()) => {
                    family.other()
                }
                Families::PreferBoth(family) => family,
            };
            self.lacks(name, family)
        })
    }

    /// What is kept back is given only where that makes for more addresses than there would be without.
    fn choose_anywhere(&self, request: &Request<'_>) -> Result<Pick, Refusal> {
        let pinned = self.pinned(request);
        let found = self.search(request, &pinned, Reach::Free);
        let attempts = request.families.attempts();
        let most = attempts.first().map_or(0, |families| families.len());
        let count = |pick: &Option<Pick>| pick.as_ref().map_or(0, |pick| pick.addresses.len());
        if count(&found) < most && self.keep_back(&pinned) {
            let last = self.search(request, &pinned, Reach::KeptBack);
            if count(&last) > count(&found) {
                return last.ok_or_else(|| self.exhausted(request, &pinned));
            }
        }
        found.ok_or_else(|| self.exhausted(request, &pinned))
    }

    /// Whether anything is kept back in the pools for everybody or in these.
    fn keep_back(&self, pinned: &[Name]) -> bool {
        let keeps_back = |pool: &Name| {
            let state = self.ledger.pools.get(pool);
            state.is_some_and(|state| Family::ALL.into_iter().any(|f| state.has_kept_back(f)))
        };
        self.ledger.pools.open_keep_back() || pinned.iter().any(keeps_back)
    }

    /// Pools meant for the Service first, then those for everybody. Among either, a pool where its sharing key has an
    /// address already comes first.
    fn search(&self, request: &Request<'_>, pinned: &[Name], reach: Reach) -> Option<Pick> {
        let attempts = request.families.attempts();
        for families in attempts {
            let mut with_key = pinned.iter().filter(|pool| self.has_key(request, pool));
            let found = with_key
                .find_map(|pool| self.pick_shared(request, pool, families, reach))
                .or_else(|| {
                    let mut pinned = pinned.iter();
                    pinned.find_map(|pool| self.pick(request, pool, families, reach))
                });
            if found.is_some() {
                return found;
            }
        }
        let open = &self.ledger.pools;
        attempts.iter().find_map(|families| {
            let pick = |pool| self.pick(request, pool, families, reach);
            self.open_with_key(request)
                .find_map(|pool| self.pick_shared(request, pool, families, reach))
                .or_else(|| match reach {
                    Reach::Free => open.open(families).find_map(pick),
                    Reach::KeptBack => open.open_to_the_last(families).find_map(pick),
                })
        })
    }

    fn has_key(&self, request: &Request<'_>, pool: &Name) -> bool {
        let sharing = request.sharing.as_ref();
        sharing.is_some_and(|sharing| self.ledger.shared.is_in(sharing, pool))
    }

    fn open_with_key<'a>(&'a self, request: &'a Request<'_>) -> impl Iterator<Item = &'a Name> {
        let sharing = request.sharing.as_ref();
        let pools = sharing
            .into_iter()
            .flat_map(|sharing| self.ledger.shared.pools(sharing));
        pools.filter(|name| {
            let pool = self.ledger.pools.get(name).map(|state| &state.pool);
            pool.is_some_and(|pool| pool.auto_assign && pool.allocation.is_none())
        })
    }

    /// An address of each family from one pool, at least one of them shared.
    fn pick_shared(
        &self,
        request: &Request<'_>,
        pool: &Name,
        families: &[Family],
        reach: Reach,
    ) -> Option<Pick> {
        let mut shared = families
            .iter()
            .filter_map(|family| self.shared_address(request, pool, *family));
        shared.next()?;
        self.pick(request, pool, families, reach)
    }

    /// An address of each family from one pool.
    fn pick(
        &self,
        request: &Request<'_>,
        pool: &Name,
        families: &[Family],
        reach: Reach,
    ) -> Option<Pick> {
        let addresses = families
            .iter()
            .map(|family| self.address_in(request, pool, *family, reach))
            .collect::<Option<Vec<IpAddr>>>()?;
        Some(Pick {
            pool: pool.clone(),
            addresses,
        })
    }

    /// The address in `pool` that the sharing key has already, or the lowest free one.
    pub(crate) fn address_in(
        &self,
        request: &Request<'_>,
        pool: &Name,
        family: Family,
        reach: Reach,
    ) -> Option<IpAddr> {
        let shared = self.shared_address(request, pool, family);
        if shared.is_some() {
            return shared;
        }
        let state = self.ledger.pools.get(pool)?;
        match reach {
            Reach::Free => state.first_free(family),
            Reach::KeptBack => state
                .first_free(family)
                .or_else(|| state.first_kept_back(family)),
        }
    }

    fn shared_address(&self, request: &Request<'_>, pool: &Name, family: Family) -> Option<IpAddr> {
        let sharing = request.sharing.as_ref()?;
        let state = self.ledger.pools.get(pool)?;
        let mut addresses = self.ledger.shared.addresses(sharing, pool, family);
        addresses.find(|address| {
            self.ledger.pools.of_address(*address) == Some(pool)
                && state.allows(*address)
                && self.admit(request, *address).is_ok()
        })
    }

    /// Whether the others on `address`, or those who have it in their status, let the Service have it.
    pub(crate) fn admit(&self, request: &Request<'_>, address: IpAddr) -> Result<(), Refusal> {
        let sharing = request.sharing.as_ref();
        let has = request.status.contains(&address);
        self.ledger
            .admit(request.service, sharing, address, has)
            .map_err(|conflict| Refusal::Taken { address, conflict })
    }

    fn pool(&self, name: &str) -> Result<&PoolState, Refusal> {
        self.ledger.pools.get(name).ok_or_else(|| {
            self.unread_pool(name)
                .unwrap_or_else(|| self.unknown_pool(name))
        })
    }

    fn unknown_pool(&self, name: &str) -> Refusal {
        Refusal::UnknownPool {
            pool: name.to_owned(),
            known: Names::of(self.ledger.pools.iter().map(|(name, _)| name)),
        }
    }

    /// Why nothing can be had of `pool`, when it could not be read, or may not have been.
    pub(crate) fn unread_pool(&self, pool: &str) -> Option<Refusal> {
        if self.in_error.is_empty() || self.ledger.pools.get(pool).is_some() {
            return None;
        }
        let in_error = InError::of(&self.in_error);
        let pool = pool.to_owned();
        match self.in_error.has(&pool) {
            true => Some(Refusal::PoolInError { pool }),
            false if self.in_error.may_be_more => Some(Refusal::PoolNotRead { pool, in_error }),
            false => None,
        }
    }

    fn no_pools(&self, request: &Request<'_>) -> Refusal {
        if self.in_error.is_empty() {
            return Refusal::NoPools;
        }
        let asked = request.pool.and_then(|asked| self.unread_pool(asked));
        asked.unwrap_or_else(|| Refusal::NoPoolInOrder(InError::of(&self.in_error)))
    }

    fn outside_pools(&self, address: IpAddr) -> Refusal {
        if self.in_error.is_empty() {
            return Refusal::OutsidePools(address);
        }
        let in_error = InError::of(&self.in_error);
        Refusal::OutsidePoolsInOrder { address, in_error }
    }

    fn enter(&self, request: &Request<'_>, state: &PoolState) -> Result<(), Refusal> {
        self.ledger
            .pools
            .admits(&state.pool, request.service, request.labels)
            .map_err(|fence| Refusal::Fenced {
                pool: state.pool.name.clone(),
                fence,
            })
    }

    pub(crate) fn lacks(&self, pool: &Name, family: Family) -> Refusal {
        let usage = self.ledger.pools.get(pool).map(PoolState::usage);
        match usage.map_or(0, |usage| usage.of(family).total) {
            0 => Refusal::NoFamily {
                pool: pool.clone(),
                family,
            },
            total => Refusal::Full {
                pool: pool.clone(),
                family,
                total,
            },
        }
    }

    fn exhausted(&self, request: &Request<'_>, pinned: &[Name]) -> Refusal {
        let open = self.ledger.pools.iter().filter(|(_, state)| {
            let pool = &state.pool;
            pool.auto_assign && pool.allocation.is_none()
        });
        let pools = Names::of(pinned.iter().chain(open.map(|(name, _)| name)));
        if pools.is_empty() {
            return Refusal::NoPoolForIt;
        }
        Refusal::Exhausted {
            families: request.families,
            pools,
        }
    }
}
