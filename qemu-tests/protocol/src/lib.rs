// SPDX-License-Identifier: GPL-2.0

//! What the runner and the guest, PID 1 of a virtual machine, say to each other: one JSON value a line, over a serial port.

pub mod bench;
pub mod frame;

use serde::{Deserialize, Serialize};

/// Cases of this prefix run only if the pattern asks for them: they take minutes.
pub const LONG: &str = "long_";

/// The guest's argument on a machine that is not a virtual one of the runner's: see `make check`.
pub const CHECK: &str = "check";

/// The buffer in which cases trace.
pub const TRACE_BUFFER: &str = "/sys/kernel/tracing/instances/arp_hidden_case";

/// Whether a case is asked for by one of the patterns, which commas separate: its name contains it.
pub fn asked_for(name: &str, patterns: &str) -> bool {
    patterns
        .split(',')
        .filter(|pattern| pattern.starts_with(LONG) || !name.starts_with(LONG))
        .any(|pattern| name.contains(pattern))
}

/// What the runner asks of a machine.
#[derive(Debug, Serialize, Deserialize)]
pub enum Order {
    /// Run the cases that the patterns ask for. Answered by [`Report::Plan`], by [`Report::Ended`] as
    /// each case ends, and by [`Report::Done`] after the last.
    Cases {
        /// See [`asked_for`].
        patterns: String,
    },
    /// Compare the host with the reference model. Answered as [`Order::Cases`], a case for each seed.
    Soak {
        /// The first seed; the next ones follow.
        seed: u64,
        /// How many operations there are to be in all.
        operations: usize,
    },
    /// Run a command line in the machine's shell. Answered by [`Report::Done`].
    Shell {
        /// The command line.
        command: String,
    },
    /// Count what events cost. Answered by [`Report::Note`] as it goes on, by [`Report::Figure`] for each figure
    /// and by [`Report::Done`]. For a machine whose time stamp counter counts instructions.
    Bench {
        /// Only the smallest host.
        quick: bool,
    },
    /// Time what is done to thousands of addresses at once. Answered by [`Report::Note`] as it goes on, by
    /// [`Report::Batch`] for each ratio and by [`Report::Done`].
    Batches {
        /// Fewer times.
        quick: bool,
    },
    /// Switch off. Not answered.
    Off,
}

/// What a machine tells the runner.
#[derive(Debug, Serialize, Deserialize)]
pub enum Report {
    /// The machine is up and takes orders.
    Ready,
    /// How many cases there will be.
    Plan(usize),
    /// A frame that a case saw which is about to end with a failure.
    Frame(Frame),
    /// A case has ended.
    Ended(Ended),
    /// What is being done, for those who wait.
    Note(String),
    /// Something has been measured.
    Figure(bench::Figure),
    /// Something has been timed.
    Batch(bench::Batch),
    /// An order has been carried out.
    Done {
        /// The exit status of the shell, 0 for cases.
        status: i32,
        /// What it printed, to either stream.
        output: String,
    },
}

/// A frame on a wire of a case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Frame {
    /// The wire, by its two ends.
    pub wire: String,
    /// When it was seen, since the start of the machine.
    pub microseconds: u64,
    /// The frame itself.
    pub bytes: Vec<u8>,
}

/// How a case ended.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ended {
    /// Its name.
    pub name: String,
    /// What came of it.
    pub outcome: Outcome,
    /// How long it took.
    pub milliseconds: u64,
    /// What else is worth telling of it.
    pub note: Option<String>,
}

impl Ended {
    /// The case as KTAP has it: its result, and what a failure has to say.
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

/// What came of a case.
#[derive(Debug, Serialize, Deserialize)]
pub enum Outcome {
    /// All was as expected.
    Passed,
    /// It could not run.
    Skipped {
        /// What is missing.
        why: String,
    },
    /// Something was not as expected.
    Failed {
        /// What was not, the topology and the frames seen; several lines.
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
