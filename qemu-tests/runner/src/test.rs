// SPDX-License-Identifier: GPL-2.0

//! `make test`: runs the cases on a booted kernel and prints KTAP.

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
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant}, //
};

/// Runs the cases of an order: first those on one machine, then those with whole clusters, then the one with Secure Boot.
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
        ..Tally::new(&lab.kernel.release, &lab.logs)
    };
    if only_others {
        tally.plan(0)?;
    } else {
        one_machine(lab, order, &mut tally)?;
    }
    if !recipes.is_empty() {
        let ended = clusters::run(lab, &recipes, |ended, frames| {
            tell(ended, &mut tally, frames, &again(lab, order, &ended.name))
        });
        if let Err(error) = ended {
            println!("# {}", format!("{error:#}").replace('\n', "\n# "));
        }
    }
    if secure_boot {
        let ended = secure_boot::case(lab);
        tell(&ended, &mut tally, &[], &again(lab, order, &ended.name))?;
    }
    Ok(tally.sum_up(start))
}

/// Runs the cases on one machine, and then `kernel_log`, which fails if the kernel has complained.
fn one_machine(lab: &Lab, order: &Order, tally: &mut Tally) -> Result<()> {
    let mut vm = Vm::start(&Config {
        name: "test",
        // A case that needs more processors takes them online.
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
    let again = |name: &str| again(lab, order, name);
    let ended = vm
        .ready()
        .and_then(|()| cases(&mut vm, order, tally, &again))
        .and_then(|()| vm.finish());
    let complaints = match ended {
        Ok(lines) => lines,
        Err(error) => {
            println!("# {}", format!("{error:#}").replace('\n', "\n# "));
            let mut lines = splats(&lab.logs.join("test.console"));
            lines.push("the machine did not shut down".to_owned());
            lines
        }
    };
    tally.must_be_none("kernel_log", &complaints);
    Ok(())
}

/// Returns how long a case may take. A long case takes ten minutes on an ordinary kernel; on the debug kernel, walking
/// through hundreds of failing allocations takes long too. Either may take an hour, and both together four.
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

/// Returns the command that runs a case again.
fn again(lab: &Lab, order: &Order, name: &str) -> String {
    let kernel = lab.kernel.asked_for();
    match (order, name.strip_prefix("random_seed_")) {
        (Order::Soak { .. }, Some(seed)) => {
            format!("make soak KERNEL={kernel} SEED={seed} STEPS=1")
        }
        _ => format!("make test KERNEL={kernel} CASE={name}"),
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
