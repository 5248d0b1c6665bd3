// SPDX-License-Identifier: GPL-2.0

//! Network devices, and the notifier of their events.
//!
//! C header: [`include/linux/netdevice.h`](srctree/include/linux/netdevice.h)

use super::{
    bindings,
    inetdevice::InDevice,
    net::Net,
    rtnl::Rtnl, //
};
use core::{
    iter,
    marker::PhantomData,
    ptr, //
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

/// The index of lo, in every namespace.
pub(crate) const LOOPBACK_IFINDEX: i32 = bindings::LOOPBACK_IFINDEX as i32;

const ARPHRD_IEEE1394: u16 = bindings::ARPHRD_IEEE1394 as u16;

/// A network device (`struct net_device`).
///
/// # Invariants
///
/// The device is alive, and has been registered, for as long as a reference to it lives.
#[repr(transparent)]
pub(crate) struct NetDevice(Opaque<bindings::net_device>);

impl NetDevice {
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

    /// Returns the interface index, unique in the namespace.
    pub(crate) fn ifindex(&self) -> i32 {
        // SAFETY: The device is alive by the type invariants. The index of a registered device changes only while it is
        // between two namespaces.
        unsafe { (*self.as_ptr()).ifindex }
    }

    /// Returns the namespace of the device. For callers that hold the RTNL or handle a packet of the device.
    #[inline]
    pub(crate) fn net(&self) -> &Net {
        // As in `dev_net`.
        // SAFETY: The device is alive by the type invariants.
        #[cfg(CONFIG_NET_NS)]
        let net = unsafe { (*self.as_ptr()).nd_net.net };
        #[cfg(not(CONFIG_NET_NS))]
        let net = &raw const bindings::init_net;
        // SAFETY: The namespace lives as long as the device is in it.
        unsafe { Net::from_raw(net) }
    }

    /// Returns the name, which changes only under the RTNL.
    pub(crate) fn name<'a>(&'a self, _: &'a Rtnl) -> &'a CStr {
        // SAFETY: The device is alive by the type invariants. Its name is NUL-terminated and does not change while the
        // RTNL is held.
        unsafe { CStr::from_char_ptr((*self.as_ptr()).name.as_ptr()) }
    }

    /// Returns a copy of the name. While the device is being renamed, this is the old name, the new one, or a mixture,
    /// as in `/proc/net/dev`.
    pub(crate) fn name_rcu(&self, _: &rcu::Guard) -> Name {
        let mut name = Name([0; IFNAMSIZ]);
        // SAFETY: The device is alive by the type invariants, and there is room for any name.
        unsafe { bindings::netdev_copy_name(self.as_ptr(), name.0.as_mut_ptr()) };
        name
    }

    /// Returns the length of hardware addresses in bytes.
    pub(crate) fn addr_len(&self) -> u8 {
        // SAFETY: The device is alive by the type invariants.
        unsafe { (*self.as_ptr()).addr_len }
    }

    /// Whether ARP packets on this device have a target hardware address: all but those on IEEE 1394 (RFC 2734).
    pub(crate) fn arp_has_target_hardware_address(&self) -> bool {
        // As in `arp_hdr_len` of include/linux/if_arp.h.
        // SAFETY: The device is alive by the type invariants.
        !cfg!(CONFIG_FIREWIRE_NET) || unsafe { (*self.as_ptr()).type_ } != ARPHRD_IEEE1394
    }

    /// Whether the device is a loopback device (IFF_LOOPBACK): the whole prefixes of its addresses are local.
    pub(crate) fn is_loopback(&self) -> bool {
        // SAFETY: The device is alive by the type invariants, and its type does not change.
        unsafe { (*self.as_ptr()).flags & bindings::net_device_flags_IFF_LOOPBACK != 0 }
    }

    /// Whether the device is a port of a bond. Through a port, only the bond's ARP monitor sends requests.
    pub(crate) fn is_bond_port(&self) -> bool {
        // SAFETY: The device is alive by the type invariants.
        unsafe { bindings::netif_is_bond_slave(self.as_ptr()) }
    }

    /// Returns the l3 domain (VRF) of the device: the index of the VRF device, 0 for the default domain.
    pub(crate) fn l3_domain(&self, _: &rcu::Guard) -> i32 {
        // SAFETY: The device is alive by the type invariants, and the guard is evidence of RCU.
        unsafe { bindings::l3mdev_master_ifindex_rcu(self.as_ptr()) }
    }

    /// Returns the device's IPv4 state, if it has one.
    pub(crate) fn in_device<'a>(&'a self, _: &'a rcu::Guard) -> Option<&'a InDevice> {
        // SAFETY: The device is alive by the type invariants. The state is freed after a grace period, which cannot end
        // before the guard is dropped.
        unsafe {
            bindings::__in_dev_get_rcu(self.as_ptr())
                .cast::<InDevice>()
                .as_ref()
        }
    }

    /// Does what [`Self::in_device`] does, under the RTNL.
    pub(crate) fn in_device_rtnl<'a>(&'a self, _: &'a Rtnl) -> Option<&'a InDevice> {
        // SAFETY: The device is alive by the type invariants. The state is destroyed only under the RTNL.
        unsafe {
            bindings::__in_dev_get_rtnl(self.as_ptr())
                .cast::<InDevice>()
                .as_ref()
        }
    }
}

const IFNAMSIZ: usize = bindings::IFNAMSIZ as usize;

/// The name of a device. It may contain any bytes that user space chose.
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

/// An event of a device.
pub(crate) enum Event {
    /// It was added to its namespace (NETDEV_REGISTER).
    Register,
    /// It is being removed from its namespace (NETDEV_UNREGISTER).
    Unregister,
    /// It was renamed (NETDEV_CHANGENAME).
    ChangeName,
    /// Its MTU changed, which may have destroyed or created its IPv4 state (NETDEV_CHANGEMTU).
    ChangeMtu,
    /// It is about to be set up or down, which changes its routes (NETDEV_PRE_UP, NETDEV_GOING_DOWN).
    Turning,
    /// It was set up or down, and its routes have changed (NETDEV_UP, NETDEV_DOWN).
    Turned,
}

/// A user of the notifier.
pub(crate) trait Notify: 'static {
    /// Called under the RTNL, after the kernel's own IPv4 code. An error refuses a registration or a new name, and has
    /// no effect otherwise.
    fn event(event: Event, dev: &NetDevice, rtnl: &mut Rtnl) -> Result;
}

/// A registered netdevice notifier. Registering it reports all existing devices as registered, dropping it reports them
/// as removed. Both sleep.
#[pin_data(PinnedDrop)]
pub(crate) struct Notifier<T: Notify> {
    #[pin]
    block: Opaque<bindings::notifier_block>,
    _user: PhantomData<fn() -> T>,
}

// SAFETY: While registered, only the kernel accesses the block.
unsafe impl<T: Notify> Send for Notifier<T> {}
// SAFETY: As above.
unsafe impl<T: Notify> Sync for Notifier<T> {}

impl<T: Notify> Notifier<T> {
    /// Registers the notifier.
    pub(crate) fn register() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            block <- Opaque::try_ffi_init(|block: *mut bindings::notifier_block| {
                let init = bindings::notifier_block {
                    notifier_call: Some(Self::call),
                    // Last, after devinet and the FIB have handled the event.
                    priority: c_int::MIN,
                    ..Default::default()
                };
                // SAFETY: `block` is valid for writing.
                unsafe { block.write(init) };
                // SAFETY: The block is initialised, pinned, and unregistered before it is freed.
                to_result(unsafe { bindings::register_netdevice_notifier(block) })
            }),
            _user: PhantomData,
        }? Error)
    }

    /// # Safety
    ///
    /// Called only by the netdevice notifier chain: under the RTNL, with a `netdev_notifier_info`.
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
        // SAFETY: The chain passes a live device, which is registered during these events.
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

/// Does what `notifier_from_errno` of include/linux/notifier.h does.
pub(super) fn notifier_from_result(result: Result) -> c_int {
    match result {
        Ok(()) => bindings::NOTIFY_OK as c_int,
        Err(error) => {
            bindings::NOTIFY_STOP_MASK as c_int | (bindings::NOTIFY_OK as c_int - error.to_errno())
        }
    }
}

/// Returns the devices of a namespace, in the kernel's order.
pub(super) fn devices<'a>(net: &'a Net, _: &'a rcu::Guard) -> impl Iterator<Item = &'a NetDevice> {
    // SAFETY: The namespace is alive. A device is freed a grace period after it left the list, which cannot end before
    // the guard is dropped. The type is transparent.
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

/// Does what [`devices`] does, under the RTNL.
pub(super) fn devices_rtnl<'a>(net: &'a Net, _: &'a Rtnl) -> impl Iterator<Item = &'a NetDevice> {
    // SAFETY: The namespace is alive. The list changes only under the RTNL. The type is transparent.
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

/// Returns the device of a namespace with the index.
pub(super) fn device_by_index<'a>(
    net: &'a Net,
    ifindex: i32,
    _: &'a rcu::Guard,
) -> Option<&'a NetDevice> {
    if ifindex == 0 {
        return None;
    }
    // SAFETY: The namespace is alive, and the guard is evidence of RCU.
    let dev = unsafe { bindings::dev_get_by_index_rcu(net.as_ptr(), ifindex) };
    if ptr::eq(dev, ptr::null()) {
        return None;
    }
    // SAFETY: A registered device is freed a grace period after it left the namespace, which cannot end before the
    // guard is dropped.
    Some(unsafe { NetDevice::from_raw(dev) })
}
