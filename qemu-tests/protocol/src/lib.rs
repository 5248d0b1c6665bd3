// SPDX-License-Identifier: GPL-2.0

//! The protocol between the runner and the guest, PID 1 of a virtual machine: one JSON value per line, over a serial port.

pub mod bench;
pub mod frame;

use serde::{Deserialize, Serialize};

/// Cases with this prefix take minutes, and run only if a pattern begins with it.
pub const LONG: &str = "long_";

/// The guest's argument for `make check`, on a machine that the runner has not booted.
pub const CHECK: &str = "check";

/// The trace buffer of the cases.
pub const TRACE_BUFFER: &str = "/sys/kernel/tracing/instances/arp_hidden_case";

/// Whether the name of a case contains one of the patterns, which are separated by commas.
pub fn asked_for(name: &str, patterns: &str) -> bool {
    patterns
        .split(',')
        .filter(|pattern| pattern.starts_with(LONG) || !name.starts_with(LONG))
        .any(|pattern| name.contains(pattern))
}

/// An order of the runner to a machine.
#[derive(Debug, Serialize, Deserialize)]
pub enum Order {
    /// Run the cases that match the patterns. Answered by [`Report::Plan`], by [`Report::Ended`] for each case, and by
    /// [`Report::Done`].
    Cases {
        /// See [`asked_for`].
        patterns: String,
    },
    /// Compare a host with the reference model. Answered as [`Order::Cases`], with a case for each seed.
    Soak {
        /// The first of consecutive seeds.
        seed: u64,
        /// The number of operations in total.
        operations: usize,
    },
    /// Run a command line in the machine's shell. Answered by [`Report::Done`].
    Shell {
        /// The command line.
        command: String,
    },
    /// Count instructions per event. Answered by [`Report::Note`] for progress, by [`Report::Figure`] for each figure, and by
    /// [`Report::Done`]. Requires a machine whose time stamp counter counts instructions.
    Bench {
        /// Measure only the smallest host.
        quick: bool,
    },
    /// Time changes to thousands of addresses at once. Answered by [`Report::Note`] for progress, by [`Report::Batch`] for each
    /// ratio, and by [`Report::Done`].
    Batches {
        /// Measure fewer times.
        quick: bool,
    },
    /// Switch off. Not answered.
    Off,
}

/// A report of a machine to the runner.
#[derive(Debug, Serialize, Deserialize)]
pub enum Report {
    /// The machine has booted and takes orders.
    Ready,
    /// The number of cases.
    Plan(usize),
    /// A frame that a case has seen. Sent before [`Report::Ended`] if the case has failed.
    Frame(Frame),
    /// A case has ended.
    Ended(Ended),
    /// Progress, for the user.
    Note(String),
    /// A measured figure.
    Figure(bench::Figure),
    /// A measured ratio of times.
    Batch(bench::Batch),
    /// An order has been carried out.
    Done {
        /// The exit status of the shell, 0 for cases.
        status: i32,
        /// Its output, on stdout and stderr.
        output: String,
    },
}

/// A frame on a wire of a case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Frame {
    /// The wire, named after its two ends.
    pub wire: String,
    /// When it was seen, in microseconds.
    pub microseconds: u64,
    /// The frame itself.
    pub bytes: Vec<u8>,
}

/// A case that has ended.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ended {
    /// Its name.
    pub name: String,
    /// Its result.
    pub outcome: Outcome,
    /// How long it took.
    pub milliseconds: u64,
    /// A remark for the report.
    pub note: Option<String>,
}

impl Ended {
    /// Formats the result as KTAP, with the explanation of a failure.
    pub fn ktap(&self, number: usize) -> String {
        let name = &self.name;
        let mut told = format!("{} ms", self.milliseconds);
        if let Some(note) = &self.note {
            told += &format!("; {note}");
        }
        match &self.outcome {
            Outcome::Passed => format!("ok {number} {name} # {told}\n"),
            Outcome::Skipped { why } => format!("ok {number} {name} # SKIP {why}\n"),
            Outcome::Failed { why } => {
                let mut text = format!("not ok {number} {name} # {told}\n");
                for line in why.lines() {
                    text += &format!("#   {line}\n");
                }
                text
            }
        }
    }
}

/// The result of a case.
#[derive(Debug, Serialize, Deserialize)]
pub enum Outcome {
    /// It passed.
    Passed,
    /// It could not run on this kernel.
    Skipped {
        /// What is missing.
        why: String,
    },
    /// It failed.
    Failed {
        /// The reason, what was done, the state of the hosts, and the frames; several lines.
        why: String,
    },
}

#[cfg(test)]
mod tests {
    use super::asked_for;

    #[test]
    fn long_cases_are_asked_for_by_name() {
        assert!(asked_for("row06_vrf", ""));
        assert!(asked_for("row06_vrf", "churn_,row06"));
        assert!(!asked_for("row06_vrf", "churn_,row07"));
        assert!(!asked_for("long_churn", ""));
        assert!(!asked_for("long_churn", "row06,churn"));
        assert!(asked_for("long_churn", "row06,long_ch"));
    }
}
