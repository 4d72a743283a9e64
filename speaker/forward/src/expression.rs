//! The expressions that nftables rules are made of. Each computes into registers, or ends the rule when it does not hold.

use ironlb_model::{Family, Protocol};

use crate::netlink::Attributes;
use crate::uapi;

/// A rule, being written: expressions in their order.
pub(crate) struct Rule<'a, 'b>(&'a mut Attributes<'b>);

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict<'a> {
    /// Drop it.
    Drop,
    /// Go on in this chain, and not come back.
    Goto(&'a str),
}

/// A field of a packet's network header.
#[derive(Clone, Copy)]
pub(crate) enum Field {
    Source,
    Destination,
}

impl<'a, 'b> Rule<'a, 'b> {
    pub(crate) fn new(attributes: &'a mut Attributes<'b>) -> Self {
        Self(attributes)
    }

    /// `meta nfproto`: only packets of this family.
    pub(crate) fn is_family(&mut self, family: Family) -> &mut Self {
        self.meta(uapi::NFT_META_NFPROTO, uapi::NFT_REG_1);
        self.compare(uapi::NFT_CMP_EQ, &[protocol_family(family)])
    }

    /// `meta l4proto`: only packets of this protocol.
    pub(crate) fn is_protocol(&mut self, protocol: Protocol) -> &mut Self {
        self.meta(uapi::NFT_META_L4PROTO, uapi::NFT_REG_1);
        self.compare(uapi::NFT_CMP_EQ, &[protocol_number(protocol)])
    }

    /// `iif != 0`: only packets that came in from somewhere.
    pub(crate) fn came_in(&mut self) -> &mut Self {
        self.meta(uapi::NFT_META_IIF, uapi::NFT_REG_1);
        self.compare(uapi::NFT_CMP_NEQ, &[0; 4])
    }

    /// `ct state invalid`: only packets that belong to no connection and begin none.
    pub(crate) fn is_invalid(&mut self) -> &mut Self {
        self.conntrack(uapi::NFT_CT_STATE, None)
            .has_bit(uapi::NF_CT_STATE_INVALID_BIT)
    }

    /// `ct status dnat`: only packets of connections whose destination was translated.
    pub(crate) fn is_translated(&mut self) -> &mut Self {
        self.conntrack(uapi::NFT_CT_STATUS, None)
            .has_bit(uapi::IPS_DST_NAT)
    }

    /// `ct original ip daddr @set`: only packets whose client asked for an address in the set.
    pub(crate) fn was_sent_to(&mut self, family: Family, set: &str) -> &mut Self {
        let key = match family {
            Family::V4 => uapi::NFT_CT_DST_IP,
            Family::V6 => uapi::NFT_CT_DST_IP6,
        };
        self.conntrack(key, Some(uapi::IP_CT_DIR_ORIGINAL))
            .lookup(set, None)
    }

    /// `ip daddr @set`: only packets to an address in the set.
    pub(crate) fn is_sent_to(&mut self, family: Family, set: &str) -> &mut Self {
        self.address(family, Field::Destination, uapi::NFT_REG_1)
            .lookup(set, None)
    }

    /// `ip saddr . ip daddr @set`: only packets from and to these.
    pub(crate) fn goes_between(&mut self, family: Family, set: &str) -> &mut Self {
        self.address(family, Field::Source, uapi::NFT_REG_1)
            .address(family, Field::Destination, after_address(family))
            .lookup(set, None)
    }

    /// `ip daddr . meta l4proto . th dport vmap @map`: the map's verdict, when it has one for the destination.
    pub(crate) fn verdict_of_destination(&mut self, family: Family, map: &str) -> &mut Self {
        let next = word_after_address(family);
        self.address(family, Field::Destination, uapi::NFT_REG_1)
            .meta(uapi::NFT_META_L4PROTO, after_address(family))
            // TCP, UDP and SCTP all have the destination port there.
            .payload(
                uapi::NFT_PAYLOAD_TRANSPORT_HEADER,
                2,
                2,
                next.saturating_add(1),
            )
            .lookup(map, Some(uapi::NFT_REG_VERDICT))
    }

    /// `numgen random mod CHOICES map`: what the anonymous map of this transaction has for a random number, into
    /// register 1 and what follows.
    pub(crate) fn pick(&mut self, choices: u32, set_id: u32) -> &mut Self {
        self.expression("numgen", |data| {
            data.u32(uapi::NFTA_NG_DREG, uapi::NFT_REG_1);
            data.u32(uapi::NFTA_NG_MODULUS, choices);
            data.u32(uapi::NFTA_NG_TYPE, uapi::NFT_NG_RANDOM);
            data.u32(uapi::NFTA_NG_OFFSET, 0);
        });
        self.expression("lookup", |data| {
            data.text(uapi::NFTA_LOOKUP_SET, ANONYMOUS_MAP);
            data.u32(uapi::NFTA_LOOKUP_SREG, uapi::NFT_REG_1);
            data.u32(uapi::NFTA_LOOKUP_DREG, uapi::NFT_REG_1);
            data.u32(uapi::NFTA_LOOKUP_SET_ID, set_id);
        })
    }

    /// `dnat`: to the address in register 1 and the port behind it.
    pub(crate) fn translate_destination(&mut self, family: Family) -> &mut Self {
        self.expression("nat", |data| {
            data.u32(uapi::NFTA_NAT_TYPE, uapi::NFT_NAT_DNAT);
            data.u32(uapi::NFTA_NAT_FAMILY, u32::from(protocol_family(family)));
            data.u32(uapi::NFTA_NAT_REG_ADDR_MIN, uapi::NFT_REG_1);
            data.u32(uapi::NFTA_NAT_REG_PROTO_MIN, after_address(family));
        })
    }

    /// `masquerade fully-random`: the source becomes this node, so that replies come back here. Random ports
    /// spare two connections that begin at once a fight over the same one.
    pub(crate) fn masquerade(&mut self) -> &mut Self {
        let flags = uapi::NF_NAT_RANGE_PROTO_RANDOM_FULLY;
        self.expression("masq", |data| data.u32(uapi::NFTA_MASQ_FLAGS, flags))
    }

    /// `reject with tcp reset`.
    pub(crate) fn reset(&mut self) -> &mut Self {
        self.expression("reject", |data| {
            data.u32(uapi::NFTA_REJECT_TYPE, uapi::NFT_REJECT_TCP_RST);
            data.u8(uapi::NFTA_REJECT_ICMP_CODE, 0);
        })
    }

    /// `reject with icmpx port-unreachable`.
    pub(crate) fn report_unreachable(&mut self) -> &mut Self {
        self.expression("reject", |data| {
            data.u32(uapi::NFTA_REJECT_TYPE, uapi::NFT_REJECT_ICMPX_UNREACH);
            data.u8(
                uapi::NFTA_REJECT_ICMP_CODE,
                uapi::NFT_REJECT_ICMPX_PORT_UNREACH,
            );
        })
    }

    pub(crate) fn verdict(&mut self, verdict: Verdict<'_>) -> &mut Self {
        self.expression("immediate", |data| {
            data.u32(uapi::NFTA_IMMEDIATE_DREG, uapi::NFT_REG_VERDICT);
            data.nest(uapi::NFTA_IMMEDIATE_DATA, |value| {
                write_verdict(value, verdict)
            });
        })
    }

    fn meta(&mut self, key: u32, register: u32) -> &mut Self {
        self.expression("meta", |data| {
            data.u32(uapi::NFTA_META_KEY, key);
            data.u32(uapi::NFTA_META_DREG, register);
        })
    }

    fn conntrack(&mut self, key: u32, direction: Option<u8>) -> &mut Self {
        self.expression("ct", |data| {
            data.u32(uapi::NFTA_CT_KEY, key);
            data.u32(uapi::NFTA_CT_DREG, uapi::NFT_REG_1);
            if let Some(direction) = direction {
                data.u8(uapi::NFTA_CT_DIRECTION, direction);
            }
        })
    }

    /// Goes on when register 1 has this bit. Bit sets of conntrack are in the host's byte order.
    fn has_bit(&mut self, bit: u32) -> &mut Self {
        self.expression("bitwise", |data| {
            data.u32(uapi::NFTA_BITWISE_SREG, uapi::NFT_REG_1);
            data.u32(uapi::NFTA_BITWISE_DREG, uapi::NFT_REG_1);
            data.u32(uapi::NFTA_BITWISE_LEN, 4);
            data.nest(uapi::NFTA_BITWISE_MASK, |mask| {
                mask.bytes(uapi::NFTA_DATA_VALUE, &bit.to_ne_bytes());
            });
            data.nest(uapi::NFTA_BITWISE_XOR, |xor| {
                xor.bytes(uapi::NFTA_DATA_VALUE, &[0; 4])
            });
        });
        self.compare(uapi::NFT_CMP_NEQ, &[0; 4])
    }

    /// Goes on when register 1 compares to `value`.
    fn compare(&mut self, operation: u32, value: &[u8]) -> &mut Self {
        self.expression("cmp", |data| {
            data.u32(uapi::NFTA_CMP_SREG, uapi::NFT_REG_1);
            data.u32(uapi::NFTA_CMP_OP, operation);
            data.nest(uapi::NFTA_CMP_DATA, |it| {
                it.bytes(uapi::NFTA_DATA_VALUE, value)
            });
        })
    }

    fn address(&mut self, family: Family, field: Field, register: u32) -> &mut Self {
        let (offset, length) = match (family, field) {
            (Family::V4, Field::Source) => (12, 4),
            (Family::V4, Field::Destination) => (16, 4),
            (Family::V6, Field::Source) => (8, 16),
            (Family::V6, Field::Destination) => (24, 16),
        };
        self.payload(uapi::NFT_PAYLOAD_NETWORK_HEADER, offset, length, register)
    }

    fn payload(&mut self, base: u32, offset: u32, length: u32, register: u32) -> &mut Self {
        self.expression("payload", |data| {
            data.u32(uapi::NFTA_PAYLOAD_DREG, register);
            data.u32(uapi::NFTA_PAYLOAD_BASE, base);
            data.u32(uapi::NFTA_PAYLOAD_OFFSET, offset);
            data.u32(uapi::NFTA_PAYLOAD_LEN, length);
        })
    }

    /// Goes on when the set has what is in register 1 and the following; a map's value goes to `to`.
    fn lookup(&mut self, set: &str, to: Option<u32>) -> &mut Self {
        self.expression("lookup", |data| {
            data.text(uapi::NFTA_LOOKUP_SET, set);
            data.u32(uapi::NFTA_LOOKUP_SREG, uapi::NFT_REG_1);
            if let Some(register) = to {
                data.u32(uapi::NFTA_LOOKUP_DREG, register);
            }
        })
    }

    fn expression(&mut self, name: &str, fill: impl FnOnce(&mut Attributes<'_>)) -> &mut Self {
        self.0.nest(uapi::NFTA_LIST_ELEM, |element| {
            element.text(uapi::NFTA_EXPR_NAME, name);
            element.nest(uapi::NFTA_EXPR_DATA, fill);
        });
        self
    }
}

pub(crate) fn write_verdict(value: &mut Attributes<'_>, verdict: Verdict<'_>) {
    value.nest(uapi::NFTA_DATA_VERDICT, |it| match verdict {
        Verdict::Drop => it.i32(uapi::NFTA_VERDICT_CODE, uapi::NF_DROP),
        Verdict::Goto(chain) => {
            it.i32(uapi::NFTA_VERDICT_CODE, uapi::NFT_GOTO);
            it.text(uapi::NFTA_VERDICT_CHAIN, chain);
        }
    });
}

pub(crate) fn protocol_number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => uapi::IPPROTO_TCP,
        Protocol::Udp => uapi::IPPROTO_UDP,
        Protocol::Sctp => uapi::IPPROTO_SCTP,
    }
}

fn protocol_family(family: Family) -> u8 {
    match family {
        Family::V4 => uapi::NFPROTO_IPV4,
        Family::V6 => uapi::NFPROTO_IPV6,
    }
}

/// The register behind an address in register 1.
fn after_address(family: Family) -> u32 {
    match family {
        Family::V4 => uapi::NFT_REG32_00 + 1,
        // Four words on: register 2, by the name that the nft program uses.
        Family::V6 => uapi::NFT_REG_1 + 1,
    }
}

/// The same as a number of 4-byte words, to which one can be added.
fn word_after_address(family: Family) -> u32 {
    match family {
        Family::V4 => uapi::NFT_REG32_00 + 1,
        Family::V6 => uapi::NFT_REG32_00 + 4,
    }
}

/// The kernel fills in a number.
pub(crate) const ANONYMOUS_MAP: &str = "__map%d";
