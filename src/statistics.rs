// SPDX-License-Identifier: GPL-2.0

//! What an operator sees: the counters of each device and `/proc/net/arp_hidden`.
//!
//! An event is counted on the device whose flag is the reason, not on the one that heard or sent the frame: the
//! line of a concealed device then tells what concealing it does. Which device heard or sent is in the
//! tracepoints.

use crate::{
    abi::{
        net::{Net, PerNet},
        netdevice::NetDevice,
        percpu,
        proc_net::DeviceTable, //
    },
    namespace::Namespace,
    policy::{Flags, Unanswered},
    select, //
};
use kernel::{
    prelude::*,
    seq_file::{seq_print, SeqFile},
    sync::rcu, //
};

/// What happened because a device is concealed.
#[derive(Clone, Copy)]
pub(crate) enum Event {
    /// A request that was heard stays unanswered.
    Unanswered(Unanswered),
    /// A neighbour solicitation goes out with another sender address.
    Rewritten,
    /// The selection of a source comes to another result.
    Redirected,
}

impl Event {
    const KINDS: usize = 5;

    fn index(self) -> usize {
        match self {
            Event::Unanswered(Unanswered::Broadcast) => 0,
            Event::Unanswered(Unanswered::Unicast) => 1,
            Event::Unanswered(Unanswered::Dad) => 2,
            Event::Rewritten => 3,
            Event::Redirected => 4,
        }
    }
}

/// The counters of a device.
pub(crate) struct Counters(percpu::Counters<{ Event::KINDS }>);

impl Counters {
    /// Allocates them. Sleeps.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(percpu::Counters::new()?))
    }

    /// Counts. In any context.
    pub(crate) fn count(&self, event: Event) {
        self.0.increment(event.index());
    }

    /// The sums, in the order of the columns.
    fn sums(&self) -> [u64; Event::KINDS] {
        core::array::from_fn(|kind| self.0.sum(kind))
    }
}

/// What `/proc/net/arp_hidden` says of a device.
pub(crate) struct State<'a> {
    /// The flags that it has set.
    pub(crate) set: Flags,
    /// The flags in force.
    pub(crate) in_force: Flags,
    /// Its counters, if it ever had a flag set.
    pub(crate) counters: Option<&'a Counters>,
}

/// `/proc/net/arp_hidden`.
pub(crate) struct Table;

impl DeviceTable for Table {
    const NAME: &'static CStr = c"arp_hidden";

    fn heading(out: &SeqFile) {
        seq_print!(
            out,
            "{:<15} {:>6} {:>10} {:>13} {:>11} {:>9} {:>9} {:>7} {:>7} {:>9} {:>10} {}\n",
            "device",
            "hidden",
            "hidden_eff",
            "arp_invisible",
            "arp_inv_eff",
            "addresses",
            "broadcast",
            "unicast",
            "dad",
            "rewritten",
            "redirected",
            "note",
        );
    }

    fn device(net: &Net, dev: &NetDevice, out: &SeqFile, rcu: &rcu::Guard) {
        let namespace = Namespace::of(net);
        let Some(State {
            set,
            in_force,
            counters,
        }) = namespace.state(dev, rcu)
        else {
            return;
        };
        let sums = counters.map_or([0; Event::KINDS], Counters::sums);
        if set == Flags::default() && sums.iter().all(|sum| *sum == 0) {
            return;
        }
        let [broadcast, unicast, dad, rewritten, redirected] = sums;
        seq_print!(
            out,
            "{:<15} {:>6} {:>10} {:>13} {:>11} {:>9} {:>9} {:>7} {:>7} {:>9} {:>10} {}\n",
            dev.name_rcu(rcu),
            set.hidden,
            in_force.hidden,
            set.arp_invisible,
            in_force.arp_invisible,
            if in_force.conceal() {
                namespace.concealed(dev, rcu)
            } else {
                0
            },
            broadcast,
            unicast,
            dad,
            rewritten,
            redirected,
            note(set, in_force),
        );
    }
}

/// What the operator may have forgotten.
fn note(set: Flags, in_force: Flags) -> &'static str {
    let hidden_void = set.hidden != in_force.hidden;
    let arp_invisible_void = set.arp_invisible != in_force.arp_invisible;
    match (hidden_void, arp_invisible_void) {
        (true, true) => "all/hidden=0,all/arp_invisible=0",
        (true, false) => "all/hidden=0",
        (false, true) => "all/arp_invisible=0",
        (false, false) if in_force.hide() && !select::wanted() => "source_selection=0",
        (false, false) => "-",
    }
}
