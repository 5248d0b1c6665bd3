// SPDX-License-Identifier: GPL-2.0

//! Pitfalls on real networks, and the remedies: `Documentation/clusters/traps.md`.

use crate::{
    lab::{
        announce::announces,
        case::cases,
        inheritance::{inherit, Inherit},
        kernel_log::{mark, said},
        real_server::{bare, real_server, unnumbered, HOST, NEIGHBOUR, VIP},
        Host, Lab, Way,
    },
    wire::{who_has, Wire},
};
use anyhow::{ensure, Context, Result};
use protocol::frame::{Arp, Mac};
use std::net::Ipv4Addr;

cases![
    trap_unnumbered_uplinks: alone,
    trap_unnumbered_uplinks_and_masquerade,
    trap_default_in_a_container: alone,
    trap_conflict_detection,
    trap_name_with_a_dot,
    trap_drained_behind_a_proxy,
    trap_director_asks_with_the_vip,
    trap_local_route_of_eth0,
    trap_device_that_stays_down,
];

/// BGP to the host: eth0 has no address, and the host's own address, here the VIP, is on lo.
fn trap_unnumbered_uplinks(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = unnumbered(lab)?;
    let nothing_is_left = "eth0: no source address is left: 10.0.0.100 is on lo, which is hidden";
    let start = mark("trap_unnumbered_uplinks")?;
    ensure!(host.source_to(NEIGHBOUR)? == VIP, "the flag is off");
    host.conceal("lo", Way::Hidden)?;
    for _ in 0..2 {
        ensure!(host.source_to(NEIGHBOUR)?.is_unspecified(), "a source");
        let lines = said(&start)?;
        let about: Vec<_> = lines
            .iter()
            .filter(|line| line.starts_with(nothing_is_left))
            .collect();
        ensure!(about.len() == 1 && lines.len() == 1, "{lines:#?}");
    }
    // Packets go out without a source address.
    host.ip("neigh replace 10.0.0.2 lladdr 02:00:00:00:00:02 dev eth0")?;
    host.say(Ipv4Addr::UNSPECIFIED, NEIGHBOUR)?;
    ensure!(wire.heard_sources()? == [Ipv4Addr::UNSPECIFIED]);
    // Remedies: a route that names its source,
    host.ip("route replace 10.0.0.0/24 dev eth0 src 10.0.0.100")?;
    ensure!(host.source_to(NEIGHBOUR)? == VIP, "src");
    host.ip("route replace 10.0.0.0/24 dev eth0")?;
    // the flag that does not affect sources,
    host.reveal("lo", Way::Hidden)?;
    host.conceal("lo", Way::Invisible)?;
    ensure!(host.source_to(NEIGHBOUR)? == VIP, "arp_invisible");
    wire.silent(who_has(VIP))?;
    host.reveal("lo", Way::Invisible)?;
    // or VIPs on an interface of their own.
    let vip = Ipv4Addr::new(10, 0, 0, 101);
    host.dummy("vips", "10.0.0.101/32")?;
    host.conceal("vips", Way::Hidden)?;
    ensure!(host.source_to(NEIGHBOUR)? == VIP, "VIPs on a dummy");
    wire.silent(who_has(vip))
}

/// The same host has containers on unnumbered wires, as with Calico, and masquerades.
fn trap_unnumbered_uplinks_and_masquerade(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = unnumbered(lab)?;
    let pod = lab.host("pod")?;
    let address = Ipv4Addr::new(10, 1, 0, 2);
    lab.wire((&host, "eth1"), (&pod, "eth0"), address)?;
    host.may_proxy("eth1")?;
    host.conf("eth1", "proxy_arp", 1)?;
    host.ip("route add 10.1.0.2 dev eth1")?;
    pod.ip("addr add 10.1.0.2/32 dev eth0")?;
    pod.ip("route add default dev eth0")?;
    host.masquerade("eth0")?;
    let seen_as = || {
        wire.heard()?;
        pod.say(address, NEIGHBOUR)?;
        Ok::<_, anyhow::Error>(wire.heard_sources()?.first().copied())
    };
    ensure!(seen_as()? == Some(VIP), "the flag is off");
    host.conceal("lo", Way::Hidden)?;
    ensure!(seen_as()?.is_none(), "masqueraded");
    lab.run("dmesg | grep 'eth0 ate my IP address'")?;
    // A route with src does not help here: masquerading selects on its own.
    host.ip("route replace 10.0.0.0/24 dev eth0 src 10.0.0.100")?;
    ensure!(seen_as()?.is_none(), "masquerading uses src");
    host.reveal("lo", Way::Hidden)?;
    host.conceal("lo", Way::Invisible)?;
    ensure!(seen_as()? == Some(VIP), "arp_invisible");
    Ok(())
}

/// A container is created on a host with `all` and `default` set. Its address is on lo, and its wire is unnumbered.
fn trap_default_in_a_container(lab: &mut Lab) -> Result<()> {
    let node = lab.host("node")?;
    node.conf("all", "hidden", 1)?;
    node.conf("default", "hidden", 1)?;
    for (what, hides) in [(Inherit::FromMaker, true), (Inherit::Nothing, false)] {
        let _before = inherit(what)?;
        let name = format!("{what:?}");
        let pod = lab.made_by(&node, &name)?;
        let wire = lab.wire((&pod, "eth0"), (&node, &format!("to-{what:?}")), NEIGHBOUR)?;
        pod.ip("link set lo up")?;
        pod.ip("addr add 10.0.0.1/32 dev lo")?;
        pod.ip("route add 10.0.0.0/24 dev eth0")?;
        ensure!(
            wire.ask(&who_has(HOST))?.is_empty() == hides,
            "{what:?}: wrong reply"
        );
        let source = pod.source_to(NEIGHBOUR)?;
        ensure!(source.is_unspecified() == hides, "{what:?}: {source}");
        // An address on the wire itself is unaffected.
        pod.ip("addr add 10.0.0.3/24 dev eth0")?;
        wire.answered(who_has(Ipv4Addr::new(10, 0, 0, 3)))?;
    }
    Ok(())
}

/// Whether a host that probes for an address must take a packet for a conflict and give the address up (RFC 5227, 2.1.1).
fn is_conflict(arp: &Arp, probed_for: Ipv4Addr, own: Mac) -> bool {
    let is_in_use = arp.sip == probed_for;
    let is_probed_for_too = arp.is_request() && arp.sip.is_unspecified() && arp.tip == probed_for;
    (is_in_use || is_probed_for_too) && arp.sha != own
}

/// A real server asks for a host that is just probing for its address.
fn trap_conflict_detection(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = unnumbered(lab)?;
    let probed_for = Ipv4Addr::new(10, 0, 0, 99);
    let asked = || {
        host.ip("neigh flush dev eth0")?;
        wire.heard()?;
        host.say(VIP, probed_for)?;
        let asked = wire
            .heard_arp()?
            .into_iter()
            .find(|arp| arp.tip == probed_for);
        asked.context("no request")
    };
    for way in Way::ALL {
        ensure!(
            !is_conflict(&asked()?, probed_for, wire.near_mac),
            "the flag is off"
        );
        host.conceal("lo", way)?;
        let probe = asked()?;
        ensure!(
            probe.sip.is_unspecified()
                && probe.sha == wire.far_mac
                && is_conflict(&probe, probed_for, wire.near_mac),
            "{way:?}: {probe}"
        );
        // The remedy: any address that may be announced.
        host.dummy("dummy0", "10.0.0.1/32")?;
        ensure!(
            !is_conflict(&asked()?, probed_for, wire.near_mac),
            "{way:?}, an address"
        );
        host.ip("link del dummy0")?;
        host.reveal("lo", way)?;
    }
    Ok(())
}

/// The VIP is on a VLAN's interface.
fn trap_name_with_a_dot(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = bare(lab)?;
    host.ip("addr add 10.0.0.1/24 dev eth0")?;
    host.ip("link add eth0.100 link eth0 up type vlan id 100")?;
    host.ip("addr add 10.0.0.100/32 dev eth0.100")?;
    host.conf("all", "hidden", 1)?;
    // Written with dots, the name is that of another file, which does not exist.
    let (status, complaint) = host.try_run("sysctl -w net.ipv4.conf.eth0.100.hidden=1")?;
    ensure!(
        status != 0 && complaint.contains("/proc/sys/net/ipv4/conf/eth0/100/hidden"),
        "{status}: {complaint}"
    );
    wire.answered(who_has(VIP))?;
    for sysctl in [
        "sysctl -w net/ipv4/conf/eth0.100/hidden=1",
        "sysctl -w net.ipv4.conf.eth0/100.hidden=1",
        "echo net.ipv4.conf.eth0/100.hidden=1 >/tmp/vlan.conf; /usr/lib/systemd/systemd-sysctl /tmp/vlan.conf",
        "echo net/ipv4/conf/eth0.100/hidden=1 >/tmp/vlan.conf; /usr/lib/systemd/systemd-sysctl /tmp/vlan.conf",
    ] {
        host.run(sysctl)?;
        wire.silent(who_has(VIP))?;
        host.set("net/ipv4/conf/eth0.100/hidden", 0)?;
        wire.answered(who_has(VIP))?;
    }
    Ok(())
}

/// A real server that gives up a VIP is a proxy for it, as for all other addresses.
fn trap_drained_behind_a_proxy(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    let beyond = Ipv4Addr::new(10, 9, 9, 9);
    host.ip("link add dummy0 up type dummy")?;
    host.ip("route add default dev dummy0")?;
    host.ip("addr add 10.9.9.9/32 dev lo")?;
    host.may_proxy("eth0")?;
    host.conceal("lo", Way::Hidden)?;
    // One VIP in the network of eth0, and one behind the default route.
    for (proxy, vip) in [("proxy_arp_pvlan", VIP), ("proxy_arp", beyond)] {
        host.conf("eth0", proxy, 1)?;
        wire.silent(who_has(vip))?;
        host.ip(&format!("addr del {vip}/32 dev lo"))?;
        wire.answered(who_has(vip))?;
        // The remedy: no route to it.
        host.ip(&format!("route add unreachable {vip}"))?;
        wire.silent(who_has(vip))?;
        host.conf("eth0", proxy, 0)?;
    }
    Ok(())
}

/// Whether a director can resolve a real server in order to send from an address.
fn finds(director: &Host, wire: &Wire, from: Ipv4Addr) -> Result<bool> {
    director.ip("neigh flush dev eth0")?;
    wire.heard()?;
    director.say(from, HOST)?;
    let replies = wire.heard_arp()?;
    Ok(replies.iter().any(|arp| arp.is_reply() && arp.sip == HOST))
}

/// The director's first address is the VIP. It asks from the VIP, and a real server drops such a request as forged.
fn trap_director_asks_with_the_vip(lab: &mut Lab) -> Result<()> {
    let (host, director, wire) = real_server(lab)?;
    let any = Ipv4Addr::UNSPECIFIED;
    let addresses = |list: &[&str]| {
        director.ip("addr flush dev eth0")?;
        list.iter().try_for_each(|address| {
            director
                .ip(&format!("addr add {address} dev eth0"))
                .map(drop)
        })
    };
    for hide in [false, true] {
        if hide {
            host.conceal("lo", Way::Hidden)?;
        }
        addresses(&["10.0.0.100/24", "10.0.0.2/24"])?;
        ensure!(!finds(&director, &wire, any)?, "asked with the VIP");
        // Remedies: its own address first, and the VIP as a /32,
        addresses(&["10.0.0.2/24", "10.0.0.100/32"])?;
        ensure!(finds(&director, &wire, any)?, "asked with its own address");
        // and arp_announce=2 for packets from the VIP.
        ensure!(!finds(&director, &wire, VIP)?, "asked with the VIP");
        director.conf("eth0", "arp_announce", 2)?;
        ensure!(finds(&director, &wire, VIP)?, "arp_announce=2");
        director.conf("eth0", "arp_announce", 0)?;
    }
    Ok(())
}

/// The device of a local route is the owner.
fn trap_local_route_of_eth0(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    host.ip("addr del 10.0.0.100/32 dev lo")?;
    for way in Way::ALL {
        host.conceal("lo", way)?;
        host.conceal("eth0", way)?;
        host.ip("route add local 10.0.0.100 dev eth0")?;
        wire.answered(who_has(VIP))?;
        host.ip("route del local 10.0.0.100 dev eth0")?;
        host.ip("route add local 10.0.0.100 dev lo")?;
        wire.silent(who_has(VIP))?;
        host.ip("route del local 10.0.0.100 dev lo")?;
        host.reveal("eth0", way)?;
        host.reveal("lo", way)?;
    }
    Ok(())
}

/// kube-proxy's kube-ipvs0 has every VIP and stays down. The elected node has the VIP on eth0 too.
fn trap_device_that_stays_down(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = bare(lab)?;
    host.ip("addr add 10.0.0.1/24 dev eth0")?;
    host.ip("link add kube-ipvs0 type dummy")?;
    host.ip("addr add 10.0.0.100/32 dev kube-ipvs0")?;
    for way in Way::ALL {
        wire.answered(who_has(VIP))?;
        host.conceal("kube-ipvs0", way)?;
        wire.silent(who_has(VIP))?;
        ensure!(announces(&host, &wire, VIP)? == HOST, "{way:?}");
        host.ip("addr add 10.0.0.100/32 dev eth0")?;
        wire.answered(who_has(VIP))?;
        ensure!(announces(&host, &wire, VIP)? == VIP, "{way:?}: elected");
        host.ip("addr del 10.0.0.100/32 dev eth0")?;
        wire.silent(who_has(VIP))?;
        // Programs that list addresses always see it.
        ensure!(host
            .ip("-4 addr show to 10.0.0.100")?
            .contains("kube-ipvs0"));
        host.reveal("kube-ipvs0", way)?;
    }
    Ok(())
}
