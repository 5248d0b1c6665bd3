// SPDX-License-Identifier: GPL-2.0

//! What a host has: devices, addresses, knobs, routes.

use crate::{
    conf::Conf,
    fib::{Fib, LOCAL, MAIN},
    operation::{Directory, Knob, Slot},
    prefix::{Prefix, Scope},
};
use std::net::Ipv4Addr;

/// `struct in_ifaddr`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Address {
    pub(crate) prefix: Prefix,
    pub(crate) scope: Scope,
    pub(crate) secondary: bool,
}

impl Address {
    pub(crate) fn local(&self) -> Ipv4Addr {
        self.prefix.addr
    }

    pub(crate) fn is_in_subnet_of(&self, other: &Address) -> bool {
        self.prefix.network() == other.prefix.network()
    }
}

/// `struct in_device`.
#[derive(Clone, Debug)]
pub(crate) struct InDevice {
    pub(crate) addresses: Vec<Address>,
    pub(crate) conf: Conf,
}

#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub(crate) slot: Slot,
    pub(crate) renamed: bool,
    pub(crate) up: bool,
    /// None while the MTU is too small.
    pub(crate) ip: Option<InDevice>,
}

/// A host. A new one is a namespace with lo and the wires' devices up.
#[derive(Clone, Debug)]
pub struct Host {
    /// In the order in which they were made, as the kernel walks them.
    pub(crate) devices: Vec<Device>,
    /// VRFs and their members, in the order in which they were linked.
    pub(crate) links: Vec<(Slot, Slot)>,
    pub(crate) all: Conf,
    pub(crate) default: Conf,
    pub(crate) fib: Fib,
    /// A device was moved to another l3 domain while it was down: the kernel does not select again the sources
    /// that routes have cached, until the next change of an address.
    pub(crate) has_stale_sources: bool,
    /// A second namespace, to which devices can be moved. Its lo is down.
    pub(crate) annex: Option<Box<Host>>,
}

impl Host {
    fn device(&self, slot: Slot) -> Option<&Device> {
        self.devices.iter().find(|device| device.slot == slot)
    }

    pub(crate) fn device_mut(&mut self, slot: Slot) -> Option<&mut Device> {
        self.devices.iter_mut().find(|device| device.slot == slot)
    }

    /// Whether there is such a device.
    pub(crate) fn exists(&self, slot: Slot) -> bool {
        self.device(slot).is_some()
    }

    /// Whether a device is there and up.
    pub fn is_up(&self, slot: Slot) -> bool {
        self.device(slot).is_some_and(|device| device.up)
    }

    pub(crate) fn is_renamed(&self, slot: Slot) -> bool {
        self.device(slot).is_some_and(|device| device.renamed)
    }

    /// The device's name now.
    pub fn name(&self, slot: Slot) -> &'static str {
        slot.name(self.is_renamed(slot))
    }

    /// The devices, in the kernel's order.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Slot> + '_ {
        self.devices.iter().map(|device| device.slot)
    }

    /// The second namespace.
    pub fn annex(&self) -> Option<&Host> {
        self.annex.as_deref()
    }

    /// Whether the second namespace has the device.
    pub(crate) fn is_in_annex(&self, slot: Slot) -> bool {
        self.annex().is_some_and(|annex| annex.exists(slot))
    }

    pub(crate) fn ip(&self, slot: Slot) -> Option<&InDevice> {
        self.device(slot)?.ip.as_ref()
    }

    pub(crate) fn ip_mut(&mut self, slot: Slot) -> Option<&mut InDevice> {
        self.device_mut(slot)?.ip.as_mut()
    }

    pub(crate) fn ips_mut(&mut self) -> impl Iterator<Item = &mut InDevice> {
        self.devices.iter_mut().filter_map(|dev| dev.ip.as_mut())
    }

    pub(crate) fn addresses(&self, slot: Slot) -> &[Address] {
        self.ip(slot).map_or(&[], |ip| &ip.addresses)
    }

    /// The VRF that the device is a member of.
    pub(crate) fn master(&self, slot: Slot) -> Option<Slot> {
        let link = self.links.iter().find(|(_, member)| *member == slot);
        link.map(|(master, _)| *master)
    }

    /// `l3mdev_master_ifindex`: the VRF whose domain the device is in, itself if it is one.
    pub(crate) fn domain(&self, slot: Slot) -> Option<Slot> {
        match slot.vrf_table() {
            Some(_) => Some(slot),
            None => self.master(slot),
        }
    }

    /// `l3mdev_fib_table`: the table of the device's VRF.
    pub(crate) fn vrf_table(&self, slot: Slot) -> Option<u32> {
        self.domain(slot)?.vrf_table()
    }

    /// The table in which the device's own addresses are local.
    pub(crate) fn local_table(&self, slot: Slot) -> u32 {
        self.vrf_table(slot).unwrap_or(LOCAL)
    }

    pub(crate) fn main_table(&self, slot: Slot) -> u32 {
        self.vrf_table(slot).unwrap_or(MAIN)
    }

    pub(crate) fn conf(&self, slot: Slot, knob: Knob) -> i32 {
        self.ip(slot).map_or(0, |ip| ip.conf.get(knob))
    }

    /// IN_DEV_MAXCONF and, of a knob that is 0 or 1, IN_DEV_ORCONF.
    pub(crate) fn max_conf(&self, slot: Slot, knob: Knob) -> i32 {
        self.conf(slot, knob).max(self.all.get(knob))
    }

    /// The value that a file shows; `None` where there is no file.
    pub(crate) fn read(&self, directory: Directory, knob: Knob) -> Option<i32> {
        match directory {
            Directory::All => Some(self.all.get(knob)),
            Directory::Default => Some(self.default.get(knob)),
            Directory::Device(slot) => Some(self.ip(slot)?.conf.get(knob)),
        }
    }
}
