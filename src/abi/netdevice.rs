// SPDX-License-Identifier: GPL-2.0

//! Network devices, their IPv4 state, and the notifier of their changes.
//!
//! C headers: [`include/linux/netdevice.h`](srctree/include/linux/netdevice.h),
//! [`include/linux/inetdevice.h`](srctree/include/linux/inetdevice.h)

use super::{
    bindings,
    net::Net,
    rtnl::Rtnl, //
};
use core::{
    iter,
    marker::PhantomData,
    net::Ipv4Addr,
    ptr,
    sync::atomic::{AtomicPtr, AtomicU32, Ordering},
};
use kernel::{
    error::to_result,
    ffi::{c_int, c_ulong, c_void},
    fmt,
    prelude::*,
    str::CStr, //
    sync::rcu,
    types::Opaque,
};

/// The scope of addresses that are valid on the link only.
pub(crate) const RT_SCOPE_LINK: u8 = bindings::rt_scope_t_RT_SCOPE_LINK as u8;
/// The scope of addresses that are valid on this host only.
pub(crate) const RT_SCOPE_HOST: u8 = bindings::rt_scope_t_RT_SCOPE_HOST as u8;

const ARPHRD_IEEE1394: u16 = bindings::ARPHRD_IEEE1394 as u16;

/// A network device (`struct net_device`).
///
/// # Invariants
///
/// The device is alive, and has been registered, for as long as a reference to it lives.
#[repr(transparent)]
pub(crate) struct NetDevice(Opaque<bindings::net_device>);

impl NetDevice {
    /// Makes a reference of a pointer of the kernel's.
    ///
    /// # Safety
    ///
    /// `dev` must point to a registered device that stays alive for `'a`.
    pub(super) unsafe fn from_raw<'a>(dev: *const bindings::net_device) -> &'a Self {
        // SAFETY: As the caller promises; the type is transparent.
        unsafe { &*dev.cast() }
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::net_device {
        self.0.get()
    }

    /// The interface index, unique in the namespace.
    pub(crate) fn ifindex(&self) -> i32 {
        // SAFETY: The device is alive by the type invariants; the index of a registered device changes
        // only while it is between two namespaces.
        unsafe { (*self.as_ptr()).ifindex }
    }

    /// The namespace that the device is in. For callers that hold the RTNL or are in its packet path.
    #[inline]
    pub(crate) fn net(&self) -> &Net {
        // As `dev_net` has it.
        // SAFETY: The device is alive by the type invariants.
        #[cfg(CONFIG_NET_NS)]
        let net = unsafe { (*self.as_ptr()).nd_net.net };
        #[cfg(not(CONFIG_NET_NS))]
        let net = &raw const bindings::init_net;
        // SAFETY: The namespace lives at least as long as the device is in it.
        unsafe { Net::from_raw(net) }
    }

    /// The name, which changes under the RTNL only.
    pub(crate) fn name<'a>(&'a self, _: &'a Rtnl) -> &'a CStr {
        // SAFETY: The name is terminated, and does not change while the RTNL is held.
        unsafe { CStr::from_char_ptr((*self.as_ptr()).name.as_ptr()) }
    }

    /// A copy of the name. It is the old one, the new one or a mixture of both, as in `/proc/net/dev`, if the
    /// device is being renamed.
    pub(crate) fn name_rcu(&self, _: &rcu::Guard) -> Name {
        let mut name = Name([0; IFNAMSIZ]);
        // SAFETY: The device is alive by the type invariants, and there is room for any name.
        unsafe { bindings::netdev_copy_name(self.as_ptr(), name.0.as_mut_ptr()) };
        name
    }

    /// The length of a hardware address in bytes.
    pub(crate) fn addr_len(&self) -> u8 {
        // SAFETY: The device is alive by the type invariants.
        unsafe { (*self.as_ptr()).addr_len }
    }

    /// Whether ARP on this device has a target hardware address: all have, but IEEE 1394 (RFC 2734).
    pub(crate) fn arp_has_target_hardware_address(&self) -> bool {
        // As `arp_hdr_len` of include/linux/if_arp.h has it.
        // SAFETY: The device is alive by the type invariants.
        !cfg!(CONFIG_FIREWIRE_NET) || unsafe { (*self.as_ptr()).type_ } != ARPHRD_IEEE1394
    }

    /// Whether the prefixes of the device's addresses are the host's own (IFF_LOOPBACK).
    pub(crate) fn is_loopback(&self) -> bool {
        // SAFETY: The device is alive by the type invariants, and its type does not change.
        unsafe { (*self.as_ptr()).flags & bindings::net_device_flags_IFF_LOOPBACK != 0 }
    }

    /// Whether the device is the port of a bond, which sends ARP requests for its monitor only.
    pub(crate) fn is_bond_port(&self) -> bool {
        // SAFETY: The device is alive by the type invariants.
        unsafe { bindings::netif_is_bond_slave(self.as_ptr()) }
    }

    /// The l3 domain (VRF) that the device belongs to: the index of the VRF device, 0 for the default one.
    pub(crate) fn l3_domain(&self, _: &rcu::Guard) -> i32 {
        // SAFETY: The device is alive by the type invariants, and the guard is the evidence of RCU.
        unsafe { bindings::l3mdev_master_ifindex_rcu(self.as_ptr()) }
    }

    /// The device's IPv4 state, if it has one.
    pub(crate) fn in_device<'a>(&'a self, _: &'a rcu::Guard) -> Option<&'a InDevice> {
        // SAFETY: The device is alive by the type invariants; the state is freed after a grace period, which
        // the guard holds off.
        unsafe {
            bindings::__in_dev_get_rcu(self.as_ptr())
                .cast::<InDevice>()
                .as_ref()
        }
    }

    /// As [`Self::in_device`], under the RTNL.
    pub(crate) fn in_device_rtnl<'a>(&'a self, _: &'a Rtnl) -> Option<&'a InDevice> {
        // SAFETY: The device is alive by the type invariants; the state is destroyed under the RTNL only.
        unsafe {
            bindings::__in_dev_get_rtnl(self.as_ptr())
                .cast::<InDevice>()
                .as_ref()
        }
    }
}

const IFNAMSIZ: usize = bindings::IFNAMSIZ as usize;

/// The name of a device: printable but for white space, or what else user space calls a device.
pub(crate) struct Name([u8; IFNAMSIZ]);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.split(|byte| *byte == 0).next().unwrap_or_default();
        match core::str::from_utf8(name) {
            Ok(name) => f.pad(name),
            Err(_) => core::fmt::Display::fmt(&name.escape_ascii(), f),
        }
    }
}

/// The IPv4 state of a device (`struct in_device`).
///
/// # Invariants
///
/// It is alive for as long as a reference to it lives.
#[repr(transparent)]
pub(crate) struct InDevice(Opaque<bindings::in_device>);

impl InDevice {
    /// `conf/IF/route_localnet`, by `IN_DEV_ROUTE_LOCALNET`.
    pub(crate) fn route_localnet(&self) -> bool {
        // SAFETY: The state is alive by the type invariants.
        unsafe { bindings::in_dev_route_localnet(self.0.get()) }
    }

    /// Whether a user has given the device an address, or, of a loopback device, set it up: from then on the kernel
    /// leaves its settings alone when `conf/default` is written (`ipv4_devconf_setall`).
    pub(crate) fn is_configured(&self) -> bool {
        // SAFETY: The state is alive by the type invariants.
        unsafe { bindings::in_dev_is_configured(self.0.get()) }
    }

    /// The addresses, in the kernel's order: primaries by scope, then secondaries.
    pub(crate) fn addresses<'a>(&'a self, _: &'a rcu::Guard) -> impl Iterator<Item = &'a InIfaddr> {
        // SAFETY: The state is alive by the type invariants; addresses are freed a grace period after they
        // were unlinked, which the guard holds off.
        unsafe { self.walk() }
    }

    /// As [`Self::addresses`], under the RTNL.
    pub(crate) fn addresses_rtnl<'a>(&'a self, _: &'a Rtnl) -> impl Iterator<Item = &'a InIfaddr> {
        // SAFETY: The state is alive by the type invariants; addresses are changed under the RTNL only.
        unsafe { self.walk() }
    }

    /// # Safety
    ///
    /// No address of the list may be freed during `'a`.
    unsafe fn walk<'a>(&self) -> impl Iterator<Item = &'a InIfaddr> {
        let load = |link: *mut *mut bindings::in_ifaddr| {
            // SAFETY: `link` is a field of the live state or of a live address, which the kernel changes as
            // one pointer; acquire pairs with `rcu_assign_pointer`.
            let ifa = unsafe { AtomicPtr::from_ptr(link) }.load(Ordering::Acquire);
            // SAFETY: As the caller promises; the type is transparent.
            unsafe { ifa.cast::<InIfaddr>().as_ref() }
        };
        // SAFETY: The state is alive by the type invariants.
        let head = unsafe { &raw mut (*self.0.get()).ifa_list };
        iter::successors(load(head), move |ifa| {
            // SAFETY: The address is alive, as the caller promises.
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

    /// The address itself, also where there is a peer's.
    pub(crate) fn local(&self) -> Ipv4Addr {
        // SAFETY: The address is alive by the type invariants, and the field does not change.
        Ipv4Addr::from_bits(u32::from_be(unsafe { (*self.as_ptr()).ifa_local }))
    }

    /// The length of the prefix.
    pub(crate) fn prefix_len(&self) -> u8 {
        // SAFETY: The address is alive by the type invariants, and the field does not change.
        unsafe { (*self.as_ptr()).ifa_prefixlen }
    }

    /// Whether another address belongs to the prefix.
    pub(crate) fn covers(&self, addr: Ipv4Addr) -> bool {
        // SAFETY: The address is alive by the type invariants.
        unsafe { bindings::inet_ifa_match(addr.to_bits().to_be(), self.as_ptr()) }
    }

    /// Whether the address is a secondary one, of a prefix that has a primary.
    pub(crate) fn is_secondary(&self) -> bool {
        // SAFETY: The address is alive by the type invariants, and `AtomicU32` is as large as the field,
        // which the kernel changes as a whole.
        let flags = unsafe { AtomicU32::from_ptr(&raw mut (*self.as_ptr()).ifa_flags) };
        flags.load(Ordering::Relaxed) & bindings::IFA_F_SECONDARY != 0
    }

    /// The scope, of `enum rt_scope_t`.
    pub(crate) fn scope(&self) -> u8 {
        // SAFETY: The address is alive by the type invariants, and the field does not change.
        unsafe { (*self.as_ptr()).ifa_scope }
    }

    /// The device that the address is configured on.
    pub(crate) fn device(&self) -> &NetDevice {
        // SAFETY: The address is alive by the type invariants and holds a reference to its `in_device`,
        // which holds one to the device.
        unsafe { NetDevice::from_raw((*(*self.as_ptr()).ifa_dev).dev) }
    }
}

/// What happened to a device.
pub(crate) enum Event {
    /// It came into its namespace (NETDEV_REGISTER).
    Register,
    /// It leaves its namespace (NETDEV_UNREGISTER).
    Unregister,
    /// It has another name (NETDEV_CHANGENAME).
    ChangeName,
    /// It has another MTU, which may have destroyed or made its IPv4 state (NETDEV_CHANGEMTU).
    ChangeMtu,
    /// It is about to be set up or down, and its routes with it (NETDEV_PRE_UP, NETDEV_GOING_DOWN).
    Turning,
    /// It is, and so are its routes (NETDEV_UP, NETDEV_DOWN).
    Turned,
}

/// A user of the notifier.
pub(crate) trait Notify: 'static {
    /// Called under the RTNL, after the kernel's own IPv4 code. An error refuses the registration or the
    /// change of name, and is of no effect otherwise.
    fn event(event: Event, dev: &NetDevice, rtnl: &mut Rtnl) -> Result;
}

/// A registered netdevice notifier. It is told of all existing devices when it is registered, and of their
/// leaving when it goes. Both sleep.
#[pin_data(PinnedDrop)]
pub(crate) struct Notifier<T: Notify> {
    #[pin]
    block: Opaque<bindings::notifier_block>,
    _user: PhantomData<fn() -> T>,
}

// SAFETY: The block is the kernel's while it is registered; nothing here touches it.
unsafe impl<T: Notify> Send for Notifier<T> {}
// SAFETY: As above.
unsafe impl<T: Notify> Sync for Notifier<T> {}

impl<T: Notify> Notifier<T> {
    /// Registers.
    pub(crate) fn register() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            block <- Opaque::try_ffi_init(|block: *mut bindings::notifier_block| {
                let init = bindings::notifier_block {
                    notifier_call: Some(Self::call),
                    // Last: when a device goes or comes, devinet and the FIB have done their part.
                    priority: c_int::MIN,
                    ..Default::default()
                };
                // SAFETY: `block` is valid for writing.
                unsafe { block.write(init) };
                // SAFETY: The block is initialised, pinned, and unregistered before it goes.
                to_result(unsafe { bindings::register_netdevice_notifier(block) })
            }),
            _user: PhantomData,
        }? Error)
    }

    /// # Safety
    ///
    /// Called by the netdevice notifier chain only: under the RTNL, with a `netdev_notifier_info`.
    unsafe extern "C" fn call(
        _: *mut bindings::notifier_block,
        event: c_ulong,
        info: *mut c_void,
    ) -> c_int {
        let event = match event as u32 {
            bindings::netdev_cmd_NETDEV_REGISTER => Event::Register,
            bindings::netdev_cmd_NETDEV_UNREGISTER => Event::Unregister,
            bindings::netdev_cmd_NETDEV_CHANGENAME => Event::ChangeName,
            bindings::netdev_cmd_NETDEV_CHANGEMTU => Event::ChangeMtu,
            bindings::netdev_cmd_NETDEV_PRE_UP | bindings::netdev_cmd_NETDEV_GOING_DOWN => {
                Event::Turning
            }
            bindings::netdev_cmd_NETDEV_UP | bindings::netdev_cmd_NETDEV_DOWN => Event::Turned,
            _ => return bindings::NOTIFY_DONE as c_int,
        };
        // SAFETY: The chain gives a live device, which is registered during these events.
        let dev = unsafe {
            NetDevice::from_raw(bindings::netdev_notifier_info_to_dev(
                info.cast_const().cast(),
            ))
        };
        // SAFETY: The chain is called under the RTNL.
        let mut rtnl = unsafe { Rtnl::assume_held() };
        notifier_from_result(T::event(event, dev, &mut rtnl))
    }
}

#[pinned_drop]
impl<T: Notify> PinnedDrop for Notifier<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Registered by `register`.
        unsafe { bindings::unregister_netdevice_notifier(self.block.get()) };
    }
}

/// `notifier_from_errno` of include/linux/notifier.h.
pub(super) fn notifier_from_result(result: Result) -> c_int {
    match result {
        Ok(()) => bindings::NOTIFY_OK as c_int,
        Err(error) => {
            bindings::NOTIFY_STOP_MASK as c_int | (bindings::NOTIFY_OK as c_int - error.to_errno())
        }
    }
}

/// The devices of a namespace, in the kernel's order.
pub(super) fn devices<'a>(net: &'a Net, _: &'a rcu::Guard) -> impl Iterator<Item = &'a NetDevice> {
    // SAFETY: The namespace is alive; a device is freed a grace period after it left the list, which the
    // guard holds off. The type is transparent.
    let first = unsafe {
        bindings::first_net_device_rcu(net.as_ptr())
            .cast::<NetDevice>()
            .as_ref()
    };
    iter::successors(first, |dev| {
        // SAFETY: As above.
        unsafe {
            bindings::next_net_device_rcu(dev.as_ptr())
                .cast::<NetDevice>()
                .as_ref()
        }
    })
}

/// As [`devices`], under the RTNL.
pub(super) fn devices_rtnl<'a>(net: &'a Net, _: &'a Rtnl) -> impl Iterator<Item = &'a NetDevice> {
    // SAFETY: The namespace is alive; the list is changed under the RTNL only. The type is transparent.
    let first = unsafe {
        bindings::first_net_device(net.as_ptr())
            .cast::<NetDevice>()
            .as_ref()
    };
    iter::successors(first, |dev| {
        // SAFETY: As above.
        unsafe {
            bindings::next_net_device(dev.as_ptr())
                .cast::<NetDevice>()
                .as_ref()
        }
    })
}

/// The device of a namespace with a given index.
pub(super) fn device_by_index<'a>(
    net: &'a Net,
    ifindex: i32,
    _: &'a rcu::Guard,
) -> Option<&'a NetDevice> {
    if ifindex == 0 {
        return None;
    }
    // SAFETY: As in `devices`.
    let dev = unsafe { bindings::dev_get_by_index_rcu(net.as_ptr(), ifindex) };
    if ptr::eq(dev, ptr::null()) {
        return None;
    }
    // SAFETY: As in `devices`.
    Some(unsafe { NetDevice::from_raw(dev) })
}
