// SPDX-License-Identifier: GPL-2.0

//! A neighbour that floods its LAN with requests for VIPs.

use crate::{
    lab::Host,
    tap::Tap,
    wire::{who_has, Wire},
};
use anyhow::Result;
use protocol::frame::Arp;
use std::{
    net::Ipv4Addr,
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        Arc,
    },
    thread::{self, JoinHandle},
    time::Instant,
};

/// The addresses that are asked for, come and go: 10.0.0.101 to 10.0.0.116.
pub(crate) const VIPS: u8 = 16;

/// One of them.
pub(crate) fn vip(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, 101 + number % VIPS)
}

fn is_vip(addr: Ipv4Addr) -> bool {
    (0..VIPS).any(|number| vip(number) == addr)
}

/// A neighbour that asks for all VIPs in turn as fast as it can, and counts the ARP packets from the host that
/// have one for their sender.
pub(crate) struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: JoinHandle<Result<Vec<String>>>,
}

impl Flood {
    /// Starts one out of a device of the neighbour's.
    pub(crate) fn start(neighbour: &Host, device: &str, from: &Wire) -> Result<Self> {
        let tap = neighbour.enter(|| Tap::open(device))??;
        let requests: Vec<Vec<u8>> = (0..VIPS)
            .map(|number| from.request(&who_has(vip(number))).bytes())
            .collect();
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let thread = thread::spawn({
            let (stop, sent) = (stop.clone(), sent.clone());
            move || {
                let mut leaks = Vec::new();
                while !stop.load(Relaxed) {
                    for request in &requests {
                        tap.send(request)?;
                    }
                    sent.fetch_add(requests.len() as u64, Relaxed);
                    while let Some(passed) = tap.next(Instant::now())? {
                        let arp = Arp::read(&passed.bytes).filter(|_| passed.received);
                        leaks.extend(arp.filter(|arp| is_vip(arp.sip)).map(|arp| arp.to_string()));
                    }
                }
                Ok(leaks)
            }
        });
        Ok(Self { stop, sent, thread })
    }

    /// How many requests it has sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Ends the flood: what got out.
    pub(crate) fn end(self) -> Result<Vec<String>> {
        self.stop.store(true, Relaxed);
        self.thread
            .join()
            .map_err(|_| anyhow::anyhow!("the flood panicked"))?
    }
}
