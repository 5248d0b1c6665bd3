// SPDX-License-Identifier: GPL-2.0

//! Creating, changing and removing devices: net/ipv4/devinet.c and drivers/net/vrf.c.

use crate::{
    conf::Conf,
    fib::Fib,
    host::{Device, Host, InDevice},
    operation::Slot,
    prefix::{Prefix, Scope},
};
use std::net::Ipv4Addr;

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

impl Host {
    /// Creates a namespace with nothing but lo, which is down.
    pub(crate) fn namespace(all: Conf, default: Conf) -> Self {
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

    pub(crate) fn create(&mut self, slot: Slot) {
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
    pub(crate) fn new_in_device(&self) -> InDevice {
        InDevice {
            addresses: Vec::new(),
            conf: self.default,
        }
    }

    pub(crate) fn up(&mut self, slot: Slot) {
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

    pub(crate) fn down(&mut self, slot: Slot) {
        if let Some(device) = self.device_mut(slot) {
            device.up = false;
        }
        self.fib.flush_down(slot);
    }

    /// `inetdev_destroy`.
    pub(crate) fn destroy_ip(&mut self, slot: Slot) {
        while !self.addresses(slot).is_empty() {
            self.delete_address(slot, 0, true);
        }
        if let Some(device) = self.device_mut(slot) {
            device.ip = None;
        }
    }

    /// Handles a change of the device's VRF: NETDEV_CHANGEUPPER, then down and up again.
    pub(crate) fn moved(&mut self, slot: Slot) {
        self.fib.flush(slot);
        if self.is_up(slot) {
            self.down(slot);
            self.up(slot);
        } else if !self.addresses(slot).is_empty() {
            self.has_stale_sources = true;
        }
    }

    pub(crate) fn release(&mut self, slot: Slot) {
        self.links.retain(|(_, member)| *member != slot);
        self.moved(slot);
    }

    /// Removes the device from the namespace, to delete it or to move it to another one.
    pub(crate) fn unregister(&mut self, slot: Slot) {
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
    pub(crate) fn hand_over(&mut self, slot: Slot, to: &mut Host) {
        let renamed = self.is_renamed(slot);
        self.unregister(slot);
        to.register(slot, renamed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fib::LOCAL,
        operation::{Directory, Knob, Operation},
        testing::*,
    };

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
