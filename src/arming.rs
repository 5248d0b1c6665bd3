// SPDX-License-Identifier: GPL-2.0

//! Arms and disarms what the flags of a namespace need: the two netfilter hooks, the redirection of source selection,
//! and the index of addresses. A namespace that conceals nothing has none of these.

use crate::{
    abi::{
        net::{Id, Net, PerNet},
        netfilter::Hook,
        rtnl::{Rtnl, RtnlCell}, //
    },
    announce::Announce,
    hear::Hear,
    notice,
    policy::Flags,
    select,
    state::{self, Namespace}, //
};
use kernel::prelude::*;

/// How many devices of a namespace have flags in force.
#[derive(Clone, Copy, Default)]
pub(crate) struct Demand {
    /// Concealed devices. With at least one, the ARP hooks are needed.
    pub(crate) concealed: usize,
    /// Hidden devices. With at least one, the redirection is needed too.
    pub(crate) hidden: usize,
}

impl Demand {
    /// Adds a device with these flags in force.
    pub(crate) fn with(self, flags: Flags) -> Self {
        Self {
            concealed: self.concealed + usize::from(flags.conceal()),
            hidden: self.hidden + usize::from(flags.hide()),
        }
    }

    /// Removes a device with these flags in force.
    pub(crate) fn without(self, flags: Flags) -> Self {
        Self {
            concealed: self.concealed - usize::from(flags.conceal()),
            hidden: self.hidden - usize::from(flags.hide()),
        }
    }
}

/// What is armed in a namespace.
#[pin_data]
pub(crate) struct Arming {
    #[pin]
    hear: Hook<Hear>,
    #[pin]
    announce: Hook<Announce>,
    demand: RtnlCell<Demand>,
}

impl PerNet for Arming {
    fn id() -> &'static Id<Self> {
        static ID: Id<Arming> = Id::new();
        &ID
    }

    fn init(_: &Net) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            hear <- Hook::new(),
            announce <- Hook::new(),
            demand: RtnlCell::new(Demand::default()),
        }? Error)
    }

    fn pre_exit(&self, _: &Net) {
        // The hooks stay until the last concealed device has left: the devices still receive.
    }
}

impl Arming {
    /// Returns what the flags in force need.
    pub(crate) fn demand(&self, rtnl: &Rtnl) -> Demand {
        *self.demand.get(rtnl)
    }

    /// Arms what `demand` needs and is not armed. Call it before setting the flags, and [`Self::settle`] after that.
    /// An error changes nothing. Sleeps.
    pub(crate) fn raise(&self, net: &Net, demand: Demand, rtnl: &mut Rtnl) -> Result {
        self.arm(net, demand, rtnl)
            .inspect_err(|_| self.disarm(net, self.demand(rtnl), rtnl))
    }

    /// Notes that the flags in force need `demand`, and disarms the rest. Sleeps.
    pub(crate) fn settle(&self, net: &Net, demand: Demand, rtnl: &mut Rtnl) {
        *self.demand.get_mut(rtnl) = demand;
        self.disarm(net, demand, rtnl);
    }

    fn arm(&self, net: &Net, demand: Demand, rtnl: &mut Rtnl) -> Result {
        let namespace = Namespace::of(net);
        if demand.concealed != 0 {
            // Index the addresses first: the hooks rely on the index.
            namespace.activate(net, rtnl)?;
            self.hear.register(net, rtnl)?;
            self.announce.register(net, rtnl)?;
        }
        if demand.hidden != 0 && !namespace.hides() {
            if state::selects_sources() {
                select::arm(rtnl)?;
                namespace.set_hides(true, rtnl);
            } else {
                notice::selection_is_off();
            }
        }
        Ok(())
    }

    fn disarm(&self, net: &Net, demand: Demand, rtnl: &mut Rtnl) {
        let namespace = Namespace::of(net);
        if demand.hidden == 0 && namespace.hides() {
            namespace.set_hides(false, rtnl);
            select::disarm(rtnl);
        }
        if demand.concealed == 0 {
            self.hear.unregister(net, rtnl);
            self.announce.unregister(net, rtnl);
            namespace.deactivate(rtnl);
        }
    }
}
