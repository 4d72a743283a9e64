//! What is noticed, how fast, and what is not.

use std::time::Duration;

use ironlb_bfd::Reason;
use ironlb_lab::needs_the_lab;

use super::node::TestBfd;
use super::pace::Pace;
use super::{LIMIT, NODE, PEERS, SOON, every, keys, peer, watched};

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
    assert!(after < SOON, "{after:?}");
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
    assert!(after < SOON, "{after:?}");
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
    settle(&node);
    let cores = std::thread::available_parallelism().unwrap().get();
    let burners: Vec<_> = (0..cores)
        .map(|_| {
            let mut command = std::process::Command::new("nice");
            command.args(["-n", "10", "sh", "-c", "while :; do :; done"]);
            segment.node.spawn(command).unwrap()
        })
        .collect();
    let pace = Pace::start(&segment.tor, &segment.node);
    let event = node.event_within(Duration::from_secs(10));
    let pace = pace.stop();
    let punctuality = node.punctuality();
    println!("{} burners: {punctuality:?}, {pace:?}", burners.len());
    if pace.worst >= TOLERABLE || !pace.comes_first {
        ironlb_lab::skip(format_args!(
            "this machine does not let a thread that has little to do come first: {pace:?}"
        ));
        return;
    }
    assert_eq!(event, None);
    assert!(punctuality.wakes > 300, "{punctuality:?}");
    assert!(punctuality.worst < TOLERABLE, "{punctuality:?}");
    let question = "show bfd peers counters json";
    tor.wait_for("it saw no flap", question, LIMIT, |peers| {
        NODE.iter()
            .all(|address| peer(peers, address)["session-down"] == 0)
    })
    .unwrap();
}

/// A packet that is later than that may be missed.
const TOLERABLE: Duration = Duration::from_millis(50);
