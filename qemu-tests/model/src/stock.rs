// SPDX-License-Identifier: GPL-2.0

//! The replies, announcements and selections of the stock kernel, which call the rows of the semantics where the module
//! hooks it: net/ipv4/arp.c, fib_frontend.c and route.c.

use crate::{
    fib::{Type, LOCAL},
    host::{Address, Host},
    operation::{Knob, Slot},
    prefix::Scope,
    probe::{Cast, Seen},
};
use std::net::Ipv4Addr;

// arp_process.
impl Host {
    pub(crate) fn answers(
        &self,
        on: Slot,
        tip: Ipv4Addr,
        sip: Option<Ipv4Addr>,
        cast: Cast,
    ) -> bool {
        let is_local = match sip {
            None => self.fib.is_local(self.local_table(on), tip),
            Some(sip) => self.takes_for_its_own(on, tip, sip),
        };
        is_local
            && !self.ignores(on, tip, sip)
            && !sip.is_some_and(|sip| self.filters(on, tip, sip))
            && !self.is_silent(on, tip, sip, cast)
    }

    /// Whether `ip_route_input` returns a local route.
    fn takes_for_its_own(&self, on: Slot, tip: Ipv4Addr, sip: Ipv4Addr) -> bool {
        self.fib
            .lookup(self.vrf_table(on), tip, None)
            .is_some_and(|route| route.kind == Type::Local)
            && self.is_valid_source(on, sip)
    }

    /// `fib_validate_source`.
    fn is_valid_source(&self, on: Slot, src: Ipv4Addr) -> bool {
        let rp_filter = self.max_conf(on, Knob::RpFilter);
        let accepts_local = self.max_conf(on, Knob::AcceptLocal) != 0;
        if rp_filter == 0 && accepts_local {
            return true;
        }
        if rp_filter == 0 && !self.fib.has_rules() {
            return !self.is_configured(src);
        }
        match self.fib.lookup(self.vrf_table(on), src, None) {
            None => rp_filter == 0,
            Some(route) if route.kind == Type::Local && !accepts_local => false,
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

    /// `confirm_addr_indev` for one address: whether the device has it with that scope, and a subnet of the device contains
    /// both it and `dst`.
    fn confirms(&self, slot: Slot, dst: Option<Ipv4Addr>, local: Ipv4Addr, scope: Scope) -> bool {
        let addresses = self.addresses(slot);
        let has_scope = |a: &Address| a.local() == local && a.scope.min(Scope::Host) <= scope;
        let has_both =
            |a: &Address| a.prefix.covers(local) && dst.is_none_or(|dst| a.prefix.covers(dst));
        addresses.iter().any(has_scope) && addresses.iter().any(has_both)
    }

    /// `arp_filter`: whether the route back does not leave through the receiving device.
    fn filters(&self, on: Slot, tip: Ipv4Addr, sip: Ipv4Addr) -> bool {
        if self.max_conf(on, Knob::ArpFilter) == 0 {
            return false;
        }
        let master = self.master(on);
        let leaves_by_on = self
            .fib
            .lookup(self.vrf_table(on), sip, None)
            .is_some_and(|route| route.kind == Type::Unicast && route.dev == on);
        // The kernel looks up a route out of the VRF itself, which must be up for that.
        !leaves_by_on || !self.may_send_from(tip) || master.is_some_and(|vrf| !self.is_up(vrf))
    }

    /// Whether `__ip_dev_find` finds a device.
    fn may_send_from(&self, addr: Ipv4Addr) -> bool {
        self.is_configured(addr) || self.fib.is_local(LOCAL, addr)
    }
}

// arp_solicit.
impl Host {
    pub(crate) fn asks_as(&self, out: Slot, target: Ipv4Addr, from: Ipv4Addr) -> Option<Ipv4Addr> {
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

    /// Whether a packet bound to a device leaves through it. Without a route, the target counts as on-link, except in a VRF.
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
    pub(crate) fn source(&self, to: Ipv4Addr, out: Option<Slot>) -> Option<Seen> {
        const UNREACHABLE: Option<Seen> = Some(Seen::Source(None));
        if out.is_some_and(|out| !self.is_up(out) || self.ip(out).is_none()) {
            return UNREACHABLE;
        }
        let domain = out.and_then(|out| self.domain(out));
        // A socket that is bound to a VRF may use any of its members.
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
        // Connecting looks the route up twice. The second time, the source is given.
        if !source.is_unspecified() && !self.may_send_from(source) {
            return UNREACHABLE;
        }
        Some(Seen::Source(Some(source)))
    }
}
