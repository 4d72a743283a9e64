use std::io::Write;
use std::net::TcpListener;
use std::thread::sleep;

use ironlb_sys::tcp::Listener;
use tokio::io::AsyncReadExt;

use super::*;

/// A peer on a port of this host.
fn target(remote: SocketAddr, distance: Distance) -> Target {
    Target {
        remote,
        source: None,
        device: None,
        distance,
        password: None,
    }
}

fn dial(peers: &mut Peers, target: Target) {
    let connection = Connection {
        direction: ironlb_bgp::Direction::Outbound,
        number: 1,
    };
    peers.perform(PeerOutput::Connect {
        peer: "tor".into(),
        connection,
        target,
    });
}

/// The connection that was dialled, once it is there.
async fn connected(peers: &mut Peers) -> Connection {
    match peers.next().await {
        Event::Input(PeerInput::Connected { connection, .. }) => connection,
        _ => panic!("it is not connected"),
    }
}

#[tokio::test]
async fn what_came_while_nobody_looked_is_there_before_time_passes() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut peers = Peers::default();
    dial(
        &mut peers,
        target(listener.local_addr().unwrap(), Distance::Any),
    );
    let ours = connected(&mut peers).await;
    let (mut stream, _) = listener.accept().unwrap();
    stream.write_all(b"alive").unwrap();
    // This thread does nothing else meanwhile, as when it was not run for a while.
    for _ in 0..5_000 {
        for event in peers.arrived().await {
            if let Event::Received {
                connection, bytes, ..
            } = event
            {
                assert_eq!((connection, &*bytes), (ours, &b"alive"[..]));
                return;
            }
        }
        sleep(Duration::from_millis(1));
    }
    panic!("nothing has arrived");
}

#[tokio::test]
async fn a_connection_that_is_dialled_goes_on_as_the_peer_was_retargeted_meanwhile() {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), None).unwrap();
    let remote = listener.local_addr().unwrap();
    let mut peers = Peers::default();
    dial(&mut peers, target(remote, Distance::Connected));
    let secured = target(remote, Distance::Secured(1));
    peers.perform(PeerOutput::Retarget {
        peer: "tor".into(),
        target: secured.clone(),
    });
    let connection = connected(&mut peers).await;
    let (mut stream, _) = listener.accept().await.unwrap();
    // Takes nothing from now on that does not come with the highest TTL.
    tcp::adopt(&stream, &options(&secured).unwrap()).unwrap();
    peers.perform(PeerOutput::Send {
        peer: "tor".into(),
        connection,
        bytes: b"open".as_slice().into(),
    });
    let mut heard = [0; 4];
    let read = stream.read_exact(&mut heard);
    let read = tokio::time::timeout(Duration::from_secs(10), read).await;
    assert!(read.is_ok(), "nothing is heard");
    assert_eq!(&heard, b"open");
}
