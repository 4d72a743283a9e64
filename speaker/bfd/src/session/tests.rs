use super::*;
use crate::wire::State::{AdminDown, Down, Init, Up};

mod echo;

const MILLISECOND: Duration = Duration::from_millis(1);
const OURS: u32 = 7;
const THEIRS: u32 = 9;

/// What a peer of 300 ms x 3 says in `state`.
fn packet(state: State) -> Packet {
    Packet {
        diagnostic: Diagnostic::None,
        state,
        poll: false,
        is_final: false,
        control_plane_independent: false,
        authenticated: false,
        demand: false,
        detect_multiplier: 3,
        my_discriminator: THEIRS,
        your_discriminator: if state == Down { 0 } else { OURS },
        desired_min_tx: ms(if state == Up { 300 } else { 1_000 }),
        required_min_rx: ms(300),
        required_min_echo_rx: Duration::ZERO,
    }
}

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A session in the hands of a test.
struct Bench {
    now: Time,
    session: Session,
}

impl Bench {
    fn new(settings: Settings) -> Self {
        let now = Time::from_secs(100);
        Self {
            now,
            session: Session::new(now, settings, OURS, 1),
        }
    }

    fn standard() -> Self {
        Self::new(Settings::default())
    }

    /// One that came up and whose polls have been answered.
    fn up(settings: Settings) -> Self {
        let mut bench = Self::new(settings);
        bench.hear(packet(Down));
        bench.hear(packet(Up));
        assert_eq!(bench.session.state(), Up);
        bench.hear(Packet {
            is_final: true,
            ..packet(Up)
        });
        bench
    }

    fn give(&mut self, input: Input) -> Vec<Output> {
        self.session.handle(self.now, input);
        std::iter::from_fn(|| self.session.poll()).collect()
    }

    fn hear(&mut self, packet: Packet) -> Vec<Output> {
        self.give(Input::Packet(packet))
    }

    /// Woken exactly at each deadline until `until` after now; what comes out, with its time.
    fn pass(&mut self, until: Duration) -> Vec<(Time, Output)> {
        let end = self.now + until;
        let mut all = Vec::new();
        while let Some(due) = self.session.deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            let now = self.now;
            all.extend(self.give(Input::Tick).into_iter().map(|out| (now, out)));
        }
        self.now = end;
        all
    }

    /// As [`Self::pass`], while the peer says `packet` every 250 ms.
    fn pass_hearing(&mut self, packet: Packet, until: Duration) -> Vec<(Time, Output)> {
        let end = self.now + until;
        let mut all = Vec::new();
        while self.now < end {
            all.extend(self.pass(ms(250)));
            let now = self.now;
            all.extend(self.hear(packet).into_iter().map(|out| (now, out)));
        }
        all
    }
}

fn sent(outputs: &[Output]) -> Vec<Packet> {
    let packets = outputs.iter().filter_map(|output| match output {
        Output::Send(packet) => Some(*packet),
        _ => None,
    });
    packets.collect()
}

fn times(outputs: &[(Time, Output)]) -> Vec<Time> {
    let packets = outputs
        .iter()
        .filter(|(_, output)| matches!(output, Output::Send(_)));
    packets.map(|(time, _)| *time).collect()
}

fn gaps(outputs: &[(Time, Output)]) -> Vec<Duration> {
    times(outputs)
        .windows(2)
        .map(|pair| pair[1].since(pair[0]))
        .collect()
}

#[test]
fn the_state_table_is_that_of_the_rfc() {
    // Ours, what the peer says, ours after that (RFC 5880 §6.8.6 and the figure of §6.2).
    let table = [
        (AdminDown, AdminDown, AdminDown),
        (AdminDown, Down, AdminDown),
        (AdminDown, Init, AdminDown),
        (AdminDown, Up, AdminDown),
        (Down, AdminDown, Down),
        (Down, Down, Init),
        (Down, Init, Up),
        (Down, Up, Down),
        (Init, AdminDown, Down),
        (Init, Down, Init),
        (Init, Init, Up),
        (Init, Up, Up),
        (Up, AdminDown, Down),
        (Up, Down, Down),
        (Up, Init, Up),
        (Up, Up, Up),
    ];
    for (ours, theirs, after) in table {
        let mut bench = Bench::standard();
        match ours {
            Down => {}
            Init => drop(bench.hear(packet(Down))),
            Up => drop(bench.hear(packet(Init))),
            AdminDown => {
                bench.hear(packet(Down));
                bench.give(Input::Disable);
            }
        }
        assert_eq!(bench.session.state(), ours);
        let outputs = bench.hear(packet(theirs));
        assert_eq!(bench.session.state(), after, "{ours} hears {theirs}");
        let ups = outputs.iter().filter(|output| **output == Output::Up);
        assert_eq!(ups.count(), usize::from(ours != Up && after == Up));
        let downs = outputs
            .iter()
            .filter(|output| matches!(output, Output::Down(_)));
        assert_eq!(downs.count(), usize::from(ours == Up && after != Up));
        // News is told at once, and nothing else is.
        let told: Vec<_> = sent(&outputs).iter().map(|packet| packet.state).collect();
        assert_eq!(told, vec![after; usize::from(ours != after)]);
    }
}

#[test]
fn each_way_down_has_its_diagnostic_and_its_reason() {
    let mut bench = Bench::up(Settings::default());
    let outputs = bench.hear(Packet {
        diagnostic: Diagnostic::DetectionTimeExpired,
        ..packet(Down)
    });
    let reason = Reason::Neighbor(Diagnostic::DetectionTimeExpired);
    assert!(outputs.contains(&Output::Down(reason)));
    assert_eq!(
        sent(&outputs)[0].diagnostic,
        Diagnostic::NeighborSignaledDown
    );
    assert!(reason.ends_clients());

    let mut bench = Bench::up(Settings::default());
    let outputs = bench.hear(packet(AdminDown));
    assert!(outputs.contains(&Output::Down(Reason::NeighborAdminDown)));
    assert_eq!(
        sent(&outputs)[0].diagnostic,
        Diagnostic::NeighborSignaledDown
    );
    assert!(!Reason::NeighborAdminDown.ends_clients());

    let mut bench = Bench::up(Settings::default());
    let outputs: Vec<_> = bench
        .pass(ms(900))
        .into_iter()
        .map(|(_, out)| out)
        .collect();
    assert!(outputs.contains(&Output::Down(Reason::DetectionTimeExpired)));
    let last = *sent(&outputs).last().unwrap();
    assert_eq!(last.diagnostic, Diagnostic::DetectionTimeExpired);
    assert_eq!((last.state, last.your_discriminator), (Down, 0));

    let mut bench = Bench::up(Settings::default());
    let outputs = bench.give(Input::Disable);
    assert!(outputs.contains(&Output::Down(Reason::AdminDown)));
    let last = *sent(&outputs).last().unwrap();
    assert_eq!(last.diagnostic, Diagnostic::AdministrativelyDown);
    assert_eq!((last.state, last.poll), (AdminDown, true));

    let mut bench = Bench::standard();
    bench.hear(packet(Init));
    assert_eq!(bench.session.diagnostic(), Diagnostic::None);
}

#[test]
fn the_detection_time_is_the_peer_s_multiplier_times_the_slower_of_both_rates() {
    for (our_rx, their_tx, their_multiplier, time) in [
        (300, 300, 3, 900),
        (100, 300, 3, 900),
        (500, 300, 3, 1_500),
        (50, 50, 1, 50),
        (10, 4_000_000, 255, 1_020_000_000),
    ] {
        let settings = Settings {
            // Ours does not matter.
            detect_multiplier: 17,
            receive_interval: ms(our_rx),
            ..Settings::default()
        };
        let mut bench = Bench::up(settings);
        bench.hear(Packet {
            detect_multiplier: their_multiplier,
            desired_min_tx: ms(their_tx),
            ..packet(Up)
        });
        let heard = bench.now;
        assert_eq!(bench.session.detection_time(), ms(time));
        // As a tick comes: one nanosecond before, nothing; then at once.
        bench.now = heard + ms(time) - Duration::from_nanos(1);
        bench.give(Input::Tick);
        assert_eq!(bench.session.state(), Up, "{time}");
        bench.now = heard + ms(time);
        let outputs = bench.give(Input::Tick);
        assert!(outputs.contains(&Output::Down(Reason::DetectionTimeExpired)));
    }
}

#[test]
fn a_session_in_init_expires_too_and_says_nothing_of_having_been_up() {
    let mut bench = Bench::standard();
    bench.hear(packet(Down));
    assert_eq!(bench.session.state(), Init);
    // The peer is at its slow rate: three times one second.
    let outputs = bench.pass(ms(2_999));
    assert_eq!(bench.session.state(), Init);
    assert!(
        outputs
            .iter()
            .all(|(_, out)| matches!(out, Output::Send(_)))
    );
    bench.pass(MILLISECOND);
    assert_eq!(bench.session.state(), Down);
    assert_eq!(bench.session.status(), Status::NeverUp);
}

#[test]
fn packets_are_slow_until_up_and_then_as_fast_as_agreed() {
    let mut bench = Bench::standard();
    let slow = bench.pass(ms(20_000));
    assert!(
        gaps(&slow)
            .iter()
            .all(|gap| *gap >= ms(750) && *gap <= ms(1_000))
    );
    assert!(
        slow.iter()
            .all(|(_, out)| matches!(out, Output::Send(packet)
        if packet.desired_min_tx == ms(1_000) && packet.required_min_rx == ms(300)))
    );
    bench.hear(packet(Down));
    bench.hear(packet(Up));
    let fast = bench.pass_hearing(
        Packet {
            is_final: true,
            ..packet(Up)
        },
        ms(20_000),
    );
    let gaps = gaps(&fast);
    assert!(gaps.len() > 66, "{}", gaps.len());
    assert!(gaps.iter().all(|gap| *gap >= ms(225) && *gap <= ms(300)));
}

#[test]
fn the_jitter_uses_its_whole_range_and_less_of_it_when_no_packet_may_be_lost() {
    for (multiplier, most) in [(3, 300), (2, 300), (1, 270)] {
        let settings = Settings {
            detect_multiplier: multiplier,
            ..Settings::default()
        };
        let mut bench = Bench::up(settings);
        let gaps = gaps(&bench.pass_hearing(packet(Up), ms(200_000)));
        let (least, longest) = (gaps.iter().min().unwrap(), gaps.iter().max().unwrap());
        assert!(*least >= ms(225) && *least < ms(228), "{least:?}");
        assert!(
            *longest <= ms(most) && *longest > ms(most - 3),
            "{longest:?}"
        );
    }
}

#[test]
fn the_peer_s_slower_wish_is_met_and_zero_means_nothing_at_all() {
    let mut bench = Bench::up(Settings::default());
    let slower = Packet {
        required_min_rx: ms(2_000),
        ..packet(Up)
    };
    let gaps = gaps(&bench.pass_hearing(slower, ms(60_000)));
    assert!(
        gaps.iter()
            .all(|gap| *gap >= ms(1_500) && *gap <= ms(2_000))
    );
    let none = Packet {
        required_min_rx: Duration::ZERO,
        ..packet(Up)
    };
    bench.hear(none);
    assert_eq!(times(&bench.pass_hearing(none, ms(60_000))), []);
    assert_eq!(bench.session.state(), Up);
    // A poll is answered even so (§6.8.7).
    let answer = bench.hear(Packet { poll: true, ..none });
    assert!(sent(&answer)[0].is_final);
    // Once it is gone, its wish is too.
    bench.pass(ms(900));
    assert_eq!(bench.session.state(), Down);
    assert!(times(&bench.pass(ms(5_000))).len() >= 5);
}

#[test]
fn a_faster_wish_of_the_peer_takes_effect_before_the_next_slow_packet() {
    let mut bench = Bench::up(Settings::default());
    bench.hear(Packet {
        required_min_rx: ms(10_000),
        ..packet(Up)
    });
    assert_eq!(bench.session.transmit_interval(), ms(10_000));
    bench.hear(packet(Up));
    assert!(bench.session.deadline().unwrap() <= bench.now + ms(300));
}

#[test]
fn coming_up_starts_a_poll_that_lasts_until_it_is_answered() {
    let mut bench = Bench::standard();
    bench.hear(packet(Down));
    let first = sent(&bench.hear(packet(Up)));
    assert_eq!(first.len(), 1);
    assert!(first[0].poll && first[0].desired_min_tx == ms(300));
    for (_, output) in bench.pass_hearing(packet(Up), ms(3_000)) {
        assert!(matches!(output, Output::Send(packet) if packet.poll && !packet.is_final));
    }
    bench.hear(Packet {
        is_final: true,
        ..packet(Up)
    });
    for (_, output) in bench.pass_hearing(packet(Up), ms(3_000)) {
        assert!(matches!(output, Output::Send(packet) if !packet.poll));
    }
}

#[test]
fn a_poll_is_answered_at_once_and_never_with_a_poll() {
    // While our own poll is not answered.
    let mut bench = Bench::standard();
    bench.hear(packet(Down));
    bench.hear(packet(Up));
    let answer = sent(&bench.hear(Packet {
        poll: true,
        ..packet(Up)
    }));
    assert_eq!(answer.len(), 1);
    assert!(answer[0].is_final && !answer[0].poll);
    assert_eq!(answer[0].your_discriminator, THEIRS);
}

#[test]
fn a_slower_rate_is_not_used_before_the_peer_has_answered() {
    let mut bench = Bench::up(Settings::default());
    let slower = Settings {
        transmit_interval: ms(900),
        ..Settings::default()
    };
    let told = sent(&bench.give(Input::Change(slower)));
    assert!(told[0].poll && told[0].desired_min_tx == ms(900));
    let before = gaps(&bench.pass_hearing(packet(Up), ms(5_000)));
    assert!(before.iter().all(|gap| *gap <= ms(300)));
    bench.hear(Packet {
        is_final: true,
        ..packet(Up)
    });
    let after = gaps(&bench.pass_hearing(packet(Up), ms(9_000)));
    assert!(after.iter().all(|gap| *gap >= ms(675)), "{after:?}");
}

#[test]
fn a_faster_rate_is_not_expected_before_the_peer_has_answered() {
    let slow = Settings {
        receive_interval: ms(900),
        ..Settings::default()
    };
    let mut bench = Bench::up(slow);
    let from_slow = Packet {
        desired_min_tx: ms(100),
        ..packet(Up)
    };
    bench.hear(from_slow);
    assert_eq!(bench.session.detection_time(), ms(2_700));
    bench.give(Input::Change(Settings {
        receive_interval: ms(100),
        ..Settings::default()
    }));
    bench.hear(from_slow);
    assert_eq!(bench.session.detection_time(), ms(2_700));
    bench.hear(Packet {
        is_final: true,
        ..from_slow
    });
    assert_eq!(bench.session.detection_time(), ms(300));
}

#[test]
fn a_slower_rate_that_we_ask_for_is_reckoned_with_at_once() {
    let mut bench = Bench::up(Settings::default());
    bench.give(Input::Change(Settings {
        receive_interval: ms(2_000),
        ..Settings::default()
    }));
    assert_eq!(bench.session.detection_time(), ms(6_000));
    // Nothing came in between: the running timer is a new one, too.
    assert!(
        bench
            .pass(ms(5_999))
            .iter()
            .all(|(_, out)| matches!(out, Output::Send(_)))
    );
}

#[test]
fn a_change_during_a_poll_is_polled_for_anew() {
    let mut bench = Bench::up(Settings::default());
    for interval in [600, 900] {
        bench.give(Input::Change(Settings {
            transmit_interval: ms(interval),
            ..Settings::default()
        }));
    }
    let answer = Packet {
        is_final: true,
        ..packet(Up)
    };
    bench.hear(answer);
    assert_eq!(bench.session.transmit_interval(), ms(300));
    let next = bench.pass(ms(300));
    assert!(matches!(next[0].1, Output::Send(packet) if packet.poll));
    bench.hear(answer);
    assert_eq!(bench.session.transmit_interval(), ms(900));
}

#[test]
fn a_new_multiplier_is_told_at_once_without_a_poll() {
    let mut bench = Bench::up(Settings::default());
    let told = sent(&bench.give(Input::Change(Settings {
        detect_multiplier: 5,
        ..Settings::default()
    })));
    assert_eq!((told[0].detect_multiplier, told[0].poll), (5, false));
    assert_eq!(
        bench.give(Input::Change(bench.session.settings().clone())),
        []
    );
}

#[test]
fn demand_mode_is_honoured_and_never_asked_for() {
    let mut bench = Bench::up(Settings::default());
    let demand = Packet {
        demand: true,
        ..packet(Up)
    };
    bench.hear(demand);
    assert_eq!(times(&bench.pass_hearing(demand, ms(10_000))), []);
    // The peer still has to send, for we did not ask.
    let outputs = bench.pass(ms(900));
    assert!(
        outputs
            .iter()
            .any(|(_, out)| *out == Output::Down(Reason::DetectionTimeExpired))
    );
    assert!(
        outputs
            .iter()
            .all(|(_, out)| !matches!(out, Output::Send(packet) if packet.demand))
    );
}

#[test]
fn a_change_is_polled_for_in_demand_mode_too() {
    let mut bench = Bench::up(Settings::default());
    let demand = Packet {
        demand: true,
        ..packet(Up)
    };
    bench.hear(demand);
    bench.give(Input::Change(Settings {
        transmit_interval: ms(500),
        ..Settings::default()
    }));
    assert!(times(&bench.pass_hearing(demand, ms(3_000))).len() >= 6);
    bench.hear(Packet {
        is_final: true,
        ..demand
    });
    assert_eq!(times(&bench.pass_hearing(demand, ms(3_000))), []);
}

#[test]
fn the_passive_side_says_nothing_until_spoken_to_and_again_when_the_peer_is_gone() {
    let settings = Settings {
        passive: true,
        ..Settings::default()
    };
    let mut bench = Bench::new(settings);
    assert_eq!(bench.session.deadline(), None);
    assert_eq!(bench.give(Input::Tick), []);
    let answer = sent(&bench.hear(packet(Down)));
    assert_eq!(
        (answer[0].state, answer[0].your_discriminator),
        (Init, THEIRS)
    );
    assert!(times(&bench.pass(ms(2_999))).len() >= 2);
    bench.pass(MILLISECOND);
    assert_eq!(times(&bench.pass(ms(60_000))), []);
    assert_eq!(bench.session.deadline(), None);
}

#[test]
fn a_planned_stop_is_told_until_it_is_confirmed() {
    let mut bench = Bench::up(Settings::default());
    let told = sent(&bench.give(Input::Disable));
    assert_eq!((told[0].state, told[0].poll), (AdminDown, true));
    let outputs = bench.hear(Packet {
        is_final: true,
        ..packet(Down)
    });
    assert_eq!(outputs, [Output::Closed]);
    assert_eq!(bench.session.deadline(), None);
}

#[test]
fn a_planned_stop_that_is_not_confirmed_ends_after_the_detection_time_and_is_told_twice() {
    for (interval, least) in [(300, 1_000), (600, 1_800)] {
        let mut bench = Bench::up(Settings {
            transmit_interval: ms(interval),
            ..Settings::default()
        });
        bench.give(Input::Disable);
        let outputs = bench.pass(ms(60_000));
        let (end, last) = outputs.last().unwrap();
        assert_eq!(*last, Output::Closed);
        assert_eq!(end.since(Time::from_secs(100)), ms(least));
        assert!(!times(&outputs).is_empty());
        assert_eq!(bench.session.deadline(), None);
    }
}

#[test]
fn a_session_that_nobody_has_heard_of_ends_without_a_word() {
    let mut bench = Bench::standard();
    bench.pass(ms(5_000));
    let outputs = bench.give(Input::Disable);
    assert_eq!(outputs.last(), Some(&Output::Closed));
    assert_eq!(bench.session.deadline(), None);
    assert_eq!(bench.give(Input::Tick), []);
}

#[test]
fn one_that_is_wanted_again_while_it_says_goodbye_begins_anew() {
    let mut bench = Bench::up(Settings::default());
    bench.give(Input::Disable);
    let outputs = bench.give(Input::Enable);
    assert_eq!(sent(&outputs)[0].state, Down);
    assert_eq!(bench.session.status(), Status::NeverUp);
    bench.hear(packet(Down));
    assert!(bench.hear(packet(Up)).contains(&Output::Up));
    assert!(
        bench
            .pass(ms(899))
            .iter()
            .all(|(_, out)| *out != Output::Closed)
    );
}

#[test]
fn strict_clients_wait_for_up_and_others_are_only_ended_by_a_failure() {
    let failed = Status::Down(Reason::DetectionTimeExpired);
    let switched_off = Status::Down(Reason::NeighborAdminDown);
    for (status, loose, strict) in [
        (Status::NeverUp, true, false),
        (Status::Up, true, true),
        (failed, true, false),
        (switched_off, true, true),
    ] {
        assert_eq!(status.permits(false), loose, "{status:?}");
        assert_eq!(status.permits(true), strict, "{status:?}");
    }
}
