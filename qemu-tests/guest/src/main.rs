// SPDX-License-Identifier: GPL-2.0

//! PID 1 of the laboratory's virtual machines: brings the machine up and carries out the runner's orders. In a machine
//! that has another PID 1, systemd, it is a service of that. On the machine of somebody who runs `make check`, it is a
//! process of the runner's.

mod bench;
mod cases;
mod lab;
mod line;
mod machine;
mod netlink;
mod random;
mod run;
mod tap;
mod tun;
mod wire;

use anyhow::{Context, Result};
use line::Line;
use protocol::{Order, Report};

fn obey(mut line: Line, orders: impl Iterator<Item = Result<Order>>) -> Result<()> {
    line.report(&Report::Ready)?;
    for order in orders {
        match order? {
            Order::Cases { patterns } => {
                run::matching(&patterns, &mut line)?;
                line.done()?;
            }
            Order::Bench { quick } => {
                bench::run(quick, &mut line)?;
                line.done()?;
            }
            Order::Batches { quick } => {
                bench::batches(quick, &mut line)?;
                line.done()?;
            }
            Order::Soak { seed, operations } => {
                run::soak(seed, operations, &mut line)?;
                line.done()?;
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

/// A virtual machine of the runner's, from its beginning or from where systemd started this, to its end.
fn serve() -> Result<()> {
    if machine::is_ours() {
        machine::mount()?;
    }
    let (line, orders) = Line::serial()?;
    obey(line, orders)
}

/// A machine that does something else.
fn check() -> Result<()> {
    machine::move_in()?;
    lab::module::load()
        .context("this kernel does not take the module; the kernel log (dmesg) may say why")?;
    let (line, orders) = Line::standard()?;
    obey(line, orders)
}

fn main() -> Result<()> {
    if std::env::args().nth(1).as_deref() == Some(protocol::CHECK) {
        return check();
    }
    if let Err(error) = serve() {
        // To the console: the runner takes it for a splat.
        println!("guest panicked at {error:?}");
    }
    machine::off();
    Ok(())
}
