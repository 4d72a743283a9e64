//! Sessions that end on purpose.

use std::time::Duration;

use ironlb_bfd::{Reason, Status};
use ironlb_lab::needs_the_lab;
use ironlb_speaker::bfd::Event;

use super::{LIMIT, NODE, PEERS, TOR, every, key, keys, peer, watched};

#[test]
fn a_planned_stop_is_told_to_frr_and_frr_s_to_us() {
    needs_the_lab!();
    let (_segment, tor, mut node) = watched("bfd-stop", "", every(300, 300, 3));
    tor.configure(&format!(
        "bfd\n peer {} interface eth0\n  shutdown\n",
        NODE[0]
    ))
    .unwrap();
    let (_, reasons) = node.wait_down(&[key(TOR[0])]);
    assert_eq!(reasons, [Reason::NeighborAdminDown]);
    assert!(!reasons[0].ends_clients());
    tor.configure(&format!(
        "bfd\n peer {} interface eth0\n  no shutdown\n",
        NODE[0]
    ))
    .unwrap();
    node.wait_up(&[key(TOR[0])]);

    let took = node.stop();
    println!("planned stop of two sessions: {took:?}");
    tor.wait_for("it was told", PEERS, LIMIT, |peers| {
        NODE.iter().all(|address| {
            let peer = peer(peers, address);
            peer["status"] == "down"
                && peer["remote-diagnostic"] == "administratively down"
                && peer["diagnostic"] == "neighbor signaled session down"
        })
    })
    .unwrap();
}

#[test]
fn a_session_that_is_taken_away_is_told_and_the_other_stays() {
    needs_the_lab!();
    let (_segment, tor, mut node) = watched("bfd-unwant", "", every(300, 300, 3));
    let [v4, v6] = keys();
    node.client.unwant(v4);
    assert_eq!(node.next().0, Event::Down(v4, Reason::AdminDown));
    let (event, after) = node.next();
    assert_eq!(event, Event::Closed(v4));
    println!("session closed after {after:?}");
    tor.wait_for("it was told", PEERS, LIMIT, |peers| {
        peer(peers, NODE[0])["status"] == "down" && peer(peers, NODE[1])["status"] == "up"
    })
    .unwrap();
    node.no_event_for(Duration::from_secs(1));
    assert_eq!(
        node.ask(move |view| (view.key == v6).then_some(view.session.status())),
        Status::Up
    );
    node.client.want(v4, every(300, 300, 3));
    node.wait_up(&[v4]);
}
