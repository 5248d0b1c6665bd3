// SPDX-License-Identifier: GPL-2.0

//! The state of a host: devices, addresses, knobs, routes.

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
    /// `None` while the MTU is too small.
    pub(crate) ip: Option<InDevice>,
}

/// A host. By default, it is a namespace with lo and the wires' devices up.
#[derive(Clone, Debug)]
pub struct Host {
    /// In the order of their creation, in which the kernel walks them.
    pub(crate) devices: Vec<Device>,
    /// VRFs and their members, in the order in which they were joined.
    pub(crate) links: Vec<(Slot, Slot)>,
    pub(crate) all: Conf,
    pub(crate) default: Conf,
    pub(crate) fib: Fib,
    /// Whether a device was moved to another l3 domain while it was down. Until the next change of an address, the kernel
    /// then keeps the sources that routes have cached.
    pub(crate) has_stale_sources: bool,
    /// A second namespace, to which devices can move. Its lo is down.
    pub(crate) annex: Option<Box<Host>>,
}

impl Host {
    fn device(&self, slot: Slot) -> Option<&Device> {
        self.devices.iter().find(|device| device.slot == slot)
    }

    pub(crate) fn device_mut(&mut self, slot: Slot) -> Option<&mut Device> {
        self.devices.iter_mut().find(|device| device.slot == slot)
    }

    /// Whether the device exists.
    pub(crate) fn exists(&self, slot: Slot) -> bool {
        self.device(slot).is_some()
    }

    /// Whether the device exists and is up.
    pub fn is_up(&self, slot: Slot) -> bool {
        self.device(slot).is_some_and(|device| device.up)
    }

    pub(crate) fn is_renamed(&self, slot: Slot) -> bool {
        self.device(slot).is_some_and(|device| device.renamed)
    }

    /// Returns the device's current name.
    pub fn name(&self, slot: Slot) -> &'static str {
        slot.name(self.is_renamed(slot))
    }

    /// Iterates over the devices in the kernel's order.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Slot> + '_ {
        self.devices.iter().map(|device| device.slot)
    }

    /// Returns the second namespace.
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

    /// Returns the VRF that the device is a member of.
    pub(crate) fn master(&self, slot: Slot) -> Option<Slot> {
        let link = self.links.iter().find(|(_, member)| *member == slot);
        link.map(|(master, _)| *master)
    }

    /// `l3mdev_master_ifindex`: returns the VRF whose domain the device is in, which is itself for a VRF.
    pub(crate) fn domain(&self, slot: Slot) -> Option<Slot> {
        match slot.vrf_table() {
            Some(_) => Some(slot),
            None => self.master(slot),
        }
    }

    /// `l3mdev_fib_table`: returns the table of the device's VRF.
    pub(crate) fn vrf_table(&self, slot: Slot) -> Option<u32> {
        self.domain(slot)?.vrf_table()
    }

    /// Returns the table with the local routes of the device's addresses.
    pub(crate) fn local_table(&self, slot: Slot) -> u32 {
        self.vrf_table(slot).unwrap_or(LOCAL)
    }

    pub(crate) fn main_table(&self, slot: Slot) -> u32 {
        self.vrf_table(slot).unwrap_or(MAIN)
    }

    pub(crate) fn conf(&self, slot: Slot, knob: Knob) -> i32 {
        self.ip(slot).map_or(0, |ip| ip.conf.get(knob))
    }

    /// IN_DEV_MAXCONF, and IN_DEV_ORCONF for knobs that are 0 or 1.
    pub(crate) fn max_conf(&self, slot: Slot, knob: Knob) -> i32 {
        self.conf(slot, knob).max(self.all.get(knob))
    }

    /// Returns the value in a file; `None` if there is no such file.
    pub(crate) fn read(&self, directory: Directory, knob: Knob) -> Option<i32> {
        match directory {
            Directory::All => Some(self.all.get(knob)),
            Directory::Default => Some(self.default.get(knob)),
            Directory::Device(slot) => Some(self.ip(slot)?.conf.get(knob)),
        }
    }
}
