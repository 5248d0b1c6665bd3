// SPDX-License-Identifier: GPL-2.0

//! The IPv4 state of network devices, and their addresses.
//!
//! C header: [`include/linux/inetdevice.h`](srctree/include/linux/inetdevice.h)

use super::{
    bindings,
    netdevice::NetDevice,
    rtnl::Rtnl, //
};
use core::{
    iter,
    net::Ipv4Addr,
    sync::atomic::{AtomicPtr, AtomicU32, Ordering},
};
use kernel::{
    sync::rcu,
    types::Opaque, //
};

/// The scope of addresses that are valid only on the link.
pub(crate) const RT_SCOPE_LINK: u8 = bindings::rt_scope_t_RT_SCOPE_LINK as u8;
/// The scope of addresses that are valid only on this host.
pub(crate) const RT_SCOPE_HOST: u8 = bindings::rt_scope_t_RT_SCOPE_HOST as u8;

/// The IPv4 state of a device (`struct in_device`).
///
/// # Invariants
///
/// It is alive for as long as a reference to it lives.
#[repr(transparent)]
pub(crate) struct InDevice(Opaque<bindings::in_device>);

impl InDevice {
    /// Whether `conf/IF/route_localnet` is in effect (`IN_DEV_ROUTE_LOCALNET`).
    pub(crate) fn route_localnet(&self) -> bool {
        // SAFETY: The state is alive by the type invariants.
        unsafe { bindings::in_dev_route_localnet(self.0.get()) }
    }

    /// Whether a user has given the device an address or, for a loopback device, set it up. From then on, writes to
    /// `conf/default` leave the device alone (`ipv4_devconf_setall`).
    pub(crate) fn is_configured(&self) -> bool {
        // SAFETY: The state is alive by the type invariants.
        unsafe { bindings::in_dev_is_configured(self.0.get()) }
    }

    /// Returns the addresses, in the kernel's order: primaries by scope, then secondaries.
    pub(crate) fn addresses<'a>(&'a self, _: &'a rcu::Guard) -> impl Iterator<Item = &'a InIfaddr> {
        // SAFETY: The state is alive by the type invariants. Addresses are freed a grace period after they were
        // unlinked, which cannot end before the guard is dropped.
        unsafe { self.walk() }
    }

    /// Does what [`Self::addresses`] does, under the RTNL.
    pub(crate) fn addresses_rtnl<'a>(&'a self, _: &'a Rtnl) -> impl Iterator<Item = &'a InIfaddr> {
        // SAFETY: The state is alive by the type invariants. Addresses are unlinked only under the RTNL.
        unsafe { self.walk() }
    }

    /// # Safety
    ///
    /// No address of the list may be freed during `'a`.
    unsafe fn walk<'a>(&self) -> impl Iterator<Item = &'a InIfaddr> {
        let load = |link: *mut *mut bindings::in_ifaddr| {
            // Acquire pairs with `rcu_assign_pointer`.
            // SAFETY: `link` is a field of the live state or of a live address, which the kernel changes with a single
            // store.
            let ifa = unsafe { AtomicPtr::from_ptr(link) }.load(Ordering::Acquire);
            // SAFETY: The caller promises that the address is not freed, and the type is transparent.
            unsafe { ifa.cast::<InIfaddr>().as_ref() }
        };
        // SAFETY: The state is alive by the type invariants.
        let head = unsafe { &raw mut (*self.0.get()).ifa_list };
        iter::successors(load(head), move |ifa| {
            // SAFETY: The caller promises that the address is not freed.
            load(unsafe { &raw mut (*ifa.as_ptr()).ifa_next })
        })
    }
}

/// An address of a device (`struct in_ifaddr`).
///
/// # Invariants
///
/// It is alive for as long as a reference to it lives.
#[repr(transparent)]
pub(crate) struct InIfaddr(Opaque<bindings::in_ifaddr>);

impl InIfaddr {
    /// # Safety
    ///
    /// `ifa` must point to an address that stays alive for `'a`.
    pub(super) unsafe fn from_raw<'a>(ifa: *const bindings::in_ifaddr) -> &'a Self {
        // SAFETY: As the caller promises; the type is transparent.
        unsafe { &*ifa.cast() }
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::in_ifaddr {
        self.0.get()
    }

    /// Returns the address itself, even if there is a peer address.
    pub(crate) fn local(&self) -> Ipv4Addr {
        // SAFETY: The address is alive by the type invariants, and the field does not change.
        Ipv4Addr::from_bits(u32::from_be(unsafe { (*self.as_ptr()).ifa_local }))
    }

    /// Returns the length of the prefix.
    pub(crate) fn prefix_len(&self) -> u8 {
        // SAFETY: The address is alive by the type invariants, and the field does not change.
        unsafe { (*self.as_ptr()).ifa_prefixlen }
    }

    /// Whether the prefix covers `addr`.
    pub(crate) fn covers(&self, addr: Ipv4Addr) -> bool {
        // SAFETY: The address is alive by the type invariants.
        unsafe { bindings::inet_ifa_match(addr.to_bits().to_be(), self.as_ptr()) }
    }

    /// Whether the address is a secondary one.
    pub(crate) fn is_secondary(&self) -> bool {
        // SAFETY: The address is alive by the type invariants. The kernel changes the field, which is a `u32`, with
        // single stores.
        let flags = unsafe { AtomicU32::from_ptr(&raw mut (*self.as_ptr()).ifa_flags) };
        flags.load(Ordering::Relaxed) & bindings::IFA_F_SECONDARY != 0
    }

    /// Returns the scope (`enum rt_scope_t`).
    pub(crate) fn scope(&self) -> u8 {
        // SAFETY: The address is alive by the type invariants, and the field does not change.
        unsafe { (*self.as_ptr()).ifa_scope }
    }

    /// Returns the device that the address is configured on.
    pub(crate) fn device(&self) -> &NetDevice {
        // SAFETY: The address is alive by the type invariants. It holds a reference to its `in_device`, which holds one
        // to the device.
        unsafe { NetDevice::from_raw((*(*self.as_ptr()).ifa_dev).dev) }
    }
}
