// SPDX-License-Identifier: GPL-2.0

//! A virtual machine: a QEMU process, its console in a log, and a serial line on which its PID 1 takes orders.

mod boot;
mod complaints;
mod monitor;

use anyhow::{bail, Context, Result};
use monitor::Monitor;
use protocol::{Order, Report};
use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{channel, Receiver, RecvTimeoutError},
    thread,
    time::Duration,
};

pub(crate) use boot::{command_line, Boot, OUR_INIT};
pub(crate) use complaints::{is_splat, splats, splats_in};

/// A machine that reports nothing for this long counts as hanging. [`Vm::be_patient`] gives it more time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// How to start a machine.
pub(crate) struct Config<'a> {
    /// Its name, for messages.
    pub(crate) name: &'a str,
    /// How it boots.
    pub(crate) boot: Boot<'a>,
    /// The folder for `<name>.console` and `<name>.qemu`.
    pub(crate) logs: &'a Path,
    /// Number of processors.
    pub(crate) cpus: u32,
    /// Memory in MiB.
    pub(crate) memory: u32,
    /// More arguments for QEMU, such as network devices.
    pub(crate) devices: Vec<String>,
    /// Emulate one processor so that its clocks, including the time stamp counter, count instructions: one per
    /// nanosecond. Idle time is skipped. The load of the real machine has no influence.
    pub(crate) count_instructions: bool,
    /// Whether [`Vm::keep`] and [`Vm::put_back`] work.
    pub(crate) can_be_put_back: bool,
}

/// Sends an order to a guest.
pub(crate) fn write_order(to: &mut impl Write, order: &Order) -> io::Result<()> {
    let mut line = serde_json::to_vec(order)?;
    line.push(b'\n');
    to.write_all(&line)?;
    to.flush()
}

/// Passes a guest's reports on until it ends, or until `to` returns false.
pub(crate) fn pass_on(reports: impl Read, mut to: impl FnMut(Report) -> bool) {
    for line in BufReader::new(reports).split(b'\n').map_while(Result::ok) {
        // Firmware and the early kernel may write to any port: skip whatever is not a report.
        if let Ok(report) = serde_json::from_slice(line.trim_ascii()) {
            if !to(report) {
                break;
            }
        }
    }
}

/// A running machine. Dropping it kills QEMU.
pub(crate) struct Vm {
    name: String,
    qemu: Child,
    orders: ChildStdin,
    reports: Receiver<Report>,
    console: PathBuf,
    /// How many bytes of the console [`Self::complaints`] has read.
    looked_through: usize,
    monitor: Option<Monitor>,
    patience: Duration,
}

impl Vm {
    /// Starts a machine and returns while it boots. [`Self::ready`] waits for it.
    pub(crate) fn start(config: &Config<'_>) -> Result<Self> {
        let arch = config.boot.arch();
        let accel = if config.count_instructions {
            "tcg"
        } else {
            arch.accelerator()
        };
        let cpu = if accel == "kvm" {
            "host"
        } else {
            arch.emulated()
        };
        let log = |extension| config.logs.join(format!("{}.{extension}", config.name));
        let monitor = config
            .can_be_put_back
            .then(|| Monitor::new(log("qcow2"), PATIENCE))
            .transpose()?;
        let console = log("console");
        let mut qemu = Command::new(arch.qemu())
            .args(["-machine", &format!("{},accel={accel}", arch.machine())])
            .args(["-cpu", cpu])
            .args(["-smp", &config.cpus.to_string()])
            .args(["-m", &config.memory.to_string()])
            .args(["-nodefaults", "-display", "none", "-no-reboot"])
            .args(config.boot.arguments())
            .arg("-serial")
            .arg(format!("file:{}", console.display()))
            .args(["-chardev", "stdio,id=orders,signal=off"])
            .args(["-serial", "chardev:orders"])
            .args(&config.devices)
            .args(monitor.iter().flat_map(|(near, far)| near.arguments(far)))
            .args(if config.count_instructions {
                &["-icount", "shift=0,sleep=off"][..]
            } else {
                &[]
            })
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(log("qemu"))?)
            .spawn()
            .with_context(|| format!("cannot start {}", arch.qemu()))?;
        let orders = qemu.stdin.take().context("no input")?;
        let output = qemu.stdout.take().context("no output")?;
        let (sender, reports) = channel();
        // Ends with QEMU, or with the receiver.
        thread::spawn(move || pass_on(output, |report| sender.send(report).is_ok()));
        Ok(Self {
            name: config.name.to_owned(),
            qemu,
            orders,
            reports,
            console,
            looked_through: 0,
            monitor: monitor.map(|(near, _)| near),
            patience: PATIENCE,
        })
    }

    /// Changes how long the machine may report nothing before it counts as hanging.
    pub(crate) fn be_patient(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Waits until the machine takes orders.
    pub(crate) fn ready(&mut self) -> Result<()> {
        match self.report()? {
            Report::Ready => Ok(()),
            other => bail!("{}: expected Ready, got {other:?}", self.name),
        }
    }

    /// Sends an order.
    pub(crate) fn order(&mut self, order: &Order) -> Result<()> {
        write_order(&mut self.orders, order)
            .with_context(|| format!("{} does not take orders any more", self.name))
    }

    /// Returns the next report. Fails if the machine has ended or hangs.
    pub(crate) fn report(&mut self) -> Result<Report> {
        let why = match self.reports.recv_timeout(self.patience) {
            Ok(report) => return Ok(report),
            Err(RecvTimeoutError::Timeout) => {
                format!("hangs (no report for {} s)", self.patience.as_secs())
            }
            Err(RecvTimeoutError::Disconnected) => "ended unexpectedly".to_owned(),
        };
        let log = fs::read(&self.console).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let tail: Vec<&str> = log.lines().rev().take(40).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        let qemu = fs::read_to_string(self.console.with_extension("qemu")).unwrap_or_default();
        bail!(
            "{} {why}. The end of its console:\n{}\n{qemu}",
            self.name,
            tail.join("\n")
        )
    }

    /// Starts a command line in the machine's shell. [`Self::end`] waits for it.
    pub(crate) fn begin(&mut self, command: &str) -> Result<()> {
        self.order(&Order::Shell {
            command: command.to_owned(),
        })
    }

    /// Waits for the command line that [`Self::begin`] started. Returns its exit status and output.
    pub(crate) fn end(&mut self) -> Result<(i32, String)> {
        match self.report()? {
            Report::Done { status, output } => Ok((status, output)),
            other => bail!("{}: expected Done, got {other:?}", self.name),
        }
    }

    /// Runs a command line in the machine's shell. Returns its exit status and output.
    pub(crate) fn try_shell(&mut self, command: &str) -> Result<(i32, String)> {
        self.begin(command)?;
        self.end()
    }

    /// Runs a command line that must succeed. Returns its output.
    pub(crate) fn shell(&mut self, command: &str) -> Result<String> {
        let (status, output) = self.try_shell(command)?;
        if status != 0 {
            bail!("{}# {command}\nexit status {status}\n{output}", self.name);
        }
        Ok(output)
    }

    /// Saves the machine's state, for [`Self::put_back`].
    pub(crate) fn keep(&mut self) -> Result<()> {
        self.monitor()?.keep()
    }

    /// Stops the machine until it is put back.
    pub(crate) fn halt(&mut self) -> Result<()> {
        self.monitor()?.halt()
    }

    fn monitor(&mut self) -> Result<&mut Monitor> {
        self.monitor.as_mut().context("no monitor")
    }

    /// Puts the machine back into the state that was saved, whatever it is doing.
    pub(crate) fn put_back(&mut self) -> Result<()> {
        self.monitor()?.put_back()?;
        // A report on an order from before may still be in the pipe.
        let mark = format!("{:?}", std::time::Instant::now());
        self.begin(&format!("echo '{mark}'"))?;
        loop {
            match self.report()? {
                Report::Done { output, .. } if output.trim_end() == mark => return Ok(()),
                _ => {}
            }
        }
    }

    /// Returns the kernel's complaints since the last call.
    pub(crate) fn complaints(&mut self) -> Vec<String> {
        let log = fs::read(&self.console).unwrap_or_default();
        let new = String::from_utf8_lossy(&log[self.looked_through.min(log.len())..]).into_owned();
        self.looked_through = log.len();
        splats_in(&new)
    }

    /// Switches the machine off. Returns all complaints of its kernel.
    pub(crate) fn finish(mut self) -> Result<Vec<String>> {
        self.order(&Order::Off)?;
        // QEMU closes the line when it ends.
        while self.reports.recv_timeout(self.patience).is_ok() {}
        drop(self.qemu.kill());
        self.qemu.wait()?;
        Ok(splats(&self.console))
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        drop(self.qemu.kill());
        drop(self.qemu.wait());
    }
}
