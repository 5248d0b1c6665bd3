// SPDX-License-Identifier: GPL-2.0

//! `make check`: runs the cases on the running kernel, beside whatever else the machine does. The guest runs them in
//! namespaces of its own. At the end, or when interrupted, the machine is as it was before.

use crate::{
    arch::Arch,
    cases::{cases, Machine, Tally},
    initramfs::modules_of_cases,
    vm::{is_splat, pass_on, splats_in, write_order, PATIENCE},
};
use anyhow::{bail, Context, Result};
use nix::{
    errno::Errno,
    kmod::{delete_module, DeleteModuleFlags},
    libc,
    sys::signal::{killpg, SigSet, Signal},
    unistd::Pid,
};
use protocol::{Order, Report, CHECK, TRACE_BUFFER};
use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Read, Seek, SeekFrom},
    os::unix::{fs::OpenOptionsExt, process::CommandExt},
    path::Path,
    process::{Child, ChildStdin, Command, ExitCode, Stdio},
    sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender},
    thread::{self, sleep},
    time::{Duration, Instant},
};

/// The module under test.
const MODULE: &str = "arp_hidden";

/// How long the kernel may take to release modules and namespaces.
const LETTING_GO: Duration = Duration::from_secs(30);

/// Runs the cases that match the patterns, with `root` as the guest's root.
pub(crate) fn run(root: &Path, logs: &Path, patterns: String) -> Result<ExitCode> {
    let start = Instant::now();
    fs::create_dir_all(logs)?;
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let release = release.trim();
    let before = Before::now(release)?;
    let mut log = KernelLog::from_now_on()?;
    println!("KTAP version 1");
    println!("# kernel {release}, {}, this machine", Arch::OWN.target());
    let mut tally = Tally::new(release, logs);
    tally.others = 1;
    let order = Order::Cases { patterns };
    let again = |name: &str| format!("make check CASE={name}");
    let ended = Guest::start(root).and_then(|mut guest| match guest.report()? {
        Report::Ready => cases(&mut guest, &order, &mut tally, &again),
        other => bail!("expected Ready, got {other:?}"),
    });
    // The guest has been dropped.
    let left = before.put_back();
    let mut complaints = log.complaints()?;
    if let Err(error) = ended {
        complaints.push("the cases did not run to their end".to_owned());
        println!("# {}", format!("{error:#}").replace('\n', "\n# "));
    }
    tally.must_be_none("kernel_log", &complaints);
    tally.must_be_none("nothing_left", &left);
    Ok(tally.sum_up(start))
}

/// An event that the runner waits for.
enum Event {
    Report(Report),
    Interrupted(Signal),
    Ended,
}

/// The guest: a process, and its children in its process group. Dropping this kills them.
struct Guest {
    process: Child,
    orders: ChildStdin,
    events: Receiver<Event>,
}

impl Guest {
    fn start(root: &Path) -> Result<Self> {
        let (sender, events) = channel();
        watch_signals(sender.clone())?;
        let mut process = Command::new(root.join("init"))
            .arg(CHECK)
            // ^C in the terminal must not reach it.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the guest")?;
        let orders = process.stdin.take().context("no input")?;
        let output = process.stdout.take().context("no output")?;
        thread::spawn(move || {
            pass_on(output, |report| sender.send(Event::Report(report)).is_ok());
            drop(sender.send(Event::Ended));
        });
        Ok(Self {
            process,
            orders,
            events,
        })
    }
}

/// Turns the signals that interrupt this process into events.
fn watch_signals(events: Sender<Event>) -> Result<()> {
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]
        .into_iter()
        .collect();
    // For all threads started from now on. Command resets the mask for the guest.
    signals.thread_block()?;
    thread::spawn(move || {
        while let Ok(signal) = signals.wait() {
            if events.send(Event::Interrupted(signal)).is_err() {
                break;
            }
        }
    });
    Ok(())
}

impl Machine for Guest {
    fn order(&mut self, order: &Order) -> Result<()> {
        write_order(&mut self.orders, order).context("the guest does not take orders any more")
    }

    fn report(&mut self) -> Result<Report> {
        match self.events.recv_timeout(5 * PATIENCE) {
            Ok(Event::Report(report)) => Ok(report),
            Ok(Event::Interrupted(signal)) => bail!("interrupted by {signal}"),
            Ok(Event::Ended) | Err(RecvTimeoutError::Disconnected) => bail!("the guest has ended"),
            Err(RecvTimeoutError::Timeout) => bail!("the guest hangs"),
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // With its children.
        let group = Pid::from_raw(self.process.id() as i32);
        let _ = killpg(group, Signal::SIGKILL);
        drop(self.process.wait());
    }
}

/// The state of the machine before the cases.
struct Before {
    /// The modules of the cases that were not loaded.
    not_loaded: HashSet<String>,
}

impl Before {
    fn now(release: &str) -> Result<Self> {
        let loaded = loaded()?;
        let mut not_loaded = modules_of_cases(release)?;
        not_loaded.insert(MODULE.to_owned());
        not_loaded.retain(|module| !loaded.contains(module));
        Ok(Self { not_loaded })
    }

    /// Removes everything that was not there before. Returns what could not be removed.
    fn put_back(&self) -> Vec<String> {
        // Left by a case that was killed.
        let buffer = Path::new(TRACE_BUFFER);
        if buffer.exists() {
            drop(fs::remove_dir(buffer));
        }
        let deadline = Instant::now() + LETTING_GO;
        loop {
            let left = match self.unload() {
                Ok(left) => left,
                Err(error) => vec![format!("{error:#}")],
            };
            if left.is_empty() || Instant::now() > deadline {
                return left;
            }
            // Namespaces are cleaned up after their last process has ended, and use modules until then.
            sleep(Duration::from_millis(100));
        }
    }

    /// Unloads what can be unloaded. Returns what is left.
    fn unload(&self) -> Result<Vec<String>> {
        let mut left = Vec::new();
        // The youngest comes first: it may depend on the others.
        for module in loaded()? {
            if self.not_loaded.contains(&module) {
                let name = std::ffi::CString::new(module.as_str())?;
                match delete_module(&name, DeleteModuleFlags::O_NONBLOCK) {
                    Ok(()) | Err(Errno::ENOENT) => {}
                    Err(error) => left.push(format!("{module} is still loaded: {error}")),
                }
            }
        }
        Ok(left)
    }
}

/// Returns the loaded modules, the youngest first, but for those that the kernel cannot unload: vrf has no exit function.
fn loaded() -> Result<Vec<String>> {
    let text = fs::read_to_string("/proc/modules").context("no modules")?;
    let others = text.lines().filter(|line| !line.contains("[permanent]"));
    let names = others.filter_map(|line| line.split(' ').next());
    Ok(names.map(str::to_owned).collect())
}

/// The kernel log.
struct KernelLog(File);

impl KernelLog {
    fn from_now_on() -> Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/kmsg")
            .context("no kernel log")?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self(file))
    }

    /// Returns the kernel's complaints. Other lines are private: they may be about the machine's own network.
    fn complaints(&mut self) -> Result<Vec<String>> {
        let mut text = String::new();
        let mut record = [0; 8192];
        loop {
            match self.0.read(&mut record) {
                Ok(len) => {
                    // A record is numbers, the text, and lines of properties.
                    let record = String::from_utf8_lossy(&record[..len]);
                    let line = record.split_once(';').map_or("", |(_, line)| line);
                    text += line.lines().next().unwrap_or_default();
                    text.push('\n');
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // Records were overwritten before they were read.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
                Err(error) => return Err(error).context("the kernel log"),
            }
        }
        let mut lines = splats_in(&text);
        lines.retain(|line| is_splat(line) || line.contains("+0x"));
        Ok(lines)
    }
}
