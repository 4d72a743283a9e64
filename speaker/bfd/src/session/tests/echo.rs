//! RFC 5880 §6.4, §6.8.5, §6.8.8, §6.8.9.

use super::*;

/// The peer takes echo packets at most every 50 ms.
fn echoing(state: State) -> Packet {
    Packet {
        required_min_echo_rx: ms(50),
        ..packet(state)
    }
}

fn with_echo() -> Settings {
    Settings {
        echo: Some(ms(40)),
        ..Settings::default()
    }
}

fn echoes(outputs: &[(Time, Output)]) -> Vec<(Time, EchoPayload)> {
    let echoes = outputs.iter().filter_map(|(time, output)| match output {
        Output::Echo(payload) => Some((*time, *payload)),
        _ => None,
    });
    echoes.collect()
}

/// Up, with one echo packet come back.
fn proven() -> Bench {
    let mut bench = Bench::up(with_echo());
    bench.hear(echoing(Up));
    let first = echoes(&bench.pass(ms(50)))[0].1;
    let outputs = bench.give(Input::Echo(first));
    let told = sent(&outputs)[0];
    assert!(told.poll && told.required_min_rx == ms(1_000));
    bench
}

/// Time passes, and every echo packet comes back at once.
fn reflect(bench: &mut Bench, until: Duration) -> Vec<(Time, Output)> {
    let end = bench.now + until;
    let mut all = Vec::new();
    while bench.now < end {
        let outputs = bench.pass(ms(10));
        for (_, payload) in echoes(&outputs) {
            bench.give(Input::Echo(payload));
        }
        all.extend(outputs);
    }
    all
}

#[test]
fn echo_packets_go_out_at_the_slower_of_both_rates_while_up_and_welcome() {
    let mut bench = Bench::up(with_echo());
    assert!(echoes(&bench.pass_hearing(packet(Up), ms(1_000))).is_empty());
    let all = echoes(&bench.pass_hearing(echoing(Up), ms(5_000)));
    let gaps: Vec<_> = all
        .windows(2)
        .map(|pair| pair[1].0.since(pair[0].0))
        .collect();
    assert!(gaps.len() > 90, "{}", gaps.len());
    assert!(
        gaps.iter()
            .all(|gap| *gap >= Duration::from_micros(37_500) && *gap <= ms(50))
    );
    assert!(
        all.windows(2)
            .all(|pair| pair[1].1.sequence == pair[0].1.sequence + 1)
    );
    bench.hear(packet(Up));
    assert!(echoes(&bench.pass_hearing(packet(Up), ms(1_000))).is_empty());
    bench.hear(echoing(Up));
    bench.hear(echoing(Down));
    assert!(echoes(&bench.pass_hearing(echoing(Up), ms(600))).is_empty());
}

#[test]
fn echo_packets_that_never_came_back_are_no_reason_to_go_down() {
    let mut bench = Bench::up(with_echo());
    let outputs = bench.pass_hearing(echoing(Up), ms(10_000));
    assert!(!echoes(&outputs).is_empty());
    assert_eq!(bench.session.state(), Up);
    assert_eq!(bench.session.echo(), Some((ms(50), false)));
    assert_eq!(bench.session.detection_time(), ms(900));
}

#[test]
fn once_echo_packets_come_back_control_packets_may_be_slow_and_missing_echo_packets_are_noticed() {
    let mut bench = proven();
    assert_eq!(bench.session.echo(), Some((ms(50), true)));
    assert_eq!(bench.session.detection_time(), ms(3_000));
    bench.hear(Packet {
        is_final: true,
        ..echoing(Up)
    });
    // No control packet for more than the old detection time.
    reflect(&mut bench, ms(2_000));
    assert_eq!(bench.session.state(), Up);
    bench.hear(echoing(Up));
    let stopped = bench.now;
    let outputs = bench.pass(ms(1_000));
    let down = outputs
        .iter()
        .find(|(_, out)| *out == Output::Down(Reason::EchoFailed));
    let after = down.unwrap().0.since(stopped);
    assert!(after <= ms(150) && after >= ms(90), "{after:?}");
    assert_eq!(bench.session.diagnostic(), Diagnostic::EchoFailed);
    assert_eq!(bench.session.echo(), None);
}

#[test]
fn a_path_that_once_sent_echo_packets_back_has_to_do_so_again() {
    let mut bench = proven();
    bench.pass(ms(150));
    assert_eq!(bench.session.state(), Down);
    // Control packets alone do not bring it up and down all the time.
    bench.pass_hearing(echoing(Init), ms(4_500));
    assert_eq!(bench.session.state(), Down);
    bench.pass_hearing(echoing(Init), ms(500));
    assert_eq!(bench.session.state(), Up);
    bench.hear(echoing(Up));
    let outputs = bench.pass(ms(151));
    assert!(
        outputs
            .iter()
            .any(|(_, out)| *out == Output::Down(Reason::EchoFailed))
    );
}

#[test]
fn an_echo_packet_that_is_old_forged_or_not_yet_sent_is_no_evidence() {
    let mut bench = proven();
    let last = echoes(&bench.pass(ms(60))).last().unwrap().1;
    for payload in [
        EchoPayload {
            nonce: last.nonce ^ 1,
            ..last
        },
        EchoPayload {
            sequence: last.sequence.wrapping_sub(3),
            ..last
        },
        EchoPayload {
            sequence: last.sequence.wrapping_add(1),
            ..last
        },
    ] {
        bench.give(Input::Echo(payload));
    }
    bench.pass(ms(90));
    assert_eq!(bench.session.state(), Down);
}

#[test]
fn switching_echo_off_brings_the_fast_control_packets_back_without_a_flap() {
    let mut bench = proven();
    bench.hear(Packet {
        is_final: true,
        ..echoing(Up)
    });
    let told = sent(&bench.give(Input::Change(Settings::default())));
    assert!(told[0].poll && told[0].required_min_rx == ms(300));
    // Slow until the peer has answered.
    assert_eq!(bench.session.detection_time(), ms(3_000));
    bench.hear(Packet {
        is_final: true,
        ..packet(Up)
    });
    assert_eq!(bench.session.detection_time(), ms(900));
    assert!(echoes(&bench.pass(ms(800))).is_empty());
    assert_eq!(bench.session.state(), Up);
}

#[test]
fn what_we_send_back_is_told_and_echo_packets_of_ours_need_not_be_asked_for() {
    let mut bench = Bench::new(Settings {
        reflect: Some(ms(70)),
        ..Settings::default()
    });
    let told = bench.pass(MILLISECOND);
    assert!(matches!(told[0].1, Output::Send(packet) if packet.required_min_echo_rx == ms(70)));
}
