// SPDX-License-Identifier: GPL-2.0

//! Runs cases: each in a laboratory of its own, with the module loaded. No case may taint the kernel.

use crate::{
    cases,
    lab::{case::Case, module, skip::Skip, Lab},
    line::Line,
    machine, random,
};
use anyhow::{ensure, Context, Result};
use protocol::{asked_for, Ended, Outcome, Report};
use std::{fs, time::Instant};

/// The story of a case.
type Story = dyn Fn(&mut Lab) -> Result<()>;

/// Runs the cases that match the patterns and reports each. On a machine with other tasks, leaves out those that need the
/// machine to themselves.
pub(crate) fn matching(patterns: &str, line: &mut Line) -> Result<()> {
    let cases: Vec<&Case> = cases::all()
        .filter(|case| asked_for(case.name, patterns))
        .filter(|case| !(machine::is_shared() && case.alone))
        .collect();
    line.report(&Report::Plan(cases.len()))?;
    for case in cases {
        run_one(case.name, &case.run, line)?;
    }
    Ok(())
}

/// Runs the random comparisons of consecutive seeds, as many as it takes for `operations`.
pub(crate) fn soak(seed: u64, operations: usize, line: &mut Line) -> Result<()> {
    let seeds = seed..seed + operations.div_ceil(random::OPERATIONS) as u64;
    line.report(&Report::Plan(seeds.clone().count()))?;
    for seed in seeds {
        let name = format!("random_seed_{seed}");
        run_one(
            &name,
            &move |lab: &mut Lab| random::compare(lab, seed),
            line,
        )?;
    }
    Ok(())
}

fn run_one(name: &str, story: &Story, line: &mut Line) -> Result<()> {
    let start = Instant::now();
    let mut lab = Lab::new();
    let before = taint()?;
    let result = module::load()
        .and_then(|()| story(&mut lab))
        .and_then(|()| well(before | lab.taints));
    let outcome = match result {
        Ok(()) => Outcome::Passed,
        Err(error) => match error.downcast_ref::<Skip>() {
            Some(skip) => Outcome::Skipped {
                why: skip.to_string(),
            },
            None => {
                for frame in lab.frames() {
                    line.report(&Report::Frame(frame))?;
                }
                Outcome::Failed {
                    why: format!("{error:#}\n{}", lab.tell()),
                }
            }
        },
    };
    let note = lab.note.take();
    drop(lab);
    if matches!(outcome, Outcome::Failed { .. }) && !machine::is_shared() {
        // It may have loaded the module with parameters of its own. If unloading fails, the next case says so.
        drop(module::unload());
    }
    line.report(&Report::Ended(Ended {
        name: name.to_owned(),
        outcome,
        milliseconds: start.elapsed().as_millis() as u64,
        note,
    }))
}

/// Fails if the kernel has new taints other than those of an unsigned out-of-tree module. The runner checks the kernel's
/// log.
fn well(known: u64) -> Result<()> {
    const OUT_OF_TREE_UNSIGNED: u64 = (1 << 12) | (1 << 13);
    let new = taint()? & !(known | OUT_OF_TREE_UNSIGNED);
    ensure!(new == 0, "the kernel is tainted: {new:#x}");
    Ok(())
}

fn taint() -> Result<u64> {
    let taint = fs::read_to_string("/proc/sys/kernel/tainted")?;
    taint.trim().parse().context("tainted")
}

#[cfg(test)]
mod tests {
    use crate::cases;
    use std::collections::BTreeSet;

    /// Every row names its cases, and every case with a row in its name is named there.
    #[test]
    fn the_documentation_has_every_row_and_case() {
        let text = include_str!("../../../Documentation/semantics.md");
        let mut named = BTreeSet::new();
        let rows = (1..=31).map(|row| (row.to_string(), format!("row{row:02}_")));
        for (row, name) in rows.chain([("9a".to_owned(), "row09a_".to_owned())]) {
            let line = text
                .lines()
                .find(|line| line.starts_with(&format!("| {row} |")));
            let line = line.unwrap_or_else(|| panic!("row {row} is missing"));
            let cases: Vec<&str> = line
                .split('`')
                .filter(|word| word.contains(&name))
                .collect();
            assert!(!cases.is_empty(), "row {row} has no case");
            named.extend(cases);
        }
        let cases: BTreeSet<&str> = cases::all()
            .map(|case| case.name)
            .filter(|name| name.contains("row"))
            .collect();
        assert_eq!(named, cases);
    }
}
