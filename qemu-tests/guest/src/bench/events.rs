// SPDX-License-Identifier: GPL-2.0

//! What happens to a host, and what that costs.

use super::{
    counter::count,
    site::{
        vip, Site, ADDED, FAR, FAR_MAC, HOST, HOST_MAC, HOST_MAC_1, NEIGHBOUR, NEIGHBOUR_MAC,
        NOBODY, NOWHERE,
    },
};
use crate::{lab::module::not_redirected, netlink::Request};
use anyhow::{ensure, Context, Result};
use etherparse::PacketBuilder;
use nix::{
    sched::{unshare, CloneFlags},
    sys::socket::{setsockopt, sockopt},
};
use protocol::{
    bench::{Event, Figure, Setup, Unit},
    frame::{Arp, BROADCAST},
    Report,
};
use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    thread,
    time::Duration,
};

impl Site<'_> {
    /// Measures events on a host that is set up in a way.
    pub(super) fn measure(&mut self, setup: Setup, round: u32, events: &[&[Event]]) -> Result<()> {
        for &event in events.iter().copied().flatten() {
            let (warm_up, wanted) = match event.unit() {
                Unit::Instructions => (8, 41),
                Unit::Nanoseconds | Unit::Bytes => (1, 15),
            };
            // The same neighbours each time: they fall into the same buckets.
            self.targets = 0;
            let samples: Result<Vec<u64>> =
                (0..warm_up + wanted).map(|_| self.sample(event)).collect();
            let mut samples =
                samples.with_context(|| format!("{event:?}, {setup:?}, {:?}", self.size))?;
            self.report(event, setup, round, samples.split_off(warm_up))?;
            if event == Event::Announce {
                self.host.ip("neigh flush dev eth0")?;
            }
        }
        Ok(())
    }

    /// Reports what samples come to.
    pub(super) fn report(
        &mut self,
        event: Event,
        setup: Setup,
        round: u32,
        mut samples: Vec<u64>,
    ) -> Result<()> {
        samples.sort_unstable();
        let at = |tenths: usize| samples[(samples.len() - 1) * tenths / 10];
        let median = at(5);
        self.line.report(&Report::Figure(Figure {
            size: self.size,
            event,
            setup,
            round,
            value: match event.unit() {
                Unit::Instructions => at(1),
                Unit::Nanoseconds => at(0),
                Unit::Bytes => median,
            },
            median,
        }))
    }

    /// Lets an event happen once.
    fn sample(&mut self, event: Event) -> Result<u64> {
        match event {
            Event::FrameSent => {
                let frame = untaken();
                Ok(count(|| self.to_nowhere.send(&frame))?.0)
            }
            Event::FrameUntaken => {
                let frame = untaken();
                Ok(count(|| self.from_neighbour.send(&frame))?.0)
            }
            Event::ArpVip => self.ask(vip(self.size.vips.div_ceil(2))),
            Event::ArpOwn => self.ask(HOST),
            Event::ArpForeign => self.ask(NOBODY),
            Event::Announce => {
                self.targets += 1;
                let target = Ipv4Addr::from_bits(
                    Ipv4Addr::new(10, 0, 1, 0).to_bits() + self.targets % 0x4000,
                );
                let from = vip(self.size.vips.div_ceil(2));
                let socket = self.host.enter(|| UdpSocket::bind((from, 0)))??;
                Ok(count(|| Ok(socket.send_to(b"hello", (target, 9))?))?.0)
            }
            Event::ConnectRoute => self.connect(None, NEIGHBOUR),
            Event::ConnectOwn => self.connect(Some("eth0"), NOWHERE),
            Event::ConnectFallback => self.connect(Some("eth1"), NOWHERE),
            Event::IcmpError => {
                let packet = PacketBuilder::ethernet2(FAR_MAC, HOST_MAC_1)
                    .ipv4([10, 9, 0, 2], NEIGHBOUR.octets(), 1)
                    .udp(9, 9);
                let mut frame = Vec::new();
                packet.write(&mut frame, b"hello")?;
                Ok(count(|| self.from_far.send(&frame))?.0)
            }
            Event::Masquerade => {
                self.flows = self.flows.checked_add(1).unwrap_or(1);
                let packet = PacketBuilder::ethernet2(NEIGHBOUR_MAC, HOST_MAC)
                    .ipv4(NEIGHBOUR.octets(), FAR.octets(), 64)
                    .udp(self.flows, 9);
                let mut frame = Vec::new();
                packet.write(&mut frame, b"hello")?;
                Ok(count(|| self.from_neighbour.send(&frame))?.0)
            }
            Event::KnobFirst => {
                self.host.conf("lo", "hidden", 0)?;
                ensure!(not_redirected()?, "the redirection stays");
                self.knob("lo", "hidden", "1")
            }
            Event::KnobNext => {
                self.host.conf("eth1", "hidden", 0)?;
                self.knob("eth1", "hidden", "1")
            }
            Event::KnobOfKernel => self.knob("lo", "arp_ignore", "0"),
            Event::AddressAdd => {
                let taken = self.request(&Request::add_address(self.eth0, ADDED))?;
                self.request(&Request::delete_address(self.eth0, ADDED))?;
                Ok(taken)
            }
            Event::DeviceAdd => {
                let taken = self.request(&Request::add_dummy("added"))?;
                self.request(&Request::delete_link("added"))?;
                Ok(taken)
            }
            Event::NamespaceAdd => {
                let made = thread::spawn(|| count(|| Ok(unshare(CloneFlags::CLONE_NEWNET)?)));
                let (taken, ()) = made.join().ok().context("the thread panicked")??;
                // It goes in the background.
                thread::sleep(Duration::from_millis(200));
                Ok(taken)
            }
            Event::Load | Event::Unload | Event::MemoryLoaded | Event::MemoryHidden => {
                unreachable!("measured by load_and_unload")
            }
        }
    }

    fn ask(&self, tip: Ipv4Addr) -> Result<u64> {
        let request = Arp {
            from: NEIGHBOUR_MAC,
            to: BROADCAST,
            op: 1,
            sha: NEIGHBOUR_MAC,
            sip: NEIGHBOUR,
            tha: [0; 6],
            tip,
        };
        let frame = request.bytes();
        Ok(count(|| self.from_neighbour.send(&frame))?.0)
    }

    fn connect(&self, device: Option<&str>, to: Ipv4Addr) -> Result<u64> {
        let socket = self
            .host
            .enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))??;
        if let Some(device) = device {
            setsockopt(&socket, sockopt::BindToDevice, &device.into())?;
        }
        let to = SocketAddrV4::new(to, 9);
        Ok(count(|| Ok(socket.connect(to)?))?.0)
    }

    fn knob(&self, directory: &str, knob: &str, value: &str) -> Result<u64> {
        let path = format!("/proc/sys/net/ipv4/conf/{directory}/{knob}");
        let mut file = self
            .host
            .enter(|| File::options().write(true).open(path))??;
        Ok(count(|| Ok(std::io::Write::write_all(&mut file, value.as_bytes())?))?.0)
    }

    fn request(&self, request: &Request) -> Result<u64> {
        let (taken, ()) = count(|| self.netlink.send(request))?;
        self.netlink.outcome()?;
        Ok(taken)
    }
}

/// A broadcast frame of a type that nobody takes, as long as an ARP request.
fn untaken() -> Vec<u8> {
    [&BROADCAST[..], &NEIGHBOUR_MAC, &[0x88, 0xb5], &[0; 28]].concat()
}
