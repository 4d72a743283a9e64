//! What is noticed, how fast, and what is not.

use std::time::Duration;

use ironlb_bfd::Reason;
use ironlb_lab::needs_the_lab;

use super::node::TestBfd;
use super::{LIMIT, NODE, PEERS, every, keys, peer, watched};

#[test]
fn a_dead_frr_and_a_cut_cable_are_noticed_within_the_detection_time() {
    needs_the_lab!();
    let lines = "  transmit-interval 50\n  receive-interval 50\n  detect-multiplier 3\n";
    let (segment, tor, mut node) = watched("bfd-cut", lines, every(50, 50, 3));
    settle(&node);
    let expired = vec![Reason::DetectionTimeExpired; 2];

    segment.cable.unplug().unwrap();
    let (after, reasons) = node.wait_down(&keys());
    println!("cable cut: down after {after:?} at 50 ms x 3");
    assert_eq!(reasons, expired);
    assert!(after < Duration::from_millis(250), "{after:?}");
    tor.wait_for("it has noticed too", PEERS, LIMIT, |peers| {
        peer(peers, NODE[0])["status"] == "down"
    })
    .unwrap();
    segment.cable.plug().unwrap();
    node.wait_up(&keys());
    settle(&node);

    tor.process("bfdd").unwrap().kill().unwrap();
    let (after, reasons) = node.wait_down(&keys());
    println!("bfdd killed: down after {after:?} at 50 ms x 3");
    assert_eq!(reasons, expired);
    assert!(after < Duration::from_millis(250), "{after:?}");
}

/// Waits until both sides have gone over to the fast rate.
fn settle(node: &TestBfd) {
    for key in keys() {
        node.agrees(key, Duration::from_millis(150), Duration::from_millis(50));
    }
}

#[test]
fn a_busy_machine_makes_no_session_flap() {
    needs_the_lab!();
    let lines = "  transmit-interval 50\n  receive-interval 50\n  detect-multiplier 3\n";
    let (segment, tor, mut node) = watched("bfd-busy", lines, every(50, 50, 3));
    let cores = std::thread::available_parallelism().unwrap().get();
    let burners: Vec<_> = (0..cores)
        .map(|_| {
            let mut command = std::process::Command::new("nice");
            command.args(["-n", "10", "sh", "-c", "while :; do :; done"]);
            segment.node.spawn(command).unwrap()
        })
        .collect();
    // The router's BFD is not what is tested here: it would run on a machine of its own.
    let id = tor.process("bfdd").unwrap().id().to_string();
    let mut favour = std::process::Command::new("chrt");
    favour.args(["--rr", "--pid", "1", &id]);
    assert!(segment.tor.run(&mut favour).unwrap().status.success());
    node.no_event_for(Duration::from_secs(10));
    let punctuality = node.punctuality();
    println!("{} burners: {punctuality:?}", burners.len());
    assert!(punctuality.wakes > 300);
    assert!(
        punctuality.worst < Duration::from_millis(50),
        "{punctuality:?}"
    );
    tor.wait_for(
        "it saw no flap",
        "show bfd peers counters json",
        LIMIT,
        |peers| {
            NODE.iter()
                .all(|address| peer(peers, address)["session-down"] == 0)
        },
    )
    .unwrap();
}
