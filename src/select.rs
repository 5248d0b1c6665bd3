// SPDX-License-Identifier: GPL-2.0

//! Keeps hidden addresses out of source address selection (rows 16 to 20).
//!
//! All of the kernel selects sources through `inet_select_addr(D, ...)`. It returns an address of D if D has a usable
//! one, and falls back to the VRF master and then to all other devices if not. Only the fall-back must skip hidden
//! devices. So the replacement calls the kernel's function first, and repeats the fall-back without hidden devices only
//! if that returned a hidden device's address.

use crate::{
    abi::{
        ftrace::{inet_select_addr, Redirect, SelectAddr},
        inetdevice::{InIfaddr, RT_SCOPE_HOST, RT_SCOPE_LINK},
        net::PerNet,
        netdevice::NetDevice,
        rcu::SchedGuard,
        rtnl::{self, Rtnl, RtnlCell},
        trace::SourceRedirected, //
    },
    notice,
    policy::{Flags, Why},
    state::{self, Concealer, Event, Namespace}, //
};
use core::net::Ipv4Addr;
use kernel::{prelude::*, sync::rcu};

struct Switch {
    /// How many namespaces have hidden devices. The redirection is in place while any has.
    users: usize,
    /// Nothing before [`Redirection::prepare`], and if `source_selection` is 0.
    redirect: Option<Pin<KBox<Redirect<Select>>>>,
}

static SWITCH: RtnlCell<Switch> = RtnlCell::new(Switch {
    users: 0,
    redirect: None,
});

/// Stands for the redirection, from the module's loading to its unloading. Dropping it sleeps, some tenths of a second.
pub(crate) struct Redirection(());

impl Redirection {
    /// Prepares it and tries it once, so that loading fails if it cannot work. Meanwhile the kernel selects through
    /// [`Select`], so namespaces must have their state. Sleeps.
    pub(crate) fn prepare() -> Result<Self> {
        if state::selects_sources() {
            let redirect = || KBox::pin_init(Redirect::new(), GFP_KERNEL);
            let probe = redirect()?;
            put(&probe, &rtnl::lock())?;
            drop(probe);
            SWITCH.get_mut(&mut rtnl::lock()).redirect = Some(redirect()?);
        }
        Ok(Self(()))
    }
}

impl Drop for Redirection {
    fn drop(&mut self) {
        let redirect = SWITCH.get_mut(&mut rtnl::lock()).redirect.take();
        // Without the RTNL.
        drop(redirect);
    }
}

fn put(redirect: &Redirect<Select>, rtnl: &Rtnl) -> Result {
    redirect.put(rtnl).inspect_err(|error| {
        if *error == EBUSY {
            pr_err!("cannot redirect inet_select_addr: held by another user of ftrace (a live patch?), or kernel.ftrace_enabled is 0; fix that, or load with source_selection=0\n");
        } else {
            pr_err!("cannot redirect inet_select_addr ({error:?}); source_selection=0 does without it\n");
        }
    })
}

/// Redirects source selection for one more namespace with hidden devices. Sleeps.
pub(crate) fn arm(rtnl: &mut Rtnl) -> Result {
    if let Some(redirect) = &SWITCH.get(rtnl).redirect {
        put(redirect, rtnl)?;
    }
    SWITCH.get_mut(rtnl).users += 1;
    Ok(())
}

/// Ends the redirection for a namespace. If it was the last one, the redirection is taken out later. Does not wait.
pub(crate) fn disarm(rtnl: &mut Rtnl) {
    let switch = SWITCH.get_mut(rtnl);
    switch.users -= 1;
    if switch.users != 0 {
        return;
    }
    if let Some(redirect) = &SWITCH.get(rtnl).redirect {
        redirect.take_out(rtnl);
    }
}

/// The replacement of `inet_select_addr`.
struct Select;

impl SelectAddr for Select {
    #[inline]
    fn select(dev: &NetDevice, dst: Ipv4Addr, scope: u8) -> Ipv4Addr {
        let selected = inet_select_addr(dev, dst, scope);
        if stands(selected, dev) {
            selected
        } else {
            select_anew(selected, dev, dst, scope)
        }
    }
}

/// Whether `selected` stands: no device of the namespace is hidden, or a device owns it and no hidden device does. This
/// is the common case.
#[inline]
fn stands(selected: Ipv4Addr, dev: &NetDevice) -> bool {
    let rcu = SchedGuard::new();
    let namespace = Namespace::of_rcu(dev.net(), &rcu);
    !namespace.hides() || namespace.is_visible(selected, &rcu)
}

/// Returns the address to use in place of `selected`, which may be `selected` itself.
#[inline(never)]
fn select_anew(selected: Ipv4Addr, dev: &NetDevice, dst: Ipv4Addr, scope: u8) -> Ipv4Addr {
    let rcu = rcu::read_lock();
    if selected.is_unspecified() || has_usable(dev, scope, &rcu) {
        selected
    } else {
        let (other, passed_over) = fall_back(dev, scope, Flags::hide, &rcu);
        if let Some(why) = passed_over.filter(|_| other != selected) {
            why.owner.count(Event::Redirected);
            SourceRedirected {
                dev,
                dst,
                scope,
                saddr: selected,
                selected: other,
                owner: why.owner.dev,
                hidden: why.flags.hidden,
            }
            .trace(&rcu);
            if other.is_unspecified() {
                let namespace = Namespace::of(dev.net());
                notice::no_source(namespace, dev, why.owner.dev, selected, &rcu);
            }
        }
        other
    }
}

/// Returns the address to announce to `target` in place of a concealed one: what `inet_select_addr` selects, skipping
/// every concealed device in its fall-back.
pub(crate) fn announceable(out: &NetDevice, target: Ipv4Addr, rcu: &rcu::Guard) -> Ipv4Addr {
    if has_usable(out, RT_SCOPE_LINK, rcu) {
        inet_select_addr(out, target, RT_SCOPE_LINK)
    } else {
        fall_back(out, RT_SCOPE_LINK, Flags::conceal, rcu).0
    }
}

/// Whether `inet_select_addr` finds an address on `dev` itself.
fn has_usable(dev: &NetDevice, scope: u8, rcu: &rcu::Guard) -> bool {
    dev.in_device(rcu).is_some_and(|in_dev| {
        let localnet_scope = if in_dev.route_localnet() {
            RT_SCOPE_LINK
        } else {
            RT_SCOPE_HOST
        };
        in_dev
            .addresses(rcu)
            .any(|ifa| !ifa.is_secondary() && ifa.scope().min(localnet_scope) <= scope)
    })
}

/// Repeats the fall-back of `inet_select_addr`, without the devices that `skip` selects by their flags: the VRF master
/// first, then all devices of the l3 domain in the kernel's order. Also returns the first skipped device that has a
/// usable address: there the kernel would have stopped.
fn fall_back<'a>(
    dev: &'a NetDevice,
    scope: u8,
    skip: fn(Flags) -> bool,
    rcu: &'a rcu::Guard,
) -> (Ipv4Addr, Option<Why<Concealer<'a>>>) {
    let net = dev.net();
    let namespace = Namespace::of(net);
    let domain = dev.l3_domain(rcu);
    let master = net.device(domain, rcu);
    let members = net
        .devices(rcu)
        .filter(|member| member.l3_domain(rcu) == domain);
    let mut passed_over = None;
    for member in Iterator::chain(master.into_iter(), members) {
        let Some(ifa) = select_from(member, scope, rcu) else {
            continue;
        };
        let (owner, flags) = namespace.concealer(member, rcu);
        if !skip(flags) {
            return (ifa.local(), passed_over);
        }
        passed_over = passed_over.or(Some(Why { owner, flags }));
    }
    (Ipv4Addr::UNSPECIFIED, passed_over)
}

/// Does what `in_dev_select_addr` of net/ipv4/devinet.c does.
fn select_from<'a>(dev: &'a NetDevice, scope: u8, rcu: &'a rcu::Guard) -> Option<&'a InIfaddr> {
    dev.in_device(rcu)?
        .addresses(rcu)
        .find(|ifa| !ifa.is_secondary() && ifa.scope() != RT_SCOPE_LINK && ifa.scope() <= scope)
}
