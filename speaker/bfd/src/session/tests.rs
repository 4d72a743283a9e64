use super::*;
use crate::wire::State::{AdminDown, Down, Init, Up};

mod echo;
mod intervals;

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
