// SPDX-License-Identifier: GPL-2.0

//! Requests that this host sends: which sender address they carry (rows 11 to 15).

use crate::{
    abi::{
        net::Net,
        netdevice::NetDevice,
        netfilter::{ArpHook, Frame, Place, Verdict},
        trace::AnnouncementRewritten, //
    },
    arp::{self, Layout},
    namespace::Namespace,
    policy,
    select,
    statistics::Event, //
};
use core::net::Ipv4Addr;
use kernel::sync::rcu;

/// Before arptables and nft, which are to see what goes out.
pub(crate) struct Announce;

impl ArpHook for Announce {
    type State = Namespace;

    const PLACE: Place = Place::OutFirst;

    #[inline]
    fn frame(
        namespace: &Namespace,
        net: &Net,
        dev: &NetDevice,
        frame: &mut Frame,
        rcu: &rcu::Guard,
    ) -> Verdict {
        // Most of what a host sends is replies.
        if !arp::is_request(frame.packet()) {
            return Verdict::Accept;
        }
        let layout = Layout::of(dev);
        let Some(packet) = layout.read(frame.packet()) else {
            return Verdict::Accept;
        };
        // What a bond sends out of a port is its ARP monitor's: the kernel solicits out of the bond.
        if !policy::solicits(&packet) || dev.is_bond_port() {
            return Verdict::Accept;
        }
        let sip = namespace.standing(net, packet.sip, dev, rcu);
        let Some(why) = policy::withholds(sip) else {
            return Verdict::Accept;
        };
        let (tip, sip) = (
            Ipv4Addr::from_bits(packet.tip),
            Ipv4Addr::from_bits(packet.sip),
        );
        let announced = select::announceable(dev, tip, rcu);
        // Row 12: the sending device's own primary.
        if announced == sip {
            return Verdict::Accept;
        }
        // No memory for a frame of our own: better not asked than announced.
        let Ok(bytes) = frame.packet_mut() else {
            return Verdict::Drop;
        };
        layout.write_sip(bytes, announced.to_bits());
        why.owner.count(Event::Rewritten);
        AnnouncementRewritten {
            dev,
            tip,
            sip,
            announced,
            owner: why.owner.dev,
            hidden: why.flags.hidden,
            arp_invisible: why.flags.arp_invisible,
        }
        .trace(rcu);
        Verdict::Accept
    }
}
