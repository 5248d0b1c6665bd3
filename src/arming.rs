// SPDX-License-Identifier: GPL-2.0

//! What the flags of a namespace ask for: the two netfilter hooks, the redirection of source selection and what these
//! have to know. A namespace that conceals nothing has none of it.

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

/// What a namespace's flags ask for: so many devices are concealed, so many of them hidden.
#[derive(Clone, Copy, Default)]
pub(crate) struct Demand {
    /// Where any is, ARP is to be looked at.
    pub(crate) concealed: usize,
    /// Where any is, sources are to be selected around them.
    pub(crate) hidden: usize,
}

impl Demand {
    /// With one device more that has such flags in force.
    pub(crate) fn with(self, flags: Flags) -> Self {
        Self {
            concealed: self.concealed + usize::from(flags.conceal()),
            hidden: self.hidden + usize::from(flags.hide()),
        }
    }

    /// With one device less that has such flags in force.
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
        // What is armed stays so until the last concealed device has gone: they still receive.
    }
}

impl Arming {
    /// What the flags in force ask for.
    pub(crate) fn demand(&self, rtnl: &Rtnl) -> Demand {
        *self.demand.get(rtnl)
    }

    /// Arms what `demand` asks for besides what is armed. To be called before the flags say so, and followed by
    /// [`Self::settle`] when they do. After an error nothing has changed. Sleeps.
    pub(crate) fn raise(&self, net: &Net, demand: Demand, rtnl: &mut Rtnl) -> Result {
        self.arm(net, demand, rtnl)
            .inspect_err(|_| self.disarm(net, self.demand(rtnl), rtnl))
    }

    /// The flags in force ask for `demand` now: disarms the rest. Sleeps.
    pub(crate) fn settle(&self, net: &Net, demand: Demand, rtnl: &mut Rtnl) {
        *self.demand.get_mut(rtnl) = demand;
        self.disarm(net, demand, rtnl);
    }

    fn arm(&self, net: &Net, demand: Demand, rtnl: &mut Rtnl) -> Result {
        let namespace = Namespace::of(net);
        if demand.concealed != 0 {
            // The addresses first: the hooks rely on them.
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
