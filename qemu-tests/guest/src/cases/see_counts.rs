// SPDX-License-Identifier: GPL-2.0

//! The counters in `/proc/net/arp_hidden`: they count each event once, on whichever processor.

use crate::{
    lab::{
        case::cases,
        real_server::{real_server, unnumbered_with_dummy, ELSEWHERE, HOST, NEIGHBOUR, VIP},
        table::{counts, shows},
        Host, Lab, Way,
    },
    tap::Tap,
    wire::{who_has, PATIENCE},
};
use anyhow::{ensure, Result};
use nix::{
    sched::{sched_setaffinity, CpuSet},
    unistd::Pid,
};
use protocol::frame::{Arp, BROADCAST};
use std::{
    net::{Ipv4Addr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

cases![
    see_counts_of_requests,
    see_counts_of_announcements,
    see_counts_of_selections,
    see_counts_under_flood,
];

fn see_counts_of_requests(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    host.conceal("lo", Way::Strict)?;
    for number in 1..=3 {
        wire.silent(who_has(VIP))?;
        wire.silent(who_has(VIP).multicast())?;
        wire.silent(who_has(VIP).unicast())?;
        wire.silent(who_has(VIP).dad())?;
        wire.silent(who_has(VIP).dad().unicast())?;
        ensure!(counts(&host, "lo")? == [2 * number, number, 2 * number, 0, 0]);
    }
    // Neither requests that get a reply nor requests for foreign addresses are counted.
    host.conceal("lo", Way::Hidden)?;
    wire.answered(who_has(VIP).unicast())?;
    wire.answered(who_has(HOST))?;
    wire.silent(who_has(Ipv4Addr::new(10, 0, 0, 77)))?;
    shows(&host, &["lo 1 1 0 0 1 6 3 6 0 0 -"])?;
    // Counters are shown as long as the device exists, even if no flag is set any more.
    host.reveal("lo", Way::Hidden)?;
    shows(&host, &["lo 0 0 0 0 0 6 3 6 0 0 -"])?;
    wire.answered(who_has(VIP))?;
    shows(&host, &["lo 0 0 0 0 0 6 3 6 0 0 -"])?;
    // The owner's counters count. Of two owners, only one counts.
    host.ip("link add dummy0 type dummy")?;
    host.ip("addr add 10.0.0.100/32 dev dummy0")?;
    host.conceal("dummy0", Way::Invisible)?;
    host.conceal("lo", Way::Hidden)?;
    wire.silent(who_has(VIP))?;
    let (lo, dummy) = (counts(&host, "lo")?, counts(&host, "dummy0")?);
    ensure!(lo[0] + dummy[0] == 7, "{lo:?} {dummy:?}");
    host.ip("link del dummy0")?;
    wire.silent(who_has(VIP))?;
    ensure!(counts(&host, "lo")?[0] == lo[0] + 1);
    Ok(())
}

fn see_counts_of_announcements(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    host.set("net/ipv4/neigh/eth0/mcast_solicit", 3)?;
    host.set("net/ipv4/neigh/eth0/retrans_time_ms", 100)?;
    host.conceal("lo", Way::Invisible)?;
    let nobody = Ipv4Addr::new(10, 0, 0, 77);
    wire.heard()?;
    host.say(VIP, nobody)?;
    let mut asked = Vec::new();
    let until = Instant::now() + PATIENCE;
    while asked.len() < 3 && Instant::now() < until {
        asked.extend(wire.heard_arp()?);
        thread::sleep(Duration::from_millis(20));
    }
    asked.retain(|arp| arp.tip == nobody);
    ensure!(
        asked.iter().all(|arp| arp.sip == HOST) && asked.len() == 3,
        "{asked:?}"
    );
    ensure!(counts(&host, "lo")? == [0, 0, 0, 3, 0]);
    // Rewriting the sender to the same address, the sending device's own primary, does not count.
    host.conceal("eth0", Way::Invisible)?;
    host.say(HOST, Ipv4Addr::new(10, 0, 0, 78))?;
    ensure!(wire.announced(Ipv4Addr::new(10, 0, 0, 78))? == HOST);
    ensure!(counts(&host, "eth0")? == [0; 5]);
    ensure!(counts(&host, "lo")? == [0, 0, 0, 3, 0]);
    Ok(())
}

fn see_counts_of_selections(lab: &mut Lab) -> Result<()> {
    let (host, _, _) = unnumbered_with_dummy(lab)?;
    ensure!(host.source_to(NEIGHBOUR)? == VIP);
    host.conceal("lo", Way::Hidden)?;
    ensure!(host.source_to(NEIGHBOUR)? == ELSEWHERE);
    let [rest @ .., selected] = counts(&host, "lo")?;
    ensure!(rest == [0; 4] && selected > 0, "{selected}");
    // The route has cached it.
    ensure!(host.source_to(NEIGHBOUR)? == ELSEWHERE);
    ensure!(counts(&host, "lo")?[4] == selected);
    // Selecting the device's own address does not count.
    host.ip("addr add 10.0.0.1/24 dev eth0")?;
    ensure!(host.source_to(NEIGHBOUR)? == HOST);
    ensure!(counts(&host, "lo")?[4] == selected);
    Ok(())
}

/// Binds the current thread to a processor.
fn stay_on(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// Returns the ARP requests that a tap sees until none comes for a while.
fn requests(tap: &Tap, received: bool) -> Result<Vec<Arp>> {
    let mut seen = Vec::new();
    while let Some(passed) = tap.next(Instant::now() + Duration::from_millis(1500))? {
        if passed.received == received {
            seen.extend(Arp::read(&passed.bytes).filter(Arp::is_request));
        }
    }
    Ok(seen)
}

fn see_counts_under_flood(lab: &mut Lab) -> Result<()> {
    const EACH: usize = 4000;
    let (host, neighbour, wire) = unnumbered_with_dummy(lab)?;
    let other = lab.host("other")?;
    let second = lab.wire((&host, "eth1"), (&other, "eth0"), NEIGHBOUR)?;
    host.conceal("lo", Way::Strict)?;
    // Received requests, from two processors on each of two wires.
    let heard = host.enter(|| [Tap::open("eth0"), Tap::open("eth1")])?;
    thread::scope(|scope| {
        let flood = |cpu, to, from| {
            move || -> Result<()> {
                stay_on(cpu)?;
                let tap = Tap::open("eth0")?;
                for number in 0..EACH {
                    let request = Arp {
                        from,
                        to: if number % 3 == 1 { to } else { BROADCAST },
                        op: 1,
                        sha: from,
                        sip: if number % 3 == 2 {
                            Ipv4Addr::UNSPECIFIED
                        } else {
                            NEIGHBOUR
                        },
                        tha: [0; 6],
                        tip: VIP,
                    };
                    tap.send(&request.bytes())?;
                }
                Ok(())
            }
        };
        let mut floods = Vec::new();
        for cpu in 0..2 {
            for (neighbour, wire) in [(&neighbour, &wire), (&other, &second)] {
                let flood = flood(cpu, wire.far_mac, wire.near_mac);
                floods.push(neighbour.enter(|| scope.spawn(flood))?);
            }
        }
        let mut before = [0; 5];
        while floods.iter().any(|flood| !flood.is_finished()) {
            let now = counts(&host, "lo")?;
            ensure!(before <= now, "{before:?} and then {now:?}");
            before = now;
        }
        floods
            .into_iter()
            .try_for_each(|flood| flood.join().unwrap())
    })?;
    let mut seen = [0; 5];
    for tap in heard {
        for arp in requests(&tap?, true)? {
            seen[if arp.sip.is_unspecified() {
                2
            } else {
                usize::from(arp.to != BROADCAST)
            }] += 1;
        }
    }
    ensure!(
        seen.iter().sum::<u64>() > EACH as u64,
        "{seen:?} of 4 x {EACH} passed"
    );
    ensure!(
        counts(&host, "lo")? == seen,
        "{:?} of {seen:?}",
        counts(&host, "lo")?
    );

    // Announcements of the VIP, then selections: one for each request for a missing neighbour.
    host.set("net/ipv4/neigh/eth0/mcast_solicit", 1)?;
    host.ip("route add 10.1.0.0/16 dev eth0")?;
    host.ip("route add 10.2.0.0/16 dev eth0")?;
    // The kernel has selected a source for each route.
    seen[4] = counts(&host, "lo")?[4];
    seen[3] += solicit(&host, "10.1", ELSEWHERE)?;
    ensure!(
        counts(&host, "lo")? == seen,
        "{:?} of {seen:?}",
        counts(&host, "lo")?
    );
    host.conf("eth0", "arp_announce", 2)?;
    seen[4] += solicit(&host, "10.2", ELSEWHERE)?;
    ensure!(
        counts(&host, "lo")? == seen,
        "{:?} of {seen:?}",
        counts(&host, "lo")?
    );
    Ok(())
}

/// Makes the host send packets from the VIP to hundreds of neighbours in `net`, from two processors. Returns the number of
/// its requests for them, which must all come from `sip`.
fn solicit(host: &Host, net: &str, sip: Ipv4Addr) -> Result<u64> {
    const EACH: usize = 150;
    let tap = host.enter(|| Tap::open("eth0"))??;
    thread::scope(|scope| {
        let send = |cpu| {
            move || -> Result<()> {
                stay_on(cpu)?;
                let socket = UdpSocket::bind((VIP, 0))?;
                for number in 1..=EACH {
                    socket.send_to(b"hello", format!("{net}.{cpu}.{number}:9"))?;
                }
                Ok(())
            }
        };
        let both = host.enter(|| [scope.spawn(send(0)), scope.spawn(send(1))])?;
        both.into_iter().try_for_each(|send| send.join().unwrap())
    })?;
    let asked = requests(&tap, false)?;
    for arp in &asked {
        ensure!(arp.sip == sip, "{arp}");
    }
    ensure!(
        asked.len() == 2 * EACH,
        "{} requests of {}",
        asked.len(),
        2 * EACH
    );
    Ok(asked.len() as u64)
}
