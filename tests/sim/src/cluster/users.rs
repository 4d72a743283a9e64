//! What users and the rest of Kubernetes do: objects come, change and go, and so do machines and their links.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ironlb_model::node::EXCLUDE_LABEL;
use ironlb_model::{
    Config, EndpointSlice, Labels, Name, Namespace, Node, Pool, PoolSelection, Range, Service,
    ServiceKey, TrafficPolicy,
};

use super::{Cluster, Happening, Process};
use crate::api::{Key, Object};
use crate::client::Client;
use crate::draw;
use crate::lan::Machine;
use crate::profile::DRAIN_TAINT;
use crate::written::Written;

impl Cluster {
    /// The cluster as it is when everything starts.
    pub(super) fn set_up(&mut self) {
        for number in 0..self.profile.machines {
            self.set_up_machine(u8::try_from(number).unwrap_or(0));
        }
        for segment in 0..self.profile.segments {
            let number = u8::try_from(segment).unwrap_or(0);
            self.clients.push((segment, Client::new(number)));
        }
        for name in draw::NAMESPACES {
            self.put_namespace(name);
        }
        for number in 0..2 + self.rng.below(3) {
            self.edit_config(|cluster, config| cluster.add_pool(config, number));
        }
        self.edit_config(|cluster, config| cluster.add_advertisement(config));
        for _ in 0..4 + self.rng.below(self.profile.habits.services * 2 / 3) {
            let key = self.any_service();
            self.create_service(key);
        }
        self.set_up_bgp();
        self.add_controller();
        self.add_controller();
        self.start_everything();
    }

    fn set_up_machine(&mut self, number: u8) {
        let mut machine = Machine::new(number, self.bgp.is_on());
        machine.add_link("eth0", Some(0));
        for segment in 1..self.profile.segments {
            if self.rng.chance(45) {
                machine.add_link(&format!("eth{segment}"), Some(segment));
            }
        }
        let name = machine.name.clone();
        self.add_machine(machine);
        self.put_node(&name);
    }

    fn start_everything(&mut self) {
        for process in self.processes() {
            if process != Process::Controller(1) || self.profile.elected {
                let delay = self.rng.millis(0, 3_000);
                self.after(delay, Happening::Start { process });
            }
        }
        for client in 0..self.clients.len() {
            self.after(Duration::ZERO, Happening::ClientSends { client });
        }
    }

    /// Schedules a round of changes and faults. Gives the time by which all have happened.
    pub fn schedule_round(&mut self) -> Duration {
        self.frames_lost = self.profile.loss > 0;
        self.slow = true;
        let mut length = Duration::ZERO;
        for _ in 0..self.profile.changes {
            length += match self.rng.below(4) {
                0 => self.rng.millis(0, 5),
                _ => self.rng.between(Duration::ZERO, self.profile.pause),
            };
            self.after(length, Happening::UserActs);
        }
        for _ in 0..self.profile.faults {
            let at = self.rng.between(Duration::ZERO, length);
            self.after(at, Happening::FaultStrikes);
        }
        self.schedule_bgp_round(length);
        length
    }

    pub(super) fn user_acts(&mut self) {
        match self.rng.below(20) {
            0..=3 => {
                let key = self.any_service();
                self.create_service(key);
            }
            4 | 5 => self.delete_service(),
            6..=9 => self.change_service(),
            10..=12 => self.change_endpoints(),
            13 | 14 => self.change_node(),
            15 => {
                let name = self.rng.pick(&draw::NAMESPACES).copied();
                self.put_namespace(name.unwrap_or("default"));
            }
            16..=18 => self.change_config(),
            _ => self.change_link(),
        }
    }

    /// Most of what users broke is put right, so that there is something to announce at rest.
    pub fn repair(&mut self) {
        for index in 0..self.machines.len() {
            if self.rng.chance(85) {
                self.repair_links(index);
            }
            let name = self.machines.get(index).map(|machine| machine.name.clone());
            if self.rng.chance(75)
                && let Some(name) = name
            {
                self.put_node(&name);
            }
        }
        self.repair_bgp();
        if self.rng.chance(45) {
            self.mend();
        }
        if self.rng.chance(80) {
            self.edit_config(|cluster, config| {
                let mut general =
                    draw::advertisement(&mut cluster.rng, &cluster.profile.habits, "ad-0".into());
                (general.nodes, general.services) = (Vec::new(), Vec::new());
                general.interfaces.clear();
                general.pools = PoolSelection::default();
                config
                    .l2_advertisements
                    .insert(general.name.clone(), general);
            });
        }
    }

    fn repair_links(&mut self, index: usize) {
        let Some(machine) = self.machines.get_mut(index) else {
            return;
        };
        let addresses = machine.addresses();
        let mut repaired = Vec::new();
        for link in machine.links.values_mut() {
            if link.name.starts_with("eth") {
                (link.up, link.has_master) = (true, false);
                link.addresses = addresses(&link.name);
                repaired.push(link.clone());
            }
        }
        for link in repaired {
            self.tell_of_link(index, link.index, Some(link));
        }
    }

    fn any_service(&mut self) -> ServiceKey {
        draw::service_key(self.rng.below(self.profile.habits.services))
    }

    fn existing_service(&mut self) -> Option<Service> {
        let objects = self.api.objects().filter_map(|object| match object {
            Object::Service(service) => Some((**service).clone()),
            _ => None,
        });
        let services: Vec<_> = objects.collect();
        self.rng.pick(&services).cloned()
    }

    fn create_service(&mut self, key: ServiceKey) {
        let seconds = i64::try_from(self.now.as_nanos() / 1_000_000_000).unwrap_or(0);
        let service = draw::service(&mut self.rng, &self.profile, key.clone(), seconds);
        self.put(Object::Service(Box::new(service)));
        if self.rng.chance(85) {
            let slice = self.draw_slice(&key);
            self.put(Object::Endpoints(slice));
        }
    }

    fn delete_service(&mut self) {
        let Some(service) = self.existing_service() else {
            return;
        };
        self.remove(&Key::Service(service.key.clone()));
        match self.rng.below(3) {
            0 => self.create_service(service.key),
            1 => {
                for slice in self.slices_of(&service.key) {
                    self.remove(&Key::Endpoints(slice.key));
                }
            }
            _ => {}
        }
    }

    pub(super) fn change_service(&mut self) {
        let Some(mut service) = self.existing_service() else {
            return;
        };
        let rng = &mut self.rng;
        match rng.below(11) {
            0 => service.is_load_balancer = !service.is_load_balancer,
            1 => {
                service.class = match service.class == self.profile.flags.class {
                    true => Some("somebody.example/else".to_owned()),
                    false => self.profile.flags.class.clone(),
                };
            }
            2 => {
                service.traffic_policy = match service.traffic_policy {
                    TrafficPolicy::Cluster => TrafficPolicy::Local,
                    TrafficPolicy::Local => TrafficPolicy::Cluster,
                };
            }
            3 | 4 => {
                service.sharing_key =
                    draw::sharing_key(rng).filter(|_| service.sharing_key.is_none());
            }
            5 => service.ports = draw::ports(rng),
            6 => {
                service.requested_pool = match service.requested_pool {
                    Some(_) => None,
                    None => Some(format!("pool-{}", rng.below(5))),
                };
            }
            7 | 8 => match draw_wish_again(&service) {
                true => draw::request(rng, &mut service),
                false => (service.requested_ips, service.load_balancer_ip) = (None, None),
            },
            9 => draw::family_policy(rng, &self.profile, &mut service),
            _ => service.labels = draw::labels(rng, "app", ["web", "db"]),
        }
        self.put(Object::Service(Box::new(service)));
    }

    fn change_endpoints(&mut self) {
        let Some(service) = self.existing_service() else {
            return;
        };
        let slices = self.slices_of(&service.key);
        match self.rng.pick(&slices).cloned() {
            Some(slice) if self.rng.chance(15) => self.remove(&Key::Endpoints(slice.key)),
            Some(mut slice) if self.rng.chance(60) => {
                for endpoint in &mut slice.endpoints {
                    endpoint.serving ^= self.rng.chance(50);
                }
                self.put(Object::Endpoints(slice));
            }
            _ => {
                let slice = self.draw_slice(&service.key);
                self.put(Object::Endpoints(slice));
            }
        }
    }

    fn draw_slice(&mut self, service: &ServiceKey) -> EndpointSlice {
        let nodes: Vec<Name> = self
            .machines
            .iter()
            .map(|machine| machine.name.clone())
            .collect();
        let number = self.rng.below(2);
        draw::slice(&mut self.rng, service, number, &nodes)
    }

    fn slices_of(&self, service: &ServiceKey) -> Vec<EndpointSlice> {
        let slices = self.api.objects().filter_map(|object| match object {
            Object::Endpoints(slice) if slice.service == *service => Some(slice.clone()),
            _ => None,
        });
        slices.collect()
    }

    fn change_node(&mut self) {
        let names: Vec<_> = self
            .machines
            .iter()
            .map(|machine| machine.name.clone())
            .collect();
        let Some(name) = self.rng.pick(&names).cloned() else {
            return;
        };
        let Some(Object::Node(mut node)) = self.api.object(&Key::Node(name.clone())).cloned()
        else {
            return self.put_node(&name);
        };
        match self.rng.below(15) {
            0..=2 => {
                if node.labels.remove(EXCLUDE_LABEL).is_none() {
                    node.labels.insert(EXCLUDE_LABEL.to_owned(), String::new());
                }
            }
            3..=5 => node.network_unavailable = !node.network_unavailable,
            6 | 7 => node
                .labels
                .extend(draw::labels(&mut self.rng, "zone", ["a", "b"])),
            8..=11 => {
                let keys = [DRAIN_TAINT, DRAIN_TAINT, "node.example/other"];
                let key = (*self.rng.pick(&keys).unwrap_or(&DRAIN_TAINT)).to_owned();
                let had = node.taints.contains(&key);
                node.taints.retain(|taint| *taint != key);
                node.taints.extend((!had).then_some(key));
            }
            12 => node.addresses = draw::node_addresses(&mut self.rng),
            _ => return self.remove(&Key::Node(name)),
        }
        self.put(Object::Node(node));
    }

    fn put_node(&mut self, name: &Name) {
        let addresses = draw::node_addresses(&mut self.rng);
        let labels = draw::labels(&mut self.rng, "zone", ["a", "b"]);
        self.put(Object::Node(Node {
            name: name.clone(),
            labels,
            network_unavailable: false,
            taints: Vec::new(),
            addresses,
        }));
    }

    fn put_namespace(&mut self, name: &str) {
        let labels: Labels = draw::labels(&mut self.rng, "env", ["prod", "dev"]);
        self.put(Object::Namespace(Namespace {
            name: name.into(),
            labels,
        }));
    }

    fn change_link(&mut self) {
        let count = self.machines.len() as u64;
        let index = usize::try_from(self.rng.below(count)).unwrap_or(0);
        let Some(machine) = self.machines.get_mut(index) else {
            return;
        };
        let wired = machine
            .links
            .values()
            .filter(|link| link.name.starts_with("eth"));
        let links: Vec<_> = wired.map(|link| link.index).collect();
        let Some(number) = self.rng.pick(&links).copied() else {
            return;
        };
        let mac = machine.next_mac();
        let addresses = machine.addresses();
        let Some(link) = machine.links.get_mut(&number) else {
            return;
        };
        match self.rng.below(10) {
            0..=3 => link.up = !link.up,
            4 => link.mac = Some(mac),
            5 => link.has_master = !link.has_master,
            6 if link.addresses.is_empty() => link.addresses = addresses(&link.name),
            6 => link.addresses.clear(),
            _ => return self.replug(index, number),
        }
        let link = link.clone();
        self.note(format_args!("node {index} link {link:?}"));
        self.tell_of_link(index, number, Some(link));
    }

    /// An interface goes, and one of the same name comes with another number.
    fn replug(&mut self, index: usize, number: u32) {
        let Some(machine) = self.machines.get_mut(index) else {
            return;
        };
        let Some((name, segment)) = machine.remove_link(number) else {
            return;
        };
        let new = machine.add_link(&name, segment);
        let link = machine.links.get(&new).cloned();
        self.note(format_args!(
            "node {index} link {number} is replaced by {new}"
        ));
        self.tell_of_link(index, number, None);
        self.tell_of_link(index, new, link);
    }

    pub(super) fn change_config(&mut self) {
        if self.profile.breaks && self.rng.chance(40) {
            return self.break_or_mend();
        }
        let number = self.rng.below(5);
        match self.rng.below(14) {
            0..=2 => self.edit_config(|cluster, config| cluster.add_pool(config, number)),
            12 | 13 => self.move_range(),
            3 => self.edit_config(Self::remove_pool),
            4 => self.edit_config(|cluster, config| cluster.rename_pool(config, number)),
            5 | 6 => self.edit_config(Self::resize_pool),
            7 | 8 => self.edit_config(Self::change_pool),
            9 | 10 => self.edit_config(|cluster, config| cluster.add_advertisement(config)),
            _ => self.edit_config(Self::remove_advertisement),
        }
    }

    pub(super) fn edit_config(&mut self, edit: impl FnOnce(&mut Self, &mut Config)) {
        let mut written = (*self.api.written()).clone();
        let mut config = (*written.config).clone();
        edit(self, &mut config);
        written.errors.follow(&written.config, &config);
        written.config = Arc::new(config);
        self.put_config(written);
    }

    fn put_config(&mut self, written: Written) {
        let summary = summary(&written.config);
        self.note(format_args!("config {summary}{:?}", written.errors));
        self.put(Object::Config(Arc::new(written)));
    }

    /// An object is written so that it cannot be read, or is again as it was.
    fn break_or_mend(&mut self) {
        let mut written = (*self.api.written()).clone();
        let (config, errors) = (&written.config, &mut written.errors);
        let (names, broken): (Vec<&Name>, _) = match self.rng.below(4) {
            0 | 1 => (config.pools.keys().collect(), &mut errors.pools),
            2 => {
                let names = config.l2_advertisements.keys();
                (names.collect(), &mut errors.l2_advertisements)
            }
            _ => {
                let names = config.bgp_advertisements.keys();
                (names.collect(), &mut errors.bgp_advertisements)
            }
        };
        let Some(name) = self.rng.pick(&names).map(|name| (*name).clone()) else {
            return;
        };
        if !broken.remove(&name) {
            broken.insert(name);
        }
        self.put_config(written);
    }

    /// Mends everything that cannot be read.
    fn mend(&mut self) {
        let written = self.api.written();
        if !written.errors.is_empty() {
            self.put_config(Written::sound(Arc::clone(&written.config)));
        }
    }

    fn add_pool(&mut self, config: &mut Config, number: u64) {
        let name: Name = format!("pool-{number}").into();
        let former = config.pools.remove(&name);
        let mut ranges = former.map(|pool| pool.ranges).unwrap_or_default();
        if ranges.is_empty() {
            let free = free_blocks(config, &ranges);
            let count = 1 + self.rng.below(3);
            let chosen = (0..count).filter_map(|_| self.rng.pick(&free).copied());
            let chosen: BTreeSet<Range> = chosen.collect();
            ranges.extend(chosen);
        }
        if !ranges.is_empty() {
            let pool = draw::pool(&mut self.rng, &self.profile.habits, name.clone(), ranges);
            config.pools.insert(name, pool);
        }
    }

    fn any_pool(&mut self, config: &Config) -> Option<Pool> {
        let pools: Vec<_> = config.pools.values().cloned().collect();
        self.rng.pick(&pools).cloned()
    }

    fn remove_pool(&mut self, config: &mut Config) {
        if let Some(pool) = self.any_pool(config) {
            config.pools.remove(&pool.name);
        }
    }

    fn rename_pool(&mut self, config: &mut Config, number: u64) {
        let name: Name = format!("pool-{number}").into();
        if config.pools.contains_key(&name) {
            return;
        }
        if let Some(mut pool) = self.any_pool(config) {
            config.pools.remove(&pool.name);
            pool.name = name.clone();
            config.pools.insert(name, pool);
        }
    }

    fn resize_pool(&mut self, config: &mut Config) {
        let Some(mut pool) = self.any_pool(config) else {
            return;
        };
        if pool.ranges.len() > 1 && self.rng.chance(50) {
            let index = usize::try_from(self.rng.below(pool.ranges.len() as u64)).unwrap_or(0);
            pool.ranges.remove(index);
        } else {
            let free = free_blocks(config, &[]);
            pool.ranges.extend(self.rng.pick(&free).copied());
        }
        config.pools.insert(pool.name.clone(), pool);
    }

    /// Addresses go from one pool to another, in two steps: no two pools may have them at once.
    fn move_range(&mut self) {
        let config = self.api.config();
        let (Some(from), Some(to)) = (self.any_pool(&config), self.any_pool(&config)) else {
            return;
        };
        let Some(range) = self.rng.pick(&from.ranges).copied() else {
            return;
        };
        self.edit_config(|_, config| {
            if let Some(pool) = config.pools.get_mut(&from.name) {
                pool.ranges.retain(|other| *other != range);
            }
            config.pools.retain(|_, pool| !pool.ranges.is_empty());
        });
        self.edit_config(|_, config| {
            if let Some(pool) = config.pools.get_mut(&to.name) {
                pool.ranges.push(range);
            }
        });
    }

    fn change_pool(&mut self, config: &mut Config) {
        if let Some(pool) = self.any_pool(config) {
            let pool = draw::pool(&mut self.rng, &self.profile.habits, pool.name, pool.ranges);
            config.pools.insert(pool.name.clone(), pool);
        }
    }

    fn add_advertisement(&mut self, config: &mut Config) {
        let name: Name = format!("ad-{}", self.rng.below(3)).into();
        let advertisement = draw::advertisement(&mut self.rng, &self.profile.habits, name.clone());
        config.l2_advertisements.insert(name, advertisement);
    }

    fn remove_advertisement(&mut self, config: &mut Config) {
        let names: Vec<_> = config.l2_advertisements.keys().cloned().collect();
        if let Some(name) = self.rng.pick(&names) {
            config.l2_advertisements.remove(name);
        }
    }
}

fn draw_wish_again(service: &Service) -> bool {
    service.requested_ips.is_none() && service.load_balancer_ip.is_none()
}

/// A configuration on one line.
fn summary(config: &Config) -> String {
    let mut line = String::new();
    for pool in config.pools.values() {
        let ranges: Vec<_> = pool.ranges.iter().map(Range::to_string).collect();
        let Pool {
            name,
            auto_assign,
            avoid_buggy_ips,
            on_removal,
            cool_down,
            ..
        } = pool;
        let flags =
            format!("auto {auto_assign}, avoid {avoid_buggy_ips}, {on_removal:?}, {cool_down:?}");
        line += &format!(
            "{name} {ranges:?} {flags} {:?} {:?}; ",
            pool.allocation, pool.labels
        );
    }
    for advertisement in config.l2_advertisements.values() {
        line += &format!("{advertisement:?}; ");
    }
    for peer in config.peers.values() {
        line += &format!("{peer:?}; ");
    }
    for advertisement in config.bgp_advertisements.values() {
        line += &format!("{advertisement:?}; ");
    }
    line
}

/// Blocks that no pool overlaps.
fn free_blocks(config: &Config, but: &[Range]) -> Vec<Range> {
    let taken = |block: &Range| {
        let pools = config.pools.values().flat_map(|pool| &pool.ranges);
        pools.chain(but).any(|range| range.overlaps(block))
    };
    let mut blocks = draw::blocks();
    blocks.retain(|block| !taken(block));
    blocks
}
