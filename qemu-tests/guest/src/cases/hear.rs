// SPDX-License-Identifier: GPL-2.0

//! Requests that a host receives: rows 1 to 7. hear_devices.rs has other devices, hear_routes.rs local routes.

use crate::{
    lab::{
        announce::announces,
        case::cases,
        real_server::{real_server, ELSEWHERE, HOST, VIP},
        Lab, Way,
    },
    wire::who_has,
};
use anyhow::{ensure, Result};

cases![
    row01_broadcast,
    row01_all_must_be_set,
    row02_unicast,
    row02_two_owners,
    row03_own_address,
    row04_duplicate_address_detection,
    row05_duplicate_address_detection_own,
    row06_weak_host,
    row06_any_visible_owner_wins,
    row06_keepalived,
    row07_requester_not_learnt,
];

fn row01_broadcast(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    for way in Way::ALL {
        wire.answered(who_has(VIP))?;
        wire.answered(who_has(VIP).multicast())?;
        host.conceal("lo", way)?;
        wire.silent(who_has(VIP))?;
        wire.silent(who_has(VIP).multicast())?;
        wire.answered(who_has(HOST))?;
        host.reveal("lo", way)?;
    }
    wire.answered(who_has(VIP))
}

fn row01_all_must_be_set(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    for way in Way::ALL {
        host.conf("lo", way.knob(), 1)?;
        wire.answered(who_has(VIP))?;
        host.conf("all", way.knob(), 1)?;
        wire.silent(who_has(VIP))?;
        host.conf("lo", way.knob(), 0)?;
        wire.answered(who_has(VIP))?;
        host.conf("all", way.knob(), 0)?;
    }
    Ok(())
}

fn row02_unicast(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    wire.answered(who_has(VIP).unicast())?;
    for classic in [Way::Hidden, Way::Invisible] {
        host.conceal("lo", classic)?;
        wire.silent(who_has(VIP))?;
        wire.answered(who_has(VIP).unicast())?;
        host.reveal("lo", classic)?;
    }
    host.conceal("lo", Way::Strict)?;
    wire.silent(who_has(VIP).unicast())?;
    wire.answered(who_has(HOST).unicast())?;
    host.reveal("lo", Way::Strict)?;
    wire.answered(who_has(VIP).unicast())
}

/// A unicast request gets no reply only if every owner is strict.
fn row02_two_owners(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    host.dummy("dummy0", "10.0.0.100/32")?;
    host.conceal("lo", Way::Strict)?;
    host.conceal("dummy0", Way::Hidden)?;
    wire.silent(who_has(VIP))?;
    wire.answered(who_has(VIP).unicast())?;
    host.conceal("dummy0", Way::Strict)?;
    wire.silent(who_has(VIP).unicast())?;
    host.reveal("dummy0", Way::Strict)?;
    host.conceal("dummy0", Way::Invisible)?;
    wire.silent(who_has(VIP))?;
    wire.answered(who_has(VIP).unicast())
}

fn row03_own_address(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    host.ip("addr add 10.0.0.100/32 dev eth0")?;
    for way in Way::ALL {
        // The VIP is on hidden lo too, but the receiving device is an owner.
        host.conceal("lo", way)?;
        host.conceal("eth0", way)?;
        for tip in [HOST, VIP] {
            wire.answered(who_has(tip))?;
            wire.answered(who_has(tip).multicast())?;
            wire.answered(who_has(tip).unicast())?;
        }
        host.reveal("lo", way)?;
        host.reveal("eth0", way)?;
    }
    host.conceal("lo", Way::Hidden)?;
    host.ip("addr del 10.0.0.100/32 dev eth0")?;
    wire.silent(who_has(VIP))
}

fn row04_duplicate_address_detection(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    for way in Way::ALL {
        wire.answered(who_has(VIP).dad())?;
        wire.answered(who_has(VIP).dad().unicast())?;
        host.conceal("lo", way)?;
        wire.silent(who_has(VIP).dad())?;
        wire.silent(who_has(VIP).dad().unicast())?;
        host.reveal("lo", way)?;
    }
    Ok(())
}

fn row05_duplicate_address_detection_own(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    for way in Way::ALL {
        host.conceal("eth0", way)?;
        host.conceal("lo", way)?;
        wire.answered(who_has(HOST).dad())?;
        wire.answered(who_has(HOST).dad().unicast())?;
        host.reveal("eth0", way)?;
        host.reveal("lo", way)?;
    }
    Ok(())
}

fn row06_weak_host(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    host.dummy("dummy0", "10.5.5.5/24")?;
    for way in Way::ALL {
        host.conceal("lo", way)?;
        // It makes no difference that the receiving device is concealed: the owner's flag counts.
        host.conceal("eth0", way)?;
        wire.answered(who_has(ELSEWHERE))?;
        wire.silent(who_has(VIP))?;
        host.reveal("lo", way)?;
        host.reveal("eth0", way)?;
    }
    Ok(())
}

/// An address is added to two owners, and removed, in each order.
fn row06_any_visible_owner_wins(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    host.ip("addr del 10.0.0.100/32 dev lo")?;
    host.ip("link add dummy0 up type dummy")?;
    for way in Way::ALL {
        host.conceal("lo", way)?;
        for (first, second) in [("lo", "dummy0"), ("dummy0", "lo")] {
            host.ip(&format!("addr add 10.0.0.100/32 dev {first}"))?;
            host.ip(&format!("addr add 10.0.0.100/32 dev {second}"))?;
            wire.answered(who_has(VIP))?;
            host.conceal("dummy0", way)?;
            wire.silent(who_has(VIP))?;
            host.reveal("dummy0", way)?;
            wire.answered(who_has(VIP))?;
            host.ip("addr del 10.0.0.100/32 dev dummy0")?;
            wire.silent(who_has(VIP))?;
            host.ip("addr del 10.0.0.100/32 dev lo")?;
            wire.silent(who_has(VIP))?;
        }
        host.reveal("lo", way)?;
    }
    Ok(())
}

/// The VIP is always on hidden lo, and also on eth0 while this node is the master.
fn row06_keepalived(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    for way in Way::ALL {
        host.conceal("lo", way)?;
        for _ in 0..3 {
            wire.silent(who_has(VIP))?;
            host.ip("addr add 10.0.0.100/32 dev eth0")?;
            wire.answered(who_has(VIP))?;
            let announced = announces(&host, &wire, VIP)?;
            ensure!(announced == VIP, "the master may announce the VIP");
            host.ip("addr del 10.0.0.100/32 dev eth0")?;
        }
        host.reveal("lo", way)?;
    }
    Ok(())
}

fn row07_requester_not_learnt(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    let learnt = || Ok::<_, anyhow::Error>(host.ip("neigh show dev eth0")?.contains("10.0.0.2 "));
    for way in Way::ALL {
        wire.answered(who_has(VIP))?;
        ensure!(learnt()?, "an answered requester is learnt");
        host.ip("neigh flush dev eth0")?;
        host.conceal("lo", way)?;
        wire.silent(who_has(VIP))?;
        ensure!(!learnt()?, "{way:?}: the requester is learnt");
        host.reveal("lo", way)?;
    }
    Ok(())
}
