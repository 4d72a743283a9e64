//! Peers that are not neighbours.

use std::net::IpAddr;

use ironlb_bfd::{Key, Reason, Settings};
use ironlb_lab::router::{Frr, Router};
use ironlb_lab::{Lab, needs_the_lab};

use super::node::TestBfd;
use super::{LIMIT, PEERS, every, key};

#[test]
fn over_several_hops_the_least_ttl_decides() {
    needs_the_lab!();
    let lab = Lab::new("bfd-multihop").unwrap();
    let (left, right) = (lab.switch("left").unwrap(), lab.switch("right").unwrap());
    let node = lab.host("node").unwrap();
    let (middle, tor) = (lab.router("middle").unwrap(), lab.router("tor").unwrap());
    node.connect(&left, "eth0", &["10.1.0.1/24", "fd01::1/64"])
        .unwrap();
    middle
        .connect(&left, "eth0", &["10.1.0.254/24", "fd01::254/64"])
        .unwrap();
    middle
        .connect(&right, "eth1", &["10.2.0.254/24", "fd02::254/64"])
        .unwrap();
    tor.connect(&right, "eth0", &["10.2.0.2/24", "fd02::2/64"])
        .unwrap();
    for (host, net) in [(&node, 1), (&tor, 2)] {
        let other = 3 - net;
        host.add_route(&format!("10.{other}.0.0/24"), &format!("10.{net}.0.254"))
            .unwrap();
        host.add_route(&format!("fd0{other}::/64"), &format!("fd0{net}::254"))
            .unwrap();
    }
    let config = "bfd\n peer 10.1.0.1 multihop local-address 10.2.0.2\n exit\n \
                  peer fd01::1 multihop local-address fd02::2\n exit\n";
    let frr = Router::start(&tor, Frr, config).unwrap();
    let mut bfd = TestBfd::start(&node);
    let keys = [("10.2.0.2", "10.1.0.1"), ("fd02::2", "fd01::1")].map(|(peer, local)| Key {
        local: Some(local.parse::<IpAddr>().unwrap()),
        multihop: true,
        ..key(peer)
    });
    // One router between: 254 arrives.
    for key in keys {
        bfd.client.want(key, every(100, 100, 3));
    }
    bfd.wait_up(&keys);
    frr.wait_for("it is up", PEERS, LIMIT, |peers| {
        peers
            .as_array()
            .unwrap()
            .iter()
            .all(|peer| peer["status"] == "up" && peer["multihop"] == true)
    })
    .unwrap();
    for key in keys {
        let nearer = Settings {
            minimum_ttl: 255,
            ..every(100, 100, 3)
        };
        bfd.client.want(key, nearer);
    }
    let (_, reasons) = bfd.wait_down(&keys);
    assert_eq!(reasons, [Reason::DetectionTimeExpired; 2]);
    for key in keys {
        bfd.client.want(key, every(100, 100, 3));
    }
    bfd.wait_up(&keys);
}
