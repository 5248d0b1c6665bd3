// SPDX-License-Identifier: GPL-2.0

//! What a probe must see: the stock kernel's answer, and what `Documentation/semantics.md` makes of it.

use crate::{
    fib::{Type, LOCAL},
    generate::is_fresh,
    host::Address,
    Directory, Host, Knob, Scope, Slot,
};
use std::net::Ipv4Addr;

/// To whom a request is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cast {
    /// Everyone.
    Broadcast,
    /// A group.
    Multicast,
    /// The host's own hardware address.
    Unicast,
}

/// A look at the host from outside that changes nothing of what [`Host`] knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Probe {
    /// The neighbour sends an ARP request.
    Ask {
        /// The device that hears it.
        on: Slot,
        /// The address asked for.
        tip: Ipv4Addr,
        /// The asker's own; `None` for duplicate address detection.
        sip: Option<Ipv4Addr>,
        /// To whom.
        cast: Cast,
    },
    /// The host has a packet for a neighbour whose hardware address it does not know.
    Resolve {
        /// The device by which the packet leaves.
        out: Slot,
        /// The neighbour: never asked for before.
        target: Ipv4Addr,
        /// The packet's source address.
        from: Ipv4Addr,
    },
    /// A socket of the host, bound to a device or to nothing, is connected.
    Connect {
        /// The destination.
        to: Ipv4Addr,
        /// The device.
        out: Option<Slot>,
    },
    /// A knob is read.
    Read(Directory, Knob),
}

/// What a probe sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    /// What becomes of a request.
    Answer {
        /// It is answered.
        is_answered: bool,
        /// The asker is learnt: never without an answer (row 7). An asker that may be known is no evidence,
        /// and counts as not learnt.
        is_learnt: bool,
    },
    /// The sender address by which the host asks for its neighbour; `None` if it does not ask.
    Sender(Option<Ipv4Addr>),
    /// The source address of the socket; `None` if it cannot be connected.
    Source(Option<Ipv4Addr>),
    /// The value; `None` if there is no such file.
    Value(Option<i32>),
}

/// Whether a device's addresses may not be used.
type Withheld = fn(&Host, Slot) -> bool;

impl Host {
    /// What a probe must see; `None` if it cannot be made now, or its result is not determined.
    pub fn predict(&self, probe: &Probe) -> Option<Seen> {
        match *probe {
            Probe::Ask { on, tip, sip, cast } => self.is_up(on).then(|| {
                let is_answered = self.answers(on, tip, sip, cast);
                Seen::Answer {
                    is_answered,
                    is_learnt: is_answered && sip.is_some_and(is_fresh),
                }
            }),
            Probe::Resolve { out, target, from } => self
                .is_up(out)
                .then(|| Seen::Sender(self.asks_as(out, target, from))),
            Probe::Connect { to, out } => {
                let is_there = out.is_none_or(|out| self.exists(out));
                is_there.then(|| self.source(to, out)).flatten()
            }
            Probe::Read(directory, knob) => match directory {
                Directory::Device(slot) if !self.exists(slot) => None,
                _ => Some(Seen::Value(self.read(directory, knob))),
            },
        }
    }
}

// The words of the semantics.
impl Host {
    fn is_hidden(&self, slot: Slot) -> bool {
        self.all.get(Knob::Hidden) != 0 && self.conf(slot, Knob::Hidden) != 0
    }

    fn is_concealed_device(&self, slot: Slot) -> bool {
        let is_invisible =
            self.all.get(Knob::ArpInvisible) != 0 && self.conf(slot, Knob::ArpInvisible) != 0;
        self.is_hidden(slot) || is_invisible
    }

    fn is_strict(&self, slot: Slot) -> bool {
        self.is_hidden(slot) && self.conf(slot, Knob::Hidden) == 2
    }

    /// The owners of an address in the l3 domain of `here`: who has it configured, or has the local route.
    fn owners(&self, addr: Ipv4Addr, here: Slot) -> Vec<Slot> {
        let domain = self.domain(here);
        let of_domain: Vec<Slot> = self
            .slots()
            .filter(|slot| self.domain(*slot) == domain && self.has(*slot, addr))
            .collect();
        if !of_domain.is_empty() {
            return of_domain;
        }
        self.fib
            .in_table(LOCAL, addr, None)
            .filter(|route| route.kind == Type::Local && self.domain(route.dev) == domain)
            .map(|route| route.dev)
            .into_iter()
            .collect()
    }

    fn has(&self, slot: Slot, addr: Ipv4Addr) -> bool {
        self.addresses(slot)
            .iter()
            .any(|address| address.local() == addr)
    }

    /// Rows 1 to 6 and 9.
    fn is_silent(&self, on: Slot, tip: Ipv4Addr, sip: Option<Ipv4Addr>, cast: Cast) -> bool {
        let owners = self.owners(tip, on);
        let is_concealed = !owners.is_empty()
            && !owners.contains(&on)
            && owners.iter().all(|slot| self.is_concealed_device(*slot));
        let is_gratuitous = sip == Some(tip);
        let may_know_us = sip.is_some() && cast == Cast::Unicast;
        let is_strict = owners.iter().all(|slot| self.is_strict(*slot));
        is_concealed && !is_gratuitous && (!may_know_us || is_strict)
    }

    /// Rows 11, 12 and 14.
    fn may_not_announce(&self, sip: Ipv4Addr, out: Slot) -> bool {
        let owners = self.owners(sip, out);
        !owners.is_empty() && owners.iter().all(|slot| self.is_concealed_device(*slot))
    }

    /// `inet_select_addr`, with a fall-back that passes over some devices: rows 16 and 17.
    fn select(
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

// arp_process.
impl Host {
    fn answers(&self, on: Slot, tip: Ipv4Addr, sip: Option<Ipv4Addr>, cast: Cast) -> bool {
        let is_local = match sip {
            None => self.fib.is_local(self.local_table(on), tip),
            Some(sip) => self.takes_for_its_own(on, tip, sip),
        };
        is_local
            && !self.ignores(on, tip, sip)
            && !sip.is_some_and(|sip| self.filters(on, tip, sip))
            && !self.is_silent(on, tip, sip, cast)
    }

    /// `ip_route_input` gives a local route.
    fn takes_for_its_own(&self, on: Slot, tip: Ipv4Addr, sip: Ipv4Addr) -> bool {
        self.fib
            .lookup(self.vrf_table(on), tip, None)
            .is_some_and(|route| route.kind == Type::Local)
            && self.is_valid_source(on, sip)
    }

    /// `fib_validate_source`.
    fn is_valid_source(&self, on: Slot, src: Ipv4Addr) -> bool {
        let rp_filter = self.max_conf(on, Knob::RpFilter);
        if rp_filter == 0 && !self.fib.has_rules() {
            return !self.is_configured(src);
        }
        match self.fib.lookup(self.vrf_table(on), src, None) {
            None => rp_filter == 0,
            Some(route) if route.kind == Type::Local => false,
            Some(route) if route.dev == on => true,
            Some(_) if self.addresses(on).is_empty() => rp_filter == 0,
            Some(_) => rp_filter != 1,
        }
    }

    fn is_configured(&self, addr: Ipv4Addr) -> bool {
        self.slots().any(|slot| self.has(slot, addr))
    }

    /// `arp_ignore`.
    fn ignores(&self, on: Slot, tip: Ipv4Addr, sip: Option<Ipv4Addr>) -> bool {
        match self.max_conf(on, Knob::ArpIgnore) {
            1 => !self.confirms(on, None, tip, Scope::Host),
            2 => !self.confirms(on, sip, tip, Scope::Host),
            3 => !self
                .slots()
                .any(|slot| self.confirms(slot, None, tip, Scope::Link)),
            8 => true,
            _ => false,
        }
    }

    /// `confirm_addr_indev`, for one address: the device has it with that scope, and some subnet of the device
    /// has both it and `dst`.
    fn confirms(&self, slot: Slot, dst: Option<Ipv4Addr>, local: Ipv4Addr, scope: Scope) -> bool {
        let addresses = self.addresses(slot);
        let has_scope = |a: &Address| a.local() == local && a.scope.min(Scope::Host) <= scope;
        let has_both =
            |a: &Address| a.prefix.covers(local) && dst.is_none_or(|dst| a.prefix.covers(dst));
        addresses.iter().any(has_scope) && addresses.iter().any(has_both)
    }

    /// `arp_filter`: the way back does not leave by the device that heard.
    fn filters(&self, on: Slot, tip: Ipv4Addr, sip: Ipv4Addr) -> bool {
        if self.max_conf(on, Knob::ArpFilter) == 0 {
            return false;
        }
        let master = self.master(on);
        let leaves_by_on = self
            .fib
            .lookup(self.vrf_table(on), sip, None)
            .is_some_and(|route| route.kind == Type::Unicast && route.dev == on);
        // The kernel asks for a route out of the VRF itself, which must be up for that.
        !leaves_by_on || !self.may_send_from(tip) || master.is_some_and(|vrf| !self.is_up(vrf))
    }

    /// `__ip_dev_find` finds a device.
    fn may_send_from(&self, addr: Ipv4Addr) -> bool {
        self.is_configured(addr) || self.fib.is_local(LOCAL, addr)
    }
}

// arp_solicit.
impl Host {
    fn asks_as(&self, out: Slot, target: Ipv4Addr, from: Ipv4Addr) -> Option<Ipv4Addr> {
        if !self.leaves_by(out, target) {
            return None;
        }
        let is_local = self.fib.is_local(self.local_table(out), from);
        let takes_from = match self.max_conf(out, Knob::ArpAnnounce) {
            0 => is_local,
            1 => is_local && self.is_onlink(out, target, from),
            _ => false,
        };
        let sip = if takes_from {
            from
        } else {
            self.select(out, Some(target), Scope::Link, Self::is_hidden)
        };
        if !sip.is_unspecified() && self.may_not_announce(sip, out) {
            return Some(self.select(out, Some(target), Scope::Link, Self::is_concealed_device));
        }
        Some(sip)
    }

    /// A packet that is bound to a device goes out of it; without a route it is taken for a neighbour's, but
    /// not in a VRF.
    fn leaves_by(&self, out: Slot, target: Ipv4Addr) -> bool {
        match self.fib.lookup(self.vrf_table(out), target, Some(out)) {
            Some(route) => route.kind == Type::Unicast,
            None => self.domain(out).is_none(),
        }
    }

    /// `inet_addr_onlink`.
    fn is_onlink(&self, out: Slot, target: Ipv4Addr, from: Ipv4Addr) -> bool {
        self.addresses(out)
            .iter()
            .any(|address| address.prefix.covers(target) && address.prefix.covers(from))
    }
}

// ip_route_output.
impl Host {
    fn source(&self, to: Ipv4Addr, out: Option<Slot>) -> Option<Seen> {
        const UNREACHABLE: Option<Seen> = Some(Seen::Source(None));
        if out.is_some_and(|out| !self.is_up(out) || self.ip(out).is_none()) {
            return UNREACHABLE;
        }
        let domain = out.and_then(|out| self.domain(out));
        // To be bound to a VRF means: to any of its members.
        let oif = out.filter(|out| out.vrf_table().is_none());
        let vrf = out.and_then(|out| self.vrf_table(out));
        let source = match (self.fib.lookup(vrf, to, oif), out, domain) {
            (Some(route), ..) if self.ip(route.dev).is_none() => return UNREACHABLE,
            (Some(route), _, Some(vrf))
                if route.kind == Type::Unicast && self.domain(route.dev) != domain =>
            {
                self.select(vrf, None, Scope::Link, Self::is_hidden)
            }
            (Some(route), ..) => match route.prefsrc {
                Some(prefsrc) => prefsrc,
                None if self.has_stale_sources => return None,
                None => self.select(route.dev, None, route.scope, Self::is_hidden),
            },
            (None, Some(out), None) => self.select(out, None, Scope::Link, Self::is_hidden),
            (None, ..) => return UNREACHABLE,
        };
        // A connected socket looks its route up twice; the second time the source is given.
        if !source.is_unspecified() && !self.may_send_from(source) {
            return UNREACHABLE;
        }
        Some(Seen::Source(Some(source)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Operation, Outcome, Prefix};

    const ETH0: Slot = Slot::WIRES[0];
    const ETH1: Slot = Slot::WIRES[1];
    const LO: Slot = Slot::LO;
    const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
    const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const CASTS: [Cast; 3] = [Cast::Broadcast, Cast::Multicast, Cast::Unicast];

    fn apply(host: &mut Host, operations: &[Operation]) {
        for operation in operations {
            assert!(host.can_try(operation), "{operation:?}");
            assert_eq!(host.apply(operation), Outcome::Done, "{operation:?}");
        }
    }

    fn add(slot: Slot, addr: Ipv4Addr, len: u8) -> Operation {
        Operation::AddAddress(slot, Prefix::new(addr, len), Scope::Global)
    }

    fn write(slot: Slot, knob: Knob, value: i32) -> Operation {
        Operation::Write(Directory::Device(slot), knob, value)
    }

    fn all(knob: Knob, value: i32) -> Operation {
        Operation::Write(Directory::All, knob, value)
    }

    /// eth0 10.0.0.1/24, lo 10.0.0.100/32, both knobs enabled in `all`.
    fn real_server() -> Host {
        let mut host = Host::default();
        let enable = [all(Knob::Hidden, 1), all(Knob::ArpInvisible, 1)];
        apply(&mut host, &[add(ETH0, HOST, 24), add(LO, VIP, 32)]);
        apply(&mut host, &enable);
        host
    }

    fn slot(name: &str) -> Slot {
        Slot::all().find(|slot| slot.name(false) == name).unwrap()
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
            apply(&mut host, &[write(LO, knob, value)]);
            for cast in CASTS {
                let is_answered = cast == Cast::Unicast && value == 1;
                assert_eq!(answers(&host, ETH0, VIP, cast), is_answered);
                assert!(!host.answers(ETH0, VIP, None, cast));
                assert!(answers(&host, ETH0, HOST, cast));
            }
            apply(&mut host, &[all(knob, 0)]);
            assert!(answers(&host, ETH0, VIP, Cast::Broadcast));
        }
    }

    #[test]
    fn row_6_any_visible_owner_wins() {
        let mut host = real_server();
        apply(&mut host, &[write(LO, Knob::Hidden, 2), add(ETH1, VIP, 32)]);
        assert!(answers(&host, ETH0, VIP, Cast::Broadcast));
        apply(&mut host, &[write(ETH1, Knob::Hidden, 1)]);
        assert!(!answers(&host, ETH0, VIP, Cast::Broadcast));
        assert!(answers(&host, ETH0, VIP, Cast::Unicast));
        assert!(answers(&host, ETH1, VIP, Cast::Broadcast));
    }

    #[test]
    fn a_local_prefix_is_owned_by_its_device() {
        let mut host = real_server();
        let covered = Ipv4Addr::new(10, 7, 0, 9);
        apply(&mut host, &[add(LO, Ipv4Addr::new(10, 7, 0, 1), 28)]);
        assert!(answers(&host, ETH0, covered, Cast::Broadcast));
        apply(&mut host, &[write(LO, Knob::Hidden, 1)]);
        assert!(!answers(&host, ETH0, covered, Cast::Broadcast));
        // Row 9: gratuitous ARP is untouched.
        assert!(host.answers(ETH0, covered, Some(covered), Cast::Broadcast));
    }

    #[test]
    fn an_l3_domain_has_its_own_owners() {
        let (red, vip0) = (slot("red"), slot("vip0"));
        let mut host = real_server();
        let build = [Operation::Create(red), Operation::Create(vip0)];
        apply(&mut host, &build);
        apply(
            &mut host,
            &[Operation::Enslave(ETH1, red), write(LO, Knob::Hidden, 1)],
        );
        // The rule for the table "local" comes first; there is no owner in the domain.
        assert!(answers(&host, ETH1, VIP, Cast::Broadcast));
        assert!(!host.answers(ETH1, VIP, None, Cast::Broadcast));
        apply(
            &mut host,
            &[Operation::Enslave(vip0, red), add(vip0, VIP, 32)],
        );
        apply(&mut host, &[write(vip0, Knob::Hidden, 1)]);
        assert!(!answers(&host, ETH1, VIP, Cast::Broadcast));
        apply(&mut host, &[write(vip0, Knob::Hidden, 0)]);
        assert!(answers(&host, ETH1, VIP, Cast::Broadcast));
        assert!(!answers(&host, ETH0, VIP, Cast::Broadcast));
    }

    #[test]
    fn rows_11_to_14_a_concealed_sender() {
        let target = Ipv4Addr::new(10, 0, 0, 200);
        let mut host = real_server();
        assert_eq!(host.asks_as(ETH0, target, VIP), Some(VIP));
        apply(&mut host, &[write(LO, Knob::ArpInvisible, 1)]);
        assert_eq!(host.asks_as(ETH0, target, VIP), Some(HOST));
        assert_eq!(host.asks_as(ETH1, target, VIP), Some(HOST));
        apply(&mut host, &[write(ETH0, Knob::Hidden, 1)]);
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
        apply(&mut host, &[write(LO, Knob::Hidden, 1)]);
        assert_eq!(source(&host), seen(HOST));
        apply(
            &mut host,
            &[add(ETH1, NEIGHBOUR, 32), write(ETH1, Knob::Hidden, 1)],
        );
        assert_eq!(source(&host), seen(NEIGHBOUR));
    }

    #[test]
    fn row_10_the_kernels_own_rules_keep_working() {
        let mut host = real_server();
        for (value, vip, own) in [(1, false, true), (3, true, true), (8, false, false)] {
            apply(&mut host, &[all(Knob::ArpIgnore, value)]);
            assert_eq!(answers(&host, ETH0, VIP, Cast::Broadcast), vip);
            assert_eq!(answers(&host, ETH0, HOST, Cast::Broadcast), own);
        }
        apply(
            &mut host,
            &[all(Knob::ArpIgnore, 0), all(Knob::ArpFilter, 1)],
        );
        assert!(answers(&host, ETH0, VIP, Cast::Broadcast));
        assert!(!answers(&host, ETH1, VIP, Cast::Broadcast));
        apply(
            &mut host,
            &[all(Knob::ArpFilter, 0), all(Knob::RpFilter, 1)],
        );
        assert!(answers(&host, ETH0, VIP, Cast::Broadcast));
        assert!(!answers(&host, ETH1, VIP, Cast::Broadcast));
    }
}
