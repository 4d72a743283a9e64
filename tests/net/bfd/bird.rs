//! All of it with BIRD.

use std::time::Duration;

use ironlb_bfd::Reason;
use ironlb_lab::needs_the_lab;
use ironlb_lab::router::{Bird, Router};
use serde_json::Value;

use super::node::TestBfd;
use super::{LIMIT, NODE, SOON, Segment, every, keys, passive};

#[test]
fn bird_comes_up_changes_and_goes() {
    needs_the_lab!();
    let segment = Segment::new("bfd-bird");
    let config = |interval: u32| {
        format!(
            "router id 10.0.0.2;\nprotocol device {{}}\nprotocol bfd {{\n \
             interface \"eth0\" {{ min rx interval {interval} ms; min tx interval {interval} ms; multiplier 3; }};\n \
             neighbor {} dev \"eth0\";\n neighbor {} dev \"eth0\";\n}}\n",
            NODE[0], NODE[1]
        )
    };
    let bird = Router::start(&segment.tor, Bird, &config(100)).unwrap();
    let mut node = TestBfd::start(&segment.node);
    for key in keys() {
        node.client.want(key, every(50, 80, 5));
    }
    node.wait_up(&keys());
    let sessions = "show bfd sessions";
    let all = |interval: &'static str, timeout: &'static str| {
        move |sessions: &Value| {
            let sessions = sessions.as_array().unwrap();
            sessions.len() == 2
                && sessions.iter().all(|session| {
                    session["state"] == "Up"
                        && session["interval"] == interval
                        && session["timeout"] == timeout
                })
        }
    };
    // The slower of both rates; our multiplier times the slower of ours and its.
    bird.wait_for("both are up", sessions, LIMIT, all("0.100", "0.500"))
        .unwrap();
    for key in keys() {
        node.agrees(key, Duration::from_millis(300), Duration::from_millis(100));
        node.client.want(key, every(200, 150, 3));
    }
    bird.wait_for("the new ones", sessions, LIMIT, all("0.150", "0.600"))
        .unwrap();
    bird.configure(&config(300)).unwrap();
    for key in keys() {
        node.agrees(key, Duration::from_millis(900), Duration::from_millis(300));
    }
    node.no_event_for(Duration::from_secs(2));

    bird.kill().unwrap();
    let (after, reasons) = node.wait_down(&keys());
    println!("bird killed: down after {after:?} at 300 ms x 3");
    assert_eq!(reasons, [Reason::DetectionTimeExpired; 2]);
    assert!(after < Duration::from_millis(900) + SOON, "{after:?}");

    let bird = Router::start(&segment.tor, Bird, &config(100)).unwrap();
    node.wait_up(&keys());
    node.stop();
    bird.wait_for("it was told", sessions, LIMIT, |sessions| {
        let sessions = sessions.as_array().unwrap();
        sessions.iter().all(|session| session["state"] == "Down")
    })
    .unwrap();
}

#[test]
fn bird_and_we_wait_for_the_other_to_begin_where_that_is_wanted() {
    needs_the_lab!();
    let segment = Segment::new("bfd-bird-passive");
    let config = |passive: &str| {
        format!(
            "router id 10.0.0.2;\nprotocol device {{}}\nprotocol bfd {{\n interface \"eth0\" {{ passive {passive}; }};\n \
             neighbor {} dev \"eth0\";\n neighbor {} dev \"eth0\";\n}}\n",
            NODE[0], NODE[1]
        )
    };
    let bird = Router::start(&segment.tor, Bird, &config("yes")).unwrap();
    let mut node = TestBfd::start(&segment.node);
    for key in keys() {
        node.client.want(key, passive(every(100, 100, 3)));
    }
    node.no_event_for(Duration::from_secs(2));
    bird.configure(&config("no")).unwrap();
    node.wait_up(&keys());
    node.stop();

    bird.configure(&config("yes")).unwrap();
    let mut node = TestBfd::start(&segment.node);
    for key in keys() {
        node.client.want(key, every(100, 100, 3));
    }
    node.wait_up(&keys());
}
