// SPDX-License-Identifier: GPL-2.0

//! What a host announces in its own requests.

use crate::{lab::Host, wire::Wire};
use anyhow::Result;
use std::net::Ipv4Addr;

/// An address of the LAN that nobody has: who asks for it is not answered, and learns nothing.
const NOBODY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 99);

/// The address that the host announces when it must ask for a neighbour to send from `from`.
pub(crate) fn announces(host: &Host, wire: &Wire, from: Ipv4Addr) -> Result<Ipv4Addr> {
    host.ip("neigh flush dev eth0")?;
    wire.heard()?;
    host.say(from, NOBODY)?;
    wire.announced(NOBODY)
}
