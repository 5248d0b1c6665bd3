// SPDX-License-Identifier: GPL-2.0

//! Requests that this host hears: which stay unanswered (rows 1 to 10).

use crate::{
    abi::{
        net::Net,
        netdevice::NetDevice,
        netfilter::{ArpHook, Frame, Place, Verdict},
        trace::RequestUnanswered, //
    },
    arp::Layout,
    namespace::Namespace,
    policy::{self, Unanswered},
    statistics::Event, //
};
use core::net::Ipv4Addr;
use kernel::sync::rcu;

/// After arptables and nft had their say, before `arp_process`.
pub(crate) struct Hear;

impl ArpHook for Hear {
    type State = Namespace;

    const PLACE: Place = Place::InLast;

    #[inline]
    fn frame(
        namespace: &Namespace,
        net: &Net,
        dev: &NetDevice,
        frame: &mut Frame,
        rcu: &rcu::Guard,
    ) -> Verdict {
        let layout = Layout::of(dev);
        let bytes = frame.packet();
        let Some(packet) = layout.read(bytes) else {
            return Verdict::Accept;
        };
        if !policy::asks(&packet) {
            return Verdict::Accept;
        }
        let tip = namespace.standing(net, packet.tip, dev, rcu);
        let Some((kind, why)) = policy::silences(&packet, || frame.is_unicast(), tip) else {
            return Verdict::Accept;
        };
        why.owner.count(Event::Unanswered(kind));
        RequestUnanswered {
            dev,
            kind: match kind {
                Unanswered::Broadcast => c"broadcast",
                Unanswered::Unicast => c"unicast",
                Unanswered::Dad => c"dad",
            },
            sha: layout.sha(bytes),
            sip: Ipv4Addr::from_bits(packet.sip),
            tip: Ipv4Addr::from_bits(packet.tip),
            owner: why.owner.dev,
            hidden: why.flags.hidden,
            arp_invisible: why.flags.arp_invisible,
        }
        .trace(rcu);
        Verdict::Unanswered
    }
}

impl Layout {
    /// The layout of ARP packets on a device.
    #[inline]
    pub(crate) fn of(dev: &NetDevice) -> Self {
        Self::new(dev.addr_len(), dev.arp_has_target_hardware_address())
    }
}
