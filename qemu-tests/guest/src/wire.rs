// SPDX-License-Identifier: GPL-2.0

//! A wire from a host to its neighbour: the neighbour's end is where cases ask and listen.

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

/// How long something may take that must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A type that no protocol has ("local experimental").
const FENCE: [u8; 2] = [0x88, 0xb5];

/// A request to be sent from the neighbour's end.
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

/// "Who has `tip`?", by broadcast, from the neighbour's address.
pub(crate) fn who_has(tip: Ipv4Addr) -> Probe {
    Probe {
        tip,
        sip: None,
        to: Cast::Broadcast,
    }
}

impl Probe {
    /// To the host's own hardware address, as from a neighbour that refreshes its entry.
    pub(crate) fn unicast(self) -> Self {
        let to = Cast::Unicast;
        Self { to, ..self }
    }

    /// To a multicast address.
    pub(crate) fn multicast(self) -> Self {
        let to = Cast::Multicast;
        Self { to, ..self }
    }

    /// From another address.
    pub(crate) fn from(self, sip: Ipv4Addr) -> Self {
        let sip = Some(sip);
        Self { sip, ..self }
    }

    /// As duplicate address detection (RFC 5227) asks: from no address.
    pub(crate) fn dad(self) -> Self {
        self.from(Ipv4Addr::UNSPECIFIED)
    }
}

/// The wire.
pub(crate) struct Wire {
    /// Its ends.
    name: String,
    /// The neighbour's end.
    near: Tap,
    /// The host's.
    far: Tap,
    /// The hardware address of the neighbour's end.
    pub(crate) near_mac: Mac,
    /// That of the host's end.
    pub(crate) far_mac: Mac,
    /// What the neighbour says its address is.
    neighbour: Ipv4Addr,
    fences: Cell<u32>,
    since: Instant,
    seen: RefCell<Vec<Frame>>,
}

impl Wire {
    /// A wire between two taps.
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

    /// All that passed so far.
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

    /// Waits until frames pass in both directions: a device that comes up has its carrier at once, but its
    /// peer takes notice some time later, and loses what it is to send until then.
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
        bail!("nothing passes {}", self.name)
    }

    /// Whether a frame comes soon. That the device went down is an error of the socket's, to be told once.
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

    /// What came from the host since the last call, complete up to now.
    ///
    /// A frame goes to the host and another back. Both ends handle their frames in order, so what the host did
    /// about earlier frames has come when the second is here: silence needs no waiting.
    pub(crate) fn heard(&self) -> Result<Vec<Vec<u8>>> {
        let (there, back) = self.fence();
        let mut heard = Vec::new();
        let mut keep = |passed: Passed| {
            self.record(&passed.bytes);
            if passed.received {
                heard.push(passed.bytes);
            }
        };
        // A flood may have filled the taps, and then the fences would be lost.
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

    /// The ARP among [`Self::heard`].
    pub(crate) fn heard_arp(&self) -> Result<Vec<Arp>> {
        let heard = self.heard()?;
        Ok(heard.iter().filter_map(|frame| Arp::read(frame)).collect())
    }

    /// The source addresses of the IPv4 packets among [`Self::heard`].
    pub(crate) fn heard_sources(&self) -> Result<Vec<Ipv4Addr>> {
        let heard = self.heard()?;
        Ok(heard
            .iter()
            .filter_map(|frame| ipv4_source(frame))
            .collect())
    }

    /// The request that a probe stands for.
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

    /// Asks for `tip` and counts the replies until another device of the host than the wire's end answers for
    /// `own`: for devices that hear broadcasts later than others, but in order.
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
        bail!("no answer for {own}, which its device should have heard")
    }

    /// The request must be answered: once, by the host's end.
    pub(crate) fn answered(&self, probe: Probe) -> Result<()> {
        let replies = self.ask(&probe)?;
        let [reply] = &replies[..] else {
            bail!(
                "{} answers to {probe:?} where one was expected",
                replies.len()
            );
        };
        if reply.sha != self.far_mac || reply.to != self.near_mac {
            bail!("a wrong answer to {probe:?}: {reply}");
        }
        Ok(())
    }

    /// The request must stay unanswered.
    pub(crate) fn silent(&self, probe: Probe) -> Result<()> {
        match &self.ask(&probe)?[..] {
            [] => Ok(()),
            [reply, ..] => bail!("an answer to {probe:?} where none was expected: {reply}"),
        }
    }

    /// The sender address that the host's requests for `target` carried, since the last look.
    pub(crate) fn announced(&self, target: Ipv4Addr) -> Result<Ipv4Addr> {
        let mut asked = self.heard_arp()?;
        asked.retain(|arp| arp.is_request() && arp.tip == target);
        match &asked[..] {
            [first, rest @ ..] if rest.iter().all(|arp| arp.sip == first.sip) => Ok(first.sip),
            [] => bail!("no request for {target} where one was expected"),
            _ => bail!("requests for {target} from several addresses"),
        }
    }
}

/// What passed a wire, a line a frame.
pub(crate) fn tell(frames: &[Frame]) -> String {
    let mut text = String::new();
    for frame in frames {
        let seconds = frame.microseconds as f64 / 1e6;
        text += &format!("{seconds:10.6} {} {}\n", frame.wire, describe(&frame.bytes));
    }
    text
}
