// SPDX-License-Identifier: GPL-2.0

//! The rows of `Documentation/semantics.md`.

use crate::{
    fib::Type,
    host::{Address, Host},
    operation::{Knob, Slot},
    prefix::Scope,
    probe::Cast,
};
use std::net::Ipv4Addr;

/// Whether a device's addresses must not be selected.
pub(crate) type Withheld = fn(&Host, Slot) -> bool;

impl Host {
    pub(crate) fn is_hidden(&self, slot: Slot) -> bool {
        self.all.get(Knob::Hidden) != 0 && self.conf(slot, Knob::Hidden) != 0
    }

    pub(crate) fn is_concealed_device(&self, slot: Slot) -> bool {
        let is_invisible =
            self.all.get(Knob::ArpInvisible) != 0 && self.conf(slot, Knob::ArpInvisible) != 0;
        self.is_hidden(slot) || is_invisible
    }

    fn is_strict(&self, slot: Slot) -> bool {
        self.is_hidden(slot) && self.conf(slot, Knob::Hidden) == 2
    }

    /// Returns the owners of an address from the point of view of a receiving or sending device: the devices in its l3
    /// domain that have the address; or else those in the domain of the matching local route; or else that route's device.
    fn owners(&self, addr: Ipv4Addr, here: Slot) -> Vec<Slot> {
        let of_domain = |device: Slot| -> Vec<Slot> {
            let domain = self.domain(device);
            let members = self.slots().filter(|slot| self.domain(*slot) == domain);
            members.filter(|slot| self.has(*slot, addr)).collect()
        };
        let own = of_domain(here);
        if !own.is_empty() {
            return own;
        }
        let route = self.fib.lookup(self.vrf_table(here), addr, None);
        let Some(route) = route.filter(|route| route.kind == Type::Local) else {
            return Vec::new();
        };
        let theirs = of_domain(route.dev);
        if theirs.is_empty() {
            vec![route.dev]
        } else {
            theirs
        }
    }

    pub(crate) fn has(&self, slot: Slot, addr: Ipv4Addr) -> bool {
        self.addresses(slot)
            .iter()
            .any(|address| address.local() == addr)
    }

    /// Rows 1 to 6 and 9a.
    pub(crate) fn is_silent(
        &self,
        on: Slot,
        tip: Ipv4Addr,
        sip: Option<Ipv4Addr>,
        cast: Cast,
    ) -> bool {
        let owners = self.owners(tip, on);
        let is_concealed = !owners.is_empty()
            && !owners.contains(&on)
            && owners.iter().all(|slot| self.is_concealed_device(*slot));
        let is_gratuitous = sip == Some(tip);
        let may_know_us = sip.is_some() && !is_gratuitous && cast == Cast::Unicast;
        let is_strict = owners.iter().all(|slot| self.is_strict(*slot));
        is_concealed && (!may_know_us || is_strict)
    }

    /// Rows 11, 12 and 14.
    pub(crate) fn may_not_announce(&self, sip: Ipv4Addr, out: Slot) -> bool {
        let owners = self.owners(sip, out);
        !owners.is_empty() && owners.iter().all(|slot| self.is_concealed_device(*slot))
    }

    /// `inet_select_addr`, with a fall-back that skips some devices: rows 16 and 17.
    pub(crate) fn select(
        &self,
        dev: Slot,
        dst: Option<Ipv4Addr>,
        scope: Scope,
        withheld: Withheld,
    ) -> Ipv4Addr {
        let of_dev = || {
            self.primaries(dev)
                .filter(|address| address.scope.min(Scope::Host) <= scope)
        };
        let nearest = of_dev().find(|address| dst.is_none_or(|dst| address.prefix.covers(dst)));
        if let Some(address) = nearest.or_else(|| of_dev().next()) {
            return address.local();
        }
        let domain = self.domain(dev);
        let members = self.slots().filter(|slot| self.domain(*slot) == domain);
        domain
            .into_iter()
            .chain(members)
            .filter(|slot| !withheld(self, *slot))
            .flat_map(|slot| self.primaries(slot))
            .find(|address| address.scope != Scope::Link && address.scope <= scope)
            .map_or(Ipv4Addr::UNSPECIFIED, Address::local)
    }

    fn primaries(&self, slot: Slot) -> impl Iterator<Item = &Address> {
        let addresses = self.addresses(slot).iter();
        addresses.filter(|address| !address.secondary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        operation::{Directory, Operation, Place},
        prefix::Prefix,
        probe::Seen,
        testing::*,
    };

    const LO: Slot = Slot::LO;
    const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
    const CASTS: [Cast; 3] = [Cast::Broadcast, Cast::Multicast, Cast::Unicast];

    fn all(knob: Knob, value: i32) -> Operation {
        Operation::Write(Directory::All, knob, value)
    }

    /// eth0 10.0.0.1/24, lo 10.0.0.100/32, both knobs enabled in `all`.
    fn real_server() -> Host {
        let mut host = Host::default();
        let enable = [all(Knob::Hidden, 1), all(Knob::ArpInvisible, 1)];
        done(&mut host, &[add(ETH0, 1, 24), add(LO, 100, 32)]);
        done(&mut host, &enable);
        host
    }

    fn answers(host: &Host, on: Slot, tip: Ipv4Addr, cast: Cast) -> bool {
        host.answers(on, tip, Some(NEIGHBOUR), cast)
    }

    #[test]
    fn rows_1_to_5_a_concealed_address() {
        for (knob, value) in [
            (Knob::Hidden, 1),
            (Knob::Hidden, 2),
            (Knob::ArpInvisible, 1),
        ] {
            let mut host = real_server();
            for cast in CASTS {
                assert!(answers(&host, ETH0, VIP, cast));
                assert!(host.answers(ETH0, VIP, None, cast));
            }
            done(&mut host, &[write(LO, knob, value)]);
            for cast in CASTS {
                let is_answered = cast == Cast::Unicast && value == 1;
                assert_eq!(answers(&host, ETH0, VIP, cast), is_answered);
                assert!(!host.answers(ETH0, VIP, None, cast));
                assert!(answers(&host, ETH0, HOST, cast));
            }
            done(&mut host, &[all(knob, 0)]);
            assert!(answers(&host, ETH0, VIP, Cast::Broadcast));
        }
    }

    #[test]
    fn row_6_any_visible_owner_wins() {
        let mut host = real_server();
        done(&mut host, &[write(LO, Knob::Hidden, 2), add(ETH1, 100, 32)]);
        assert!(answers(&host, ETH0, VIP, Cast::Broadcast));
        done(&mut host, &[write(ETH1, Knob::Hidden, 1)]);
        assert!(!answers(&host, ETH0, VIP, Cast::Broadcast));
        assert!(answers(&host, ETH0, VIP, Cast::Unicast));
        assert!(answers(&host, ETH1, VIP, Cast::Broadcast));
    }

    #[test]
    fn a_local_prefix_is_owned_by_its_device() {
        let mut host = real_server();
        let covered = Ipv4Addr::new(10, 7, 0, 9);
        let prefix = Prefix::new(Ipv4Addr::new(10, 7, 0, 1), 28);
        done(
            &mut host,
            &[Operation::AddAddress(LO, prefix, Scope::Global)],
        );
        assert!(answers(&host, ETH0, covered, Cast::Broadcast));
        done(&mut host, &[write(LO, Knob::Hidden, 1)]);
        assert!(!answers(&host, ETH0, covered, Cast::Broadcast));
    }

    #[test]
    fn row_9a_a_gratuitous_request() {
        let covered = addr(97);
        for accepts_local in [0, 1] {
            let mut host = real_server();
            done(&mut host, &[all(Knob::AcceptLocal, accepts_local)]);
            let answered = |host: &Host, tip| {
                let answers = CASTS.map(|cast| host.answers(ETH0, tip, Some(tip), cast));
                assert_eq!(answers, [answers[0]; 3]);
                answers[0]
            };
            assert_eq!(answered(&host, VIP), accepts_local != 0);
            done(&mut host, &[Operation::RemoveAddress(LO, prefix(100, 32))]);
            done(&mut host, &[add(LO, 100, 28)]);
            assert!(answered(&host, covered));
            done(&mut host, &[write(LO, Knob::Hidden, 1)]);
            assert!(!answered(&host, VIP) && !answered(&host, covered));
        }
    }

    #[test]
    fn an_l3_domain_has_its_own_owners() {
        let (red, vip0) = (slot("red"), slot("vip0"));
        let mut host = real_server();
        done(
            &mut host,
            &[Operation::Create(red), Operation::Create(vip0)],
        );
        done(&mut host, &[Operation::Enslave(ETH1, red)]);
        done(&mut host, &[write(LO, Knob::Hidden, 1)]);
        done(&mut host, &[Operation::Enslave(vip0, red)]);
        done(&mut host, &[add(vip0, 100, 32)]);
        assert!(answers(&host, ETH1, VIP, Cast::Broadcast));
        assert!(!answers(&host, ETH0, VIP, Cast::Broadcast));
        done(&mut host, &[write(vip0, Knob::Hidden, 1)]);
        assert!(!answers(&host, ETH1, VIP, Cast::Broadcast));
    }

    /// The rule for the table "local" makes lo's address local for a port of a VRF. After the VRF's rule, it does so only
    /// where the VRF has no route.
    #[test]
    fn a_port_of_a_vrf_hears_for_the_other_domain() {
        let red = slot("red");
        let mut host = real_server();
        done(&mut host, &[Operation::Create(red)]);
        done(&mut host, &[Operation::Enslave(ETH1, red)]);
        for place in [Place::Before, Place::Behind] {
            assert!(answers(&host, ETH1, VIP, Cast::Broadcast));
            assert!(!host.answers(ETH1, VIP, None, Cast::Broadcast));
            done(&mut host, &[write(LO, Knob::Hidden, 1)]);
            assert!(!answers(&host, ETH1, VIP, Cast::Broadcast));
            // Any owner in that domain counts.
            done(&mut host, &[add(ETH0, 100, 32)]);
            assert!(answers(&host, ETH1, VIP, Cast::Broadcast));
            done(
                &mut host,
                &[Operation::RemoveAddress(ETH0, prefix(100, 32))],
            );
            done(&mut host, &[write(LO, Knob::Hidden, 0)]);
            if place == Place::Before {
                done(&mut host, &[Operation::AddLocalRule(Place::Behind)]);
                done(&mut host, &[Operation::RemoveLocalRule(Place::Before)]);
            }
        }
        done(&mut host, &[add(ETH1, 1, 24)]);
        assert!(!answers(&host, ETH1, VIP, Cast::Broadcast));
    }

    #[test]
    fn rows_11_to_14_a_concealed_sender() {
        let target = Ipv4Addr::new(10, 0, 0, 200);
        let mut host = real_server();
        assert_eq!(host.asks_as(ETH0, target, VIP), Some(VIP));
        done(&mut host, &[write(LO, Knob::ArpInvisible, 1)]);
        assert_eq!(host.asks_as(ETH0, target, VIP), Some(HOST));
        assert_eq!(host.asks_as(ETH1, target, VIP), Some(HOST));
        done(&mut host, &[write(ETH0, Knob::Hidden, 1)]);
        assert_eq!(host.asks_as(ETH0, target, HOST), Some(HOST));
        assert_eq!(
            host.asks_as(ETH1, target, HOST),
            Some(Ipv4Addr::UNSPECIFIED)
        );
    }

    #[test]
    fn rows_16_and_17_the_fall_back_passes_over_hidden_devices() {
        let mut host = real_server();
        let to = Ipv4Addr::new(10, 9, 0, 1);
        let source = |host: &Host| host.source(to, Some(ETH1));
        let seen = |addr| Some(Seen::Source(Some(addr)));
        assert_eq!(source(&host), seen(VIP));
        done(&mut host, &[write(LO, Knob::Hidden, 1)]);
        assert_eq!(source(&host), seen(HOST));
        done(&mut host, &[add(ETH1, 2, 32), write(ETH1, Knob::Hidden, 1)]);
        assert_eq!(source(&host), seen(NEIGHBOUR));
    }

    #[test]
    fn row_10_the_kernels_own_rules_keep_working() {
        let mut host = real_server();
        for (value, vip, own) in [(1, false, true), (3, true, true), (8, false, false)] {
            done(&mut host, &[all(Knob::ArpIgnore, value)]);
            assert_eq!(answers(&host, ETH0, VIP, Cast::Broadcast), vip);
            assert_eq!(answers(&host, ETH0, HOST, Cast::Broadcast), own);
        }
        done(
            &mut host,
            &[all(Knob::ArpIgnore, 0), all(Knob::ArpFilter, 1)],
        );
        assert!(answers(&host, ETH0, VIP, Cast::Broadcast));
        assert!(!answers(&host, ETH1, VIP, Cast::Broadcast));
        done(
            &mut host,
            &[all(Knob::ArpFilter, 0), all(Knob::RpFilter, 1)],
        );
        assert!(answers(&host, ETH0, VIP, Cast::Broadcast));
        assert!(!answers(&host, ETH1, VIP, Cast::Broadcast));
    }
}
