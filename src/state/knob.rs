// SPDX-License-Identifier: GPL-2.0

//! The two knobs, their directories and their values.

use crate::policy::Flags;
use kernel::sync::atomic::{Atomic, Relaxed};

/// The two knobs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Knob {
    Hidden,
    ArpInvisible,
}

/// What a directory of `net/ipv4/conf` is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// `all`: enables flags in the namespace.
    All,
    /// `default`: the values of new devices, and of devices that no user has configured yet.
    Default,
    /// The device with this index.
    Device(i32),
}

impl Target {
    // As NETCONFA_IFINDEX_ALL and _DEFAULT. Interface indexes are positive.
    const ALL: i32 = -1;
    const DEFAULT: i32 = -2;

    /// Returns the number that stands for it.
    pub(crate) fn to_raw(self) -> i32 {
        match self {
            Target::All => Self::ALL,
            Target::Default => Self::DEFAULT,
            Target::Device(ifindex) => ifindex,
        }
    }

    /// Returns what a number stands for.
    pub(crate) fn from_raw(raw: i32) -> Self {
        match raw {
            Self::ALL => Target::All,
            Self::DEFAULT => Target::Default,
            ifindex => Target::Device(ifindex),
        }
    }
}

/// The values of the two knobs in one directory. Written under the RTNL, read by anyone.
pub(crate) struct Values {
    hidden: Atomic<i32>,
    arp_invisible: Atomic<i32>,
}

impl Values {
    /// Creates them.
    pub(crate) fn new(flags: Flags) -> Self {
        Self {
            hidden: Atomic::new(flags.hidden),
            arp_invisible: Atomic::new(flags.arp_invisible),
        }
    }

    fn knob(&self, knob: Knob) -> &Atomic<i32> {
        match knob {
            Knob::Hidden => &self.hidden,
            Knob::ArpInvisible => &self.arp_invisible,
        }
    }

    /// Returns the value of one knob.
    pub(crate) fn get(&self, knob: Knob) -> i32 {
        self.knob(knob).load(Relaxed)
    }

    /// Sets one knob.
    pub(crate) fn set(&self, knob: Knob, value: i32) {
        self.knob(knob).store(value, Relaxed);
    }

    /// Returns both values.
    pub(crate) fn flags(&self) -> Flags {
        Flags {
            hidden: self.get(Knob::Hidden),
            arp_invisible: self.get(Knob::ArpInvisible),
        }
    }
}

/// Which of the two knobs of a directory have been written. Changed under the RTNL.
pub(crate) struct Written([Atomic<bool>; 2]);

impl Written {
    /// Neither was written.
    pub(crate) fn neither() -> Self {
        Self([Atomic::new(false), Atomic::new(false)])
    }

    /// Whether `knob` was written.
    pub(crate) fn get(&self, knob: Knob) -> bool {
        self.0[knob as usize].load(Relaxed)
    }

    /// Notes that `knob` was written.
    pub(crate) fn note(&self, knob: Knob) {
        self.0[knob as usize].store(true, Relaxed);
    }
}

impl Clone for Written {
    fn clone(&self) -> Self {
        let copy = |knob| Atomic::new(self.get(knob));
        Self([copy(Knob::Hidden), copy(Knob::ArpInvisible)])
    }
}
