//! A rack with two routers, FRR and BIRD.

use ironlb_lab::{Signal, needs_the_lab};
use serde_json::Value;

use super::fabric::{ALL, Fabric, IPV4, IPV6, LIMIT};
use super::steady::SteadyFlows;

/// The rack, once all nodes serve by both routers.
fn rack() -> Fabric {
    let fabric = Fabric::deploy("dual-tor");
    wait_for_everything(&fabric);
    fabric
}

fn wait_for_everything(fabric: &Fabric) {
    for address in [IPV4, IPV6] {
        fabric.wait_for_paths("tor1", address, 3);
        fabric.wait_for_paths("tor2", address, 3);
        fabric.wait_for_paths("border", address, 2);
        fabric.wait_for_flows_to(address, &ALL);
    }
}

#[test]
fn flows_go_by_both_routers_to_all_nodes_and_by_one_to_a_node_that_has_lost_a_cable() {
    needs_the_lab!();
    let fabric = rack();
    let cable = fabric.host("n2").link("eth1").unwrap();
    cable.unplug().unwrap();
    let missed = fabric.wait_for_paths("tor1", IPV4, 2);
    println!("cable pulled: tor1 has two paths after {missed:?}");
    fabric.wait_for_paths("tor2", IPV4, 3);
    fabric.wait_for_flows_to(IPV4, &ALL);
    fabric.wait_for_flows_to(IPV6, &ALL);
}

#[test]
fn flows_of_a_node_that_is_cut_off_go_elsewhere_although_its_routes_would_outlive_a_restart() {
    needs_the_lab!();
    let fabric = rack();
    let cables = ["eth1", "eth2"].map(|name| fabric.host("n2").link(name).unwrap());
    for cable in &cables {
        cable.unplug().unwrap();
    }
    for tor in ["tor1", "tor2"] {
        let missed = fabric.wait_for_paths(tor, IPV4, 2);
        println!("node cut off: {tor} has two paths after {missed:?}");
    }
    fabric.wait_for_flows_to(IPV4, &["n1", "n3"]);
    fabric.wait_for_flows_to(IPV6, &["n1", "n3"]);
    for cable in &cables {
        cable.plug().unwrap();
    }
    wait_for_everything(&fabric);
}

#[test]
fn all_flows_go_by_the_other_router_when_one_has_no_power() {
    needs_the_lab!();
    let fabric = rack();
    fabric.switch_off("tor1", &["eth1", "eth2", "eth3", "eth4"]);
    let missed = fabric.wait_for_paths("border", IPV4, 1);
    println!("router without power: one path is left after {missed:?}");
    fabric.wait_for_flows_to(IPV4, &ALL);
    fabric.wait_for_flows_to(IPV6, &ALL);
}

#[test]
fn no_packet_of_a_steady_flow_is_lost_while_speakers_restart_one_after_the_other() {
    needs_the_lab!();
    let mut fabric = rack();
    let before = ["eth1", "eth2"].map(|interface| sent(&fabric, interface));
    let flows = SteadyFlows::start(fabric.host("client"), IPV4);
    for node in ALL {
        let lb = format!("{node}-lb");
        let number = node.trim_start_matches('n');
        let speaker = fabric.nodes.process(&lb).unwrap();
        speaker.signal(Signal::Terminate).unwrap();
        let status = speaker.wait(LIMIT).unwrap();
        assert!(status.success(), "{status}");
        wait_for_session(&fabric, number, false);
        fabric.wait_for_paths("tor1", IPV4, 3);
        fabric.wait_for_paths("tor2", IPV4, 3);
        fabric.nodes.restart(&lb).unwrap();
        wait_for_session(&fabric, number, true);
    }
    wait_for_all_sessions_of_bird(&fabric);
    let packets = flows.stop();
    let carried = ["eth1", "eth2"].map(|interface| sent(&fabric, interface));
    let carried = [carried[0] - before[0], carried[1] - before[1]];
    println!("three speakers restarted: {packets:?}; sent by tor1 and tor2: {carried:?}");
    assert_eq!(packets.sent, packets.received, "{packets:?}");
    assert_eq!(packets.served_by, ALL.map(str::to_owned).into());
    assert!(carried.iter().all(|count| *count > 100), "{carried:?}");
}

/// Waits until FRR has a session with a node, or none; it keeps the routes either way.
fn wait_for_session(fabric: &Fabric, node: &str, wanted: bool) {
    let is_up = |summary: &Value| {
        let peers = &summary["ipv4Unicast"]["peers"];
        peers[format!("10.1.0.{node}")]["state"] == "Established"
    };
    let tor1 = fabric.nodes.router("tor1").unwrap();
    let question = "show bgp summary json";
    tor1.wait_for("the session", question, LIMIT, |it| is_up(it) == wanted)
        .unwrap();
}

/// Waits until BIRD has a session with all nodes.
fn wait_for_all_sessions_of_bird(fabric: &Fabric) {
    let tor2 = fabric.nodes.router("tor2-bird").unwrap();
    let is_up = |protocol: &&Value| {
        let is_node = protocol["name"].as_str().unwrap().starts_with("node");
        is_node && protocol["info"] == "Established"
    };
    tor2.wait_for("the sessions", "show protocols", LIMIT, |protocols| {
        let protocols = protocols.as_array().unwrap();
        protocols.iter().filter(is_up).count() == ALL.len()
    })
    .unwrap();
}

/// How many packets the border router has sent by an interface.
fn sent(fabric: &Fabric, interface: &str) -> u64 {
    let mut command = std::process::Command::new("ip");
    command.args(["-json", "-statistics", "link", "show", "dev", interface]);
    let output = fabric.host("border").run(&mut command).unwrap();
    let links: Value = serde_json::from_slice(&output.stdout).unwrap();
    links[0]["stats64"]["tx"]["packets"].as_u64().unwrap()
}
