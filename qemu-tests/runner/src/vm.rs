// SPDX-License-Identifier: GPL-2.0

//! A virtual machine: one QEMU, its console in a log, and the line by which its PID 1 takes orders.

use crate::arch::Arch;
use anyhow::{bail, ensure, Context, Result};
use nix::fcntl::{fcntl, FcntlArg, FdFlag};
use protocol::{Order, Report};
use serde_json::{json, Value};
use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    os::{fd::AsRawFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{channel, Receiver, RecvTimeoutError},
    thread,
    time::Duration,
};

/// A machine that says nothing for this long hangs, if it is not given more time ([`Vm::be_patient`]).
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// What the kernel prints when something is wrong with it.
const SPLATS: &[&str] = &[
    "BUG:",
    "WARNING:",
    "INFO: possible",
    "INFO: rcu",
    "INFO: task",
    "INFO: trying to register non-static key",
    "INFO: suspicious",
    "Oops",
    "Call Trace",
    "kernel BUG",
    "Kernel panic",
    "general protection fault",
    "unregister_netdevice: waiting",
    "refcount_t:",
    "suspected memory leaks",
    "kmemleak: Kernel memory leak detector disabled",
    "ODEBUG:",
    "UBSAN:",
    "ref_tracker:",
    "lockdep is turned off",
    "turning off the locking correctness validator",
    "rcu_scheduler_active",
    "soft lockup",
    "scheduling while atomic",
    "suspicious RCU usage",
    "panicked at",
    "Unable to handle",
];

/// How a machine comes to its kernel.
pub(crate) enum Boot<'a> {
    /// QEMU loads it.
    Kernel {
        /// The processor that it is for.
        arch: Arch,
        /// The kernel's binary.
        binary: &'a Path,
        /// Its root, or what finds that.
        initramfs: &'a Path,
        /// Where on its command line PID 1 is, and what else it shall know.
        options: &'a str,
    },
    /// UEFI firmware with Secure Boot loads what it finds in the system partition, if it trusts that.
    SecureBoot {
        /// The firmware's variables: its keys among them.
        variables: &'a Path,
        /// The folder with the contents of the partition.
        partition: &'a Path,
    },
}

impl Boot<'_> {
    fn arch(&self) -> Arch {
        match self {
            Boot::Kernel { arch, .. } => *arch,
            Boot::SecureBoot { .. } => Arch::Amd64,
        }
    }

    fn arguments(&self) -> Vec<String> {
        match self {
            Boot::Kernel {
                arch,
                binary,
                initramfs,
                options,
            } => vec![
                "-kernel".to_owned(),
                binary.display().to_string(),
                "-initrd".to_owned(),
                initramfs.display().to_string(),
                "-append".to_owned(),
                format!("{} {options}", command_line(*arch)),
            ],
            // The variables can be written in system management mode only: that is what makes it secure.
            Boot::SecureBoot {
                variables,
                partition,
            } => [
                "-machine smm=on",
                "-global driver=cfi.pflash01,property=secure,value=on",
                "-global ICH9-LPC.disable_s3=1",
                "-drive if=pflash,unit=0,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.ms.fd",
            ]
            .iter()
            .flat_map(|argument| argument.split(' '))
            .map(str::to_owned)
            .chain([
                "-drive".to_owned(),
                format!("if=pflash,unit=1,format=raw,file={}", variables.display()),
                "-drive".to_owned(),
                format!(
                    "if=none,id=esp,format=raw,readonly=on,file=fat:{}",
                    partition.display()
                ),
                "-device".to_owned(),
                "virtio-blk-pci,drive=esp,bootindex=1".to_owned(),
            ])
            .collect(),
        }
    }
}

/// What every kernel's command line begins with.
pub(crate) fn command_line(arch: Arch) -> String {
    format!("console={} oops=panic panic=-1", arch.console())
}

/// PID 1 of a machine whose root is the laboratory's own ([`crate::initramfs`]).
pub(crate) const OUR_INIT: &str = "rdinit=/init";

/// How to start a machine.
pub(crate) struct Config<'a> {
    /// Its name, for messages.
    pub(crate) name: &'a str,
    /// How it comes to its kernel.
    pub(crate) boot: Boot<'a>,
    /// Where the console's log goes: `<logs>/<name>.console`.
    pub(crate) logs: &'a Path,
    /// Virtual processors.
    pub(crate) cpus: u32,
    /// Memory in MiB.
    pub(crate) memory: u32,
    /// More arguments of QEMU's: network devices.
    pub(crate) devices: Vec<String>,
    /// Emulate the processor, one, so that a nanosecond of its time is an instruction: its clocks, the time
    /// stamp counter among them, count instructions, and jump over what would be waited for. It does not
    /// depend on the load of the machine that it runs on.
    pub(crate) count_instructions: bool,
    /// Let [`Vm::keep`] and [`Vm::put_back`] work.
    pub(crate) can_be_put_back: bool,
}

/// Writes an order to where a guest reads it.
pub(crate) fn write_order(to: &mut impl Write, order: &Order) -> io::Result<()> {
    let mut line = serde_json::to_vec(order)?;
    line.push(b'\n');
    to.write_all(&line)?;
    to.flush()
}

/// Passes on what a guest reports, until it ends or nobody takes it.
pub(crate) fn pass_on(reports: impl Read, mut to: impl FnMut(Report) -> bool) {
    for line in BufReader::new(reports).split(b'\n').map_while(Result::ok) {
        // Firmware and early kernel may write to any port: what is no report is none.
        if let Ok(report) = serde_json::from_slice(line.trim_ascii()) {
            if !to(report) {
                break;
            }
        }
    }
}

/// A running machine. It is killed when it is dropped.
pub(crate) struct Vm {
    name: String,
    qemu: Child,
    orders: ChildStdin,
    reports: Receiver<Report>,
    console: PathBuf,
    /// How much of the console has been looked through.
    looked_through: usize,
    monitor: Option<Monitor>,
    patience: Duration,
}

/// QEMU's own line, and the image that it keeps the machine's state in.
struct Monitor {
    line: BufReader<UnixStream>,
    image: PathBuf,
}

/// The name of the state that is kept.
const KEPT: &str = "kept";

impl Vm {
    /// Starts a machine; it boots while the caller goes on. [`Self::ready`] waits for it.
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
        let (line, far) = UnixStream::pair()?;
        line.set_read_timeout(Some(PATIENCE))?;
        let image = config.logs.join(format!("{}.qcow2", config.name));
        let mut keeping = Vec::new();
        if config.can_be_put_back {
            // QEMU inherits it.
            fcntl(&far, FcntlArg::F_SETFD(FdFlag::empty()))?;
            let made = Command::new("qemu-img")
                .args(["create", "-q", "-f", "qcow2"])
                .arg(&image)
                .arg("1M")
                .status();
            let made = made.context("cannot run qemu-img")?;
            ensure!(made.success(), "qemu-img cannot make {}", image.display());
            keeping = vec![
                "-chardev".to_owned(),
                format!("socket,id=monitor,fd={}", far.as_raw_fd()),
                "-mon".to_owned(),
                "chardev=monitor,mode=control".to_owned(),
                "-drive".to_owned(),
                format!(
                    "if=none,id=state,format=qcow2,cache=unsafe,file={}",
                    image.display()
                ),
            ];
        }
        let console = config.logs.join(format!("{}.console", config.name));
        let mut qemu = Command::new(arch.qemu())
            .args(["-machine", &format!("{},accel={accel}", arch.machine())])
            .args(["-cpu", cpu])
            .args(["-smp", &config.cpus.to_string()])
            .args(["-m", &config.memory.to_string()])
            .args(["-nodefaults", "-display", "none", "-no-reboot"])
            .args(config.boot.arguments())
            .arg("-serial")
            .arg(format!("file:{}", console.display()))
            .args([
                "-chardev",
                "stdio,id=orders,signal=off",
                "-serial",
                "chardev:orders",
            ])
            .args(&config.devices)
            .args(&keeping)
            .args(if config.count_instructions {
                &["-icount", "shift=0,sleep=off"][..]
            } else {
                &[]
            })
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(
                config.logs.join(format!("{}.qemu", config.name)),
            )?)
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
            monitor: config.can_be_put_back.then(|| Monitor {
                line: BufReader::new(line),
                image,
            }),
            patience: PATIENCE,
        })
    }

    /// Lets it say nothing for longer, until it counts as hanging.
    pub(crate) fn be_patient(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Waits until the machine takes orders.
    pub(crate) fn ready(&mut self) -> Result<()> {
        match self.report()? {
            Report::Ready => Ok(()),
            other => bail!("{}: not ready but {other:?}", self.name),
        }
    }

    /// Gives an order.
    pub(crate) fn order(&mut self, order: &Order) -> Result<()> {
        write_order(&mut self.orders, order)
            .with_context(|| format!("{} takes no orders any more", self.name))
    }

    /// The next report. An error if none comes: the machine has ended, or hangs.
    pub(crate) fn report(&mut self) -> Result<Report> {
        let why = match self.reports.recv_timeout(self.patience) {
            Ok(report) => return Ok(report),
            Err(RecvTimeoutError::Timeout) => {
                format!("hangs (nothing for {} s)", self.patience.as_secs())
            }
            Err(RecvTimeoutError::Disconnected) => "ended before its time".to_owned(),
        };
        let log = fs::read(&self.console).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let tail: Vec<&str> = log.lines().rev().take(40).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        let qemu = fs::read_to_string(self.console.with_extension("qemu")).unwrap_or_default();
        bail!(
            "{} {why}; the end of its console:\n{}\n{qemu}",
            self.name,
            tail.join("\n")
        )
    }

    /// Lets the machine's shell begin to run a command line. [`Self::end`] waits for it.
    pub(crate) fn begin(&mut self, command: &str) -> Result<()> {
        self.order(&Order::Shell {
            command: command.to_owned(),
        })
    }

    /// Waits for what [`Self::begin`] began: its status and what it printed.
    pub(crate) fn end(&mut self) -> Result<(i32, String)> {
        match self.report()? {
            Report::Done { status, output } => Ok((status, output)),
            other => bail!("{}: not done but {other:?}", self.name),
        }
    }

    /// Runs a command line in the machine's shell: its status and what it printed.
    pub(crate) fn try_shell(&mut self, command: &str) -> Result<(i32, String)> {
        self.begin(command)?;
        self.end()
    }

    /// As [`Self::try_shell`], for a command that must succeed.
    pub(crate) fn shell(&mut self, command: &str) -> Result<String> {
        let (status, output) = self.try_shell(command)?;
        if status != 0 {
            bail!("{}# {command}\nexit status {status}\n{output}", self.name);
        }
        Ok(output)
    }

    /// Keeps the state that the machine is in, for [`Self::put_back`].
    pub(crate) fn keep(&mut self) -> Result<()> {
        let monitor = self.monitor.as_mut().context("no monitor")?;
        monitor.execute("qmp_capabilities", &json!({}))?;
        monitor.type_in(&format!("savevm {KEPT}"))?;
        // QEMU has it open. So nothing is left behind, however it ends.
        fs::remove_file(&monitor.image)?;
        Ok(())
    }

    /// Lets the machine stand still until it is put back.
    pub(crate) fn halt(&mut self) -> Result<()> {
        let monitor = self.monitor.as_mut().context("no monitor")?;
        monitor.type_in("stop")
    }

    /// Puts the machine back into the state that was kept, whatever it does.
    pub(crate) fn put_back(&mut self) -> Result<()> {
        let monitor = self.monitor.as_mut().context("no monitor")?;
        monitor.type_in(&format!("loadvm {KEPT}"))?;
        monitor.type_in("cont")?;
        // What it said of an order that it has not heard of now may be under way.
        let mark = format!("{:?}", std::time::Instant::now());
        self.begin(&format!("echo '{mark}'"))?;
        loop {
            match self.report()? {
                Report::Done { output, .. } if output.trim_end() == mark => return Ok(()),
                _ => {}
            }
        }
    }

    /// What its kernel complained of since the last look.
    pub(crate) fn complaints(&mut self) -> Vec<String> {
        let log = fs::read(&self.console).unwrap_or_default();
        let new = String::from_utf8_lossy(&log[self.looked_through.min(log.len())..]).into_owned();
        self.looked_through = log.len();
        splats_in(&new)
    }

    /// Switches the machine off, and says what its kernel complained of: nothing, one hopes.
    pub(crate) fn finish(mut self) -> Result<Vec<String>> {
        self.order(&Order::Off)?;
        // It is off when its line is cut.
        while self.reports.recv_timeout(self.patience).is_ok() {}
        drop(self.qemu.kill());
        self.qemu.wait()?;
        Ok(splats(&self.console))
    }
}

impl Monitor {
    /// Has a command carried out (QEMU Machine Protocol): what it returns.
    fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        let order = json!({ "execute": command, "arguments": arguments });
        self.line
            .get_mut()
            .write_all(format!("{order}\n").as_bytes())?;
        loop {
            let mut line = String::new();
            let length = self.line.read_line(&mut line)?;
            ensure!(length != 0, "QEMU's monitor closed");
            // Between them: its greeting, and what else happens.
            let mut answer: Value = serde_json::from_str(&line)?;
            if let Some(error) = answer.get("error") {
                bail!("QEMU's monitor: {command}: {error}");
            }
            if let Some(result) = answer.get_mut("return") {
                return Ok(result.take());
            }
        }
    }

    /// Has a line carried out as somebody would type it in. It says something only if it fails.
    fn type_in(&mut self, line: &str) -> Result<()> {
        let arguments = json!({ "command-line": line });
        let said = self.execute("human-monitor-command", &arguments)?;
        let said = said.as_str().unwrap_or_default().trim();
        ensure!(said.is_empty(), "QEMU's monitor: {line}: {said}");
        Ok(())
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        drop(self.qemu.kill());
        drop(self.qemu.wait());
    }
}

/// Whether a line of a log says that something is wrong.
pub(crate) fn is_splat(line: &str) -> bool {
    SPLATS.iter().any(|splat| line.contains(splat))
}

/// The lines of a console's log that say that something is wrong, and what follows them.
pub(crate) fn splats(console: &Path) -> Vec<String> {
    let log = fs::read(console).unwrap_or_default();
    splats_in(&String::from_utf8_lossy(&log))
}

/// Where the kernel speaks of itself at length and nothing is wrong, and how that ends: `fault_in_load` brings it
/// about. Memory is lacking for the file of the module, or for its tracepoints, of which the kernel warns.
const NO_SPLATS: &[(&str, &str)] = &[
    ("vm_struct allocation failed", " </TASK>"),
    (" at event_define_fields+", "---[ end trace"),
];

/// The same in a log.
pub(crate) fn splats_in(log: &str) -> Vec<String> {
    let mut until = None;
    let lines = log.lines().filter(|line| {
        let begins = NO_SPLATS.iter().find(|(begin, _)| line.contains(begin));
        until = until.or(begins.map(|(_, end)| end));
        let keep = until.is_none();
        until = until.filter(|end| !line.contains(*end));
        keep
    });
    let lines: Vec<&str> = lines.collect();
    let mut found = Vec::new();
    let mut until = 0;
    for (at, line) in lines.iter().enumerate() {
        if is_splat(line) {
            until = until.max(at + 30);
        }
        if at < until {
            found.push((*line).to_owned());
        }
    }
    found
}
