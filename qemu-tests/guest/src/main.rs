// SPDX-License-Identifier: GPL-2.0

//! PID 1 of the laboratory's virtual machines: brings the machine up and carries out the runner's orders. In a machine
//! that has another PID 1, systemd, it is a service of that.

mod batch;
mod bench;
mod case;
mod cases;
mod faults;
mod lab;
mod machine;
mod netlink;
mod random;
mod tap;
mod tun;
mod wire;

use anyhow::{Context, Result};
use protocol::{frame, Order, Report};
use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
};

/// The line to the runner.
struct Line {
    port: File,
}

impl Line {
    fn report(&mut self, report: &Report) -> Result<()> {
        let mut line = serde_json::to_vec(report)?;
        line.push(b'\n');
        self.port.write_all(&line)?;
        Ok(())
    }
}

fn obey() -> Result<()> {
    if machine::is_ours() {
        machine::mount()?;
    }
    let port = machine::line()?;
    let mut line = Line {
        port: port.try_clone()?,
    };
    line.report(&Report::Ready)?;
    for order in BufReader::new(port).lines() {
        match serde_json::from_str(&order?).context("an order that is none")? {
            Order::Cases { patterns } => {
                case::run(&patterns, &mut line)?;
                line.report(&Report::Done {
                    status: 0,
                    output: String::new(),
                })?;
            }
            Order::Bench { quick } => {
                bench::run(quick, &mut line)?;
                line.report(&Report::Done {
                    status: 0,
                    output: String::new(),
                })?;
            }
            Order::Soak { seed, operations } => {
                case::soak(seed, operations, &mut line)?;
                line.report(&Report::Done {
                    status: 0,
                    output: String::new(),
                })?;
            }
            Order::Shell { command } => {
                let (status, output) = machine::shell(&command)?;
                line.report(&Report::Done { status, output })?;
            }
            Order::Off => break,
        }
    }
    Ok(())
}

fn main() {
    if let Err(error) = obey() {
        // To the console: the runner takes it for a splat.
        println!("guest panicked at {error:?}");
    }
    machine::off();
}
