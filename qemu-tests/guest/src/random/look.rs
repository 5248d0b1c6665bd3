// SPDX-License-Identifier: GPL-2.0

//! Sends probes and reads their results.

use super::network::Network;
use anyhow::{bail, ensure, Context, Result};
use model::{Cast, Probe, Seen, Slot};
use protocol::frame::{Arp, Colons, Mac, BROADCAST, MULTICAST};
use socket2::{Domain, SockAddr, Socket, Type};
use std::{
    collections::HashSet,
    fs,
    net::{Ipv4Addr, SocketAddrV4},
};

impl Network {
    /// Returns what the probes see. Sends everything first, then looks at each wire once.
    pub(super) fn look(
        &mut self,
        probes: impl Iterator<Item = Probe> + Clone,
    ) -> Result<Vec<Seen>> {
        let mut askers = Vec::new();
        for probe in probes.clone() {
            match probe {
                Probe::Ask { on, tip, sip, cast } => {
                    let asker = self.ask(on, tip, sip, cast)?;
                    askers.push(asker);
                }
                Probe::Resolve { out, target, from } => self.send(out, target, from)?,
                Probe::Connect { .. } | Probe::Read(..) | Probe::ReadInAnnex(..) => {}
            }
        }
        let mut heard = Vec::new();
        for (slot, wire) in self.wires_up() {
            heard.extend(wire.heard_arp()?.into_iter().map(|arp| (slot, arp)));
        }
        let learnt = self.learnt()?;
        let mut askers = askers.into_iter();
        probes
            .map(|probe| match probe {
                Probe::Ask { on, tip, sip, .. } => {
                    let asker = askers.next().context("an asker")?;
                    let is_fresh = sip.is_some_and(model::is_fresh);
                    Ok(Seen::Answer {
                        is_answered: is_answered(&heard, on, asker, tip)?,
                        is_learnt: is_fresh && learnt.contains(&Colons(asker).to_string()),
                    })
                }
                Probe::Resolve { out, target, .. } => {
                    Ok(Seen::Sender(sender(&heard, out, target)?))
                }
                Probe::Connect { to, out } => {
                    let out = out.map(|out| self.model.name(out));
                    Ok(Seen::Source(self.host.enter(|| source(to, out))?))
                }
                Probe::Read(directory, knob) => {
                    let file = self.model.file(directory, knob);
                    Ok(Seen::Value(self.host.get(&file).ok()))
                }
                Probe::ReadInAnnex(directory, knob) => {
                    let (model, annex) = self.annex()?;
                    Ok(Seen::Value(annex.get(&model.file(directory, knob)).ok()))
                }
            })
            .collect()
    }

    /// Sends a request from a unique hardware address, which identifies the reply. Returns that address.
    fn ask(&mut self, on: Slot, tip: Ipv4Addr, sip: Option<Ipv4Addr>, cast: Cast) -> Result<Mac> {
        let [high, low] = self.asks.to_be_bytes();
        self.asks += 1;
        let asker = [2, 1, 0, 0, high, low];
        let wire = self.wire(on)?;
        let request = Arp {
            from: asker,
            to: match cast {
                Cast::Broadcast => BROADCAST,
                Cast::Multicast => MULTICAST,
                Cast::Unicast => wire.far_mac,
            },
            op: 1,
            sha: asker,
            sip: sip.unwrap_or(Ipv4Addr::UNSPECIFIED),
            tha: [0; 6],
            tip,
        };
        wire.send(&request.bytes())?;
        Ok(asker)
    }

    /// Sends a packet out of a device. The target may be unreachable.
    fn send(&self, out: Slot, target: Ipv4Addr, from: Ipv4Addr) -> Result<()> {
        const HEADER_LEN: u8 = 20;
        const PROTOCOL: u8 = 253; // for experiments
        let mut packet = [0; HEADER_LEN as usize];
        packet[0] = 0x45;
        packet[3] = HEADER_LEN;
        packet[8] = 64;
        packet[9] = PROTOCOL;
        packet[12..16].copy_from_slice(&from.octets());
        packet[16..20].copy_from_slice(&target.octets());
        self.raw
            .bind_device(Some(self.model.name(out).as_bytes()))?;
        let to = SockAddr::from(SocketAddrV4::new(target, 0));
        drop(self.raw.send_to(&packet, &to));
        Ok(())
    }

    /// Returns the hardware addresses in the host's neighbour table.
    fn learnt(&self) -> Result<HashSet<String>> {
        let read = || fs::read_to_string("/proc/thread-self/net/arp");
        let table = self.host.enter(read)??;
        let of_line = |line: &str| line.split_whitespace().nth(3).map(str::to_owned);
        Ok(table.lines().filter_map(of_line).collect())
    }

    pub(super) fn tell(&self, probe: &Probe) -> String {
        let dev = |slot: &Slot| self.model.name(*slot);
        match probe {
            Probe::Ask { on, tip, sip, cast } => {
                let sip = sip.unwrap_or(Ipv4Addr::UNSPECIFIED);
                format!("{cast:?} request on {}: who has {tip} tell {sip}", dev(on))
            }
            Probe::Resolve { out, target, from } => {
                format!("a packet from {from} to {target} out of {}", dev(out))
            }
            Probe::Connect { to, out } => match out {
                Some(out) => format!("a socket bound to {}, connected to {to}", dev(out)),
                None => format!("a socket connected to {to}"),
            },
            Probe::Read(directory, knob) => self.model.file(*directory, *knob),
            Probe::ReadInAnnex(directory, knob) => {
                let model = self.model.annex().unwrap_or(&self.model);
                format!("{} of the second namespace", model.file(*directory, *knob))
            }
        }
    }
}

/// Whether a request got a reply. Fails if the reply is wrong or not the only one.
fn is_answered(heard: &[(Slot, Arp)], on: Slot, asker: Mac, tip: Ipv4Addr) -> Result<bool> {
    let mut replies = heard
        .iter()
        .filter(|(_, arp)| arp.is_reply() && arp.to == asker);
    let Some((slot, reply)) = replies.next() else {
        return Ok(false);
    };
    ensure!(
        *slot == on && reply.sip == tip && reply.tha == asker && reply.sha == reply.from,
        "wrong reply: {reply}"
    );
    if let Some((_, another)) = replies.next() {
        bail!("more than one reply: {reply}; {another}");
    }
    Ok(true)
}

/// Returns the sender address of the request for a target, if there was one.
fn sender(heard: &[(Slot, Arp)], out: Slot, target: Ipv4Addr) -> Result<Option<Ipv4Addr>> {
    let mut requests = heard
        .iter()
        .filter(|(_, arp)| arp.is_request() && arp.tip == target);
    let Some((slot, request)) = requests.next() else {
        return Ok(None);
    };
    ensure!(*slot == out, "out of the wrong device: {request}");
    for (_, another) in requests {
        ensure!(another.sip == request.sip, "{request}, but also {another}");
    }
    Ok(Some(request.sip))
}

/// Returns the source address of a connected socket, which may be bound to a device.
fn source(to: Ipv4Addr, out: Option<&str>) -> Option<Ipv4Addr> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).ok()?;
    socket.bind_device(out.map(str::as_bytes)).ok()?;
    socket
        .connect(&SockAddr::from(SocketAddrV4::new(to, 9)))
        .ok()?;
    Some(*socket.local_addr().ok()?.as_socket_ipv4()?.ip())
}
