// SPDX-License-Identifier: GPL-2.0

//! The machine: its mounts, its serial port, its shell, its end. As PID 1, the guest has it to itself. For `make check`, it
//! shares the machine with other tasks.

use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    libc,
    mount::MsFlags,
    sched::{unshare, CloneFlags},
    sys::{
        reboot::{reboot, RebootMode},
        termios::{cfmakeraw, tcgetattr, tcsetattr, SetArg},
    },
    unistd::{chdir, chroot},
};
use std::{
    fs::{self, File, OpenOptions},
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};

/// Whether this is PID 1.
pub(crate) fn is_ours() -> bool {
    std::process::id() == 1
}

static IS_SHARED: AtomicBool = AtomicBool::new(false);

/// Whether the machine has other tasks.
pub(crate) fn is_shared() -> bool {
    IS_SHARED.load(Ordering::Relaxed)
}

/// Makes the folder of this program the root, with mounts that no other process sees, and with a network namespace that
/// stands for the machine outside of all hosts. All of that ends with this process and its children. The kernel's modules
/// stay visible.
pub(crate) fn move_in() -> Result<()> {
    IS_SHARED.store(true, Ordering::Relaxed);
    const MODULES: &str = "lib/modules";
    let program = std::env::current_exe()?;
    let root = program.parent().context("this program is in no folder")?;
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    nix::mount::mount(None::<&str>, "/", None::<&str>, private, None::<&str>)?;
    // The root must be a mount: `ip netns exec` changes its propagation.
    nix::mount::mount(
        Some(root),
        root,
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )?;
    let (from, to) = (Path::new("/").join(MODULES), root.join(MODULES));
    if from.exists() {
        fs::create_dir_all(&to)?;
        nix::mount::mount(
            Some(&from),
            &to,
            None::<&str>,
            MsFlags::MS_BIND,
            None::<&str>,
        )
        .context("cannot have the kernel's modules")?;
    }
    chroot(root)?;
    chdir("/")?;
    mount()
}

/// Mounts the file systems that programs expect, and creates links for busybox's applets.
pub(crate) fn mount() -> Result<()> {
    for (kind, at) in [
        ("devtmpfs", "/dev"),
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("tmpfs", "/run"),
        ("tmpfs", "/tmp"),
        ("tracefs", "/sys/kernel/tracing"),
    ] {
        nix::mount::mount(Some(kind), at, Some(kind), MsFlags::empty(), None::<&str>)
            .with_context(|| format!("cannot mount {at}"))?;
    }
    // Only some kernels have these.
    for (kind, at) in [("debugfs", "/sys/kernel/debug"), ("bpf", "/sys/fs/bpf")] {
        let _ = nix::mount::mount(Some(kind), at, Some(kind), MsFlags::empty(), None::<&str>);
    }
    std::env::set_var("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let (status, output) = shell("/bin/busybox --install -s /bin && ip link set lo up")?;
    anyhow::ensure!(status == 0, "{output}");
    Ok(())
}

/// The kernel's name for the second serial port.
const PORT: &str = if cfg!(target_arch = "aarch64") {
    "/dev/ttyAMA1"
} else {
    "/dev/ttyS1"
};

/// Whether the running kernel has a module, by name or alias, or has it built in.
pub(crate) fn has_module(name: &str) -> Result<bool> {
    let status = Command::new("modprobe")
        .args(["--dry-run", "--quiet", name])
        .status()?;
    Ok(status.success())
}

/// Opens the second serial port in raw mode.
pub(crate) fn serial_port() -> Result<File> {
    let port = OpenOptions::new()
        .read(true)
        .write(true)
        .open(PORT)
        .context("no second serial port")?;
    let mut mode = tcgetattr(&port)?;
    cfmakeraw(&mut mode);
    tcsetattr(&port, SetArg::TCSANOW, &mode)?;
    Ok(port)
}

/// Runs a command line. Returns its exit status and its output on stdout and stderr.
pub(crate) fn shell(command: &str) -> Result<(i32, String)> {
    let output = Command::new("/bin/sh")
        .args(["-c", &format!("exec 2>&1; {command}")])
        .output()
        .with_context(|| format!("cannot run {command}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok((output.status.code().unwrap_or(-1), text))
}

/// Waits for an RCU grace period: packets that were being handled have been handled when this returns.
pub(crate) fn wait_for_grace_period() -> Result<()> {
    const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;
    // SAFETY: The system call takes three integers and accesses no memory of the caller.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
    Errno::result(result).context("membarrier")?;
    Ok(())
}

/// Whether the kernel is a real-time kernel.
pub(crate) fn is_real_time() -> Result<bool> {
    Ok(fs::read_to_string("/proc/version")?.contains("PREEMPT_RT"))
}

/// Returns whether the kernel renames devices that are up: since 6.2.
pub(crate) fn renames_what_is_up() -> Result<bool> {
    let script = "ip link add before up type dummy; ip link set before name after; status=$?; \
         ip link del after || ip link del before; exit $status";
    Ok(shell(script)?.0 == 0)
}

/// Switches the machine off, through its PID 1 if that is another process.
pub(crate) fn off() {
    if is_ours() {
        nix::unistd::sync();
        let _ = reboot(RebootMode::RB_POWER_OFF);
    } else {
        let _ = Command::new("systemctl").arg("poweroff").status();
    }
}
