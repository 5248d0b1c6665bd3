// SPDX-License-Identifier: GPL-2.0

//! ARP requests that this host receives: drops those that get no reply (rows 1 to 10).

use crate::{
    abi::{
        net::Net,
        netdevice::NetDevice,
        netfilter::{ArpHook, Frame, Place, Verdict},
        trace::RequestUnanswered, //
    },
    arp::{Layout, Packet},
    policy::{self, Standing, Unanswered, Why},
    state::{Concealer, Event, Namespace}, //
};
use core::net::Ipv4Addr;
use kernel::sync::rcu;

/// The hook at NF_ARP_IN. It runs after arptables and nft, before `arp_process`.
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
        // Row 9.
        if !packet.is_request {
            return Verdict::Accept;
        }
        let tip = namespace.standing(net, packet.tip, dev, rcu);
        let Some((kind, why)) = policy::silences(&packet, || frame.is_unicast(), tip) else {
            if matches!(tip, Standing::Concealed { here: false, .. }) {
                namespace.let_reply(packet.tip, rcu);
            }
            return Verdict::Accept;
        };
        note(dev, kind, layout.sha(bytes), &packet, why, rcu);
        Verdict::Unanswered
    }
}

/// Counts and traces a request that gets no reply. `dev` received it from `sha`.
pub(crate) fn note(
    dev: &NetDevice,
    kind: Unanswered,
    sha: &[u8],
    request: &Packet,
    why: Why<Concealer<'_>>,
    rcu: &rcu::Guard,
) {
    why.owner.count(Event::Unanswered(kind));
    RequestUnanswered {
        dev,
        kind: match kind {
            Unanswered::Broadcast => c"broadcast",
            Unanswered::Unicast => c"unicast",
            Unanswered::Dad => c"dad",
        },
        sha,
        sip: Ipv4Addr::from_bits(request.sip),
        tip: Ipv4Addr::from_bits(request.tip),
        owner: why.owner.dev,
        hidden: why.flags.hidden,
        arp_invisible: why.flags.arp_invisible,
    }
    .trace(rcu);
}

impl Layout {
    /// Returns the layout of ARP packets on a device.
    #[inline]
    pub(crate) fn of(dev: &NetDevice) -> Self {
        Self::new(dev.addr_len(), dev.arp_has_target_hardware_address())
    }
}
