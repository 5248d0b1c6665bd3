// SPDX-License-Identifier: GPL-2.0

//! Addresses and their routes: net/ipv4/devinet.c and fib_frontend.c.

use crate::{
    fib::{Route, Type, LOCAL},
    host::{Address, Host},
    operation::{Kind, Knob, Outcome, Slot},
    prefix::{Prefix, Scope},
};
use std::net::Ipv4Addr;

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

    /// Returns the route to the subnet of a primary address. On lo, the whole subnet is local.
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
    pub(crate) fn add_routes(&mut self, slot: Slot, address: Address) {
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

    /// `fib_del_ifaddr`. `promoting` is the primary address that is replaced by a secondary one.
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
    pub(crate) fn insert_address(&mut self, slot: Slot, prefix: Prefix, scope: Scope) -> Outcome {
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

    /// `inet_rtm_deladdr`.
    pub(crate) fn remove_address(&mut self, slot: Slot, prefix: Prefix) -> Outcome {
        let list = self.addresses(slot);
        match list.iter().position(|address| address.prefix == prefix) {
            Some(at) => self.delete_address(slot, at, false),
            None => return Outcome::Refused,
        }
        Outcome::Done
    }

    /// `__inet_del_ifa`, for the address at index `at` of the device's list. `dead` means that the whole list is removed.
    pub(crate) fn delete_address(&mut self, slot: Slot, at: usize, dead: bool) {
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

    /// Makes a secondary address the primary one in place of `old`, which was at index `at`.
    fn promote(&mut self, slot: Slot, at: usize, old: &Address, mut promoted: Address) {
        let Some(ip) = self.ip_mut(slot) else { return };
        let list = &mut ip.addresses;
        let Some(from) = list.iter().position(|a| a.prefix == promoted.prefix) else {
            return;
        };
        // After the last primary address that may precede it.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        operation::{Directory, Operation},
        testing::*,
    };

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
        assert!(!host.fib.is_local(LOCAL, addr(2)));
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
        let subnet = host.fib.lookup(None, addr(77), None).unwrap();
        assert_eq!(subnet.prefsrc, Some(addr(2)));
        let third = host.fib.lookup(None, addr(3), None).unwrap();
        assert_eq!(third.prefsrc, Some(addr(2)));
    }

    #[test]
    fn a_device_that_is_down_keeps_its_addresses_local_but_not_its_subnet() {
        let mut host = Host::default();
        done(&mut host, &[add(ETH0, 1, 24), Operation::Down(ETH0)]);
        assert!(host.fib.is_local(LOCAL, addr(1)));
        assert!(host.fib.lookup(None, addr(77), None).is_none());
        done(&mut host, &[Operation::Up(ETH0)]);
        assert!(host.fib.lookup(None, addr(77), None).is_some());
    }
}
