// SPDX-License-Identifier: GPL-2.0

//! Malformed frames. A second host without flags shows how the kernel treats the same frames.

use crate::{
    lab::{
        case::cases,
        chance::pick,
        real_server::{real_server, HOST, NEIGHBOUR, VIP},
        Host, Lab, Way,
    },
    tap::Tap,
    wire::{who_has, Wire, PATIENCE},
};
use anyhow::{bail, ensure, Context, Result};
use fastrand::Rng;
use protocol::frame::{Arp, Mac, BROADCAST, MULTICAST};
use std::{fs, net::Ipv4Addr, time::Instant};

cases![hostile_frames: alone, long_hostile_frames: alone,];

/// The largest frame of a device with an MTU of 9000.
const JUMBO: usize = 9014;

/// The hardware addresses of a wire, for generated frames.
#[derive(Clone, Copy)]
struct Ends {
    near: Mac,
    far: Mac,
}

/// Returns true once in `times`.
fn rarely(rng: &mut Rng, times: u32) -> bool {
    rng.u32(..times) == 0
}

/// Returns an address for a malformed packet. There are only some: each sender becomes a neighbour.
fn address(rng: &mut Rng) -> [u8; 4] {
    let any = Ipv4Addr::new(10, 0, 0, rng.u8(..));
    pick(
        rng,
        &[
            VIP,
            VIP,
            VIP,
            HOST,
            NEIGHBOUR,
            any,
            Ipv4Addr::UNSPECIFIED,
            Ipv4Addr::LOCALHOST,
            Ipv4Addr::BROADCAST,
            Ipv4Addr::new(224, 0, 0, 1),
            Ipv4Addr::new(10, 0, 0, 255),
        ],
    )
    .octets()
}

/// Returns an ARP frame that is usually malformed in one or several ways. The number of random numbers that it takes does
/// not depend on the wire, so that both hosts get the same frames.
fn hostile(rng: &mut Rng, ends: Ends) -> Vec<u8> {
    let any: Mac = rng.u64(..).to_be_bytes()[2..].try_into().unwrap_or([0; 6]);
    let mut frame = pick(
        rng,
        &[BROADCAST, BROADCAST, MULTICAST, ends.far, ends.far, any],
    )
    .to_vec();
    frame.extend(pick(
        rng,
        &[ends.near, ends.near, ends.near, BROADCAST, any],
    ));
    // Tags, possibly two: of the host's VLAN, with a priority only, of another VLAN.
    while rarely(rng, 6) {
        frame.extend(pick(rng, &[[0x81u8, 0], [0x88, 0xa8]]));
        frame.extend(pick(rng, &[[0u8, 9], [0, 9], [0xe0, 0], [1, 1]]));
    }
    frame.extend(pick(
        rng,
        &[
            [8u8, 6],
            [8, 6],
            [8, 6],
            [8, 6],
            [8, 6],
            [8, 6],
            [8, 6],
            [0x80, 0x35],
            [8, 0],
        ],
    ));
    let arp = frame.len();
    let odd = |rng: &mut Rng, usual: [u8; 2], other: &[[u8; 2]]| {
        if rarely(rng, 8) {
            pick(rng, other)
        } else {
            usual
        }
    };
    frame.extend(odd(
        rng,
        [0, 1],
        &[[0, 6], [0, 0], [0, 32], [0, 24], [0xff, 0xff]],
    ));
    frame.extend(odd(
        rng,
        [8, 0],
        &[[0x86, 0xdd], [0, 0], [8, 6], [0xff, 0xff]],
    ));
    // The lengths of hardware and protocol addresses.
    frame.extend(odd(
        rng,
        [6, 4],
        &[
            [0, 4],
            [255, 4],
            [6, 0],
            [6, 16],
            [255, 255],
            [20, 4],
            [4, 6],
        ],
    ));
    frame.extend(odd(
        rng,
        [0, 1],
        &[[0, 2], [0, 0], [0, 3], [1, 0], [0xff, 0xff]],
    ));
    frame.extend(pick(rng, &[ends.near, ends.near, ends.far, BROADCAST, any]));
    frame.extend(address(rng));
    frame.extend(pick(rng, &[[0; 6], ends.far, BROADCAST]));
    frame.extend(address(rng));
    if rarely(rng, 5) {
        // After the link-layer addresses, flip any bits.
        for _ in 0..rng.usize(1..4) {
            let at = rng.usize(12..frame.len());
            frame[at] ^= 1 << rng.u8(..8);
        }
    }
    match rng.u8(..10) {
        0 | 1 => frame.truncate(rng.usize(14..frame.len())),
        2 => frame.resize(60, 0),
        3 => frame.resize(rng.usize(frame.len()..JUMBO), rng.u8(..)),
        // The tail of another ARP.
        4 => frame.extend_from_within(arp..),
        _ => {}
    }
    frame
}

/// A hostile neighbour's end of a wire.
struct End {
    tap: Tap,
    ends: Ends,
    fences: u32,
}

impl End {
    fn new(neighbour: &Host, device: &str, wire: &Wire) -> Result<Self> {
        Ok(Self {
            tap: neighbour.enter(|| Tap::open(device))??,
            ends: Ends {
                near: wire.near_mac,
                far: wire.far_mac,
            },
            fences: 0,
        })
    }

    /// Sends frames and then a well-formed request. Returns the ARP packets from the host before its reply to that.
    fn exchange(&mut self, frames: &[Vec<u8>]) -> Result<Vec<Arp>> {
        for frame in frames {
            self.tap.send(frame)?;
        }
        self.fences += 1;
        let [a, b, c, d] = self.fences.to_be_bytes();
        let fence = Arp {
            from: self.ends.near,
            to: BROADCAST,
            op: 1,
            sha: [0x06, 0xfe, a, b, c, d],
            sip: NEIGHBOUR,
            tha: [0; 6],
            tip: HOST,
        };
        self.tap.send(&fence.bytes())?;
        let deadline = Instant::now() + PATIENCE;
        let mut heard = Vec::new();
        loop {
            let passed = self.tap.next(deadline)?;
            let passed = passed.context("the host does not reply any more")?;
            let arp = Arp::read(&passed.bytes).filter(|_| passed.received);
            match arp {
                Some(arp) if arp.is_reply() && arp.tha == fence.sha => return Ok(heard),
                Some(arp) => heard.push(arp),
                None => {}
            }
        }
    }
}

fn frames(lab: &mut Lab, wanted: u64) -> Result<()> {
    const BATCH: usize = 64;
    let (host, neighbour, wire) = real_server(lab)?;
    let twin = lab.host("twin")?;
    let other = lab.wire((&twin, "eth0"), (&neighbour, "eth1"), NEIGHBOUR)?;
    twin.ip("addr add 10.0.0.1/24 dev eth0")?;
    twin.ip("addr add 10.0.0.100/32 dev lo")?;
    for device in ["eth0", "eth1"] {
        neighbour.ip(&format!("link set {device} mtu 9000"))?;
    }
    for host in [&host, &twin] {
        host.ip("link set eth0 mtu 9000")?;
        host.ip("link add eth0.9 link eth0 type vlan id 9")?;
        host.ip("addr add 10.9.0.1/24 dev eth0.9")?;
        host.ip("link set eth0.9 up")?;
    }
    host.conceal("lo", Way::Strict)?;
    // If the neighbour table were full, requests would get no reply either.
    let limit = "/proc/sys/net/ipv4/neigh/default/gc_thresh";
    let limits = ["1", "2", "3"].map(|number| format!("{limit}{number}"));
    let before: Vec<String> = limits.iter().flat_map(fs::read_to_string).collect();
    for limit in limits.iter().rev() {
        fs::write(limit, "1000000")?;
    }
    let mut rng = Rng::with_seed(0x2214);
    let (mut here, mut there) = (
        End::new(&neighbour, "eth0", &wire)?,
        End::new(&neighbour, "eth1", &other)?,
    );
    let (mut sent, mut answered, mut concealed) = (0, 0, 0);
    while sent < wanted {
        let mut again = rng.clone();
        let batch: Vec<_> = (0..BATCH).map(|_| hostile(&mut rng, here.ends)).collect();
        let same: Vec<_> = (0..BATCH)
            .map(|_| hostile(&mut again, there.ends))
            .collect();
        let (heard, stock) = (here.exchange(&batch)?, there.exchange(&same)?);
        if let Some(leak) = heard.iter().find(|arp| arp.sip == VIP) {
            batch.iter().try_for_each(|frame| wire.send(frame))?;
            bail!("{leak} leaked after {sent} frames");
        }
        let replies = |heard: &[Arp]| -> Vec<(Ipv4Addr, Ipv4Addr)> {
            let replies = heard.iter().filter(|arp| arp.is_reply() && arp.sip != VIP);
            replies.map(|arp| (arp.sip, arp.tip)).collect()
        };
        if replies(&heard) != replies(&stock) {
            batch.iter().try_for_each(|frame| wire.send(frame))?;
            bail!(
                "after {sent} frames, replies with and without the flag differ: {:?} and {:?}",
                replies(&heard),
                replies(&stock)
            );
        }
        sent += BATCH as u64;
        answered += heard.iter().filter(|arp| arp.is_reply()).count();
        concealed += stock
            .iter()
            .filter(|arp| arp.sip == VIP && arp.is_reply())
            .count();
    }
    for (limit, value) in limits.iter().zip(before) {
        fs::write(limit, value.trim())?;
    }
    ensure!(
        concealed > 0,
        "too many malformed frames: no reply for the VIP, even without the flag"
    );
    ensure!(answered > 0, "too many malformed frames: no reply");
    wire.silent(who_has(VIP))?;
    wire.answered(who_has(HOST))?;
    lab.note = Some(format!(
        "{sent} frames; {answered} replies as without the flag, {concealed} suppressed"
    ));
    Ok(())
}

fn hostile_frames(lab: &mut Lab) -> Result<()> {
    frames(lab, 20_000)
}

fn long_hostile_frames(lab: &mut Lab) -> Result<()> {
    frames(lab, 1_000_000)
}
