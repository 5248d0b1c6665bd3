// SPDX-License-Identifier: GPL-2.0

//! The source addresses that a host selects: rows 16 to 20.

use crate::{
    lab::{
        case::cases,
        real_server::{
            bare, real_server, unnumbered, unnumbered_with_dummy, ELSEWHERE, HOST, NEIGHBOUR, VIP,
        },
        Host, Lab, Way,
    },
    wire::PATIENCE,
};
use anyhow::{ensure, Context, Result};
use std::{
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    time::Instant,
};

cases![
    row16_own_address,
    row17_fall_back,
    row17_fall_back_in_a_vrf,
    row18_chosen_by_hand,
    row18_reachable,
    row18_forwarding,
    row19_icmp_error,
    row19_masquerade,
    row19_ipvs_sync_daemon,
    row19_igmp_querier,
    row20_toggle_and_a_route,
    row20_toggle_and_a_connected_socket,
];

fn row16_own_address(lab: &mut Lab) -> Result<()> {
    let (host, _, _) = real_server(lab)?;
    for way in Way::ALL {
        host.conceal("eth0", way)?;
        ensure!(host.source_to(NEIGHBOUR)? == HOST, "{way:?}");
        // An address of link scope is selected all the same.
        host.ip("addr flush dev eth0")?;
        host.ip("addr add 10.0.0.1/24 dev eth0 scope link")?;
        ensure!(host.source_to(NEIGHBOUR)? == HOST, "{way:?}, scope link");
        host.ip("addr flush dev eth0")?;
        host.ip("addr add 10.0.0.1/24 dev eth0")?;
        host.reveal("eth0", way)?;
    }
    Ok(())
}

fn row17_fall_back(lab: &mut Lab) -> Result<()> {
    let (host, _, _) = unnumbered_with_dummy(lab)?;
    for way in [Way::Hidden, Way::Strict] {
        ensure!(host.source_to(NEIGHBOUR)? == VIP, "the flag is off");
        host.conceal("lo", way)?;
        ensure!(host.source_to(NEIGHBOUR)? == ELSEWHERE, "{way:?}");
        host.conceal("dummy0", way)?;
        ensure!(
            host.source_to(NEIGHBOUR)?.is_unspecified(),
            "{way:?}: nothing is left"
        );
        host.reveal("dummy0", way)?;
        host.reveal("lo", way)?;
    }
    host.conceal("lo", Way::Invisible)?;
    ensure!(
        host.source_to(NEIGHBOUR)? == VIP,
        "arp_invisible must not touch the selection"
    );
    Ok(())
}

/// In a VRF, the fall-back tries the VRF's own device first, then the devices in it.
fn row17_fall_back_in_a_vrf(lab: &mut Lab) -> Result<()> {
    let (host, _, _) = real_server(lab)?;
    let other = lab.host("other")?;
    lab.wire((&host, "eth1"), (&other, "eth0"), NEIGHBOUR)?;
    host.ip("link add red up type vrf table 10")?;
    host.ip("link set eth1 master red")?;
    host.ip("addr add 10.4.4.4/32 dev red")?;
    host.ip("link add dummy0 up type dummy")?;
    host.ip("link set dummy0 master red")?;
    host.ip("addr add 10.5.5.5/24 dev dummy0")?;
    host.ip("route add 10.0.0.0/24 dev eth1 table 10")?;
    let source = || {
        let text = host.ip("route get 10.0.0.2 vrf red")?;
        let source = text
            .split(" src ")
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next());
        Ok::<Ipv4Addr, anyhow::Error>(source.context(text.clone())?.parse()?)
    };
    for way in [Way::Hidden, Way::Strict] {
        ensure!(source()? == Ipv4Addr::new(10, 4, 4, 4), "the flag is off");
        host.conceal("red", way)?;
        ensure!(source()? == ELSEWHERE, "{way:?}");
        host.reveal("red", way)?;
        host.conceal("lo", way)?;
        ensure!(
            source()? == Ipv4Addr::new(10, 4, 4, 4),
            "{way:?}: lo is not in this VRF"
        );
        host.reveal("lo", way)?;
    }
    host.conceal("red", Way::Invisible)?;
    ensure!(
        source()? == Ipv4Addr::new(10, 4, 4, 4),
        "arp_invisible must not touch the selection"
    );
    Ok(())
}

/// An explicit hidden source address is used.
fn row18_chosen_by_hand(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    host.ip("route add 10.6.6.0/24 via 10.0.0.2 src 10.0.0.100")?;
    for way in Way::ALL {
        host.conceal("lo", way)?;
        ensure!(
            host.source_to(Ipv4Addr::new(10, 6, 6, 6))? == VIP,
            "{way:?}: route with src"
        );
        host.say(VIP, NEIGHBOUR)?;
        ensure!(
            wire.heard_sources()?.contains(&VIP),
            "{way:?}: bound socket"
        );
        ensure!(host.source_to(VIP)? == VIP, "{way:?}: local delivery");
        host.reveal("lo", way)?;
    }
    Ok(())
}

/// A hidden address is reachable for a neighbour with a route to it, and replies come from it.
fn row18_reachable(lab: &mut Lab) -> Result<()> {
    let (host, neighbour, _) = real_server(lab)?;
    neighbour.ip("route add 10.0.0.100/32 via 10.0.0.1")?;
    for way in Way::ALL {
        host.conceal("lo", way)?;
        neighbour.run("ping -c 1 -W 5 10.0.0.100")?;
        let listener = host.enter(|| TcpListener::bind((VIP, 80)))??;
        let client = neighbour.enter(|| TcpStream::connect((VIP, 80)))??;
        let (served, _) = listener.accept()?;
        ensure!(served.local_addr()? == client.peer_addr()?, "{way:?}");
        host.reveal("lo", way)?;
    }
    Ok(())
}

fn row18_forwarding(lab: &mut Lab) -> Result<()> {
    let (host, neighbour, _) = real_server(lab)?;
    let far = lab.host("far")?;
    lab.wire((&host, "eth1"), (&far, "eth0"), Ipv4Addr::new(10, 1, 0, 2))?;
    host.ip("addr add 10.1.0.1/24 dev eth1")?;
    far.ip("addr add 10.1.0.2/24 dev eth0")?;
    far.ip("route add default via 10.1.0.1")?;
    neighbour.ip("route add default via 10.0.0.1")?;
    host.conf("all", "forwarding", 1)?;
    for way in Way::ALL {
        for device in ["lo", "eth0", "eth1"] {
            host.conceal(device, way)?;
        }
        neighbour.run("ping -c 1 -W 5 10.1.0.2")?;
        for device in ["lo", "eth0", "eth1"] {
            host.reveal(device, way)?;
        }
    }
    Ok(())
}

/// The kernel must select the VIP of lo, and `instead` while lo is hidden. arp_invisible has no effect.
fn moves(host: &Host, instead: Ipv4Addr, source: impl Fn() -> Result<Ipv4Addr>) -> Result<()> {
    ensure!(source()? == VIP, "the flag is off");
    for way in [Way::Hidden, Way::Strict] {
        host.conceal("lo", way)?;
        ensure!(source()? == instead, "{way:?}");
        host.reveal("lo", way)?;
    }
    host.conceal("lo", Way::Invisible)?;
    ensure!(source()? == VIP, "arp_invisible");
    Ok(())
}

/// A router without an address on the receiving device sends ICMP errors from another device's address.
fn row19_icmp_error(lab: &mut Lab) -> Result<()> {
    let (host, neighbour, wire) = unnumbered_with_dummy(lab)?;
    host.conf("all", "forwarding", 1)?;
    host.ip("route add unreachable 10.6.6.0/24")?;
    neighbour.ip("route add 10.6.6.0/24 dev eth0")?;
    neighbour.ip("neigh add 10.6.6.6 lladdr 02:00:00:00:00:01 dev eth0 nud permanent")?;
    let error_from = || {
        wire.heard()?;
        neighbour.say(NEIGHBOUR, Ipv4Addr::new(10, 6, 6, 6))?;
        wire.heard_sources()?
            .first()
            .copied()
            .context("no ICMP error")
    };
    // Do not limit any type: in 6.12, even a limit of 0 uses up the allowance of the neighbour.
    host.set("net/ipv4/icmp_ratemask", 0)?;
    moves(&host, ELSEWHERE, error_from)
}

/// Masquerading out of a device without an address uses another device's address.
fn row19_masquerade(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = unnumbered(lab)?;
    let inside = lab.host("inside")?;
    lab.wire(
        (&host, "eth1"),
        (&inside, "eth0"),
        Ipv4Addr::new(10, 1, 0, 2),
    )?;
    host.ip("addr add 10.1.0.1/24 dev eth1")?;
    inside.ip("addr add 10.1.0.2/24 dev eth0")?;
    inside.ip("route add default via 10.1.0.1")?;
    host.conf("all", "forwarding", 1)?;
    host.masquerade("eth0")?;
    let seen_as = || {
        wire.heard()?;
        inside.say(Ipv4Addr::new(10, 1, 0, 2), NEIGHBOUR)?;
        wire.heard_sources()?
            .first()
            .copied()
            .context("nothing came")
    };
    moves(&host, Ipv4Addr::new(10, 1, 0, 1), seen_as)
}

/// IPVS's sync daemon binds its socket to an address that is selected for its interface.
fn row19_ipvs_sync_daemon(lab: &mut Lab) -> Result<()> {
    let (host, _, _) = unnumbered_with_dummy(lab)?;
    host.run("ipvsadm -L")?;
    let bound = || {
        host.run("ipvsadm --start-daemon master --mcast-interface eth0")?;
        let sockets = host.run("cat /proc/net/udp")?;
        host.run("ipvsadm --stop-daemon master")?;
        // Its peer is 224.0.0.81. The file has addresses in the machine's byte order.
        let group = format!("{:08X}:", u32::from_ne_bytes([224, 0, 0, 81]));
        let line = sockets.lines().find(|line| line.contains(&group));
        let line = line.with_context(|| format!("no socket of the daemon: {sockets}"))?;
        let address = line
            .split_whitespace()
            .nth(1)
            .and_then(|local| local.split(':').next());
        let address = u32::from_str_radix(address.context("no address")?, 16)?;
        Ok::<_, anyhow::Error>(Ipv4Addr::from(address.to_ne_bytes()))
    };
    moves(&host, ELSEWHERE, bound)
}

/// A bridge without an address sends IGMP queries from another device's address.
fn row19_igmp_querier(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = bare(lab)?;
    host.ip("addr add 10.0.0.100/32 dev lo")?;
    host.dummy("dummy0", "10.5.5.5/24")?;
    host.ip("link add br0 type bridge mcast_querier 1 mcast_query_use_ifaddr 1 mcast_query_interval 100 mcast_startup_query_interval 100")?;
    host.ip("link set eth0 master br0")?;
    host.ip("link set br0 up")?;
    let asks_from = |source: Ipv4Addr| {
        // A query from before the flag's change may still arrive.
        let deadline = Instant::now() + PATIENCE;
        while !wire.heard_sources()?.contains(&source) {
            ensure!(Instant::now() < deadline, "no query from {source}");
        }
        Ok(())
    };
    asks_from(VIP)?;
    for way in [Way::Hidden, Way::Strict] {
        host.conceal("lo", way)?;
        asks_from(ELSEWHERE)?;
        host.reveal("lo", way)?;
        asks_from(VIP)?;
    }
    Ok(())
}

/// Routes cache their source. Setting and clearing a flag must reach it.
fn row20_toggle_and_a_route(lab: &mut Lab) -> Result<()> {
    let (host, _, _) = unnumbered_with_dummy(lab)?;
    host.ip("route add 10.6.6.0/24 via 10.0.0.2 dev eth0 onlink")?;
    let far = Ipv4Addr::new(10, 6, 6, 6);
    for _ in 0..3 {
        for to in [far, NEIGHBOUR] {
            ensure!(host.source_to(to)? == VIP, "the flag is off");
        }
        host.conceal("lo", Way::Hidden)?;
        for to in [far, NEIGHBOUR] {
            ensure!(host.source_to(to)? == ELSEWHERE, "hidden");
        }
        // The same through `all`.
        host.conf("all", "hidden", 0)?;
        ensure!(host.source_to(far)? == VIP, "all is off");
        host.conf("all", "hidden", 1)?;
        ensure!(host.source_to(far)? == ELSEWHERE, "all is on again");
        host.reveal("lo", Way::Hidden)?;
    }
    Ok(())
}

/// A connected socket keeps its address; a new one does not get it.
fn row20_toggle_and_a_connected_socket(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = unnumbered_with_dummy(lab)?;
    let socket = host.enter(|| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect((NEIGHBOUR, 9)).map(|()| socket)
    })??;
    host.conceal("lo", Way::Hidden)?;
    wire.heard()?;
    socket.send(b"hello")?;
    ensure!(
        wire.heard_sources()?.contains(&VIP),
        "a connected socket keeps its address"
    );
    ensure!(
        host.source_to(NEIGHBOUR)? == ELSEWHERE,
        "a new one does not take it"
    );
    Ok(())
}
