// SPDX-License-Identifier: GPL-2.0

//! Changes under traffic: row 31 (while a device is concealed, there is no instant at which a reply or an announcement gets
//! out), and namespaces that are torn down.

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
use fastrand::Rng;
use std::{
    fs,
    net::{Ipv4Addr, UdpSocket},
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

/// How long a prefix's routes come and go: long enough to see a gap, and no longer on a slow kernel.
const LONG_ENOUGH: Duration = Duration::from_millis(250);

/// Adds the VIPs to lo and removes them as fast as possible. With `prefixes`, lo owns all of them by every fourth one, and
/// the routes of its prefix come and go too.
fn come_and_go(ip: &mut Batch, round: u8, prefixes: bool) -> Result<()> {
    let mut run = |command: &str| -> Result<()> {
        let complaint = ip.run(command)?;
        ensure!(complaint.is_empty(), "{command}: {complaint}");
        Ok(())
    };
    for number in 0..VIPS {
        let wide = prefixes && number % 4 == 0;
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

/// Iterates over a thousand addresses that come and go at once.
fn thousand() -> impl Iterator<Item = Ipv4Addr> {
    (0..1000).map(|number| Ipv4Addr::from_bits(0x0a64_0000 + number))
}

/// Adds a thousand addresses to a dummy, removes them, adds them again, and deletes the dummy.
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

/// Does everything once that may happen on a busy real server.
fn churn(host: &Host, ip: &mut Batch, round: u8, concealed: Option<Way>) -> Result<()> {
    // Without a prefix first: once lo has had one, requests are looked up in the FIB too, which would hide an address
    // that is missing in the index.
    come_and_go_at_once(host, concealed)?;
    for turn in 0..4 {
        come_and_go(ip, round + turn, turn != 0)?;
    }
    let (way, first, second) = (Way::ALL[usize::from(round) % 3], vip(round), vip(round + 7));
    // Addresses on concealed devices come and go: one with a host route, one with a subnet, one with a label.
    host.ip(&format!("addr add {first}/32 dev lo"))?;
    host.ip(&format!("addr add {second}/28 dev vips"))?;
    host.ip(&format!("addr add {first}/32 dev vips label vips:1"))?;
    // The host sends packets from them.
    for from in [first, second] {
        // ip fails if the flood fills the table as fast as it is flushed.
        host.try_run("ip neigh flush dev eth0")?;
        host.say(from, NEIGHBOUR)?;
    }
    // Other devices come and go, and change their flags and names.
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

/// Sends from one of the VIPs, if the host has it, to a neighbour that does not exist. The host solicits it.
fn solicit(rng: &mut Rng) -> Result<()> {
    let nobody = Ipv4Addr::new(10, 0, 0, rng.u8(130..250));
    if let Ok(socket) = UdpSocket::bind((vip(rng.u8(..VIPS)), 0)) {
        // Fails if the VIP has gone since.
        let _ = socket.send_to(b"hello", (nobody, 9));
    }
    Ok(())
}

/// Runs the churn under a flood, while one thread reads the table and one sends from the VIPs.
fn no_gap(lab: &mut Lab, requests: u64, processors: u64) -> Result<()> {
    let _online = Processors::online(processors as usize)?;
    let (host, neighbour, wire) = real_server(lab)?;
    host.conf("all", "promote_secondaries", 1)?;
    host.ip("link add vips up type dummy")?;
    let others: Vec<Ipv4Addr> = thousand().collect();
    let flood = || Flood::with(&neighbour, "eth0", &wire, &others, processors / 2);
    // A neighbour that does not exist is solicited again after 10 ms.
    host.set("net/ipv4/neigh/eth0/mcast_solicit", 1)?;
    host.set("net/ipv4/neigh/eth0/retrans_time_ms", 10)?;
    let mut workers = Workers::new();
    workers.start("reads", &host, |_| {
        lines(&fs::read_to_string("/proc/thread-self/net/arp_hidden")?).map(drop)
    })?;
    workers.start("solicits", &host, solicit)?;
    // The test can fail: without the flags, the same churn causes replies and solicitations.
    let mut ip = Batch::new(&host)?;
    let unconcealed = flood()?;
    churn(&host, &mut ip, 0, None)?;
    let answers = unconcealed.end()?;
    for sip in [": 10.0.0.1", ": 10.100.", "tell 10.0.0.1"] {
        ensure!(
            answers.iter().any(|answer| answer.contains(sip)),
            "nothing like {sip}... while nothing is concealed"
        );
    }

    let (mut sent, mut rounds) = (0, 0);
    for way in Way::ALL {
        host.conceal("lo", way)?;
        host.conceal("vips", way)?;
        // Old entries would be confirmed by unicast requests, which get replies (row 2).
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
            "{way:?}: {} replies or solicitations in {sent} requests and {rounds} rounds of changes: {:?}",
            leaks.len(),
            &leaks[..leaks.len().min(8)]
        );
        wire.answered(who_has(HOST))?;
        host.reveal("lo", way)?;
        host.reveal("vips", way)?;
    }
    let counts = workers.end()?;
    for (what, times) in &counts {
        ensure!(*times > 0, "no worker {what}");
    }
    lab.note = Some(format!(
        "{sent} requests on {processors} processors during {rounds} rounds of changes, {counts:?}; nothing got out"
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

/// A host that conceals and receives a neighbour's flood is torn down, again and again.
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
        // With this prefix, lo owns .96 to .111.
        gone.ip("addr add 10.0.0.101/28 dev lo")?;
        // Every other one sends packets itself.
        if round % 2 == 0 {
            gone.ip("addr add 10.0.0.50/24 dev eth0")?;
            gone.say(vip(0), NEIGHBOUR)?;
        }
    }
    // The wire's other end disappears with the namespace. If one is left, a namespace was not freed.
    let deadline = Instant::now() + PATIENCE;
    while neighbour.ip("link show")?.contains("gone") {
        ensure!(Instant::now() < deadline, "a namespace is not freed");
    }
    let sent = flood.sent();
    let leaks = flood.end()?;
    ensure!(leaks.is_empty(), "{leaks:?} leaked in {sent} requests");
    wire.answered(who_has(HOST))?;
    host.conceal("lo", Way::Hidden)
}

fn namespaces_torn_down_in_traffic(lab: &mut Lab) -> Result<()> {
    torn_down(lab, 10)
}

fn long_namespaces_torn_down_in_traffic(lab: &mut Lab) -> Result<()> {
    torn_down(lab, 1_000)
}
