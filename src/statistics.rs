// SPDX-License-Identifier: GPL-2.0

//! Prints `/proc/net/arp_hidden`: the flags and the counters of each device.

use crate::{
    abi::{
        net::{Net, PerNet},
        netdevice::NetDevice,
        proc_net::DeviceTable, //
    },
    policy::Flags,
    state::{self, Counters, Event, Namespace}, //
};
use kernel::{
    prelude::*,
    seq_file::{seq_print, SeqFile},
    sync::rcu, //
};

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
        let Some(device) = namespace.known(dev, rcu) else {
            return;
        };
        let (set, in_force) = (device.values.flags(), device.in_force.get());
        let sums = device.counters().map_or([0; Event::KINDS], Counters::sums);
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

/// Returns a hint at what the operator may have forgotten.
fn note(set: Flags, in_force: Flags) -> &'static str {
    let hidden_void = set.hidden != in_force.hidden;
    let arp_invisible_void = set.arp_invisible != in_force.arp_invisible;
    match (hidden_void, arp_invisible_void) {
        (true, true) => "all/hidden=0,all/arp_invisible=0",
        (true, false) => "all/hidden=0",
        (false, true) => "all/arp_invisible=0",
        (false, false) if in_force.hide() && !state::selects_sources() => "source_selection=0",
        (false, false) => "-",
    }
}
