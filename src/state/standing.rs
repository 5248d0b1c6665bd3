// SPDX-License-Identifier: GPL-2.0

//! Finds the owners of an address, and how it stands because of them.

use super::{flags_of, Concealer, Namespace, Owner};
use crate::{
    abi::{
        inetaddr::Configured,
        net::Net,
        netdevice::{NetDevice, LOOPBACK_IFINDEX}, //
    },
    policy::{Reply, Standing, Why}, //
};
use core::{net::Ipv4Addr, ptr};
use kernel::sync::rcu;

impl Namespace {
    /// Returns how `addr` stands for `here`, the device that received or will send an ARP packet with it. In the packet
    /// path.
    ///
    /// The owners are the devices in `here`'s l3 domain that have the address configured. If there are none, but the
    /// kernel considers the address local on `here`, it has a local route, perhaps in another l3 domain. Then the
    /// owners are the devices in the route's domain that have the address configured, or else the route's device. An
    /// example are the sixteen addresses of `ip addr add 10.0.0.0/28 dev lo`.
    #[inline]
    pub(crate) fn standing<'a>(
        &'a self,
        net: &'a Net,
        addr: u32,
        here: &'a NetDevice,
        rcu: &'a rcu::Guard,
    ) -> Standing<Concealer<'a>> {
        let addr = Ipv4Addr::from_bits(addr);
        // Fast path: most requests are for foreign addresses or for the device's own.
        match self.index.get(addr, rcu).next() {
            None if !self.routes.may_reach(addr) => return Standing::NotOurs,
            Some(first) if ptr::eq(first.device(), here) && !flags_of(first).conceal() => {
                return Standing::Visible;
            }
            _ => {}
        }
        self.standing_of_local(net, addr, here, rcu)
    }

    /// Does what [`Self::standing`] does, for an address that is configured somewhere or may have a route.
    #[inline(never)]
    fn standing_of_local<'a>(
        &'a self,
        net: &'a Net,
        addr: Ipv4Addr,
        here: &'a NetDevice,
        rcu: &'a rcu::Guard,
    ) -> Standing<Concealer<'a>> {
        match self.standing_in_domain(addr, here, here, rcu) {
            Standing::NotOurs => {}
            standing => return standing,
        }
        let Some(routed) = net.local_route(addr, here, rcu) else {
            return Standing::NotOurs;
        };
        match self.standing_in_domain(addr, routed, here, rcu) {
            Standing::NotOurs => {
                let (owner, flags) = self.concealer(routed, rcu);
                Standing::of([(owner, flags, is(routed, here))].into_iter())
            }
            standing => standing,
        }
    }

    /// Returns how `addr` stands, with the devices in `member`'s l3 domain that have it configured as owners.
    fn standing_in_domain<'a>(
        &'a self,
        addr: Ipv4Addr,
        member: &'a NetDevice,
        here: &'a NetDevice,
        rcu: &'a rcu::Guard,
    ) -> Standing<Concealer<'a>> {
        let owners = self.owners(addr, member, rcu);
        Standing::of(owners.map(|owner| {
            let (dev, known) = (owner.device(), owner.owner().as_deref());
            (Concealer::new(dev, known), flags_of(owner), is(dev, here))
        }))
    }

    /// Returns the configured addresses that equal `addr`, on devices in `member`'s l3 domain.
    fn owners<'a>(
        &'a self,
        addr: Ipv4Addr,
        member: &'a NetDevice,
        rcu: &'a rcu::Guard,
    ) -> impl Iterator<Item = &'a Configured<Owner>> {
        self.index.get(addr, rcu).filter(move |owner| {
            let dev = owner.device();
            is(dev, member) || dev.l3_domain(rcu) == member.l3_domain(rcu)
        })
    }

    /// Whether every packet being handled was received after the last concealed address and the last local route became
    /// known. In the packet path.
    ///
    /// Orders the caller's earlier reads before its later ones.
    #[inline]
    pub(crate) fn is_settled(&self) -> bool {
        self.index.is_settled() & self.routes.is_settled()
    }

    /// Lets the reply to the current request for `addr` pass although `addr` is concealed (row 2).
    pub(crate) fn let_reply(&self, addr: u32, rcu: &rcu::Guard) {
        if !self.is_settled() {
            let owners = self.index.get(Ipv4Addr::from_bits(addr), rcu);
            owners.for_each(Configured::let_reply);
        }
    }

    /// Returns whether to drop a reply out of `here` that has `addr` as its sender: the request may have passed
    /// NF_ARP_IN before the address, or the route to it, was known (row 31).
    ///
    /// A later request has been checked against the flags already, so its reply may go.
    pub(crate) fn reply<'a>(
        &'a self,
        net: &'a Net,
        addr: u32,
        here: &'a NetDevice,
        rcu: &'a rcu::Guard,
    ) -> Reply<Concealer<'a>> {
        let addr = Ipv4Addr::from_bits(addr);
        let why = match self.standing_of_local(net, addr, here, rcu) {
            Standing::Concealed {
                why, here: false, ..
            } => why,
            Standing::NotOurs if self.index.get(addr, rcu).next().is_none() => {
                return self.reply_for_nobody(net, rcu);
            }
            _ => return Reply::Due,
        };
        let mut owners = self.owners(addr, why.owner.dev, rcu).peekable();
        let known = match owners.peek() {
            Some(_) => owners.any(Configured::was_known),
            None => self.routes.is_settled(),
        };
        if known {
            Reply::Due
        } else {
            Reply::Early(Some(why))
        }
    }

    /// Decides about a reply for an address that is not this host's: it is a proxy's, or what it is due to has gone
    /// since.
    fn reply_for_nobody<'a>(&'a self, net: &'a Net, rcu: &'a rcu::Guard) -> Reply<Concealer<'a>> {
        // The routes of lo's prefixes go one after the other.
        if !self.routes.is_settled() {
            let lo = net
                .device(LOOPBACK_IFINDEX, rcu)
                .map(|lo| self.concealer(lo, rcu));
            if let Some((owner, flags)) = lo.filter(|(_, flags)| flags.conceal()) {
                return Reply::Early(Some(Why { owner, flags }));
            }
        }
        if self.index.has_undone() {
            Reply::Early(None)
        } else {
            Reply::Due
        }
    }

    /// Whether `addr` is configured, but on no hidden device.
    #[inline]
    pub(crate) fn is_visible(&self, addr: Ipv4Addr, rcu: &rcu::Guard) -> bool {
        let is_hidden = |owner: &Configured<Owner>| {
            let device = owner.owner().as_ref();
            device.is_some_and(|device| device.in_force.hide())
        };
        let mut owners = self.index.get(addr, rcu);
        owners.next().is_some_and(|first| !is_hidden(first)) && !owners.any(is_hidden)
    }

    /// Returns how many addresses of a device with flags in force are concealed: every owner in the device's l3 domain
    /// is concealed. Addresses of 127.0.0.0/8 do not count: ARP does not carry them. Linear in the device's addresses.
    pub(crate) fn concealed(&self, dev: &NetDevice, rcu: &rcu::Guard) -> usize {
        let domain = dev.l3_domain(rcu);
        let conceals = |owner: &Configured<Owner>| {
            owner.device().l3_domain(rcu) != domain || flags_of(owner).conceal()
        };
        dev.in_device(rcu).map_or(0, |in_dev| {
            in_dev
                .addresses(rcu)
                .filter(|ifa| !ifa.local().is_loopback())
                .filter(|ifa| self.index.get(ifa.local(), rcu).all(conceals))
                .count()
        })
    }
}

/// Whether two references are to the same device. Both must be in the same namespace.
fn is(dev: &NetDevice, other: &NetDevice) -> bool {
    dev.ifindex() == other.ifindex()
}
