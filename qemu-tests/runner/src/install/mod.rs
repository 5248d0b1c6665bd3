// SPDX-License-Identifier: GPL-2.0

//! `make test-install`: tests the packages on a Debian system with systemd, set up as a real server.

mod disk;
mod lan;
mod site;
mod stories;

use crate::{
    arch::Arch,
    cases::{tell, Tally},
    lab::{Lab, System}, //
    pcap,
};
use anyhow::Result;
use protocol::{asked_for, Ended, Outcome};
use site::Site;
use std::{process::ExitCode, time::Instant};

/// Runs a case. Returns a note for the report.
type Story = fn(&mut Site<'_>) -> Result<String>;

/// The cases.
const CASES: &[(&str, Story)] = &[
    ("install_running", stories::running),
    ("install_boot", stories::boot),
    ("install_late", stories::late),
    ("install_upgrade", stories::upgrade),
    ("install_kernel", stories::kernel),
    ("install_purge", stories::purge),
    ("install_dkms", stories::dkms),
    ("install_check", stories::check),
];

/// Runs the cases that match the patterns and prints KTAP.
pub(crate) fn run(lab: &Lab, system: &System) -> Result<ExitCode> {
    let start = Instant::now();
    let cases = CASES
        .iter()
        .filter(|(name, _)| asked_for(name, &system.case));
    let mut site = Site::new(lab, system)?;
    println!("KTAP version 1");
    println!(
        "# {} to {}, {} in QEMU",
        site.older,
        site.newer,
        Arch::Amd64.accelerator()
    );
    let mut tally = Tally::new(&lab.kernel.release, &lab.logs);
    tally.plan(cases.clone().count())?;
    for (name, story) in cases {
        let start = Instant::now();
        site.begin();
        let (outcome, note) = match story(&mut site) {
            Ok(note) => (Outcome::Passed, Some(note)),
            Err(error) => {
                let why = format!("{error:#}\n{}", site.tell());
                (Outcome::Failed { why }, None)
            }
        };
        let ended = Ended {
            name: (*name).to_owned(),
            outcome,
            milliseconds: start.elapsed().as_millis() as u64,
            note,
        };
        let again = format!("make test-install CASE={name}");
        let frames = site.lan.frames();
        pcap::write(&lab.logs.join(format!("{name}.pcapng")), &frames)?;
        tell(&ended, &mut tally, &frames, &again)?;
    }
    Ok(tally.sum_up(start))
}
