// SPDX-License-Identifier: GPL-2.0

//! Network namespaces: their devices and routes, and state of our own in each.
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
        // SAFETY: As the caller promises; the type is transparent.
        unsafe { &*net.cast() }
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::net {
        self.0.get()
    }

    /// The devices, in the kernel's order: lo is the first.
    pub(crate) fn devices<'a>(
        &'a self,
        rcu: &'a rcu::Guard,
    ) -> impl Iterator<Item = &'a NetDevice> {
        netdevice::devices(self, rcu)
    }

    /// As [`Self::devices`], under the RTNL.
    pub(crate) fn devices_rtnl<'a>(
        &'a self,
        rtnl: &'a Rtnl,
    ) -> impl Iterator<Item = &'a NetDevice> {
        netdevice::devices_rtnl(self, rtnl)
    }

    /// The device with the index, if there is one.
    pub(crate) fn device<'a>(&'a self, ifindex: i32, rcu: &'a rcu::Guard) -> Option<&'a NetDevice> {
        netdevice::device_by_index(self, ifindex, rcu)
    }

    /// The device of the route by which the kernel would take a packet to `addr`, coming in on `dev`, for its
    /// own; `None` if it would not.
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
        // SAFETY: The namespace is alive; the guard keeps what is found from being freed.
        let error = unsafe { bindings::fib_lookup(self.as_ptr(), &mut flow, &mut found) };
        if error != 0 || u32::from(found.type_) != bindings::RTN_LOCAL {
            return None;
        }
        // SAFETY: The look-up succeeded.
        let dev = unsafe { bindings::fib_res_dev(&mut found) };
        if ptr::eq(dev, ptr::null()) {
            return None;
        }
        // SAFETY: A route's device is registered, and freed a grace period after its routes are gone.
        Some(unsafe { NetDevice::from_raw(dev) })
    }

    /// Whether the kernel takes `addr` for its own when it asks by `dev`, as `arp_solicit` does.
    pub(crate) fn is_local(&self, addr: Ipv4Addr, dev: &NetDevice, _: &rcu::Guard) -> bool {
        let addr = addr.to_bits().to_be();
        // SAFETY: The namespace and the device are alive.
        let kind = unsafe { bindings::inet_addr_type_dev_table(self.as_ptr(), dev.as_ptr(), addr) };
        kind == bindings::RTN_LOCAL
    }

    /// Makes the next look-up of every route select its source address anew, where none is given, also where
    /// the route had one cached. Sleeps, for about one expedited grace period.
    ///
    /// `fib_info_update_nhc_saddr` first selects and then marks the result with the generation it reads: one
    /// that selected just before the change of what is selectable, and is to mark it just after, would keep
    /// its stale result for good. It runs under RCU or the RTNL, so it is waited for.
    pub(crate) fn reselect_sources(&self, _: &mut Rtnl) {
        // SAFETY: No requirements but a context that may sleep.
        unsafe { kernel::bindings::synchronize_rcu_expedited() };
        // SAFETY: The namespace is alive. In this order: a cached route that is looked up again finds the
        // cached source outdated already.
        unsafe {
            bindings::dev_addr_genid_bump(self.as_ptr());
            bindings::rt_genid_bump_ipv4(self.as_ptr());
        }
    }
}

/// The namespace whose `conf/all` and `conf/default` a namespace that is being made starts with, by
/// `net.core.devconf_inherit_init_net`; `None`: with what the kernel was built with.
pub(crate) fn inherited_devconf<'a>() -> Option<&'a Net> {
    // SAFETY: No requirements. `init_net` lives for ever, and the namespace of the current task for as long
    // as the task makes another one.
    unsafe {
        match bindings::net_inherit_devconf() {
            0 | 1 => Some(Net::from_raw(&raw const bindings::init_net)),
            3 => Some(Net::from_raw(bindings::current_net_ns())),
            _ => None,
        }
    }
}

/// Whether the network's share of the kernel log has room for a message (net.core.message_burst and
/// message_cost). In any context.
pub(crate) fn ratelimit() -> bool {
    // SAFETY: No requirements.
    unsafe { bindings::net_ratelimit() != 0 }
}

/// State that every network namespace has.
pub(crate) trait PerNet: Sized + Send + Sync + 'static {
    /// Where [`Registration`] keeps the number that the kernel gave it.
    fn id() -> &'static Id<Self>;

    /// Makes the state of a namespace: of each that exists when it is registered, then of each new one before
    /// it has a device. An error refuses the registration or the namespace.
    fn init(net: &Net) -> impl PinInit<Self, Error>;

    /// A namespace goes, or the registration: ends what could make it busy anew. A namespace's devices, still
    /// there and at work now, go next, then a grace period passes and the state is dropped. May sleep.
    fn pre_exit(&self, net: &Net);

    /// The state of a namespace.
    ///
    /// To be called by what [`Registration`] outlives.
    fn of(net: &Net) -> &Self {
        // SAFETY: The namespace is alive, and the registration has set the id: that is what makes the first
        // state, and only what it outlives calls this.
        let state =
            unsafe { bindings::net_generic(net.as_ptr(), Self::id().0.load(Ordering::Relaxed)) };
        // SAFETY: `init` has filled it before the namespace was reachable for a device, a file or a packet,
        // and it is dropped after all of them are gone.
        unsafe { &*state.cast::<Self>() }
    }

    /// As [`Self::of`], in a few instructions.
    #[inline]
    fn of_rcu<'a>(net: &'a Net, _: &rcu::Guard) -> &'a Self {
        // SAFETY: The namespace is alive; the array, which the kernel replaces as one pointer by a larger one,
        // is freed a grace period after that.
        let state = unsafe {
            let states = AtomicPtr::from_ptr(&raw mut (*net.as_ptr()).gen).load(Ordering::Acquire);
            // As `net_generic` has it: a number is that of an entry of `ptr`, which begins where the whole
            // begins.
            let states = states.cast::<*mut Self>();
            *states.add(Self::id().0.load(Ordering::Relaxed) as usize)
        };
        // SAFETY: As in `of`.
        unsafe { &*state }
    }
}

/// The number by which the kernel knows a [`PerNet`].
pub(crate) struct Id<T>(AtomicU32, PhantomData<fn() -> T>);

impl<T> Id<T> {
    /// No number yet.
    pub(crate) const fn new() -> Self {
        Self(AtomicU32::new(0), PhantomData)
    }
}

/// A registered [`PerNet`]. The drop sleeps.
#[pin_data(PinnedDrop)]
pub(crate) struct Registration<T: PerNet> {
    #[pin]
    ops: Opaque<bindings::pernet_operations>,
    _state: PhantomData<T>,
}

// SAFETY: The operations are the kernel's while they are registered; nothing here touches them.
unsafe impl<T: PerNet> Send for Registration<T> {}
// SAFETY: As above.
unsafe impl<T: PerNet> Sync for Registration<T> {}

impl<T: PerNet> Registration<T> {
    /// Registers.
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
                // SAFETY: The operations are initialised, pinned, and unregistered before they go. The
                // kernel allocates `size` zeroed bytes, aligned for any type, before each `init`.
                to_result(unsafe { bindings::register_pernet_subsys(ops) })
            }),
            _state: PhantomData,
        }? Error)
    }

    /// # Safety
    ///
    /// Called by the kernel only, for a namespace whose state is not initialised.
    unsafe extern "C" fn init(net: *mut bindings::net) -> c_int {
        from_result(|| {
            // SAFETY: The kernel gives a live namespace.
            let net = unsafe { Net::from_raw(net) };
            // SAFETY: The kernel has allocated and assigned the memory before the call.
            let slot =
                unsafe { bindings::net_generic(net.as_ptr(), T::id().0.load(Ordering::Relaxed)) };
            // SAFETY: `slot` is valid for a `T`, and stays where it is until the namespace goes.
            let slot = unsafe { &mut *slot.cast::<MaybeUninit<T>>() };
            slot.write_pin_init(T::init(net))?;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Called by the kernel only, for a namespace whose state is initialised.
    unsafe extern "C" fn pre_exit(net: *mut bindings::net) {
        // SAFETY: The kernel gives a live namespace.
        let net = unsafe { Net::from_raw(net) };
        T::of(net).pre_exit(net);
    }

    /// # Safety
    ///
    /// Called by the kernel only, for a namespace whose state is initialised, a grace period after `pre_exit`.
    unsafe extern "C" fn exit(net: *mut bindings::net) {
        // SAFETY: The kernel gives a live namespace.
        let net = unsafe { Net::from_raw(net) };
        // SAFETY: Initialised by `init`, not used any more, and freed by the kernel after this.
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
