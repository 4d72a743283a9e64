//! Echo packets, ours and theirs.

use std::time::Duration;

use ironlb_bfd::{Reason, Settings};
use ironlb_lab::router::{Frr, Router};
use ironlb_lab::{eventually_ok, needs_the_lab};
use ironlb_model::BfdProfile;

use super::node::TestBfd;
use super::{LIMIT, NODE, PEERS, SOON, Segment, TOR, key, keys, peer, profile, watched};

#[test]
fn echo_packets_come_back_from_frr_s_kernel_and_a_router_that_forwards_no_more_is_down() {
    needs_the_lab!();
    let lines = "  transmit-interval 100\n  receive-interval 100\n";
    let (segment, tor, mut node) = watched("bfd-echo", lines, with_echo(profile(100, 100, 3)));
    for key in keys() {
        eventually_ok("echo packets come back", LIMIT, || {
            let echo = node.ask(move |view| (view.key == key).then(|| view.session.echo()));
            let proven = echo == Some((Duration::from_millis(50), true));
            proven.then_some(()).ok_or_else(|| format!("{echo:?}"))
        })
        .unwrap();
    }
    // Control packets are slow now, both sides agreed on that.
    tor.wait_for("it sends slowly", PEERS, LIMIT, |peers| {
        NODE.iter()
            .all(|address| peer(peers, address)["remote-receive-interval"] == 1_000)
    })
    .unwrap();
    node.no_event_for(Duration::from_secs(3));
    let counters = node.ask(|view| Some(view.counters));
    println!(
        "echo packets: {} sent, {} came back",
        counters.echo_sent, counters.echo_received
    );
    assert!(counters.echo_received > 50);

    segment.tor.sysctl("net/ipv4/ip_forward", "0").unwrap();
    segment
        .tor
        .sysctl("net/ipv6/conf/all/forwarding", "0")
        .unwrap();
    let (after, reasons) = node.wait_down(&keys());
    println!("forwarding switched off: down after {after:?} at echo 50 ms x 3");
    assert_eq!(reasons, [Reason::EchoFailed; 2]);
    assert!(after < SOON, "{after:?}");
    segment.tor.forward().unwrap();
    node.wait_up(&keys());
    node.no_event_for(Duration::from_secs(1));
}

#[test]
fn frr_s_echo_packets_are_sent_back_by_our_kernel() {
    needs_the_lab!();
    let segment = Segment::new("bfd-reflect");
    let [v4, _] = NODE;
    let config = format!(
        "bfd\n profile node\n  echo-mode\n  echo transmit-interval 50\n exit\n \
         peer {v4} interface eth0\n  profile node\n exit\n"
    );
    let tor = Router::start(&segment.tor, Frr, &config).unwrap();
    let mut node = TestBfd::start(&segment.node);
    let echo = with_echo(profile(300, 300, 3));
    node.client.want(key(TOR[0]), echo);
    node.wait_up(&[key(TOR[0])]);
    tor.wait_for(
        "its echo packets return",
        "show bfd peers counters json",
        LIMIT,
        |peers| {
            let peer = peer(peers, v4);
            peer["echo-packet-input"].as_u64() > Some(60)
        },
    )
    .unwrap();
    node.no_event_for(Duration::from_secs(2));
}

fn with_echo(profile: BfdProfile) -> Settings {
    let profile = BfdProfile {
        echo: true,
        ..profile
    };
    Settings::new(&profile, false)
}
