use std::fs;
use std::time::{Duration, Instant};

use ironlb_model::bgp::Password;

use super::*;
use crate::standalone::state;

const WEB: &str =
    "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {type: LoadBalancer}}";
const POOL: &str = "{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: first}, \
                    spec: {addresses: [192.0.2.0/24]}}";

struct Fixture(tempfile::TempDir);

impl Fixture {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("manifests")).unwrap();
        let fixture = Self(root);
        fixture.write("pool.yaml", POOL);
        fixture.write("web.yaml", WEB);
        fixture
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join("manifests").join(name), text).unwrap();
    }

    fn open(&self) -> Site {
        Site::open(Settings {
            directory: &self.0.path().join("manifests"),
            state: &self.0.path().join("state"),
            follow: false,
            node: "n1",
            class: None,
        })
        .unwrap()
    }

    fn held(&self) -> Vec<String> {
        let state = state::read(&self.0.path().join("state")).unwrap().unwrap();
        state.keys().map(ToString::to_string).collect()
    }
}

/// Looks until no file is being written, and keeps what is good, as the process does.
fn look(site: &mut Site, milliseconds: u64) {
    look_only(site, milliseconds);
    site.keep();
}

fn look_only(site: &mut Site, milliseconds: u64) {
    let limit = Instant::now() + Duration::from_secs(10);
    while site
        .look(Time::from_millis(milliseconds), &Touched::All)
        .unwrap()
    {
        assert!(Instant::now() < limit, "no rest");
    }
}

#[test]
fn a_service_in_the_state_is_waited_for_however_late_the_first_look_is() {
    let fixture = Fixture::new();
    look(&mut fixture.open(), 0);
    assert_eq!(fixture.held(), ["default/web"]);

    fixture.write("web.yaml", "");
    let mut site = fixture.open();
    look(&mut site, 60_000);
    assert_eq!(fixture.held(), ["default/web"]);
    fixture.write("web.yaml", WEB);
    look(&mut site, 60_000 + 1_000);
    assert_eq!(fixture.held(), ["default/web"]);
    assert_eq!(site.deadline(), None);
}

#[test]
fn what_is_new_is_handed_on_before_the_copy_is_written() {
    let fixture = Fixture::new();
    let copy = state::copy_path(&fixture.0.path().join("state"));
    let mut site = fixture.open();
    look_only(&mut site, 0);
    let inputs = site.take_inputs();
    let tells = |input: &Input| matches!(input, Input::ServiceApplied(_));
    assert!(inputs.iter().any(tells));
    assert!(!copy.exists());
    site.keep();
    let text = fs::read_to_string(&copy).unwrap();
    assert!(text.contains("LoadBalancer"), "{text}");
    // Once is enough.
    fs::remove_file(&copy).unwrap();
    site.keep();
    assert!(!copy.exists());
}

#[test]
fn a_service_in_the_state_that_stays_away_is_let_go() {
    let fixture = Fixture::new();
    look(&mut fixture.open(), 0);
    fixture.write("web.yaml", "");
    let mut site = fixture.open();
    look(&mut site, 0);
    assert_eq!(site.deadline(), Some(Time::from_secs(1)));
    look(&mut site, 1_000);
    assert!(fixture.held().is_empty());
}

#[test]
fn a_pool_that_broke_keeps_the_addresses_of_its_services_through_a_restart() {
    let fixture = Fixture::new();
    look(&mut fixture.open(), 0);
    fixture.write("pool.yaml", &POOL.replace("/24", "/99"));
    let mut site = fixture.open();
    for milliseconds in [0, 1_000, 60_000] {
        look(&mut site, milliseconds);
        assert_eq!(fixture.held(), ["default/web"]);
    }
    assert!(site.errors[0].to_string().contains("/99"));
    fixture.write("pool.yaml", &POOL.replace("192.0.2", "198.51.100"));
    look(&mut site, 61_000);
    look(&mut site, 62_000);
    let state = state::read(&fixture.0.path().join("state"))
        .unwrap()
        .unwrap();
    let held: Vec<_> = state
        .values()
        .flat_map(|it| &it.ips)
        .map(ToString::to_string)
        .collect();
    assert_eq!(held, ["198.51.100.0"]);
}

#[test]
fn a_pool_that_is_broken_when_nothing_remembers_it_keeps_the_addresses_too() {
    let fixture = Fixture::new();
    look(&mut fixture.open(), 0);
    fs::remove_file(state::copy_path(&fixture.0.path().join("state"))).unwrap();
    fixture.write("pool.yaml", &POOL.replace("/24", "/99"));
    let mut site = fixture.open();
    for milliseconds in [0, 1_000, 60_000] {
        look(&mut site, milliseconds);
        assert_eq!(fixture.held(), ["default/web"]);
    }
    let shown = site.services[&ServiceKey::new("default", "web")].clone();
    assert_eq!(shown.ingress[0].ip, "192.0.2.0");
    fixture.write("pool.yaml", "");
    look(&mut site, 61_000);
    look(&mut site, 62_000);
    assert!(fixture.held().is_empty());
}

#[test]
fn the_address_of_a_node_is_not_the_first_to_be_given() {
    let fixture = Fixture::new();
    fixture.write(
        "node.yaml",
        "{apiVersion: v1, kind: Node, metadata: {name: n1}, \
         status: {addresses: [{type: InternalIP, address: 192.0.2.0}]}}",
    );
    let mut site = fixture.open();
    look(&mut site, 0);
    let shown = &site.services[&ServiceKey::new("default", "web")];
    assert_eq!(shown.ingress[0].ip, "192.0.2.1");
}

#[test]
fn a_service_that_is_back_when_its_time_is_over_was_never_gone() {
    let fixture = Fixture::new();
    let mut site = fixture.open();
    look(&mut site, 0);
    fixture.write("web.yaml", "");
    look(&mut site, 100);
    let due = site.deadline().unwrap();
    fixture.write("web.yaml", WEB);
    look(&mut site, due.as_nanos() / 1_000_000);
    assert_eq!(fixture.held(), ["default/web"]);
}

#[test]
fn a_password_in_a_secret_is_an_error_that_says_where() {
    const PEER: &str = "apiVersion: metallb.io/v1beta2\nkind: BGPPeer\nmetadata: {name: tor}\nspec:\n  myASN: 64512\n  \
                        peerASN: 64513\n  peerAddress: 10.0.0.254\n";
    let fixture = Fixture::new();
    fixture.write("peer.yaml", &format!("{PEER}  password: hunter2\n"));
    let mut site = fixture.open();
    look(&mut site, 0);
    assert_eq!(site.errors, []);

    let secret = format!("{PEER}  passwordSecret: {{name: bgp}}\n");
    fixture.write("peer.yaml", &secret);
    look(&mut site, 1_000);
    let [error] = &site.errors[..] else {
        panic!("{:?}", site.errors);
    };
    assert!(error.source.ends_with("peer.yaml"), "{error}");
    assert_eq!((error.line, error.column), (Some(8), Some(3)));
    assert_eq!(error.object, "BGPPeer/tor");
    assert_eq!(error.field, "spec.passwordSecret");
    assert!(error.message.contains("set password here"), "{error}");
    let configured = site.inputs.iter().rev().find_map(|input| match input {
        Input::Config(config) => Some(config.peers["tor"].password.clone()),
        _ => None,
    });
    let plain = Password::Plain("hunter2".to_owned());
    assert_eq!(configured, Some(plain), "what it said before stays");

    // A cluster has Secrets: files for one are judged as that would.
    let source = ironlb_config::Source {
        name: "peer.yaml".to_owned(),
        text: secret,
    };
    assert_eq!(ironlb_config::validate(&[source]), []);
}
