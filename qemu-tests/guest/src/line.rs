// SPDX-License-Identifier: GPL-2.0

//! The line to the runner: reports go out, orders come in.

use crate::machine;
use anyhow::{Context, Result};
use protocol::{Order, Report};
use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
};

/// The line.
pub(crate) struct Line {
    port: File,
}

impl Line {
    /// Opens it, and what comes in by it: the orders.
    pub(crate) fn open() -> Result<(Self, impl Iterator<Item = Result<Order>>)> {
        let port = machine::serial_port()?;
        let orders = BufReader::new(port.try_clone()?)
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
