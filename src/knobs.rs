// SPDX-License-Identifier: GPL-2.0

//! Handles the operator's writes to `net/ipv4/conf/{all,default,IF}/{hidden,arp_invisible}` (rows 20 to 23).

use crate::{
    abi::{
        net::{Net, PerNet},
        rtnl::{self, Rtnl},
        sysctl::{Entry, Files, IntFile}, //
    },
    arming::Arming,
    notice,
    policy::Flags,
    state::{self, Device, Knob, Namespace, Target}, //
};
use core::marker::PhantomData;
use kernel::{
    prelude::*,
    str::{CStr, CString},
    sync::rcu, //
};

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
        read(net, K::KNOB, Target::from_raw(target))
    }

    fn set(net: &Net, target: i32, value: i32) -> Result {
        // While the module is being loaded, not every device is known: the index would lack owners.
        if !state::is_loaded() {
            return Err(rtnl::restart());
        }
        let change = Change {
            knob: K::KNOB,
            target: Target::from_raw(target),
            value,
        };
        change.write(net, &mut *rtnl::try_lock_or_restart()?)
    }
}

/// Registers the files of a directory, beside the kernel's own. Sleeps.
pub(crate) fn files(net: &Net, name: &CStr, target: Target) -> Result<Files> {
    const ENTRIES: &[Entry] = &[
        Entry::new::<File<Hidden>>(),
        Entry::new::<File<ArpInvisible>>(),
    ];
    let directory = CString::try_from_fmt(fmt!("net/ipv4/conf/{name}"))?;
    Files::register(net, &directory, ENTRIES, target.to_raw())
}

fn read(net: &Net, knob: Knob, target: Target) -> i32 {
    let namespace = Namespace::of(net);
    match target {
        Target::All => namespace.all.get(knob),
        Target::Default => namespace.default.get(knob),
        Target::Device(ifindex) => namespace
            .device(ifindex)
            .map_or(0, |device| device.values.get(knob)),
    }
}

/// A write to a knob.
struct Change {
    knob: Knob,
    target: Target,
    value: i32,
}

impl Change {
    /// Carries out the write. An error changes nothing. Sleeps.
    fn write(&self, net: &Net, rtnl: &mut Rtnl) -> Result {
        let namespace = Namespace::of(net);
        let arming = Arming::of(net);
        let all = match self.target {
            Target::All => self.apply(namespace.all.flags()),
            _ => namespace.all.flags(),
        };
        let before = arming.demand(rtnl);
        let mut after = before;
        let mut prepared = Ok(());
        self.for_each(namespace, rtnl, |device| {
            let mut values = device.values.flags();
            if self.reaches(net, device) {
                values = self.apply(values);
                if prepared.is_ok() {
                    prepared = device.prepare(self.value != 0);
                }
            }
            after = after
                .without(device.in_force.get())
                .with(values.enabled_by(all));
        });
        prepared?;
        // Arm first, set the flags last: a packet that sees a flag also passes through the hooks.
        arming.raise(net, after, rtnl)?;
        self.for_each(namespace, rtnl, |device| {
            if self.reaches(net, device) {
                device.values.set(self.knob, self.value);
            }
            if matches!(self.target, Target::Device(_)) {
                device.written.note(self.knob);
            }
            device.in_force.set(device.values.flags().enabled_by(all));
        });
        match self.target {
            Target::All => namespace.all.set(self.knob, self.value),
            Target::Default => {
                namespace.default.set(self.knob, self.value);
                namespace.default_written.note(self.knob);
            }
            Target::Device(_) => {}
        }
        arming.settle(net, after, rtnl);
        if before.hidden != after.hidden {
            net.reselect_sources(rtnl);
        }
        if after.concealed != 0 {
            notice::look_for_wide_prefixes(net, notice::ON_A_WRITE, rtnl);
        }
        Ok(())
    }

    fn apply(&self, mut flags: Flags) -> Flags {
        match self.knob {
            Knob::Hidden => flags.hidden = self.value,
            Knob::ArpInvisible => flags.arp_invisible = self.value,
        }
        flags
    }

    /// Calls `f` for each device whose flags in force the write may change.
    fn for_each(&self, namespace: &Namespace, rtnl: &Rtnl, mut f: impl FnMut(&Device)) {
        match self.target {
            Target::All | Target::Default => namespace.devices(rtnl).for_each(f),
            Target::Device(ifindex) => {
                if let Some(device) = namespace.device(ifindex) {
                    f(&device);
                }
            }
        }
    }

    /// Whether the write changes the device's value. A write to `default` reaches the devices that
    /// `devinet_copy_dflt_conf` would change (row 23).
    fn reaches(&self, net: &Net, device: &Device) -> bool {
        match self.target {
            Target::All => false,
            Target::Default => !device.is_written(self.knob) && !is_configured(net, device),
            Target::Device(ifindex) => ifindex == device.ifindex,
        }
    }
}

/// Whether a user has configured the device, so that a write to the kernel's own `default` knobs leaves it alone.
fn is_configured(net: &Net, device: &Device) -> bool {
    let rcu = rcu::read_lock();
    let dev = net.device(device.ifindex, &rcu);
    let in_dev = dev.and_then(|dev| dev.in_device(&rcu));
    in_dev.is_some_and(|in_dev| in_dev.is_configured())
}
