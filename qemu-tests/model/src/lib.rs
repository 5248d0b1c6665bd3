// SPDX-License-Identifier: GPL-2.0

//! A reference model of a host: the replies, announcements and selections that Linux makes with the module's flags.
//!
//! It does not talk to a kernel and shares no code with the module. A [`Host`] is the state. An [`Operation`] changes it as
//! net/ipv4 of the stock kernel would. [`Seen`] is what a [`Probe`] must see, according to the stock kernel (`stock`) and to
//! `Documentation/semantics.md` (`semantics`). A [`Generator`] makes operations and probes from a seed, and [`shrink`]
//! shortens a failing sequence.
//!
//! The model leaves out forwarding and proxy ARP (whose replies are delayed by a random time), broadcast addresses, routes
//! with a gateway, manual routes with a preferred source, local routes without an address, and policy rules other than
//! those of VRFs and the one for the table "local".

#![deny(unsafe_code)]

mod address;
mod apply;
mod command;
mod conf;
mod device;
mod fib;
mod generate;
mod host;
mod operation;
mod pool;
mod predict;
mod prefix;
mod probe;
mod semantics;
mod shrink;
mod stock;
#[cfg(test)]
mod testing;

pub use command::Command;
pub use generate::{Generator, Step};
pub use host::Host;
pub use operation::{Directory, Knob, Operation, Outcome, Place, Slot};
pub use pool::is_fresh;
pub use prefix::{Prefix, Scope};
pub use probe::{Cast, Probe, Seen};
pub use shrink::shrink;
