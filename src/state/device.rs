// SPDX-License-Identifier: GPL-2.0

//! What is known of a device.

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
    /// Which of them were written, or came from a `default` that was: `default` does not reach these any more.
    pub(crate) written: Written,
    /// The flags in force.
    pub(crate) in_force: InForce,
    /// Its files and the name that they stand under.
    pub(crate) files: RtnlCell<Option<(CString, Files)>>,
    /// What the log has said of it.
    pub(crate) noticed: Noticed,
    counters: SetOnce<Counters>,
}

impl Device {
    /// A device that has no files yet.
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

    /// Allocates the device's counters before its first flag is set: of most devices there is nothing to count.
    pub(crate) fn prepare(&self, flag_set: bool) -> Result {
        if flag_set && self.counters.as_ref().is_none() {
            self.counters.populate(Counters::new()?);
        }
        Ok(())
    }

    /// Its counters, if it ever had a flag set.
    pub(crate) fn counters(&self) -> Option<&Counters> {
        self.counters.as_ref()
    }

    /// Whether a write to `default` leaves this knob alone, whatever addresses the device has.
    pub(crate) fn is_written(&self, knob: Knob) -> bool {
        self.written.get(knob)
    }
}

/// What the log has said of a device, so that it says it once.
pub(crate) struct Noticed {
    /// A concealed address routes a visible device's network too.
    pub(crate) wide_prefix: Once,
    /// No source address is left for what leaves by it.
    pub(crate) no_source: Once,
}

/// Whether something has been said.
pub(crate) struct Once(Atomic<bool>);

impl Once {
    fn new() -> Self {
        Self(Atomic::new(false))
    }

    /// Whether it has been said.
    pub(crate) fn is_over(&self) -> bool {
        self.0.load(Whenever)
    }

    /// Notes that it has been said. Two who do at once may both have said it.
    pub(crate) fn note(&self) {
        self.0.store(true, Whenever);
    }
}

/// The flags in force on a device: its own values, as far as `all` enables them.
///
/// Packets read them, with one instruction each; the kernel crate's atomics would call a function.
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

    /// Both. In any context.
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

    /// Changes them. Under the RTNL.
    pub(crate) fn set(&self, flags: Flags) {
        self.hidden.store(flags.hidden, Relaxed);
        self.arp_invisible.store(flags.arp_invisible, Relaxed);
    }
}

/// A device because of which something happens.
#[derive(Clone, Copy)]
pub(crate) struct Concealer<'a> {
    /// The device.
    pub(crate) dev: &'a NetDevice,
    known: Option<&'a Device>,
}

impl<'a> Concealer<'a> {
    /// `dev`, and what is known of it: nothing of one that memory was lacking for, or that is leaving.
    pub(crate) fn new(dev: &'a NetDevice, known: Option<&'a Device>) -> Self {
        Self { dev, known }
    }

    /// Counts what happens. In any context.
    pub(crate) fn count(self, event: Event) {
        if let Some(counters) = self.known.and_then(Device::counters) {
            counters.count(event);
        }
    }
}
