// SPDX-License-Identifier: GPL-2.0

//! Runs cases on a machine and prints the results as KTAP.

use crate::{
    pcap,
    vm::Vm, //
};
use anyhow::{bail, Result};
use protocol::{Ended, Frame, Order, Outcome, Report};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

/// The results so far.
pub(crate) struct Tally {
    /// The kernel's release.
    release: String,
    /// The folder for pcaps.
    logs: PathBuf,
    /// The number of results beside those of the cases on one machine.
    pub(crate) others: usize,
    planned: usize,
    number: usize,
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Tally {
    /// Starts with no result.
    pub(crate) fn new(release: &str, logs: &Path) -> Self {
        Self {
            release: release.to_owned(),
            logs: logs.to_owned(),
            others: 0,
            planned: 0,
            number: 0,
            passed: 0,
            failed: 0,
            skipped: 0,
        }
    }

    /// Prints a result, which is a failure if there are any `lines`.
    pub(crate) fn must_be_none(&mut self, name: &str, lines: &[String]) {
        self.number += 1;
        if lines.is_empty() {
            self.passed += 1;
            println!("ok {} {name}", self.number);
            return;
        }
        self.failed += 1;
        println!("not ok {} {name}", self.number);
        for line in lines {
            println!("# {line}");
        }
    }

    /// Prints the plan: `results`, and the others.
    pub(crate) fn plan(&mut self, results: usize) -> Result<()> {
        self.planned = results + self.others;
        if self.planned == 0 {
            bail!("no case matches");
        }
        println!("1..{}", self.planned);
        Ok(())
    }

    /// Prints the sum and returns the exit code.
    pub(crate) fn sum_up(mut self, start: Instant) -> ExitCode {
        if self.number != self.planned {
            println!("# {} results, {} planned", self.number, self.planned);
            self.failed += 1;
        }
        println!(
            "# {}: {} s; logs in {}",
            self.release,
            start.elapsed().as_secs(),
            self.logs.display()
        );
        println!(
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        );
        if self.failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

/// A machine that runs cases.
pub(crate) trait Machine {
    /// Sends an order.
    fn order(&mut self, order: &Order) -> Result<()>;

    /// Returns the next report. Fails if none comes.
    fn report(&mut self) -> Result<Report>;
}

impl Machine for Vm {
    fn order(&mut self, order: &Order) -> Result<()> {
        Self::order(self, order)
    }

    fn report(&mut self) -> Result<Report> {
        Self::report(self)
    }
}

/// Makes a machine run the cases of an order. `again` returns the command that runs a case again.
pub(crate) fn cases(
    machine: &mut impl Machine,
    order: &Order,
    tally: &mut Tally,
    again: &dyn Fn(&str) -> String,
) -> Result<()> {
    machine.order(order)?;
    let mut frames = Vec::new();
    loop {
        match machine.report()? {
            Report::Plan(0) if tally.others == 0 => bail!("no case matches"),
            Report::Plan(cases) => tally.plan(cases + 1)?,
            Report::Frame(frame) => frames.push(frame),
            Report::Ended(case) => {
                tell(&case, tally, &frames, &again(&case.name))?;
                frames.clear();
            }
            Report::Done { .. } => return Ok(()),
            other => bail!("unexpected {other:?} during the cases"),
        }
    }
}

/// Prints the result of a case. If it failed, writes its pcap and prints `again`, the command that runs it again.
pub(crate) fn tell(case: &Ended, tally: &mut Tally, frames: &[Frame], again: &str) -> Result<()> {
    tally.number += 1;
    print!("{}", case.ktap(tally.number));
    match &case.outcome {
        Outcome::Passed => tally.passed += 1,
        Outcome::Skipped { .. } => tally.skipped += 1,
        Outcome::Failed { .. } => {
            tally.failed += 1;
            if !frames.is_empty() {
                let path = tally.logs.join(format!("{}.pcapng", case.name));
                pcap::write(&path, frames)?;
                println!("#   pcap: {}", path.display());
            }
            println!("#   run it again: {again}");
        }
    }
    Ok(())
}
