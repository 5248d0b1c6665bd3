// SPDX-License-Identifier: GPL-2.0

//! The state of a network namespace: its flags, and what is armed because of them.
//!
//! A namespace that conceals nothing has the files of the knobs and nothing else: no hook, no index, no
//! notice of its packets.
//!
//! All that is written here is written under the RTNL. Packets read the flags, the devices and the index under
//! RCU, without a lock.

use crate::{
    abi::{
        fib::LocalRoutes,
        inetaddr::{Configured, HasIndex, Index},
        net::{self, Id, Net, PerNet},
        netdevice::{self, InIfaddr, NetDevice, Notify, LOOPBACK_IFINDEX},
        netfilter::Hook,
        proc_net,
        rcu_hash::{RcuHash, Vacant},
        rtnl::{self, Rtnl, RtnlCell},
        sysctl::Files, //
    },
    announce::Announce,
    hear::Hear,
    knobs::{self, Knob, Target, Values},
    notice,
    policy::{Flags, Standing},
    select,
    statistics::{self, Counters, Event}, //
};
use core::{
    net::Ipv4Addr,
    ptr,
    sync::atomic::{AtomicBool, AtomicI32, Ordering}, //
};
use kernel::{
    prelude::*,
    str::CString,
    sync::{
        atomic::{Atomic, Relaxed},
        rcu,
        Arc,
        SetOnce, //
    }, //
};

/// What is known of a device, from its registration in the namespace until it leaves.
pub(crate) struct Device {
    ifindex: i32,
    values: Values,
    in_force: InForce,
    /// Which knobs were written by hand: `default` does not reach them any more.
    by_hand: [Atomic<bool>; 2],
    /// From the first time on that it has a flag set: there is nothing to count of most devices.
    counters: SetOnce<Counters>,
    /// The files and the name that they stand under.
    files: RtnlCell<Option<(CString, Files)>>,
    /// The log has told of a condition of this device.
    noticed: Atomic<bool>,
}

/// The flags in force on a device: what its values and those of `all` come to.
///
/// Packets read them, with one instruction each; the kernel crate's atomics would call a function.
struct InForce {
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

    fn get(&self) -> Flags {
        Flags {
            hidden: self.hidden.load(Ordering::Relaxed),
            arp_invisible: self.arp_invisible.load(Ordering::Relaxed),
        }
    }

    fn hide(&self) -> bool {
        self.hidden.load(Ordering::Relaxed) != 0
    }

    fn set(&self, flags: Flags) {
        self.hidden.store(flags.hidden, Ordering::Relaxed);
        self.arp_invisible
            .store(flags.arp_invisible, Ordering::Relaxed);
    }
}

impl Device {
    /// Makes sure that a device that is to have a flag set has counters.
    fn prepare(&self, flag_set: bool) -> Result {
        if flag_set && self.counters.as_ref().is_none() {
            self.counters.populate(Counters::new()?);
        }
        Ok(())
    }

    fn by_hand(&self, knob: Knob) -> &Atomic<bool> {
        &self.by_hand[knob as usize]
    }
}

/// What is known of the device of an address. None knows of a device that memory was lacking for.
type Owner = Option<Arc<Device>>;

/// The flags in force on the device of an address.
fn flags_of(address: &Configured<Owner>) -> Flags {
    address
        .owner()
        .as_ref()
        .map_or(Flags::default(), |device| device.in_force.get())
}

/// A device because of which something happens.
#[derive(Clone, Copy)]
pub(crate) struct Concealer<'a> {
    /// The device.
    pub(crate) dev: &'a NetDevice,
    known: Option<&'a Device>,
}

impl Concealer<'_> {
    /// Counts what happens. In any context.
    pub(crate) fn count(self, event: Event) {
        if let Some(counters) = self.known.and_then(|device| device.counters.as_ref()) {
            counters.count(event);
        }
    }
}

/// The state of a namespace.
#[pin_data]
pub(crate) struct Namespace {
    all: Values,
    default: Values,
    devices: RcuHash<Arc<Device>>,
    /// The configured addresses, while something is concealed.
    index: Index<Owner>,
    #[pin]
    routes: LocalRoutes<Namespace>,
    #[pin]
    hear: Hook<Hear>,
    #[pin]
    announce: Hook<Announce>,
    /// A device is hidden: sources are to be selected around it.
    hiding: AtomicBool,
    /// What the flags in force ask for.
    demand: RtnlCell<Demand>,
    files: RtnlCell<Option<([Files; 2], proc_net::File<statistics::Table>)>>,
}

/// A write to a knob.
struct Change {
    knob: Knob,
    target: Target,
    value: i32,
}

impl Change {
    fn apply(&self, mut flags: Flags) -> Flags {
        match self.knob {
            Knob::Hidden => flags.hidden = self.value,
            Knob::ArpInvisible => flags.arp_invisible = self.value,
        }
        flags
    }

    /// Whether it changes the device's value.
    fn reaches(&self, device: &Device) -> bool {
        match self.target {
            Target::All => false,
            Target::Default => !device.by_hand(self.knob).load(Relaxed),
            Target::Device(ifindex) => ifindex == device.ifindex,
        }
    }
}

/// What a namespace's flags ask for: so many devices are concealed and hidden.
#[derive(Clone, Copy, Default)]
struct Demand {
    /// Where any is, ARP is to be looked at.
    concealed: usize,
    /// Where any is, sources are to be selected around them.
    hidden: usize,
}

impl Demand {
    fn with(self, flags: Flags) -> Self {
        Self {
            concealed: self.concealed + usize::from(flags.conceal()),
            hidden: self.hidden + usize::from(flags.hide()),
        }
    }

    fn without(self, flags: Flags) -> Self {
        Self {
            concealed: self.concealed - usize::from(flags.conceal()),
            hidden: self.hidden - usize::from(flags.hide()),
        }
    }
}

impl Namespace {
    /// What is known of a device, and the flags in force on it: none on one that is not known (any more).
    pub(crate) fn concealer<'a>(
        &'a self,
        dev: &'a NetDevice,
        rcu: &'a rcu::Guard,
    ) -> (Concealer<'a>, Flags) {
        let known = self.devices.get(dev.ifindex() as u32, rcu).next();
        let known = known.map(|device| &**device);
        let flags = known.map_or(Flags::default(), |device| device.in_force.get());
        (Concealer { dev, known }, flags)
    }

    /// The flags in force on a device.
    pub(crate) fn flags(&self, dev: &NetDevice, rcu: &rcu::Guard) -> Flags {
        self.concealer(dev, rcu).1
    }

    /// What there is to say of a device; nothing of one that is not known (any more).
    pub(crate) fn state<'a>(
        &'a self,
        dev: &NetDevice,
        rcu: &'a rcu::Guard,
    ) -> Option<statistics::State<'a>> {
        let device = self.devices.get(dev.ifindex() as u32, rcu).next()?;
        Some(statistics::State {
            set: device.values.flags(),
            in_force: device.in_force.get(),
            counters: device.counters.as_ref(),
        })
    }

    /// The number of addresses configured on a device with flags in force that are concealed: those of which
    /// every owner in the device's l3 domain is. Addresses of 127.0.0.0/8 do not count, which ARP does not
    /// carry. Linear in the device's addresses.
    pub(crate) fn concealed(&self, dev: &NetDevice, rcu: &rcu::Guard) -> usize {
        let domain = dev.l3_domain(rcu);
        let conceals = |owner: &Configured<Owner>| {
            owner.device().l3_domain(rcu) != domain || flags_of(owner).conceal()
        };
        dev.in_device(rcu).map_or(0, |in_dev| {
            in_dev
                .addresses(rcu)
                .filter(|ifa| !ifa.local().is_loopback())
                .filter(|ifa| self.index.get(ifa.local(), rcu).all(conceals))
                .count()
        })
    }

    /// Whether the log has told of a condition of a device. Changed under the RTNL.
    pub(crate) fn noticed<'a>(
        &'a self,
        dev: &NetDevice,
        rcu: &'a rcu::Guard,
    ) -> Option<&'a Atomic<bool>> {
        let device = self.devices.get(dev.ifindex() as u32, rcu).next();
        device.map(|device| &device.noticed)
    }

    /// Whether any device is hidden. In any context.
    #[inline]
    pub(crate) fn hides(&self) -> bool {
        self.hiding.load(Ordering::Relaxed)
    }

    /// Whether `addr` is configured, and on no hidden device.
    #[inline]
    pub(crate) fn is_visible(&self, addr: Ipv4Addr, rcu: &rcu::Guard) -> bool {
        let is_hidden = |owner: &Configured<Owner>| {
            let device = owner.owner().as_ref();
            device.is_some_and(|device| device.in_force.hide())
        };
        let mut owners = self.index.get(addr, rcu);
        owners.next().is_some_and(|first| !is_hidden(first)) && !owners.any(is_hidden)
    }

    /// How `addr` stands for `here`, the device that hears or sends an ARP packet with it.
    ///
    /// The owners are the devices of the l3 domain that have the address configured. Where none has, it is
    /// the device of the local route to it, as for the sixteen addresses of `ip addr add 10.0.0.0/28 dev lo`.
    #[inline]
    pub(crate) fn standing<'a>(
        &'a self,
        net: &'a Net,
        addr: u32,
        here: &NetDevice,
        rcu: &'a rcu::Guard,
    ) -> Standing<Concealer<'a>> {
        let addr = Ipv4Addr::from_bits(addr);
        let owners = self.index.get(addr, rcu);
        // Without further ado, what most requests are for: foreign addresses, and the device's own.
        match owners.clone().next() {
            None if !self.routes.may_reach(addr) => return Standing::NotOurs,
            Some(first) if ptr::eq(first.device(), here) && !flags_of(first).conceal() => {
                return Standing::Visible;
            }
            _ => {}
        }
        self.standing_of_local(net, addr, owners, here, rcu)
    }

    /// [`Self::standing`] of an address that is configured on the devices of `owners`, or may have a route.
    #[inline(never)]
    fn standing_of_local<'a>(
        &'a self,
        net: &'a Net,
        addr: Ipv4Addr,
        owners: impl Iterator<Item = &'a Configured<Owner>>,
        here: &NetDevice,
        rcu: &'a rcu::Guard,
    ) -> Standing<Concealer<'a>> {
        let is_here = |owner: &NetDevice| owner.ifindex() == here.ifindex();
        let is_of_domain =
            |owner: &NetDevice| is_here(owner) || owner.l3_domain(rcu) == here.l3_domain(rcu);
        let of_domain = owners.filter(|owner| is_of_domain(owner.device()));
        let facts = of_domain.map(|owner| {
            let (dev, known) = (owner.device(), owner.owner().as_deref());
            (Concealer { dev, known }, flags_of(owner), is_here(dev))
        });
        let moving = self.routes.is_moving(addr);
        match Standing::of(facts) {
            // The rule for the table "local" comes before that of a VRF: the route may be another domain's.
            Standing::NotOurs => {
                let routed = net.local_route(addr, here, rcu);
                let lo = || net.device(LOOPBACK_IFINDEX, rcu).filter(|_| moving);
                let routed = routed.or_else(lo).into_iter();
                let of_domain = routed.filter(|owner| is_of_domain(owner));
                Standing::of(of_domain.map(|dev| {
                    let (owner, flags) = self.concealer(dev, rcu);
                    (owner, flags, is_here(dev))
                }))
            }
            standing => standing,
        }
    }

    fn device(&self, ifindex: i32) -> Option<Arc<Device>> {
        self.devices
            .get(ifindex as u32, &rcu::read_lock())
            .next()
            .cloned()
    }

    /// Reads a knob.
    pub(crate) fn read(&self, knob: Knob, target: Target) -> i32 {
        match target {
            Target::All => self.all.get(knob),
            Target::Default => self.default.get(knob),
            Target::Device(ifindex) => self
                .device(ifindex)
                .map_or(0, |device| device.values.get(knob)),
        }
    }

    /// Writes a knob. After an error nothing has changed.
    pub(crate) fn write(
        &self,
        net: &Net,
        knob: Knob,
        target: Target,
        value: i32,
        rtnl: &mut Rtnl,
    ) -> Result {
        let change = Change {
            knob,
            target,
            value,
        };
        let mut prepared = Ok(());
        self.for_each(target, rtnl, |device| {
            if prepared.is_ok() && change.reaches(device) {
                prepared = device.prepare(value != 0);
            }
        });
        prepared?;
        let all = match target {
            Target::All => change.apply(self.all.flags()),
            _ => self.all.flags(),
        };
        let before = *self.demand.get(rtnl);
        let mut after = before;
        self.for_each(target, rtnl, |device| {
            let values = if change.reaches(device) {
                change.apply(device.values.flags())
            } else {
                device.values.flags()
            };
            after = after
                .without(device.in_force.get())
                .with(values.enabled_by(all));
        });
        // In this order nothing gets out in between: what is to be looked at is, before a flag says why.
        self.arm(net, after, rtnl)
            .inspect_err(|_| self.disarm(net, before, rtnl))?;
        match target {
            Target::All => self.all.set(knob, value),
            Target::Default => self.default.set(knob, value),
            Target::Device(_) => {}
        }
        self.for_each(target, rtnl, |device| {
            if change.reaches(device) {
                device.values.set(knob, value);
                if target != Target::Default {
                    device.by_hand(knob).store(true, Relaxed);
                }
            }
            device.in_force.set(device.values.flags().enabled_by(all));
        });
        *self.demand.get_mut(rtnl) = after;
        self.disarm(net, after, rtnl);
        if before.hidden != after.hidden {
            net.reselect_sources(rtnl);
        }
        if after.concealed != 0 {
            notice::look_for_wide_prefixes(net, self, rtnl);
        }
        Ok(())
    }

    /// Calls `f` for the devices whose flags in force a write to `target` may change.
    fn for_each(&self, target: Target, rtnl: &Rtnl, mut f: impl FnMut(&Device)) {
        match target {
            Target::All | Target::Default => self.devices.iter(rtnl).for_each(|device| f(device)),
            Target::Device(ifindex) => {
                if let Some(device) = self.device(ifindex) {
                    f(&device);
                }
            }
        }
    }

    /// Arms what `demand` asks for and is not armed. After an error, [`Self::disarm`] takes back the rest.
    fn arm(&self, net: &Net, demand: Demand, rtnl: &mut Rtnl) -> Result {
        if demand.concealed != 0 {
            // The index first: the others rely on it.
            self.index.activate(net, |dev| self.owner(dev), rtnl)?;
            self.routes.watch(net, rtnl);
            self.hear.register(net, rtnl)?;
            self.announce.register(net, rtnl)?;
        }
        if demand.hidden != 0 && !self.hides() {
            if select::wanted() {
                select::arm(rtnl)?;
                self.hiding.store(true, Ordering::Relaxed);
            } else {
                notice::selection_is_off();
            }
        }
        Ok(())
    }

    /// Disarms what is armed and `demand` does not ask for.
    fn disarm(&self, net: &Net, demand: Demand, rtnl: &mut Rtnl) {
        if demand.hidden == 0 && self.hides() {
            self.hiding.store(false, Ordering::Relaxed);
            select::disarm(rtnl);
        }
        if demand.concealed == 0 {
            self.hear.unregister(net, rtnl);
            self.announce.unregister(net, rtnl);
            self.routes.ignore(net, rtnl);
            self.index.deactivate(rtnl);
        }
    }

    /// A device has come: it takes the values of `default`.
    fn add(&self, net: &Net, dev: &NetDevice, rtnl: &mut Rtnl) -> Result {
        let ifindex = dev.ifindex();
        if dev.in_device_rtnl(rtnl).is_none() || self.device(ifindex).is_some() {
            return Ok(());
        }
        let values = self.default.flags();
        let flags = values.enabled_by(self.all.flags());
        let before = *self.demand.get(rtnl);
        let after = before.with(flags);
        self.arm(net, after, rtnl)
            .and_then(|()| {
                let device = Arc::new(
                    Device {
                        ifindex,
                        values: Values::new(values),
                        in_force: InForce::new(flags),
                        by_hand: [Atomic::new(false), Atomic::new(false)],
                        counters: SetOnce::new(),
                        files: RtnlCell::new(None),
                        noticed: Atomic::new(false),
                    },
                    GFP_KERNEL,
                )?;
                device.prepare(values != Flags::default())?;
                self.devices
                    .insert(Vacant::new()?, ifindex as u32, device, rtnl);
                self.name(net, dev, rtnl)
                    .inspect_err(|_| self.forget(ifindex, rtnl))
            })
            .inspect_err(|_| self.disarm(net, before, rtnl))?;
        *self.demand.get_mut(rtnl) = after;
        Ok(())
    }

    /// A device goes.
    fn remove(&self, net: &Net, dev: &NetDevice, rtnl: &mut Rtnl) {
        let Some(device) = self.device(dev.ifindex()) else {
            return;
        };
        let before = *self.demand.get(rtnl);
        let after = before.without(device.in_force.get());
        // Its addresses may be known for longer, when the module goes and the device does not.
        device.in_force.set(Flags::default());
        self.forget(device.ifindex, rtnl);
        *self.demand.get_mut(rtnl) = after;
        self.disarm(net, after, rtnl);
        // A device that goes has lost its addresses, and the kernel has selected anew. One that stays goes
        // for us only, because the module does.
        if before.hidden != after.hidden && dev.in_device_rtnl(rtnl).is_some() {
            net.reselect_sources(rtnl);
        }
    }

    fn forget(&self, ifindex: i32, rtnl: &mut Rtnl) {
        if let Some(device) = self.device(ifindex) {
            // Here and not when the last reference goes: that may be in a context that cannot sleep.
            *device.files.get_mut(rtnl) = None;
            self.devices.remove(ifindex as u32, |_| true, rtnl);
        }
    }

    /// Makes the files of a device stand under its name.
    fn name(&self, net: &Net, dev: &NetDevice, rtnl: &mut Rtnl) -> Result {
        let Some(device) = self.device(dev.ifindex()) else {
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
}

/// Set when the module has come to know all that existed before it.
static LOADED: Atomic<bool> = Atomic::new(false);

/// Whether the module has come to know all that existed before it.
pub(crate) fn is_loaded() -> bool {
    LOADED.load(Relaxed)
}

/// Says that the module has come to know all that existed before it.
pub(crate) fn loaded() {
    LOADED.store(true, Relaxed);
}

impl PerNet for Namespace {
    fn id() -> &'static Id<Self> {
        static ID: Id<Namespace> = Id::new();
        &ID
    }

    fn init(net: &Net) -> impl PinInit<Self, Error> {
        // Row 24; before the module is loaded, no namespace has anything to inherit.
        let (all, default) = match net::inherited_devconf() {
            Some(from) if is_loaded() => {
                let from = Namespace::of(from);
                (from.all.flags(), from.default.flags())
            }
            _ => (Flags::default(), Flags::default()),
        };
        try_pin_init!(Self {
            all: Values::new(all),
            default: Values::new(default),
            devices: RcuHash::new()?,
            index: Index::new()?,
            routes <- LocalRoutes::new(),
            hear <- Hook::new(),
            announce <- Hook::new(),
            hiding: AtomicBool::new(false),
            demand: RtnlCell::new(Demand::default()),
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
        // No more writes. What is armed stays so until the last concealed device has gone: they still hear.
        *self.files.get_mut(&mut rtnl::lock()) = None;
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

    fn added(&self, ifa: &InIfaddr, rtnl: &mut Rtnl) {
        let dev = ifa.device();
        let conceals = |dev| self.flags(dev, &rcu::read_lock()).conceal();
        // Of many addresses of /32, which is what VIPs are, nothing is to be said.
        if self.hear.is_registered(rtnl) && (notice::is_wide(ifa) || !conceals(dev)) {
            notice::look_for_wide_prefixes(dev.net(), self, rtnl);
        }
    }
}

/// Follows the devices of all namespaces.
pub(crate) struct Devices;

impl Notify for Devices {
    fn event(event: netdevice::Event, dev: &NetDevice, rtnl: &mut Rtnl) -> Result {
        let net = dev.net();
        let namespace = Namespace::of(net);
        match event {
            netdevice::Event::Register => namespace.add(net, dev, rtnl),
            netdevice::Event::Unregister => {
                namespace.remove(net, dev, rtnl);
                Ok(())
            }
            netdevice::Event::ChangeName => namespace.name(net, dev, rtnl),
            // Below 68 bytes the device's IPv4 state goes, with the kernel's own knobs; above, it comes anew.
            netdevice::Event::ChangeMtu if dev.in_device_rtnl(rtnl).is_some() => {
                namespace.add(net, dev, rtnl)
            }
            netdevice::Event::ChangeMtu => {
                namespace.remove(net, dev, rtnl);
                Ok(())
            }
            // A loopback device owns more than its addresses, by routes that go and come with it.
            netdevice::Event::Turning if dev.is_loopback() => {
                namespace.routes.all_move();
                namespace.index.wait_for_packets(rtnl);
                Ok(())
            }
            netdevice::Event::Turned if dev.is_loopback() => {
                namespace.routes.moved();
                Ok(())
            }
            netdevice::Event::Turning | netdevice::Event::Turned => Ok(()),
        }
    }
}
