// SPDX-License-Identifier: GPL-2.0

//! A neighbour that floods its LAN with requests for VIPs.

use crate::{
    lab::Host,
    tap::Tap,
    wire::{who_has, Wire},
};
use anyhow::Result;
use fastrand::Rng;
use protocol::frame::Arp;
use std::{
    collections::HashSet,
    mem,
    net::Ipv4Addr,
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        Arc,
    },
    thread::{self, JoinHandle},
    time::Instant,
};

/// The number of VIPs that come and go: 10.0.0.101 to 10.0.0.116.
pub(crate) const VIPS: u8 = 16;

/// Returns one of the VIPs.
pub(crate) fn vip(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, 101 + number % VIPS)
}

/// A neighbour that asks for all VIPs in turn as fast as it can, and collects the host's ARP packets whose sender address is
/// one of those it asks for.
pub(crate) struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Result<Vec<String>>>>,
}

impl Flood {
    /// Starts a flood from a device of the neighbour.
    pub(crate) fn start(neighbour: &Host, device: &str, from: &Wire) -> Result<Self> {
        Self::with(neighbour, device, from, &[], 1)
    }

    /// Starts a flood from several threads. After each VIP, they ask for a random one of `others`.
    pub(crate) fn with(
        neighbour: &Host,
        device: &str,
        from: &Wire,
        others: &[Ipv4Addr],
        threads: u64,
    ) -> Result<Self> {
        let vips: Vec<Ipv4Addr> = (0..VIPS).map(vip).collect();
        let requests = |addresses: &[Ipv4Addr]| -> Vec<Vec<u8>> {
            let request = |&tip| from.request(&who_has(tip)).bytes();
            addresses.iter().map(request).collect()
        };
        let mut flood = Self {
            stop: Arc::default(),
            sent: Arc::default(),
            threads: Vec::new(),
        };
        for seed in 0..threads {
            let mut sender = Sender {
                tap: neighbour.enter(|| match seed {
                    0 => Tap::receiver(device),
                    _ => Tap::sender(device),
                })??,
                vips: requests(&vips),
                others: requests(others),
                asked: vips.iter().chain(others).copied().collect(),
                rng: Rng::with_seed(seed),
            };
            let (stop, sent) = (flood.stop.clone(), flood.sent.clone());
            flood.threads.push(thread::spawn(move || {
                let mut leaks = Vec::new();
                while !stop.load(Relaxed) {
                    sent.fetch_add(sender.ask()?, Relaxed);
                    // Only the first thread receives frames.
                    sender.listen(&mut leaks)?;
                }
                Ok(leaks)
            }));
        }
        Ok(flood)
    }

    /// Returns the number of requests so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Ends the flood. Returns the packets that leaked.
    pub(crate) fn end(mut self) -> Result<Vec<String>> {
        self.stop.store(true, Relaxed);
        let mut leaks = Vec::new();
        for thread in mem::take(&mut self.threads) {
            let ended = thread.join();
            leaks.extend(ended.map_err(|_| anyhow::anyhow!("the flood panicked"))??);
        }
        Ok(leaks)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
    }
}

/// A thread of the flood.
struct Sender {
    tap: Tap,
    vips: Vec<Vec<u8>>,
    others: Vec<Vec<u8>>,
    asked: HashSet<Ipv4Addr>,
    rng: Rng,
}

impl Sender {
    /// Asks for each VIP once. Returns the number of requests.
    fn ask(&mut self) -> Result<u64> {
        for request in &self.vips {
            self.tap.send(request)?;
            if let Some(other) = self.rng.choice(&self.others) {
                self.tap.send(other)?;
            }
        }
        let others = if self.others.is_empty() {
            0
        } else {
            self.vips.len()
        };
        Ok((self.vips.len() + others) as u64)
    }

    /// Adds the packets that have leaked since the last call.
    fn listen(&self, leaks: &mut Vec<String>) -> Result<()> {
        while let Some(passed) = self.tap.next(Instant::now())? {
            let arp = Arp::read(&passed.bytes).filter(|arp| self.asked.contains(&arp.sip));
            leaks.extend(arp.map(|arp| arp.to_string()));
        }
        Ok(())
    }
}
