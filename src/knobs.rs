// SPDX-License-Identifier: GPL-2.0

//! The knobs `net/ipv4/conf/{all,default,IF}/{hidden,arp_invisible}`: their files and their values.

use crate::{
    abi::{
        net::{Net, PerNet},
        rtnl,
        sysctl::{Entry, Files, IntFile}, //
    },
    namespace::{self, Namespace},
    policy::Flags, //
};
use core::marker::PhantomData;
use kernel::{
    prelude::*,
    str::{CStr, CString},
    sync::atomic::{Atomic, Relaxed}, //
};

/// The two knobs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Knob {
    Hidden,
    ArpInvisible,
}

/// What a directory of `net/ipv4/conf` stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// `all`: enables the flag in the namespace.
    All,
    /// `default`: what new devices take, and devices that were never written by hand.
    Default,
    /// The device with this index.
    Device(i32),
}

impl Target {
    // Interface indexes are positive; these are the kernel's NETCONFA_IFINDEX_ALL and _DEFAULT.
    const ALL: i32 = -1;
    const DEFAULT: i32 = -2;

    fn to_raw(self) -> i32 {
        match self {
            Target::All => Self::ALL,
            Target::Default => Self::DEFAULT,
            Target::Device(ifindex) => ifindex,
        }
    }

    fn from_raw(raw: i32) -> Self {
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
    /// Values to start with.
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

    /// The value of one knob.
    pub(crate) fn get(&self, knob: Knob) -> i32 {
        self.knob(knob).load(Relaxed)
    }

    /// Changes one knob.
    pub(crate) fn set(&self, knob: Knob, value: i32) {
        self.knob(knob).store(value, Relaxed);
    }

    /// Both.
    pub(crate) fn flags(&self) -> Flags {
        Flags {
            hidden: self.get(Knob::Hidden),
            arp_invisible: self.get(Knob::ArpInvisible),
        }
    }
}

/// The file of one knob.
struct File<K>(PhantomData<K>);

struct Hidden;
struct ArpInvisible;

trait Describe: 'static {
    const KNOB: Knob;
    const NAME: &'static CStr;
    const MAX: i32;
}

impl Describe for Hidden {
    const KNOB: Knob = Knob::Hidden;
    const NAME: &'static CStr = c"hidden";
    const MAX: i32 = 2;
}

impl Describe for ArpInvisible {
    const KNOB: Knob = Knob::ArpInvisible;
    const NAME: &'static CStr = c"arp_invisible";
    const MAX: i32 = 1;
}

impl<K: Describe> IntFile for File<K> {
    const NAME: &'static CStr = K::NAME;
    const MAX: i32 = K::MAX;

    fn get(net: &Net, target: i32) -> i32 {
        Namespace::of(net).read(K::KNOB, Target::from_raw(target))
    }

    fn set(net: &Net, target: i32, value: i32) -> Result {
        // The module is about to be loaded. What would be armed before it knows all devices would not know
        // whose addresses it sees.
        if !namespace::is_loaded() {
            return Err(rtnl::restart());
        }
        let mut rtnl = rtnl::try_lock_or_restart()?;
        Namespace::of(net).write(net, K::KNOB, Target::from_raw(target), value, &mut rtnl)
    }
}

/// Makes the files of a directory appear beside the kernel's own.
pub(crate) fn files(net: &Net, name: &CStr, target: Target) -> Result<Files> {
    const ENTRIES: &[Entry] = &[
        Entry::new::<File<Hidden>>(),
        Entry::new::<File<ArpInvisible>>(),
    ];
    let directory = CString::try_from_fmt(fmt!("net/ipv4/conf/{name}"))?;
    Files::register(net, &directory, ENTRIES, target.to_raw())
}
