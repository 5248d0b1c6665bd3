// SPDX-License-Identifier: GPL-2.0

//! The state of a host, and its devices' lives: net/ipv4/devinet.c and drivers/net/vrf.c.

use crate::{
    address::Address,
    conf::Conf,
    fib::{Fib, Route, Type, LOCAL, MAIN},
    Knob, Operation, Prefix, Scope, Slot,
};
use std::net::Ipv4Addr;

/// How the host takes an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It is done.
    Done,
    /// It is an error, and changes nothing.
    Refused,
}

/// `struct in_device`.
#[derive(Clone, Debug)]
pub(crate) struct InDevice {
    pub(crate) addresses: Vec<Address>,
    pub(crate) conf: Conf,
}

#[derive(Clone, Debug)]
struct Device {
    slot: Slot,
    renamed: bool,
    up: bool,
    /// None while the MTU is too small.
    ip: Option<InDevice>,
}

/// A host. A new one is a namespace with lo and the wires' devices up.
#[derive(Clone, Debug)]
pub struct Host {
    /// In the order in which they were made, as the kernel walks them.
    devices: Vec<Device>,
    /// VRFs and their members, in the order in which they were linked.
    links: Vec<(Slot, Slot)>,
    pub(crate) all: Conf,
    pub(crate) default: Conf,
    pub(crate) fib: Fib,
    /// A device was moved to another l3 domain while it was down: the kernel does not select again the sources
    /// that routes have cached, until the next change of an address.
    pub(crate) has_stale_sources: bool,
    /// A second namespace, to which devices can be moved. Its lo is down.
    pub(crate) annex: Option<Box<Host>>,
}

impl Default for Host {
    fn default() -> Self {
        let mut host = Self::namespace(Conf::default(), Conf::default());
        host.up(Slot::LO);
        for slot in Slot::WIRES {
            host.create(slot);
            host.up(slot);
        }
        host
    }
}

// What others want to know.
impl Host {
    fn device(&self, slot: Slot) -> Option<&Device> {
        self.devices.iter().find(|device| device.slot == slot)
    }

    fn device_mut(&mut self, slot: Slot) -> Option<&mut Device> {
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
}

// Devices.
impl Host {
    /// A namespace with nothing but lo, which is down.
    fn namespace(all: Conf, default: Conf) -> Self {
        let mut host = Self {
            devices: Vec::new(),
            links: Vec::new(),
            all,
            default,
            fib: Fib::default(),
            has_stale_sources: false,
            annex: None,
        };
        host.create(Slot::LO);
        host
    }

    fn create(&mut self, slot: Slot) {
        self.register(slot, false);
        if slot.vrf_table().is_some() {
            self.fib.split();
        }
    }

    fn register(&mut self, slot: Slot, renamed: bool) {
        let ip = Some(self.new_in_device());
        self.devices.push(Device {
            slot,
            renamed,
            up: false,
            ip,
        });
    }

    /// `inetdev_init`.
    fn new_in_device(&self) -> InDevice {
        InDevice {
            addresses: Vec::new(),
            conf: self.default,
        }
    }

    fn up(&mut self, slot: Slot) {
        let Some(device) = self.device_mut(slot) else {
            return;
        };
        device.up = true;
        if slot == Slot::LO {
            self.insert_address(slot, Prefix::new(Ipv4Addr::LOCALHOST, 8), Scope::Host);
        }
        let addresses = self.addresses(slot).to_vec();
        for address in addresses {
            self.add_routes(slot, address);
        }
        if self.ip(slot).is_some() {
            self.has_stale_sources = false;
        }
    }

    fn down(&mut self, slot: Slot) {
        if let Some(device) = self.device_mut(slot) {
            device.up = false;
        }
        self.fib.flush_down(slot);
    }

    /// `inetdev_destroy`.
    fn destroy_ip(&mut self, slot: Slot) {
        while !self.addresses(slot).is_empty() {
            self.delete_address(slot, 0, true);
        }
        if let Some(device) = self.device_mut(slot) {
            device.ip = None;
        }
    }

    /// What follows a change of the VRF: NETDEV_CHANGEUPPER, then down and up again.
    fn moved(&mut self, slot: Slot) {
        self.fib.flush(slot);
        if self.is_up(slot) {
            self.down(slot);
            self.up(slot);
        } else if !self.addresses(slot).is_empty() {
            self.has_stale_sources = true;
        }
    }

    fn release(&mut self, slot: Slot) {
        self.links.retain(|(_, member)| *member != slot);
        self.moved(slot);
    }

    /// The device leaves the namespace: it is deleted, or moved to another one.
    fn unregister(&mut self, slot: Slot) {
        let members = self.links.iter().filter(|(master, _)| *master == slot);
        let members: Vec<Slot> = members.map(|(_, member)| *member).collect();
        for member in members {
            self.release(member);
        }
        self.down(slot);
        self.destroy_ip(slot);
        self.fib.flush(slot);
        self.links.retain(|(_, member)| *member != slot);
        self.devices.retain(|device| device.slot != slot);
    }

    /// `dev_change_net_namespace`.
    fn hand_over(&mut self, slot: Slot, to: &mut Host) {
        let renamed = self.is_renamed(slot);
        self.unregister(slot);
        to.register(slot, renamed);
    }
}

// Operations.
impl Host {
    /// Does an operation that can be tried.
    pub fn apply(&mut self, operation: &Operation) -> Outcome {
        match *operation {
            Operation::Write(directory, knob, value) => return self.write(directory, knob, value),
            Operation::AddAddress(slot, prefix, scope) => {
                return self.insert_address(slot, prefix, scope)
            }
            Operation::RemoveAddress(slot, prefix) => return self.remove_address(slot, prefix),
            Operation::Up(slot) => self.up(slot),
            Operation::Down(slot) => self.down(slot),
            Operation::Create(slot) => self.create(slot),
            Operation::Delete(slot) => self.unregister(slot),
            Operation::Enslave(slot, vrf) => {
                if self.master(slot).is_some() {
                    self.release(slot);
                }
                self.links.push((vrf, slot));
                self.moved(slot);
            }
            Operation::Release(slot) => self.release(slot),
            Operation::Rename(slot) => {
                if let Some(device) = self.device_mut(slot) {
                    device.renamed = !device.renamed;
                }
            }
            Operation::Shrink(slot) => self.destroy_ip(slot),
            Operation::Widen(slot) => {
                let ip = self.new_in_device();
                if let Some(device) = self.device_mut(slot) {
                    device.ip = Some(ip);
                }
            }
            Operation::AddRoute(slot, dst, scope) => return self.add_route(slot, dst, scope),
            Operation::RemoveRoute(slot, dst) => {
                let table = self.main_table(slot);
                if !self.fib.remove_by_hand(table, dst, slot) {
                    return Outcome::Refused;
                }
            }
            Operation::AddLocalRule(place) => self.fib.add_local_rule(place),
            Operation::RemoveLocalRule(place) => self.fib.remove_local_rule(place),
            Operation::MakeAnnex { inherits } => {
                let (all, default) = if inherits {
                    (self.all, self.default)
                } else {
                    Default::default()
                };
                self.annex = Some(Box::new(Self::namespace(all, default)));
            }
            Operation::Move(slot) => {
                let Some(mut annex) = self.annex.take() else {
                    return Outcome::Refused;
                };
                if annex.exists(slot) {
                    annex.hand_over(slot, self);
                } else {
                    self.hand_over(slot, &mut annex);
                }
                self.annex = Some(annex);
            }
            Operation::WriteInAnnex(directory, knob, value) => match &mut self.annex {
                Some(annex) => return annex.write(directory, knob, value),
                None => return Outcome::Refused,
            },
            Operation::AddAddressInAnnex(slot, prefix) => match &mut self.annex {
                Some(annex) => return annex.insert_address(slot, prefix, Scope::Global),
                None => return Outcome::Refused,
            },
        }
        Outcome::Done
    }

    fn add_route(&mut self, slot: Slot, dst: Prefix, scope: Scope) -> Outcome {
        let table = self.main_table(slot);
        if !self.is_up(slot) || self.ip(slot).is_none() || self.fib.has(table, dst) {
            return Outcome::Refused;
        }
        self.fib.append(Route {
            table,
            dst,
            kind: Type::Unicast,
            scope,
            prefsrc: None,
            dev: slot,
        });
        Outcome::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{testing::*, Directory};

    #[test]
    fn a_device_takes_its_addresses_into_the_vrf_if_it_is_up() {
        let (red, vip0) = (slot("red"), slot("vip0"));
        let mut host = Host::default();
        done(&mut host, &[Operation::Create(red), add(ETH0, 1, 24)]);
        done(&mut host, &[Operation::Enslave(ETH0, red)]);
        assert!(host.fib.is_local(1001, addr(1)));
        assert!(!host.fib.is_local(LOCAL, addr(1)));
        done(&mut host, &[Operation::Create(vip0), add(vip0, 2, 32)]);
        done(&mut host, &[Operation::Enslave(vip0, red)]);
        assert!(host.has_stale_sources);
        assert!(!host.fib.is_local(1001, addr(2)));
        done(&mut host, &[Operation::Delete(red)]);
        assert!(host.fib.is_local(LOCAL, addr(1)));
        assert_eq!(host.domain(vip0), None);
    }

    #[test]
    fn too_small_an_mtu_takes_addresses_and_values() {
        let vip0 = slot("vip0");
        let mut host = Host::default();
        done(&mut host, &[Operation::Create(vip0), add(vip0, 1, 32)]);
        done(&mut host, &[write(vip0, Knob::Hidden, 1)]);
        done(&mut host, &[Operation::Shrink(vip0)]);
        assert_eq!(host.read(Directory::Device(vip0), Knob::Hidden), None);
        assert!(!host.fib.is_local(LOCAL, addr(1)));
        done(&mut host, &[Operation::Widen(vip0)]);
        assert_eq!(host.read(Directory::Device(vip0), Knob::Hidden), Some(0));
    }

    #[test]
    fn a_device_takes_default_where_it_moves() {
        let vip0 = slot("vip0");
        let default = |value| Operation::Write(Directory::Default, Knob::Hidden, value);
        let in_annex = |host: &Host| host.annex().unwrap().conf(vip0, Knob::Hidden);
        for inherits in [true, false] {
            let mut host = Host::default();
            done(&mut host, &[default(1), Operation::MakeAnnex { inherits }]);
            done(&mut host, &[default(2), Operation::Create(vip0)]);
            done(&mut host, &[add(vip0, 1, 32), Operation::Move(vip0)]);
            assert!(!host.exists(vip0) && !host.fib.is_local(LOCAL, addr(1)));
            assert_eq!(in_annex(&host), i32::from(inherits));
            // That `default` was written is inherited with it.
            let write = Operation::WriteInAnnex(Directory::Default, Knob::Hidden, 2);
            done(&mut host, &[write]);
            assert_eq!(in_annex(&host), if inherits { 1 } else { 2 });
            done(&mut host, &[Operation::Move(vip0)]);
            assert_eq!(host.conf(vip0, Knob::Hidden), 2);
            assert!(!host.is_in_annex(vip0) && !host.is_up(vip0));
        }
    }
}
