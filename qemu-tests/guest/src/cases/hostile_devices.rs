// SPDX-License-Identifier: GPL-2.0

//! ARP on unusual devices: fragmented buffers, and hardware addresses of any length.

use crate::{
    lab::{
        case::cases,
        real_server::{real_server, VIP},
        Lab, Way,
    },
    tun::Tun,
};
use anyhow::{ensure, Context, Result};
use protocol::frame::{Arp, BROADCAST};
use std::{iter, net::Ipv4Addr};

cases![hostile_fragments, hostile_hardware_types,];

/// The EtherType of IPv4, which is ARP's protocol type.
const IPV4: u16 = 0x0800;
/// The protocol type on amateur radio devices.
const AX25_P_IP: u16 = 0xcc;

/// Returns a request for a device with hardware addresses of `len` bytes.
fn request(hardware: u16, protocol: u16, len: u8, tip: Ipv4Addr) -> Vec<u8> {
    let mut packet = hardware.to_be_bytes().to_vec();
    packet.extend(protocol.to_be_bytes());
    packet.extend([len, 4, 0, 1]);
    packet.extend(vec![2; len.into()]);
    packet.extend([10, 1, 0, 2]);
    packet.extend(vec![0; len.into()]);
    packet.extend(tip.octets());
    packet
}

/// The header in two and three fragments, with every possible cut.
fn hostile_fragments(lab: &mut Lab) -> Result<()> {
    let (host, _, _) = real_server(lab)?;
    let own = Ipv4Addr::new(10, 1, 0, 1);
    let mut tap = host.enter(|| Tun::ethernet_in_pieces("tap0"))??;
    host.ip("addr add 10.1.0.1/24 dev tap0")?;
    host.ip("link set tap0 up")?;
    let header = [&BROADCAST[..], &[2, 0, 0, 0, 1, 2], &[8, 6]].concat();
    for way in iter::once(None).chain(Way::ALL.map(Some)) {
        if let Some(way) = way {
            host.conceal("lo", way)?;
        }
        for first in 0..28 {
            for second in [first, (first + 1).min(28), 27] {
                let second = second.max(first);
                for tip in [VIP, own] {
                    let packet = request(1, IPV4, 6, tip);
                    let pieces = [
                        &header[..],
                        &packet[..first],
                        &packet[first..second],
                        &packet[second..],
                    ];
                    let pieces: Vec<&[u8]> = pieces
                        .into_iter()
                        .filter(|piece| !piece.is_empty())
                        .collect();
                    tap.send(&pieces)?;
                }
                // After the reply for its own address, none for the VIP can follow.
                let mut answered = Vec::new();
                while answered.last() != Some(&own) {
                    let packet = tap.next(10_000)?;
                    let packet = packet.context("no reply for the device's own address")?;
                    answered.extend(Arp::read(&packet).filter(Arp::is_reply).map(|arp| arp.sip));
                }
                ensure!(
                    answered.contains(&VIP) == way.is_none(),
                    "{way:?}, cut at {first} and {second}: replies for {answered:?}"
                );
            }
        }
        if let Some(way) = way {
            host.reveal("lo", way)?;
        }
    }
    Ok(())
}

/// Devices with hardware addresses of other lengths than Ethernet's, on which the kernel runs ARP too.
fn hostile_hardware_types(lab: &mut Lab) -> Result<()> {
    // The types for which a tun device knows the length.
    const ARPHRD: [(&str, u16, u16, u8); 6] = [
        ("IPv6 GRE", 823, IPV4, 16),
        ("IEEE 802.15.4", 804, IPV4, 8),
        ("NET/ROM", 0, AX25_P_IP, 7),
        ("tunnel", 768, IPV4, 4),
        ("LocalTalk", 773, IPV4, 1),
        ("without hardware addresses", 0xfffe, IPV4, 0),
    ];
    let (host, _, _) = real_server(lab)?;
    let own = Ipv4Addr::new(10, 1, 0, 1);
    for (name, hardware, protocol, len) in ARPHRD {
        let mut tun = host.enter(|| Tun::of_type("tun0", hardware.into()))??;
        host.ip("link set tun0 arp on up")?;
        host.ip("addr add 10.1.0.1/24 dev tun0")?;
        let mut answers = |tip| -> Result<bool> {
            for tip in [tip, own] {
                tun.send(&[&[0, 0, 8, 6], &request(hardware, protocol, len, tip)])?;
            }
            let mut answered = Vec::new();
            let sip = 4 + 8 + usize::from(len);
            while answered.last() != Some(&own) {
                let packet = tun.next(10_000)?;
                let packet =
                    packet.with_context(|| format!("{name}: no reply for its own address"))?;
                if packet.get(2..4) == Some(&[8, 6]) && packet.get(10..12) == Some(&[0, 2]) {
                    let sip: [u8; 4] = packet[sip..sip + 4].try_into()?;
                    answered.push(sip.into());
                }
            }
            Ok(answered.contains(&tip))
        };
        // Such a device has no broadcasts: every packet that it receives counts as unicast.
        ensure!(answers(VIP)?, "{name}: no reply while nothing is concealed");
        host.conceal("lo", Way::Hidden)?;
        ensure!(answers(VIP)?, "{name}: hidden=1 suppresses a unicast reply");
        host.conceal("lo", Way::Strict)?;
        ensure!(!answers(VIP)?, "{name}: a reply");
        host.reveal("lo", Way::Strict)?;
        ensure!(answers(VIP)?, "{name}: no reply after all flags are off");
        drop(tun);
        lab.run("while ip -n host link show tun0 2>/dev/null; do sleep 0.1; done")?;
    }
    Ok(())
}
