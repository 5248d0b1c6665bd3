// SPDX-License-Identifier: GPL-2.0

//! An index of the IPv4 addresses configured in a namespace, which never lags the kernel's replies.
//!
//! C header: [`include/linux/inetdevice.h`](srctree/include/linux/inetdevice.h)

use super::{
    bindings,
    fib::LocalRoutes,
    inetdevice::InIfaddr,
    net::{Net, PerNet},
    netdevice::{notifier_from_result, NetDevice},
    rcu::Settling,
    rcu_hash::{Matches, RcuHash, Vacant},
    rtnl::{Rtnl, RtnlCell}, //
};
use core::{
    marker::PhantomData,
    mem,
    net::Ipv4Addr,
    ptr::{self, NonNull},
    sync::atomic::{AtomicPtr, Ordering::Relaxed}, //
};
use kernel::{
    error::to_result,
    ffi::{c_int, c_ulong, c_void},
    prelude::*,
    sync::rcu,
    types::Opaque, //
};

/// An address in the index, with what is known of the device it is configured on.
///
/// # Invariants
///
/// `ifa` points to a live address: it is in the index only from its NETDEV_UP to its NETDEV_DOWN, and the kernel frees
/// it a grace period after that.
pub(crate) struct Configured<O> {
    ifa: NonNull<bindings::in_ifaddr>,
    owner: O,
    addition: Settling,
    /// The task in which a request for the address was last let through while its addition was settling.
    asked_in: AtomicPtr<bindings::task_struct>,
}

// SAFETY: The kernel itself shares addresses between threads, under RCU.
unsafe impl<O: Send> Send for Configured<O> {}
// SAFETY: As above.
unsafe impl<O: Sync> Sync for Configured<O> {}

impl<O> Configured<O> {
    /// Returns the device that the address is configured on.
    #[inline]
    pub(crate) fn device(&self) -> &NetDevice {
        // SAFETY: Alive by the type invariants.
        unsafe { InIfaddr::from_raw(self.ifa.as_ptr()) }.device()
    }

    /// Returns what [`HasIndex::owner`] returned for the device.
    pub(crate) fn owner(&self) -> &O {
        &self.owner
    }

    /// Notes that the request being handled, which is for the address, may get a reply. In softirq context.
    pub(crate) fn let_reply(&self) {
        self.asked_in.store(current(), Relaxed);
    }

    /// Whether the request being handled, to which the kernel is about to reply, was checked against the index after
    /// the address became known.
    ///
    /// True if the addition has settled. Otherwise true if [`Self::let_reply`] was called in the current task: a task
    /// handles one request, from its receipt to its reply, before the next. So its last note here is about this
    /// request.
    pub(crate) fn was_known(&self) -> bool {
        self.addition.is_settled() || self.asked_in.load(Relaxed) == current()
    }
}

/// Returns the current task; in an interrupt, the interrupted one.
fn current() -> *mut bindings::task_struct {
    // SAFETY: No requirements.
    unsafe { bindings::current_task() }
}

/// The addresses configured in one namespace, while it wants them indexed.
///
/// `addresses` and the two cells are written under the RTNL; `addresses` is read under RCU.
pub(crate) struct Index<O: Send + Sync + 'static> {
    addresses: RcuHash<Configured<O>>,
    active: RtnlCell<bool>,
    /// An entry for the next address, allocated while its addition can still be refused.
    spare: RtnlCell<Option<Vacant<Configured<O>>>>,
    /// The latest addition of a concealed address.
    additions: Settling,
    /// The latest addition whose address was removed before it had settled.
    undone: Settling,
}

impl<O: Send + Sync + 'static> Index<O> {
    /// Creates an inactive index.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            addresses: RcuHash::new()?,
            active: RtnlCell::new(false),
            spare: RtnlCell::new(None),
            additions: Settling::settled(),
            undone: Settling::settled(),
        })
    }

    /// Whether it is active.
    pub(crate) fn is_active(&self, rtnl: &Rtnl) -> bool {
        *self.active.get(rtnl)
    }

    /// Whether all additions have settled. In any context.
    #[inline]
    pub(crate) fn is_settled(&self) -> bool {
        self.additions.is_settled()
    }

    /// Whether a packet being handled may have been received before a concealed address was added that has gone again.
    /// False if all additions have settled.
    pub(crate) fn has_undone(&self) -> bool {
        !self.undone.is_settled()
    }

    /// Returns the configured addresses that equal `addr`: one for each device that has it, or more with different
    /// prefix lengths. Complete while the index is active.
    #[inline]
    pub(crate) fn get<'a>(
        &'a self,
        addr: Ipv4Addr,
        rcu: &'a rcu::Guard,
    ) -> Matches<'a, Configured<O>> {
        self.addresses.get(addr.to_bits(), rcu)
    }

    /// Indexes all addresses of the namespace, and follows changes from now on. Does nothing if active already. Linear
    /// in the number of addresses. Sleeps.
    pub(crate) fn activate(
        &self,
        net: &Net,
        owner: impl Fn(&NetDevice) -> O,
        rtnl: &mut Rtnl,
    ) -> Result {
        if *self.active.get(rtnl) {
            return Ok(());
        }
        let mut configured = KVVec::new();
        for dev in net.devices_rtnl(rtnl) {
            for ifa in dev
                .in_device_rtnl(rtnl)
                .into_iter()
                .flat_map(|in_dev| in_dev.addresses_rtnl(rtnl))
            {
                // INVARIANT: Its NETDEV_DOWN cannot come before the RTNL is released. By then the index is active.
                let entry = Configured {
                    ifa: NonNull::from(ifa).cast(),
                    owner: owner(dev),
                    addition: Settling::settled(),
                    asked_in: AtomicPtr::new(ptr::null_mut()),
                };
                configured.push((ifa.local(), entry), GFP_KERNEL)?;
            }
        }
        self.addresses.reserve(configured.len(), rtnl);
        for (addr, entry) in configured {
            match Vacant::new() {
                Ok(vacant) => {
                    self.addresses.insert(vacant, addr.to_bits(), entry, rtnl);
                }
                Err(error) => {
                    self.addresses.clear(rtnl);
                    return Err(error);
                }
            }
        }
        *self.active.get_mut(rtnl) = true;
        Ok(())
    }

    /// Forgets all addresses. Does nothing if not active.
    pub(crate) fn deactivate(&self, rtnl: &mut Rtnl) {
        if !mem::take(self.active.get_mut(rtnl)) {
            return;
        }
        *self.spare.get_mut(rtnl) = None;
        self.addresses.clear(rtnl);
    }

    /// Allocates the entry for the next [`Self::add`].
    fn prepare(&self, rtnl: &mut Rtnl) -> Result {
        if *self.active.get(rtnl) && self.spare.get(rtnl).is_none() {
            *self.spare.get_mut(rtnl) = Some(Vacant::new()?);
        }
        Ok(())
    }

    /// Adds an address. If the device `conceals` it, the addition has to settle.
    fn add(&self, ifa: &InIfaddr, owner: O, conceals: bool, rtnl: &mut Rtnl) {
        let ifa_ptr = NonNull::from(ifa).cast();
        let key = ifa.local().to_bits();
        // A secondary address that is promoted gets another NETDEV_UP, but is known already.
        let known = self
            .addresses
            .get(key, &rcu::read_lock())
            .any(|known| known.ifa == ifa_ptr);
        if known || !*self.active.get(rtnl) {
            return;
        }
        let Some(vacant) = self.spare.get_mut(rtnl).take() else {
            return;
        };
        // INVARIANT: The NETDEV_UP of the address is being handled.
        let entry = Configured {
            ifa: ifa_ptr,
            owner,
            addition: if conceals {
                Settling::ongoing()
            } else {
                Settling::settled()
            },
            asked_in: AtomicPtr::new(ptr::null_mut()),
        };
        if conceals {
            self.additions.begin();
        }
        let entry = self.addresses.insert(vacant, key, entry, rtnl);
        if conceals {
            entry.addition.end();
            self.additions.end();
        }
    }

    fn remove(&self, ifa: &InIfaddr, rtnl: &mut Rtnl) {
        let ifa_ptr = NonNull::from(ifa).cast();
        let key = ifa.local().to_bits();
        let is_young = self
            .addresses
            .get(key, &rcu::read_lock())
            .any(|known| known.ifa == ifa_ptr && !known.addition.is_settled());
        if is_young {
            self.undone.follow(&self.additions);
        }
        self.addresses
            .remove(key, |known| known.ifa == ifa_ptr, rtnl);
    }
}

/// State of a namespace that has an [`Index`].
pub(crate) trait HasIndex: PerNet {
    /// What is known of a device. Kept with each of its addresses.
    type Owner: Send + Sync + 'static;

    /// Returns the index.
    fn index(&self) -> &Index<Self::Owner>;

    /// Returns the local routes that go beyond it.
    fn routes(&self) -> &LocalRoutes<Self>;

    /// Returns what is known of a device. This must not change while the device has addresses.
    fn owner(&self, dev: &NetDevice) -> Self::Owner;

    /// Whether the addresses of this owner are concealed.
    fn conceals(owner: &Self::Owner) -> bool;
}

/// A user of [`Notifiers`].
pub(crate) trait Notify: 'static {
    /// The state of a namespace.
    type State: HasIndex;

    /// Called under the RTNL when an address was added or promoted to primary. Must not sleep.
    fn added(ifa: &InIfaddr, rtnl: &mut Rtnl);
}

/// The notifiers that keep the [`Index`] of every namespace up to date. Registering and dropping sleep. Handling an
/// address never waits for a grace period.
///
/// The kernel replies to ARP requests for an address, and uses it as a sender address, while the FIB has a local route
/// to it. `fib_inetaddr_event`, at priority 0 of the same chain, adds and removes that route.
///
/// A *request* is looked up in the index first (NF_ARP_IN) and in the FIB second (`arp_process`), in one RCU read-side
/// critical section:
///
/// - An address enters the index before its route is added: [`Self::before`] has the highest priority. A request that
///   was looked up before that, and then finds the route, gets a reply. That reply passes NF_ARP_OUT in the same
///   critical section, while [`Configured::was_known`] is still false. If the address has gone again by then,
///   [`Index::has_undone`] is still true.
/// - An address leaves the index after its route was removed: [`Self::after`] has the lowest priority. A request that
///   does not find it in the index does not find the route either.
///
/// A *solicitation* is looked up in the FIB first (`arp_solicit`) and in the index second (NF_ARP_OUT). If the address
/// is missing there although the kernel has just used it as its own, it was removed in between.
///
/// A notifier cannot refuse an address, so adding the entry must not fail. [`Self::validator`] can refuse one. It runs
/// earlier under the same hold of the RTNL and allocates the entry.
///
/// The kernel's own hash of addresses, which `__ip_dev_find` reads, cannot be used: it loses an address before the FIB
/// loses the route.
#[pin_data(PinnedDrop)]
pub(crate) struct Notifiers<T: Notify> {
    #[pin]
    validator: Opaque<bindings::notifier_block>,
    #[pin]
    before: Opaque<bindings::notifier_block>,
    #[pin]
    after: Opaque<bindings::notifier_block>,
    _state: PhantomData<fn() -> T>,
}

// SAFETY: While registered, only the kernel accesses the blocks.
unsafe impl<T: Notify> Send for Notifiers<T> {}
// SAFETY: As above.
unsafe impl<T: Notify> Sync for Notifiers<T> {}

/// Whether an address brings local routes to other addresses: on a loopback device, its whole prefix is local.
fn makes_routes(ifa: &InIfaddr) -> bool {
    ifa.device().is_loopback() && ifa.prefix_len() < 32
}

type Call = unsafe extern "C" fn(*mut bindings::notifier_block, c_ulong, *mut c_void) -> c_int;

/// Initialises a notifier block, without registering it.
fn block(call: Call, priority: c_int) -> impl PinInit<Opaque<bindings::notifier_block>> {
    Opaque::ffi_init(move |block: *mut bindings::notifier_block| {
        let init = bindings::notifier_block {
            notifier_call: Some(call),
            priority,
            ..Default::default()
        };
        // SAFETY: `block` is valid for writing.
        unsafe { block.write(init) };
    })
}

impl<T: Notify> Notifiers<T> {
    /// Registers.
    pub(crate) fn register() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            validator <- block(Self::validator, 0),
            before <- block(Self::before, c_int::MAX),
            after <- block(Self::after, c_int::MIN),
            _state: PhantomData,
        }? Error)
        .pin_chain(|this| {
            // These calls cannot fail: the chains' only error is EEXIST, for a block that is on them already.
            // SAFETY: The blocks are initialised, pinned, and unregistered before they are freed.
            unsafe {
                to_result(bindings::register_inetaddr_validator_notifier(
                    this.validator.get(),
                ))?;
                to_result(bindings::register_inetaddr_notifier(this.before.get()))?;
                to_result(bindings::register_inetaddr_notifier(this.after.get()))
            }
        })
    }

    /// # Safety
    ///
    /// Called by the chain of validators only: under the RTNL, with an `in_validator_info`.
    unsafe extern "C" fn validator(
        _: *mut bindings::notifier_block,
        event: c_ulong,
        info: *mut c_void,
    ) -> c_int {
        if event as u32 != bindings::netdev_cmd_NETDEV_UP {
            return bindings::NOTIFY_DONE as c_int;
        }
        let info: *const bindings::in_validator_info = info.cast_const().cast();
        // SAFETY: The chain passes a valid `in_validator_info` with the live IPv4 state of a device.
        let dev = unsafe { NetDevice::from_raw((*(*info).ivi_dev).dev) };
        // SAFETY: The chain is called under the RTNL.
        let mut rtnl = unsafe { Rtnl::assume_held() };
        notifier_from_result(T::State::of(dev.net()).index().prepare(&mut rtnl))
    }

    /// # Safety
    ///
    /// Called by the inetaddr chain only: under the RTNL, with an `in_ifaddr`.
    unsafe extern "C" fn before(
        _: *mut bindings::notifier_block,
        event: c_ulong,
        ifa: *mut c_void,
    ) -> c_int {
        // SAFETY: The chain passes a live address, and is called under the RTNL.
        let (ifa, mut rtnl) = unsafe {
            (
                InIfaddr::from_raw(ifa.cast_const().cast()),
                Rtnl::assume_held(),
            )
        };
        let dev = ifa.device();
        let state = T::State::of(dev.net());
        if makes_routes(ifa) && state.index().is_active(&rtnl) {
            state.routes().change();
        }
        if event as u32 == bindings::netdev_cmd_NETDEV_UP {
            let owner = state.owner(dev);
            let conceals = T::State::conceals(&owner);
            state.index().add(ifa, owner, conceals, &mut rtnl);
            T::added(ifa, &mut rtnl);
        }
        bindings::NOTIFY_DONE as c_int
    }

    /// # Safety
    ///
    /// Called by the inetaddr chain only: under the RTNL, with an `in_ifaddr`.
    unsafe extern "C" fn after(
        _: *mut bindings::notifier_block,
        event: c_ulong,
        ifa: *mut c_void,
    ) -> c_int {
        // SAFETY: The chain passes a live address, and is called under the RTNL.
        let (ifa, mut rtnl) = unsafe {
            (
                InIfaddr::from_raw(ifa.cast_const().cast()),
                Rtnl::assume_held(),
            )
        };
        let state = T::State::of(ifa.device().net());
        if event as u32 == bindings::netdev_cmd_NETDEV_DOWN {
            state.index().remove(ifa, &mut rtnl);
        }
        if makes_routes(ifa) && state.index().is_active(&rtnl) {
            state.routes().changed();
        }
        bindings::NOTIFY_DONE as c_int
    }
}

#[pinned_drop]
impl<T: Notify> PinnedDrop for Notifiers<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: All three are registered by `register`.
        unsafe {
            bindings::unregister_inetaddr_notifier(self.after.get());
            bindings::unregister_inetaddr_notifier(self.before.get());
            bindings::unregister_inetaddr_validator_notifier(self.validator.get());
        }
    }
}
