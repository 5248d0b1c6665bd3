// SPDX-License-Identifier: GPL-2.0

//! Logs warnings about configurations that do not do what their author expects: once each, when the configuration
//! arises.

use crate::{
    abi::{
        inetdevice::InIfaddr,
        net::{self, Net, PerNet},
        netdevice::NetDevice,
        rtnl::Rtnl, //
    },
    state::Namespace, //
};
use core::net::Ipv4Addr;
use kernel::{
    prelude::*,
    sync::rcu, //
};

/// The most devices and addresses that the wide-prefix check examines after a write, because it runs under the RTNL.
/// Larger hosts are configured by programs, which rarely mistype a prefix.
pub(crate) const ON_A_WRITE: usize = 1 << 12;
/// The same after an address was added. This must not get slower on a host that has many.
const ON_AN_ADDRESS: usize = 1 << 8;

/// Warns that a device is hidden while the module was loaded with `source_selection=0`.
pub(crate) fn selection_is_off() {
    kernel::pr_warn_once!(
        "source_selection=0: hidden addresses may still be selected as source addresses\n"
    );
}

/// Warns that source selection for packets leaving by `dev` skipped `hidden`, and no address was left. In any context
/// in which the kernel selects addresses.
///
/// Happens on hosts with unnumbered uplinks whose own address is on a hidden device.
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

/// Checks a new address in a namespace with `concealed` concealed devices.
pub(crate) fn address_added(ifa: &InIfaddr, concealed: usize, rtnl: &mut Rtnl) {
    let net = ifa.device().net();
    let conceals = |dev| Namespace::of(net).flags(dev, &rcu::read_lock()).conceal();
    // Fast path: a VIP with /32 on a concealed device cannot cause the warning.
    if concealed != 0 && (is_wide(ifa) || !conceals(ifa.device())) {
        look_for_wide_prefixes(net, ON_AN_ADDRESS, rtnl);
    }
}

/// Warns about concealed addresses whose prefix covers an address of a visible device, once for each concealed device.
///
/// The kernel routes the prefix of an address to its device, with the address as the source, and the flags do not
/// change routes. So a VIP with the mask of its network instead of /32 takes that network away from the device that
/// it is on. On lo, the whole network becomes local. On another device, the network has two connected routes, and
/// which one is used depends on their order of creation.
///
/// Examines at most `looks` devices and addresses.
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

/// Uses up one look. Returns `None` if none is left.
fn spend(looks: &mut usize) -> Option<()> {
    *looks = looks.checked_sub(1)?;
    Some(())
}

/// Returns an address of `dev` whose prefix covers an address of a visible device, and that device, if they are found
/// within `looks`.
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

/// Whether an address brings a route to others than itself. 127.0.0.0/8 does not count: every host has it.
fn is_wide(ifa: &InIfaddr) -> bool {
    ifa.prefix_len() < 32 && !ifa.local().is_loopback()
}

fn addresses<'a>(dev: &'a NetDevice, rcu: &'a rcu::Guard) -> impl Iterator<Item = &'a InIfaddr> {
    dev.in_device(rcu)
        .into_iter()
        .flat_map(|in_dev| in_dev.addresses(rcu))
}
