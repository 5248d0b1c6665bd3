// SPDX-License-Identifier: GPL-2.0

//! Warnings about a configuration that does not do what its author expects: each is logged when the configuration
//! comes about, and once.

use crate::{
    abi::{
        net::{self, Net, PerNet},
        netdevice::{InIfaddr, NetDevice},
        rtnl::Rtnl, //
    },
    state::Namespace, //
};
use core::net::Ipv4Addr;
use kernel::{
    prelude::*,
    sync::rcu, //
};

/// How many devices and addresses the wide-prefix check examines at most: it runs under the RTNL. A host with more
/// gets them from a program, which knows what it does.
pub(crate) const ON_A_WRITE: usize = 1 << 12;
/// The same where an address is added, which must not take longer on a host that has many.
const ON_AN_ADDRESS: usize = 1 << 8;

/// A device is hidden, but the module was loaded with `source_selection=0`.
pub(crate) fn selection_is_off() {
    kernel::pr_warn_once!(
        "source_selection=0: hidden addresses may still be selected as source addresses\n"
    );
}

/// The selection of a source for what leaves by `dev` has passed over `hidden`, and nothing is left. In any context
/// that the kernel selects addresses in.
///
/// This is what happens on a host with unnumbered uplinks whose own address is on a hidden interface.
pub(crate) fn no_source(
    namespace: &Namespace,
    dev: &NetDevice,
    hidden: &NetDevice,
    selected: Ipv4Addr,
    rcu: &rcu::Guard,
) {
    let Some(known) = namespace.known(dev, rcu) else {
        return;
    };
    if known.noticed.no_source.is_over() || !net::ratelimit() {
        return;
    }
    known.noticed.no_source.note();
    pr_warn!(
        "{}: no source address is left: {:?} is on {}, which is hidden, and there is no other\n",
        dev.name_rcu(rcu),
        selected,
        hidden.name_rcu(rcu),
    );
}

/// An address has been added in a namespace with so many concealed devices.
pub(crate) fn address_added(ifa: &InIfaddr, concealed: usize, rtnl: &mut Rtnl) {
    let net = ifa.device().net();
    let conceals = |dev| Namespace::of(net).flags(dev, &rcu::read_lock()).conceal();
    // Addresses of /32 on a concealed device, which is what VIPs are, have nothing to warn about.
    if concealed != 0 && (is_wide(ifa) || !conceals(ifa.device())) {
        look_for_wide_prefixes(net, ON_AN_ADDRESS, rtnl);
    }
}

/// Looks for concealed addresses with a prefix that takes in a visible device's address, and logs a warning for each
/// device once.
///
/// The kernel routes a prefix to the device that has an address of it, with that address as the source, which
/// a flag leaves alone: a VIP with the mask of its network instead of /32 takes that network away from the
/// device that it is on. On lo, all of the network becomes local; on another device it has a second connected
/// route, and which of them counts depends on the order of events.
///
/// Examines at most so many devices and addresses.
pub(crate) fn look_for_wide_prefixes(net: &Net, mut looks: usize, _: &mut Rtnl) {
    let rcu = rcu::read_lock();
    let namespace = Namespace::of(net);
    for dev in net.devices(&rcu) {
        if spend(&mut looks).is_none() {
            return;
        }
        let Some(known) = namespace.known(dev, &rcu) else {
            continue;
        };
        if known.noticed.wide_prefix.is_over() || !known.in_force.get().conceal() {
            continue;
        }
        let Some((ifa, other)) = wide_prefix(net, namespace, dev, &mut looks, &rcu) else {
            continue;
        };
        if net::ratelimit() {
            known.noticed.wide_prefix.note();
            pr_warn!(
                "{}: concealed {:?}/{} routes the network of {} too, with {:?} as the source: should it be /32?\n",
                dev.name_rcu(&rcu),
                ifa.local(),
                ifa.prefix_len(),
                other.name_rcu(&rcu),
                ifa.local(),
            );
        }
    }
}

/// Takes one of the looks that are left; `None` if none is.
fn spend(looks: &mut usize) -> Option<()> {
    *looks = looks.checked_sub(1)?;
    Some(())
}

/// An address of `dev` with a prefix that takes in an address of a visible device, and that device, if `looks`
/// reach that far.
fn wide_prefix<'a>(
    net: &'a Net,
    namespace: &Namespace,
    dev: &'a NetDevice,
    looks: &mut usize,
    rcu: &'a rcu::Guard,
) -> Option<(&'a InIfaddr, &'a NetDevice)> {
    let domain = dev.l3_domain(rcu);
    for ifa in addresses(dev, rcu) {
        spend(looks)?;
        if !is_wide(ifa) {
            continue;
        }
        for other in net.devices(rcu) {
            spend(looks)?;
            if other.l3_domain(rcu) != domain || namespace.flags(other, rcu).conceal() {
                continue;
            }
            for theirs in addresses(other, rcu) {
                spend(looks)?;
                if ifa.covers(theirs.local()) {
                    return Some((ifa, other));
                }
            }
        }
    }
    None
}

/// Whether an address makes routes to others than itself. 127.0.0.0/8 is everybody's.
fn is_wide(ifa: &InIfaddr) -> bool {
    ifa.prefix_len() < 32 && !ifa.local().is_loopback()
}

fn addresses<'a>(dev: &'a NetDevice, rcu: &'a rcu::Guard) -> impl Iterator<Item = &'a InIfaddr> {
    dev.in_device(rcu)
        .into_iter()
        .flat_map(|in_dev| in_dev.addresses(rcu))
}
