// SPDX-License-Identifier: GPL-2.0

//! The local routes of a namespace, as far as they go beyond its addresses.
//!
//! C headers: [`include/net/fib_notifier.h`](srctree/include/net/fib_notifier.h),
//! [`include/net/ip_fib.h`](srctree/include/net/ip_fib.h)

use super::{
    bindings,
    inetaddr::HasIndex,
    net::Net,
    rcu::{entered, Settling},
    rtnl::{Rtnl, RtnlCell}, //
};
use core::{
    cell::Cell,
    marker::PhantomData,
    net::Ipv4Addr,
    ptr,
    sync::atomic::{
        AtomicPtr,
        AtomicU8,
        Ordering::{Acquire, Relaxed, Release}, //
    },
};
use kernel::{
    container_of,
    ffi::{c_int, c_ulong, c_void},
    prelude::*,
    types::Opaque, //
};

/// What is known of the local routes to addresses that are not configured.
mod beyond {
    /// Nothing: any address may have one.
    pub(super) const UNKNOWN: u8 = 0;
    /// The routes are being looked through, and there has been none so far.
    pub(super) const LOOKING: u8 = 1;
    /// There is none.
    pub(super) const NONE: u8 = 2;
    /// There has been one.
    pub(super) const SOME: u8 = 3;
}

/// Whether a namespace may have local routes to addresses that are not configured, while it wants to know.
///
/// Most have none, so that an address which is not in the index is not the host's, and no route need be looked
/// up to say so. There are two kinds of others: the prefix of an address on a loopback device (with `ip addr
/// add 10.0.0.0/28 dev lo` lo owns sixteen addresses), and what is routed by hand (`ip route add local
/// 10.0.0.0/28 dev lo`). Once such a route has been seen, or while it is not known, routes are looked up.
///
/// The kernel tells of the first of several routes to the same prefix only. A local one that stands behind
/// another is told of when it takes its place; where the first is for one DSCP only, what is behind it is
/// suspected of being local.
///
/// The notifier is registered and unregistered by a work, without the RTNL: up to 6.12 `register_fib_notifier` takes
/// it, and the dump of all routes, which may be a million, need not hold up anybody.
#[pin_data]
pub(crate) struct LocalRoutes<T: HasIndex> {
    #[pin]
    block: Opaque<bindings::notifier_block>,
    #[pin]
    work: Opaque<bindings::work_struct>,
    /// One of [`beyond`].
    beyond: AtomicU8,
    /// The routes of prefixes that a loopback device is getting or losing. Changed under the RTNL.
    changes: Settling,
    watch: RtnlCell<Watch>,
    /// The namespace of which routes are to be watched, or null. Written under the RTNL, read by the work.
    wanted: AtomicPtr<bindings::net>,
    /// The namespace in which the block is registered, or null. For the work, which never runs twice at once, and,
    /// when that has been cancelled, for [`Self::stop`].
    registered: Cell<*mut bindings::net>,
    _state: PhantomData<fn() -> T>,
}

/// How far the routes of a namespace are watched.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Watch {
    No,
    /// Or will be, when the work has run.
    Yes,
    /// Never again: the namespace goes.
    Stopped,
}

// SAFETY: The block and the work are the kernel's while they are in use; `registered` is for one thread at a time.
unsafe impl<T: HasIndex> Send for LocalRoutes<T> {}
// SAFETY: As above.
unsafe impl<T: HasIndex> Sync for LocalRoutes<T> {}

impl<T: HasIndex> LocalRoutes<T> {
    /// Routes that are not watched.
    ///
    /// Before it is dropped, [`Self::stop`] must be called and a grace period must pass.
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
            work <- Opaque::ffi_init(|work: *mut bindings::work_struct| {
                // SAFETY: `work` is valid for writing, and stays where it is.
                unsafe { bindings::init_work(work, Some(Self::work)) };
            }),
            beyond: AtomicU8::new(beyond::UNKNOWN),
            changes: Settling::settled(),
            watch: RtnlCell::new(Watch::No),
            wanted: AtomicPtr::new(ptr::null_mut()),
            registered: Cell::new(ptr::null_mut()),
            _state: PhantomData,
        })
    }

    /// Looks through all routes, soon, and from then on at every new one. The index must be active. Does nothing if
    /// they are watched. Does not wait.
    pub(crate) fn watch(&self, net: &Net, rtnl: &mut Rtnl) {
        self.set(Watch::No, Watch::Yes, net.as_ptr(), rtnl);
    }

    /// Stops watching. Does nothing if they are not watched. Does not wait.
    pub(crate) fn ignore(&self, rtnl: &mut Rtnl) {
        self.set(Watch::Yes, Watch::No, ptr::null_mut(), rtnl);
    }

    fn set(&self, from: Watch, to: Watch, wanted: *mut bindings::net, rtnl: &mut Rtnl) {
        let watch = self.watch.get_mut(rtnl);
        if *watch == from {
            *watch = to;
            self.wanted.store(wanted, Release);
            self.beyond.store(beyond::UNKNOWN, Relaxed);
            // SAFETY: Initialised, pinned, and cancelled before it goes.
            unsafe { bindings::schedule_work(self.work.get()) };
        }
    }

    /// Stops watching for good. Sleeps. To be called without the RTNL, which the work may wait for.
    pub(crate) fn stop(&self) {
        {
            let mut rtnl = super::rtnl::lock();
            *self.watch.get_mut(&mut rtnl) = Watch::Stopped;
            self.wanted.store(ptr::null_mut(), Release);
        }
        self.beyond.store(beyond::UNKNOWN, Relaxed);
        // SAFETY: Initialised. It is not queued again: `set` finds neither `Yes` nor `No`.
        unsafe { bindings::cancel_work_sync(self.work.get()) };
        self.update();
    }

    /// Registers the block where `wanted` says, and nowhere else.
    fn update(&self) {
        let registered = self.registered.replace(ptr::null_mut());
        if !registered.is_null() {
            // SAFETY: The block is registered there; a namespace stops all of its own before it goes.
            unsafe { bindings::unregister_fib_notifier(registered, self.block.get()) };
        }
        let wanted = self.wanted.load(Acquire);
        if wanted.is_null() {
            return;
        }
        self.beyond.store(beyond::LOOKING, Relaxed);
        // SAFETY: The block is initialised, pinned and not registered, and kept for a grace period after it was
        // unregistered.
        let error = unsafe {
            bindings::register_fib_notifier(wanted, self.block.get(), None, ptr::null_mut())
        };
        if error == 0 {
            self.registered.set(wanted);
            let _ = self
                .beyond
                .compare_exchange(beyond::LOOKING, beyond::NONE, Relaxed, Relaxed);
        }
        // After an error (the routes of another family changed too fast to be told in order) it stays unknown, or
        // LOOKING, which is as good.
    }

    /// # Safety
    ///
    /// Called by the workqueue only, for the work of a live value.
    unsafe extern "C" fn work(work: *mut bindings::work_struct) {
        // SAFETY: The work is part of its `LocalRoutes`, which lives until it has been cancelled.
        unsafe { &*container_of!(Opaque::cast_from(work), Self, work) }.update();
    }

    /// Whether there may be a local route to an address that is not configured.
    #[inline]
    pub(crate) fn may_reach(&self, addr: Ipv4Addr) -> bool {
        // The prefix of 127.0.0.1/8 does not count: it is everywhere, and ARP seldom asks for it.
        self.beyond.load(Relaxed) != beyond::NONE || addr.is_loopback()
    }

    /// A loopback device is about to get or lose routes to addresses that are not configured, or to be set up or down.
    pub(crate) fn change(&self) {
        self.changes.begin();
    }

    /// It has got or lost them.
    pub(crate) fn changed(&self) {
        self.changes.end();
    }

    /// Whether every packet that is being handled was received after the last of these changes.
    #[inline]
    pub(crate) fn is_settled(&self) -> bool {
        self.changes.is_settled()
    }

    fn prefix(&self, of: Ipv4Addr, len: u32) {
        if !(of.is_loopback() && len >= 8) {
            self.beyond.store(beyond::SOME, Relaxed);
        }
    }

    /// # Safety
    ///
    /// Called by the chain of the FIB's notifiers only: under RCU, with a `fib_notifier_info`, for a block
    /// that is registered by [`Self::update`].
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
