// SPDX-License-Identifier: GPL-2.0

//! The root of the virtual machines: the guest as PID 1, the module under test and what goes with it, the tools that a network
//! administrator types, and the modules of the stock kernel that a case may want.

use anyhow::{bail, Context, Result};
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

/// Files that those do not run without.
const FILES: &[&str] = &[
    "/etc/keepalived/keepalived.config-opts",
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
        })
    }

    /// Whether it is the kernel of scripts/debug-kernel.
    pub(crate) fn is_debug(&self) -> bool {
        self.release.ends_with("-debug")
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

    /// The files of `wanted` and of all that they need, below [`Self::modules`]. What the kernel has built in
    /// is not among them.
    fn closure(&self, wanted: &[&str]) -> Result<Vec<String>> {
        let index = fs::read_to_string(self.modules().join("modules.dep"))?;
        let mut files = Vec::new();
        for line in index.lines() {
            let (file, needs) = line.split_once(':').context("modules.dep")?;
            let name = file.rsplit('/').next().unwrap_or(file);
            let name = name.split('.').next().unwrap_or(name).replace('-', "_");
            if wanted.contains(&name.as_str()) {
                files.push(file.to_owned());
                files.extend(needs.split_whitespace().map(str::to_owned));
            }
        }
        files.sort();
        files.dedup();
        Ok(files)
    }
}

/// Makes the archive `dir`/initramfs.cpio, with `files` in its root, and returns its path.
pub(crate) fn make(kernel: &Kernel, files: &[&Path], guest: &Path, dir: &Path) -> Result<PathBuf> {
    let root = dir.join("initramfs");
    if root.exists() {
        fs::remove_dir_all(&root)?;
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
    libraries_of(guest, &mut libraries)?;
    for tool in TOOLS {
        let tool = Path::new(tool);
        copy(tool, &root.join(tool.strip_prefix("/")?))?;
        libraries_of(tool, &mut libraries)?;
    }
    for file in FILES.iter().map(Path::new) {
        copy(file, &root.join(file.strip_prefix("/")?))?;
    }
    let libc = libraries.iter().find(|path| path.ends_with("libc.so.6"));
    let beside = libc.context("no libc")?.with_file_name("");
    for library in LOADED_BY_NAME.iter().map(|name| beside.join(name)) {
        libraries_of(&library, &mut libraries)?;
        libraries.insert(library);
    }
    for library in &libraries {
        copy(library, &root.join(library.strip_prefix("/")?))?;
    }
    for name in ["modprobe", "insmod", "rmmod", "lsmod", "modinfo"] {
        symlink("/usr/bin/kmod", root.join("sbin").join(name))?;
    }
    symlink("/usr/sbin/arptables-legacy", root.join("sbin/arptables"))?;
    symlink(
        "/usr/bin/udevadm",
        root.join("usr/lib/systemd/systemd-udevd"),
    )?;
    copy(Path::new("/usr/bin/busybox"), &root.join("bin/busybox"))?;
    // Not busybox's shell: that prefers its own `ip` and `arping` to the real ones.
    symlink("/usr/bin/dash", root.join("bin/sh"))?;

    let modules = root.join("lib/modules").join(&kernel.release);
    fs::create_dir_all(&modules)?;
    // Where packages of modules put them, for modprobe.
    let module = files.first().context("no module")?;
    let updates = modules.join("updates/dkms");
    copy(
        module,
        &updates.join(module.file_name().context("no file")?),
    )?;
    for file in kernel.closure(MODULES)? {
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

/// The shared libraries that a program needs, by their paths, and its loader.
fn libraries_of(program: &Path, into: &mut HashSet<PathBuf>) -> Result<()> {
    let output = Command::new("ldd").arg(program).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    if text.contains("not found") {
        bail!("{} lacks libraries:\n{text}", program.display());
    }
    into.extend(
        text.split_whitespace()
            .filter(|word| word.starts_with('/'))
            .map(PathBuf::from),
    );
    Ok(())
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
