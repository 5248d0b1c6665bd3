// SPDX-License-Identifier: GPL-2.0

//! Keeps what is known of a network namespace: its devices, their flags, the owners of its addresses.
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

/// What is known of the device of an address. `None` if there was no memory to record the device.
type Owner = Option<Arc<Device>>;

/// Returns the flags in force on the device of an address.
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
/// While it conceals nothing, this is only its devices and their flags.
#[pin_data]
pub(crate) struct Namespace {
    /// The values in `conf/all`.
    pub(crate) all: Values,
    /// The values in `conf/default`.
    pub(crate) default: Values,
    /// Which of these were written, here or in the namespace they were inherited from.
    pub(crate) default_written: Written,
    devices: RcuHash<Arc<Device>>,
    /// The configured addresses, while something is concealed.
    index: Index<Owner>,
    #[pin]
    routes: LocalRoutes<Namespace>,
    /// Whether any device is hidden, so that source selection must skip it.
    hiding: AtomicBool,
}

impl Namespace {
    /// Returns what is known of a device, or `None` if it is not known yet or any more.
    pub(crate) fn known<'a>(&'a self, dev: &NetDevice, rcu: &'a rcu::Guard) -> Option<&'a Device> {
        let mut known = self.devices.get(dev.ifindex() as u32, rcu);
        known.next().map(|device| &**device)
    }

    /// Returns what is known of the device with the index.
    pub(crate) fn device(&self, ifindex: i32) -> Option<Arc<Device>> {
        self.devices
            .get(ifindex as u32, &rcu::read_lock())
            .next()
            .cloned()
    }

    /// Returns all devices, in no particular order.
    pub(crate) fn devices<'a>(&'a self, rtnl: &'a Rtnl) -> impl Iterator<Item = &'a Device> {
        self.devices.iter(rtnl).map(|device| &**device)
    }

    /// Records a device. Sleeps.
    pub(crate) fn insert(&self, device: Device, rtnl: &mut Rtnl) -> Result {
        let ifindex = device.ifindex as u32;
        let device = Arc::new(device, GFP_KERNEL)?;
        self.devices.insert(Vacant::new()?, ifindex, device, rtnl);
        Ok(())
    }

    /// Forgets a device, and removes its files. Sleeps.
    pub(crate) fn forget(&self, ifindex: i32, rtnl: &mut Rtnl) {
        if let Some(device) = self.device(ifindex) {
            // Not when the last reference is dropped: that may be in a context that cannot sleep.
            *device.files.get_mut(rtnl) = None;
            self.devices.remove(ifindex as u32, |_| true, rtnl);
        }
    }

    /// Returns a device with what is known of it, and the flags in force on it: none if it is not known.
    pub(crate) fn concealer<'a>(
        &'a self,
        dev: &'a NetDevice,
        rcu: &'a rcu::Guard,
    ) -> (Concealer<'a>, Flags) {
        let known = self.known(dev, rcu);
        let flags = known.map_or(Flags::default(), |device| device.in_force.get());
        (Concealer::new(dev, known), flags)
    }

    /// Returns the flags in force on a device.
    pub(crate) fn flags(&self, dev: &NetDevice, rcu: &rcu::Guard) -> Flags {
        self.concealer(dev, rcu).1
    }

    /// Whether any device is hidden. In any context.
    #[inline]
    pub(crate) fn hides(&self) -> bool {
        self.hiding.load(Ordering::Relaxed)
    }

    /// Notes whether any device is hidden.
    pub(crate) fn set_hides(&self, hides: bool, _: &mut Rtnl) {
        self.hiding.store(hides, Ordering::Relaxed);
    }

    /// Indexes all addresses, and starts following addresses and local routes. Does nothing if active already. Linear
    /// in the number of addresses. Sleeps.
    pub(crate) fn activate(&self, net: &Net, rtnl: &mut Rtnl) -> Result {
        self.index.activate(net, |dev| self.owner(dev), rtnl)?;
        self.routes.watch(net, rtnl);
        Ok(())
    }

    /// Forgets the addresses and the routes. Does nothing if not active.
    pub(crate) fn deactivate(&self, rtnl: &mut Rtnl) {
        self.routes.ignore(rtnl);
        self.index.deactivate(rtnl);
    }

    /// Marks the start of setting a loopback device up or down, which changes the routes of its prefixes.
    pub(crate) fn loopback_turns(&self, rtnl: &Rtnl) {
        if self.index.is_active(rtnl) {
            self.routes.change();
        }
    }

    /// Marks the end of it.
    pub(crate) fn loopback_turned(&self, rtnl: &Rtnl) {
        if self.index.is_active(rtnl) {
            self.routes.changed();
        }
    }
}

impl PerNet for Namespace {
    fn id() -> &'static Id<Self> {
        static ID: Id<Namespace> = Id::new();
        &ID
    }

    fn init(_: &Net) -> impl PinInit<Self, Error> {
        // Row 24. While the module is being loaded, there is nothing to inherit yet.
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

/// Notes that they are.
pub(crate) fn loaded() {
    LOADED.store(true, Relaxed);
}

/// The parameter `source_selection`. Set at load, before anything else.
static SELECTS_SOURCES: Atomic<bool> = Atomic::new(true);

/// Whether the module was loaded to keep hidden addresses out of source address selection.
pub(crate) fn selects_sources() -> bool {
    SELECTS_SOURCES.load(Relaxed)
}

/// Notes whether it was.
pub(crate) fn set_selects_sources(selects: bool) {
    SELECTS_SOURCES.store(selects, Relaxed);
}
