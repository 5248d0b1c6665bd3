// SPDX-License-Identifier: GPL-2.0

//! Predicts what a probe sees.

use crate::{
    host::Host,
    pool::is_fresh,
    probe::{Probe, Seen},
};

impl Host {
    /// Returns what a probe must see; `None` if it is not possible now, or if its result is not determined.
    pub fn predict(&self, probe: &Probe) -> Option<Seen> {
        match *probe {
            Probe::Ask { on, tip, sip, cast } => self.is_up(on).then(|| {
                let is_answered = self.answers(on, tip, sip, cast);
                Seen::Answer {
                    is_answered,
                    is_learnt: is_answered && sip.is_some_and(is_fresh),
                }
            }),
            Probe::Resolve { out, target, from } => self
                .is_up(out)
                .then(|| Seen::Sender(self.asks_as(out, target, from))),
            Probe::Connect { to, out } => {
                let is_there = out.is_none_or(|out| self.exists(out));
                is_there.then(|| self.source(to, out)).flatten()
            }
            Probe::Read(directory, knob) => self
                .has_directory(directory)
                .then(|| Seen::Value(self.read(directory, knob))),
            Probe::ReadInAnnex(directory, knob) => {
                self.annex()?.predict(&Probe::Read(directory, knob))
            }
        }
    }
}
