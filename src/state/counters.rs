// SPDX-License-Identifier: GPL-2.0

//! What is counted of each device.
//!
//! An event is counted on the device whose flag is the reason, not on the one that received or sent the frame: the
//! counters of a concealed device show what concealing it does. Which device received or sent is in the tracepoints.

use crate::{abi::percpu, policy::Unanswered};
use kernel::prelude::*;

/// What happened because a device is concealed.
#[derive(Clone, Copy)]
pub(crate) enum Event {
    /// A request got no reply.
    Unanswered(Unanswered),
    /// A neighbour solicitation went out with another sender address.
    Rewritten,
    /// The selection of a source came to another result.
    Redirected,
}

impl Event {
    /// How many kinds of events there are.
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

    /// The sums: broadcast, unicast, DAD, rewritten, redirected.
    pub(crate) fn sums(&self) -> [u64; Event::KINDS] {
        core::array::from_fn(|kind| self.0.sum(kind))
    }
}
