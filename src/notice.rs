// SPDX-License-Identifier: GPL-2.0

//! What the kernel log says of a configuration that is not what its author meant, at the moment it comes about,
//! and once.

use crate::{
    abi::{
        net::{self, Net},
        netdevice::{InIfaddr, NetDevice},
        rtnl::Rtnl, //
    },
    namespace::Namespace, //
};
use kernel::{
    prelude::*,
    sync::{atomic::Relaxed, rcu}, //
};

/// So many devices and addresses are looked at. A host with more has them from a program, which knows what it
/// does; and what is done for each address that is added must not grow with those that are there.
const LOOKS: usize = 1 << 12;

/// A device is hidden, and the module was loaded not to care for the selection of sources.
pub(crate) fn selection_is_off() {
    kernel::pr_warn_once!(
        "source_selection=0: hidden addresses may still be selected as source addresses\n"
    );
}

/// Looks for concealed addresses with a prefix that takes in a visible device's address, and says so of each
/// device once.
///
/// The kernel routes a prefix to the device that has an address of it, with that address as the source, which
/// a flag leaves alone: a VIP with the mask of its network instead of /32 takes that network away from the
/// device that it is on. On lo, all of the network becomes local; on another device it has a second connected
/// route, and which of them counts depends on the order of events.
///
/// Called under the RTNL, so it does not look at more than [`LOOKS`] devices and addresses.
pub(crate) fn look_for_wide_prefixes(net: &Net, namespace: &Namespace, _: &mut Rtnl) {
    let rcu = rcu::read_lock();
    let mut looks = LOOKS;
    for dev in net.devices(&rcu) {
        if spend(&mut looks).is_none() {
            return;
        }
        let Some(noticed) = namespace.noticed(dev, &rcu) else {
            continue;
        };
        if noticed.load(Relaxed) || !namespace.flags(dev, &rcu).conceal() {
            continue;
        }
        let Some((ifa, other)) = wide_prefix(net, namespace, dev, &mut looks, &rcu) else {
            continue;
        };
        if net::ratelimit() {
            noticed.store(true, Relaxed);
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

/// Whether an address brings a route to more than itself. 127.0.0.0/8 is everybody's.
pub(crate) fn is_wide(ifa: &InIfaddr) -> bool {
    ifa.prefix_len() < 32 && !ifa.local().is_loopback()
}

fn addresses<'a>(dev: &'a NetDevice, rcu: &'a rcu::Guard) -> impl Iterator<Item = &'a InIfaddr> {
    dev.in_device(rcu)
        .into_iter()
        .flat_map(|in_dev| in_dev.addresses(rcu))
}
