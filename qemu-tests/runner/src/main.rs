// SPDX-License-Identifier: GPL-2.0

//! The laboratory's host side: boots stock kernels with the module in QEMU and reports what they show.

#![deny(unsafe_code)]

mod arch;
mod bench;
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
    /// Run the cases on a booted kernel; KTAP on standard output.
    Test {
        #[command(flatten)]
        given: Given,
        /// Only the cases whose names contain one of these, which commas separate.
        #[arg(long, default_value = "")]
        case: String,
    },
    /// Make the folder that `check` runs the cases in.
    CheckRoot {
        /// The module, built for the kernel that they are to run on.
        #[arg(long)]
        module: PathBuf,
        /// The folder.
        #[arg(long)]
        root: PathBuf,
    },
    /// Run the cases that need no machine to themselves on the kernel that is running; KTAP on standard output.
    Check {
        /// The folder that `check-root` has made.
        #[arg(long)]
        root: PathBuf,
        /// Where pcaps go.
        #[arg(long)]
        logs: PathBuf,
        /// Only the cases whose names contain one of these, which commas separate.
        #[arg(long)]
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
    /// Print the sum of several kernels' runs of `test`, and what failed or was skipped.
    Sum {
        /// What each run printed, as `<kernel>.tap`; beside it `<kernel>.kunit`, what the kernel's parser made of it.
        files: Vec<PathBuf>,
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
        /// The README that the session is put into.
        #[arg(long)]
        readme: Option<PathBuf>,
    },
    /// Give the user a shell on a machine.
    Shell {
        #[command(flatten)]
        given: Given,
        /// A whole cluster: the first whose case's name contains this. Otherwise one machine, with hosts as namespaces.
        #[arg(long)]
        cluster: Option<String>,
        /// The machine of the cluster.
        #[arg(long, default_value = "rs1")]
        on: String,
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
    /// Print the committed figures as tables.
    BenchTable {
        /// Their folder.
        #[arg(long)]
        documentation: PathBuf,
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
