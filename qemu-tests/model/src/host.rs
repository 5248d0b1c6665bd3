// SPDX-License-Identifier: GPL-2.0

//! The state of a host, and what operations do to it: net/ipv4/devinet.c, fib_frontend.c and drivers/net/vrf.c.

use crate::{
    fib::{Fib, Route, Type, LOCAL, MAIN},
    operation::Kind,
    Command, Directory, Knob, Operation, Prefix, Scope, Slot,
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

/// `struct ipv4_devconf`: the values of a directory's knobs.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Conf {
    values: [i32; Knob::ALL.len()],
    /// What was written by hand, and is not reached by `default` any more.
    by_hand: [bool; Knob::ALL.len()],
}

impl Conf {
    pub(crate) fn get(&self, knob: Knob) -> i32 {
        self.values[knob as usize]
    }

    /// What a new device has. The kernel's own `default` hands down, with its values, that it was written;
    /// ours says only what the values are (row 23).
    fn inherited(&self) -> Self {
        let mut conf = *self;
        for knob in Knob::ALL.into_iter().filter(|knob| knob.is_ours()) {
            conf.by_hand[knob as usize] = false;
        }
        conf
    }

    /// `ipv4_devconf_setall`: to the kernel's own knobs, a device that is given an address counts as set by
    /// hand. Not to ours (row 23).
    fn set_all(&mut self) {
        for knob in Knob::ALL.into_iter().filter(|knob| !knob.is_ours()) {
            self.by_hand[knob as usize] = true;
        }
    }
}

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

    fn is_in_subnet_of(&self, other: &Address) -> bool {
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
    /// A device was moved to another l3 domain while it was down: the kernel forgets to select the sources
    /// anew that routes have cached, until the next change of an address.
    pub(crate) has_stale_sources: bool,
}

impl Default for Host {
    fn default() -> Self {
        let mut host = Self {
            devices: Vec::new(),
            links: Vec::new(),
            all: Conf::default(),
            default: Conf::default(),
            fib: Fib::default(),
            has_stale_sources: false,
        };
        for slot in [Slot::LO].into_iter().chain(Slot::WIRES) {
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

    /// The device's name now.
    pub fn name(&self, slot: Slot) -> &'static str {
        slot.name(self.device(slot).is_some_and(|device| device.renamed))
    }

    /// The devices, in the kernel's order.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Slot> + '_ {
        self.devices.iter().map(|device| device.slot)
    }

    pub(crate) fn ip(&self, slot: Slot) -> Option<&InDevice> {
        self.device(slot)?.ip.as_ref()
    }

    fn ip_mut(&mut self, slot: Slot) -> Option<&mut InDevice> {
        self.device_mut(slot)?.ip.as_mut()
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

    fn main_table(&self, slot: Slot) -> u32 {
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

// Addresses and their routes.
impl Host {
    /// `inet_ifa_byprefix`.
    fn by_prefix(&self, slot: Slot, subnet: &Address) -> Option<Address> {
        self.addresses(slot)
            .iter()
            .find(|other| other.is_in_subnet_of(subnet))
            .copied()
    }

    fn local_route(&self, slot: Slot, addr: Ipv4Addr, prefsrc: Ipv4Addr) -> Route {
        Route {
            table: self.local_table(slot),
            dst: Prefix::of(addr),
            kind: Type::Local,
            scope: Scope::Host,
            prefsrc: Some(prefsrc),
            dev: slot,
        }
    }

    /// The route to the subnet of a primary address. On lo the whole subnet is local.
    fn subnet_route(&self, slot: Slot, primary: &Address) -> Route {
        let (table, kind, scope) = match slot.kind() {
            Kind::Loopback => (LOCAL, Type::Local, Scope::Host),
            _ => (self.main_table(slot), Type::Unicast, Scope::Link),
        };
        Route {
            table,
            dst: primary.prefix.network(),
            kind,
            scope,
            prefsrc: Some(primary.local()),
            dev: slot,
        }
    }

    /// `fib_add_ifaddr`.
    fn add_routes(&mut self, slot: Slot, address: Address) {
        let primary = if address.secondary {
            self.by_prefix(slot, &address)
        } else {
            Some(address)
        };
        let Some(primary) = primary else { return };
        let local = self.local_route(slot, address.local(), primary.local());
        self.fib.append(local);
        if self.is_up(slot) && !address.secondary && address.prefix.len < 32 {
            let subnet = self.subnet_route(slot, &address);
            self.fib.append(subnet);
        }
    }

    /// `fib_del_ifaddr`. `promoting`: the primary address that goes, in favour of a secondary one.
    fn remove_routes(
        &mut self,
        slot: Slot,
        address: Address,
        promoting: Option<&Address>,
        dead: bool,
    ) {
        let mut primary = address;
        if address.secondary {
            match self.by_prefix(slot, &address) {
                Some(found) => primary = found,
                None => return,
            }
        } else if address.prefix.len < 32 {
            let subnet = self.subnet_route(slot, &address);
            self.fib.remove(&subnet);
        }
        let mut is_kept = false;
        let mut is_gone = true;
        let mut has_same_prefsrc = false;
        let mut primary_of_other = None;
        let others: &[Address] = if dead { &[] } else { self.addresses(slot) };
        for other in others {
            if other.prefix == address.prefix {
                is_gone = false;
                continue;
            }
            if promoting.is_some_and(|old| other.is_in_subnet_of(old)) {
                continue;
            }
            if !other.secondary {
                if other.local() != primary.local() {
                    continue;
                }
                has_same_prefsrc |= *other != primary;
                primary_of_other = Some(*other);
            } else if other.is_in_subnet_of(&primary) {
                primary_of_other = Some(primary);
            } else {
                if !has_same_prefsrc {
                    continue;
                }
                if primary_of_other.is_none_or(|known| !other.is_in_subnet_of(&known)) {
                    primary_of_other = self.by_prefix(slot, other);
                }
                if primary_of_other.is_none_or(|known| known.local() != primary.local()) {
                    continue;
                }
            }
            is_kept |= other.local() == address.local();
        }
        if is_kept {
            return;
        }
        let local = self.local_route(slot, address.local(), primary.local());
        self.fib.remove(&local);
        if is_gone && !self.fib.is_local(local.table, address.local()) {
            let table = self.main_table(slot);
            self.fib.flush_prefsrc(table, address.local());
        }
    }

    /// `__inet_insert_ifa`.
    fn insert_address(&mut self, slot: Slot, prefix: Prefix, scope: Scope) -> Outcome {
        let Some(ip) = self.ip_mut(slot) else {
            return Outcome::Refused;
        };
        ip.conf.set_all();
        let mut address = Address {
            prefix,
            scope,
            secondary: false,
        };
        let mut after_primaries = 0;
        for (at, other) in ip.addresses.iter().enumerate() {
            if !other.secondary && scope <= other.scope {
                after_primaries = at + 1;
            }
            if other.is_in_subnet_of(&address) {
                if other.prefix == prefix || other.scope != scope {
                    return Outcome::Refused;
                }
                address.secondary = true;
            }
        }
        let at = if address.secondary {
            ip.addresses.len()
        } else {
            after_primaries
        };
        ip.addresses.insert(at, address);
        self.add_routes(slot, address);
        self.has_stale_sources = false;
        Outcome::Done
    }

    /// `__inet_del_ifa` of the address at a place of the device's list. `dead`: the whole list goes.
    fn delete_address(&mut self, slot: Slot, at: usize, dead: bool) {
        let address = self.addresses(slot)[at];
        let mut promoted = None;
        if !address.secondary && !dead {
            let secondaries: Vec<Address> = self.addresses(slot)[at + 1..]
                .iter()
                .filter(|other| other.secondary && other.is_in_subnet_of(&address))
                .copied()
                .collect();
            if self.max_conf(slot, Knob::PromoteSecondaries) != 0 {
                for secondary in &secondaries {
                    self.remove_routes(slot, *secondary, Some(&address), false);
                }
                promoted = secondaries.first().copied();
            } else {
                for secondary in secondaries {
                    self.unlink(slot, &secondary);
                    self.remove_routes(slot, secondary, None, false);
                }
            }
        }
        self.unlink(slot, &address);
        self.remove_routes(slot, address, None, dead);
        if self.addresses(slot).is_empty() {
            self.fib.flush(slot);
        }
        if let Some(promoted) = promoted {
            self.promote(slot, at, &address, promoted);
        }
        self.has_stale_sources = false;
    }

    fn unlink(&mut self, slot: Slot, address: &Address) {
        if let Some(ip) = self.ip_mut(slot) {
            ip.addresses.retain(|other| other.prefix != address.prefix);
        }
    }

    /// Makes a secondary address the primary one in the place of `old`, which was at `at`.
    fn promote(&mut self, slot: Slot, at: usize, old: &Address, mut promoted: Address) {
        let Some(ip) = self.ip_mut(slot) else { return };
        let list = &mut ip.addresses;
        let Some(from) = list.iter().position(|a| a.prefix == promoted.prefix) else {
            return;
        };
        // Behind the last primary address that may come before it.
        let to = (at..from)
            .rev()
            .find(|other| !list[*other].secondary && old.scope <= list[*other].scope)
            .map_or(at, |last| last + 1);
        list.remove(from);
        promoted.secondary = false;
        list.insert(to, promoted);
        let followers: Vec<Address> = list[from + 1..]
            .iter()
            .filter(|other| other.is_in_subnet_of(old))
            .copied()
            .collect();
        self.add_routes(slot, promoted);
        for follower in followers {
            self.add_routes(slot, follower);
        }
    }
}

// Devices.
impl Host {
    fn create(&mut self, slot: Slot) {
        let ip = self.new_in_device();
        self.devices.push(Device {
            slot,
            renamed: false,
            up: false,
            ip: Some(ip),
        });
        if slot.vrf_table().is_some() {
            self.fib.split();
        }
    }

    fn new_in_device(&self) -> InDevice {
        InDevice {
            addresses: Vec::new(),
            conf: self.default.inherited(),
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

    fn delete(&mut self, slot: Slot) {
        let members: Vec<Slot> = self
            .links
            .iter()
            .filter(|(master, _)| *master == slot)
            .map(|(_, member)| *member)
            .collect();
        for member in members {
            self.release(member);
        }
        self.down(slot);
        self.destroy_ip(slot);
        self.fib.flush(slot);
        self.links.retain(|(_, member)| *member != slot);
        self.devices.retain(|device| device.slot != slot);
    }
}

// Knobs.
impl Host {
    fn write(&mut self, directory: Directory, knob: Knob, value: i32) -> Outcome {
        let max = match knob {
            Knob::Hidden => 2,
            Knob::ArpInvisible => 1,
            _ => i32::MAX,
        };
        if !(0..=max).contains(&value) {
            return Outcome::Refused;
        }
        let at = knob as usize;
        match directory {
            Directory::All => self.all.values[at] = value,
            Directory::Default => {
                self.default.values[at] = value;
                // The kernel keeps no record of this one, and does not hand it on.
                if knob == Knob::PromoteSecondaries {
                    return Outcome::Done;
                }
                self.default.by_hand[at] = true;
                for ip in self.devices.iter_mut().filter_map(|dev| dev.ip.as_mut()) {
                    if !ip.conf.by_hand[at] {
                        ip.conf.values[at] = value;
                    }
                }
            }
            Directory::Device(slot) => {
                let Some(ip) = self.ip_mut(slot) else {
                    return Outcome::Refused;
                };
                ip.conf.values[at] = value;
                ip.conf.by_hand[at] = true;
            }
        }
        Outcome::Done
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

// Operations.
impl Host {
    /// Whether an operation can be tried: it has its devices, and would be a change or a refusal.
    pub fn can_try(&self, operation: &Operation) -> bool {
        let is_virtual = |slot: Slot| matches!(slot.kind(), Kind::Dummy | Kind::Vrf(_));
        match *operation {
            Operation::Write(Directory::Device(slot), ..)
            | Operation::AddAddress(slot, ..)
            | Operation::RemoveAddress(slot, ..)
            | Operation::RemoveRoute(slot, ..) => self.exists(slot),
            Operation::Write(..) => true,
            Operation::Up(slot) => self.exists(slot) && !self.is_up(slot),
            Operation::Down(slot) => self.is_up(slot),
            Operation::Create(slot) => is_virtual(slot) && !self.exists(slot),
            Operation::Delete(slot) => is_virtual(slot) && self.exists(slot),
            Operation::Enslave(slot, vrf) => {
                let is_member = matches!(slot.kind(), Kind::Wire | Kind::Dummy);
                let exist = self.exists(slot) && self.exists(vrf);
                is_member && exist && vrf.vrf_table().is_some() && self.master(slot) != Some(vrf)
            }
            Operation::Release(slot) => self.master(slot).is_some(),
            Operation::Rename(slot) => slot != Slot::LO && self.exists(slot),
            Operation::Shrink(slot) => slot.kind() == Kind::Dummy && self.ip(slot).is_some(),
            Operation::Widen(slot) => self.exists(slot) && self.ip(slot).is_none(),
            Operation::AddRoute(slot, ..) => {
                self.exists(slot) && matches!(slot.kind(), Kind::Wire | Kind::Dummy)
            }
        }
    }

    /// How a person would do it now.
    pub fn command(&self, operation: &Operation) -> Command {
        let dev = |slot: Slot| self.name(slot);
        Command::Ip(match *operation {
            Operation::Write(directory, knob, value) => {
                let directory = self.directory(directory);
                let file = format!("net/ipv4/conf/{directory}/{}", knob.name());
                return Command::Sysctl(file, value);
            }
            Operation::AddAddress(slot, prefix, scope) => {
                format!("addr add {prefix} dev {} scope {scope}", dev(slot))
            }
            Operation::RemoveAddress(slot, prefix) => {
                format!("addr del {prefix} dev {}", dev(slot))
            }
            Operation::Up(slot) => format!("link set {} up", dev(slot)),
            Operation::Down(slot) => format!("link set {} down", dev(slot)),
            Operation::Create(slot) => {
                let name = slot.name(false);
                match slot.vrf_table() {
                    Some(table) => format!("link add {name} type vrf table {table}"),
                    None => format!("link add {name} type dummy"),
                }
            }
            Operation::Delete(slot) => format!("link del {}", dev(slot)),
            Operation::Enslave(slot, vrf) => format!("link set {} master {}", dev(slot), dev(vrf)),
            Operation::Release(slot) => format!("link set {} nomaster", dev(slot)),
            Operation::Rename(slot) => {
                let renamed = self.device(slot).is_some_and(|device| device.renamed);
                format!("link set {} name {}", dev(slot), slot.name(!renamed))
            }
            Operation::Shrink(slot) => format!("link set {} mtu 67", dev(slot)),
            Operation::Widen(slot) => format!("link set {} mtu 1500", dev(slot)),
            Operation::AddRoute(slot, dst, scope) => {
                let table = self.main_table(slot);
                format!(
                    "route add {dst} dev {} scope {scope} table {table}",
                    dev(slot)
                )
            }
            Operation::RemoveRoute(slot, dst) => {
                let table = self.main_table(slot);
                format!("route del {dst} dev {} table {table}", dev(slot))
            }
        })
    }

    /// The name of a directory of net/ipv4/conf.
    pub fn directory(&self, directory: Directory) -> &'static str {
        match directory {
            Directory::All => "all",
            Directory::Default => "default",
            Directory::Device(slot) => self.name(slot),
        }
    }

    /// Does an operation that can be tried.
    pub fn apply(&mut self, operation: &Operation) -> Outcome {
        match *operation {
            Operation::Write(directory, knob, value) => return self.write(directory, knob, value),
            Operation::AddAddress(slot, prefix, scope) => {
                return self.insert_address(slot, prefix, scope)
            }
            Operation::RemoveAddress(slot, prefix) => {
                let list = self.addresses(slot);
                match list.iter().position(|address| address.prefix == prefix) {
                    Some(at) => self.delete_address(slot, at, false),
                    None => return Outcome::Refused,
                }
            }
            Operation::Up(slot) => self.up(slot),
            Operation::Down(slot) => self.down(slot),
            Operation::Create(slot) => self.create(slot),
            Operation::Delete(slot) => self.delete(slot),
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
            Operation::AddRoute(slot, dst, scope) => {
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
            }
            Operation::RemoveRoute(slot, dst) => {
                let table = self.main_table(slot);
                if !self.fib.remove_by_hand(table, dst, slot) {
                    return Outcome::Refused;
                }
            }
        }
        Outcome::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETH0: Slot = Slot::WIRES[0];

    fn prefix(last: u8, len: u8) -> Prefix {
        Prefix::new(Ipv4Addr::new(10, 0, 0, last), len)
    }

    fn slot(name: &str) -> Slot {
        Slot::all().find(|slot| slot.name(false) == name).unwrap()
    }

    fn done(host: &mut Host, operations: &[Operation]) {
        for operation in operations {
            assert!(host.can_try(operation), "{operation:?}");
            assert_eq!(host.apply(operation), Outcome::Done, "{operation:?}");
        }
    }

    fn add(slot: Slot, last: u8, len: u8) -> Operation {
        Operation::AddAddress(slot, prefix(last, len), Scope::Global)
    }

    fn list(host: &Host, slot: Slot) -> Vec<(u8, bool)> {
        let last = |a: &Address| (a.local().octets()[3], a.secondary);
        host.addresses(slot).iter().map(last).collect()
    }

    #[test]
    fn the_second_address_of_a_subnet_is_secondary_and_goes_with_the_first() {
        let mut host = Host::default();
        done(
            &mut host,
            &[add(ETH0, 1, 24), add(ETH0, 2, 24), add(ETH0, 3, 32)],
        );
        assert_eq!(list(&host, ETH0), [(1, false), (3, false), (2, true)]);
        assert_eq!(host.apply(&add(ETH0, 2, 24)), Outcome::Refused);
        done(&mut host, &[Operation::RemoveAddress(ETH0, prefix(1, 24))]);
        assert_eq!(list(&host, ETH0), [(3, false)]);
        assert!(!host.fib.is_local(LOCAL, prefix(2, 32).addr));
    }

    #[test]
    fn a_secondary_is_promoted() {
        let mut host = Host::default();
        let promote = Operation::Write(Directory::All, Knob::PromoteSecondaries, 1);
        done(&mut host, &[promote, add(ETH0, 1, 24), add(ETH0, 9, 32)]);
        done(&mut host, &[add(ETH0, 2, 24), add(ETH0, 3, 24)]);
        assert_eq!(
            list(&host, ETH0),
            [(1, false), (9, false), (2, true), (3, true)]
        );
        done(&mut host, &[Operation::RemoveAddress(ETH0, prefix(1, 24))]);
        assert_eq!(list(&host, ETH0), [(9, false), (2, false), (3, true)]);
        let subnet = host.fib.lookup(None, prefix(77, 32).addr, None).unwrap();
        assert_eq!(subnet.prefsrc, Some(prefix(2, 32).addr));
        let third = host.fib.lookup(None, prefix(3, 32).addr, None).unwrap();
        assert_eq!(third.prefsrc, Some(prefix(2, 32).addr));
    }

    #[test]
    fn a_device_that_is_down_keeps_its_addresses_local_but_not_its_subnet() {
        let mut host = Host::default();
        done(&mut host, &[add(ETH0, 1, 24), Operation::Down(ETH0)]);
        assert!(host.fib.is_local(LOCAL, prefix(1, 32).addr));
        assert!(host.fib.lookup(None, prefix(77, 32).addr, None).is_none());
        done(&mut host, &[Operation::Up(ETH0)]);
        assert!(host.fib.lookup(None, prefix(77, 32).addr, None).is_some());
    }

    #[test]
    fn a_device_takes_its_addresses_into_the_vrf_if_it_is_up() {
        let (red, vip0) = (slot("red"), slot("vip0"));
        let mut host = Host::default();
        done(&mut host, &[Operation::Create(red), add(ETH0, 1, 24)]);
        done(&mut host, &[Operation::Enslave(ETH0, red)]);
        assert!(host.fib.is_local(1001, prefix(1, 32).addr));
        assert!(!host.fib.is_local(LOCAL, prefix(1, 32).addr));
        done(&mut host, &[Operation::Create(vip0), add(vip0, 2, 32)]);
        done(&mut host, &[Operation::Enslave(vip0, red)]);
        assert!(host.has_stale_sources);
        assert!(!host.fib.is_local(1001, prefix(2, 32).addr));
        done(&mut host, &[Operation::Delete(red)]);
        assert!(host.fib.is_local(LOCAL, prefix(1, 32).addr));
        assert_eq!(host.domain(vip0), None);
    }

    #[test]
    fn default_reaches_what_was_not_written_by_hand() {
        let default = |value| Operation::Write(Directory::Default, Knob::Hidden, value);
        let mut host = Host::default();
        done(&mut host, &[add(ETH0, 1, 24), default(2)]);
        assert_eq!(host.conf(ETH0, Knob::Hidden), 2);
        let by_hand = Operation::Write(Directory::Device(ETH0), Knob::Hidden, 1);
        done(&mut host, &[by_hand, default(0)]);
        assert_eq!(host.conf(ETH0, Knob::Hidden), 1);
        assert_eq!(host.conf(Slot::LO, Knob::Hidden), 0);
        assert_eq!(host.apply(&default(3)), Outcome::Refused);
    }

    #[test]
    fn the_kernels_own_default_passes_over_a_device_with_an_address() {
        let mut host = Host::default();
        done(&mut host, &[add(ETH0, 1, 24)]);
        let default = Operation::Write(Directory::Default, Knob::ArpIgnore, 1);
        done(&mut host, &[default]);
        assert_eq!(host.conf(ETH0, Knob::ArpIgnore), 0);
        assert_eq!(host.conf(Slot::WIRES[1], Knob::ArpIgnore), 1);
    }

    #[test]
    fn too_small_an_mtu_takes_addresses_and_values() {
        let vip0 = slot("vip0");
        let write = Operation::Write(Directory::Device(vip0), Knob::Hidden, 1);
        let mut host = Host::default();
        done(
            &mut host,
            &[Operation::Create(vip0), add(vip0, 1, 32), write],
        );
        done(&mut host, &[Operation::Shrink(vip0)]);
        assert_eq!(host.read(Directory::Device(vip0), Knob::Hidden), None);
        assert!(!host.fib.is_local(LOCAL, prefix(1, 32).addr));
        done(&mut host, &[Operation::Widen(vip0)]);
        assert_eq!(host.read(Directory::Device(vip0), Knob::Hidden), Some(0));
    }
}
