// SPDX-License-Identifier: GPL-2.0

//! A wire between a host and its neighbour. Cases send and listen at the neighbour's end.

use crate::tap::{Passed, Tap};
use anyhow::{bail, Context, Result};
use protocol::{
    frame::{describe, ipv4_source, Arp, Mac, BROADCAST, MULTICAST},
    Frame,
};
use std::{
    cell::{Cell, RefCell},
    net::Ipv4Addr,
    time::{Duration, Instant},
};

/// How long to wait for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The EtherType "local experimental 1", which no protocol uses.
const FENCE: [u8; 2] = [0x88, 0xb5];

/// An ARP request of the neighbour.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    tip: Ipv4Addr,
    sip: Option<Ipv4Addr>,
    to: Cast,
}

#[derive(Clone, Copy, Debug)]
enum Cast {
    Broadcast,
    Multicast,
    Unicast,
}

/// Asks for `tip`, by broadcast, from the neighbour's address.
pub(crate) fn who_has(tip: Ipv4Addr) -> Probe {
    Probe {
        tip,
        sip: None,
        to: Cast::Broadcast,
    }
}

impl Probe {
    /// Sends it to the host's own hardware address, as a neighbour that refreshes its entry does.
    pub(crate) fn unicast(self) -> Self {
        let to = Cast::Unicast;
        Self { to, ..self }
    }

    /// Sends it to a multicast address.
    pub(crate) fn multicast(self) -> Self {
        let to = Cast::Multicast;
        Self { to, ..self }
    }

    /// Sends it from another address.
    pub(crate) fn from(self, sip: Ipv4Addr) -> Self {
        let sip = Some(sip);
        Self { sip, ..self }
    }

    /// Makes it a probe of duplicate address detection (RFC 5227): the sender address is zero.
    pub(crate) fn dad(self) -> Self {
        self.from(Ipv4Addr::UNSPECIFIED)
    }
}

/// The wire.
pub(crate) struct Wire {
    /// Names both ends.
    name: String,
    /// The neighbour's end.
    near: Tap,
    /// The host's.
    far: Tap,
    /// The hardware address of the neighbour's end.
    pub(crate) near_mac: Mac,
    /// The hardware address of the host's end.
    pub(crate) far_mac: Mac,
    /// The neighbour's address.
    neighbour: Ipv4Addr,
    fences: Cell<u32>,
    since: Instant,
    seen: RefCell<Vec<Frame>>,
}

impl Wire {
    /// Creates a wire between two taps.
    pub(crate) fn new(
        name: String,
        near: (Tap, Mac),
        far: (Tap, Mac),
        neighbour: Ipv4Addr,
    ) -> Self {
        Self {
            name,
            near: near.0,
            far: far.0,
            near_mac: near.1,
            far_mac: far.1,
            neighbour,
            fences: Cell::new(0),
            since: Instant::now(),
            seen: RefCell::new(Vec::new()),
        }
    }

    /// Returns all frames so far.
    pub(crate) fn seen(&self) -> Vec<Frame> {
        self.seen.borrow().clone()
    }

    fn fence(&self) -> (Vec<u8>, Vec<u8>) {
        let number = self.fences.replace(self.fences.get() + 1).to_be_bytes();
        let fence = |to: Mac, from: Mac| [&to[..], &from, &FENCE, &number, &[0; 42]].concat();
        (
            fence(self.far_mac, self.near_mac),
            fence(self.near_mac, self.far_mac),
        )
    }

    /// Waits until frames pass in both directions. A device that comes up has its carrier at once, but its peer notices
    /// later, and drops what it sends until then.
    pub(crate) fn settle(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let (there, back) = self.fence();
            self.near.send(&there)?;
            if !Self::comes(&self.far, &there) {
                continue;
            }
            self.far.send(&back)?;
            if Self::comes(&self.near, &back) {
                return Ok(());
            }
        }
        bail!("no frame passes {}", self.name)
    }

    /// Whether a frame arrives soon. Ignores errors: the socket reports once that the device went down.
    fn comes(tap: &Tap, frame: &[u8]) -> bool {
        let soon = Instant::now() + Duration::from_millis(20);
        loop {
            match tap.next(soon) {
                Ok(Some(passed)) if passed.received && passed.bytes == frame => return true,
                Ok(None) => return false,
                _ => {}
            }
        }
    }

    fn record(&self, bytes: &[u8]) {
        self.seen.borrow_mut().push(Frame {
            wire: self.name.clone(),
            microseconds: self.since.elapsed().as_micros() as u64,
            bytes: bytes.to_vec(),
        });
    }

    /// Sends a frame from the neighbour's end.
    pub(crate) fn send(&self, frame: &[u8]) -> Result<()> {
        self.record(frame);
        self.near.send(frame)
    }

    /// Returns all frames from the host since the last call, complete up to now.
    ///
    /// Sends a frame to the host and another one back. Both ends handle frames in order, so all replies to earlier frames
    /// have arrived before the second one. Silence needs no time-out.
    pub(crate) fn heard(&self) -> Result<Vec<Vec<u8>>> {
        let (there, back) = self.fence();
        let mut heard = Vec::new();
        let mut keep = |passed: Passed| {
            self.record(&passed.bytes);
            if passed.received {
                heard.push(passed.bytes);
            }
        };
        // A flood may have filled the taps, which would drop these frames.
        while self.far.next(Instant::now())?.is_some() {}
        while let Some(passed) = self.near.next(Instant::now())? {
            keep(passed);
        }
        let deadline = Instant::now() + PATIENCE;
        self.near.send(&there)?;
        loop {
            let passed = self.far.next(deadline)?;
            let passed =
                passed.context("the host's end does not receive what the neighbour sends")?;
            if passed.received && passed.bytes == there {
                break;
            }
        }
        self.far.send(&back)?;
        loop {
            let passed = self.near.next(deadline)?;
            let passed =
                passed.context("the neighbour does not receive what the host's end sends")?;
            if passed.bytes == back {
                return Ok(heard);
            }
            keep(passed);
        }
    }

    /// Returns the ARP packets among [`Self::heard`].
    pub(crate) fn heard_arp(&self) -> Result<Vec<Arp>> {
        let heard = self.heard()?;
        Ok(heard.iter().filter_map(|frame| Arp::read(frame)).collect())
    }

    /// Returns the source addresses of the IPv4 packets among [`Self::heard`].
    pub(crate) fn heard_sources(&self) -> Result<Vec<Ipv4Addr>> {
        let heard = self.heard()?;
        Ok(heard
            .iter()
            .filter_map(|frame| ipv4_source(frame))
            .collect())
    }

    /// Builds the packet of a request.
    pub(crate) fn request(&self, probe: &Probe) -> Arp {
        Arp {
            from: self.near_mac,
            to: match probe.to {
                Cast::Broadcast => BROADCAST,
                Cast::Multicast => MULTICAST,
                Cast::Unicast => self.far_mac,
            },
            op: 1,
            sha: self.near_mac,
            sip: probe.sip.unwrap_or(self.neighbour),
            tha: [0; 6],
            tip: probe.tip,
        }
    }

    /// Sends a request and returns the replies to it.
    pub(crate) fn ask(&self, probe: &Probe) -> Result<Vec<Arp>> {
        self.heard()?;
        self.send(&self.request(probe).bytes())?;
        let mut replies = self.heard_arp()?;
        replies.retain(|arp| arp.is_reply() && arp.sip == probe.tip);
        Ok(replies)
    }

    /// Sends a frame and counts the ARP replies to it.
    pub(crate) fn replies_to(&self, frame: &[u8]) -> Result<usize> {
        self.heard()?;
        self.send(frame)?;
        Ok(self
            .heard_arp()?
            .iter()
            .filter(|arp| arp.is_reply())
            .count())
    }

    /// Asks for `tip` and counts the replies until another device of the host than the wire's end replies for `own`. For
    /// devices that receive broadcasts later than others, but in order.
    pub(crate) fn replies_until(&self, tip: Ipv4Addr, own: Ipv4Addr) -> Result<usize> {
        self.heard()?;
        self.send(&self.request(&who_has(tip)).bytes())?;
        self.send(&self.request(&who_has(own)).bytes())?;
        let deadline = Instant::now() + PATIENCE;
        let mut count = 0;
        while Instant::now() < deadline {
            let replies = self.heard_arp()?;
            count += replies
                .iter()
                .filter(|arp| arp.is_reply() && arp.sip == tip)
                .count();
            if replies
                .iter()
                .any(|arp| arp.is_reply() && arp.sip == own && arp.sha != self.far_mac)
            {
                return Ok(count);
            }
        }
        bail!("no reply for {own}, although its device receives requests")
    }

    /// Fails unless the request gets one reply, from the host's end.
    pub(crate) fn answered(&self, probe: Probe) -> Result<()> {
        let replies = self.ask(&probe)?;
        let [reply] = &replies[..] else {
            bail!("{} replies to {probe:?}, expected one", replies.len());
        };
        if reply.sha != self.far_mac || reply.to != self.near_mac {
            bail!("wrong reply to {probe:?}: {reply}");
        }
        Ok(())
    }

    /// Fails if the request gets a reply.
    pub(crate) fn silent(&self, probe: Probe) -> Result<()> {
        match &self.ask(&probe)?[..] {
            [] => Ok(()),
            [reply, ..] => bail!("reply to {probe:?}, expected none: {reply}"),
        }
    }

    /// Returns the sender address of the host's requests for `target` since the last call.
    pub(crate) fn announced(&self, target: Ipv4Addr) -> Result<Ipv4Addr> {
        let mut asked = self.heard_arp()?;
        asked.retain(|arp| arp.is_request() && arp.tip == target);
        match &asked[..] {
            [first, rest @ ..] if rest.iter().all(|arp| arp.sip == first.sip) => Ok(first.sip),
            [] => bail!("no request for {target}, expected one"),
            _ => bail!("requests for {target} from several addresses"),
        }
    }
}

/// Describes frames, one per line.
pub(crate) fn tell(frames: &[Frame]) -> String {
    let mut text = String::new();
    for frame in frames {
        let seconds = frame.microseconds as f64 / 1e6;
        text += &format!("{seconds:10.6} {} {}\n", frame.wire, describe(&frame.bytes));
    }
    text
}
