// SPDX-License-Identifier: GPL-2.0

//! Counts events for each device.
//!
//! An event is counted on the device whose flag caused it, not on the device that received or sent the packet, so the
//! counters of a device show what concealing it does. The tracepoints name the device that received or sent.

use crate::{abi::percpu, policy::Unanswered};
use kernel::prelude::*;

/// What happened because a device is concealed.
#[derive(Clone, Copy)]
pub(crate) enum Event {
    /// A request got no reply.
    Unanswered(Unanswered),
    /// A neighbour solicitation went out with another sender address.
    Rewritten,
    /// Source address selection had another result.
    Redirected,
}

impl Event {
    /// The number of kinds of events.
    pub(crate) const KINDS: usize = 5;

    fn index(self) -> usize {
        match self {
            Event::Unanswered(Unanswered::Broadcast) => 0,
            Event::Unanswered(Unanswered::Unicast) => 1,
            Event::Unanswered(Unanswered::Dad) => 2,
            Event::Rewritten => 3,
            Event::Redirected => 4,
        }
    }
}

/// The counters of a device.
pub(crate) struct Counters(percpu::Counters<{ Event::KINDS }>);

impl Counters {
    /// Allocates them. Sleeps.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(percpu::Counters::new()?))
    }

    /// Counts an event. In any context.
    pub(crate) fn count(&self, event: Event) {
        self.0.increment(event.index());
    }

    /// Returns the sums: broadcast, unicast, DAD, rewritten, redirected.
    pub(crate) fn sums(&self) -> [u64; Event::KINDS] {
        core::array::from_fn(|kind| self.0.sum(kind))
    }
}
