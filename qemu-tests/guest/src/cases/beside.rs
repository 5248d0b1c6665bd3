// SPDX-License-Identifier: GPL-2.0

//! Other mechanisms that reply to requests or suppress replies: rows 8 to 10.

use crate::{
    lab::{
        case::cases,
        real_server::{real_server, with_network_behind, BEHIND, ELSEWHERE, HOST, VIP},
        skip::Skip,
        Host, Lab, Way,
    },
    machine,
    wire::{who_has, Wire},
};
use anyhow::{ensure, Result};
use protocol::frame::{Arp, BROADCAST};
use std::{iter, net::Ipv4Addr};

cases![
    row08_proxy_arp,
    row08_neigh_proxy,
    row09_replies_and_gratuitous,
    row09a_accept_local,
    row09a_local_prefix,
    row10_arp_ignore,
    row10_arp_filter,
    row10_arptables,
    row10_nft,
];

fn row08_proxy_arp(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = with_network_behind(lab)?;
    host.may_proxy("eth0")?;
    for pvlan in [false, true] {
        let (knob, tip) = if pvlan {
            ("proxy_arp_pvlan", Ipv4Addr::new(10, 0, 0, 77))
        } else {
            ("proxy_arp", BEHIND)
        };
        wire.silent(who_has(tip))?;
        host.conf("eth0", knob, 1)?;
        for way in Way::ALL {
            host.conceal("lo", way)?;
            wire.answered(who_has(tip))?;
            wire.silent(who_has(VIP))?;
            host.conceal("dummy0", way)?;
            wire.answered(who_has(tip))?;
            host.reveal("dummy0", way)?;
            host.reveal("lo", way)?;
        }
        host.conf("eth0", knob, 0)?;
    }
    Ok(())
}

fn row08_neigh_proxy(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = with_network_behind(lab)?;
    host.may_proxy("eth0")?;
    host.ip("neigh add proxy 10.6.6.6 dev eth0")?;
    host.ip("neigh add proxy 10.0.0.100 dev eth0")?;
    for way in Way::ALL {
        wire.answered(who_has(VIP))?;
        host.conceal("lo", way)?;
        wire.answered(who_has(BEHIND))?;
        wire.silent(who_has(VIP))?;
        host.reveal("lo", way)?;
    }
    Ok(())
}

/// Gratuitous ARP and replies update a neighbour's entry, whatever the flags.
fn row09_replies_and_gratuitous(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    let other = Ipv4Addr::new(10, 0, 0, 9);
    host.conf("eth0", "arp_accept", 1)?;
    for way in iter::once(None).chain(Way::ALL.map(Some)) {
        if let Some(way) = way {
            host.conceal("lo", way)?;
            host.conceal("eth0", way)?;
        }
        for (op, sip, tip, last) in [
            (1, other, other, 0xa),
            (2, other, other, 0xb),
            (2, other, HOST, 0xc),
            (2, other, VIP, 0xd),
        ] {
            host.ip("neigh flush dev eth0")?;
            let sha = [2, 0, 0, 0, 9, last];
            let to = if op == 1 { BROADCAST } else { wire.far_mac };
            let tha = if sip == tip { sha } else { wire.far_mac };
            let arp = Arp {
                from: wire.near_mac,
                to,
                op,
                sha,
                sip,
                tha,
                tip,
            };
            wire.send(&arp.bytes())?;
            wire.heard()?;
            let entry = host.ip("neigh show 10.0.0.9 dev eth0")?;
            ensure!(
                entry.contains(&format!("02:00:00:00:09:{last:02x}")),
                "{way:?}: {arp} has no effect: {entry}"
            );
        }
        if let Some(way) = way {
            host.reveal("lo", way)?;
            host.reveal("eth0", way)?;
        }
    }
    Ok(())
}

/// A director announces that it has taken over an address. Without accept_local, the kernel drops packets from an address
/// of its own.
fn row09a_accept_local(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    taken_over(&host, &wire, VIP, false)?;
    for directory in ["all", "eth0"] {
        host.conf(directory, "accept_local", 1)?;
        taken_over(&host, &wire, VIP, true)?;
        // Requests for the receiving device's own address still get replies.
        host.conceal("eth0", Way::Hidden)?;
        wire.answered(who_has(HOST).from(HOST))?;
        host.reveal("eth0", Way::Hidden)?;
        host.conf(directory, "accept_local", 0)?;
    }
    Ok(())
}

/// The kernel does not recognize an address as its own if only a prefix of lo makes it local.
fn row09a_local_prefix(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    host.ip("addr add 10.7.7.0/28 dev lo")?;
    taken_over(&host, &wire, Ipv4Addr::new(10, 7, 7, 5), true)
}

/// Another host announces an address of lo. The host does not reply while lo is concealed; without a flag, the kernel does
/// if `kernel_replies`.
fn taken_over(host: &Host, wire: &Wire, addr: Ipv4Addr, kernel_replies: bool) -> Result<()> {
    let announcement = who_has(addr).from(addr);
    let by_any_cast = [
        announcement.clone(),
        announcement.clone().multicast(),
        announcement.unicast(),
    ];
    for way in Way::ALL {
        for announcement in &by_any_cast {
            let is_answered = !wire.ask(announcement)?.is_empty();
            ensure!(
                is_answered == kernel_replies,
                "the flag is off: {announcement:?}"
            );
            host.conceal("lo", way)?;
            wire.silent(announcement.clone())?;
            host.reveal("lo", way)?;
        }
    }
    Ok(())
}

/// arp_ignore 0 to 3 and the flags: either suppresses a reply.
fn row10_arp_ignore(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    let local = Ipv4Addr::new(10, 5, 5, 6);
    host.dummy("dummy0", "10.5.5.5/24")?;
    host.ip("addr add 10.5.5.6/32 dev dummy0 scope host")?;
    for way in Way::ALL {
        host.conceal("lo", way)?;
        for (ignore, answers_other, answers_local) in [
            (0, true, true),
            (1, false, false),
            (2, false, false),
            (3, true, false),
        ] {
            host.conf("eth0", "arp_ignore", ignore)?;
            wire.silent(who_has(VIP))?;
            wire.answered(who_has(HOST))?;
            ensure!(
                wire.ask(&who_has(ELSEWHERE))?.is_empty() != answers_other,
                "arp_ignore={ignore}, {ELSEWHERE}"
            );
            ensure!(
                wire.ask(&who_has(local))?.is_empty() != answers_local,
                "arp_ignore={ignore}, {local}"
            );
        }
        host.reveal("lo", way)?;
        wire.silent(who_has(local))?;
        wire.answered(who_has(VIP))?;
    }
    Ok(())
}

/// arp_filter suppresses replies to hosts that are not reached through the receiving device.
fn row10_arp_filter(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = with_network_behind(lab)?;
    for way in Way::ALL {
        host.conf("eth0", "arp_filter", 0)?;
        wire.answered(who_has(HOST).from(BEHIND))?;
        wire.answered(who_has(VIP).from(BEHIND))?;
        host.conf("eth0", "arp_filter", 1)?;
        wire.silent(who_has(HOST).from(BEHIND))?;
        wire.answered(who_has(VIP))?;
        host.conceal("lo", way)?;
        wire.silent(who_has(HOST).from(BEHIND))?;
        wire.answered(who_has(HOST))?;
        wire.silent(who_has(VIP))?;
        host.reveal("lo", way)?;
    }
    Ok(())
}

fn row10_arptables(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    let (status, complaint) = host.try_run("arptables -nL")?;
    if status != 0 && machine::is_real_time()? {
        let why = "PREEMPT_RT has no legacy arptables (row10_nft tests nft)";
        return Err(Skip(format!("{why}: {}", complaint.trim())).into());
    }
    for way in Way::ALL {
        host.conceal("lo", way)?;
        host.run("arptables -A INPUT -d 10.0.0.1 -j DROP")?;
        wire.silent(who_has(HOST))?;
        wire.silent(who_has(VIP))?;
        host.run("arptables -F INPUT")?;
        wire.answered(who_has(HOST))?;
        // A request that a rule accepts still gets no reply.
        host.run("arptables -A INPUT -j ACCEPT")?;
        wire.answered(who_has(HOST))?;
        wire.silent(who_has(VIP))?;
        host.reveal("lo", way)?;
        wire.answered(who_has(VIP))?;
        host.run("arptables -F INPUT")?;
    }
    Ok(())
}

/// nft comes first: it counts a request that gets no reply.
fn row10_nft(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    host.run("nft add table arp t")?;
    host.run("nft 'add chain arp t c { type filter hook input priority 100; }'")?;
    host.run("nft add rule arp t c arp daddr ip 10.0.0.100 counter")?;
    host.run("nft add rule arp t c arp daddr ip 10.0.0.1 drop")?;
    for (round, way) in (1..).zip(Way::ALL) {
        host.conceal("lo", way)?;
        wire.silent(who_has(HOST))?;
        wire.silent(who_has(VIP))?;
        let rules = host.run("nft list table arp t")?;
        ensure!(
            rules.contains(&format!("packets {} ", 2 * round - 1)),
            "nft did not see the request: {rules}"
        );
        host.reveal("lo", way)?;
        wire.answered(who_has(VIP))?;
    }
    Ok(())
}
