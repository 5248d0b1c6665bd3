// SPDX-License-Identifier: GPL-2.0

//! The root of the virtual machines: the guest as PID 1, the module under test, the tests' own modules and programs, a
//! network administrator's tools, and the kernel's modules that cases load.

use crate::arch::Arch;
use anyhow::{bail, ensure, Context, Result};
use std::{
    collections::HashSet,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Tools that cases run by their usual names. All others are busybox.
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

/// Files that the tools read: the defaults of Debian's keepalived, udev and systemd-sysctl.
const FILES: &[&str] = &[
    "/etc/keepalived/keepalived.config-opts",
    "/usr/lib/sysctl.d/50-default.conf",
    "/usr/lib/systemd/network/99-default.link",
    "/usr/lib/udev/rules.d/80-net-setup-link.rules",
    "/usr/lib/udev/rules.d/99-systemd.rules",
];

/// Libraries that the tools load with dlopen (systemd).
const LOADED_BY_NAME: &[&str] = &["libkmod.so.2"];

/// Modules that cases load, or that the kernel loads for them.
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

/// A kernel, in a folder of `scripts/kernel`.
pub(crate) struct Kernel {
    dir: PathBuf,
    /// Its binary.
    pub(crate) binary: PathBuf,
    /// Its release, as `uname -r` prints it.
    pub(crate) release: String,
    /// Its configuration.
    config: String,
}

impl Kernel {
    /// Returns the kernel in a folder.
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

    /// Returns its architecture.
    pub(crate) fn arch(&self) -> Arch {
        Arch::of(&self.release)
    }

    /// Returns the root of its machines' programs. Those for this machine's architecture are the build environment's.
    fn userland(&self) -> PathBuf {
        if self.arch().is_own() {
            PathBuf::from("/")
        } else {
            self.dir.join("userland")
        }
    }

    /// Whether it has an option, built in or as a module.
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

    /// Returns the value of KERNEL that names it.
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

    /// Whether it has PREEMPT_RT.
    pub(crate) fn is_real_time(&self) -> bool {
        self.release.contains("-rt-")
    }

    /// Returns the path of the kernel's program that signs modules.
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

/// Returns the files of the modules that cases load, and of their dependencies, below a folder of modules. Modules that are
/// built in have none.
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

/// Returns the kernel's name for the module of a file.
fn name_of(file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.split('.').next().unwrap_or(name).replace('-', "_")
}

/// Returns the names of the running kernel's modules that cases may load.
pub(crate) fn modules_of_cases(release: &str) -> Result<HashSet<String>> {
    let files = closure(&Path::new("/lib/modules").join(release))?;
    Ok(files.iter().map(|file| name_of(file)).collect())
}

/// Creates the archive `dir`/initramfs.cpio, with `files` in its root. Returns its path.
pub(crate) fn make(kernel: &Kernel, files: &[&Path], guest: &Path, dir: &Path) -> Result<PathBuf> {
    let root = dir.join("initramfs");
    let userland = Userland {
        root: kernel.userland(),
        arch: kernel.arch(),
    };
    fill(&root, &userland, files, guest)?;

    let modules = root.join("lib/modules").join(&kernel.release);
    fs::create_dir_all(&modules)?;
    // For modprobe, in the folder that packages use.
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
        .stderr(Stdio::null()))?; // warns that the lists of built-in modules are missing

    let archive = dir.join("initramfs.cpio");
    pack(&root, &archive)?;
    Ok(archive)
}

/// Creates the root for `make check`: that of the machines, without the kernel's modules.
pub(crate) fn make_root(root: &Path, module: &Path) -> Result<()> {
    let userland = Userland {
        root: PathBuf::from("/"),
        arch: Arch::OWN,
    };
    let guest = std::env::current_exe()?.with_file_name("guest");
    fill(root, &userland, &[module], &guest)
}

/// Creates a folder with the guest, the programs of a userland, and `files`.
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
    // Not busybox's shell, which would run its own `ip` and `arping`.
    symlink("/usr/bin/dash", root.join("bin/sh"))?;
    Ok(())
}

/// Packs a folder into a cpio archive. The kernel unpacks several, one after the other.
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

/// The root that the programs of a kernel's machines come from.
struct Userland {
    root: PathBuf,
    arch: Arch,
}

impl Userland {
    /// Returns the path of one of its files.
    fn file(&self, path: &Path) -> Result<PathBuf> {
        Ok(self.root.join(path.strip_prefix("/")?))
    }

    /// Copies one of its files to the same path below another root.
    fn copy(&self, path: &Path, root: &Path) -> Result<()> {
        copy(&self.file(path)?, &root.join(path.strip_prefix("/")?))
    }

    /// Adds the paths of the shared libraries that a program or library needs, and of its loader. Does not use `ldd`, which
    /// runs the loader: that may be for another architecture.
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

    /// Adds a library by its name, and what it needs. Searches the `own` folders first.
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
