// SPDX-License-Identifier: GPL-2.0

//! The line to the runner: reports go out, orders come in.

use crate::machine;
use anyhow::{Context, Result};
use protocol::{Order, Report};
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Write},
    os::fd::AsFd,
};

/// The line.
pub(crate) struct Line {
    port: File,
}

impl Line {
    /// Opens the one of a virtual machine, and what comes in by it: the orders.
    pub(crate) fn serial() -> Result<(Self, impl Iterator<Item = Result<Order>>)> {
        let port = machine::serial_port()?;
        Self::of(port.try_clone()?, port)
    }

    /// As [`Self::serial`], for a runner on this machine: standard input and output.
    pub(crate) fn standard() -> Result<(Self, impl Iterator<Item = Result<Order>>)> {
        let [input, output] = [io::stdin().as_fd(), io::stdout().as_fd()]
            .map(|end| end.try_clone_to_owned().map(File::from));
        Self::of(input?, output?)
    }

    fn of(input: File, port: File) -> Result<(Self, impl Iterator<Item = Result<Order>>)> {
        let orders = BufReader::new(input)
            .lines()
            .map(|order| serde_json::from_str(&order?).context("not an order"));
        Ok((Self { port }, orders))
    }

    /// Sends a report.
    pub(crate) fn report(&mut self, report: &Report) -> Result<()> {
        let mut line = serde_json::to_vec(report)?;
        line.push(b'\n');
        self.port.write_all(&line)?;
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
