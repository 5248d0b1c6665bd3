// SPDX-License-Identifier: GPL-2.0

//! `make test-selftests`: runs the kernel's own networking tests without the module, with it, and with its flags set.
//!
//! They are scripts that need a complete system, so the virtual machine's root is the build environment, read-only over 9p,
//! with a file system in memory on top. One of them does not run on a tainted kernel. The module taints the kernel, so the
//! tests see a file that says it is not tainted; complaints are read from the kernel log.

use crate::{
    lab::Lab, //
    vm::{Config, Vm},
};
use anyhow::Result;
use protocol::asked_for;
use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

/// The tests of what the module hooks.
const TESTS: &[&str] = &[
    "net/arp_ndisc_evict_nocarrier.sh",
    "net/arp_ndisc_untracked_subnets.sh",
    "net/route_localnet.sh",
    "net/netns-sysctl.sh",
    "net/altnames.sh",
    "net/netfilter/br_netfilter.sh",
    "net/netfilter/ipvs.sh",
    "net/netfilter/nft_nat.sh",
    "net/rtnetlink.sh",
    "net/test_bridge_neigh_suppress.sh",
    "net/fib_tests.sh",
    "net/fcnal-test.sh -t ipv4_ping",
    "net/fcnal-test.sh -t ipv4_tcp",
    "net/fcnal-test.sh -t ipv4_udp",
    "net/fcnal-test.sh -t ipv4_bind",
    "net/fcnal-test.sh -t ipv4_runtime",
    "net/fcnal-test.sh -t ipv4_netfilter",
];

/// A test that takes longer than this, in seconds, is stopped and has failed.
const LIMIT: u32 = 2400;

/// The states of the module in which the tests run, and the commands that establish them, in the machine's own root.
const STATES: [(&str, &str); 3] = [
    ("without the module", "true"),
    ("loaded, flags 0", "insmod /arp_hidden.ko"),
    (
        // A new namespace inherits the flags of the first one, and a new device those of `default`.
        "all devices hidden",
        "cd /proc/sys/net/ipv4/conf && echo 1 >all/hidden && echo 1 >default/hidden && echo 1 >lo/hidden",
    ),
];

/// The result of a test: its exit status, the lines that report failures, and how many report a success.
#[derive(PartialEq, Eq)]
struct Came {
    status: i32,
    failures: BTreeSet<String>,
    passed: usize,
}

impl Came {
    fn of(status: i32, output: &str) -> Self {
        let is = |line: &str, words: &[&str]| words.iter().any(|word| line.contains(word));
        let lines = || output.lines().map(str::trim);
        // Collapse spaces: columns differ from run to run.
        let plain = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        Self {
            status,
            failures: lines()
                .filter(|line| is(line, &["[FAIL]", "FAIL:", "ERROR:"]))
                .map(plain)
                .collect(),
            passed: lines()
                .filter(|line| is(line, &["[ OK ]", "[ OK  ]", "[  OK  ]", "PASS:", "ok"]))
                .count(),
        }
    }

    fn tell(&self) -> String {
        let verdict = match self.status {
            0 => "pass",
            4 => "skip",
            124 => "time",
            _ => "fail",
        };
        format!("{verdict} {}/{}", self.passed, self.failures.len())
    }
}

/// Runs the tests in each state on one machine. Prints a table, and the failures that occur only with the module.
pub(crate) fn run(lab: &Lab, kernel: &Path, tests: &Path, patterns: &str) -> Result<ExitCode> {
    let mut vm = Vm::start(&Config {
        name: "selftests",
        boot: lab.boot(),
        logs: &lab.logs,
        cpus: 2,
        memory: 4096,
        devices: vec![
            "-virtfs".to_owned(),
            "local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap"
                .to_owned(),
        ],
        count_instructions: false,
        can_be_put_back: false,
    })?;
    vm.be_patient(Duration::from_secs(u64::from(LIMIT) + 300));
    vm.ready()?;
    let modules = kernel.join("modules/lib/modules");
    vm.shell(&format!(
        "set -e; modprobe -q virtio_pci || true; modprobe -a 9pnet_virtio 9p overlay; mkdir -p /host /over /root
        mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose root /host
        mount -t tmpfs over /over; mkdir /over/upper /over/work
        mount -t overlay -o lowerdir=/host,upperdir=/over/upper,workdir=/over/work root /root
        for dir in proc sys dev tmp run; do mkdir -p /root/$dir; mount --rbind /$dir /root/$dir; done
        mkdir -p /root/lib/modules; mount --bind /root{modules} /root/lib/modules
        mount --bind /root{modules} /lib/modules
        echo 0 >/untainted; mount --bind /untainted /root/proc/sys/kernel/tainted
        echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6; echo 0 >/proc/sys/net/ipv6/conf/all/disable_ipv6",
        modules = modules.display()
    ))?;
    let wanted: Vec<&str> = TESTS
        .iter()
        .copied()
        .filter(|test| asked_for(test, patterns))
        .collect();
    let mut results: Vec<Vec<Came>> = wanted.iter().map(|_| Vec::new()).collect();
    for (state, set_up) in STATES {
        vm.shell(set_up)?;
        for (test, results) in wanted.iter().zip(&mut results) {
            let (file, arguments) = test.split_once(' ').unwrap_or((test, ""));
            let (folder, name) = file.rsplit_once('/').unwrap_or((".", file));
            let start = Instant::now();
            let (status, output) = vm.try_shell(&format!(
                "chroot /root /bin/bash -c 'cd {}/{folder} && PATH=$PWD:/usr/sbin:/usr/bin:/sbin:/bin \
                 timeout -k 10 {LIMIT} ./{name} {arguments} </dev/null'",
                tests.display()
            ))?;
            let log = format!("{name}{}-{state}.log", arguments.replace(' ', "_"));
            fs::write(lab.logs.join(log.replace([' ', ','], "_")), &output)?;
            let result = Came::of(status, &output);
            eprintln!(
                "{test}, {state}: {}, {} s",
                result.tell(),
                start.elapsed().as_secs()
            );
            results.push(result);
        }
    }
    let complaints = vm.finish()?;
    let mut differs = false;
    println!("verdict, passed/failed parts:");
    let states: Vec<String> = STATES
        .iter()
        .map(|(state, _)| format!("{state:<20}"))
        .collect();
    println!("{:<40} {}", "", states.join(" "));
    for (test, results) in wanted.iter().zip(&results) {
        let told: Vec<String> = results
            .iter()
            .map(|result| format!("{:<20}", result.tell()))
            .collect();
        println!("{test:<40} {}", told.join(" "));
        let [first, others @ ..] = &results[..] else {
            continue;
        };
        for (other, (state, _)) in others.iter().zip(&STATES[1..]) {
            differs |= (other.status == 0) != (first.status == 0);
            for line in other.failures.difference(&first.failures) {
                differs = true;
                println!("    {state}: {line}");
            }
        }
    }
    for line in &complaints {
        println!("# {line}");
    }
    println!("logs in {}", lab.logs.display());
    Ok(if differs || !complaints.is_empty() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
