// SPDX-License-Identifier: GPL-2.0

//! The network of rs1.
//!
//! ```text
//!     rs1, a Debian          neighbour             client
//!   10.0.0.11 on eth0        10.0.0.1             10.0.0.2
//!  10.0.0.100 (VIP) on lo
//!         |                      |                    |
//!    -----+----------------------+--------------------+-----
//! ```
//!
//! The neighbour asks for the VIP and for 10.0.0.11 all the time, even before rs1 is switched on. A reply for 10.0.0.11 shows
//! that the network is up.

use crate::{
    switch::{Beacon, Cable, Switch},
    traffic::{claims, mac},
};
use anyhow::{bail, ensure, Result};
use protocol::{
    frame::{describe, Arp, BROADCAST},
    Frame, //
};
use std::{
    net::Ipv4Addr,
    thread::sleep,
    time::{Duration, Instant}, //
};

/// The machines at the switch's ports.
const MACHINES: [&str; 3] = ["rs1", "neighbour", "client"];

/// The address on lo, which other hosts have too.
pub(super) const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);

/// The address of rs1 alone, on eth0.
pub(super) const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 11);

/// The pause between the neighbour's requests.
const PAUSE: Duration = Duration::from_millis(20);

/// This many replies for rs1's own address show that the network works, and that silence about the VIP is intended.
const ENOUGH: usize = 100;

/// The switch, the cables, and the neighbour.
pub(super) struct Lan {
    switch: Switch,
    /// For rs1.
    pub(super) rs1: Cable,
    /// For the client.
    pub(super) client: Cable,
    /// The neighbour.
    _asks: Beacon,
}

impl Lan {
    /// Sets up the network. The neighbour starts to ask.
    pub(super) fn new() -> Result<Self> {
        let (switch, mut cables) = Switch::new(MACHINES.len())?;
        let ask = |who| {
            Arp {
                from: mac(1),
                to: BROADCAST,
                op: 1,
                sha: mac(1),
                sip: Ipv4Addr::new(10, 0, 0, 1),
                tha: [0; 6],
                tip: who,
            }
            .bytes()
        };
        let client = cables.remove(2);
        let asks = Beacon::new(cables.remove(1), vec![ask(VIP), ask(OWN)], PAUSE);
        Ok(Self {
            switch,
            rs1: cables.remove(0),
            client,
            _asks: asks,
        })
    }

    /// Starts a new recording.
    pub(super) fn record(&self) {
        self.switch.record(&MACHINES);
    }

    /// Returns all frames of the recording.
    pub(super) fn frames(&self) -> Vec<Frame> {
        self.switch.recording()
    }

    /// Returns the number of frames so far, for [`Self::watch`] and the like.
    pub(super) fn now(&self) -> usize {
        self.switch.recorded()
    }

    /// Waits until rs1 has replied often enough for its own address. Returns what the neighbour has seen since `from`.
    pub(super) fn watch(&self, from: usize) -> Result<Seen> {
        let start = Instant::now();
        loop {
            let frames = self.switch.recording_since(from);
            let own = claims(&frames, OWN).get(MACHINES[0]).copied();
            if own.unwrap_or(0) >= ENOUGH {
                return Ok(Seen::of(&frames));
            }
            ensure!(
                start.elapsed() < Duration::from_secs(60),
                "rs1 has replied {} times for its own address {OWN}",
                own.unwrap_or(0)
            );
            sleep(Duration::from_millis(200));
        }
    }

    /// As [`Self::watch`]. Fails if rs1 has claimed the VIP.
    pub(super) fn silent(&self, from: usize) -> Result<Seen> {
        let seen = self.watch(from)?;
        if seen.answered > 0 {
            bail!("rs1 claims the VIP: {seen}");
        }
        Ok(seen)
    }

    /// As [`Self::watch`]. Fails unless rs1 has claimed the VIP. `when` is for the message.
    pub(super) fn visible(&self, from: usize, when: &str) -> Result<Seen> {
        let seen = self.watch(from)?;
        ensure!(
            seen.answered > 0,
            "{when} rs1 does not reply for the VIP: {seen}"
        );
        Ok(seen)
    }

    /// Describes the first frames that claim the VIP, and the last frames.
    pub(super) fn tell(&self) -> String {
        let frames = self.frames();
        let told = |frame: &Frame| {
            let seconds = frame.microseconds as f64 / 1e6;
            let what = describe(&frame.bytes);
            format!("{seconds:10.6} {}: {what}\n", frame.wire)
        };
        let about_vip = frames
            .iter()
            .filter(|frame| is_from(frame, 0, |arp| arp.sip == VIP));
        let about_vip: String = about_vip.take(10).map(told).collect();
        let last = &frames[frames.len().saturating_sub(20)..];
        let last: String = last.iter().map(told).collect();
        format!("--- the first frames that claim the VIP\n{about_vip}--- the last frames\n{last}")
    }
}

/// What the neighbour has seen.
pub(super) struct Seen {
    /// How often it asked for the VIP since the first reply for rs1's own address.
    asked: usize,
    /// How often rs1 claimed the VIP.
    answered: usize,
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { asked, answered } = self;
        write!(f, "{asked} requests for the VIP, {answered} replies")
    }
}

impl Seen {
    fn of(frames: &[Frame]) -> Self {
        let up = frames
            .iter()
            .position(|frame| is_from(frame, 0, |arp| arp.sip == OWN));
        let since = &frames[up.unwrap_or(frames.len())..];
        let asked = since
            .iter()
            .filter(|frame| is_from(frame, 1, |arp| arp.tip == VIP));
        Self {
            asked: asked.count(),
            answered: claims(frames, VIP).values().sum(),
        }
    }
}

/// Whether a frame is an ARP packet of the machine at a port for which `holds` is true.
fn is_from(frame: &Frame, port: usize, holds: fn(&Arp) -> bool) -> bool {
    frame.wire == MACHINES[port] && Arp::read(&frame.bytes).is_some_and(|arp| holds(&arp))
}
