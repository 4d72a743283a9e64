//! Where we listen for peers, and with which passwords.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ironlb_model::Family;

use super::io::{Door, Passphrase};
use super::neighbour::Neighbour;

/// A door for each port, family and VRF on which a peer may connect to us, and who may come through it.
pub(super) fn doors<'a>(
    neighbours: impl Iterator<Item = &'a Neighbour>,
) -> BTreeMap<Door, BTreeMap<IpAddr, Option<Passphrase>>> {
    let mut doors: BTreeMap<Door, BTreeMap<IpAddr, Option<Passphrase>>> = BTreeMap::new();
    for neighbour in neighbours {
        let (Some(port), Some(target)) = (neighbour.config.listen_port, &neighbour.target) else {
            continue;
        };
        let address = target.remote.ip();
        let door = Door {
            port,
            family: Family::of(address),
            device: target.device.clone(),
        };
        let peers = doors.entry(door).or_default();
        peers.insert(address, target.password.clone());
    }
    doors
}
