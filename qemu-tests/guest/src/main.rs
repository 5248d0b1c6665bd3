// SPDX-License-Identifier: GPL-2.0

//! PID 1 of the laboratory's virtual machines: brings the machine up and carries out the runner's orders. In a machine
//! that has another PID 1, systemd, it is a service of that.
//!
//! Without a runner, `init cases [PATTERNS]` runs cases and prints KTAP: as PID 1 (`rdinit=/init -- cases`), or in a
//! chroot of a machine that is there for it.

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

use anyhow::Result;
use line::Line;
use protocol::{Order, Report};
use std::process::ExitCode;

/// Runs the cases that the patterns ask for, without a runner: whether all passed.
fn run_cases(patterns: &str) -> Result<bool> {
    machine::mount()?;
    let mut line = Line::ktap();
    run::matching(patterns, &mut line)?;
    Ok(line.all_passed())
}

fn obey() -> Result<()> {
    if machine::is_ours() {
        machine::mount()?;
    }
    let (mut line, orders) = Line::open()?;
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
    let result = match &arguments[..] {
        [word, patterns @ ..] if word == "cases" => run_cases(&patterns.join(",")),
        _ => obey().map(|()| true),
    };
    let well = result.unwrap_or_else(|error| {
        // To the console: the runner takes it for a splat.
        println!("guest panicked at {error:?}");
        false
    });
    if machine::is_ours() || arguments.is_empty() {
        machine::off();
    }
    ExitCode::from(u8::from(!well))
}
