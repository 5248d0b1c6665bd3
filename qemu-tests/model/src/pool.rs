// SPDX-License-Identifier: GPL-2.0

//! The addresses of a random network.

use crate::prefix::Prefix;
use std::net::Ipv4Addr;

/// The addresses that devices may have: few, so that they meet.
pub(crate) const ADDRESSES: [Ipv4Addr; 7] = [
    Ipv4Addr::new(10, 0, 0, 1),
    Ipv4Addr::new(10, 0, 0, 2),
    Ipv4Addr::new(10, 0, 0, 3),
    Ipv4Addr::new(10, 1, 0, 1),
    Ipv4Addr::new(10, 1, 0, 2),
    Ipv4Addr::new(10, 7, 0, 1),
    Ipv4Addr::new(10, 7, 0, 2),
];
/// Addresses that no device has, but that a local subnet of lo may make the host's.
pub(crate) const COVERED: [Ipv4Addr; 3] = [
    Ipv4Addr::new(10, 0, 0, 9),
    Ipv4Addr::new(10, 1, 0, 9),
    Ipv4Addr::new(10, 7, 0, 9),
];
/// Subnets to which there is at most a route by hand.
pub(crate) const ELSEWHERE: [Prefix; 2] = [
    Prefix::new(Ipv4Addr::new(10, 8, 0, 0), 16),
    Prefix::new(Ipv4Addr::new(10, 9, 0, 0), 16),
];
/// Neighbours, in the subnets of [`ADDRESSES`] or out of them by the length of the prefix.
pub(crate) const NEAR: [Ipv4Addr; 3] = [
    Ipv4Addr::new(10, 0, 0, 12),
    Ipv4Addr::new(10, 0, 250, 1),
    Ipv4Addr::new(10, 1, 250, 1),
];
/// The source of a packet that is forwarded.
pub(crate) const FOREIGN: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 1);

/// Whether an address asks, or is asked for, only once.
pub fn is_fresh(addr: Ipv4Addr) -> bool {
    !ADDRESSES.contains(&addr) && !COVERED.contains(&addr)
}
