// SPDX-License-Identifier: GPL-2.0

//! `make bench`: what events cost, as tables and a chart, against the bounds that the module is to keep and
//! against the figures that were committed.

mod bounds;
mod changes;
mod chart;
mod figures;
mod names;
mod tables;

use crate::{
    lab::Lab,
    vm::{Config, Vm},
};
use anyhow::{bail, Context, Result};
use bounds::tell_bounds;
use figures::Figures;
use protocol::{Order, Report};
use std::{fs, path::Path, process::ExitCode, time::Instant};

/// Runs the benchmark. The figures are compared with those in `documentation`, and take their place if
/// `update` says so.
pub(crate) fn run(lab: &Lab, documentation: &Path, quick: bool, update: bool) -> Result<ExitCode> {
    let start = Instant::now();
    let figures = measure(lab, quick)?;
    let bounds = figures.bounds();
    let tables = figures.tables() + &tell_bounds(&bounds);
    println!("{tables}");
    fs::write(lab.logs.join("bench.json"), figures.json()?)?;
    let committed = documentation.join("bench.json");
    let worse = match fs::read(&committed) {
        Ok(json) => {
            let committed: Figures =
                serde_json::from_slice(&json).context("the committed figures")?;
            figures.tell_changes(&committed)
        }
        Err(_) => {
            println!(
                "{} does not exist: nothing to compare with",
                committed.display()
            );
            0
        }
    };
    if update {
        fs::write(&committed, figures.json()?)?;
        chart::draw(&figures, &documentation.join("bench.svg"))?;
        insert(&documentation.join("benchmark.md"), &tables)?;
    }
    println!(
        "{}: {} s; all figures in {}",
        figures.kernel,
        start.elapsed().as_secs(),
        lab.logs.join("bench.json").display()
    );
    Ok(if worse == 0 || update {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn measure(lab: &Lab, quick: bool) -> Result<Figures> {
    let mut vm = Vm::start(&Config {
        name: "bench",
        boot: lab.boot(),
        logs: &lab.logs,
        cpus: 1,
        memory: 1024,
        devices: Vec::new(),
        count_instructions: true,
        can_be_put_back: false,
    })?;
    vm.ready()?;
    vm.order(&Order::Bench { quick })?;
    let mut figures = Vec::new();
    loop {
        match vm.report()? {
            Report::Note(note) => eprintln!("{note}"),
            Report::Figure(figure) => figures.push(figure),
            Report::Done { .. } => break,
            other => bail!("{other:?} where a figure was to come"),
        }
    }
    let complaints = vm.finish()?;
    if !complaints.is_empty() {
        bail!("the kernel complained:\n{}", complaints.join("\n"));
    }
    Ok(Figures {
        kernel: lab.kernel.release.clone(),
        figures,
    })
}

/// Puts the tables between the marks of a document.
fn insert(document: &Path, tables: &str) -> Result<()> {
    const BEGIN: &str = "<!-- figures: make bench UPDATE=1 -->\n";
    const END: &str = "<!-- end of figures -->";
    let text = fs::read_to_string(document)?;
    let (before, rest) = text.split_once(BEGIN).context("no mark for the figures")?;
    let (_, after) = rest.split_once(END).context("no mark for their end")?;
    fs::write(document, format!("{before}{BEGIN}\n{tables}\n{END}{after}"))?;
    Ok(())
}
