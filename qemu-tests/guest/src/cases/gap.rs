// SPDX-License-Identifier: GPL-2.0

//! In the middle of traffic: row 31 (while a device is concealed, no instant exists in which an answer or an
//! announcement gets out), and the end of namespaces.

use crate::{
    lab::{
        batch::{at_once, Batch},
        case::cases,
        flood::{vip, Flood, VIPS},
        processors::Processors,
        real_server::{real_server, HOST, NEIGHBOUR},
        table::lines,
        workers::Workers,
        Host, Lab, Way,
    },
    wire::{who_has, PATIENCE},
};
use anyhow::{ensure, Result};
use std::{
    fs,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

cases![
    row31_no_gap,
    row31_no_gap_on_eight: alone,
    long_row31_no_gap,
    long_row31_no_gap_on_eight: alone,
    namespaces_torn_down_in_traffic,
    long_namespaces_torn_down_in_traffic,
];

/// How long the routes of a prefix go and come: often enough to see a gap, and no longer on a slow kernel.
const LONG_ENOUGH: Duration = Duration::from_millis(250);

/// The VIPs come to lo and go as fast as they can; every fourth with a prefix by which lo owns all of them, of
/// which the routes alone go and come, too.
fn come_and_go(ip: &mut Batch, round: u8) -> Result<()> {
    let mut run = |command: &str| -> Result<()> {
        let complaint = ip.run(command)?;
        ensure!(complaint.is_empty(), "{command}: {complaint}");
        Ok(())
    };
    for number in 0..VIPS {
        let wide = number % 4 == 0;
        let address = format!("{}/{}", vip(round + number), if wide { 28 } else { 32 });
        run(&format!("addr add {address} dev lo"))?;
        let start = Instant::now();
        while wide && start.elapsed() < LONG_ENOUGH {
            run("link set lo down")?;
            run("link set lo up")?;
        }
        run(&format!("addr del {address} dev lo"))?;
    }
    Ok(())
}

/// Addresses that come and go by the thousand.
fn thousand() -> impl Iterator<Item = Ipv4Addr> {
    (0..1000).map(|number| Ipv4Addr::from_bits(0x0a64_0000 + number))
}

/// They come to a dummy at once, go at once, come again and go with the dummy.
fn come_and_go_at_once(host: &Host, concealed: Option<Way>) -> Result<()> {
    host.ip("link add many up type dummy")?;
    if let Some(way) = concealed {
        host.conceal("many", way)?;
    }
    for verb in ["add", "del", "add"] {
        at_once(host, thousand(), |addr| {
            format!("addr {verb} {addr}/32 dev many")
        })?;
    }
    host.ip("link del many").map(drop)
}

/// All that may happen on a busy real server, once.
fn churn(host: &Host, ip: &mut Batch, round: u8, concealed: Option<Way>) -> Result<()> {
    for turn in 0..4 {
        come_and_go(ip, round + turn)?;
    }
    come_and_go_at_once(host, concealed)?;
    let (way, first, second) = (Way::ALL[usize::from(round) % 3], vip(round), vip(round + 7));
    // Addresses come and go on concealed devices: a host route's, one with a subnet, one with a label.
    host.ip(&format!("addr add {first}/32 dev lo"))?;
    host.ip(&format!("addr add {second}/28 dev vips"))?;
    host.ip(&format!("addr add {first}/32 dev vips label vips:1"))?;
    // The host sends from them.
    for from in [first, second] {
        // The flood may fill the table as fast as ip empties it, of which ip complains.
        host.try_run("ip neigh flush dev eth0")?;
        host.say(from, NEIGHBOUR)?;
    }
    // Other devices' flags, names and lives.
    host.ip("link add dummy1 up type dummy")?;
    host.conf("eth0", way.knob(), 1)?;
    host.conf("dummy1", way.knob(), 1)?;
    host.rename("dummy1", "dummy2")?;
    host.conf("eth0", way.knob(), 0)?;
    host.ip(&format!("addr del {first}/32 dev lo"))?;
    host.rename("vips", "vips2")?;
    host.rename("vips2", "vips")?;
    host.ip("link del dummy2")?;
    host.ip("link set vips down")?;
    host.ip("link set vips up")?;
    host.ip("addr flush dev vips").map(|_| ())
}

/// The churn under a flood, while somebody reads the table.
fn no_gap(lab: &mut Lab, requests: u64, processors: u64) -> Result<()> {
    let _online = Processors::online(processors as usize)?;
    let (host, neighbour, wire) = real_server(lab)?;
    host.conf("all", "promote_secondaries", 1)?;
    host.ip("link add vips up type dummy")?;
    let others: Vec<Ipv4Addr> = thousand().collect();
    let flood = || Flood::with(&neighbour, "eth0", &wire, &others, processors / 2);
    // It is a good one: without the flags the same churn answers and announces.
    let mut ip = Batch::new(&host)?;
    let unconcealed = flood()?;
    churn(&host, &mut ip, 0, None)?;
    let answers = unconcealed.end()?;
    for prefix in ["10.0.0.1", "10.100."] {
        ensure!(
            answers
                .iter()
                .any(|answer| answer.split(' ').any(|word| word.starts_with(prefix))),
            "no answer for {prefix}... while nothing is concealed"
        );
    }

    let mut readers = Workers::new();
    readers.start("reads", &host, |_| {
        lines(&fs::read_to_string("/proc/thread-self/net/arp_hidden")?).map(drop)
    })?;
    let (mut sent, mut rounds) = (0, 0);
    for way in Way::ALL {
        host.conceal("lo", way)?;
        host.conceal("vips", way)?;
        // Entries from before would be confirmed by unicast requests, which get their answers (row 2).
        neighbour.ip("neigh flush dev eth0")?;
        let flood = flood()?;
        while flood.sent() < requests / 3 {
            churn(&host, &mut ip, (rounds % 128) as u8, Some(way))?;
            rounds += 1;
        }
        sent += flood.sent();
        let leaks = flood.end()?;
        ensure!(
            leaks.is_empty(),
            "{way:?}: {} got out in {sent} requests and {rounds} rounds of changes: {:?}",
            leaks.len(),
            &leaks[..leaks.len().min(8)]
        );
        wire.answered(who_has(HOST))?;
        host.reveal("lo", way)?;
        host.reveal("vips", way)?;
    }
    let reads = readers.end()?[0].1;
    ensure!(reads > 0, "nobody has read the table");
    lab.note = Some(format!(
        "{sent} requests on {processors} processors during {rounds} rounds of changes and {reads} looks into the \
         table, none answered"
    ));
    Ok(())
}

fn row31_no_gap(lab: &mut Lab) -> Result<()> {
    no_gap(lab, 100_000, 2)
}

fn row31_no_gap_on_eight(lab: &mut Lab) -> Result<()> {
    no_gap(lab, 100_000, 8)
}

fn long_row31_no_gap(lab: &mut Lab) -> Result<()> {
    no_gap(lab, 1_000_000, 2)
}

fn long_row31_no_gap_on_eight(lab: &mut Lab) -> Result<()> {
    no_gap(lab, 1_000_000, 8)
}

/// A host that conceals, and hears what a neighbour floods its LAN with, goes: again and again.
fn torn_down(lab: &mut Lab, times: u32) -> Result<()> {
    let (host, neighbour, wire) = real_server(lab)?;
    neighbour.ip("link add br0 up type bridge")?;
    neighbour.ip("link add feed up type veth peer name port")?;
    neighbour.ip("link set port up master br0")?;
    let flood = Flood::start(&neighbour, "feed", &wire)?;
    for round in 0..times {
        let mut lab = Lab::new();
        let gone = lab.host("gone")?;
        // The one before may not have gone yet.
        let port = format!("gone{round}");
        gone.ip(&format!(
            "link add eth0 up type veth peer name {port} netns neighbour"
        ))?;
        neighbour.ip(&format!("link set {port} up master br0"))?;
        let way = Way::ALL[round as usize % 3];
        gone.conceal("lo", way)?;
        // Its prefix makes lo own all of .96 to .111.
        gone.ip("addr add 10.0.0.101/28 dev lo")?;
        // Every second time with traffic of its own.
        if round % 2 == 0 {
            gone.ip("addr add 10.0.0.50/24 dev eth0")?;
            gone.say(vip(0), NEIGHBOUR)?;
        }
    }
    // The other end of its wire goes with a namespace: none is left that could not go.
    let deadline = Instant::now() + PATIENCE;
    while neighbour.ip("link show")?.contains("gone") {
        ensure!(Instant::now() < deadline, "a namespace does not go");
    }
    let sent = flood.sent();
    let leaks = flood.end()?;
    ensure!(leaks.is_empty(), "{leaks:?} got out in {sent} requests");
    wire.answered(who_has(HOST))?;
    host.conceal("lo", Way::Hidden)
}

fn namespaces_torn_down_in_traffic(lab: &mut Lab) -> Result<()> {
    torn_down(lab, 10)
}

fn long_namespaces_torn_down_in_traffic(lab: &mut Lab) -> Result<()> {
    torn_down(lab, 1_000)
}
