// SPDX-License-Identifier: GPL-2.0

//! `make test`: the cases on a booted kernel, as KTAP.

use crate::{
    clusters,
    initramfs::Kernel,
    lab::Lab, //
    pcap,
    secure_boot,
    vm::{splats, Config, Vm, OUR_INIT, PATIENCE},
};
use anyhow::{bail, Result};
use protocol::{asked_for, Ended, Frame, Order, Outcome, Report, LONG};
use std::{
    process::ExitCode,
    time::{Duration, Instant}, //
};

/// Runs the cases that an order asks for: those on one machine, then those with whole clusters.
pub(crate) fn run(lab: &Lab, order: &Order) -> Result<ExitCode> {
    let start = Instant::now();
    let release = &lab.kernel.release;
    println!("KTAP version 1");
    println!(
        "# kernel {release}, {} in QEMU",
        lab.kernel.arch().accelerator()
    );
    let (recipes, secure_boot, only_others) = match order {
        Order::Cases { patterns } => (
            clusters::matching(patterns)?,
            asked_for(secure_boot::NAME, patterns),
            patterns.split(',').all(|pattern| {
                [clusters::PREFIX, secure_boot::NAME]
                    .iter()
                    .any(|others| pattern.starts_with(others))
            }),
        ),
        _ => (Vec::new(), false, false),
    };
    let mut tally = Tally {
        others: recipes.len() + usize::from(secure_boot),
        ..Tally::default()
    };
    if only_others {
        tally.plan(0)?;
    } else {
        one_machine(lab, order, &mut tally)?;
    }
    if !recipes.is_empty() {
        let ended = clusters::run(lab, &recipes, |ended, frames| {
            tell(
                ended,
                &mut tally,
                frames,
                lab,
                &again(lab, order, &ended.name),
            )
        });
        if let Err(error) = ended {
            println!("# {}", format!("{error:#}").replace('\n', "\n# "));
        }
    }
    if secure_boot {
        let ended = secure_boot::case(lab);
        tell(
            &ended,
            &mut tally,
            &[],
            lab,
            &again(lab, order, &ended.name),
        )?;
    }
    Ok(tally.sum_up(lab, start))
}

/// Runs the cases on one machine, and adds one about what its kernel said.
fn one_machine(lab: &Lab, order: &Order, tally: &mut Tally) -> Result<()> {
    let mut vm = Vm::start(&Config {
        name: "test",
        // A case that wants the other processors takes them online.
        boot: lab.boot_with(&format!(
            "{OUR_INIT} maxcpus={}",
            lab.kernel.arch().test_cpus()
        )),
        logs: &lab.logs,
        cpus: 8,
        memory: 2048,
        devices: Vec::new(),
        count_instructions: false,
        can_be_put_back: false,
    })?;
    vm.be_patient(patience(order, &lab.kernel));
    let ended = cases(&mut vm, lab, order, tally).and_then(|()| vm.finish());
    let complaints = match ended {
        Ok(lines) => lines,
        Err(error) => {
            println!("# {}", format!("{error:#}").replace('\n', "\n# "));
            let mut lines = splats(&lab.logs.join("test.console"));
            lines.push("the machine did not shut down".to_owned());
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

/// How long a case may take: an hour if it is a long one, of ten minutes on a quick kernel, or if the kernel is the
/// debug kernel, on which a walk through hundreds of failing allocations is long as well; four hours if both.
fn patience(order: &Order, kernel: &Kernel) -> Duration {
    const HOUR: Duration = Duration::from_secs(3600);
    let Order::Cases { patterns } = order else {
        return 5 * PATIENCE;
    };
    match (patterns.contains(LONG), kernel.is_debug()) {
        (false, false) => 5 * PATIENCE,
        (true, true) => 4 * HOUR,
        _ => HOUR,
    }
}

/// What came of the cases so far.
#[derive(Default)]
pub(crate) struct Tally {
    /// How many cases there are to be besides those of one machine.
    others: usize,
    planned: usize,
    number: usize,
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Tally {
    /// Prints the plan: so many results before the others.
    pub(crate) fn plan(&mut self, results: usize) -> Result<()> {
        self.planned = results + self.others;
        if self.planned == 0 {
            bail!("no case matches");
        }
        println!("1..{}", self.planned);
        Ok(())
    }

    /// Prints the sum of it.
    pub(crate) fn sum_up(mut self, lab: &Lab, start: Instant) -> ExitCode {
        if self.number != self.planned {
            println!("# {} results, {} planned", self.number, self.planned);
            self.failed += 1;
        }
        println!(
            "# {}: {} s; logs in {}",
            lab.kernel.release,
            start.elapsed().as_secs(),
            lab.logs.display()
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

fn cases(vm: &mut Vm, lab: &Lab, order: &Order, tally: &mut Tally) -> Result<()> {
    vm.ready()?;
    vm.order(order)?;
    let mut frames = Vec::new();
    loop {
        match vm.report()? {
            Report::Plan(0) if tally.others == 0 => bail!("no case matches"),
            Report::Plan(cases) => tally.plan(cases + 1)?,
            Report::Frame(frame) => frames.push(frame),
            Report::Ended(case) => {
                tell(&case, tally, &frames, lab, &again(lab, order, &case.name))?;
                frames.clear();
            }
            Report::Done { .. } => return Ok(()),
            other => bail!("{other:?} where a case was to be run"),
        }
    }
}

/// How to run a case again.
fn again(lab: &Lab, order: &Order, name: &str) -> String {
    let kernel = lab.kernel.asked_for();
    match (order, name.strip_prefix("random_seed_")) {
        (Order::Soak { .. }, Some(seed)) => {
            format!("make soak KERNEL={kernel} SEED={seed} STEPS=1")
        }
        _ => format!("make test KERNEL={kernel} CASE={name}"),
    }
}

/// Prints what came of a case, and `again`, the way to run it once more if it failed.
pub(crate) fn tell(
    case: &Ended,
    tally: &mut Tally,
    frames: &[Frame],
    lab: &Lab,
    again: &str,
) -> Result<()> {
    tally.number += 1;
    print!("{}", case.ktap(tally.number));
    match &case.outcome {
        Outcome::Passed => tally.passed += 1,
        Outcome::Skipped { .. } => tally.skipped += 1,
        Outcome::Failed { .. } => {
            tally.failed += 1;
            if !frames.is_empty() {
                let path = lab.logs.join(format!("{}.pcapng", case.name));
                pcap::write(&path, frames)?;
                println!("#   pcap: {}", path.display());
            }
            println!("#   run it again: {again}");
        }
    }
    Ok(())
}
