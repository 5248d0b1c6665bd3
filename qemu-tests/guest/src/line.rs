// SPDX-License-Identifier: GPL-2.0

//! The line to the runner, for reports and orders.

use crate::machine;
use anyhow::{Context, Result};
use protocol::{Order, Outcome, Report};
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Write},
    os::fd::AsFd,
};

/// The line, or its replacement if there is no runner.
pub(crate) enum Line {
    /// JSON, on a serial port or on standard output.
    Runner(File),
    /// KTAP on standard output.
    Ktap {
        /// Number of results so far.
        results: usize,
        /// Number of failures among them.
        failures: usize,
    },
}

impl Line {
    /// Opens a virtual machine's line. Returns the orders from it too.
    pub(crate) fn serial() -> Result<(Self, impl Iterator<Item = Result<Order>>)> {
        let port = machine::serial_port()?;
        Self::of(port.try_clone()?, port)
    }

    /// As [`Self::serial`], on standard input and output, for a runner on this machine.
    pub(crate) fn standard() -> Result<(Self, impl Iterator<Item = Result<Order>>)> {
        let [input, output] = [io::stdin().as_fd(), io::stdout().as_fd()]
            .map(|end| end.try_clone_to_owned().map(File::from));
        Self::of(input?, output?)
    }

    fn of(input: File, port: File) -> Result<(Self, impl Iterator<Item = Result<Order>>)> {
        let orders = BufReader::new(input)
            .lines()
            .map(|order| serde_json::from_str(&order?).context("not an order"));
        Ok((Self::Runner(port), orders))
    }

    /// Prints results as KTAP instead.
    pub(crate) fn ktap() -> Self {
        Self::Ktap {
            results: 0,
            failures: 0,
        }
    }

    /// Whether KTAP was printed with at least one result and no failure.
    pub(crate) fn all_passed(&self) -> bool {
        matches!(
            self,
            Self::Ktap {
                results: 1..,
                failures: 0
            }
        )
    }

    /// Sends a report.
    pub(crate) fn report(&mut self, report: &Report) -> Result<()> {
        match (self, report) {
            (Self::Runner(port), report) => {
                let mut line = serde_json::to_vec(report)?;
                line.push(b'\n');
                port.write_all(&line)?;
            }
            (Self::Ktap { .. }, Report::Plan(cases)) => println!("KTAP version 1\n1..{cases}"),
            (Self::Ktap { results, failures }, Report::Ended(case)) => {
                *results += 1;
                *failures += usize::from(matches!(case.outcome, Outcome::Failed { .. }));
                print!("{}", case.ktap(*results));
            }
            (Self::Ktap { .. }, _) => {}
        }
        Ok(())
    }

    /// Reports that an order has been carried out.
    pub(crate) fn done(&mut self) -> Result<()> {
        self.report(&Report::Done {
            status: 0,
            output: String::new(),
        })
    }
}
