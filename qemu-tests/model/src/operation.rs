// SPDX-License-Identifier: GPL-2.0

//! Operations on a host, and what they are about: devices, directories, knobs.

use crate::prefix::{Prefix, Scope};

/// A place for a device. The kind of the device is fixed; its existence and its name are not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot(usize);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Loopback,
    /// A veth whose other end is the neighbour's. It receives and sends.
    Wire,
    /// A device that only owns addresses.
    Dummy,
    /// The master of an l3 domain, with this routing table.
    Vrf(u32),
}

/// The kind of each slot, its name and its alternative name.
const SLOTS: [(Kind, &str, &str); 9] = [
    (Kind::Loopback, "lo", "lo"),
    (Kind::Wire, "eth0", "wan0"),
    (Kind::Wire, "eth1", "wan1"),
    (Kind::Wire, "eth2", "wan2"),
    (Kind::Dummy, "vip0", "owner0"),
    (Kind::Dummy, "vip1", "owner1"),
    (Kind::Dummy, "vip2", "owner2"),
    (Kind::Vrf(1001), "red", "rouge"),
    (Kind::Vrf(1002), "blue", "bleu"),
];

impl Slot {
    /// The loopback device.
    pub const LO: Slot = Slot(0);
    /// The devices with a wire to the neighbour, eth0 first.
    pub const WIRES: [Slot; 3] = [Slot(1), Slot(2), Slot(3)];

    /// Iterates over all slots.
    pub fn all() -> impl Iterator<Item = Slot> {
        (0..SLOTS.len()).map(Slot)
    }

    pub(crate) fn kind(self) -> Kind {
        SLOTS[self.0].0
    }

    /// Returns the routing table if the device is a VRF.
    pub(crate) fn vrf_table(self) -> Option<u32> {
        match self.kind() {
            Kind::Vrf(table) => Some(table),
            _ => None,
        }
    }

    /// Returns the device's name or its alternative name.
    pub(crate) fn name(self, renamed: bool) -> &'static str {
        let (_, own, other) = SLOTS[self.0];
        if renamed {
            other
        } else {
            own
        }
    }
}

/// A directory of net/ipv4/conf.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Directory {
    /// `all`.
    All,
    /// `default`.
    Default,
    /// The directory of a device.
    Device(Slot),
}

/// A knob: the module's, then the kernel's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Knob {
    /// `hidden`.
    Hidden,
    /// `arp_invisible`.
    ArpInvisible,
    /// `arp_ignore`.
    ArpIgnore,
    /// `arp_announce`.
    ArpAnnounce,
    /// `arp_filter`.
    ArpFilter,
    /// `rp_filter`.
    RpFilter,
    /// `accept_local`.
    AcceptLocal,
    /// `promote_secondaries`.
    PromoteSecondaries,
}

impl Knob {
    /// All knobs.
    pub(crate) const ALL: [Knob; 8] = [
        Knob::Hidden,
        Knob::ArpInvisible,
        Knob::ArpIgnore,
        Knob::ArpAnnounce,
        Knob::ArpFilter,
        Knob::RpFilter,
        Knob::AcceptLocal,
        Knob::PromoteSecondaries,
    ];

    /// Returns the file's name.
    pub fn name(self) -> &'static str {
        match self {
            Knob::Hidden => "hidden",
            Knob::ArpInvisible => "arp_invisible",
            Knob::ArpIgnore => "arp_ignore",
            Knob::ArpAnnounce => "arp_announce",
            Knob::ArpFilter => "arp_filter",
            Knob::RpFilter => "rp_filter",
            Knob::AcceptLocal => "accept_local",
            Knob::PromoteSecondaries => "promote_secondaries",
        }
    }
}

/// The position of the rule for the table "local" relative to the rule for the VRFs' tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Before it, at the very beginning, where the kernel puts it.
    Before,
    /// Behind it, and before the rule for the table "main".
    Behind,
}

impl Place {
    pub(crate) fn preference(self) -> u32 {
        match self {
            Place::Before => 0,
            Place::Behind => 32765,
        }
    }

    pub(crate) fn other(self) -> Self {
        match self {
            Place::Before => Place::Behind,
            Place::Behind => Place::Before,
        }
    }
}

/// A change of a host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Writes a knob.
    Write(Directory, Knob, i32),
    /// Adds an address.
    AddAddress(Slot, Prefix, Scope),
    /// Removes an address.
    RemoveAddress(Slot, Prefix),
    /// Sets a device up.
    Up(Slot),
    /// Sets a device down.
    Down(Slot),
    /// Creates a device: a dummy or a VRF.
    Create(Slot),
    /// Deletes a device: a dummy or a VRF.
    Delete(Slot),
    /// Makes a device a member of a VRF.
    Enslave(Slot, Slot),
    /// Takes a device out of its VRF.
    Release(Slot),
    /// Swaps a device's name and alternative name.
    Rename(Slot),
    /// Makes a device's MTU too small for IPv4.
    Shrink(Slot),
    /// Makes a device's MTU large enough again.
    Widen(Slot),
    /// Adds a route through a device, in the table of the device's l3 domain.
    AddRoute(Slot, Prefix, Scope),
    /// Removes such a route.
    RemoveRoute(Slot, Prefix),
    /// Adds a rule for the table "local".
    AddLocalRule(Place),
    /// Removes such a rule.
    RemoveLocalRule(Place),
    /// Creates the second namespace.
    MakeAnnex {
        /// Whether it starts with the host's `all` and `default`.
        inherits: bool,
    },
    /// Moves a dummy to the other namespace.
    Move(Slot),
    /// Writes a knob of the second namespace.
    WriteInAnnex(Directory, Knob, i32),
    /// Adds an address to a device of the second namespace.
    AddAddressInAnnex(Slot, Prefix),
}

/// The result of an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It succeeded.
    Done,
    /// It failed and changed nothing.
    Refused,
}
