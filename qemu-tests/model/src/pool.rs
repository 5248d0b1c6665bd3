// SPDX-License-Identifier: GPL-2.0

//! The addresses of a random network.

use crate::prefix::Prefix;
use std::net::Ipv4Addr;

/// The addresses that devices may have. There are few, so that devices share them.
pub(crate) const ADDRESSES: [Ipv4Addr; 7] = [
    Ipv4Addr::new(10, 0, 0, 1),
    Ipv4Addr::new(10, 0, 0, 2),
    Ipv4Addr::new(10, 0, 0, 3),
    Ipv4Addr::new(10, 1, 0, 1),
    Ipv4Addr::new(10, 1, 0, 2),
    Ipv4Addr::new(10, 7, 0, 1),
    Ipv4Addr::new(10, 7, 0, 2),
];
/// Addresses that no device has, but that may be local through a subnet of lo.
pub(crate) const COVERED: [Ipv4Addr; 3] = [
    Ipv4Addr::new(10, 0, 0, 9),
    Ipv4Addr::new(10, 1, 0, 9),
    Ipv4Addr::new(10, 7, 0, 9),
];
/// Subnets that are reachable only through manual routes.
pub(crate) const ELSEWHERE: [Prefix; 2] = [
    Prefix::new(Ipv4Addr::new(10, 8, 0, 0), 16),
    Prefix::new(Ipv4Addr::new(10, 9, 0, 0), 16),
];
/// Neighbours. The length of the prefix decides whether they are in the subnets of [`ADDRESSES`].
pub(crate) const NEAR: [Ipv4Addr; 3] = [
    Ipv4Addr::new(10, 0, 0, 12),
    Ipv4Addr::new(10, 0, 250, 1),
    Ipv4Addr::new(10, 1, 250, 1),
];
/// The source of a forwarded packet.
pub(crate) const FOREIGN: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 1);

/// Whether an address is the sender or the target of at most one request.
pub fn is_fresh(addr: Ipv4Addr) -> bool {
    !ADDRESSES.contains(&addr) && !COVERED.contains(&addr)
}
