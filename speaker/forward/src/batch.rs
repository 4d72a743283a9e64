//! The transactions that put a [`Ruleset`] in force.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use ironlb_model::Family;

use crate::expression::{ANONYMOUS_MAP, Verdict, protocol_number, write_verdict};
use crate::netlink::{Attributes, Batch, write_message};
use crate::skeleton::{self, Contents, ELSEWHERE, NOWHERE, SETS, Set, TABLE};
use crate::{Backends, Destination, Ruleset, Unserved, uapi};

/// Puts `wanted` in force whatever was there: an old table goes and the new one comes in the same instant.
pub fn replace(wanted: &Ruleset) -> Batch {
    Batch::transaction(|batch| {
        write_removal(batch);
        write_table(
            batch,
            uapi::NFT_MSG_NEWTABLE,
            uapi::NLM_F_CREATE,
            "add the table",
        );
        skeleton::write(batch);
        write_difference(batch, &Ruleset::default(), wanted);
    })
}

/// Turns `current`, which must be in force, into `wanted`; what is the same in both is not touched. When the kernel
/// refuses, `current` was not in force (someone else changed the table), and [`replace`] helps.
pub fn update(current: &Ruleset, wanted: &Ruleset) -> Batch {
    Batch::transaction(|batch| write_difference(batch, current, wanted))
}

/// Takes the table away, if it is there.
pub fn remove() -> Batch {
    Batch::transaction(write_removal)
}

/// A request that the kernel refuses (ENOENT) when the table is not there: someone flushed all rules. The message's
/// sequence number is 1.
pub fn probe() -> Vec<u8> {
    let mut bytes = Vec::new();
    let (kind, flags) = (uapi::NFT_MSG_GETTABLE, uapi::NLM_F_ACK);
    write_message(
        &mut bytes,
        kind,
        flags,
        1,
        uapi::NFPROTO_INET,
        0,
        |message| {
            message.text(uapi::NFTA_TABLE_NAME, TABLE);
        },
    );
    bytes
}

fn write_removal(batch: &mut Batch) {
    // There is no "delete if it exists" before Linux 6.3: adding it first makes sure that it does.
    write_table(
        batch,
        uapi::NFT_MSG_NEWTABLE,
        uapi::NLM_F_CREATE,
        "make sure of the table",
    );
    write_table(batch, uapi::NFT_MSG_DELTABLE, 0, "delete the old table");
}

fn write_table(batch: &mut Batch, kind: u16, flags: u16, step: &str) {
    batch.add(kind, flags, step.to_owned(), |it| {
        it.text(uapi::NFTA_TABLE_NAME, TABLE)
    });
}

/// Chains come before what refers to them, and go after it.
fn write_difference(batch: &mut Batch, current: &Ruleset, wanted: &Ruleset) {
    for set in SETS {
        let (old, new) = (elements(current, set), elements(wanted, set));
        let gone = old.difference(&new);
        write_elements(batch, set, uapi::NFT_MSG_DELSETELEM, 0, gone);
    }
    for name in current
        .chains
        .keys()
        .filter(|name| !wanted.chains.contains_key(*name))
    {
        write_flush(batch, name);
        let step = format!("delete chain {name}");
        batch.add(uapi::NFT_MSG_DELCHAIN, 0, step, |message| {
            message.text(uapi::NFTA_CHAIN_TABLE, TABLE);
            message.text(uapi::NFTA_CHAIN_NAME, name);
        });
    }
    let mut set_id = 0;
    for (name, backends) in &wanted.chains {
        match current.chains.get(name) {
            Some(known) if known == backends => continue,
            Some(_) => write_flush(batch, name),
            None => skeleton::write_plain_chain(batch, name),
        }
        // Zero is the sets of the skeleton.
        set_id += 1;
        write_backends(batch, name, backends, set_id);
    }
    for set in SETS {
        let (old, new) = (elements(current, set), elements(wanted, set));
        let added = new.difference(&old);
        write_elements(
            batch,
            set,
            uapi::NFT_MSG_NEWSETELEM,
            uapi::NLM_F_CREATE,
            added,
        );
    }
}

/// Deletes the rules of a chain; their anonymous maps go with them.
fn write_flush(batch: &mut Batch, chain: &str) {
    batch.add(
        uapi::NFT_MSG_DELRULE,
        0,
        format!("flush chain {chain}"),
        |message| {
            message.text(uapi::NFTA_RULE_TABLE, TABLE);
            message.text(uapi::NFTA_RULE_CHAIN, chain);
        },
    );
}

/// The one rule of a destination's chain, with its map from a number to an endpoint.
fn write_backends(batch: &mut Batch, chain: &str, backends: &Backends, set_id: u32) {
    let count = u32::try_from(backends.endpoints.len()).unwrap_or(u32::MAX);
    write_anonymous_map(batch, chain, backends.family, count, set_id);
    let numbered = (0_u32..).zip(&backends.endpoints);
    let entries = numbered.map(|(number, endpoint)| {
        let mut bytes = Vec::new();
        let mut element = Attributes::new(&mut bytes);
        element.nest(uapi::NFTA_SET_ELEM_KEY, |key| {
            key.bytes(uapi::NFTA_DATA_VALUE, &number.to_ne_bytes());
        });
        element.nest(uapi::NFTA_SET_ELEM_DATA, |data| {
            data.bytes(uapi::NFTA_DATA_VALUE, &address_and_port(endpoint));
        });
        bytes
    });
    let list = List {
        name: ANONYMOUS_MAP,
        set_id: Some(set_id),
        about: chain,
    };
    write_list(
        batch,
        &list,
        uapi::NFT_MSG_NEWSETELEM,
        uapi::NLM_F_CREATE,
        entries,
    );
    skeleton::write_rule(batch, chain, |rule| {
        rule.is_protocol(backends.protocol)
            .pick(count, set_id)
            .translate_destination(backends.family);
    });
}

fn write_anonymous_map(batch: &mut Batch, chain: &str, family: Family, size: u32, set_id: u32) {
    let address = match family {
        Family::V4 => (uapi::TYPE_IPADDR, 4),
        Family::V6 => (uapi::TYPE_IP6ADDR, 16),
    };
    let data = [address, (uapi::TYPE_INET_SERVICE, 4)];
    let flags = uapi::NFT_SET_ANONYMOUS | uapi::NFT_SET_CONSTANT | uapi::NFT_SET_MAP;
    let step = format!("add the endpoints' map of chain {chain}");
    batch.add(uapi::NFT_MSG_NEWSET, uapi::NLM_F_CREATE, step, |it| {
        it.text(uapi::NFTA_SET_TABLE, TABLE);
        it.text(uapi::NFTA_SET_NAME, ANONYMOUS_MAP);
        it.u32(uapi::NFTA_SET_FLAGS, flags);
        it.u32(uapi::NFTA_SET_KEY_TYPE, uapi::TYPE_INTEGER);
        it.u32(uapi::NFTA_SET_KEY_LEN, 4);
        it.u32(uapi::NFTA_SET_DATA_TYPE, skeleton::concatenation(&data));
        it.u32(
            uapi::NFTA_SET_DATA_LEN,
            data.iter().map(|(_, length)| length).sum(),
        );
        it.nest(uapi::NFTA_SET_DESC, |desc| {
            desc.u32(uapi::NFTA_SET_DESC_SIZE, size)
        });
        it.u32(uapi::NFTA_SET_ID, set_id);
        it.bytes(uapi::NFTA_SET_USERDATA, &byte_orders());
    });
}

/// What the nft program needs to print the map: its keys are in the host's byte order.
fn byte_orders() -> Vec<u8> {
    let orders = [
        (
            uapi::NFTNL_UDATA_SET_KEYBYTEORDER,
            uapi::BYTEORDER_HOST_ENDIAN,
        ),
        (
            uapi::NFTNL_UDATA_SET_DATABYTEORDER,
            uapi::BYTEORDER_BIG_ENDIAN,
        ),
    ];
    let mut bytes = Vec::new();
    for (kind, order) in orders {
        bytes.extend_from_slice(&[kind, 4]);
        bytes.extend_from_slice(&order.to_ne_bytes());
    }
    bytes
}

/// An element of a named set: its key, and the verdict for it when the set is a map.
type Element<'a> = (Vec<u8>, Option<&'a str>);

/// Everything that `set` holds for `ruleset`.
fn elements<'a>(ruleset: &'a Ruleset, set: &Set) -> BTreeSet<Element<'a>> {
    let ours = |address: IpAddr| Family::of(address) == set.family;
    let keys =
        |addresses: &'a BTreeSet<IpAddr>| addresses.iter().copied().filter(move |a| ours(*a));
    match set.contents {
        Contents::Services => {
            let ours = ruleset.services.iter().filter(|(to, _)| ours(to.address));
            ours.map(|(to, chain)| (destination_key(to), Some(chain.as_str())))
                .collect()
        }
        Contents::Unserved => {
            let ours = ruleset.unserved.iter().filter(|(to, _)| ours(to.address));
            ours.map(|(to, reason)| (destination_key(to), Some(chain_for(*reason))))
                .collect()
        }
        Contents::Addresses => keys(&ruleset.addresses)
            .map(|a| (octets(a), None))
            .collect(),
        Contents::Local => keys(&ruleset.local).map(|a| (octets(a), None)).collect(),
        Contents::Hairpin => keys(&ruleset.local)
            .map(|a| ([octets(a), octets(a)].concat(), None))
            .collect(),
    }
}

fn chain_for(reason: Unserved) -> &'static str {
    match reason {
        Unserved::Nowhere => NOWHERE,
        Unserved::Elsewhere => ELSEWHERE,
    }
}

fn write_elements<'a>(
    batch: &mut Batch,
    set: &Set,
    kind: u16,
    flags: u16,
    elements: impl Iterator<Item = &'a Element<'a>>,
) {
    let entries = elements.map(|(key, chain)| {
        let mut bytes = Vec::new();
        let mut element = Attributes::new(&mut bytes);
        element.nest(uapi::NFTA_SET_ELEM_KEY, |it| {
            it.bytes(uapi::NFTA_DATA_VALUE, key)
        });
        if let Some(chain) = chain {
            element.nest(uapi::NFTA_SET_ELEM_DATA, |data| {
                write_verdict(data, Verdict::Goto(chain));
            });
        }
        bytes
    });
    let list = List {
        name: set.name,
        set_id: None,
        about: set.name,
    };
    write_list(batch, &list, kind, flags, entries);
}

/// The set that elements are written for.
struct List<'a> {
    name: &'a str,
    /// For an anonymous set, which has no name yet.
    set_id: Option<u32>,
    about: &'a str,
}

/// Writes elements in messages that are not too long: a nest's length has 16 bits.
fn write_list(
    batch: &mut Batch,
    list: &List<'_>,
    kind: u16,
    flags: u16,
    entries: impl Iterator<Item = Vec<u8>>,
) {
    let mut entries = entries.peekable();
    while entries.peek().is_some() {
        let mut elements = Vec::new();
        while let Some(entry) = entries.next_if(|_| elements.len() < LONGEST_LIST) {
            Attributes::new(&mut elements)
                .nest(uapi::NFTA_LIST_ELEM, |element| element.raw(&entry));
        }
        let doing = if kind == uapi::NFT_MSG_NEWSETELEM {
            "add elements to"
        } else {
            "delete from"
        };
        batch.add(kind, flags, format!("{doing} {}", list.about), |message| {
            message.text(uapi::NFTA_SET_ELEM_LIST_TABLE, TABLE);
            message.text(uapi::NFTA_SET_ELEM_LIST_SET, list.name);
            if let Some(id) = list.set_id {
                message.u32(uapi::NFTA_SET_ELEM_LIST_SET_ID, id);
            }
            message.nest(uapi::NFTA_SET_ELEM_LIST_ELEMENTS, |all| all.raw(&elements));
        });
    }
}

/// Each part of a concatenation takes whole words.
fn destination_key(to: &Destination) -> Vec<u8> {
    let mut key = octets(to.address);
    key.extend_from_slice(&[protocol_number(to.protocol), 0, 0, 0]);
    key.extend_from_slice(&to.port.to_be_bytes());
    key.extend_from_slice(&[0, 0]);
    key
}

fn address_and_port(endpoint: &SocketAddr) -> Vec<u8> {
    let mut data = octets(endpoint.ip());
    data.extend_from_slice(&endpoint.port().to_be_bytes());
    data.extend_from_slice(&[0, 0]);
    data
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// Bytes of elements after which a message is full.
const LONGEST_LIST: usize = 32 * 1024;
