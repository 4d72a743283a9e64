use std::path::Path;

use ironlb_config::Source;

use super::*;

struct Fixture {
    root: tempfile::TempDir,
    record: Record,
}

impl Fixture {
    /// With a pool of 192.0.2.1 to 192.0.2.9, nothing read yet.
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let record = Self::open(root.path());
        Self { root, record }
    }

    fn open(root: &Path) -> Record {
        let mut record = Record::new(None, StateFile::open(&root.join("state")).unwrap());
        record.config(Time::ZERO, &config("192.0.2.1-192.0.2.9"));
        record
    }

    fn restart(self) -> Self {
        let Self { root, record } = self;
        drop(record);
        let record = Self::open(root.path());
        Self { root, record }
    }

    fn synced() -> Self {
        let mut fixture = Self::new();
        fixture.record.synced(Time::ZERO);
        fixture
    }

    fn apply(&mut self, service: Service) {
        self.record.service(Time::ZERO, &Arc::new(service));
        self.record.settle(Time::ZERO);
    }

    /// What whoever announces is told of a Service, when it is told.
    fn told(&mut self, name: &str) -> Option<Vec<String>> {
        let changes = self.record.take_changes();
        let (_, service) = changes.into_iter().find(|(key, _)| &*key.name == name)?;
        let ingress = &service?.ingress;
        Some(ingress.iter().map(|it| it.ip.clone()).collect())
    }

    fn recorded(&self) -> Vec<String> {
        let state = super::super::state::read(&self.root.path().join("state"));
        let entries = state.unwrap().unwrap().into_iter();
        entries
            .map(|(key, held)| format!("{} {:?}", key.name, held.ips))
            .collect()
    }
}

fn config(addresses: &str) -> Arc<Config> {
    let text = format!(
        "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {{name: first}}\n\
         spec: {{addresses: [{addresses}]}}\n"
    );
    let manifests = ironlb_config::read(&[Source {
        name: "test".into(),
        text,
    }]);
    Arc::new(ironlb_config::lower(&manifests.objects, &Config::default()).config)
}

fn service(name: &str) -> Service {
    Service::new(ServiceKey::new("default", name))
}

#[test]
fn an_address_is_in_the_state_file_when_it_is_shown() {
    let mut fixture = Fixture::synced();
    fixture.apply(service("web"));
    assert_eq!(fixture.recorded(), ["web [192.0.2.1]"]);
    assert_eq!(fixture.told("web").unwrap(), ["192.0.2.1"]);
}

#[test]
fn a_restart_moves_nothing_whatever_the_order() {
    let mut fixture = Fixture::synced();
    for name in ["b", "a"] {
        fixture.apply(service(name));
    }
    let before = fixture.recorded();
    let mut fixture = fixture.restart();
    for name in ["new", "a", "b"] {
        fixture.apply(service(name));
    }
    fixture.record.synced(Time::ZERO);
    assert_eq!(before, ["a [192.0.2.2]", "b [192.0.2.1]"]);
    assert_eq!(
        fixture.recorded(),
        ["a [192.0.2.2]", "b [192.0.2.1]", "new [192.0.2.3]"]
    );
}

#[test]
fn what_is_held_is_shown_before_everything_has_been_read() {
    let mut fixture = Fixture::synced();
    fixture.apply(service("web"));
    let mut fixture = fixture.restart();
    fixture.apply(service("web"));
    fixture.apply(service("new"));
    let changes = fixture.record.take_changes();
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].1.as_ref().unwrap().ingress[0].ip, "192.0.2.1");
}

#[test]
fn a_status_in_a_manifest_is_taken_over_unless_another_service_holds_it() {
    let mut fixture = Fixture::synced();
    fixture.apply(service("web"));
    let mut fixture = fixture.restart();
    for (name, ip) in [("free", "192.0.2.7"), ("late", "192.0.2.1")] {
        let mut service = service(name);
        service.ingress = ingress(&[ip.parse().unwrap()]);
        fixture.apply(service);
    }
    fixture.apply(service("web"));
    fixture.record.synced(Time::ZERO);
    assert_eq!(
        fixture.recorded(),
        ["free [192.0.2.7]", "late [192.0.2.2]", "web [192.0.2.1]"]
    );
}

#[test]
fn a_service_that_is_gone_frees_its_address() {
    let mut fixture = Fixture::synced();
    fixture.apply(service("web"));
    fixture
        .record
        .service_gone(Time::ZERO, &ServiceKey::new("default", "web"));
    fixture.record.settle(Time::ZERO);
    assert!(fixture.recorded().is_empty());
    fixture.apply(service("next"));
    assert_eq!(fixture.recorded(), ["next [192.0.2.1]"]);
}

#[test]
fn a_state_file_that_cannot_be_written_keeps_addresses_to_itself_until_it_can() {
    let mut fixture = Fixture::synced();
    let blocked = fixture.root.path().join("state.new");
    std::fs::create_dir(&blocked).unwrap();
    fixture.apply(service("web"));
    assert_eq!(fixture.told("web").unwrap(), [""; 0]);
    assert!(fixture.record.is_behind());
    std::fs::remove_dir(&blocked).unwrap();
    let later = fixture.record.deadline().unwrap();
    fixture.record.settle(later);
    assert_eq!(fixture.told("web").unwrap(), ["192.0.2.1"]);
    assert!(!fixture.record.is_behind());
}

#[test]
fn a_manifest_without_families_gets_those_of_the_pools_and_keeps_them() {
    let mut fixture = Fixture::synced();
    fixture.apply(service("four"));
    fixture
        .record
        .config(Time::ZERO, &config("192.0.2.1/32, 2001:db8::/64"));
    let mut dual = service("dual");
    dual.ip_family_policy = ironlb_model::IpFamilyPolicy::RequireDualStack;
    fixture.apply(dual);
    fixture.record.config(
        Time::ZERO,
        &config("192.0.2.1/32, 192.0.2.5/32, 2001:db8::/64"),
    );
    fixture.record.settle(Time::ZERO);
    assert_eq!(
        fixture.recorded(),
        ["dual [192.0.2.5, 2001:db8::]", "four [192.0.2.1]"]
    );
}

#[test]
fn an_address_asked_for_decides_the_family() {
    let mut fixture = Fixture::synced();
    fixture
        .record
        .config(Time::ZERO, &config("192.0.2.1/32, 2001:db8::/64"));
    let mut six = service("six");
    six.requested_ips = Some("2001:db8::9".into());
    fixture.apply(six);
    assert_eq!(fixture.recorded(), ["six [2001:db8::9]"]);
}
