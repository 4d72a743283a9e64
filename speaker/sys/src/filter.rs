//! The classic BPF programs that decide in the kernel which frames a packet socket gets.
//!
//! They let through what `ironlb-l2` could act on and little else, so that other traffic on the segment costs no wake-up: neither
//! other protocols, nor requests for addresses that are far from ours.

use ironlb_model::Family;
use socket2::SockFilter;

/// One instruction (bpf(4), linux/filter.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    code: u16,
    if_true: u8,
    if_false: u8,
    k: u32,
}

impl From<Instruction> for SockFilter {
    fn from(from: Instruction) -> Self {
        Self::new(from.code, from.if_true, from.if_false, from.k)
    }
}

/// Untagged ARP requests and replies for IPv4 over Ethernet, with sender or target in `ranges`; about any address for `None`.
pub(crate) fn arp(ranges: Option<&[(u32, u32)]>) -> Vec<Instruction> {
    let mut program = program(&[
        (Load::Half(12), &[0x0806]),
        (Load::Half(14), &[1]),
        (Load::Half(16), &[0x0800]),
        (Load::Half(18), &[0x0604]),
        (Load::Half(20), &[1, 2]),
    ]);
    finish(&mut program, [Load::Word(28), Load::Word(38)], ranges);
    program
}

/// Untagged neighbour solicitations and advertisements that no router has passed on, without extension headers, with the low 32 bits
/// of source or target in `ranges`; about any address for `None`.
pub(crate) fn ndp(ranges: Option<&[(u32, u32)]>) -> Vec<Instruction> {
    let mut program = program(&[
        (Load::Half(12), &[0x86dd]),
        (Load::Byte(20), &[58]),
        (Load::Byte(21), &[255]),
        (Load::Byte(54), &[135, 136]),
    ]);
    finish(&mut program, [Load::Word(34), Load::Word(74)], ranges);
    program
}

/// Untagged router solicitations and advertisements that no router has passed on, without extension headers.
pub(crate) fn router_discovery() -> Vec<Instruction> {
    let mut program = program(&[
        (Load::Half(12), &[0x86dd]),
        (Load::Byte(20), &[58]),
        (Load::Byte(21), &[255]),
        (Load::Byte(54), &[133, 134]),
    ]);
    program.push(give(u32::MAX));
    program
}

/// UDP to the ports of BFD, without IP options or extension headers, in packets that begin with the IP header (a packet socket of type
/// datagram).
pub(crate) fn bfd(family: Family) -> Vec<Instruction> {
    let ports = &[3784, 3785];
    let mut program = match family {
        Family::V4 => program(&[
            (Load::Byte(0), &[0x45]),
            (Load::Byte(9), &[17]),
            (Load::Half(22), ports),
        ]),
        Family::V6 => program(&[(Load::Byte(6), &[17]), (Load::Half(42), ports)]),
    };
    program.push(give(u32::MAX));
    program
}

/// Datagrams that no router has passed on (RFC 5881 §5), for a UDP socket.
pub(crate) fn unrouted(family: Family) -> Vec<Instruction> {
    let load = Load::Network(match family {
        Family::V4 => 8,
        Family::V6 => 7,
    });
    vec![
        load.instruction(),
        jump(BPF_JEQ_K, 255, 0, 1),
        give(u32::MAX),
        give(0),
    ]
}

/// Nothing: for the moment between making a socket and giving it its own program.
pub(crate) fn nothing() -> Vec<Instruction> {
    vec![give(0)]
}

/// What an instruction loads into the accumulator.
#[derive(Clone, Copy)]
enum Load {
    /// The byte at this offset of the frame.
    Byte(u32),
    /// The two bytes at this offset.
    Half(u32),
    /// The four bytes at this offset.
    Word(u32),
    /// The byte at this offset of the IP header.
    Network(i32),
    /// Metadata that the kernel keeps beside the frame.
    Ancillary(i32),
}

impl Load {
    const fn instruction(self) -> Instruction {
        let (code, k) = match self {
            Self::Byte(offset) => (BPF_LD_B_ABS, offset),
            Self::Half(offset) => (BPF_LD_H_ABS, offset),
            Self::Word(offset) => (BPF_LD_W_ABS, offset),
            Self::Network(offset) => (
                BPF_LD_B_ABS,
                libc::SKF_NET_OFF.wrapping_add(offset).cast_unsigned(),
            ),
            Self::Ancillary(which) => (
                BPF_LD_W_ABS,
                (libc::SKF_AD_OFF.wrapping_add(which)).cast_unsigned(),
            ),
        };
        Instruction {
            code,
            if_true: 0,
            if_false: 0,
            k,
        }
    }
}

/// The end of a program: accepts when one of the loads gives a number in one of the ranges, both ends included.
fn finish(program: &mut Vec<Instruction>, loads: [Load; 2], ranges: Option<&[(u32, u32)]>) {
    let Some(ranges) = ranges else {
        program.push(give(u32::MAX));
        return;
    };
    for load in loads {
        program.push(load.instruction());
        for (first, last) in ranges {
            // Below the first: over the next two. Above the last: over the next.
            program.push(jump(BPF_JGE_K, *first, 0, 2));
            program.push(jump(BPF_JGT_K, *last, 1, 0));
            program.push(give(u32::MAX));
        }
    }
    program.push(give(0));
}

/// The beginning of a program: goes on when each load gives one of its values; a load outside of the frame rejects it.
fn program(rules: &[(Load, &[u32])]) -> Vec<Instruction> {
    let always: [(Load, &[u32]); 2] = [
        // A tag that hardware took off is not in the frame any more.
        (Load::Ancillary(libc::SKF_AD_VLAN_TAG_PRESENT), &[0]),
        // To us, broadcast or multicast: not to another station, and not our own.
        (Load::Ancillary(libc::SKF_AD_PKTTYPE), &[0, 1, 2]),
    ];
    let mut program = Vec::new();
    for (load, values) in always.iter().chain(rules) {
        program.push(load.instruction());
        // One comparison each, and a rejection behind the last; a match jumps over what remains.
        for (number, value) in values.iter().enumerate() {
            let remaining = values.len() - number;
            let over = u8::try_from(remaining).unwrap_or(u8::MAX);
            program.push(jump(BPF_JEQ_K, *value, over, 0));
        }
        program.push(give(0));
    }
    program
}

/// Compares the accumulator with `k`, and jumps over so many instructions.
const fn jump(code: u16, k: u32, if_true: u8, if_false: u8) -> Instruction {
    Instruction {
        code,
        if_true,
        if_false,
        k,
    }
}

/// Ends the program: the frame is cut to `length` bytes, 0 rejects it.
const fn give(length: u32) -> Instruction {
    Instruction {
        code: BPF_RET_K,
        if_true: 0,
        if_false: 0,
        k: length,
    }
}

const BPF_LD_B_ABS: u16 = 0x30;
const BPF_LD_H_ABS: u16 = 0x28;
const BPF_LD_W_ABS: u16 = 0x20;
const BPF_JEQ_K: u16 = 0x15;
const BPF_JGT_K: u16 = 0x25;
const BPF_JGE_K: u16 = 0x35;
const BPF_RET_K: u16 = 0x06;

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel knows of a frame beside its bytes.
    #[derive(Clone, Copy, Default)]
    struct Metadata {
        tagged: bool,
        packet_type: u32,
    }

    /// Runs a program as the kernel does.
    fn accepts(program: &[Instruction], frame: &[u8], metadata: Metadata) -> bool {
        let mut accumulator = 0;
        let mut at = 0;
        loop {
            let Instruction {
                code,
                if_true,
                if_false,
                k,
            } = program[at];
            at += 1;
            match code {
                BPF_RET_K => return k > 0,
                BPF_JEQ_K if accumulator == k => at += usize::from(if_true),
                BPF_JGT_K if accumulator > k => at += usize::from(if_true),
                BPF_JGE_K if accumulator >= k => at += usize::from(if_true),
                BPF_JEQ_K | BPF_JGT_K | BPF_JGE_K => at += usize::from(if_false),
                BPF_LD_W_ABS if k >= 0xffff_f000 => {
                    accumulator = match k.cast_signed() - libc::SKF_AD_OFF {
                        libc::SKF_AD_VLAN_TAG_PRESENT => u32::from(metadata.tagged),
                        libc::SKF_AD_PKTTYPE => metadata.packet_type,
                        other => panic!("unknown metadata {other}"),
                    }
                }
                _ => {
                    let size = match code {
                        BPF_LD_W_ABS => 4,
                        BPF_LD_H_ABS => 2,
                        _ => 1,
                    };
                    let start = usize::try_from(k).unwrap();
                    let Some(bytes) = frame.get(start..start + size) else {
                        return false;
                    };
                    accumulator = bytes
                        .iter()
                        .fold(0, |value, byte| value << 8 | u32::from(*byte));
                }
            }
        }
    }

    fn arp_frame() -> Vec<u8> {
        let mut frame = vec![0xff; 12];
        frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
        frame.resize(60, 0);
        frame
    }

    fn ndp_frame() -> Vec<u8> {
        let mut frame = vec![0x33; 12];
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 24, 58, 255]);
        frame.resize(54, 0);
        frame.extend([135, 0, 0, 0]);
        frame.resize(86, 0);
        frame
    }

    fn altered(mut frame: Vec<u8>, offset: usize, value: u8) -> Vec<u8> {
        frame[offset] = value;
        frame
    }

    #[test]
    fn each_program_accepts_its_own_messages_and_no_other_s() {
        let here = Metadata::default();
        assert!(accepts(&arp(None), &arp_frame(), here));
        assert!(accepts(&arp(None), &altered(arp_frame(), 21, 2), here));
        assert!(!accepts(&arp(None), &ndp_frame(), here));
        assert!(accepts(&ndp(None), &ndp_frame(), here));
        assert!(accepts(&ndp(None), &altered(ndp_frame(), 54, 136), here));
        assert!(!accepts(&ndp(None), &arp_frame(), here));
        assert!(!accepts(&nothing(), &arp_frame(), here));
        for (kind, pass) in [(132, false), (133, true), (134, true), (135, false)] {
            let frame = altered(ndp_frame(), 54, kind);
            assert_eq!(accepts(&router_discovery(), &frame, here), pass, "{kind}");
        }
        let routed = altered(altered(ndp_frame(), 54, 134), 21, 254);
        assert!(!accepts(&router_discovery(), &routed, here));
    }

    #[test]
    fn a_wrong_byte_anywhere_in_the_fixed_part_rejects() {
        for offset in 12..22 {
            let frame = altered(arp_frame(), offset, 0x77);
            assert!(
                !accepts(&arp(None), &frame, Metadata::default()),
                "{offset}"
            );
        }
        for offset in [12, 13, 20, 21, 54] {
            let frame = altered(ndp_frame(), offset, 0x77);
            assert!(
                !accepts(&ndp(None), &frame, Metadata::default()),
                "{offset}"
            );
        }
    }

    #[test]
    fn of_bfd_control_and_echo_packets_pass_over_one_hop_alone() {
        let mut v4 = vec![0x45; 1];
        v4.resize(48, 0);
        v4[9] = 17;
        let mut v6 = vec![0x60; 1];
        v6.resize(68, 0);
        v6[6] = 17;
        for (family, packet, place) in [(Family::V4, v4, 22), (Family::V6, v6, 42)] {
            for (port, pass) in [(3783u16, false), (3784, true), (3785, true), (4784, false)] {
                let mut packet = packet.clone();
                packet[place..place + 2].copy_from_slice(&port.to_be_bytes());
                assert_eq!(accepts(&bfd(family), &packet, Metadata::default()), pass);
                let tcp = altered(packet, if place == 22 { 9 } else { 6 }, 6);
                assert!(!accepts(&bfd(family), &tcp, Metadata::default()));
            }
        }
    }

    #[test]
    fn a_frame_that_is_cut_short_is_rejected() {
        for length in 0..22 {
            assert!(!accepts(
                &arp(None),
                &arp_frame()[..length],
                Metadata::default()
            ));
        }
        for length in 0..55 {
            assert!(!accepts(
                &ndp(None),
                &ndp_frame()[..length],
                Metadata::default()
            ));
        }
    }

    #[test]
    fn a_tag_in_the_metadata_rejects() {
        let tagged = Metadata {
            tagged: true,
            ..Metadata::default()
        };
        assert!(!accepts(&arp(None), &arp_frame(), tagged));
        assert!(!accepts(&ndp(None), &ndp_frame(), tagged));
    }

    /// The frame with these addresses in it, or their low 32 bits.
    fn about(mut frame: Vec<u8>, offsets: [usize; 2], numbers: [u32; 2]) -> Vec<u8> {
        for (offset, number) in offsets.into_iter().zip(numbers) {
            frame[offset..offset + 4].copy_from_slice(&number.to_be_bytes());
        }
        frame
    }

    #[test]
    fn with_ranges_only_frames_that_are_about_them_pass() {
        let ranges = [(5, 9), (20, 20), (u32::MAX - 1, u32::MAX)];
        let inside = [5, 7, 9, 20, u32::MAX - 1, u32::MAX];
        let outside = [0, 4, 10, 19, 21, u32::MAX - 2];
        let passes = |numbers| {
            let arp_frame = about(arp_frame(), [28, 38], numbers);
            let ndp_frame = about(ndp_frame(), [34, 74], numbers);
            let by_arp = accepts(&arp(Some(&ranges)), &arp_frame, Metadata::default());
            let by_ndp = accepts(&ndp(Some(&ranges)), &ndp_frame, Metadata::default());
            assert_eq!(by_arp, by_ndp);
            by_arp
        };
        for number in inside {
            assert!(passes([number, 0]) && passes([0, number]), "{number}");
        }
        for number in outside {
            assert!(!passes([number, number]), "{number}");
        }
        assert!(!accepts(&arp(Some(&[])), &arp_frame(), Metadata::default()));
    }

    #[test]
    fn only_frames_to_this_host_broadcast_and_multicast_pass() {
        for (packet_type, pass) in [(0, true), (1, true), (2, true), (3, false), (4, false)] {
            let metadata = Metadata {
                packet_type,
                ..Metadata::default()
            };
            assert_eq!(
                accepts(&arp(None), &arp_frame(), metadata),
                pass,
                "{packet_type}"
            );
            assert_eq!(
                accepts(&ndp(None), &ndp_frame(), metadata),
                pass,
                "{packet_type}"
            );
        }
    }
}
