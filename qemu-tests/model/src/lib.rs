// SPDX-License-Identifier: GPL-2.0

//! A reference model of a host: what Linux and the flags together make it answer, announce and select.
//!
//! Nothing here talks to a kernel, and nothing is shared with the module. [`Host`] is the state, and an
//! [`Operation`] changes it as net/ipv4 of the stock kernel would; [`Seen`] is what a [`Probe`] must see, by
//! the stock kernel (`stock`) and by `Documentation/semantics.md` (`semantics`); a [`Generator`] makes
//! operations and probes from a seed, and [`shrink`] shortens a failing sequence of them.
//!
//! It leaves out forwarding and proxy ARP (their answers are delayed by a random time), broadcast addresses
//! (none is ever configured or asked for), routes by a gateway, routes with a preferred source given by hand,
//! local routes without an address, and policy rules other than a VRF's and the one for the table "local".

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
