// SPDX-License-Identifier: GPL-2.0

//! Keeps what is known of a device.

use super::{
    counters::{Counters, Event},
    knob::{Knob, Values, Written},
};
use crate::{
    abi::{
        netdevice::NetDevice,
        rtnl::RtnlCell,
        sysctl::Files, //
    },
    policy::Flags, //
};
use core::sync::atomic::{AtomicI32, Ordering::Relaxed};
use kernel::{
    prelude::*,
    str::CString,
    sync::{
        atomic::{Atomic, Relaxed as Whenever},
        SetOnce, //
    },
};

/// What is known of a device, from its registration in the namespace until it leaves.
pub(crate) struct Device {
    /// Its interface index.
    pub(crate) ifindex: i32,
    /// The values of its knobs.
    pub(crate) values: Values,
    /// Which of them were written, or taken from a written `default`. A write to `default` leaves these alone.
    pub(crate) written: Written,
    /// The flags in force.
    pub(crate) in_force: InForce,
    /// Its files, and the name they are registered under.
    pub(crate) files: RtnlCell<Option<(CString, Files)>>,
    /// Which warnings about it have been logged.
    pub(crate) noticed: Noticed,
    counters: SetOnce<Counters>,
}

impl Device {
    /// Creates a device without files.
    pub(crate) fn new(ifindex: i32, values: Flags, written: Written, in_force: Flags) -> Self {
        Self {
            ifindex,
            values: Values::new(values),
            written,
            in_force: InForce::new(in_force),
            files: RtnlCell::new(None),
            noticed: Noticed {
                wide_prefix: Once::new(),
                no_source: Once::new(),
            },
            counters: SetOnce::new(),
        }
    }

    /// Allocates the device's counters before its first flag is set. Most devices never need any.
    pub(crate) fn prepare(&self, flag_set: bool) -> Result {
        if flag_set && self.counters.as_ref().is_none() {
            self.counters.populate(Counters::new()?);
        }
        Ok(())
    }

    /// Returns its counters, if a flag was ever set.
    pub(crate) fn counters(&self) -> Option<&Counters> {
        self.counters.as_ref()
    }

    /// Whether a write to `default` leaves this knob alone, regardless of the device's addresses.
    pub(crate) fn is_written(&self, knob: Knob) -> bool {
        self.written.get(knob)
    }
}

/// Which warnings about a device have been logged.
pub(crate) struct Noticed {
    /// A concealed address also routes a visible device's network.
    pub(crate) wide_prefix: Once,
    /// No source address is left for packets leaving by the device.
    pub(crate) no_source: Once,
}

/// Whether a warning has been logged.
pub(crate) struct Once(Atomic<bool>);

impl Once {
    fn new() -> Self {
        Self(Atomic::new(false))
    }

    /// Whether it has been logged.
    pub(crate) fn is_over(&self) -> bool {
        self.0.load(Whenever)
    }

    /// Notes that it has been logged. Concurrent callers may both log it.
    pub(crate) fn note(&self) {
        self.0.store(true, Whenever);
    }
}

/// The flags in force on a device: its own values, if `all` enables them.
///
/// Core atomics, because the packet path reads them: one instruction each, where the kernel crate's atomics call a
/// function.
pub(crate) struct InForce {
    hidden: AtomicI32,
    arp_invisible: AtomicI32,
}

impl InForce {
    fn new(flags: Flags) -> Self {
        Self {
            hidden: AtomicI32::new(flags.hidden),
            arp_invisible: AtomicI32::new(flags.arp_invisible),
        }
    }

    /// Returns both. In any context.
    pub(crate) fn get(&self) -> Flags {
        Flags {
            hidden: self.hidden.load(Relaxed),
            arp_invisible: self.arp_invisible.load(Relaxed),
        }
    }

    /// Whether the device is hidden. In any context.
    pub(crate) fn hide(&self) -> bool {
        self.hidden.load(Relaxed) != 0
    }

    /// Sets them. Under the RTNL.
    pub(crate) fn set(&self, flags: Flags) {
        self.hidden.store(flags.hidden, Relaxed);
        self.arp_invisible.store(flags.arp_invisible, Relaxed);
    }
}

/// A device whose flags cause an event.
#[derive(Clone, Copy)]
pub(crate) struct Concealer<'a> {
    /// The device.
    pub(crate) dev: &'a NetDevice,
    known: Option<&'a Device>,
}

impl<'a> Concealer<'a> {
    /// Pairs `dev` with what is known of it: nothing if there was no memory to record it, or if it is leaving.
    pub(crate) fn new(dev: &'a NetDevice, known: Option<&'a Device>) -> Self {
        Self { dev, known }
    }

    /// Counts an event. In any context.
    pub(crate) fn count(self, event: Event) {
        if let Some(counters) = self.known.and_then(Device::counters) {
            counters.count(event);
        }
    }
}
