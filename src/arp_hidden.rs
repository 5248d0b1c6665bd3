// SPDX-License-Identifier: GPL-2.0

//! `hidden` and `arp_invisible`: the flags of Linux 2.2 that keep a device's addresses out of ARP and out of source
//! address selection, for hosts that share an address (LVS real servers, anycast).
//!
//! This file loads and unloads the module. Each floor uses only the floors below it:
//!
//! - [`knobs`], [`events`]: the operator's writes and the kernel's events;
//! - [`arming`]: which hooks the flags need;
//! - [`hear`], [`announce`], [`select`]: the hooks;
//! - [`statistics`], [`notice`]: what the operator sees;
//! - [`state`]: what is known of a namespace;
//! - [`policy`], [`arp`]: pure decisions and the ARP packet;
//! - [`abi`]: safe wrappers of the kernel's C interfaces, with all unsafe code.

#![deny(unsafe_code)]

use kernel::prelude::*;

#[allow(unsafe_code)]
mod abi;
mod announce;
mod arming;
mod arp;
mod events;
mod hear;
mod knobs;
mod notice;
mod policy;
mod select;
mod state;
mod statistics;

use abi::{inetaddr, net, netdevice, rcu_hash};
use arming::Arming;
use events::{Addresses, Devices, Directories};
use state::Namespace;

module! {
    type: ArpHidden,
    name: "arp_hidden",
    authors: ["The arp_hidden developers"],
    description: "The hidden and arp_invisible flags of network interfaces",
    license: "GPL",
    params: {
        source_selection: u8 {
            default: 1,
            description: "Keep hidden addresses out of the selection of source addresses (default 1); 0 leaves inet_select_addr alone",
        },
    },
}

/// What is registered with the kernel, in the order in which it is dropped when the module is unloaded.
///
/// First the devices: each is forgotten as if it had left, which disarms the hooks and the redirection and has routes
/// select their sources anew. Then the notifiers of addresses, the redirection, which may still be in place, and the
/// state of namespaces, whose end waits for a grace period. Last, when nothing can free memory under RCU any more, the
/// barrier waits for what is still to be freed.
#[pin_data]
struct ArpHidden {
    #[pin]
    devices: netdevice::Notifier<Devices>,
    #[pin]
    addresses: inetaddr::Notifiers<Addresses>,
    #[pin]
    directories: net::Registration<Directories>,
    #[pin]
    arming: net::Registration<Arming>,
    redirection: select::Redirection,
    #[pin]
    namespaces: net::Registration<Namespace>,
    freed: rcu_hash::Barrier,
}

impl kernel::InPlaceModule for ArpHidden {
    fn init(_: &'static ThisModule) -> impl PinInit<Self, Error> {
        state::set_selects_sources(
            abi::parameter::<u8>(module_parameters::source_selection.value()) != 0,
        );
        try_pin_init!(Self {
            freed: rcu_hash::Barrier,
            namespaces <- net::Registration::new(),
            arming <- net::Registration::new(),
            directories <- net::Registration::new(),
            redirection: select::Redirection::prepare()?,
            addresses <- inetaddr::Notifiers::register(),
            devices <- netdevice::Notifier::register(),
            _: {
                state::loaded();
                pr_info!(
                    "version {}: net.ipv4.conf.*.hidden and .arp_invisible; source selection {}; {}\n",
                    env!("ARP_HIDDEN_VERSION"),
                    if state::selects_sources() { "on" } else { "off, by parameter" },
                    env!("ARP_HIDDEN_RUST"),
                );
            },
        }? Error)
    }
}
