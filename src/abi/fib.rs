// SPDX-License-Identifier: GPL-2.0

//! Finds out whether a namespace has local routes beyond its configured addresses.
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
    /// Not known: any address may have one.
    pub(super) const UNKNOWN: u8 = 0;
    /// The routes are being looked through. None so far.
    pub(super) const LOOKING: u8 = 1;
    /// There are none.
    pub(super) const NONE: u8 = 2;
    /// At least one was seen.
    pub(super) const SOME: u8 = 3;
}

/// Knows whether a namespace may have local routes to addresses that are not configured, while it is watched.
///
/// Most namespaces have none. Then an address that is not in the index is not the host's, and no route lookup is
/// needed. Such routes come from the prefix of an address on a loopback device (with `ip addr add 10.0.0.0/28 dev lo`,
/// lo owns sixteen addresses) or are added by hand (`ip route add local 10.0.0.0/28 dev lo`). Once one has been seen,
/// or while this is not known, routes must be looked up.
///
/// Of several routes to the same prefix, the kernel reports only the first. It reports a local route behind another one
/// when that one goes. If the first one is for a single DSCP, a route behind it may be used for other packets, so that
/// counts as a local route.
///
/// A work item registers and unregisters the notifier, without the RTNL: up to 6.12 `register_fib_notifier` takes the
/// RTNL itself, and a dump of possibly a million routes should not delay anyone.
#[pin_data]
pub(crate) struct LocalRoutes<T: HasIndex> {
    #[pin]
    block: Opaque<bindings::notifier_block>,
    #[pin]
    work: Opaque<bindings::work_struct>,
    /// One of [`beyond`].
    beyond: AtomicU8,
    /// Changes of a loopback device's prefix routes. Written under the RTNL.
    changes: Settling,
    watch: RtnlCell<Watch>,
    /// The namespace to watch, or null. Written under the RTNL, read by the work item.
    wanted: AtomicPtr<bindings::net>,
    /// The namespace in which the block is registered, or null. Accessed by the work item, which never runs
    /// concurrently with itself, and by [`Self::stop`] after it has cancelled the work item.
    registered: Cell<*mut bindings::net>,
    _state: PhantomData<fn() -> T>,
}

/// Whether the routes of a namespace are watched.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Watch {
    No,
    /// Once the work item has run.
    Yes,
    /// For good: the namespace is being removed.
    Stopped,
}

// SAFETY: While in use, only the kernel accesses the block and the work item. `registered` is accessed by one thread at
// a time: the work item, or `stop` after cancelling it.
unsafe impl<T: HasIndex> Send for LocalRoutes<T> {}
// SAFETY: As above.
unsafe impl<T: HasIndex> Sync for LocalRoutes<T> {}

impl<T: HasIndex> LocalRoutes<T> {
    /// Creates it without watching.
    ///
    /// [`Self::stop`] must be called, and a grace period must pass, before it is dropped.
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
                // SAFETY: `work` is valid for writing and pinned.
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

    /// Schedules watching: a look through all routes, then at every new one. The index must be active. Does nothing if
    /// watching already. Does not wait.
    pub(crate) fn watch(&self, net: &Net, rtnl: &mut Rtnl) {
        self.set(Watch::No, Watch::Yes, net.as_ptr(), rtnl);
    }

    /// Schedules the end of watching. Does nothing if not watching. Does not wait.
    pub(crate) fn ignore(&self, rtnl: &mut Rtnl) {
        self.set(Watch::Yes, Watch::No, ptr::null_mut(), rtnl);
    }

    fn set(&self, from: Watch, to: Watch, wanted: *mut bindings::net, rtnl: &mut Rtnl) {
        let watch = self.watch.get_mut(rtnl);
        if *watch == from {
            *watch = to;
            self.wanted.store(wanted, Release);
            self.beyond.store(beyond::UNKNOWN, Relaxed);
            // SAFETY: The work item is initialised, pinned, and cancelled before it is freed.
            unsafe { bindings::schedule_work(self.work.get()) };
        }
    }

    /// Stops watching for good. Sleeps. The caller must not hold the RTNL, which the work item may wait for.
    pub(crate) fn stop(&self) {
        {
            let mut rtnl = super::rtnl::lock();
            *self.watch.get_mut(&mut rtnl) = Watch::Stopped;
            self.wanted.store(ptr::null_mut(), Release);
        }
        self.beyond.store(beyond::UNKNOWN, Relaxed);
        // SAFETY: The work item is initialised. It is not queued again: `set` finds neither `Yes` nor `No`.
        unsafe { bindings::cancel_work_sync(self.work.get()) };
        self.update();
    }

    /// Registers the block in the namespace `wanted`, and nowhere else.
    fn update(&self) {
        // What an earlier run found is not kept up to date from here on.
        self.beyond.store(beyond::UNKNOWN, Relaxed);
        let registered = self.registered.replace(ptr::null_mut());
        if !registered.is_null() {
            // SAFETY: The block is registered there. The namespace is alive: it calls `stop` before it is freed.
            unsafe { bindings::unregister_fib_notifier(registered, self.block.get()) };
        }
        let wanted = self.wanted.load(Acquire);
        if wanted.is_null() {
            return;
        }
        self.beyond.store(beyond::LOOKING, Relaxed);
        // SAFETY: The block is initialised, pinned and not registered. It is kept for a grace period after it was
        // unregistered. The namespace is alive: it calls `stop` before it is freed.
        let error = unsafe {
            bindings::register_fib_notifier(wanted, self.block.get(), None, ptr::null_mut())
        };
        if error == 0 {
            self.registered.set(wanted);
            let _ = self
                .beyond
                .compare_exchange(beyond::LOOKING, beyond::NONE, Relaxed, Relaxed);
        }
        // An error (routes of any family changed too fast to be reported in order) leaves LOOKING, with which routes
        // are looked up, as with UNKNOWN.
    }

    /// # Safety
    ///
    /// Called only by the workqueue, for the work item of a live value.
    unsafe extern "C" fn work(work: *mut bindings::work_struct) {
        // SAFETY: The work item is a field of `Self`, which lives until the work item has been cancelled.
        unsafe { &*container_of!(Opaque::cast_from(work), Self, work) }.update();
    }

    /// Whether there may be a local route to an address that is not configured.
    #[inline]
    pub(crate) fn may_reach(&self, addr: Ipv4Addr) -> bool {
        // The prefix of 127.0.0.1/8 does not count in `beyond`: every host has it. So look up its addresses always.
        self.beyond.load(Relaxed) != beyond::NONE || addr.is_loopback()
    }

    /// Marks the start of a change of a loopback device's prefix routes.
    pub(crate) fn change(&self) {
        self.changes.begin();
    }

    /// Marks the end of the change.
    pub(crate) fn changed(&self) {
        self.changes.end();
    }

    /// Whether every packet being handled was received after the last of these changes.
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
    /// Called only by the FIB notifier chain: under RCU, with a `fib_notifier_info`, for a block that [`Self::update`]
    /// registered.
    unsafe extern "C" fn call(
        block: *mut bindings::notifier_block,
        event: c_ulong,
        info: *mut c_void,
    ) -> c_int {
        let info: *const bindings::fib_notifier_info = info.cast_const().cast();
        // SAFETY: The chain passes a valid `fib_notifier_info`.
        let family = unsafe { (*info).family };
        if event as u32 != bindings::fib_event_type_FIB_EVENT_ENTRY_REPLACE
            || family != bindings::AF_INET as c_int
        {
            return bindings::NOTIFY_DONE as c_int;
        }
        // SAFETY: For this event of IPv4, the info is the first field of a `fib_entry_notifier_info`. The block is a
        // field of `Self`: no other block is registered with this function.
        let (routes, route) = unsafe {
            (
                &*container_of!(Opaque::cast_from(block), Self, block),
                &*info.cast::<bindings::fib_entry_notifier_info>(),
            )
        };
        // SAFETY: The reported route and its namespace are alive during the call.
        let (protocol, source, net) = unsafe {
            (
                (*route.fi).fib_protocol,
                (*route.fi).fib_prefsrc,
                Net::from_raw((*route.fi).fib_net),
            )
        };
        let dst = Ipv4Addr::from_bits(route.dst);
        // SAFETY: The chain is called under RCU.
        let rcu = unsafe { entered() };
        // A route as `fib_add_ifaddr` adds it for an address. Others may outlive the address.
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
