//! The part of the table that never changes: its sets, and the chains that look into them.
//!
//! ```text
//! prerouting, output    services (address . protocol . port) -> chain of the destination -> dnat to an endpoint
//! postrouting           sent to one of our addresses, and translated -> masquerade, but
//!                         not to endpoints on this node: what they answer comes by here anyway, so they
//!                         see the client's address; except an endpoint that reached itself (hairpin)
//! prerouting, output    after that still to one of our addresses, hence not translated -> guard: refuse at
//!                         once, or drop. Before routing, which on a host that does not forward drops them silently
//! ```

use ironlb_model::{Family, Protocol};

use crate::expression::{Rule, Verdict};
use crate::netlink::Batch;
use crate::uapi;

/// A named set or map of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Set {
    pub(crate) name: &'static str,
    pub(crate) family: Family,
    pub(crate) contents: Contents,
}

/// What a set holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contents {
    /// Chains of served destinations.
    Services,
    /// Verdicts for destinations that are not served.
    Unserved,
    /// Addresses that Services hold.
    Addresses,
    /// Endpoints on this node.
    Local,
    /// Endpoints on this node, as source and destination both.
    Hairpin,
}

/// Adds the table with all that never changes to a transaction.
pub(crate) fn write(batch: &mut Batch) {
    for set in SETS {
        write_set(batch, set);
    }
    for chain in CHAINS {
        write_chain(batch, chain.name, chain.hook);
    }
    for chain in CHAINS {
        write_rules(batch, chain.name);
    }
}

/// Adds a chain that is not called by the kernel itself.
pub(crate) fn write_plain_chain(batch: &mut Batch, name: &str) {
    write_chain(batch, name, None);
}

pub(crate) fn write_rule(batch: &mut Batch, chain: &str, fill: impl FnOnce(&mut Rule<'_, '_>)) {
    let flags = uapi::NLM_F_CREATE | uapi::NLM_F_APPEND;
    batch.add(
        uapi::NFT_MSG_NEWRULE,
        flags,
        format!("add a rule to chain {chain}"),
        |message| {
            message.text(uapi::NFTA_RULE_TABLE, TABLE);
            message.text(uapi::NFTA_RULE_CHAIN, chain);
            message.nest(uapi::NFTA_RULE_EXPRESSIONS, |list| {
                fill(&mut Rule::new(list))
            });
        },
    );
}

fn write_set(batch: &mut Batch, set: &Set) {
    let address = match set.family {
        Family::V4 => (uapi::TYPE_IPADDR, 4),
        Family::V6 => (uapi::TYPE_IP6ADDR, 16),
    };
    let protocol = (uapi::TYPE_INET_PROTOCOL, 4);
    let port = (uapi::TYPE_INET_SERVICE, 4);
    let key: &[(u32, u32)] = match set.contents {
        Contents::Services | Contents::Unserved => &[address, protocol, port],
        Contents::Addresses | Contents::Local => &[address],
        Contents::Hairpin => &[address, address],
    };
    let is_map = matches!(set.contents, Contents::Services | Contents::Unserved);
    batch.add(
        uapi::NFT_MSG_NEWSET,
        uapi::NLM_F_CREATE,
        format!("add set {}", set.name),
        |it| {
            it.text(uapi::NFTA_SET_TABLE, TABLE);
            it.text(uapi::NFTA_SET_NAME, set.name);
            it.u32(
                uapi::NFTA_SET_FLAGS,
                if is_map { uapi::NFT_SET_MAP } else { 0 },
            );
            it.u32(uapi::NFTA_SET_KEY_TYPE, concatenation(key));
            it.u32(
                uapi::NFTA_SET_KEY_LEN,
                key.iter().map(|(_, length)| length).sum(),
            );
            if is_map {
                it.u32(uapi::NFTA_SET_DATA_TYPE, uapi::NFT_DATA_VERDICT);
            }
            // Any number but that of another set in the same transaction.
            it.u32(uapi::NFTA_SET_ID, 0);
        },
    );
}

/// The nft program's number for a concatenation of types, each with its length in bytes.
pub(crate) fn concatenation(types: &[(u32, u32)]) -> u32 {
    types
        .iter()
        .fold(0, |number, (it, _)| (number << uapi::TYPE_BITS) | it)
}

fn write_chain(batch: &mut Batch, name: &str, hook: Option<Hook>) {
    let step = format!("add chain {name}");
    batch.add(
        uapi::NFT_MSG_NEWCHAIN,
        uapi::NLM_F_CREATE,
        step,
        |message| {
            message.text(uapi::NFTA_CHAIN_TABLE, TABLE);
            message.text(uapi::NFTA_CHAIN_NAME, name);
            if let Some(hook) = hook {
                message.nest(uapi::NFTA_CHAIN_HOOK, |it| {
                    it.u32(uapi::NFTA_HOOK_HOOKNUM, hook.number);
                    it.i32(uapi::NFTA_HOOK_PRIORITY, hook.priority);
                });
                message.i32(uapi::NFTA_CHAIN_POLICY, uapi::NF_ACCEPT);
                message.text(uapi::NFTA_CHAIN_TYPE, hook.kind);
            }
        },
    );
}

fn write_rules(batch: &mut Batch, chain: &str) {
    for family in Family::ALL {
        let set = |contents| name_of(contents, family);
        match chain {
            "prerouting" | "local-clients" => write_rule(batch, chain, |rule| {
                rule.is_family(family)
                    .verdict_of_destination(family, set(Contents::Services));
            }),
            "postrouting" => write_rule(batch, chain, |rule| {
                rule.is_translated()
                    .was_sent_to(family, set(Contents::Addresses))
                    .verdict(Verdict::Goto("to-endpoint"));
            }),
            "to-endpoint" => write_rule(batch, chain, |rule| {
                rule.is_family(family)
                    .is_sent_to(family, set(Contents::Local))
                    .verdict(Verdict::Goto("hairpin"));
            }),
            "hairpin" => write_rule(batch, chain, |rule| {
                rule.is_family(family)
                    .goes_between(family, set(Contents::Hairpin))
                    .masquerade();
            }),
            "unserved" | "local-unserved" => write_rule(batch, chain, |rule| {
                rule.is_family(family)
                    .is_sent_to(family, set(Contents::Addresses))
                    .verdict(Verdict::Goto("guard"));
            }),
            _ => {}
        }
    }
    write_common_rules(batch, chain);
}

/// The rules that are the same for both families.
fn write_common_rules(batch: &mut Batch, chain: &str) {
    match chain {
        "to-endpoint" => write_rule(batch, chain, |rule| {
            rule.masquerade();
        }),
        "guard" => {
            // A packet outside of its connection's window was not translated; a reset would end the connection.
            write_rule(batch, chain, |rule| {
                rule.is_invalid().verdict(Verdict::Drop);
            });
            for family in Family::ALL {
                write_rule(batch, chain, |rule| {
                    let map = name_of(Contents::Unserved, family);
                    rule.is_family(family).verdict_of_destination(family, map);
                });
            }
            write_rule(batch, chain, |rule| {
                rule.verdict(Verdict::Goto(NOWHERE));
            });
        }
        ELSEWHERE => write_rule(batch, chain, |rule| {
            rule.came_in().verdict(Verdict::Drop);
        }),
        NOWHERE => {
            write_rule(batch, chain, |rule| {
                rule.is_protocol(Protocol::Tcp).reset();
            });
            write_rule(batch, chain, |rule| {
                rule.report_unreachable();
            });
        }
        _ => {}
    }
}

/// The set with these contents for this family.
pub(crate) fn name_of(contents: Contents, family: Family) -> &'static str {
    let found = SETS
        .iter()
        .find(|set| set.contents == contents && set.family == family);
    found.map_or("", |set| set.name)
}

/// A chain of the skeleton. Those that are gone to come before those that go there.
struct Chain {
    name: &'static str,
    hook: Option<Hook>,
}

#[derive(Clone, Copy)]
struct Hook {
    kind: &'static str,
    number: u32,
    priority: i32,
}

const fn set(name: &'static str, family: Family, contents: Contents) -> Set {
    Set {
        name,
        family,
        contents,
    }
}

const fn plain(name: &'static str) -> Chain {
    Chain { name, hook: None }
}

const fn hooked(name: &'static str, kind: &'static str, number: u32, priority: i32) -> Chain {
    Chain {
        name,
        hook: Some(Hook {
            kind,
            number,
            priority,
        }),
    }
}

/// The table's name; nothing outside of it is ever touched.
pub(crate) const TABLE: &str = "ironlb";
/// The chain for [`crate::Unserved::Nowhere`].
pub(crate) const NOWHERE: &str = "nowhere";
/// The chain for [`crate::Unserved::Elsewhere`].
pub(crate) const ELSEWHERE: &str = "elsewhere";

pub(crate) const SETS: &[Set] = &[
    set("services4", Family::V4, Contents::Services),
    set("services6", Family::V6, Contents::Services),
    set("unserved4", Family::V4, Contents::Unserved),
    set("unserved6", Family::V6, Contents::Unserved),
    set("addresses4", Family::V4, Contents::Addresses),
    set("addresses6", Family::V6, Contents::Addresses),
    set("local4", Family::V4, Contents::Local),
    set("local6", Family::V6, Contents::Local),
    set("hairpin4", Family::V4, Contents::Hairpin),
    set("hairpin6", Family::V6, Contents::Hairpin),
];

const CHAINS: &[Chain] = &[
    plain(NOWHERE),
    plain(ELSEWHERE),
    plain("guard"),
    plain("hairpin"),
    plain("to-endpoint"),
    hooked(
        "prerouting",
        "nat",
        uapi::NF_INET_PRE_ROUTING,
        uapi::NF_IP_PRI_NAT_DST,
    ),
    hooked(
        "local-clients",
        "nat",
        uapi::NF_INET_LOCAL_OUT,
        uapi::NF_IP_PRI_NAT_DST,
    ),
    hooked(
        "postrouting",
        "nat",
        uapi::NF_INET_POST_ROUTING,
        uapi::NF_IP_PRI_NAT_SRC,
    ),
    hooked(
        "unserved",
        "filter",
        uapi::NF_INET_PRE_ROUTING,
        uapi::NF_IP_PRI_NAT_DST + 1,
    ),
    hooked(
        "local-unserved",
        "filter",
        uapi::NF_INET_LOCAL_OUT,
        uapi::NF_IP_PRI_FILTER,
    ),
];
