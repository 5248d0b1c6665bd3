// SPDX-License-Identifier: GPL-2.0

//! The laboratory's host side: boots kernels with the module in QEMU and reports the results.

#![deny(unsafe_code)]

mod arch;
mod bench;
mod cases;
mod check;
mod cluster;
mod clusters;
mod demo;
mod initramfs;
mod install;
mod lab;
mod pcap;
mod recipe;
mod secure_boot;
mod selftests;
mod shell;
mod sum;
mod switch;
mod test;
mod traffic;
mod vm;

use anyhow::Result;
use clap::{Parser, Subcommand};
use lab::{Given, Lab, System};
use protocol::Order;
use std::{path::PathBuf, process::ExitCode};

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Run the cases on a booted kernel and print KTAP.
    Test {
        #[command(flatten)]
        given: Given,
        /// Only the cases whose names contain one of these patterns, separated by commas.
        #[arg(long, default_value = "")]
        case: String,
    },
    /// Create the folder that `check` runs the cases in.
    CheckRoot {
        /// The module, built for the running kernel.
        #[arg(long)]
        module: PathBuf,
        /// The folder.
        #[arg(long)]
        root: PathBuf,
    },
    /// Run the cases that do not need the machine to themselves on the running kernel and print KTAP.
    Check {
        /// The folder that `check-root` has created.
        #[arg(long)]
        root: PathBuf,
        /// The folder for pcaps.
        #[arg(long)]
        logs: PathBuf,
        /// Only the cases whose names contain one of these patterns, separated by commas.
        #[arg(long)]
        case: String,
    },
    /// Run the kernel's own networking tests without the module and with it.
    Selftests {
        #[command(flatten)]
        given: Given,
        /// The folder of the kernel's selftests.
        #[arg(long)]
        tests: PathBuf,
        /// Only the tests whose names contain one of these patterns, separated by commas.
        #[arg(long, default_value = "")]
        case: String,
    },
    /// Print the sum of several kernels' runs of `test`, and what failed or was skipped.
    Sum {
        /// The output of each run, as `<kernel>.tap`. Beside it, `<kernel>.kunit` is what the kernel's parser prints for it.
        files: Vec<PathBuf>,
    },
    /// Install, upgrade and purge the packages on a Debian system and print KTAP.
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
        /// The first cluster whose case's name contains this.
        #[arg(long, default_value = "cluster_dr_lo")]
        cluster: String,
        /// The README to write the session to.
        #[arg(long)]
        readme: Option<PathBuf>,
    },
    /// Open a shell on a machine.
    Shell {
        #[command(flatten)]
        given: Given,
        /// Boot the first cluster whose case's name contains this, instead of one machine with hosts as namespaces.
        #[arg(long)]
        cluster: Option<String>,
        /// The machine of the cluster.
        #[arg(long, default_value = "rs1")]
        on: String,
    },
    /// Count instructions per event.
    Bench {
        #[command(flatten)]
        given: Given,
        /// The folder of the committed figures.
        #[arg(long)]
        documentation: PathBuf,
        /// Measure only the smallest host.
        #[arg(long)]
        quick: bool,
        /// Write the new figures to the folder.
        #[arg(long)]
        update: bool,
    },
    /// Print the committed figures as tables.
    BenchTable {
        /// Their folder.
        #[arg(long)]
        documentation: PathBuf,
    },
    /// Compare a host with the reference model, with any number of random operations, and print KTAP.
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

fn main() -> Result<ExitCode> {
    match Cli::parse().command {
        Action::Test { given, case } => {
            test::run(&Lab::new(&given)?, &Order::Cases { patterns: case })
        }
        Action::CheckRoot { module, root } => {
            initramfs::make_root(&root, &module)?;
            Ok(ExitCode::SUCCESS)
        }
        Action::Check { root, logs, case } => check::run(&root, &logs, case),
        Action::Soak { given, seed, steps } => {
            let operations = steps;
            test::run(&Lab::new(&given)?, &Order::Soak { seed, operations })
        }
        Action::Selftests { given, tests, case } => {
            selftests::run(&Lab::new(&given)?, &given.kernel, &tests, &case)
        }
        Action::Sum { files } => sum::run(&files),
        Action::Install { given, system } => install::run(&Lab::new(&given)?, &system),
        Action::Shell { given, cluster, on } => {
            let lab = Lab::new(&given)?;
            match cluster {
                Some(pattern) => shell::cluster(&lab, &pattern, &on),
                None => shell::namespaces(&lab),
            }
        }
        Action::Demo {
            given,
            cluster,
            readme,
        } => demo::run(&Lab::new(&given)?, &cluster, readme.as_deref()),
        Action::Bench {
            given,
            documentation,
            quick,
            update,
        } => bench::run(&Lab::new(&given)?, &documentation, quick, update),
        Action::BenchTable { documentation } => bench::table(&documentation),
    }
}
