// SPDX-License-Identifier: GPL-2.0

//! What was compared.

use model::Seen;
use std::fmt;

/// Counts what was compared.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) operations: usize,
    asks: usize,
    answers: usize,
    resolves: usize,
    connects: usize,
    reads: usize,
}

impl Tally {
    pub(super) fn add(&mut self, seen: Seen) {
        match seen {
            Seen::Answer { is_answered, .. } => {
                self.asks += 1;
                self.answers += usize::from(is_answered);
            }
            Seen::Sender(_) => self.resolves += 1,
            Seen::Source(_) => self.connects += 1,
            Seen::Value(_) => self.reads += 1,
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            operations,
            asks,
            answers,
            resolves,
            connects,
            reads,
        } = self;
        write!(
            f,
            "{operations} operations, {} probes: {asks} requests ({answers} replies), {resolves} \
             announcements, {connects} sources, {reads} knobs",
            asks + resolves + connects + reads,
        )
    }
}
