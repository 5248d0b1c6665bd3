// SPDX-License-Identifier: GPL-2.0

//! PID 1 of the laboratory's virtual machines: brings the machine up and carries out the runner's orders. On a system with
//! systemd it is a service.
//!
//! Without a runner, `init cases [PATTERNS]` runs cases and prints KTAP, as PID 1 (`rdinit=/init -- cases`) or in a chroot
//! on a machine of its own. On a machine with other tasks, the runner starts `init check`.

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
use std::process::ExitCode;

/// Runs the cases that match the patterns, without a runner. Returns whether all passed.
fn run_cases(patterns: &str) -> Result<bool> {
    machine::mount()?;
    let mut line = Line::ktap();
    run::matching(patterns, &mut line)?;
    Ok(line.all_passed())
}

/// Carries out the runner's orders on a virtual machine until it is switched off.
fn serve() -> Result<()> {
    if machine::is_ours() {
        machine::mount()?;
    }
    let (line, orders) = Line::serial()?;
    obey(line, orders)
}

/// Carries out the runner's orders on a machine with other tasks.
fn check() -> Result<()> {
    machine::move_in()?;
    lab::module::load()
        .context("this kernel refuses the module; the kernel log (dmesg) may say why")?;
    let (line, orders) = Line::standard()?;
    obey(line, orders)
}

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

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments == [protocol::CHECK] {
        return check().map_or_else(
            |error| {
                eprintln!("{error:#}");
                ExitCode::FAILURE
            },
            |()| ExitCode::SUCCESS,
        );
    }
    let result = match &arguments[..] {
        [word, patterns @ ..] if word == "cases" => run_cases(&patterns.join(",")),
        _ => serve().map(|()| true),
    };
    let well = result.unwrap_or_else(|error| {
        // On the console, where the runner finds it as a complaint.
        println!("guest panicked at {error:?}");
        false
    });
    if machine::is_ours() || arguments.is_empty() {
        machine::off();
    }
    ExitCode::from(u8::from(!well))
}
