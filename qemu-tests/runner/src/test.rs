// SPDX-License-Identifier: GPL-2.0

//! `make test`: runs the cases on a booted kernel and prints KTAP.

use crate::{
    cases::{cases, tell, Tally},
    clusters,
    initramfs::Kernel,
    lab::Lab,
    secure_boot,
    vm::{splats, Config, Vm, OUR_INIT, PATIENCE},
};
use anyhow::Result;
use protocol::{asked_for, Order, LONG};
use std::{
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
    let mut tally = Tally::new(&lab.kernel.release, &lab.logs);
    tally.others = recipes.len() + usize::from(secure_boot);
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
    // `make test` runs no debug kernel of these series, so the stock kernel checks its slabs itself.
    let checks = if lab.kernel.release.starts_with("6.") {
        " slab_debug=FZP"
    } else {
        ""
    };
    let mut vm = Vm::start(&Config {
        name: "test",
        // A case that needs more processors takes them online.
        boot: lab.boot_with(&format!(
            "{OUR_INIT} maxcpus={}{checks}",
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
