// SPDX-License-Identifier: GPL-2.0

//! The local routes of a namespace, as far as they go beyond its addresses.
//!
//! C headers: [`include/net/fib_notifier.h`](srctree/include/net/fib_notifier.h),
//! [`include/net/ip_fib.h`](srctree/include/net/ip_fib.h)

use super::{
    bindings,
    inetaddr::HasIndex,
    net::Net,
    netdevice::InIfaddr,
    rcu::entered,
    rtnl::{Rtnl, RtnlCell}, //
};
use core::{
    marker::PhantomData,
    net::Ipv4Addr,
    ptr,
    sync::atomic::{
        AtomicBool,
        AtomicU64,
        Ordering::{Acquire, Relaxed, Release}, //
    },
};
use kernel::{
    container_of,
    ffi::{c_int, c_ulong, c_void},
    prelude::*,
    types::Opaque, //
};

const NOTHING: u64 = 0;

/// A prefix as one number that is not [`NOTHING`].
fn packed(of: Ipv4Addr, len: u8) -> u64 {
    1 << 40 | u64::from(len) << 32 | u64::from(of.to_bits())
}

/// Whether a namespace may have local routes to addresses that are not configured, while it wants to know.
///
/// Most have none, so that an address which is not in the index is not the host's, and no route need be looked
/// up to say so. There are two kinds of others: the prefix of an address on a loopback device (with `ip addr
/// add 10.0.0.0/28 dev lo` lo owns sixteen addresses), and what is routed by hand (`ip route add local
/// 10.0.0.0/28 dev lo`). Once such a route has been seen, routes are looked up until [`Self::ignore`].
///
/// The kernel tells of the first of several routes to the same prefix only. A local one that stands behind
/// another is told of when it takes its place; where the first is for one DSCP only, what is behind it is
/// suspected of being local.
#[pin_data]
pub(crate) struct LocalRoutes<T: HasIndex> {
    #[pin]
    block: Opaque<bindings::notifier_block>,
    beyond_addresses: AtomicBool,
    /// The prefix that lo is getting or losing at this moment, by [`packed`]. Written under the RTNL.
    moving: AtomicU64,
    watched: RtnlCell<bool>,
    _state: PhantomData<fn() -> T>,
}

// SAFETY: The block is the kernel's while it is registered; nothing here touches it.
unsafe impl<T: HasIndex> Send for LocalRoutes<T> {}
// SAFETY: As above.
unsafe impl<T: HasIndex> Sync for LocalRoutes<T> {}

impl<T: HasIndex> LocalRoutes<T> {
    /// Routes that are not watched.
    ///
    /// It must be kept for a grace period after [`Self::ignore`].
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            block <- Opaque::ffi_init(|block: *mut bindings::notifier_block| {
                let init = bindings::notifier_block {
                    notifier_call: Some(Self::call),
                    ..Default::default()
                };
                // SAFETY: `block` is valid for writing.
                unsafe { block.write(init) };
            }),
            beyond_addresses: AtomicBool::new(false),
            moving: AtomicU64::new(NOTHING),
            watched: RtnlCell::new(false),
            _state: PhantomData,
        })
    }

    /// Looks at all routes, and from now on at every new one. The index must be active. Nothing to do if they
    /// are watched. Linear in the number of routes. Sleeps.
    pub(crate) fn watch(&self, net: &Net, rtnl: &mut Rtnl) {
        let watched = self.watched.get_mut(rtnl);
        if *watched {
            return;
        }
        self.beyond_addresses.store(false, Relaxed);
        // SAFETY: The block is initialised, pinned and not registered, and kept for a grace period after it
        // was unregistered.
        let error = unsafe {
            bindings::register_fib_notifier(net.as_ptr(), self.block.get(), None, ptr::null_mut())
        };
        *watched = error == 0;
        if error != 0 {
            // The routes of another family changed too fast to be told in order. Then we do not know.
            self.beyond_addresses.store(true, Relaxed);
        }
    }

    /// Looks at them no more. Nothing to do if they are not watched.
    pub(crate) fn ignore(&self, net: &Net, rtnl: &mut Rtnl) {
        let watched = self.watched.get_mut(rtnl);
        if *watched {
            // SAFETY: The block is registered.
            unsafe { bindings::unregister_fib_notifier(net.as_ptr(), self.block.get()) };
            *watched = false;
        }
    }

    /// Whether there may be a local route to an address that is not configured.
    #[inline]
    pub(crate) fn may_reach(&self, addr: Ipv4Addr) -> bool {
        // The prefix of 127.0.0.1/8 does not count: it is everywhere, and ARP seldom asks for it.
        self.beyond_addresses.load(Relaxed) || addr.is_loopback()
    }

    /// An address is about to come or to go. If its prefix makes a local route, that counts from a grace period
    /// before it comes, and until [`Self::moved`], a grace period after it has gone.
    pub(super) fn moves(&self, ifa: &InIfaddr) {
        if ifa.device().is_loopback() && ifa.prefix_len() < 32 {
            self.prefix(ifa.local(), u32::from(ifa.prefix_len()));
            self.moving
                .store(packed(ifa.local(), ifa.prefix_len()), Release);
        }
    }

    /// A loopback device is about to be set up or down. The local routes of its prefixes come or go then, each on
    /// its own, without any address coming or going: until [`Self::moved`], that may be any prefix. To be called a
    /// grace period before.
    pub(crate) fn all_move(&self) {
        self.moving.store(packed(Ipv4Addr::UNSPECIFIED, 0), Release);
    }

    /// It has come or gone, or is up or down.
    pub(crate) fn moved(&self) {
        // Release: who does not find it moving any more finds the routes as they are now.
        self.moving.store(NOTHING, Release);
    }

    /// Whether `addr` is of a prefix that lo is getting or losing. To be asked before the routes are: what has no
    /// route yet may have one when the packet comes to it, and what has none any more may have had one.
    pub(crate) fn is_moving(&self, addr: Ipv4Addr) -> bool {
        let moving = self.moving.load(Acquire);
        let (of, len) = (moving as u32, moving >> 32 & 0xff);
        let differs = (of ^ addr.to_bits()).checked_shr(u32::BITS - len as u32);
        moving != NOTHING && differs.unwrap_or(0) == 0
    }

    fn prefix(&self, of: Ipv4Addr, len: u32) {
        if !(of.is_loopback() && len >= 8) {
            self.beyond_addresses.store(true, Relaxed);
        }
    }

    /// # Safety
    ///
    /// Called by the chain of the FIB's notifiers only: under RCU, with a `fib_notifier_info`, for a block
    /// that is registered by [`Self::watch`].
    unsafe extern "C" fn call(
        block: *mut bindings::notifier_block,
        event: c_ulong,
        info: *mut c_void,
    ) -> c_int {
        let info: *const bindings::fib_notifier_info = info.cast_const().cast();
        // SAFETY: The chain gives a valid description.
        let family = unsafe { (*info).family };
        if event as u32 != bindings::fib_event_type_FIB_EVENT_ENTRY_REPLACE
            || family != bindings::AF_INET as c_int
        {
            return bindings::NOTIFY_DONE as c_int;
        }
        // SAFETY: This event of IPv4 comes with a route, of which the description is the first field; the
        // block is part of its `LocalRoutes`, as it is initialised and registered nowhere else.
        let (routes, route) = unsafe {
            (
                &*container_of!(Opaque::cast_from(block), Self, block),
                &*info.cast::<bindings::fib_entry_notifier_info>(),
            )
        };
        // SAFETY: A route that is told of is alive, and so is its namespace.
        let (protocol, source, net) = unsafe {
            (
                (*route.fi).fib_protocol,
                (*route.fi).fib_prefsrc,
                Net::from_raw((*route.fi).fib_net),
            )
        };
        let dst = Ipv4Addr::from_bits(route.dst);
        // SAFETY: Called under RCU.
        let rcu = unsafe { entered() };
        // As `fib_add_ifaddr` makes it. One made by hand may stay when the address goes.
        let of_address = || {
            route.dst_len == 32
                && u32::from(protocol) == bindings::RTPROT_KERNEL
                && u32::from_be(source) == route.dst
                && T::of(net).index().get(dst, &rcu).next().is_some()
        };
        if u32::from(route.type_) == bindings::RTN_LOCAL && !of_address() || route.dscp != 0 {
            routes.prefix(dst, route.dst_len as u32);
        }
        bindings::NOTIFY_DONE as c_int
    }
}
