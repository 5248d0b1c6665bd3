// SPDX-License-Identifier: GPL-2.0

//! ARP that this host sends: which sender address its solicitations carry (rows 11 to 15), and the replies that must
//! not go out (row 31).

use crate::{
    abi::{
        net::Net,
        netdevice::NetDevice,
        netfilter::{ArpHook, Frame, Place, Verdict},
        trace::AnnouncementRewritten, //
    },
    arp::{self, Layout, Packet},
    hear,
    policy::{self, Announced, Unanswered},
    select,
    state::{Event, Namespace}, //
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
        // First, for the kernel has looked at its routes already: what they led to is known below.
        let settled = namespace.is_settled();
        if arp::is_request(frame.packet()) {
            solicitation(namespace, net, dev, frame, rcu)
        } else if settled {
            Verdict::Accept
        } else {
            reply(namespace, net, dev, frame, rcu)
        }
    }
}

/// A reply, while an address or a local route has been known for less than a grace period.
#[cold]
fn reply(
    namespace: &Namespace,
    net: &Net,
    dev: &NetDevice,
    frame: &Frame,
    rcu: &rcu::Guard,
) -> Verdict {
    let layout = Layout::of(dev);
    let bytes = frame.packet();
    let Some(reply) = layout.read(bytes) else {
        return Verdict::Accept;
    };
    // Row 15: an announcement.
    if reply.sip == reply.tip {
        return Verdict::Accept;
    }
    let Some(why) = namespace.early(net, reply.sip, dev, rcu) else {
        return Verdict::Accept;
    };
    let request = Packet {
        is_request: true,
        sip: reply.tip,
        tip: reply.sip,
    };
    let kind = if request.sip == 0 {
        Unanswered::Dad
    } else {
        Unanswered::Broadcast
    };
    hear::note(dev, kind, layout.tha(bytes), &request, why, rcu);
    Verdict::Unanswered
}

#[inline]
fn solicitation(
    namespace: &Namespace,
    net: &Net,
    dev: &NetDevice,
    frame: &mut Frame,
    rcu: &rcu::Guard,
) -> Verdict {
    let layout = Layout::of(dev);
    let Some(packet) = layout.read(frame.packet()) else {
        return Verdict::Accept;
    };
    // What a bond sends out of a port is its ARP monitor's: the kernel solicits out of the bond.
    if !policy::solicits(&packet) || dev.is_bond_port() {
        return Verdict::Accept;
    }
    let (tip, sip) = (
        Ipv4Addr::from_bits(packet.tip),
        Ipv4Addr::from_bits(packet.sip),
    );
    let standing = namespace.standing(net, packet.sip, dev, rcu);
    let why = match policy::announces(standing, || net.is_local(sip, dev, rcu)) {
        Announced::AsIs => return Verdict::Accept,
        Announced::Another(why) => why,
    };
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
    if let Some(why) = why {
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
    }
    Verdict::Accept
}
