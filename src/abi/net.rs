// SPDX-License-Identifier: GPL-2.0

//! Network namespaces: their devices and routes, and per-namespace state.
//!
//! C headers: [`include/net/net_namespace.h`](srctree/include/net/net_namespace.h),
//! [`include/net/netns/generic.h`](srctree/include/net/netns/generic.h),
//! [`include/net/ip_fib.h`](srctree/include/net/ip_fib.h)

use super::{
    bindings,
    netdevice::{self, NetDevice},
    rtnl::Rtnl, //
};
use core::{
    marker::PhantomData,
    mem::MaybeUninit,
    net::Ipv4Addr,
    ptr,
    sync::atomic::{AtomicPtr, AtomicU32, Ordering},
};
use kernel::{
    error::{from_result, to_result},
    ffi::c_int,
    prelude::*,
    sync::rcu,
    types::Opaque, //
};
use pin_init::InPlaceWrite;

/// A network namespace (`struct net`).
///
/// # Invariants
///
/// It is alive for as long as a reference to it lives.
#[repr(transparent)]
pub(crate) struct Net(Opaque<bindings::net>);

impl Net {
    /// # Safety
    ///
    /// `net` must point to a namespace that stays alive for `'a`.
    pub(super) unsafe fn from_raw<'a>(net: *const bindings::net) -> &'a Self {
        // SAFETY: The caller promises a live namespace, and the type is transparent.
        unsafe { &*net.cast() }
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::net {
        self.0.get()
    }

    /// Returns the devices, in the kernel's order: lo is the first.
    pub(crate) fn devices<'a>(
        &'a self,
        rcu: &'a rcu::Guard,
    ) -> impl Iterator<Item = &'a NetDevice> {
        netdevice::devices(self, rcu)
    }

    /// Does what [`Self::devices`] does, under the RTNL.
    pub(crate) fn devices_rtnl<'a>(
        &'a self,
        rtnl: &'a Rtnl,
    ) -> impl Iterator<Item = &'a NetDevice> {
        netdevice::devices_rtnl(self, rtnl)
    }

    /// Returns the device with the index, if there is one.
    pub(crate) fn device<'a>(&'a self, ifindex: i32, rcu: &'a rcu::Guard) -> Option<&'a NetDevice> {
        netdevice::device_by_index(self, ifindex, rcu)
    }

    /// Returns the device of the local route that a packet to `addr`, received on `dev`, would use. `None` if the
    /// kernel would not deliver it locally.
    pub(crate) fn local_route<'a>(
        &'a self,
        addr: Ipv4Addr,
        dev: &NetDevice,
        _: &'a rcu::Guard,
    ) -> Option<&'a NetDevice> {
        let mut flow = bindings::flowi4 {
            daddr: addr.to_bits().to_be(),
            ..Default::default()
        };
        flow.__fl_common.flowic_iif = dev.ifindex();
        let mut found = bindings::fib_result::default();
        // SAFETY: The namespace is alive. The guard keeps the result from being freed.
        let error = unsafe { bindings::fib_lookup(self.as_ptr(), &mut flow, &mut found) };
        if error != 0 || u32::from(found.type_) != bindings::RTN_LOCAL {
            return None;
        }
        // SAFETY: The lookup succeeded, so `found` describes a route.
        let dev = unsafe { bindings::fib_res_dev(&mut found) };
        if ptr::eq(dev, ptr::null()) {
            return None;
        }
        // SAFETY: A route's device is registered, and is freed a grace period after its routes were removed.
        Some(unsafe { NetDevice::from_raw(dev) })
    }

    /// Whether the kernel considers `addr` local when it sends by `dev`, as `arp_solicit` checks.
    pub(crate) fn is_local(&self, addr: Ipv4Addr, dev: &NetDevice, _: &rcu::Guard) -> bool {
        let addr = addr.to_bits().to_be();
        // SAFETY: The namespace and the device are alive.
        let kind = unsafe { bindings::inet_addr_type_dev_table(self.as_ptr(), dev.as_ptr(), addr) };
        kind == bindings::RTN_LOCAL
    }

    /// Has the next lookup of every route select its source address anew, unless the route specifies one. This also
    /// invalidates cached ones. Sleeps for about one expedited grace period.
    ///
    /// The grace period is for `fib_info_update_nhc_saddr`, which selects an address and then marks it with the
    /// generation it reads. If it selected before the flags changed and marked the result after the generation did, the
    /// stale result would stay. It runs under RCU or the RTNL.
    pub(crate) fn reselect_sources(&self, _: &mut Rtnl) {
        // SAFETY: No requirements but a context that may sleep.
        unsafe { kernel::bindings::synchronize_rcu_expedited() };
        // In this order, a route that is looked up again finds its cached source outdated already.
        // SAFETY: The namespace is alive.
        unsafe {
            bindings::dev_addr_genid_bump(self.as_ptr());
            bindings::rt_genid_bump_ipv4(self.as_ptr());
        }
    }
}

/// Returns the namespace from which a namespace being created inherits `conf/all` and `conf/default`, according to
/// `net.core.devconf_inherit_init_net`. `None` if it starts with the kernel's defaults.
pub(crate) fn inherited_devconf<'a>() -> Option<&'a Net> {
    // SAFETY: No requirements. `init_net` is never freed, and the current task's namespace stays alive while the task
    // creates another one.
    unsafe {
        match bindings::net_inherit_devconf() {
            0 | 1 => Some(Net::from_raw(&raw const bindings::init_net)),
            3 => Some(Net::from_raw(bindings::current_net_ns())),
            _ => None,
        }
    }
}

/// Whether the rate limit of networking messages (net.core.message_burst and message_cost) allows one more. In any
/// context.
pub(crate) fn ratelimit() -> bool {
    // SAFETY: No requirements.
    unsafe { bindings::net_ratelimit() != 0 }
}

/// State that every network namespace has.
pub(crate) trait PerNet: Sized + Send + Sync + 'static {
    /// Returns where [`Registration`] keeps the number that the kernel assigned.
    fn id() -> &'static Id<Self>;

    /// Creates the state of a namespace: of every existing one during registration, and of each new one before it has a
    /// device. An error fails the registration, or the creation of the namespace.
    fn init(net: &Net) -> impl PinInit<Self, Error>;

    /// Called before a namespace or the registration is removed, to stop new work. A namespace's devices still work
    /// now. They are removed next; then a grace period passes, and the state is dropped. May sleep.
    fn pre_exit(&self, net: &Net);

    /// Returns the state of a namespace.
    ///
    /// Only for callers that the [`Registration`] outlives.
    fn of(net: &Net) -> &Self {
        // SAFETY: The namespace is alive. The registration has set the id before it created the first state, and
        // outlives the caller.
        let state =
            unsafe { bindings::net_generic(net.as_ptr(), Self::id().0.load(Ordering::Relaxed)) };
        // SAFETY: `init` initialised the state before the namespace had a device, a file or a packet, and it is dropped
        // after all of them.
        unsafe { &*state.cast::<Self>() }
    }

    /// Does what [`Self::of`] does, in a few instructions.
    #[inline]
    fn of_rcu<'a>(net: &'a Net, _: &rcu::Guard) -> &'a Self {
        // SAFETY: The namespace is alive. The kernel replaces the array by a larger one with a single store, and frees
        // it a grace period later. `id` is an index of the array, as in `of`.
        let state = unsafe {
            let states = AtomicPtr::from_ptr(&raw mut (*net.as_ptr()).gen).load(Ordering::Acquire);
            // As in `net_generic`: the number is an index of `ptr`, which starts at the start of the struct.
            let states = states.cast::<*mut Self>();
            *states.add(Self::id().0.load(Ordering::Relaxed) as usize)
        };
        // SAFETY: `init` initialised the state before the namespace had a device, a file or a packet, and it is dropped
        // after all of them.
        unsafe { &*state }
    }
}

/// The number that the kernel assigned to a [`PerNet`].
pub(crate) struct Id<T>(AtomicU32, PhantomData<fn() -> T>);

impl<T> Id<T> {
    /// Creates one without a number.
    pub(crate) const fn new() -> Self {
        Self(AtomicU32::new(0), PhantomData)
    }
}

/// A registered [`PerNet`]. Dropping it sleeps.
#[pin_data(PinnedDrop)]
pub(crate) struct Registration<T: PerNet> {
    #[pin]
    ops: Opaque<bindings::pernet_operations>,
    _state: PhantomData<T>,
}

// SAFETY: While registered, only the kernel accesses the operations.
unsafe impl<T: PerNet> Send for Registration<T> {}
// SAFETY: As above.
unsafe impl<T: PerNet> Sync for Registration<T> {}

impl<T: PerNet> Registration<T> {
    /// Registers the operations. Sleeps.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            ops <- Opaque::try_ffi_init(|ops: *mut bindings::pernet_operations| {
                let init = bindings::pernet_operations {
                    init: Some(Self::init),
                    pre_exit: Some(Self::pre_exit),
                    exit: Some(Self::exit),
                    id: T::id().0.as_ptr(),
                    size: size_of::<T>(),
                    ..Default::default()
                };
                // SAFETY: `ops` is valid for writing.
                unsafe { ops.write(init) };
                // SAFETY: The operations are initialised, pinned, and unregistered before they are freed. The kernel
                // allocates `size` zeroed bytes, aligned for any type, before each `init`.
                to_result(unsafe { bindings::register_pernet_subsys(ops) })
            }),
            _state: PhantomData,
        }? Error)
    }

    /// # Safety
    ///
    /// Called only by the kernel, for a namespace whose state is not initialised.
    unsafe extern "C" fn init(net: *mut bindings::net) -> c_int {
        from_result(|| {
            // SAFETY: The kernel passes a live namespace.
            let net = unsafe { Net::from_raw(net) };
            // SAFETY: The kernel has set the id and allocated the memory before the call.
            let slot =
                unsafe { bindings::net_generic(net.as_ptr(), T::id().0.load(Ordering::Relaxed)) };
            // SAFETY: `slot` is valid for a `T`, and does not move until the namespace is freed.
            let slot = unsafe { &mut *slot.cast::<MaybeUninit<T>>() };
            slot.write_pin_init(T::init(net))?;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Called only by the kernel, for a namespace whose state is initialised.
    unsafe extern "C" fn pre_exit(net: *mut bindings::net) {
        // SAFETY: The kernel passes a live namespace.
        let net = unsafe { Net::from_raw(net) };
        T::of(net).pre_exit(net);
    }

    /// # Safety
    ///
    /// Called only by the kernel, for a namespace whose state is initialised, a grace period after `pre_exit`.
    unsafe extern "C" fn exit(net: *mut bindings::net) {
        // SAFETY: The kernel passes a live namespace.
        let net = unsafe { Net::from_raw(net) };
        // SAFETY: `init` initialised the state, nothing uses it any more, and the kernel frees its memory after this.
        unsafe { ptr::drop_in_place(ptr::from_ref(T::of(net)).cast_mut()) };
    }
}

#[pinned_drop]
impl<T: PerNet> PinnedDrop for Registration<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Registered by `new`.
        unsafe { bindings::unregister_pernet_subsys(self.ops.get()) };
    }
}
