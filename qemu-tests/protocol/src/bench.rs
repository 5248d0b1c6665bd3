// SPDX-License-Identifier: GPL-2.0

//! What the benchmark measures: an event, on a host of a size, set up in a way; and what is done to many addresses.

use serde::{Deserialize, Serialize};

/// A figure, of several samples.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figure {
    /// How large the host is.
    pub size: Size,
    /// What happened.
    pub event: Event,
    /// How the host was set up.
    pub setup: Setup,
    /// 0 for the first time that the set-up was measured on that host, 1 for the second.
    pub round: u32,
    /// What it comes to, in the unit of the event: the first decile of instructions, the shortest time, the
    /// median of memory.
    pub value: u64,
    /// The median.
    pub median: u64,
}

/// How large a host is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Size {
    /// The number of addresses on lo.
    pub vips: u32,
    /// The number of interfaces.
    pub interfaces: u32,
    /// The number of other namespaces that the machine has.
    pub namespaces: u32,
}

/// What happens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A broadcast frame is sent by a device that throws it away: what a frame costs its sender.
    FrameSent,
    /// A broadcast frame of a type that nobody takes: what sending and receiving alone cost.
    FrameUntaken,
    /// A broadcast ARP request for an address on lo.
    ArpVip,
    /// A broadcast ARP request for the address of the device that receives it.
    ArpOwn,
    /// A broadcast ARP request for an address that is not the host's.
    ArpForeign,
    /// A datagram from an address on lo to a neighbour that is not known: up to the ARP request for it.
    Announce,
    /// A connection by a route whose source address is known.
    ConnectRoute,
    /// A connection out of a device that has an address of its own, without a route.
    ConnectOwn,
    /// A connection out of a device without addresses, without a route.
    ConnectFallback,
    /// A forwarded packet whose time to live ends, answered from the device without addresses.
    IcmpError,
    /// The first packet of a connection that is masqueraded out of the device without addresses.
    Masquerade,
    /// A write to `conf/lo/hidden` that is the first to conceal something.
    KnobFirst,
    /// A write to `conf/eth1/hidden` while lo is hidden.
    KnobNext,
    /// A write to `conf/lo/arp_ignore`, for comparison.
    KnobOfKernel,
    /// An address is added to eth0.
    AddressAdd,
    /// A dummy device is made.
    DeviceAdd,
    /// A network namespace is made.
    NamespaceAdd,
    /// The module is loaded.
    Load,
    /// The module is unloaded while lo is hidden.
    Unload,
    /// The memory that is taken when the module is loaded.
    MemoryLoaded,
    /// The memory that is taken when lo is hidden.
    MemoryHidden,
}

/// What a figure counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Instructions of the machine.
    Instructions,
    /// Nanoseconds of the machine: an instruction takes one, and waiting passes too.
    Nanoseconds,
    /// Bytes of memory.
    Bytes,
}

impl Event {
    /// What its figures count.
    pub fn unit(self) -> Unit {
        match self {
            Event::FrameSent
            | Event::FrameUntaken
            | Event::ArpVip
            | Event::ArpOwn
            | Event::ArpForeign
            | Event::Announce
            | Event::ConnectRoute
            | Event::ConnectOwn
            | Event::ConnectFallback
            | Event::IcmpError
            | Event::Masquerade => Unit::Instructions,
            Event::KnobFirst
            | Event::KnobNext
            | Event::KnobOfKernel
            | Event::AddressAdd
            | Event::DeviceAdd
            | Event::NamespaceAdd
            | Event::Load
            | Event::Unload => Unit::Nanoseconds,
            Event::MemoryLoaded | Event::MemoryHidden => Unit::Bytes,
        }
    }
}

/// How a host is set up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Setup {
    /// Without the module.
    Without,
    /// The module is loaded, its flags are 0.
    Loaded,
    /// lo of another namespace is hidden.
    Elsewhere,
    /// lo is hidden, and with it the addresses on it.
    Hidden,
    /// eth1, which has no address, is hidden: selections are redirected, but what they select is visible.
    Eth1Hidden,
    /// `arp_ignore` is 1, without the module.
    ArpIgnore,
    /// `arp_announce` is 2, without the module.
    ArpAnnounce,
    /// arptables drops requests, by a rule for each address on lo, without the module.
    ArptablesDrop,
    /// arptables changes the sender address, by a rule for each address on lo, without the module.
    ArptablesMangle,
    /// nftables drops requests, by a rule for each address on lo, without the module.
    NftRules,
    /// nftables drops requests, by a set of the addresses on lo, without the module.
    NftSet,
}

/// What is done to many addresses at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doing {
    /// `ip -batch` adds them to a dummy.
    Add,
    /// `ip addr flush` removes them.
    Flush,
    /// `ip link del` removes them with the dummy.
    DeleteDevice,
}

impl Doing {
    /// All of them.
    pub const ALL: [Doing; 3] = [Doing::Add, Doing::Flush, Doing::DeleteDevice];
}

/// How long it takes, of several pairs of times: without the module, and with the dummy hidden.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Batch {
    /// What is done.
    pub doing: Doing,
    /// To how many addresses.
    pub addresses: u32,
    /// On how many processors.
    pub processors: u32,
    /// The median time without the module, in milliseconds.
    pub without_ms: f64,
    /// That with the dummy hidden.
    pub hidden_ms: f64,
    /// The median of the pairs' ratios.
    pub ratio: f64,
}
