// SPDX-License-Identifier: GPL-2.0

//! What has changed since the figures that were committed.

use super::{
    figures::Figures,
    names::{name, number, setup_name, size_name},
};
use protocol::bench::{Event, Unit};

impl Figures {
    /// Says what is better and what is worse than in `committed`; how many are worse.
    pub(super) fn tell_changes(&self, committed: &Figures) -> usize {
        if self.kernel != committed.kernel {
            println!("the committed figures are of kernel {}", committed.kernel);
        }
        if !self.comparable(committed) {
            println!("that is of another flavour: nothing is compared");
            return 0;
        }
        let mut worse = 0;
        for new in &self.figures {
            let Some(old) = committed.round(new.size, new.event, new.setup, new.round) else {
                continue;
            };
            let slack = slack(new.event, old);
            let now = new.value as f64;
            let change = if now > old + slack {
                worse += 1;
                "worse"
            } else if now < old - slack {
                "better"
            } else {
                continue;
            };
            println!(
                "{change}: {} {} {}: {} where {} is committed",
                name(new.event),
                setup_name(new.setup),
                size_name(new.size),
                number(now),
                number(old)
            );
        }
        println!("{worse} figures are worse than the committed ones");
        worse
    }
}

/// How much worse than `old` a figure of an event may be by chance.
fn slack(event: Event, old: f64) -> f64 {
    const MILLISECOND: f64 = 1e6;
    match (event, event.unit()) {
        // RCU tasks, which ftrace waits for, look again every 100 ms.
        (Event::Load | Event::Unload, _) => 200.0 * MILLISECOND,
        // RCU waits for a tick.
        (Event::KnobFirst, _) => 4.0 * MILLISECOND,
        (_, Unit::Instructions) => (old * 0.005).max(16.0),
        (_, Unit::Nanoseconds) => (old * 0.05).max(1000.0),
        // What slabs hand out depends on what they had.
        (_, Unit::Bytes) => (old * 0.1).max(65_536.0),
    }
}
