// SPDX-License-Identifier: GPL-2.0

//! The laboratory's host side: boots stock kernels with the module in QEMU and reports what they show.

#![deny(unsafe_code)]

mod arch;
mod bench;
mod chart;
mod cluster;
mod clusters;
mod demo;
mod initramfs;
mod install;
mod pcap;
mod recipe;
mod secure_boot;
mod selftests;
mod switch;
mod test;
mod traffic;
mod vm;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use initramfs::Kernel;
use protocol::Order;
use std::{
    fs,
    path::PathBuf,
    process::ExitCode, //
};
use vm::{Boot, OUR_INIT};

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Run the cases on a booted kernel; KTAP on standard output.
    Test {
        #[command(flatten)]
        given: Given,
        /// Only the cases whose names contain one of these, which commas separate.
        #[arg(long, default_value = "")]
        case: String,
    },
    /// Run the kernel's own networking tests, without the module and with it.
    Selftests {
        #[command(flatten)]
        given: Given,
        /// The folder of the kernel's selftests.
        #[arg(long)]
        tests: PathBuf,
        /// Only the tests whose names contain one of these, which commas separate.
        #[arg(long, default_value = "")]
        case: String,
    },
    /// Install, upgrade and purge the packages on a Debian system; KTAP on standard output.
    Install {
        #[command(flatten)]
        given: Given,
        #[command(flatten)]
        system: System,
    },
    /// Show a cluster without the module and with it.
    Demo {
        #[command(flatten)]
        given: Given,
        /// The first whose case's name contains this.
        #[arg(long, default_value = "cluster_dr_lo")]
        cluster: String,
    },
    /// Count what events cost.
    Bench {
        #[command(flatten)]
        given: Given,
        /// The folder of the figures that are committed.
        #[arg(long)]
        documentation: PathBuf,
        /// Only the smallest host.
        #[arg(long)]
        quick: bool,
        /// Put the new figures into the folder.
        #[arg(long)]
        update: bool,
    },
    /// Compare a host with the reference model: as `test`, with as many random operations as one likes.
    Soak {
        #[command(flatten)]
        given: Given,
        /// The first seed.
        #[arg(long)]
        seed: u64,
        /// The number of operations.
        #[arg(long)]
        steps: usize,
    },
}

/// What `install` works with besides.
#[derive(Args)]
struct System {
    /// The folder of the system, as scripts/system-image made it.
    #[arg(long)]
    system: PathBuf,
    /// The folder with the packages.
    #[arg(long)]
    packages: PathBuf,
    /// The folder with a later version of the packages.
    #[arg(long)]
    later: PathBuf,
    /// Only the cases whose names contain one of these, which commas separate.
    #[arg(long, default_value = "")]
    case: String,
}

/// What every action works with.
#[derive(Args)]
struct Given {
    /// The folder of the kernel, as scripts/kernel made it.
    #[arg(long)]
    kernel: PathBuf,
    /// The module, built for that kernel; the tests' own modules and programs lie beside it.
    #[arg(long)]
    module: PathBuf,
}

/// What every action needs to start machines.
struct Lab {
    kernel: Kernel,
    module: PathBuf,
    initramfs: PathBuf,
    /// Where consoles, logs and pcaps go.
    logs: PathBuf,
}

impl Lab {
    /// Makes the machines' root. Logs and pcaps go to `lab/` beside the module.
    fn new(given: &Given) -> Result<Self> {
        let kernel = Kernel::at(&given.kernel)?;
        let logs = given
            .module
            .parent()
            .context("the module is in no folder")?
            .join("lab");
        fs::create_dir_all(&logs)?;
        let mut guest = std::env::current_exe()?.with_file_name("guest");
        if !kernel.arch().is_own() {
            // Cargo's folder for another target.
            let target = guest.ancestors().nth(2).context("no target folder")?;
            guest = target.join(kernel.arch().target()).join("release/guest");
        }
        let beside = ["holder.ko", "fentry.o"].map(|name| given.module.with_file_name(name));
        let files = [&*given.module, &beside[0], &beside[1]];
        let initramfs = initramfs::make(&kernel, &files, &guest, &logs)?;
        Ok(Self {
            kernel,
            module: given.module.clone(),
            initramfs,
            logs,
        })
    }

    /// How a machine boots the kernel, with the guest as PID 1.
    fn boot(&self) -> Boot<'_> {
        Boot::Kernel {
            arch: self.kernel.arch(),
            binary: &self.kernel.binary,
            initramfs: &self.initramfs,
            options: OUR_INIT,
        }
    }
}

fn main() -> Result<ExitCode> {
    match Cli::parse().command {
        Action::Test { given, case } => {
            test::run(&Lab::new(&given)?, &Order::Cases { patterns: case })
        }
        Action::Soak { given, seed, steps } => {
            let operations = steps;
            test::run(&Lab::new(&given)?, &Order::Soak { seed, operations })
        }
        Action::Selftests { given, tests, case } => {
            selftests::run(&Lab::new(&given)?, &given.kernel, &tests, &case)
        }
        Action::Install { given, system } => install::run(&Lab::new(&given)?, &system),
        Action::Demo { given, cluster } => demo::run(&Lab::new(&given)?, &cluster),
        Action::Bench {
            given,
            documentation,
            quick,
            update,
        } => bench::run(&Lab::new(&given)?, &documentation, quick, update),
    }
}
