// SPDX-License-Identifier: GPL-2.0

//! Reads the switch's recording of a cluster.

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use protocol::{
    frame::{Arp, Mac},
    Frame,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4},
};

/// Returns the hardware address of the machine at a port of the switch. It is locally administered.
pub(crate) fn mac(port: usize) -> Mac {
    [2, 0, 10, 0, 0, port as u8 + 1]
}

/// Returns the machine with a hardware address. `names` are the machines at the switch's ports.
pub(crate) fn owner<'a>(mac: &[u8], names: &[&'a str]) -> Option<&'a str> {
    let port = (0..names.len()).find(|port| mac == self::mac(*port))?;
    Some(names[port])
}

/// Iterates over the ARP packets among frames, each with its sender's name.
pub(crate) fn arp(frames: &[Frame]) -> impl Iterator<Item = (&str, Arp)> {
    frames
        .iter()
        .filter_map(|frame| Some((frame.wire.as_str(), Arp::read(&frame.bytes)?)))
}

/// Counts a machine's requests for an address.
pub(crate) fn asked(frames: &[Frame], name: &str, address: Ipv4Addr) -> usize {
    arp(frames)
        .filter(|(sender, arp)| *sender == name && arp.is_request() && arp.tip == address)
        .count()
}

/// Returns the source addresses of the TCP connections that a machine opened to an address.
pub(crate) fn sources(frames: &[Frame], name: &str, to: IpAddr) -> BTreeSet<IpAddr> {
    let from = |frame: &Frame| {
        let packet = SlicedPacket::from_ethernet(&frame.bytes).ok()?;
        let (source, destination): (IpAddr, IpAddr) = match packet.net? {
            NetSlice::Ipv4(ip) => (
                ip.header().source_addr().into(),
                ip.header().destination_addr().into(),
            ),
            NetSlice::Ipv6(ip) => (
                ip.header().source_addr().into(),
                ip.header().destination_addr().into(),
            ),
            NetSlice::Arp(_) => return None,
        };
        let TransportSlice::Tcp(tcp) = packet.transport? else {
            return None;
        };
        let opens = frame.wire == name && destination == to && tcp.syn() && !tcp.ack();
        opens.then_some(source)
    };
    frames.iter().filter_map(from).collect()
}

/// Counts each machine's neighbour advertisements for an IPv6 address.
pub(crate) fn advertised(frames: &[Frame], address: Ipv6Addr) -> BTreeMap<String, usize> {
    const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
    let mut advertised = BTreeMap::new();
    for frame in frames {
        let Ok(packet) = SlicedPacket::from_ethernet(&frame.bytes) else {
            continue;
        };
        let Some(TransportSlice::Icmpv6(icmp)) = packet.transport else {
            continue;
        };
        if icmp.type_u8() == NEIGHBOUR_ADVERTISEMENT
            && icmp.slice()[8..].starts_with(&address.octets())
        {
            *advertised.entry(frame.wire.clone()).or_default() += 1;
        }
    }
    advertised
}

/// An ARP request for an address.
#[derive(Debug)]
pub(crate) struct Question {
    /// When it was sent.
    pub(crate) microseconds: u64,
    /// The machines that replied before the next request, once for each reply.
    pub(crate) answered_by: Vec<String>,
}

/// Returns a machine's requests for an address, with their replies.
pub(crate) fn questions(frames: &[Frame], name: &str, address: Ipv4Addr) -> Vec<Question> {
    let mut questions: Vec<Question> = Vec::new();
    for frame in frames {
        let Some(arp) = Arp::read(&frame.bytes) else {
            continue;
        };
        if arp.is_request() && frame.wire == name && arp.tip == address {
            questions.push(Question {
                microseconds: frame.microseconds,
                answered_by: Vec::new(),
            });
        } else if arp.is_reply() && arp.sip == address && arp.tip != address {
            if let Some(question) = questions.last_mut() {
                question.answered_by.push(frame.wire.clone());
            }
        }
    }
    questions
}

/// Counts each machine's ARP packets with an address as their sender, replies and requests.
pub(crate) fn claims(frames: &[Frame], address: Ipv4Addr) -> BTreeMap<String, usize> {
    let mut claims = BTreeMap::new();
    for (sender, _) in arp(frames).filter(|(_, arp)| arp.sip == address) {
        *claims.entry(sender.to_owned()).or_default() += 1;
    }
    claims
}

/// A TCP connection to a cluster, as seen on the wire.
#[derive(Debug)]
pub(crate) struct Connection {
    from: SocketAddrV4,
    /// The service.
    pub(crate) to: SocketAddrV4,
    sequence: u32,
    /// The machines to which the client (or the router before the cluster) sent its packets, each once.
    pub(crate) path: Vec<String>,
    /// The machines to which another one forwarded them, each once, and whether in a tunnel.
    pub(crate) passed_on: Vec<(String, bool)>,
    /// The machines that answered, each once.
    pub(crate) answered_by: Vec<String>,
}

/// A TCP segment.
struct Segment {
    from: SocketAddrV4,
    to: SocketAddrV4,
    sequence: u32,
    begins: bool,
    tunnelled: bool,
}

impl Segment {
    fn read(frame: &[u8]) -> Option<Self> {
        const IPIP: u8 = 4;
        let packet = SlicedPacket::from_ethernet(frame).ok()?;
        let NetSlice::Ipv4(ip) = packet.net.as_ref()? else {
            return None;
        };
        if ip.header().protocol().0 == IPIP {
            let inner = SlicedPacket::from_ip(ip.payload().payload).ok()?;
            return Self::of(&inner, true);
        }
        Self::of(&packet, false)
    }

    fn of(packet: &SlicedPacket<'_>, tunnelled: bool) -> Option<Self> {
        let (NetSlice::Ipv4(ip), TransportSlice::Tcp(tcp)) =
            (packet.net.as_ref()?, packet.transport.as_ref()?)
        else {
            return None;
        };
        Some(Self {
            from: SocketAddrV4::new(ip.header().source_addr(), tcp.source_port()),
            to: SocketAddrV4::new(ip.header().destination_addr(), tcp.destination_port()),
            sequence: tcp.sequence_number(),
            begins: tcp.syn() && !tcp.ack(),
            tunnelled,
        })
    }
}

/// Returns the connections that entered a cluster's network through `entry`: the client, or the router before it.
pub(crate) fn connections(frames: &[Frame], entry: &str, names: &[&str]) -> Vec<Connection> {
    fn note<T: PartialEq>(list: &mut Vec<T>, item: T) {
        if !list.contains(&item) {
            list.push(item);
        }
    }
    let mut connections: Vec<Connection> = Vec::new();
    for frame in frames {
        let Some(segment) = Segment::read(&frame.bytes) else {
            continue;
        };
        let receiver = owner(&frame.bytes[..6], names).unwrap_or("nobody");
        let entering = frame.wire == entry;
        // Skip what passes between the client and the router.
        if frame.wire == "client" && !entering || receiver == "client" && entering {
            continue;
        }
        // The latest connection with these ends, unless this segment opens another one.
        let known = connections.iter_mut().rfind(|known| {
            let there = known.from == segment.from && known.to == segment.to;
            let back = known.from == segment.to && known.to == segment.from;
            there && !(segment.begins && known.sequence != segment.sequence) || back
        });
        match known {
            Some(known) if known.from == segment.to => {
                note(&mut known.answered_by, frame.wire.clone());
            }
            Some(known) if entering => note(&mut known.path, receiver.to_owned()),
            Some(known) => note(
                &mut known.passed_on,
                (receiver.to_owned(), segment.tunnelled),
            ),
            None if entering && segment.begins => connections.push(Connection {
                from: segment.from,
                to: segment.to,
                sequence: segment.sequence,
                path: vec![receiver.to_owned()],
                passed_on: Vec::new(),
                answered_by: Vec::new(),
            }),
            // A segment of an earlier request's connection.
            None => {}
        }
    }
    connections
}
