//! A cluster in memory: the controller's and the speakers' decisions with an API server of a few lines between.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ironlb_config::Manifests;
use ironlb_controller_core::{Controller, Input, Output, Settings, StatusWrite, WriteOutcome};
use ironlb_model::{Config, Ingress, Name, Namespace, Service, ServiceKey, Time};
use ironlb_speaker_core::{Reason, World, decide};

use super::{Announcement, Service as Planned};
use crate::families;

/// A cluster in which nothing changes any more.
pub(super) struct Cluster {
    services: BTreeMap<ServiceKey, Service>,
    controller: Controller,
    world: World,
}

impl Cluster {
    /// Gives the cluster everything at once, and lets it run until nothing changes any more. `world` is the speakers', and empty.
    pub(super) fn settle(
        manifests: Manifests,
        config: Config,
        class: Option<String>,
        world: World,
    ) -> Self {
        let config = Arc::new(config);
        let mut cluster = Self {
            services: BTreeMap::new(),
            controller: Controller::new(Settings { class }),
            world,
        };
        let order = cluster.admit(manifests.services, &config);
        let mut first = vec![Input::Config(Arc::clone(&config))];
        first.extend(manifests.nodes.iter().cloned().map(Input::NodeApplied));
        cluster.allocate(&order, manifests.namespaces, first);

        let world = &mut cluster.world;
        world.set_config(config);
        for node in manifests.nodes {
            world.apply_node(node);
        }
        for slice in &manifests.endpoint_slices {
            world.apply_endpoints(slice);
        }
        for service in cluster.services.values() {
            world.apply_service(service);
        }
        cluster
    }

    /// What became of each Service.
    pub(super) fn services(&self) -> Vec<Planned> {
        self.services
            .values()
            .map(|service| self.planned(service))
            .collect()
    }

    /// Takes in manifests as an API server would: what it fills in is filled in. Gives the order in which they came.
    fn admit(&mut self, manifests: Vec<Service>, config: &Config) -> Vec<ServiceKey> {
        let mut order = Vec::new();
        let pools = families::of_pools(config);
        for mut service in manifests {
            if service.cluster_ips.is_empty() && !service.is_headless {
                service.cluster_ips = families::cluster_ips(&service, &pools);
            }
            service.uid = service.key.to_string().into();
            service.resource_version = "1".into();
            order.push(service.key.clone());
            self.services.insert(service.key.clone(), service);
        }
        order
    }

    /// Runs the controller until it has nothing more to do. `inputs` are what it is told before the Services.
    fn allocate(&mut self, order: &[ServiceKey], given: Vec<Namespace>, mut inputs: Vec<Input>) {
        let namespaces = namespaces(given, self.services.keys());
        inputs.extend(namespaces.into_values().map(Input::NamespaceApplied));
        let in_order = order.iter().filter_map(|key| self.services.get(key));
        inputs.extend(in_order.map(|service| Input::ServiceApplied(Box::new(service.clone()))));
        inputs.push(Input::Synced);
        let mut now = Time::ZERO;
        let mut ticks = 0..IDLE_TICKS;
        while !inputs.is_empty() {
            for input in std::mem::take(&mut inputs) {
                self.controller.handle(now, input);
            }
            while let Some(output) = self.controller.poll() {
                if let Output::Write(write) = output {
                    inputs.extend(self.write(write));
                }
            }
            let waits = self.controller.deadline().filter(|_| inputs.is_empty());
            if let Some(deadline) = waits.filter(|_| ticks.next().is_some()) {
                now = now.max(deadline);
                inputs.push(Input::Tick);
            }
        }
    }

    /// A write to the status sub-resource, and what the controller hears of it.
    fn write(&mut self, write: StatusWrite) -> Vec<Input> {
        let outcome = |service, outcome| Input::Written { service, outcome };
        let Some(service) = self.services.get_mut(&write.service) else {
            return vec![outcome(write.service, WriteOutcome::Gone)];
        };
        if service.resource_version != write.resource_version {
            return vec![outcome(write.service, WriteOutcome::Conflict)];
        }
        let ingress = |ip: &std::net::IpAddr| Ingress {
            ip: ip.to_string(),
            hostname: String::new(),
        };
        service.ingress = write.ips.iter().map(ingress).collect();
        service.allocated_from = write.pool.as_deref().map(str::to_owned);
        let version: u64 = service.resource_version.parse().unwrap_or(0);
        service.resource_version = version.saturating_add(1).to_string().into();
        let newer = Input::ServiceApplied(Box::new(service.clone()));
        vec![outcome(write.service, WriteOutcome::Done), newer]
    }

    fn planned(&self, service: &Service) -> Planned {
        let key = &service.key;
        let by_address = service
            .ingress
            .iter()
            .filter(|ingress| !ingress.ip.is_empty());
        let announcements = self.announcements(key);
        let silent = announcements.is_empty();
        Planned {
            namespace: key.namespace.to_string(),
            name: key.name.to_string(),
            ips: by_address.map(|ingress| ingress.ip.clone()).collect(),
            pool: self.controller.pool_of_service(key).map(Name::to_string),
            reason: silent.then(|| self.reason(service)),
            announcements,
        }
    }

    fn announcements(&self, key: &ServiceKey) -> Vec<Announcement> {
        let mut announcements = Vec::new();
        for (_, owned) in decide::layer2(&self.world, key).unwrap_or_default() {
            announcements.extend(owned.map(|owned| Announcement::L2 {
                node: owned.node.to_string(),
                interfaces: owned.interfaces,
            }));
        }
        for node in self.world.nodes() {
            let routes = decide::bgp(&self.world, key, node).unwrap_or_default();
            announcements.extend(routes.into_iter().map(|route| printed(node, route)));
        }
        announcements.sort();
        announcements.dedup();
        announcements
    }

    /// Why nobody announces a Service.
    fn reason(&self, service: &Service) -> String {
        if let Err(reason) = self.world.admit(service) {
            return reason.to_string();
        }
        let refusal = self
            .controller
            .explain(&service.key)
            .filter(|_| service.ingress.is_empty());
        refusal.unwrap_or_else(|| self.silence(&service.key))
    }

    /// Why no node announces what has an address: what each of them says, each thing once.
    fn silence(&self, key: &ServiceKey) -> String {
        let refusals = |node: &Name| {
            let decision = decide(&self.world, key, node);
            [decision.no_layer2, decision.no_bgp]
        };
        let mut reasons: Vec<Reason> = self.world.nodes().flat_map(refusals).flatten().collect();
        if reasons.is_empty() {
            return "there is no Node to announce it".to_owned();
        }
        // Who announces by one protocol does not ask for the other.
        let is_for_nobody = |one: &Reason| matches!(one, Reason::NoMatchingAdvertisement { .. });
        if !reasons.iter().all(is_for_nobody) {
            reasons.retain(|one| !is_for_nobody(one));
        }
        let mut sentences: Vec<String> = Vec::new();
        for sentence in reasons.iter().map(Reason::to_string) {
            if !sentences.contains(&sentence) {
                sentences.push(sentence);
            }
        }
        let more = sentences.len().saturating_sub(SENTENCES);
        sentences.truncate(SENTENCES);
        if more > 0 {
            sentences.push(format!("and {more} more"));
        }
        sentences.join("; ")
    }
}

/// The namespaces given and those that Services are in, each with the label that an API server adds.
fn namespaces<'a>(
    given: Vec<Namespace>,
    services: impl Iterator<Item = &'a ServiceKey>,
) -> BTreeMap<Name, Namespace> {
    let named = |namespace: Namespace| (namespace.name.clone(), namespace);
    let mut namespaces: BTreeMap<Name, Namespace> = given.into_iter().map(named).collect();
    let used: BTreeSet<&Name> = services.map(|key| &key.namespace).collect();
    for name in used {
        namespaces.entry(name.clone()).or_insert_with(|| Namespace {
            name: name.clone(),
            ..Namespace::default()
        });
    }
    for (name, namespace) in &mut namespaces {
        let label = "kubernetes.io/metadata.name".to_owned();
        namespace.labels.insert(label, name.to_string());
    }
    namespaces
}

fn printed(node: &Name, announcement: ironlb_speaker_core::Announcement) -> Announcement {
    use ironlb_speaker_core::Announcement as Decided;
    let node = node.to_string();
    match announcement {
        Decided::Layer2 { interfaces, .. } => Announcement::L2 { node, interfaces },
        Decided::Bgp {
            peer,
            prefix,
            local_pref,
            attributes,
        } => Announcement::Bgp {
            node,
            peer: peer.to_string(),
            prefix: prefix.to_string(),
            local_pref,
            communities: texts(&attributes.communities),
            med: attributes.med,
            as_path_prepend: Some(attributes.as_path_prepend).filter(|times| *times > 0),
            next_hop: attributes.next_hop.map(|address| address.to_string()),
            extended_communities: texts(&attributes.extended_communities),
            link_bandwidth: attributes.bandwidth,
        },
    }
}

fn texts<T: ToString>(all: &BTreeSet<T>) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

/// How often the controller is woken without a write in between. No write fails here, so it has nothing to wait for.
const IDLE_TICKS: u32 = 1_000;
/// How many different reasons are told before the rest is only counted.
const SENTENCES: usize = 6;
