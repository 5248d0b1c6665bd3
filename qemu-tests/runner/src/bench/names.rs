// SPDX-License-Identifier: GPL-2.0

//! What the figures are of, in a few words.

use protocol::bench::{Doing, Event, Setup, Size};

/// An event, in a few words.
pub(super) fn name(event: Event) -> &'static str {
    match event {
        Event::FrameSent => "a frame that only is sent",
        Event::FrameUntaken => "a frame that nobody takes",
        Event::ArpVip => "request for an address on lo",
        Event::ArpOwn => "request for an address of eth0",
        Event::ArpForeign => "request for a foreign address",
        Event::Announce => "datagram to a new neighbour, from an address on lo",
        Event::ConnectRoute => "connection, source cached by the route",
        Event::ConnectOwn => "connection out of eth0, no route",
        Event::ConnectFallback => "connection out of eth1, no route",
        Event::IcmpError => "ICMP error, from the address of eth1",
        Event::Masquerade => "connection masqueraded out of eth1",
        Event::KnobFirst => "first write to hidden",
        Event::KnobNext => "another write to hidden",
        Event::KnobOfKernel => "write to arp_ignore",
        Event::AddressAdd => "address added",
        Event::DeviceAdd => "device added",
        Event::NamespaceAdd => "namespace made",
        Event::Load => "load",
        Event::Unload => "unload",
        Event::MemoryLoaded => "memory when loaded",
        Event::MemoryHidden => "memory when lo is hidden",
    }
}

/// A set-up, in a few words.
pub(super) fn setup_name(setup: Setup) -> &'static str {
    match setup {
        Setup::Without => "no module",
        Setup::Loaded => "flags 0",
        Setup::Elsewhere => "hidden in another namespace",
        Setup::Hidden => "lo hidden",
        Setup::Eth1Hidden => "eth1 hidden",
        Setup::ArpIgnore => "arp_ignore=1",
        Setup::ArpAnnounce => "arp_announce=2",
        Setup::ArptablesDrop => "arptables",
        Setup::ArptablesMangle => "arptables mangle",
        Setup::NftRules => "nft rules",
        Setup::NftSet => "nft set",
    }
}

/// A doing, in a few words.
pub(super) fn doing_name(doing: Doing) -> &'static str {
    match doing {
        Doing::Add => "`ip -batch`, adding",
        Doing::Flush => "`ip addr flush`",
        Doing::DeleteDevice => "`ip link del`",
    }
}

/// A host, by its size.
pub(super) fn size_name(size: Size) -> String {
    let mut text = format!(
        "{} addresses, {} interfaces",
        number(size.vips.into()),
        number(size.interfaces.into())
    );
    if size.namespaces > 0 {
        text += &format!(", {} more namespaces", size.namespaces);
    }
    text
}

/// A whole number, in groups of three digits.
pub(super) fn number(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
