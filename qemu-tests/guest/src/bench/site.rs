// SPDX-License-Identifier: GPL-2.0

//! The network of the benchmark.

use crate::{
    lab::{batch::at_once, module::unload, Host, Lab},
    line::Line,
    netlink::Netlink,
    tap::Tap,
};
use anyhow::Result;
use nix::net::if_::if_nametoindex;
use protocol::{bench::Size, frame::Mac};
use std::net::Ipv4Addr;

pub(super) const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(super) const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
pub(super) const NOBODY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 77);
/// Behind eth1. It is not the address of anyone, so that nothing is answered.
pub(super) const FAR: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 77);
/// Where there is no route to.
pub(super) const NOWHERE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// What is added to eth0, to see what that costs.
pub(super) const ADDED: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 200);

pub(super) const HOST_MAC: Mac = [2, 0, 0, 0, 0, 1];
pub(super) const NEIGHBOUR_MAC: Mac = [2, 0, 0, 0, 0, 2];
pub(super) const HOST_MAC_1: Mac = [2, 0, 0, 0, 0, 3];
pub(super) const FAR_MAC: Mac = [2, 0, 0, 0, 0, 4];

/// The `n`th address on lo, from 1.
pub(super) fn vip(n: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 1, 0, 0).to_bits() + n)
}

/// The network of the benchmark:
///
/// ```text
///   neighbour            host                           far
///   eth0 10.0.0.2/16 --- eth0 10.0.0.1/16
///                        eth1 (no address) ------------ eth0 (no address)
///                        lo   10.1.0.1/32 ... (VIPs)
///                        d3 ... (dummies)
/// ```
pub(super) struct Site<'a> {
    pub(super) line: &'a mut Line,
    pub(super) size: Size,
    pub(super) lab: Lab,
    pub(super) host: Host,
    pub(super) elsewhere: Host,
    pub(super) from_neighbour: Tap,
    pub(super) to_nowhere: Tap,
    pub(super) from_far: Tap,
    pub(super) netlink: Netlink,
    pub(super) eth0: u32,
    /// How many flows there were, for one that is new.
    pub(super) flows: u16,
    /// How many neighbours were asked for, for one that is new.
    pub(super) targets: u32,
}

impl<'a> Site<'a> {
    /// Sets it up, without the module.
    pub(super) fn new(size: Size, line: &'a mut Line) -> Result<Self> {
        let mut lab = Lab::new();
        unload()?;
        let host = lab.host("host")?;
        let neighbour = lab.host("neighbour")?;
        let far = lab.host("far")?;
        let elsewhere = lab.host("elsewhere")?;
        for (device, neighbour, first) in [("eth0", &neighbour, 1), ("eth1", &far, 3)] {
            lab.run(&format!(
                "ip link add {device} netns host address 02:00:00:00:00:0{first} type veth \
                 peer name eth0 netns {neighbour} address 02:00:00:00:00:0{}",
                first + 1
            ))?;
            host.ip(&format!("link set {device} up"))?;
            neighbour.ip("link set eth0 up")?;
        }
        host.ip("addr add 10.0.0.1/16 dev eth0")?;
        neighbour.ip("addr add 10.0.0.2/16 dev eth0")?;
        elsewhere.ip("addr add 10.1.0.1/32 dev lo")?;
        host.ip("route add 10.9.0.0/24 dev eth1")?;
        for addr in ["10.9.0.77", "10.9.0.2"] {
            host.ip(&format!(
                "neigh add {addr} lladdr 02:00:00:00:00:04 dev eth1 nud permanent"
            ))?;
        }
        host.ip("neigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev eth0 nud permanent")?;
        for (file, value) in [
            ("ip_forward", 1),
            ("icmp_errors_use_inbound_ifaddr", 1),
            ("icmp_ratemask", 0),
            ("icmp_msgs_per_sec", 1_000_000),
            ("icmp_msgs_burst", 1_000_000),
        ] {
            host.set(&format!("net/ipv4/{file}"), value)?;
        }
        host.run(
            "nft 'add table ip nat; add chain ip nat post { type nat hook postrouting priority 100; }; \
             add rule ip nat post ip daddr 10.9.0.77 masquerade'",
        )?;
        at_once(&host, 1..=size.vips, |n| {
            format!("addr add {}/32 dev lo", vip(n))
        })?;
        at_once(&host, 3..size.interfaces, |n| {
            format!("link add d{n} up type dummy")
        })?;
        let from_neighbour = neighbour.enter(|| Tap::sender("eth0"))??;
        neighbour.ip("link add dummy0 up type dummy")?;
        let to_nowhere = neighbour.enter(|| Tap::sender("dummy0"))??;
        let from_far = far.enter(|| Tap::sender("eth0"))??;
        let netlink = host.enter(Netlink::open)??;
        let eth0 = host.enter(|| if_nametoindex("eth0"))??;
        Ok(Self {
            line,
            size,
            lab,
            host,
            elsewhere,
            from_neighbour,
            to_nowhere,
            from_far,
            netlink,
            eth0,
            flows: 0,
            targets: 0,
        })
    }
}
