// SPDX-License-Identifier: GPL-2.0

//! Requests that this host hears: which stay unanswered (rows 1 to 10).

use crate::{
    abi::{
        net::Net,
        netdevice::NetDevice,
        netfilter::{ArpHook, Frame, Place, Verdict}, //
    },
    arp::Layout,
    namespace::Namespace,
    policy,
    statistics::Event, //
};
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
        let Some(packet) = Layout::of(dev).read(frame.packet()) else {
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
        Verdict::Drop
    }
}

impl Layout {
    /// The layout of ARP packets on a device.
    #[inline]
    pub(crate) fn of(dev: &NetDevice) -> Self {
        Self::new(dev.addr_len(), dev.arp_has_target_hardware_address())
    }
}
