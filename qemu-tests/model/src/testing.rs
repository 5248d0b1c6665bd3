// SPDX-License-Identifier: GPL-2.0

//! What the unit tests share.

use crate::{
    host::Host,
    operation::{Directory, Knob, Operation, Outcome, Slot},
    prefix::{Prefix, Scope},
};
use std::net::Ipv4Addr;

pub(crate) const ETH0: Slot = Slot::WIRES[0];
pub(crate) const ETH1: Slot = Slot::WIRES[1];

pub(crate) fn slot(name: &str) -> Slot {
    Slot::all().find(|slot| slot.name(false) == name).unwrap()
}

pub(crate) fn done(host: &mut Host, operations: &[Operation]) {
    for operation in operations {
        assert!(host.can_try(operation), "{operation:?}");
        assert_eq!(host.apply(operation), Outcome::Done, "{operation:?}");
    }
}

/// In 10.0.0.0/24.
pub(crate) fn addr(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

pub(crate) fn prefix(last: u8, len: u8) -> Prefix {
    Prefix::new(addr(last), len)
}

pub(crate) fn add(slot: Slot, last: u8, len: u8) -> Operation {
    Operation::AddAddress(slot, prefix(last, len), Scope::Global)
}

pub(crate) fn write(slot: Slot, knob: Knob, value: i32) -> Operation {
    Operation::Write(Directory::Device(slot), knob, value)
}
