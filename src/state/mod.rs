// SPDX-License-Identifier: GPL-2.0

//! What is known of a network namespace: its devices, their flags, the owners of an address.
//!
//! All of it is written under the RTNL, by the operator's writes and the kernel's events. Packets read the flags, the
//! devices and the index under RCU, without a lock.

mod counters;
mod device;
mod knob;
mod standing;

pub(crate) use counters::{Counters, Event};
pub(crate) use device::{Concealer, Device};
pub(crate) use knob::{Knob, Target, Values, Written};

use crate::{
    abi::{
        fib::LocalRoutes,
        inetaddr::{Configured, HasIndex, Index},
        net::{self, Id, Net, PerNet},
        netdevice::NetDevice,
        rcu_hash::{RcuHash, Vacant},
        rtnl::Rtnl, //
    },
    policy::Flags, //
};
use core::sync::atomic::{AtomicBool, Ordering};
use kernel::{
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        rcu,
        Arc, //
    }, //
};

/// What is known of the device of an address. None of a device that memory was lacking for.
type Owner = Option<Arc<Device>>;

/// The flags in force on the device of an address.
fn flags_of(address: &Configured<Owner>) -> Flags {
    flags_of_owner(address.owner())
}

fn flags_of_owner(owner: &Owner) -> Flags {
    owner
        .as_ref()
        .map_or(Flags::default(), |device| device.in_force.get())
}

/// What is known of a namespace.
///
/// One that conceals nothing knows its devices and their flags and nothing else.
#[pin_data]
pub(crate) struct Namespace {
    /// The values in `conf/all`.
    pub(crate) all: Values,
    /// The values in `conf/default`.
    pub(crate) default: Values,
    /// Which of these were written, here or in the namespace that they were inherited from.
    pub(crate) default_written: Written,
    devices: RcuHash<Arc<Device>>,
    /// The configured addresses, while something is concealed.
    index: Index<Owner>,
    #[pin]
    routes: LocalRoutes<Namespace>,
    /// A device is hidden: sources are to be selected around it.
    hiding: AtomicBool,
}

impl Namespace {
    /// What is known of a device, until the grace period ends; nothing of one that is not known (any more).
    pub(crate) fn known<'a>(&'a self, dev: &NetDevice, rcu: &'a rcu::Guard) -> Option<&'a Device> {
        let mut known = self.devices.get(dev.ifindex() as u32, rcu);
        known.next().map(|device| &**device)
    }

    /// What is known of the device with the index.
    pub(crate) fn device(&self, ifindex: i32) -> Option<Arc<Device>> {
        self.devices
            .get(ifindex as u32, &rcu::read_lock())
            .next()
            .cloned()
    }

    /// All devices, in no order.
    pub(crate) fn devices<'a>(&'a self, rtnl: &'a Rtnl) -> impl Iterator<Item = &'a Device> {
        self.devices.iter(rtnl).map(|device| &**device)
    }

    /// Gets to know a device. Sleeps.
    pub(crate) fn insert(&self, device: Device, rtnl: &mut Rtnl) -> Result {
        let ifindex = device.ifindex as u32;
        let device = Arc::new(device, GFP_KERNEL)?;
        self.devices.insert(Vacant::new()?, ifindex, device, rtnl);
        Ok(())
    }

    /// Forgets a device, and removes its files. Sleeps.
    pub(crate) fn forget(&self, ifindex: i32, rtnl: &mut Rtnl) {
        if let Some(device) = self.device(ifindex) {
            // Here and not when the last reference goes: that may be in a context that cannot sleep.
            *device.files.get_mut(rtnl) = None;
            self.devices.remove(ifindex as u32, |_| true, rtnl);
        }
    }

    /// A device, what is known of it, and the flags in force on it: none on one that is not known (any more).
    pub(crate) fn concealer<'a>(
        &'a self,
        dev: &'a NetDevice,
        rcu: &'a rcu::Guard,
    ) -> (Concealer<'a>, Flags) {
        let known = self.known(dev, rcu);
        let flags = known.map_or(Flags::default(), |device| device.in_force.get());
        (Concealer::new(dev, known), flags)
    }

    /// The flags in force on a device.
    pub(crate) fn flags(&self, dev: &NetDevice, rcu: &rcu::Guard) -> Flags {
        self.concealer(dev, rcu).1
    }

    /// Whether any device is hidden. In any context.
    #[inline]
    pub(crate) fn hides(&self) -> bool {
        self.hiding.load(Ordering::Relaxed)
    }

    /// Notes whether any device is hidden, and selections are to go around it. Under the RTNL.
    pub(crate) fn set_hides(&self, hides: bool, _: &mut Rtnl) {
        self.hiding.store(hides, Ordering::Relaxed);
    }

    /// Gets to know all addresses and local routes, and from now on every change. Does nothing if it does already.
    /// Linear in the number of addresses. Sleeps.
    pub(crate) fn activate(&self, net: &Net, rtnl: &mut Rtnl) -> Result {
        self.index.activate(net, |dev| self.owner(dev), rtnl)?;
        self.routes.watch(net, rtnl);
        Ok(())
    }

    /// Forgets the addresses and the routes. Does nothing if they are not known.
    pub(crate) fn deactivate(&self, rtnl: &mut Rtnl) {
        self.routes.ignore(rtnl);
        self.index.deactivate(rtnl);
    }

    /// The local routes that go beyond the addresses.
    pub(crate) fn routes(&self) -> &LocalRoutes<Self> {
        &self.routes
    }
}

impl PerNet for Namespace {
    fn id() -> &'static Id<Self> {
        static ID: Id<Namespace> = Id::new();
        &ID
    }

    fn init(_: &Net) -> impl PinInit<Self, Error> {
        // Row 24; before the module is loaded, no namespace has anything to inherit.
        let from = net::inherited_devconf().filter(|_| is_loaded());
        let from = from.map(Namespace::of);
        let flags = |values: Option<&Values>| values.map_or(Flags::default(), Values::flags);
        let written = from.map_or_else(Written::neither, |from| from.default_written.clone());
        try_pin_init!(Self {
            all: Values::new(flags(from.map(|from| &from.all))),
            default: Values::new(flags(from.map(|from| &from.default))),
            default_written: written,
            devices: RcuHash::new()?,
            index: Index::new()?,
            routes <- LocalRoutes::new(),
            hiding: AtomicBool::new(false),
        }? Error)
    }

    fn pre_exit(&self, _: &Net) {
        self.routes.stop();
    }
}

impl HasIndex for Namespace {
    type Owner = Owner;

    fn index(&self) -> &Index<Owner> {
        &self.index
    }

    fn routes(&self) -> &LocalRoutes<Self> {
        &self.routes
    }

    fn owner(&self, dev: &NetDevice) -> Owner {
        self.device(dev.ifindex())
    }

    fn conceals(owner: &Owner) -> bool {
        flags_of_owner(owner).conceal()
    }
}

/// Set once every namespace and device that existed before loading is known.
static LOADED: Atomic<bool> = Atomic::new(false);

/// Whether every namespace and device that existed before loading is known.
pub(crate) fn is_loaded() -> bool {
    LOADED.load(Relaxed)
}

/// Notes that every namespace and device that existed before loading is known.
pub(crate) fn loaded() {
    LOADED.store(true, Relaxed);
}

/// Set at load, before anything else, by the parameter `source_selection`.
static SELECTS_SOURCES: Atomic<bool> = Atomic::new(true);

/// Whether the module was loaded to keep hidden addresses out of the selection of sources.
pub(crate) fn selects_sources() -> bool {
    SELECTS_SOURCES.load(Relaxed)
}

/// Notes whether the module was loaded to do so.
pub(crate) fn set_selects_sources(selects: bool) {
    SELECTS_SOURCES.store(selects, Relaxed);
}
