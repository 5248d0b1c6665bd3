// SPDX-License-Identifier: GPL-2.0

//! Builds, parses and describes frames.

use etherparse::{
    ArpEthIpv4Packet, ArpOperation, ArpPacket, EtherType, Ethernet2Header, NetHeaders, NetSlice,
    PacketHeaders, SlicedPacket, TransportSlice,
};
use std::{fmt, net::Ipv4Addr};

/// A hardware address.
pub type Mac = [u8; 6];

/// The broadcast address.
pub const BROADCAST: Mac = [0xff; 6];
/// The address of 224.0.0.1, a group that every device receives.
pub const MULTICAST: Mac = [0x01, 0x00, 0x5e, 0, 0, 1];

/// An ARP packet and the frame that carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arp {
    /// The frame's sender.
    pub from: Mac,
    /// The frame's receiver.
    pub to: Mac,
    /// 1 request, 2 reply.
    pub op: u16,
    /// Sender hardware address.
    pub sha: Mac,
    /// Sender protocol address.
    pub sip: Ipv4Addr,
    /// Target hardware address.
    pub tha: Mac,
    /// Target protocol address.
    pub tip: Ipv4Addr,
}

impl Arp {
    /// Parses a frame. Returns `None` if it is not ARP for IPv4 on Ethernet.
    pub fn read(frame: &[u8]) -> Option<Self> {
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

    /// Builds the frame.
    pub fn bytes(&self) -> Vec<u8> {
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
    pub fn is_request(&self) -> bool {
        self.op == ArpOperation::REQUEST.0
    }

    /// Whether it is a reply.
    pub fn is_reply(&self) -> bool {
        self.op == ArpOperation::REPLY.0
    }
}

/// Formats a hardware address: `02:00:00:00:00:01`.
pub struct Colons(pub Mac);

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

/// Returns the source address of an IPv4 packet in a frame.
pub fn ipv4_source(frame: &[u8]) -> Option<Ipv4Addr> {
    match PacketHeaders::from_ethernet_slice(frame).ok()?.net? {
        NetHeaders::Ipv4(header, _) => Some(header.source.into()),
        _ => None,
    }
}

/// Describes a frame in one line.
pub fn describe(frame: &[u8]) -> String {
    if let Some(arp) = Arp::read(frame) {
        return arp.to_string();
    }
    let packet = SlicedPacket::from_ethernet(frame).ok();
    let Some(SlicedPacket {
        net: Some(NetSlice::Ipv4(ip)),
        transport,
        ..
    }) = packet
    else {
        let kind = frame.get(12..14).unwrap_or_default();
        return format!("{} bytes of type {kind:02x?}", frame.len());
    };
    let (from, to) = (ip.header().source_addr(), ip.header().destination_addr());
    match transport {
        Some(TransportSlice::Tcp(tcp)) => {
            let flags = [
                (tcp.syn(), " SYN"),
                (tcp.fin(), " FIN"),
                (tcp.rst(), " RST"),
            ];
            let flags: String = flags
                .iter()
                .filter(|flag| flag.0)
                .map(|flag| flag.1)
                .collect();
            let (port, service) = (tcp.source_port(), tcp.destination_port());
            format!(
                "TCP {from}:{port} > {to}:{service}{flags}, {} bytes",
                tcp.payload().len()
            )
        }
        _ => format!("IPv4 {from} > {to}, protocol {}", ip.header().protocol().0),
    }
}
