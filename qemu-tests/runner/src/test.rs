// SPDX-License-Identifier: GPL-2.0

//! `make test`: the cases on a booted kernel, as KTAP.

use crate::{
    vm::{accelerator, splats, Config, Vm},
    Lab, //
};
use anyhow::{bail, Result};
use pcap_file::{
    pcapng::{
        blocks::{
            enhanced_packet::EnhancedPacketBlock,
            interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption},
        },
        PcapNgWriter,
    },
    DataLink,
};
use protocol::{Ended, Frame, Order, Outcome, Report};
use std::{
    borrow::Cow,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

/// Runs the cases whose names contain `pattern`.
pub(crate) fn run(lab: &Lab, pattern: &str) -> Result<ExitCode> {
    let start = Instant::now();
    let release = &lab.kernel.release;
    println!("KTAP version 1");
    println!("# kernel {release}, {} in QEMU", accelerator());
    let mut vm = Vm::start(&Config {
        name: "test",
        kernel: &lab.kernel.binary(),
        initramfs: &lab.initramfs,
        logs: &lab.logs,
        cpus: 2,
        memory: 768,
        devices: Vec::new(),
    })?;
    let mut tally = Tally::default();
    let ended = cases(&mut vm, lab, pattern, &mut tally).and_then(|()| vm.finish());
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

#[derive(Default)]
struct Tally {
    planned: usize,
    number: usize,
    passed: usize,
    failed: usize,
    skipped: usize,
}

fn cases(vm: &mut Vm, lab: &Lab, pattern: &str, tally: &mut Tally) -> Result<()> {
    vm.ready()?;
    vm.order(&Order::Cases {
        pattern: pattern.to_owned(),
    })?;
    let mut frames = Vec::new();
    loop {
        match vm.report()? {
            Report::Plan(0) => bail!("no case has '{pattern}' in its name"),
            Report::Plan(cases) => {
                tally.planned = cases + 1;
                println!("1..{}", tally.planned);
            }
            Report::Frame(frame) => frames.push(frame),
            Report::Ended(case) => {
                tally.number += 1;
                tell(&case, tally, &frames, lab)?;
                frames.clear();
            }
            Report::Done { .. } => return Ok(()),
            Report::Ready => bail!("the machine started again"),
        }
    }
}

fn tell(case: &Ended, tally: &mut Tally, frames: &[Frame], lab: &Lab) -> Result<()> {
    let (number, name, ms) = (tally.number, &case.name, case.milliseconds);
    match &case.outcome {
        Outcome::Passed => {
            tally.passed += 1;
            println!("ok {number} {name} # {ms} ms");
        }
        Outcome::Skipped { why } => {
            tally.skipped += 1;
            println!("ok {number} {name} # SKIP {why}");
        }
        Outcome::Failed { why } => {
            tally.failed += 1;
            println!("not ok {number} {name} # {ms} ms");
            for line in why.lines() {
                println!("#   {line}");
            }
            if !frames.is_empty() {
                println!(
                    "#   pcap: {}",
                    write_pcap(name, frames, &lab.logs)?.display()
                );
            }
            println!(
                "#   again: make test KERNEL={} CASE={name}",
                lab.kernel.release
            );
        }
    }
    Ok(())
}

/// Writes what a case saw, an interface for each wire; Wireshark opens it.
fn write_pcap(name: &str, frames: &[Frame], logs: &Path) -> Result<PathBuf> {
    let path = logs.join(format!("{name}.pcapng"));
    let mut writer = PcapNgWriter::new(fs::File::create(&path)?)?;
    let mut wires: Vec<&str> = Vec::new();
    for frame in frames {
        let wire = match wires.iter().position(|wire| *wire == frame.wire) {
            Some(known) => known,
            None => {
                writer.write_pcapng_block(InterfaceDescriptionBlock {
                    linktype: DataLink::ETHERNET,
                    snaplen: 0,
                    options: vec![InterfaceDescriptionOption::IfName(Cow::Borrowed(
                        &frame.wire,
                    ))],
                })?;
                wires.push(&frame.wire);
                wires.len() - 1
            }
        };
        writer.write_pcapng_block(EnhancedPacketBlock {
            interface_id: wire as u32,
            // The format's unit is a microsecond; the crate takes it for a nanosecond.
            timestamp: Duration::from_nanos(frame.microseconds),
            original_len: frame.bytes.len() as u32,
            data: Cow::Borrowed(&frame.bytes),
            options: Vec::new(),
        })?;
    }
    Ok(path)
}
