//! `ironlb standalone` on real hosts: a client on the same wire reaches backends through the address of a Service.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use ironlb_lab::{eventually, eventually_ok, holds_for, needs_the_lab};

use site::{LIMIT, Site, allocations};

pub(crate) mod metrics;
mod sctp;
pub(crate) mod site;

#[test]
fn a_client_reaches_every_backend_over_both_families_and_protocols() {
    needs_the_lab!();
    let site = Site::new("standalone-reach", 2);
    site.service("web", &[1, 2], "");
    site.node(9);
    let _running = [site.start(1), site.start(2)];
    // Nobody runs on n9, and yet it may be elected: take it away.
    site.remove("node9.yaml");
    for address in site.addresses("web") {
        site.reach(address);
        let server = SocketAddr::new(address, 80);
        let (mut by_tcp, mut by_udp) = (BTreeSet::new(), BTreeSet::new());
        eventually("both backends are used", LIMIT, || {
            by_tcp.insert(site.client.tcp_get(server).unwrap().backend);
            by_udp.insert(site.client.udp_exchange(server).unwrap().backend);
            by_tcp.len() == 2 && by_udp.len() == 2
        })
        .unwrap();
    }
}

#[test]
fn endpoints_on_the_node_see_the_client_and_others_the_node() {
    needs_the_lab!();
    let site = Site::new("standalone-source", 2);
    site.remove("node2.yaml");
    site.service("web", &[1, 2], "");
    let _running = site.start(1);
    for (address, client, node) in [(0, "10.0.0.100", "10.0.0.1"), (1, "fd00::100", "fd00::1")] {
        let address = site.addresses("web")[address];
        site.reach(address);
        let mut seen = BTreeSet::new();
        eventually("both backends are used", LIMIT, || {
            let answer = site.client.tcp_get(SocketAddr::new(address, 80)).unwrap();
            seen.insert((answer.backend, answer.client.ip().to_string()));
            seen.len() == 2
        })
        .unwrap();
        let expected = [("n1", client), ("n2", node)].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(seen, BTreeSet::from(expected));
    }
}

#[test]
fn local_policy_keeps_to_the_node_s_own_endpoint_and_the_client_s_address() {
    needs_the_lab!();
    let site = Site::new("standalone-local", 3);
    site.service("web", &[2], "  externalTrafficPolicy: Local\n");
    let _running = [site.start(1), site.start(2), site.start(3)];
    for address in site.addresses("web") {
        assert_eq!(site.reach(address), "n2");
        let answer = site.client.tcp_get(SocketAddr::new(address, 80)).unwrap();
        assert!(["10.0.0.100", "fd00::100"].contains(&answer.client.ip().to_string().as_str()));
        site.client.forget_neighbour(address).unwrap();
        assert_eq!(
            site.client.who_has(address).unwrap(),
            Some(site.cables[1].mac())
        );
        // The node's own clients go where it is announced.
        let from_n1 = site.nodes[0].tcp_get(SocketAddr::new(address, 80)).unwrap();
        assert_eq!(from_n1.backend, "n2");
    }
}

#[test]
fn a_host_reaches_a_service_from_itself() {
    needs_the_lab!();
    let site = Site::new("standalone-self", 2);
    site.remove("node2.yaml");
    site.service("web", &[1], "");
    site.service("far", &[2], "");
    let _running = site.start(1);
    for (service, backend) in [("web", "n1"), ("far", "n2")] {
        for address in site.addresses(service) {
            assert_eq!(site.reach(address), backend);
            assert_eq!(
                site.nodes[0]
                    .tcp_get(SocketAddr::new(address, 80))
                    .unwrap()
                    .backend,
                backend
            );
        }
    }
}

#[test]
fn a_port_that_the_service_has_not_is_refused_at_once() {
    needs_the_lab!();
    let site = Site::new("standalone-refuse", 1);
    site.service("web", &[1], "");
    let _running = site.start(1);
    for address in site.addresses("web") {
        site.reach(address);
        let before = Instant::now();
        let error = site
            .client
            .tcp_connect(SocketAddr::new(address, 81))
            .unwrap_err()
            .to_string();
        assert!(error.contains("refused"), "{error}");
        let error = site
            .client
            .udp_exchange(SocketAddr::new(address, 81))
            .unwrap_err()
            .to_string();
        assert!(error.contains("refused"), "{error}");
        // Both give up after two seconds each.
        assert!(before.elapsed() < Duration::from_secs(2));
    }
}

#[test]
fn a_pool_edit_moves_the_service_and_the_old_address_falls_silent() {
    needs_the_lab!();
    let site = Site::new("standalone-pool", 1);
    site.service("web", &[1], "");
    let _running = site.start(1);
    let old = site.addresses("web")[0];
    assert_eq!(old.to_string(), "10.0.0.200");
    site.reach(old);
    site.pool("10.0.0.210-10.0.0.213");
    let new: IpAddr = "10.0.0.210".parse().unwrap();
    assert_eq!(site.reach(new), "n1");
    assert!(site.addresses("web").contains(&new));
    site.unheard(old);
}

#[test]
fn a_service_that_is_deleted_falls_silent_and_frees_its_address() {
    needs_the_lab!();
    let site = Site::new("standalone-delete", 1);
    site.service("web", &[1], "");
    let _running = site.start(1);
    let addresses = site.addresses("web");
    addresses
        .iter()
        .for_each(|address| _ = site.reach(*address));
    site.remove("web.yaml");
    addresses.iter().for_each(|address| site.unheard(*address));
    assert_eq!(allocations(&site.state()), []);
    site.service("next", &[1], "");
    assert_eq!(site.addresses("next"), addresses);
}

#[test]
fn a_file_that_breaks_withdraws_nothing() {
    needs_the_lab!();
    let site = Site::new("standalone-broken", 1);
    site.service("web", &[1], "");
    let running = site.start(1);
    let address = site.addresses("web")[0];
    site.reach(address);
    site.write(
        "web.yaml",
        "apiVersion: v1\nkind: Service\nmetadata: {name: we",
    );
    running.wait_for_line("web.yaml:3", LIMIT).unwrap();
    holds_for("it is served", Duration::from_millis(1_500), || {
        site.client.tcp_get(SocketAddr::new(address, 80)).is_ok()
    })
    .unwrap();
    // Nor does it after a restart.
    running.terminate(LIMIT).unwrap();
    let _running = site.start(1);
    assert_eq!(site.reach(address), "n1");
}

#[test]
fn what_is_good_in_a_broken_file_is_served_and_what_is_wrong_stays_as_it_was() {
    needs_the_lab!();
    let site = Site::new("standalone-partly", 1);
    let service = |name: &str, kind: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n\
             spec: {{type: {kind}, ports: [{{name: t, port: 80}}]}}\n---\n"
        )
    };
    site.write("all.yaml", &service("old", "LoadBalancer"));
    site.endpoints("old", &[1]);
    site.endpoints("new", &[1]);
    let running = site.start(1);
    let old = site.addresses("old")[0];
    assert_eq!(site.reach(old), "n1");
    site.write(
        "all.yaml",
        &(service("old", "[LoadBalancer]") + &service("new", "LoadBalancer")),
    );
    let new = site.addresses("new")[0];
    assert_eq!(site.reach(new), "n1");
    assert_eq!(site.reach(old), "n1");
    running
        .wait_for_line("Service/old: spec.type", LIMIT)
        .unwrap();
}

#[test]
fn a_second_manifest_of_a_service_changes_nothing_and_is_told() {
    needs_the_lab!();
    let site = Site::new("standalone-twice", 1);
    site.service("web", &[1], "");
    let running = site.start(1);
    let addresses = site.addresses("web");
    site.reach(addresses[0]);
    let other = "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {type: ClusterIP}}";
    site.write("a-copy.yaml", other);
    running
        .wait_for_line("\"default/web\" is there twice", LIMIT)
        .unwrap();
    assert_eq!(site.addresses("web"), addresses);
    assert_eq!(site.reach(addresses[0]), "n1");
}

#[test]
fn one_node_answers_and_the_other_takes_over_when_it_is_removed() {
    needs_the_lab!();
    let site = Site::new("standalone-two", 2);
    site.service("web", &[1, 2], "");
    let _running = [site.start(1), site.start(2)];
    let address = site.addresses("web")[0];
    site.reach(address);
    let owner = site.client.who_has(address).unwrap().unwrap();
    let number = 1 + site
        .cables
        .iter()
        .position(|cable| cable.mac() == owner)
        .unwrap();
    let other = 3 - number;

    site.cables[number - 1].unplug().unwrap();
    site.remove(&format!("node{number}.yaml"));
    site.endpoints("web", &[other]);
    assert_eq!(site.reach(address), format!("n{other}"));
    assert_eq!(
        site.client.who_has(address).unwrap(),
        Some(site.cables[other - 1].mac())
    );
}

#[test]
fn an_orderly_end_leaves_no_rules_and_a_kill_leaves_traffic_flowing() {
    needs_the_lab!();
    let site = Site::new("standalone-restart", 1);
    site.service("web", &[1], "");
    let running = site.start(1);
    let addresses = site.addresses("web");
    site.reach(addresses[0]);
    assert!(site.rules(1).contains("table inet ironlb"));
    assert!(running.terminate(LIMIT).unwrap().success());
    assert_eq!(site.rules(1), "");
    site.unheard(addresses[0]);

    let running = site.start(1);
    site.reach(addresses[0]);
    assert_eq!(site.addresses("web"), addresses);
    running.kill().unwrap();
    // The client still knows the way.
    assert_eq!(
        site.client
            .tcp_get(SocketAddr::new(addresses[0], 80))
            .unwrap()
            .backend,
        "n1"
    );
    let _running = site.start(1);
    assert_eq!(site.reach(addresses[0]), "n1");
    assert_eq!(site.rules(1).matches("table inet ironlb").count(), 1);
}

#[test]
fn rules_that_someone_flushes_come_back() {
    needs_the_lab!();
    let site = Site::new("standalone-flush", 1);
    site.service("web", &[1], "");
    let _running = site.start(1);
    let address = site.addresses("web")[0];
    site.reach(address);
    site.nodes[0]
        .run(Command::new("nft").args(["flush", "ruleset"]))
        .unwrap();
    assert_eq!(site.reach(address), "n1");
}

#[test]
fn a_udp_client_that_never_begins_anew_follows_the_endpoints() {
    needs_the_lab!();
    let site = Site::new("standalone-udp", 2);
    site.remove("node2.yaml");
    site.service("web", &[2], "");
    let _running = site.start(1);
    let address = site.addresses("web")[0];
    assert_eq!(site.reach(address), "n2");
    let socket = site
        .client
        .in_namespace(|| UdpSocket::bind("0.0.0.0:0").unwrap())
        .unwrap();
    socket.connect((address, 80)).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let ask = || {
        let mut buffer = [0; 100];
        socket.send(b"who?").ok()?;
        let length = socket.recv(&mut buffer).ok()?;
        String::from_utf8(buffer[..length].to_vec()).ok()
    };
    eventually("the socket reaches a backend", LIMIT, || {
        ask().is_some_and(|answer| answer.starts_with("n2 "))
    })
    .unwrap();
    site.end_backend(2);
    site.endpoints("web", &[1]);
    eventually("the same socket reaches the other backend", LIMIT, || {
        ask().is_some_and(|answer| answer.starts_with("n1 "))
    })
    .unwrap();
}

#[test]
fn an_sctp_association_begins_at_the_endpoint_s_port() {
    needs_the_lab!();
    let site = Site::new("standalone-sctp", 1);
    site.write(
        "web.yaml",
        "{apiVersion: v1, kind: Service, metadata: {name: web}, \
         spec: {type: LoadBalancer, ports: [{port: 3868, protocol: SCTP}]}}",
    );
    site.write(
        "web-endpoints.yaml",
        "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, \
         metadata: {name: web, labels: {kubernetes.io/service-name: web}}, addressType: IPv4, \
         ports: [{port: 4000, protocol: SCTP}], endpoints: [{addresses: [10.0.0.1], nodeName: n1}]}",
    );
    let running = site.start(1);
    let address = site.addresses("web")[0];
    running
        .wait_for_line("announced on layer 2", LIMIT)
        .unwrap();
    let mut backend = sctp::Receiver::new(&site.nodes[0]);
    let mut from = 5_000;
    eventually("an INIT arrives at the endpoint's port", LIMIT, || {
        from += 1;
        sctp::send_init(&site.client, from, address, 3_868);
        backend.ports() == Some((from, 4_000))
    })
    .unwrap();
}

#[test]
fn a_second_process_on_the_same_state_is_refused() {
    needs_the_lab!();
    let site = Site::new("standalone-lock", 1);
    let _running = site.start(1);
    let message = site.refusal();
    assert!(message.contains("in use by process"), "{message}");
}

#[test]
fn a_broken_state_file_is_refused_and_nothing_is_announced() {
    needs_the_lab!();
    let site = Site::new("standalone-corrupt", 1);
    site.service("web", &[1], "");
    fs::write(site.state(), "{\"format\": \"ironlb-state\", \"vers").unwrap();
    let message = site.refusal();
    assert!(message.contains("Restore it from a backup"), "{message}");
    assert!(
        site.client
            .who_has("10.0.0.200".parse().unwrap())
            .unwrap()
            .is_none()
    );
}

/// Kills the process again and again while Services come, change and are written badly. An address that was ever in
/// the state file stays with its Service, through every crash.
#[test]
fn nothing_is_lost_or_moved_when_it_is_killed_again_and_again() {
    needs_the_lab!();
    let site = Site::new("standalone-kill", 1);
    site.pool("10.0.0.150-10.0.0.249");
    let mut held: Vec<(String, Vec<IpAddr>)> = Vec::new();
    for round in 0..40_u64 {
        let running = site.start(1);
        let name = format!("web{:02}", 40 - round);
        site.write(&format!("{name}.yaml"), &one_line_service(&name));
        site.endpoints(&name, &[1]);
        disturb(&site, &held, round);
        // A different moment each time, from before the first look to after the last write.
        let until = Instant::now() + Duration::from_millis(round * 7 % 90);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        running.kill().unwrap();
        let now = allocations(&site.state());
        for entry in &held {
            assert!(
                now.contains(entry),
                "round {round}: {entry:?} is not in {now:?}"
            );
        }
        held = now;
    }
    disturb(&site, &held, 0);
    let _running = site.start(1);
    eventually("all have an address", LIMIT, || {
        allocations(&site.state()).len() == 40
    })
    .unwrap();
    let end = allocations(&site.state());
    assert!(held.iter().all(|entry| end.contains(entry)));
    let distinct: BTreeSet<_> = end.iter().map(|(_, ips)| ips[0]).collect();
    assert_eq!(distinct.len(), 40);
    let address = end[0].1[0];
    let server = SocketAddr::new(address, 80);
    eventually_ok("it is served", LIMIT, || site.client.tcp_get(server)).unwrap();
}

/// Half of it is no YAML, wherever it is cut.
fn one_line_service(name: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}, spec: {{type: LoadBalancer, \
         ports: [{{name: t, port: 80}}]}}}}\n"
    )
}

/// What a careless editor does to the manifest of a Service that has an address: leaves it short, or broken, until
/// the next time.
fn disturb(site: &Site, held: &[(String, Vec<IpAddr>)], round: u64) {
    let Some((name, _)) = held.get(usize::try_from(round).unwrap() % held.len().max(1)) else {
        return;
    };
    for (other, _) in held {
        fs::write(
            site.manifests().join(format!("{other}.yaml")),
            one_line_service(other),
        )
        .unwrap();
    }
    let path = site.manifests().join(format!("{name}.yaml"));
    let whole = one_line_service(name);
    let half = &whole[..whole.len() / 2];
    match round % 3 {
        // Made whole again at once: an empty file that stays so is a Service deleted.
        0 => fs::write(&path, "").and_then(|()| fs::write(&path, &whole)),
        1 => fs::write(&path, half).and_then(|()| fs::write(&path, &whole)),
        // Left so through the kill and the next start.
        _ => fs::write(&path, half),
    }
    .unwrap();
}
