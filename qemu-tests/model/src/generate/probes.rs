// SPDX-License-Identifier: GPL-2.0

//! Random probes.

use super::{is_vrf, Generator, Of};
use crate::{
    operation::Slot,
    pool::{ADDRESSES, COVERED, ELSEWHERE, FOREIGN, NEAR},
    probe::{Cast, Probe},
};
use std::net::Ipv4Addr;

impl Generator {
    /// Returns the probes after an operation.
    pub(super) fn probes(&mut self) -> Vec<Probe> {
        let mut probes = vec![self.read(), self.read()];
        probes.extend((0..3).map(|_| self.connect()));
        let is_up = |wire: &Slot| self.host.is_up(*wire);
        let wires: Vec<Slot> = Slot::WIRES.into_iter().filter(is_up).collect();
        if !wires.is_empty() {
            for _ in 0..4 {
                let on = self.any(&wires);
                let (tip, sip, cast) = self.request();
                // Sometimes the wires are one LAN, and all devices receive the request.
                let is_lan = self.percent(15);
                let hearing = wires.iter().filter(|wire| is_lan || **wire == on);
                probes.extend(hearing.map(|on| Probe::Ask {
                    on: *on,
                    tip,
                    sip,
                    cast,
                }));
            }
            probes.extend((0..2).map(|_| self.resolve(&wires)));
        }
        probes
    }

    /// Returns an address, usually one that a device has.
    fn address(&mut self) -> Ipv4Addr {
        let configured = self.configured();
        match self.rng.u32(..100) {
            0..80 if !configured.is_empty() => self.any(&configured).1.addr,
            0..90 => self.any(&ADDRESSES),
            _ => self.any(&COVERED),
        }
    }

    /// Returns an address that no device has and that was not returned before. Senders (`is_asking`) and targets are
    /// different, because the host learns senders.
    fn fresh(&mut self, is_asking: bool) -> Ipv4Addr {
        let near = &mut self.fresh[usize::from(is_asking)];
        if *near < 110 && self.rng.bool() {
            *near += 1;
            return Ipv4Addr::new(10, 0, 0, if is_asking { 16 } else { 127 } + *near);
        }
        let subnet = self.any(&[0, 1, 9]);
        let far = &mut self.far;
        *far += 1;
        Ipv4Addr::new(10, subnet, 1 + (*far / 200) as u8, 1 + (*far % 200) as u8)
    }

    /// Returns target, sender and destination of a request.
    fn request(&mut self) -> (Ipv4Addr, Option<Ipv4Addr>, Cast) {
        let tip = self.address();
        let sip = match self.rng.u32(..100) {
            0..20 => None,
            20..27 => Some(self.address()),
            // Gratuitous.
            27..37 => Some(tip),
            _ => Some(self.fresh(true)),
        };
        let cast = match self.rng.u32(..100) {
            0..50 => Cast::Broadcast,
            50..65 => Cast::Multicast,
            _ => Cast::Unicast,
        };
        (tip, sip, cast)
    }

    fn resolve(&mut self, wires: &[Slot]) -> Probe {
        let from = if self.percent(85) {
            self.address()
        } else {
            FOREIGN
        };
        let (out, target) = (self.any(wires), self.fresh(false));
        Probe::Resolve { out, target, from }
    }

    fn connect(&mut self) -> Probe {
        let to = match self.rng.u32(..100) {
            0..60 => {
                let [_, subnet, ..] = self.any(&ELSEWHERE).addr.octets();
                Ipv4Addr::new(10, subnet, 0, 1)
            }
            60..75 => self.address(),
            _ => self.any(&NEAR),
        };
        let out = match self.rng.u32(..100) {
            0..45 => None,
            45..85 => Some(self.any(&Slot::WIRES)),
            _ => Some(self.slot(is_vrf)),
        };
        Probe::Connect { to, out }
    }

    fn read(&mut self) -> Probe {
        if self.host.annex().is_some() && self.percent(15) {
            Probe::ReadInAnnex(self.directory(Of::Annex), self.knob())
        } else {
            Probe::Read(self.directory(Of::Host), self.knob())
        }
    }
}
