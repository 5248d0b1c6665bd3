// SPDX-License-Identifier: GPL-2.0

//! ARP on Ethernet: what a case sends, and what it reads off the wire.

use etherparse::{
    ArpEthIpv4Packet, ArpOperation, ArpPacket, EtherType, Ethernet2Header, NetHeaders,
    PacketHeaders,
};
use std::{fmt, net::Ipv4Addr};

/// A hardware address.
pub(crate) type Mac = [u8; 6];

/// Everyone.
pub(crate) const BROADCAST: Mac = [0xff; 6];
/// A group that a device without a filter of its own receives: 224.0.0.1's.
pub(crate) const MULTICAST: Mac = [0x01, 0x00, 0x5e, 0, 0, 1];

/// An ARP packet and the frame that carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arp {
    /// The frame's sender.
    pub(crate) from: Mac,
    /// The frame's receiver.
    pub(crate) to: Mac,
    /// 1 request, 2 reply.
    pub(crate) op: u16,
    /// Sender hardware address.
    pub(crate) sha: Mac,
    /// Sender protocol address.
    pub(crate) sip: Ipv4Addr,
    /// Target hardware address.
    pub(crate) tha: Mac,
    /// Target protocol address.
    pub(crate) tip: Ipv4Addr,
}

impl Arp {
    /// Reads a frame; `None` if it is no ARP for IPv4 on Ethernet.
    pub(crate) fn read(frame: &[u8]) -> Option<Self> {
        let (ethernet, rest) = Ethernet2Header::from_slice(frame).ok()?;
        if ethernet.ether_type != EtherType::ARP {
            return None;
        }
        let arp = ArpPacket::from_slice(rest).ok()?.try_eth_ipv4().ok()?;
        Some(Self {
            from: ethernet.source,
            to: ethernet.destination,
            op: arp.operation.0,
            sha: arp.sender_mac,
            sip: arp.sender_ipv4.into(),
            tha: arp.target_mac,
            tip: arp.target_ipv4.into(),
        })
    }

    /// The frame.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut frame = Ethernet2Header {
            source: self.from,
            destination: self.to,
            ether_type: EtherType::ARP,
        }
        .to_bytes()
        .to_vec();
        let arp = ArpEthIpv4Packet {
            operation: ArpOperation(self.op),
            sender_mac: self.sha,
            sender_ipv4: self.sip.octets(),
            target_mac: self.tha,
            target_ipv4: self.tip.octets(),
        };
        frame.extend_from_slice(&arp.to_bytes());
        frame
    }

    /// Whether it is a request.
    pub(crate) fn is_request(&self) -> bool {
        self.op == ArpOperation::REQUEST.0
    }

    /// Whether it is a reply.
    pub(crate) fn is_reply(&self) -> bool {
        self.op == ArpOperation::REPLY.0
    }
}

/// A hardware address as it is written.
pub(crate) struct Colons(pub(crate) Mac);

impl fmt::Display for Colons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, rest @ ..] = self.0;
        write!(f, "{first:02x}")?;
        rest.iter().try_for_each(|byte| write!(f, ":{byte:02x}"))
    }
}

impl fmt::Display for Arp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sip, tip, .. } = self;
        let (from, to, sha) = (Colons(self.from), Colons(self.to), Colons(self.sha));
        write!(f, "{from} > {to}: ")?;
        match self.op {
            1 => write!(f, "who has {tip} tell {sip}"),
            2 => write!(f, "{sip} is at {sha}, to {tip}"),
            op => write!(f, "operation {op}, sip {sip}, tip {tip}"),
        }
    }
}

/// The source address of a frame that carries IPv4.
pub(crate) fn ipv4_source(frame: &[u8]) -> Option<Ipv4Addr> {
    match PacketHeaders::from_ethernet_slice(frame).ok()?.net? {
        NetHeaders::Ipv4(header, _) => Some(header.source.into()),
        _ => None,
    }
}

/// A frame in a line.
pub(crate) fn describe(frame: &[u8]) -> String {
    match Arp::read(frame) {
        Some(arp) => arp.to_string(),
        None if ipv4_source(frame).is_some() => {
            let ip = |at: usize| {
                Ipv4Addr::from([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]])
            };
            format!("IPv4 {} > {}, protocol {}", ip(26), ip(30), frame[23])
        }
        None => {
            let kind = frame.get(12..14).unwrap_or_default();
            format!("{} bytes of type {kind:02x?}", frame.len())
        }
    }
}
