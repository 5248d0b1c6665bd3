// SPDX-License-Identifier: GPL-2.0

//! Requests that a host sends: rows 11 to 15.

use crate::{
    lab::{
        announce::announces,
        case::cases,
        real_server::{real_server, unnumbered, ELSEWHERE, HOST, NEIGHBOUR, VIP},
        Lab, Way,
    },
    wire::PATIENCE,
};
use anyhow::{ensure, Result};
use std::{net::Ipv4Addr, time::Instant};

cases![
    row11_concealed_elsewhere,
    row11_arp_announce,
    row11_invisible_skips_invisible,
    row12_concealed_here,
    row13_nothing_else,
    row14_visible,
    row15_gratuitous_of_the_kernel,
    row15_arping,
    row15_bond_monitor,
];

fn row11_concealed_elsewhere(lab: &mut Lab) -> Result<()> {
    let (host, neighbour, wire) = real_server(lab)?;
    for way in Way::ALL {
        ensure!(announces(&host, &wire, VIP)? == VIP, "the flag is off");
        host.conceal("lo", way)?;
        ensure!(announces(&host, &wire, VIP)? == HOST, "{way:?}");
        host.reveal("lo", way)?;
    }
    // The datagram itself comes from the VIP, and the neighbour's requests for it get no reply.
    host.conceal("lo", Way::Hidden)?;
    neighbour.ip("neigh flush dev eth0")?;
    host.say(VIP, NEIGHBOUR)?;
    ensure!(
        wire.heard_sources()?.contains(&VIP),
        "the datagram has another source"
    );
    ensure!(
        !neighbour
            .ip("neigh")?
            .contains("10.0.0.100 dev eth0 lladdr"),
        "the neighbour learnt the VIP"
    );
    Ok(())
}

/// With arp_announce=1, the kernel announces the VIP in its own subnet, whichever device has it.
fn row11_arp_announce(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    for way in Way::ALL {
        for (announce, when_off) in [(0, VIP), (1, VIP), (2, HOST)] {
            host.conf("eth0", "arp_announce", announce)?;
            ensure!(
                announces(&host, &wire, VIP)? == when_off,
                "arp_announce={announce}, the flag is off"
            );
            host.conceal("lo", way)?;
            ensure!(
                announces(&host, &wire, VIP)? == HOST,
                "arp_announce={announce}, {way:?}"
            );
            host.reveal("lo", way)?;
        }
    }
    Ok(())
}

/// The selected replacement must not be concealed by `arp_invisible` either.
fn row11_invisible_skips_invisible(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = unnumbered(lab)?;
    host.dummy("dummy0", "10.9.9.9/24")?;
    host.dummy("dummy1", "10.8.8.8/24")?;
    for way in Way::ALL {
        host.conceal("lo", way)?;
        ensure!(
            announces(&host, &wire, VIP)? == Ipv4Addr::new(10, 9, 9, 9),
            "{way:?}"
        );
        host.conceal("dummy0", way)?;
        ensure!(
            announces(&host, &wire, VIP)? == Ipv4Addr::new(10, 8, 8, 8),
            "{way:?}"
        );
        host.reveal("dummy0", way)?;
        host.reveal("lo", way)?;
        ensure!(announces(&host, &wire, VIP)? == VIP, "the flag is off");
    }
    Ok(())
}

fn row12_concealed_here(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    let secondary = Ipv4Addr::new(10, 0, 0, 7);
    host.ip("addr add 10.0.0.7/24 dev eth0")?;
    for way in Way::ALL {
        ensure!(
            announces(&host, &wire, secondary)? == secondary,
            "the flag is off"
        );
        host.conceal("eth0", way)?;
        ensure!(announces(&host, &wire, secondary)? == HOST, "{way:?}");
        ensure!(announces(&host, &wire, HOST)? == HOST, "{way:?}");
        host.reveal("eth0", way)?;
    }
    Ok(())
}

fn row13_nothing_else(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = unnumbered(lab)?;
    for way in Way::ALL {
        ensure!(announces(&host, &wire, VIP)? == VIP, "the flag is off");
        host.conceal("lo", way)?;
        ensure!(
            announces(&host, &wire, VIP)? == Ipv4Addr::UNSPECIFIED,
            "{way:?}"
        );
        host.reveal("lo", way)?;
    }
    Ok(())
}

fn row14_visible(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    host.dummy("dummy0", "10.5.5.5/24")?;
    for way in Way::ALL {
        host.conceal("lo", way)?;
        ensure!(announces(&host, &wire, ELSEWHERE)? == ELSEWHERE, "{way:?}");
        // One visible owner is enough.
        host.ip("addr add 10.0.0.100/32 dev dummy0")?;
        ensure!(
            announces(&host, &wire, VIP)? == VIP,
            "{way:?}, a visible owner"
        );
        host.ip("addr del 10.0.0.100/32 dev dummy0")?;
        host.reveal("lo", way)?;
    }
    Ok(())
}

/// arp_notify makes the kernel announce a device's addresses when it comes up.
fn row15_gratuitous_of_the_kernel(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    host.conf("eth0", "arp_notify", 1)?;
    for way in Way::ALL {
        host.conceal("eth0", way)?;
        host.ip("link set eth0 down")?;
        host.ip("link set eth0 up")?;
        let deadline = Instant::now() + PATIENCE;
        while !wire
            .heard_arp()?
            .iter()
            .any(|arp| arp.sip == HOST && arp.tip == HOST)
        {
            ensure!(Instant::now() < deadline, "{way:?}: no gratuitous ARP");
        }
        host.reveal("eth0", way)?;
    }
    Ok(())
}

/// Packets from packet sockets are sent as they are: keepalived's gratuitous ARP, arping -s.
fn row15_arping(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    for way in Way::ALL {
        host.conceal("lo", way)?;
        for (command, tip) in [
            ("arping -q -c 1 -U -I eth0 -s 10.0.0.100 10.0.0.100", VIP),
            ("arping -q -c 1 -I eth0 -s 10.0.0.100 10.0.0.2", NEIGHBOUR),
        ] {
            wire.heard()?;
            host.run(command)?;
            ensure!(
                wire.heard_arp()?
                    .iter()
                    .any(|arp| arp.sip == VIP && arp.tip == tip),
                "{way:?}: {command} sent something else"
            );
        }
        host.reveal("lo", way)?;
    }
    Ok(())
}

/// A bond's ARP monitor asks from the bond's address, even if that is concealed.
fn row15_bond_monitor(lab: &mut Lab) -> Result<()> {
    let host = lab.host("host")?;
    let neighbour = lab.host("neighbour")?;
    let wire = lab.wire((&host, "eth0"), (&neighbour, "eth0"), NEIGHBOUR)?;
    neighbour.ip("addr add 10.0.0.2/24 dev eth0")?;
    host.ip("link add bond0 type bond mode active-backup arp_interval 50 arp_ip_target 10.0.0.2")?;
    host.ip("link set eth0 down")?;
    host.ip("link set eth0 master bond0")?;
    host.ip("addr add 10.0.0.1/24 dev bond0")?;
    host.ip("addr add 10.0.0.7/24 dev bond0")?;
    for way in Way::ALL {
        host.conceal("bond0", way)?;
        host.ip("link set bond0 up")?;
        let deadline = Instant::now() + PATIENCE;
        while !wire
            .heard_arp()?
            .iter()
            .any(|arp| arp.is_request() && arp.sip == HOST && arp.tip == NEIGHBOUR)
        {
            ensure!(
                Instant::now() < deadline,
                "{way:?}: the monitor does not ask from the bond's address"
            );
        }
        host.ip("link set bond0 down")?;
        host.reveal("bond0", way)?;
    }
    Ok(())
}
