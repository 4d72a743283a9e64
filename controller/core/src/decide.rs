//! What becomes of one Service.

use std::net::IpAddr;

use ironlb_model::{EventKind, Family, Name, Service};

use crate::alloc::{Allocation, Allocator, Request};
use crate::refusal::{Families, InError, List, Refusal};
use crate::terms::{Terms, asked_pool, published_addresses, status_addresses};
use crate::waiting::Class;

/// What is to be done about a Service.
#[derive(Debug)]
pub(crate) struct Decision {
    pub(crate) wanted: Wanted,
    /// Why it has no address, or not the one that it asks for.
    pub(crate) refusal: Option<Refusal>,
    /// Whether a change of the configuration may give it more than it has.
    pub(crate) unsatisfied: bool,
    /// What it waits for, when another Service may end the refusal, or give it the second address that it prefers.
    pub(crate) waits: Option<Class>,
    pub(crate) notices: Vec<Notice>,
}

/// What a Service's status is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Not ours to say.
    Leave,
    /// What it is, for as long as nobody can say whether that is right.
    AsItIs,
    /// Exactly this, empty included, and this pool in the annotation.
    Status(Vec<IpAddr>, Option<Name>),
}

/// An Event in the making.
#[derive(Clone, Debug)]
pub(crate) struct Notice {
    pub(crate) kind: EventKind,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Notice {
    fn normal(reason: &'static str, message: String) -> Self {
        let kind = EventKind::Normal;
        Self {
            kind,
            reason,
            message,
        }
    }

    fn warning(reason: &'static str, message: String) -> Self {
        let kind = EventKind::Warning;
        Self {
            kind,
            reason,
            message,
        }
    }
}

impl Decision {
    fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            refusal: None,
            unsatisfied: false,
            waits: None,
            notices: Vec::new(),
        }
    }

    fn refused(refusal: Refusal, waits: Option<Class>, mut notices: Vec<Notice>) -> Self {
        notices.push(match &refusal {
            Refusal::NotDualStack(_) => Notice::warning(
                "not enough clusterips",
                format!("no address was assigned: {refusal}"),
            ),
            _ => Notice::warning(
                "AllocationFailed",
                format!("no address was assigned: {refusal}"),
            ),
        });
        Self {
            wanted: Wanted::Status(Vec::new(), None),
            refusal: Some(refusal),
            unsatisfied: true,
            waits,
            notices,
        }
    }

    fn in_doubt(refusal: Refusal) -> Self {
        Self {
            notices: vec![Notice::warning("PoolInError", refusal.to_string())],
            refusal: Some(refusal),
            unsatisfied: true,
            ..Self::new(Wanted::AsItIs)
        }
    }
}

/// Lets a Service keep what it has where it may, and gives it nothing. For many Services at once this comes first, for
/// all of them, so that no new address is chosen that one of them has.
pub(crate) fn adopt(allocator: &mut Allocator, service: &Service, class: Option<&str>) {
    if !service.is_ours(class) {
        allocator.release(&service.key);
        return;
    }
    match terms(allocator, service) {
        Err(_) => {
            allocator.release(&service.key);
        }
        Ok(terms) => {
            let doubt = in_doubt(allocator, service, &terms);
            let kept = doubt.map(|doubt| keep_in_doubt(allocator, service, &terms, &doubt));
            if !matches!(kept, Some(Ok(()))) {
                keep_current(allocator, service, &terms, &mut Vec::new());
            }
        }
    }
}

/// Decides about a Service, and does it in the allocator.
pub(crate) fn decide(
    allocator: &mut Allocator,
    service: &Service,
    class: Option<&str>,
) -> Decision {
    let mut decision = judge(allocator, service, class);
    decision
        .notices
        .extend(shared_with_node(allocator, service));
    decision
}

fn judge(allocator: &mut Allocator, service: &Service, class: Option<&str>) -> Decision {
    if !service.is_ours(class) {
        return let_go(allocator, service, class);
    }
    let terms = match terms(allocator, service) {
        Ok(terms) => terms,
        Err(refusal) => {
            allocator.release(&service.key);
            return Decision::refused(refusal, None, Vec::new());
        }
    };
    let mut conflict = None;
    if let Some(doubt) = in_doubt(allocator, service, &terms) {
        match keep_in_doubt(allocator, service, &terms, &doubt) {
            Ok(()) => return Decision::in_doubt(doubt.into()),
            Err(refusal) => conflict = Some(lost(&doubt.addresses, &refusal)),
        }
    }
    let mut notices = Vec::new();
    keep_current(allocator, service, &terms, &mut notices);
    if let Some(conflict) = conflict {
        notices = vec![conflict];
    }
    let unread = asked_pool(service).and_then(|asked| allocator.unread_pool(asked));
    let cannot_be = unread.is_some() || terms.addresses.is_err();
    if cannot_be && has_unpublished(allocator, service) {
        // What nobody was told of is nothing to keep: a controller that begins now would not know of it.
        allocator.release(&service.key);
        keep_current(allocator, service, &terms, &mut notices);
    }
    let is_held = allocator.get(&service.key).is_some();
    if let Some(refusal) = unread.filter(|_| is_held) {
        return keep_old(allocator, service, &refusal, notices);
    }
    match (&terms.addresses, is_held) {
        (Err(refusal), true) => keep_old(allocator, service, refusal, notices),
        (Err(refusal), false) => Decision::refused(refusal.clone(), None, notices),
        (Ok(asked), true) => complete(allocator, service, &terms, asked, notices),
        (Ok(asked), false) => obtain(allocator, &terms.request(service, asked), notices),
    }
}

/// Whether a Service has an address that its status does not have.
fn has_unpublished(allocator: &Allocator, service: &Service) -> bool {
    let mut held = allocator
        .get(&service.key)
        .into_iter()
        .flat_map(Allocation::addresses);
    held.any(|ip| published_addresses(service).all(|published| published != ip))
}

/// That a Service has an address which a node has too, when that is so.
fn shared_with_node(allocator: &Allocator, service: &Service) -> Option<Notice> {
    let mut addresses = allocator.get(&service.key)?.addresses();
    let (address, node) = addresses.find_map(|ip| Some((ip, allocator.node_of(ip)?)))?;
    Some(Notice::warning(
        "AddressOfNode",
        format!(
            "{address} is an address of node {node} too, so that traffic may end there; take it out of the pool, or have \
             the Service ask for another"
        ),
    ))
}

fn terms(allocator: &Allocator, service: &Service) -> Result<Terms, Refusal> {
    if allocator.has_no_pools() && allocator.in_error.is_empty() {
        return Err(Refusal::NoPools);
    }
    Terms::of(service)
}

/// Addresses in a Service's status of which nobody can say whether it may keep them.
struct Doubt {
    addresses: Vec<IpAddr>,
    /// The pool in error that it has them from; `None` where that is not known.
    from: Option<Name>,
    in_error: InError,
}

impl From<Doubt> for Refusal {
    fn from(doubt: Doubt) -> Self {
        Self::InDoubt {
            addresses: doubt.addresses,
            from: doubt.from,
            in_error: doubt.in_error,
        }
    }
}

/// The addresses in a Service's status, when one of them is in no pool that could be read, and in one that is in error, as
/// far as can be known.
///
/// Not so where it asks for something else, or could not keep them whatever their pool: then it is judged as ever.
fn in_doubt(allocator: &Allocator, service: &Service, terms: &Terms) -> Option<Doubt> {
    let from = service.allocated_from.as_deref();
    if !allocator.in_error.may_have_given(from) {
        return None;
    }
    let addresses: Vec<IpAddr> = published_addresses(service).collect();
    let is_outside = addresses.iter().any(|ip| allocator.pool_of(*ip).is_none());
    let is_held = from.is_some_and(|pool| allocator.holds(pool));
    let asks_for_them = match &terms.addresses {
        Ok(asked) => asked.is_empty() || is_same_set(asked, &addresses),
        Err(_) => true,
    };
    let may_be_of = |asked| allocator.in_error.has(asked) || allocator.unread_pool(asked).is_some();
    let asks_for_it = asked_pool(service).is_none_or(may_be_of);
    let is_right = asks_for_them && asks_for_it && terms.families.accept(&addresses);
    (is_outside && !is_held && is_right).then(|| Doubt {
        from: from
            .filter(|pool| allocator.in_error.has(pool))
            .map(Name::from),
        in_error: InError::of(&allocator.in_error),
        addresses,
    })
}

fn keep_in_doubt(
    allocator: &mut Allocator,
    service: &Service,
    terms: &Terms,
    doubt: &Doubt,
) -> Result<(), Refusal> {
    let request = terms.request(service, &doubt.addresses);
    allocator.keep_in_doubt(&request, &doubt.addresses, doubt.from.as_deref())
}

fn lost(addresses: &[IpAddr], refusal: &Refusal) -> Notice {
    let message = format!("lost its address {}: {refusal}", List(addresses));
    Notice::normal("ClearAssignment", message)
}

/// A Service of another type or class. One that was ours, and is of no other class now, is tidied up.
fn let_go(allocator: &mut Allocator, service: &Service, class: Option<&str>) -> Decision {
    allocator.release(&service.key);
    let was_ours = service.allocated_from.is_some() && service.class.as_deref() == class;
    Decision::new(if was_ours {
        Wanted::Status(Vec::new(), None)
    } else {
        Wanted::Leave
    })
}

/// Keeps the addresses that a Service has, or lets go of them.
///
/// What it has is what we gave it; for one that we do not know yet, what its status says. A status that says something
/// else than what we gave comes first where it may stay: what moved the Service was undone before the move was written,
/// or another controller was faster, and clients have been told of the status alone.
fn keep_current(
    allocator: &mut Allocator,
    service: &Service,
    terms: &Terms,
    notices: &mut Vec<Notice>,
) {
    let wrote = service.allocated_from.as_deref().map(Name::from);
    let (held, given_from): (Vec<IpAddr>, _) = match allocator.get(&service.key) {
        Some(held) => (held.addresses().collect(), Some(held.pool().clone())),
        None => (Vec::new(), None),
    };
    let published = status_addresses(service);
    if published.is_none() && held.is_empty() {
        notices.push(Notice::warning(
            "nolbIPsIPFamily",
            "its status has an entry that is not an IP address; it will be replaced".to_owned(),
        ));
    }
    let published = published.unwrap_or_default();
    let differs = published.iter().any(|ip| !held.contains(ip));
    let mut claims = [(held, given_from), (published, wrote)];
    if differs {
        claims.reverse();
    }
    let mut lost = Vec::new();
    for (claim, pool) in claims.into_iter().filter(|(claim, _)| !claim.is_empty()) {
        if keep(allocator, service, terms, &claim, pool, &mut lost) {
            return;
        }
    }
    allocator.release(&service.key);
    lost.truncate(1);
    notices.append(&mut lost);
}

/// Lets a Service keep `current`, where that is what it asks for and may have; otherwise changes nothing.
fn keep(
    allocator: &mut Allocator,
    service: &Service,
    terms: &Terms,
    current: &[IpAddr],
    last_pool: Option<Name>,
    notices: &mut Vec<Notice>,
) -> bool {
    let is_asked = match &terms.addresses {
        Ok(asked) => asked.is_empty() || is_same_set(asked, current),
        Err(_) => true,
    };
    let pool = current.first().and_then(|ip| allocator.pool_of(*ip));
    let pool = pool.or(last_pool.as_ref()).map(|pool| &**pool);
    let is_of_pool = |asked| Some(asked) == pool || allocator.unread_pool(asked).is_some();
    let is_asked = is_asked && asked_pool(service).is_none_or(is_of_pool);
    if !is_asked || !terms.families.accept(current) {
        return false;
    }
    let request = terms.request(service, current);
    match allocator.keep(&request, current, last_pool.as_deref()) {
        Ok(_) => true,
        Err(refusal) => {
            notices.push(lost(current, &refusal));
            false
        }
    }
}

/// What it asks for makes no sense, so it keeps what it has.
fn keep_old(
    allocator: &Allocator,
    service: &Service,
    refusal: &Refusal,
    mut notices: Vec<Notice>,
) -> Decision {
    notices.push(Notice::warning(
        "LoadBalancerFailed",
        format!("it keeps its address, since what it asks for can not be: {refusal}"),
    ));
    Decision {
        wanted: wanted(allocator.get(&service.key), service, &[]),
        refusal: Some(refusal.clone()),
        unsatisfied: true,
        waits: None,
        notices,
    }
}

/// It has an address. Perhaps it prefers to have two.
fn complete(
    allocator: &mut Allocator,
    service: &Service,
    terms: &Terms,
    asked: &[IpAddr],
    mut notices: Vec<Notice>,
) -> Decision {
    let mut waits = None;
    let lacking = asked
        .is_empty()
        .then(|| lacking(allocator, service, terms))
        .flatten();
    if let Some((pool, family)) = lacking {
        let mut request = terms.request(service, &[]);
        match allocator.extend(&request) {
            Ok(now) => {
                let second = now.addresses().find(|ip| Family::of(*ip) == family);
                let text: Vec<IpAddr> = second.into_iter().collect();
                let message = format!("assigned the additional address {}", List(&text));
                notices.push(Notice::normal("IPAllocated", message));
            }
            Err(refusal) => {
                request.families = Families::One(family);
                request.pool = Some(&pool);
                waits = Some(Class::of(allocator, &request));
                let message = format!("no second address for PreferDualStack: {refusal}");
                notices.push(Notice::normal("AdditionalAssignFailed", message));
            }
        }
    }
    if allocator.is_outside(&service.key) {
        notices.push(held_outside(allocator, service));
    }
    let held = allocator.get(&service.key);
    let single = held.is_some_and(|held| held.addresses().count() < 2);
    Decision {
        unsatisfied: single
            && asked.is_empty()
            && matches!(terms.families, Families::PreferBoth(_)),
        waits,
        notices,
        ..Decision::new(wanted(held, service, asked))
    }
}

/// The family that a Service with one address would like to have too, where its pool has it.
fn lacking(allocator: &Allocator, service: &Service, terms: &Terms) -> Option<(Name, Family)> {
    let held = allocator.get(&service.key)?;
    let Families::PreferBoth(_) = terms.families else {
        return None;
    };
    let mut addresses = held.addresses();
    let missing = Family::of(addresses.next()?).other();
    let single = addresses.next().is_none() && allocator.pool_has(held.pool(), missing);
    single.then(|| (held.pool().clone(), missing))
}

fn held_outside(allocator: &Allocator, service: &Service) -> Notice {
    let held = allocator.get(&service.key);
    let pool = held.map_or("", |held| held.pool());
    Notice::warning(
        "AddressOutsidePool",
        format!(
            "it keeps an address that pool {pool} no longer has (onRemoval: Hold); put the address back, \
             or set onRemoval: Move to have it replaced"
        ),
    )
}

/// It has no address: find one.
fn obtain(allocator: &mut Allocator, request: &Request<'_>, mut notices: Vec<Notice>) -> Decision {
    match allocator.allocate(request) {
        Err(refusal) => {
            let waits = refusal.waits().then(|| Class::of(allocator, request));
            Decision::refused(refusal, waits, notices)
        }
        Ok(allocation) => {
            let addresses = in_order(allocation, request.addresses);
            let pool = allocation.pool().clone();
            let message = format!("assigned {} from pool {pool}", List(&addresses));
            notices.push(Notice::normal("IPAllocated", message));
            Decision {
                unsatisfied: matches!(request.families, Families::PreferBoth(_))
                    && addresses.len() < 2,
                notices,
                ..Decision::new(Wanted::Status(addresses, Some(pool)))
            }
        }
    }
}

/// The status for an allocation. One that says so already, in whatever order, stays: clients of the order of a status
/// (an election, for one) see no change.
fn wanted(allocation: Option<&Allocation>, service: &Service, asked: &[IpAddr]) -> Wanted {
    let Some(allocation) = allocation else {
        return Wanted::Status(Vec::new(), None);
    };
    let now: Vec<IpAddr> = published_addresses(service).collect();
    let held: Vec<IpAddr> = allocation.addresses().collect();
    let addresses = if is_same_set(&now, &held) {
        now
    } else {
        in_order(allocation, asked)
    };
    Wanted::Status(addresses, Some(allocation.pool().clone()))
}

/// The addresses as the user wrote them, or IPv4 first.
fn in_order(allocation: &Allocation, asked: &[IpAddr]) -> Vec<IpAddr> {
    if asked.is_empty() {
        allocation.addresses().collect()
    } else {
        asked.to_vec()
    }
}

fn is_same_set(one: &[IpAddr], other: &[IpAddr]) -> bool {
    let within = |one: &[IpAddr], other: &[IpAddr]| one.iter().all(|ip| other.contains(ip));
    one.len() == other.len() && within(one, other) && within(other, one)
}
