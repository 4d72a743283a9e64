//! Who gets an answer to ARP and neighbour discovery, and what the kernels of others make of it.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::time::Duration;

use ironlb_l2::arp::{Operation, Packet};
use ironlb_lab::{
    Host, Lab, Link, NeighbourState, Switch, eventually, eventually_ok, holds_for, needs_the_lab,
};
use ironlb_model::Mac;

use crate::speaker::TestSpeaker;
use crate::wire::Wire;

const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const VIP6: &str = "fd00::100";
const LIMIT: Duration = Duration::from_secs(20);

/// A node and a client on one segment.
struct Segment {
    // Ends everything in it when dropped, so it comes last.
    node: Host,
    cable: Link,
    client: Host,
    client_cable: Link,
    lan: Switch,
    lab: Lab,
}

impl Segment {
    fn new(name: &str) -> Self {
        let lab = Lab::new(name).unwrap();
        let lan = lab.switch("lan").unwrap();
        let node = lab.host("node").unwrap();
        let client = lab.host("client").unwrap();
        let cable = node
            .connect(&lan, "eth0", &["10.0.0.1/24", "fd00::1/64"])
            .unwrap();
        let client_cable = client
            .connect(&lan, "eth0", &["10.0.0.2/24", "fd00::2/64"])
            .unwrap();
        Self {
            node,
            cable,
            client,
            client_cable,
            lan,
            lab,
        }
    }

    fn wire(&self) -> Wire {
        Wire::new(&self.client, &self.client_cable)
    }

    /// Whether `mac` is what the wire says of both addresses.
    fn answered_by(&self, mac: Mac) {
        for ip in [VIP.into(), vip6()] {
            eventually(&format!("{ip} is at {mac}"), LIMIT, || {
                self.client.who_has(ip).unwrap() == Some(mac)
            })
            .unwrap();
        }
    }
}

fn vip6() -> IpAddr {
    VIP6.parse().unwrap()
}

/// A speaker that announces the two addresses from the segment's node.
fn announcing(segment: &Segment) -> TestSpeaker {
    let speaker = TestSpeaker::start(&segment.node, &["^lo$"]);
    speaker.serve("web", &[&VIP.to_string(), VIP6]);
    segment.answered_by(segment.cable.mac());
    speaker
}

/// The output of a command on a host, whether it succeeds or not.
fn output(host: &Host, program: &str, arguments: &[&str]) -> (bool, String) {
    let output = host.run(Command::new(program).args(arguments)).unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success(), text)
}

/// The Ethernet groups that a host's interface is in.
fn groups(host: &Host, interface: &str) -> Vec<String> {
    let table = host
        .in_namespace(|| std::fs::read_to_string("/proc/thread-self/net/dev_mcast"))
        .unwrap()
        .unwrap();
    table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|columns| columns.get(1) == Some(&interface))
        .filter_map(|columns| columns.last().map(|group| (*group).to_owned()))
        .collect()
}

#[test]
fn arping_gets_an_answer_for_what_is_announced_and_for_nothing_else() {
    needs_the_lab!();
    let segment = Segment::new("arping");
    let _speaker = announcing(&segment);
    let mac = segment.cable.mac().to_string();
    let unicast = ["-t", &mac, "-i", "eth0", "-c1", "10.0.0.100"];
    for arguments in [
        &["-i", "eth0", "-c1", "10.0.0.100"][..],
        // A probe with sender 0.0.0.0.
        &["-0", "-i", "eth0", "-c1", "10.0.0.100"],
        &unicast,
    ] {
        let (success, text) = output(&segment.client, "arping", arguments);
        assert!(success && text.contains(&mac), "{arguments:?}: {text}");
    }
    let (success, text) = output(
        &segment.client,
        "arping",
        &["-i", "eth0", "-c1", "10.0.0.101"],
    );
    assert!(!success, "{text}");
}

#[test]
fn ndisc6_gets_an_answer_for_what_is_announced_and_for_nothing_else() {
    needs_the_lab!();
    let segment = Segment::new("ndisc6");
    let _speaker = announcing(&segment);
    let mac = segment.cable.mac().to_string().to_uppercase();
    let (success, text) = output(&segment.client, "ndisc6", &["-1", "-r2", VIP6, "eth0"]);
    assert!(success && text.contains(&mac), "{text}");
    let (success, text) = output(
        &segment.client,
        "ndisc6",
        &["-1", "-r1", "fd00::101", "eth0"],
    );
    assert!(!success, "{text}");
}

#[test]
fn duplicate_address_detection_of_another_host_fails() {
    needs_the_lab!();
    let segment = Segment::new("dad");
    let _speaker = announcing(&segment);
    let client = &segment.client;
    for name in ["all", "eth0"] {
        let setting = format!("net/ipv6/conf/{name}/accept_dad");
        client.sysctl(&setting, "1").unwrap();
    }
    let added = output(
        client,
        "ip",
        &["addr", "add", "fd00::100/64", "dev", "eth0"],
    );
    assert!(added.0);
    eventually("the address is found to be taken", LIMIT, || {
        output(client, "ip", &["-6", "addr", "show", "dev", "eth0"])
            .1
            .lines()
            .any(|line| line.contains("fd00::100/64") && line.contains("dadfailed"))
    })
    .unwrap();
    // A free one is not: the test would see a detection that always fails.
    output(
        client,
        "ip",
        &["addr", "add", "fd00::1ff/64", "dev", "eth0"],
    );
    eventually("a free address becomes usable", LIMIT, || {
        output(client, "ip", &["-6", "addr", "show", "dev", "eth0"])
            .1
            .lines()
            .any(|line| {
                line.contains("fd00::1ff/64")
                    && !line.contains("tentative")
                    && !line.contains("dadfailed")
            })
    })
    .unwrap();
}

#[test]
fn the_reachability_probes_of_a_kernel_are_answered() {
    needs_the_lab!();
    let segment = Segment::new("nud");
    let client = &segment.client;
    for family in ["ipv4", "ipv6"] {
        for (setting, value) in [
            ("base_reachable_time_ms", "400"),
            ("delay_first_probe_time", "1"),
            ("retrans_time_ms", "200"),
        ] {
            let name = format!("net/{family}/neigh/eth0/{setting}");
            client.sysctl(&name, value).unwrap();
        }
    }
    let speaker = announcing(&segment);
    for ip in [IpAddr::from(VIP), vip6()] {
        let state = || {
            let neighbours = client.neighbours().unwrap();
            neighbours
                .into_iter()
                .find(|neighbour| neighbour.ip == ip)
                .map(|neighbour| neighbour.state)
        };
        let talk = || {
            let any = if ip.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            client
                .in_namespace(|| {
                    let socket = std::net::UdpSocket::bind(any).unwrap();
                    socket.send_to(b"x", (ip, 9)).unwrap();
                })
                .unwrap();
        };
        let before = speaker.counters(ip).responses_sent;
        talk();
        // The entry is there, so the kernel asks by unicast; did nobody answer, it would fail after three times.
        eventually(
            &format!("{ip} has confirmed itself again and again"),
            LIMIT,
            || {
                talk();
                let state = state();
                assert_ne!(state, Some(NeighbourState::Failed));
                let confirmed = speaker.counters(ip).responses_sent >= before + 3;
                confirmed && state == Some(NeighbourState::Reachable)
            },
        )
        .unwrap();
    }
}

#[test]
fn an_interface_that_appears_later_announces_and_joins_its_groups() {
    needs_the_lab!();
    let segment = Segment::new("later");
    let _speaker = announcing(&segment);
    let side = segment.lab.switch("side").unwrap();
    let other = segment.lab.host("other").unwrap();
    other
        .connect(&side, "eth0", &["10.0.0.3/24", "fd00::3/64"])
        .unwrap();
    let cable = segment.node.connect(&side, "eth1", &[]).unwrap();
    for ip in [VIP.into(), vip6()] {
        eventually("the new segment is answered", LIMIT, || {
            other.who_has(ip).unwrap() == Some(cable.mac())
        })
        .unwrap();
    }
    let group = "3333ff000100".to_owned();
    eventually("the group is joined on both", LIMIT, || {
        ["eth0", "eth1"]
            .iter()
            .all(|interface| groups(&segment.node, interface).contains(&group))
    })
    .unwrap();
    segment.answered_by(segment.cable.mac());
}

#[test]
fn the_groups_of_a_withdrawn_address_are_left() {
    needs_the_lab!();
    let segment = Segment::new("leave");
    let speaker = announcing(&segment);
    let group = "3333ff000100".to_owned();
    assert!(groups(&segment.node, "eth0").contains(&group));
    speaker.withdraw("web");
    eventually("the group is left", LIMIT, || {
        !groups(&segment.node, "eth0").contains(&group)
    })
    .unwrap();
    assert_eq!(segment.client.who_has(VIP.into()).unwrap(), None);
    assert_eq!(segment.client.who_has(vip6()).unwrap(), None);
}

#[test]
fn a_link_that_flaps_is_answered_on_again_and_announced_again() {
    needs_the_lab!();
    let segment = Segment::new("flap");
    let speaker = announcing(&segment);
    for pull in [true, false] {
        if pull {
            segment.cable.unplug().unwrap();
        } else {
            segment.cable.down().unwrap();
        }
        assert_eq!(segment.client.who_has(VIP.into()).unwrap(), None);
        let before = speaker.counters(VIP.into()).gratuitous_sent;
        if pull {
            segment.cable.plug().unwrap();
        } else {
            segment.cable.up().unwrap();
        }
        segment.answered_by(segment.cable.mac());
        eventually("the address is announced again", LIMIT, || {
            speaker.counters(VIP.into()).gratuitous_sent > before
        })
        .unwrap();
        assert!(groups(&segment.node, "eth0").contains(&"3333ff000100".to_owned()));
    }
}

#[test]
fn a_new_mac_address_reaches_the_neighbours_unasked() {
    needs_the_lab!();
    let segment = Segment::new("mac");
    let _speaker = announcing(&segment);
    let new = Mac([2, 0, 0x5e, 0x10, 0, 0x42]);
    let arguments = ["link", "set", "eth0", "address", &new.to_string()];
    assert!(output(&segment.node, "ip", &arguments).0);
    for ip in [VIP.into(), vip6()] {
        eventually("the client's table follows", LIMIT, || {
            segment.client.neighbour(ip).unwrap() == Some(new)
        })
        .unwrap();
    }
    segment.answered_by(new);
}

#[test]
fn a_takeover_corrects_the_tables_of_others() {
    needs_the_lab!();
    let segment = Segment::new("takeover");
    let first = announcing(&segment);
    let successor = segment.lab.host("successor").unwrap();
    let cable = successor.connect(&segment.lan, "eth0", &[]).unwrap();
    first.stop();
    let second = TestSpeaker::start(&successor, &["^lo$"]);
    second.serve("web", &[&VIP.to_string(), VIP6]);
    for ip in [VIP.into(), vip6()] {
        eventually("the client's table follows", LIMIT, || {
            segment.client.neighbour(ip).unwrap() == Some(cable.mac())
        })
        .unwrap();
    }
    assert_eq!(second.counters(VIP.into()).requests_received, 0);
}

#[test]
fn a_stopped_speaker_answers_nothing() {
    needs_the_lab!();
    let segment = Segment::new("stop");
    let speaker = announcing(&segment);
    let wire = segment.wire();
    let frame = wire.request(CLIENT, VIP).frame(Mac::BROADCAST);
    wire.answer(&frame, VIP);
    speaker.stop();
    assert_eq!(wire.ask(&frame, VIP), None);
}

#[test]
fn a_vlan_tagged_request_is_not_answered() {
    needs_the_lab!();
    let segment = Segment::new("vlan");
    let speaker = announcing(&segment);
    let wire = segment.wire();
    let plain = wire.request(CLIENT, VIP).frame(Mac::BROADCAST);
    let reply = wire.answer(&plain, VIP);
    assert_eq!(reply.sender_mac, segment.cable.mac());
    let before = speaker.counters(VIP.into()).requests_received;
    for tag in [[0x81, 0x00, 0, 7], [0x88, 0xa8, 0, 7]] {
        let mut tagged = plain[..12].to_vec();
        tagged.extend_from_slice(&tag);
        tagged.extend_from_slice(&plain[12..]);
        assert_eq!(wire.ask(&tagged, VIP), None);
    }
    assert_eq!(speaker.counters(VIP.into()).requests_received, before);
}

#[test]
fn a_malformed_or_misaddressed_request_is_not_answered() {
    needs_the_lab!();
    let segment = Segment::new("malformed");
    let _speaker = announcing(&segment);
    let wire = segment.wire();
    let plain = wire.request(CLIENT, VIP).frame(Mac::BROADCAST);
    wire.answer(&plain, VIP);
    let altered = |offset: usize, value: u8| {
        let mut frame = plain.clone();
        frame[offset] = value;
        frame
    };
    let frames = [
        // Hardware type, protocol type, lengths, operation.
        altered(15, 6),
        altered(16, 0x86),
        altered(18, 8),
        altered(19, 16),
        altered(21, 2),
        // A group as the sender, and the node's own address.
        altered(22, 0xff),
        [&plain[..22], &segment.cable.mac().0, &plain[28..]].concat(),
        // To another station, cut short.
        altered(0, 0x02),
        plain[..41].to_vec(),
    ];
    for (number, frame) in frames.iter().enumerate() {
        assert_eq!(wire.ask(frame, VIP), None, "frame {number}");
    }
    wire.answer(&plain, VIP);
}

#[test]
fn an_excluded_interface_is_silent() {
    needs_the_lab!();
    let segment = Segment::new("excluded");
    let side = segment.lab.switch("side").unwrap();
    let other = segment.lab.host("other").unwrap();
    other
        .connect(&side, "eth0", &["10.0.0.3/24", "fd00::3/64"])
        .unwrap();
    segment.node.connect(&side, "cali0", &[]).unwrap();
    let speaker = TestSpeaker::start(&segment.node, &["^lo$", "^cali.*"]);
    speaker.serve("web", &[&VIP.to_string(), VIP6]);
    segment.answered_by(segment.cable.mac());
    assert_eq!(other.who_has(VIP.into()).unwrap(), None);
    assert_eq!(other.who_has(vip6()).unwrap(), None);
    assert!(!groups(&segment.node, "cali0").contains(&"3333ff000100".to_owned()));
}

#[test]
fn a_foreign_owner_is_reported() {
    needs_the_lab!();
    let segment = Segment::new("conflict");
    let speaker = announcing(&segment);
    let foreign = segment.client_cable.mac();
    let wire = segment.wire();
    let claim = Packet::gratuitous(Operation::Reply, VIP, foreign);
    assert_eq!(wire.ask(&claim.frame(Mac::BROADCAST), VIP), None);
    let event = speaker.event("addressConflict", LIMIT);
    assert!(
        event.message.contains(&foreign.to_string()),
        "{}",
        event.message
    );
}

#[test]
fn an_address_held_while_the_interface_is_down_is_answered_once_it_is_up() {
    needs_the_lab!();
    let segment = Segment::new("down");
    segment.cable.down().unwrap();
    let speaker = TestSpeaker::start(&segment.node, &["^lo$"]);
    speaker.serve("web", &[&VIP.to_string(), VIP6]);
    holds_for("nobody answers", Duration::from_secs(1), || {
        segment.client.who_has(VIP.into()).unwrap().is_none()
    })
    .unwrap();
    segment.cable.up().unwrap();
    segment.answered_by(segment.cable.mac());
    eventually_ok("the client reaches it", LIMIT, || {
        match segment.client.neighbour(VIP.into()) {
            Ok(Some(mac)) if mac == segment.cable.mac() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .unwrap();
}

#[test]
fn each_of_many_scattered_addresses_is_answered_and_none_between_them() {
    needs_the_lab!();
    let segment = Segment::new("scattered");
    let speaker = TestSpeaker::start(&segment.node, &["^lo$"]);
    let wire = segment.wire();
    let ask = |last: u8| {
        let target = Ipv4Addr::new(10, 0, 0, last);
        let frame = wire.request(CLIENT, target).frame(Mac::BROADCAST);
        wire.ask(&frame, target).is_some()
    };
    // One by one: each must get through the filter that the ones before it left.
    for last in (96..128).step_by(2) {
        speaker.serve(&format!("service-{last}"), &[&format!("10.0.0.{last}")]);
        eventually("the new address is answered", LIMIT, || ask(last)).unwrap();
    }
    let is_answered = |last: u8| eventually("it is answered", LIMIT, || ask(last)).unwrap();
    (96..128).step_by(2).for_each(is_answered);
    assert!(![97, 111, 127, 3].into_iter().any(ask));
    speaker.withdraw("service-96");
    eventually("the withdrawn address falls silent", LIMIT, || !ask(96)).unwrap();
    (98..128).step_by(2).for_each(is_answered);
}
