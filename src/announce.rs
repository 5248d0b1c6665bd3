// SPDX-License-Identifier: GPL-2.0

//! ARP packets that this host sends: selects the sender address of its solicitations (rows 11 to 15) and drops replies
//! that would give away an address that was just added (row 31).

use crate::{
    abi::{
        net::Net,
        netdevice::NetDevice,
        netfilter::{ArpHook, Frame, Place, Verdict},
        trace::AnnouncementRewritten, //
    },
    arp::{self, Layout, Packet},
    hear,
    policy::{self, Announced, Reply, Unanswered},
    select,
    state::{Event, Namespace}, //
};
use core::net::Ipv4Addr;
use kernel::sync::rcu;

/// The hook at NF_ARP_OUT. It runs before arptables and nft, so that they see what goes out.
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
        // Ask first: the kernel has read its routes already, and the fence in here keeps the index lookups below
        // behind those reads.
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

/// Decides about a reply while an address or a local route is younger than a grace period.
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
    // Row 15: gratuitous.
    if reply.sip == reply.tip {
        return Verdict::Accept;
    }
    let why = match namespace.reply(net, reply.sip, dev, rcu) {
        Reply::Due => return Verdict::Accept,
        Reply::Early(None) => return Verdict::Unanswered,
        Reply::Early(Some(why)) => why,
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
    // Through a port, a bond sends only the requests of its ARP monitor. The kernel solicits through the bond.
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
    // No memory for a private copy. Rather lose the request than announce the address.
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
