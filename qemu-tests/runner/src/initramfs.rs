// SPDX-License-Identifier: GPL-2.0

//! The root of the virtual machines: the guest as PID 1, the module under test and what goes with it, the tools that a network
//! administrator types, and the modules of the stock kernel that a case may want.

use crate::arch::Arch;
use anyhow::{bail, ensure, Context, Result};
use std::{
    collections::HashSet,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Tools that cases run by their usual names. The rest is busybox.
const TOOLS: &[&str] = &[
    "/usr/sbin/ip",
    "/usr/sbin/tc",
    "/usr/sbin/nft",
    "/usr/sbin/arptables-legacy",
    "/usr/sbin/ipvsadm",
    "/usr/sbin/bpftool",
    "/usr/bin/arping",
    "/usr/sbin/sysctl",
    "/usr/bin/udevadm",
    "/usr/lib/systemd/systemd-modules-load",
    "/usr/lib/systemd/systemd-sysctl",
    "/usr/sbin/keepalived",
    "/usr/bin/kmod",
    "/usr/bin/dash",
    "/usr/bin/bash",
    "/usr/bin/crun",
    "/usr/sbin/bird",
    "/usr/sbin/birdcl",
];

/// Files that those read: what Debian's keepalived, udev and systemd-sysctl do by default.
const FILES: &[&str] = &[
    "/etc/keepalived/keepalived.config-opts",
    "/usr/lib/sysctl.d/50-default.conf",
    "/usr/lib/systemd/network/99-default.link",
    "/usr/lib/udev/rules.d/80-net-setup-link.rules",
    "/usr/lib/udev/rules.d/99-systemd.rules",
];

/// Libraries that those load while they run (systemd).
const LOADED_BY_NAME: &[&str] = &["libkmod.so.2"];

/// Modules that cases load, or the kernel for them.
const MODULES: &[&str] = &[
    "8021q",
    "9p",
    "9pnet_virtio",
    "arp_tables",
    "arpt_mangle",
    "arptable_filter",
    "bonding",
    "bridge",
    // libcrc32c, which nf_tables and ip_vs need, asks for it when it is loaded.
    "crc32c_generic",
    "dummy",
    "ip_vs",
    "ip_vs_rr",
    "ipip",
    "macvlan",
    "nf_tables",
    "nfnetlink_hook",
    "nft_chain_nat",
    "nft_ct",
    "nft_masq",
    "nft_redir",
    "overlay",
    "tun",
    "veth",
    "virtio_net",
    "virtio_pci",
    "vrf",
    "xt_mark",
];

/// A stock kernel, as `scripts/kernel` lays it down.
pub(crate) struct Kernel {
    dir: PathBuf,
    /// The distribution's own binary.
    pub(crate) binary: PathBuf,
    /// As `uname -r` prints it.
    pub(crate) release: String,
    /// Its configuration.
    config: String,
}

impl Kernel {
    /// The kernel in a folder.
    pub(crate) fn at(dir: &Path) -> Result<Self> {
        let modules = dir.join("modules/lib/modules");
        let entry = fs::read_dir(&modules)
            .with_context(|| format!("{} is no kernel of scripts/kernel", dir.display()))?
            .next()
            .context("the kernel has no modules")??;
        Ok(Self {
            dir: dir.to_owned(),
            binary: dir.join("vmlinuz"),
            release: entry.file_name().to_string_lossy().into_owned(),
            config: fs::read_to_string(dir.join("kdir/.config")).context("no configuration")?,
        })
    }

    /// The processor that it is for.
    pub(crate) fn arch(&self) -> Arch {
        Arch::of(&self.release)
    }

    /// The root below which the programs lie that its machines run. Those for this processor come from the build
    /// environment.
    fn userland(&self) -> PathBuf {
        if self.arch().is_own() {
            PathBuf::from("/")
        } else {
            self.dir.join("userland")
        }
    }

    /// Whether it is built with an option, or has it as a module.
    pub(crate) fn has(&self, option: &str) -> bool {
        self.config.lines().any(|line| {
            let value = line.strip_prefix(option);
            value.is_some_and(|value| value == "=y" || value == "=m")
        })
    }

    /// Whether it is the debug kernel of scripts/own-kernel.
    pub(crate) fn is_debug(&self) -> bool {
        self.release.ends_with("-debug")
    }

    /// What KERNEL is to be set to for it.
    pub(crate) fn asked_for(&self) -> String {
        if self.release.ends_with("-hardened") {
            return "hardened".to_owned();
        }
        if !self.is_debug() {
            return self.release.clone();
        }
        if self.has("CONFIG_RUST") {
            return "debug".to_owned();
        }
        let series: Vec<&str> = self.release.split('.').take(2).collect();
        format!("debug-{}", series.join("."))
    }

    /// Whether it is built with PREEMPT_RT.
    pub(crate) fn is_real_time(&self) -> bool {
        self.release.contains("-rt-")
    }

    /// The program of the kernel's own build system that signs modules.
    pub(crate) fn sign_file(&self) -> PathBuf {
        self.dir.join("kdir/scripts/sign-file")
    }

    fn modules(&self) -> PathBuf {
        self.dir.join("modules/lib/modules").join(&self.release)
    }

    fn closure(&self) -> Result<Vec<String>> {
        closure(&self.modules())
    }
}

/// The files, below a folder of modules, of those that cases load and of all that they need. What the kernel has built
/// in is not among them.
fn closure(modules: &Path) -> Result<Vec<String>> {
    let index = modules.join("modules.dep");
    let index = fs::read_to_string(&index).with_context(|| format!("no {}", index.display()))?;
    let mut files = Vec::new();
    for line in index.lines() {
        let (file, needs) = line.split_once(':').context("modules.dep")?;
        if MODULES.contains(&name_of(file).as_str()) {
            files.push(file.to_owned());
            files.extend(needs.split_whitespace().map(str::to_owned));
        }
    }
    files.sort();
    files.dedup();
    Ok(files)
}

/// The name by which the kernel knows the module of a file.
fn name_of(file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.split('.').next().unwrap_or(name).replace('-', "_")
}

/// The names of the modules of the kernel that is running which cases may load.
pub(crate) fn modules_of_cases(release: &str) -> Result<HashSet<String>> {
    let files = closure(&Path::new("/lib/modules").join(release))?;
    Ok(files.iter().map(|file| name_of(file)).collect())
}

/// Makes the archive `dir`/initramfs.cpio, with `files` in its root, and returns its path.
pub(crate) fn make(kernel: &Kernel, files: &[&Path], guest: &Path, dir: &Path) -> Result<PathBuf> {
    let root = dir.join("initramfs");
    let userland = Userland {
        root: kernel.userland(),
        arch: kernel.arch(),
    };
    fill(&root, &userland, files, guest)?;

    let modules = root.join("lib/modules").join(&kernel.release);
    fs::create_dir_all(&modules)?;
    // Where packages of modules put them, for modprobe.
    let module = files.first().context("no module")?;
    let updates = modules.join("updates/dkms");
    copy(
        module,
        &updates.join(module.file_name().context("no file")?),
    )?;
    for file in kernel.closure()? {
        copy(&kernel.modules().join(&file), &modules.join(&file))?;
    }
    run(Command::new("depmod")
        .arg("-b")
        .arg(&root)
        .arg(&kernel.release)
        .stderr(Stdio::null()))?; // it misses the lists of what is built in

    let archive = dir.join("initramfs.cpio");
    pack(&root, &archive)?;
    Ok(archive)
}

/// Makes a root for `make check`: as that of the machines, with no modules of the kernel.
pub(crate) fn make_root(root: &Path, module: &Path) -> Result<()> {
    let userland = Userland {
        root: PathBuf::from("/"),
        arch: Arch::OWN,
    };
    let guest = std::env::current_exe()?.with_file_name("guest");
    fill(root, &userland, &[module], &guest)
}

/// Makes a folder of the guest, the programs of a userland and `files`.
fn fill(root: &Path, userland: &Userland, files: &[&Path], guest: &Path) -> Result<()> {
    if root.exists() {
        fs::remove_dir_all(root)?;
    }
    for mount in [
        "dev",
        "proc",
        "run",
        "sys",
        "tmp",
        "etc/modules-load.d",
        "etc/sysctl.d",
        "bin",
        "sbin",
        "usr/bin",
    ] {
        fs::create_dir_all(root.join(mount))?;
    }
    copy(guest, &root.join("init"))?;
    for file in files {
        copy(file, &root.join(file.file_name().context("no file")?))?;
    }
    let mut libraries = HashSet::new();
    userland.libraries_of(guest, &mut libraries)?;
    for file in TOOLS.iter().chain(&["/usr/bin/busybox"]).map(Path::new) {
        userland.libraries_of(&userland.file(file)?, &mut libraries)?;
        userland.copy(file, root)?;
    }
    for file in FILES.iter().map(Path::new) {
        userland.copy(file, root)?;
    }
    for name in LOADED_BY_NAME {
        userland.library(name, &[], &mut libraries)?;
    }
    for library in &libraries {
        userland.copy(library, root)?;
    }
    for name in ["modprobe", "insmod", "rmmod", "lsmod", "modinfo"] {
        symlink("/usr/bin/kmod", root.join("sbin").join(name))?;
    }
    symlink("/usr/sbin/arptables-legacy", root.join("sbin/arptables"))?;
    symlink(
        "/usr/bin/udevadm",
        root.join("usr/lib/systemd/systemd-udevd"),
    )?;
    symlink("/usr/bin/busybox", root.join("bin/busybox"))?;
    // Not busybox's shell: that prefers its own `ip` and `arping` to the real ones.
    symlink("/usr/bin/dash", root.join("bin/sh"))?;
    Ok(())
}

/// Packs what is in a folder as the kernel unpacks it: one such archive after another.
pub(crate) fn pack(root: &Path, archive: &Path) -> Result<()> {
    run(Command::new("sh")
        .args([
            "-c",
            "find . -print0 | cpio --null --create --format=newc --quiet",
        ])
        .current_dir(root)
        .stdout(fs::File::create(archive)?))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to.parent().context("no folder")?)?;
    fs::copy(from, to)
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

/// Where the programs for a kernel's machines come from.
struct Userland {
    root: PathBuf,
    arch: Arch,
}

impl Userland {
    /// Where a file of it lies.
    fn file(&self, path: &Path) -> Result<PathBuf> {
        Ok(self.root.join(path.strip_prefix("/")?))
    }

    /// Copies a file of it to the same place below another root.
    fn copy(&self, path: &Path, root: &Path) -> Result<()> {
        copy(&self.file(path)?, &root.join(path.strip_prefix("/")?))
    }

    /// Adds the shared libraries that a program or a library needs, by their paths, and its loader. `ldd` runs the
    /// loader for that, which may be one for another processor.
    fn libraries_of(&self, program: &Path, into: &mut HashSet<PathBuf>) -> Result<()> {
        let output = Command::new("readelf")
            .args(["--wide", "--dynamic", "--program-headers"])
            .arg(program)
            .output()?;
        ensure!(output.status.success(), "cannot read {}", program.display());
        let text = String::from_utf8_lossy(&output.stdout);
        let values = |begin: &str| -> Vec<&str> {
            let after = text.lines().filter_map(|line| line.split_once(begin));
            after
                .filter_map(|(_, value)| value.strip_suffix(']'))
                .collect()
        };
        for loader in values("[Requesting program interpreter: ") {
            into.insert(PathBuf::from(loader));
        }
        let own = values("Library runpath: [");
        for name in values("Shared library: [") {
            self.library(name, &own, into)
                .with_context(|| format!("{} needs it", program.display()))?;
        }
        Ok(())
    }

    /// Adds a library by its name, and what it needs. It is looked for in `own` folders first.
    fn library(&self, name: &str, own: &[&str], into: &mut HashSet<PathBuf>) -> Result<()> {
        let usual = format!("/usr/lib/{}", self.arch.multiarch());
        for folder in own.iter().chain(&[&*usual, "/usr/lib"]) {
            let path = Path::new(folder).join(name);
            let file = self.file(&path)?;
            if file.exists() {
                if into.insert(path) {
                    self.libraries_of(&file, into)?;
                }
                return Ok(());
            }
        }
        bail!("no library {name} below {}", self.root.display())
    }
}

/// Runs a command that must succeed.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot run {command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed: {status}");
    }
    Ok(())
}
