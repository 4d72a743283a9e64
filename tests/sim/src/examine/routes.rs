//! The examination of routers at rest: each has the routes that it should, and none else.

use ironlb_model::bgp::PeerAsn;
use ironlb_model::{BgpPeer, Family, Name, Service};

use crate::bgp::draw;
use crate::bgp::router::{NodeAddress, Router};
use crate::bgp::rules::{Exchange, Rules, Standing, may_be_far};
use crate::bgp::told::Table;
use crate::cluster::Cluster;
use crate::watch::Seen;

/// Looks at every router's session with a node, and at what its speaker reports. What an address that lost its pool is announced by
/// is what it was: as long as something is in error the controller may not have moved it.
pub(super) fn examine(cluster: &mut Cluster, world: &Seen, machine: usize) {
    let mut found = Vec::new();
    let mut routed = 0;
    for (number, router) in cluster.bgp.routers.iter().enumerate() {
        for family in Family::ALL {
            let view = View {
                cluster,
                world,
                number,
                router,
                node: (machine, family),
            };
            match view.judge() {
                Ok(routes) => routed += routes,
                Err((invariant, why)) => {
                    let detail = format!("router {number}, node {machine} {family}: {why}");
                    found.push((invariant, detail));
                }
            }
        }
    }
    found.extend(judge_reports(cluster, world, machine).map(|why| (REPORTS, why)));
    cluster.counts.routed += routed;
    for (invariant, detail) in found {
        cluster.violated(invariant, detail);
    }
}

/// A router, and one address of a node.
struct View<'a> {
    cluster: &'a Cluster,
    world: &'a Seen,
    number: usize,
    router: &'a Router,
    node: NodeAddress,
}

impl View<'_> {
    /// How many routes there are, when they are right.
    fn judge(&self) -> Result<u64, (&'static str, String)> {
        let (machine, family) = self.node;
        let name = draw::peer_name(self.number, family);
        let has = self.router.neighbour(self.node);
        let stale = has.map_or(0, |has| has.stale().count());
        if stale > 0 && self.address().is_none() {
            // The node cannot be reached, and the router waits for it as long as it was asked to.
            return Ok(0);
        }
        if stale > 0 {
            return Err((ROUTES, format!("{stale} routes are stale")));
        }
        let table: Table = has
            .into_iter()
            .flat_map(|has| &has.routes)
            .map(|(prefix, (told, _))| (*prefix, told.clone()))
            .collect();
        let config = self
            .world
            .config
            .as_ref()
            .and_then(|config| config.peers.get(&name));
        let speaks = self
            .cluster
            .bgp
            .nodes
            .get(machine)
            .is_some_and(|node| node.up.contains(&name));
        let session = self.router.session(self.node);
        let known = self
            .node_name()
            .is_some_and(|node| self.world.nodes.contains_key(node));
        let should = config.is_some_and(|config| self.should_speak(config));
        if known && (speaks != should || session.is_some() != should) {
            let here = session.is_some();
            return Err((
                SESSIONS,
                format!("speaker {speaks}, router {here}, should {should}: {config:?}"),
            ));
        }
        let intended = match (config, session) {
            (Some(config), Some((_, session))) => self.intended(config, session.opens()),
            _ => Table::new(),
        };
        let flags = &self.cluster.profile.flags;
        let rules = Rules::of(self.world, flags, "");
        let in_error = !self.cluster.api.written().errors.is_empty();
        let mut differing = table.iter().chain(&intended).filter(|(prefix, told)| {
            table.get(*prefix) != Some(told) || intended.get(*prefix) != Some(told)
        });
        if let Some((prefix, _)) =
            differing.find(|(prefix, _)| !in_error || !rules.has_outlived(**prefix))
        {
            let prefix = Some(*prefix);
            let (is, should) = (
                prefix.and_then(|prefix| table.get(&prefix)),
                prefix.and_then(|prefix| intended.get(&prefix)),
            );
            return Err((
                ROUTES,
                format!("{prefix:?} is {is:?}, should be {should:?}"),
            ));
        }
        let watched =
            config.is_some_and(|config| config.bfd_profile.is_some() && self.is_selected(config));
        let reachable = self.address().is_some()
            && self
                .cluster
                .bgp
                .profile
                .as_ref()
                .is_some_and(|profile| profile.bfd.is_some());
        if known && watched && reachable && !self.cluster.bfd_is_whole(self.number, self.node) {
            return Err((
                "at rest, BFD is up where it should be",
                format!("{config:?}"),
            ));
        }
        Ok(table.len() as u64)
    }

    fn node_name(&self) -> Option<&Name> {
        let (machine, _) = self.node;
        self.cluster
            .machines
            .get(machine)
            .map(|machine| &machine.name)
    }

    fn address(&self) -> Option<std::net::IpAddr> {
        let (machine, family) = self.node;
        let machine = self.cluster.machines.get(machine)?;
        machine.address_on(0, family).map(|(_, address)| address)
    }

    fn is_selected(&self, config: &BgpPeer) -> bool {
        let node = self.node_name().and_then(|name| self.world.nodes.get(name));
        node.is_some_and(|node| config.selects_node(&node.labels))
    }

    /// Whether the two are to have a session.
    fn should_speak(&self, config: &BgpPeer) -> bool {
        let traits = &self.router.traits;
        let own = config.local_asn.unwrap_or(config.my_asn);
        let welcome = match config.peer_asn {
            PeerAsn::Number(number) => number == traits.asn,
            PeerAsn::External => own != traits.asn,
            PeerAsn::Internal => own == traits.asn,
        };
        let (_, family) = self.node;
        let carries = |one: Family| config.dual_stack || one == family;
        let in_common = traits.families.iter().any(|one| carries(*one));
        welcome && in_common && self.is_selected(config) && self.address().is_some()
    }

    fn intended(
        &self,
        config: &BgpPeer,
        opens: Option<(&ironlb_bgp::wire::Open, &ironlb_bgp::wire::Open)>,
    ) -> Table {
        let (machine, family) = self.node;
        let (Some(machine), Some(local), Some((ours, theirs))) =
            (self.cluster.machines.get(machine), self.address(), opens)
        else {
            return Table::new();
        };
        let ends = (local, self.router.address(family));
        let connected = !may_be_far(config);
        let Some(exchange) = Exchange::of(ours, theirs, ends, &machine.links, connected) else {
            return Table::new();
        };
        let profile = &self.cluster.profile;
        let excluded = self
            .world
            .nodes
            .get(&machine.name)
            .is_some_and(|node| profile.flags.exclude(node));
        let standing = match (excluded, config.graceful_shutdown) {
            (true, _) => Standing::Gone,
            (false, true) => Standing::Leaving,
            (false, false) => Standing::Serving,
        };
        let rules = Rules::of(self.world, &profile.flags, &machine.name);
        rules.intended(&config.name, &exchange, standing)
    }
}

/// What a speaker reports of Services and peers is what it tells.
fn judge_reports(cluster: &Cluster, world: &Seen, machine: usize) -> Option<String> {
    let node = cluster.bgp.nodes.get(machine)?;
    let name = &cluster.machines.get(machine)?.name;
    let known = world.nodes.get(name)?;
    let flags = &cluster.profile.flags;
    let rules = Rules::of(world, flags, name);
    let gone = flags.exclude(known);
    let in_error = !cluster.api.written().errors.is_empty();
    let wrong = |service: &&Service| {
        if in_error && rules.holds_what_outlived(service) {
            return false;
        }
        let told = if gone {
            Default::default()
        } else {
            rules.peers_of(service)
        };
        node.reported.get(&service.key).cloned().unwrap_or_default() != told
    };
    let service = world.services.values().find(wrong)?;
    let (key, should) = (&service.key, rules.peers_of(service));
    let says = node.reported.get(key);
    Some(format!(
        "speaker {machine} says that {key} is told to {says:?}, and not {should:?}, excluded {gone}"
    ))
}

const ROUTES: &str = "at rest, a router has the routes that it should";
const SESSIONS: &str = "at rest, the sessions are up that should be";
const REPORTS: &str = "what a speaker reports of routes is what it tells";
