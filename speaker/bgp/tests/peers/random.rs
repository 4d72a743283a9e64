//! Whatever happens: never a panic, never a connection closed without a word (`network` looks), never a timer that is left
//! behind; and with a correct peer always a session again, within bounded time.
//!
//! `SEED=… cargo test -p ironlb-bgp --test peers random` runs one history again.

use std::collections::BTreeSet;
use std::time::Duration;

use ironlb_bgp::peer::Settings;
use ironlb_bgp::{Input, State, Stop};
use ironlb_model::Family;
use ironlb_model::bgp::PeerAsn;

use crate::messages::announce;
use crate::network::Network;
use crate::sample::settings;

/// How long it may take until all is well: the longest that a peer is left alone, and four minutes for a connection that hangs.
const BOUND: Duration = Duration::from_secs(600);

pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

fn mangle(serial: u64, bytes: &mut [u8]) {
    let mut random = Random(serial);
    if random.below(3) == 0 && !bytes.is_empty() {
        let at = random.below(bytes.len() as u64) as usize;
        bytes[at] ^= 1 << random.below(8);
    }
}

pub(crate) fn any_settings(side: usize, random: &mut Random) -> Settings {
    Settings {
        hold_time: Duration::from_secs([0, 3, 9, 90][random.below(4) as usize]),
        keepalive_time: Duration::from_secs([0, 1, 30][random.below(3) as usize]),
        restart_time: (random.below(2) == 0).then_some(Duration::from_secs(120)),
        passive: random.below(4) == 0,
        bfd_strict: random.below(2) == 0,
        maximum_prefixes: (random.below(4) == 0).then_some(50),
        families: match random.below(3) {
            0 => BTreeSet::from(Family::ALL),
            _ => BTreeSet::from([Family::V4]),
        },
        peer_asn: match random.below(6) {
            0 => PeerAsn::Number(7),
            1 => PeerAsn::External,
            _ => settings(side).peer_asn,
        },
        connect_time: Duration::from_secs([1, 1, 10][random.below(3) as usize]),
        ..settings(side)
    }
}

fn disturb(network: &mut Network, random: &mut Random) {
    let side = random.below(2) as usize;
    match random.below(18) {
        0 => network.cut = !network.cut,
        1 => network.handle(side, Input::Start),
        2 => network.handle(side, Input::Stop(Stop::Shutdown("bye".to_owned()))),
        3 => network.handle(side, Input::Stop(Stop::Upgrade)),
        4 => network.handle(side, Input::Stop(Stop::Deconfigured)),
        5 => network.handle(side, Input::Reset("again".to_owned())),
        6 | 7 => {
            let settings = any_settings(side, random);
            network.handle(side, Input::Configure(Box::new(settings)));
        }
        8 => network.handle(
            side,
            [Input::BfdDown, Input::BfdOff][random.below(2) as usize].clone(),
        ),
        9 => network.handle(side, Input::BfdUp),
        10 => network.sides[side].listening = !network.sides[side].listening,
        11 => network.sides[side].reading = false,
        12 => network.read_on(side),
        13 => {
            let settings = any_settings(side, random);
            let silently = random.below(2) == 0;
            network.replace(side, settings, silently);
        }
        14 => network.mangle = (random.below(2) == 0).then_some(mangle),
        15 => network.delay = Duration::from_millis([0, 1, 50, 2_000][random.below(4) as usize]),
        16 => {
            let (first, count) = (random.below(1_000) as u32, random.below(60) as u32);
            network.sides[side].routes.push_back(announce(first, count));
        }
        _ => {
            network.handle(0, Input::Start);
            network.handle(1, Input::Start);
        }
    }
    let pause = [0, 1, 100, 5_000, 30_000, 200_000][random.below(6) as usize];
    network.run(Duration::from_millis(random.below(pause + 1)));
}

/// Everything is as it should be from now on.
fn mend(network: &mut Network) {
    network.cut = false;
    network.mangle = None;
    network.delay = Duration::from_millis(1);
    for side in 0..2 {
        network.sides[side].listening = true;
        network.sides[side].routes.clear();
        network.read_on(side);
        network.handle(side, Input::Configure(Box::new(settings(side))));
        network.handle(side, Input::Start);
    }
}

fn history(seed: u64) {
    let mut random = Random(seed);
    let both = [any_settings(0, &mut random), any_settings(1, &mut random)];
    let mut network = Network::new(both, seed);
    network.start();
    for _ in 0..60 {
        disturb(&mut network, &mut random);
    }
    mend(&mut network);
    assert!(
        network.until(BOUND, Network::both_up),
        "seed {seed}: {:?}",
        network.histories()
    );
    // One side may be up before the other has seen that a connection is gone; after that nothing changes any more.
    network.run(Duration::from_secs(120));
    assert!(
        network.until(BOUND, Network::both_up),
        "seed {seed}: {:?}",
        network.histories()
    );
    let before = network.histories().map(<[_]>::len);
    network.run(Duration::from_secs(3_600));
    assert_eq!(
        network.histories().map(<[_]>::len),
        before,
        "seed {seed}: {:?}",
        network.histories()
    );

    network.handle(0, Input::Stop(Stop::Shutdown(String::new())));
    network.handle(1, Input::Stop(Stop::Deconfigured));
    assert_eq!(
        [network.state(0), network.state(1)],
        [State::Idle; 2],
        "seed {seed}"
    );
    network.run(Duration::from_secs(60));
    assert!(network.is_still(), "seed {seed}: something is left");
}

#[expect(clippy::disallowed_methods, reason = "a test has an environment")]
#[test]
fn whatever_happens_a_correct_peer_has_its_session_again_and_nothing_is_left_after_the_stop() {
    if let Ok(seed) = std::env::var("SEED") {
        return history(seed.parse().expect("SEED is a number"));
    }
    for seed in 0..400 {
        history(seed);
    }
}
