// SPDX-License-Identifier: GPL-2.0

//! `make bench`: measures what events cost, and compares that with the module's bounds and with the committed figures.
//! `make bench-table` prints the committed figures.

mod bounds;
mod changes;
mod chart;
mod figures;
mod names;
mod summary;
mod tables;

use crate::{
    lab::Lab,
    vm::{Config, Vm, PATIENCE},
};
use anyhow::{bail, Context, Result};
use bounds::tell_bounds;
use figures::Figures;
use protocol::{
    bench::{Batch, Figure},
    Order, Report,
};
use std::{collections::BTreeMap, fs, path::Path, process::ExitCode, time::Instant};

/// Runs the benchmark. The figures are compared with those in `documentation`, and take their place if
/// `update` says so.
pub(crate) fn run(lab: &Lab, documentation: &Path, quick: bool, update: bool) -> Result<ExitCode> {
    let start = Instant::now();
    let mut figures = Figures {
        kernel: lab.kernel.release.clone(),
        figures: events(lab, quick)?,
        batches: BTreeMap::from([(lab.kernel.release.clone(), batches(lab, quick)?)]),
    };
    println!("{}", all(&figures));
    let measured = lab.logs.join("bench.json");
    fs::write(&measured, figures.json()?)?;
    let file = documentation.join("bench.json");
    let committed: Figures =
        serde_json::from_slice(&fs::read(&file)?).context("the committed figures")?;
    let worse = figures.tell_changes(&committed);
    if update {
        figures = figures.in_place_of(committed);
        fs::write(&file, figures.json()?)?;
        chart::draw(&figures, &documentation.join("bench.svg"))?;
        insert(&documentation.join("benchmark.md"), &figures.summary())?;
    }
    println!(
        "{}: {} s; all figures in {}",
        lab.kernel.release,
        start.elapsed().as_secs(),
        measured.display()
    );
    Ok(if worse == 0 || update {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Prints the figures that are committed in `documentation`.
pub(crate) fn table(documentation: &Path) -> Result<ExitCode> {
    let json = fs::read(documentation.join("bench.json"))?;
    println!("{}", all(&serde_json::from_slice(&json)?));
    Ok(ExitCode::SUCCESS)
}

/// All figures, and the bounds.
fn all(figures: &Figures) -> String {
    figures.tables() + &tell_bounds(&figures.bounds())
}

/// What events cost, in instructions: on one processor.
fn events(lab: &Lab, quick: bool) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    measure(lab, 1, &Order::Bench { quick }, |report| match report {
        Report::Figure(figure) => {
            figures.push(figure);
            Ok(())
        }
        other => bail!("{other:?} where a figure was to come"),
    })?;
    Ok(figures)
}

/// What many addresses at once cost: on several processors, which the kernel may have to wait for.
fn batches(lab: &Lab, quick: bool) -> Result<Vec<Batch>> {
    const PROCESSORS: u32 = 2;
    let mut batches = Vec::new();
    let order = Order::Batches { quick };
    measure(lab, PROCESSORS, &order, |report| match report {
        Report::Batch(batch) => {
            batches.push(batch);
            Ok(())
        }
        other => bail!("{other:?} where a ratio was to come"),
    })?;
    Ok(batches)
}

/// Has a machine carry out an order, and takes its reports.
fn measure(
    lab: &Lab,
    cpus: u32,
    order: &Order,
    mut take: impl FnMut(Report) -> Result<()>,
) -> Result<()> {
    let mut vm = Vm::start(&Config {
        name: "bench",
        boot: lab.boot(),
        logs: &lab.logs,
        cpus,
        memory: 1024,
        devices: Vec::new(),
        count_instructions: cpus == 1,
        can_be_put_back: false,
    })?;
    // Next to other work, counting instructions takes longer but gives the same figures.
    vm.be_patient(5 * PATIENCE);
    vm.ready()?;
    vm.order(order)?;
    loop {
        match vm.report()? {
            Report::Note(note) => eprintln!("{note}"),
            Report::Done { .. } => break,
            report => take(report)?,
        }
    }
    let complaints = vm.finish()?;
    if !complaints.is_empty() {
        bail!("the kernel complained:\n{}", complaints.join("\n"));
    }
    Ok(())
}

const BEGIN: &str = "<!-- figures: make bench UPDATE=1 -->\n";
const END: &str = "<!-- end of figures -->";

/// Replaces what is between the marks of a document.
fn insert(document: &Path, figures: &str) -> Result<()> {
    let text = fs::read_to_string(document)?;
    let (before, rest) = text.split_once(BEGIN).context("no mark for the figures")?;
    let (_, after) = rest.split_once(END).context("no mark for their end")?;
    fs::write(
        document,
        format!("{before}{BEGIN}\n{figures}\n{END}{after}"),
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_shows_the_committed_figures() {
        let json = include_str!("../../../../Documentation/bench.json");
        let page = include_str!("../../../../Documentation/benchmark.md");
        let figures: Figures = serde_json::from_str(json).unwrap();
        let (_, rest) = page.split_once(BEGIN).unwrap();
        let (shown, _) = rest.split_once(END).unwrap();
        assert_eq!(shown, format!("\n{}\n", figures.summary()));
    }
}
