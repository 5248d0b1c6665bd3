// SPDX-License-Identifier: GPL-2.0

//! `make test`: the cases on a booted kernel, as KTAP.

use crate::{
    clusters,
    pcap,
    vm::{accelerator, splats, Config, Vm, PATIENCE},
    Lab, //
};
use anyhow::{bail, Result};
use protocol::{Ended, Frame, Order, Outcome, Report, LONG};
use std::{
    process::ExitCode,
    time::{Duration, Instant}, //
};

/// Runs the cases that an order asks for: those on one machine, then those with whole clusters.
pub(crate) fn run(lab: &Lab, order: &Order) -> Result<ExitCode> {
    let start = Instant::now();
    let release = &lab.kernel.release;
    println!("KTAP version 1");
    println!("# kernel {release}, {} in QEMU", accelerator());
    let (recipes, only_clusters) = match order {
        Order::Cases { pattern } => (
            clusters::matching(pattern)?,
            pattern.starts_with(clusters::PREFIX),
        ),
        _ => (Vec::new(), false),
    };
    let mut tally = Tally {
        clusters: recipes.len(),
        ..Tally::default()
    };
    if only_clusters {
        tally.plan(0)?;
    } else {
        one_machine(lab, order, &mut tally)?;
    }
    if !recipes.is_empty() {
        let ended = clusters::run(lab, &recipes, |ended, frames| {
            tell(ended, &mut tally, frames, lab, order)
        });
        if let Err(error) = ended {
            println!("# {}", format!("{error:#}").replace('\n', "\n# "));
        }
    }
    if tally.number != tally.planned {
        println!("# {} results, {} planned", tally.number, tally.planned);
        tally.failed += 1;
    }
    println!(
        "# {release}: {} s; logs in {}",
        start.elapsed().as_secs(),
        lab.logs.display()
    );
    println!(
        "{} passed, {} failed, {} skipped",
        tally.passed, tally.failed, tally.skipped
    );
    Ok(if tally.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs the cases on one machine, and adds one about what its kernel said.
fn one_machine(lab: &Lab, order: &Order, tally: &mut Tally) -> Result<()> {
    let mut vm = Vm::start(&Config {
        name: "test",
        kernel: &lab.kernel.binary(),
        initramfs: &lab.initramfs,
        logs: &lab.logs,
        cpus: 2,
        memory: 2048,
        devices: Vec::new(),
        count_instructions: false,
        can_be_put_back: false,
    })?;
    vm.be_patient(patience(order));
    let ended = cases(&mut vm, lab, order, tally).and_then(|()| vm.finish());
    let complaints = match ended {
        Ok(lines) => lines,
        Err(error) => {
            println!("# {}", format!("{error:#}").replace('\n', "\n# "));
            let mut lines = splats(&lab.logs.join("test.console"));
            lines.push("the machine did not come to its end".to_owned());
            lines
        }
    };
    tally.number += 1;
    if complaints.is_empty() {
        tally.passed += 1;
        println!("ok {} kernel_log", tally.number);
    } else {
        tally.failed += 1;
        println!("not ok {} kernel_log", tally.number);
        for line in complaints {
            println!("# {line}");
        }
    }
    Ok(())
}

/// How long a case may take: a long one, of ten minutes, most of an hour on a debug kernel.
fn patience(order: &Order) -> Duration {
    match order {
        Order::Cases { pattern } if pattern.starts_with(LONG) => Duration::from_secs(3600),
        _ => 5 * PATIENCE,
    }
}

#[derive(Default)]
struct Tally {
    /// How many cases with clusters there are to be.
    clusters: usize,
    planned: usize,
    number: usize,
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Tally {
    /// Prints the plan: so many results before those of the clusters.
    fn plan(&mut self, results: usize) -> Result<()> {
        self.planned = results + self.clusters;
        if self.planned == 0 {
            bail!("there is no such case");
        }
        println!("1..{}", self.planned);
        Ok(())
    }
}

fn cases(vm: &mut Vm, lab: &Lab, order: &Order, tally: &mut Tally) -> Result<()> {
    vm.ready()?;
    vm.order(order)?;
    let mut frames = Vec::new();
    loop {
        match vm.report()? {
            Report::Plan(0) if tally.clusters == 0 => bail!("there is no such case"),
            Report::Plan(cases) => tally.plan(cases + 1)?,
            Report::Frame(frame) => frames.push(frame),
            Report::Ended(case) => {
                tell(&case, tally, &frames, lab, order)?;
                frames.clear();
            }
            Report::Done { .. } => return Ok(()),
            other => bail!("{other:?} where a case was to be run"),
        }
    }
}

fn tell(case: &Ended, tally: &mut Tally, frames: &[Frame], lab: &Lab, order: &Order) -> Result<()> {
    tally.number += 1;
    let (number, name) = (tally.number, &case.name);
    let mut told = format!("{} ms", case.milliseconds);
    if let Some(note) = &case.note {
        told += &format!("; {note}");
    }
    match &case.outcome {
        Outcome::Passed => {
            tally.passed += 1;
            println!("ok {number} {name} # {told}");
        }
        Outcome::Skipped { why } => {
            tally.skipped += 1;
            println!("ok {number} {name} # SKIP {why}");
        }
        Outcome::Failed { why } => {
            tally.failed += 1;
            println!("not ok {number} {name} # {told}");
            for line in why.lines() {
                println!("#   {line}");
            }
            if !frames.is_empty() {
                let path = lab.logs.join(format!("{name}.pcapng"));
                pcap::write(&path, frames)?;
                println!("#   pcap: {}", path.display());
            }
            let release = &lab.kernel.release;
            match (order, name.strip_prefix("random_seed_")) {
                (Order::Soak { .. }, Some(seed)) => {
                    println!("#   again: make soak KERNEL={release} SEED={seed} STEPS=1");
                }
                _ => println!("#   again: make test KERNEL={release} CASE={name}"),
            }
        }
    }
    Ok(())
}
