// SPDX-License-Identifier: GPL-2.0

//! Handles the kernel's events: devices and namespaces that come, change and go, and new addresses (rows 23 to 25).

use crate::{
    abi::{
        inetaddr,
        inetdevice::InIfaddr,
        net::{Id, Net, PerNet},
        netdevice::{self, NetDevice},
        proc_net,
        rtnl::{self, Rtnl, RtnlCell},
        sysctl::Files, //
    },
    arming::Arming,
    knobs,
    notice,
    policy::Flags,
    state::{Device, Namespace, Target},
    statistics, //
};
use kernel::{prelude::*, str::CString};

/// The files in every namespace.
#[pin_data]
pub(crate) struct Directories {
    /// The knobs in `conf/all` and `conf/default`, and `/proc/net/arp_hidden`.
    files: RtnlCell<Option<([Files; 2], proc_net::File<statistics::Table>)>>,
}

impl PerNet for Directories {
    fn id() -> &'static Id<Self> {
        static ID: Id<Directories> = Id::new();
        &ID
    }

    fn init(net: &Net) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            files: RtnlCell::new(Some((
                [
                    knobs::files(net, c"all", Target::All)?,
                    knobs::files(net, c"default", Target::Default)?,
                ],
                proc_net::File::register(net)?,
            ))),
        }? Error)
    }

    fn pre_exit(&self, _: &Net) {
        // No more writes.
        *self.files.get_mut(&mut rtnl::lock()) = None;
    }
}

/// Handles device events in all namespaces.
pub(crate) struct Devices;

impl netdevice::Notify for Devices {
    fn event(event: netdevice::Event, dev: &NetDevice, rtnl: &mut Rtnl) -> Result {
        let net = dev.net();
        match event {
            netdevice::Event::Register => add(net, dev, rtnl),
            netdevice::Event::Unregister => {
                remove(net, dev, rtnl);
                Ok(())
            }
            netdevice::Event::ChangeName => name(net, dev, rtnl),
            // With an MTU below 68 bytes, the kernel destroys the device's IPv4 state and its own knobs; with a larger
            // one it creates them anew.
            netdevice::Event::ChangeMtu if dev.in_device_rtnl(rtnl).is_some() => {
                add(net, dev, rtnl)
            }
            netdevice::Event::ChangeMtu => {
                remove(net, dev, rtnl);
                Ok(())
            }
            // The prefixes of a loopback device are local routes, which come and go when it is set up or down.
            netdevice::Event::Turning => {
                if dev.is_loopback() {
                    Namespace::of(net).loopback_turns(rtnl);
                }
                Ok(())
            }
            netdevice::Event::Turned => {
                if dev.is_loopback() {
                    Namespace::of(net).loopback_turned(rtnl);
                }
                Ok(())
            }
        }
    }
}

/// Adds a device, with the values of `default`.
fn add(net: &Net, dev: &NetDevice, rtnl: &mut Rtnl) -> Result {
    let namespace = Namespace::of(net);
    let arming = Arming::of(net);
    let ifindex = dev.ifindex();
    if dev.in_device_rtnl(rtnl).is_none() || namespace.device(ifindex).is_some() {
        return Ok(());
    }
    let values = namespace.default.flags();
    let in_force = values.enabled_by(namespace.all.flags());
    let before = arming.demand(rtnl);
    let after = before.with(in_force);
    arming.raise(net, after, rtnl)?;
    let written = namespace.default_written.clone();
    let device = Device::new(ifindex, values, written, in_force);
    let added = device
        .prepare(values != Flags::default())
        .and_then(|()| namespace.insert(device, rtnl))
        .and_then(|()| name(net, dev, rtnl))
        .inspect_err(|_| namespace.forget(ifindex, rtnl));
    arming.settle(net, if added.is_ok() { after } else { before }, rtnl);
    added
}

/// Removes a device that leaves, or that the module no longer follows.
fn remove(net: &Net, dev: &NetDevice, rtnl: &mut Rtnl) {
    let namespace = Namespace::of(net);
    let Some(device) = namespace.device(dev.ifindex()) else {
        return;
    };
    let arming = Arming::of(net);
    let before = arming.demand(rtnl);
    let after = before.without(device.in_force.get());
    // When the module is unloaded, the index may outlive the device's entry.
    device.in_force.set(Flags::default());
    namespace.forget(device.ifindex, rtnl);
    arming.settle(net, after, rtnl);
    // A device that leaves has lost its addresses already, so the kernel has selected sources anew. When the module is
    // unloaded all devices are forgotten, and selecting anew waits for a grace period: once, with the last hidden one.
    let was_last = before.hidden != 0 && after.hidden == 0;
    if was_last && dev.in_device_rtnl(rtnl).is_some() {
        net.reselect_sources(rtnl);
    }
}

/// Registers the files of a device under its current name.
fn name(net: &Net, dev: &NetDevice, rtnl: &mut Rtnl) -> Result {
    let Some(device) = Namespace::of(net).device(dev.ifindex()) else {
        return Ok(());
    };
    let name = CString::try_from(dev.name(rtnl))?;
    let files = device.files.get_mut(rtnl);
    if files.as_ref().is_none_or(|(old, _)| **old != *name) {
        let new = knobs::files(net, &name, Target::Device(dev.ifindex()))?;
        *files = Some((name, new));
    }
    Ok(())
}

/// Handles new addresses in all namespaces.
pub(crate) struct Addresses;

impl inetaddr::Notify for Addresses {
    type State = Namespace;

    fn added(ifa: &InIfaddr, rtnl: &mut Rtnl) {
        notice::address_added(
            ifa,
            Arming::of(ifa.device().net()).demand(rtnl).concealed,
            rtnl,
        );
    }
}
