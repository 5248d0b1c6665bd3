// SPDX-License-Identifier: GPL-2.0

//! A machine with Secure Boot: what its owner has to do so that its kernel takes the module.
//!
//! All before the module is as on a server: the firmware has Microsoft's keys and starts Debian's shim, which starts
//! Debian's GRUB, which starts Debian's kernel, each signed by its makers; the kernel locks itself down. Only what
//! the owner does on the console (`mokutil --import`, and MokManager's question at the next boot) is not typed: the
//! key is put where they would leave it, into the firmware's variable MokList.

use crate::{
    arch::Arch,
    initramfs::{pack, run},
    lab::Lab, //
    vm::{command_line, Boot, Config, Vm, OUR_INIT},
};
use anyhow::{bail, ensure, Context, Result};
use protocol::{Ended, Outcome};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

/// The case's name.
pub(crate) const NAME: &str = "secure_boot";

/// shim's own namespace of variables, as the owner of the key.
const OWNER: &str = "605dab50-e046-4300-abb6-3dd810dd8b23";

/// A host with a VIP on lo and a neighbour who asks.
const NETWORK: &str = "
    set -e
    ip netns add neighbour
    ip link add eth0 type veth peer name eth0 netns neighbour
    ip addr add 10.0.0.11/24 dev eth0
    ip addr add 10.0.0.100/32 dev lo
    ip link set eth0 up
    ip -n neighbour addr add 10.0.0.1/24 dev eth0
    ip -n neighbour link set eth0 up
";

/// Runs the case.
pub(crate) fn case(lab: &Lab) -> Ended {
    let start = Instant::now();
    let ended = lacking(lab).and_then(|lack| match lack {
        Some(why) => Ok((
            Outcome::Skipped {
                why: why.to_owned(),
            },
            None,
        )),
        None => Ok((Outcome::Passed, Some(story(lab)?))),
    });
    let (outcome, note) = match ended {
        Ok(ended) => ended,
        Err(error) => {
            let why = format!("{error:#}");
            (Outcome::Failed { why }, None)
        }
    };
    Ended {
        name: NAME.to_owned(),
        outcome,
        milliseconds: start.elapsed().as_millis() as u64,
        note,
    }
}

/// Why the kernel cannot be started this way.
fn lacking(lab: &Lab) -> Result<Option<&'static str>> {
    if lab.kernel.arch() != Arch::Amd64 {
        return Ok(Some(
            "the laboratory has firmware with Secure Boot for amd64 only",
        ));
    }
    let signatures = Command::new("sbverify")
        .arg("--list")
        .arg(&lab.kernel.binary)
        .output()
        .context("cannot run sbverify")?;
    let signed = String::from_utf8_lossy(&signatures.stdout).contains("Debian Secure Boot");
    Ok((!signed)
        .then_some("the kernel is not signed by Debian, so Debian's boot loader does not start it"))
}

/// The unsigned module is refused, and so is one that a stranger signed. The one that the machine's owner signed is
/// taken, and conceals. What is worth telling.
fn story(lab: &Lab) -> Result<String> {
    let dir = lab.logs.join(NAME);
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    let modules = dir.join("modules");
    fs::create_dir_all(&modules)?;
    let owner = sign(lab, &dir, "owner", &modules.join("signed.ko"))?;
    sign(lab, &dir, "stranger", &modules.join("stranger.ko"))?;
    pack(&modules, &dir.join("modules.cpio"))?;
    let partition = partition(lab, &dir)?;
    let variables = dir.join("variables.fd");
    run(Command::new("virt-fw-vars")
        .args(["--loglevel", "warning", "--secure-boot"])
        .args(["--input", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd"])
        .args(["--add-mok", OWNER])
        .arg(&owner)
        .arg("--output")
        .arg(&variables))?;

    let mut vm = Vm::start(&Config {
        name: NAME,
        boot: Boot::SecureBoot {
            variables: &variables,
            partition: &partition,
        },
        logs: &lab.logs,
        cpus: 1,
        memory: 1024,
        devices: Vec::new(),
        count_instructions: false,
        can_be_put_back: false,
    })?;
    vm.ready()?;
    vm.shell("mount -t securityfs securityfs /sys/kernel/security")?;
    let lockdown = vm.shell("cat /sys/kernel/security/lockdown")?;
    ensure!(
        lockdown.contains("[integrity]"),
        "the kernel is not locked down: {lockdown}"
    );
    vm.shell(NETWORK)?;
    for (module, told) in [
        ("/arp_hidden.ko", "Loading of unsigned module is rejected"),
        (
            "/stranger.ko",
            "Loading of module with unavailable key is rejected",
        ),
    ] {
        let (status, output) = vm.try_shell(&format!("dmesg -c >/dev/null; insmod {module}"))?;
        ensure!(
            status != 0 && output.contains("Key was rejected by service"),
            "insmod {module}: exit status {status}\n{output}"
        );
        let log = vm.shell("dmesg")?;
        ensure!(
            log.contains(told),
            "the kernel did not say '{told}':\n{log}"
        );
        vm.shell("! test -e /sys/module/arp_hidden")?;
    }
    let answered = |vm: &mut Vm, address: &str| -> Result<bool> {
        let command = format!("ip netns exec neighbour arping -b -c 1 -w 1 -I eth0 {address}");
        match vm.try_shell(&command)? {
            (0, _) => Ok(true),
            (1, _) => Ok(false),
            (status, output) => bail!("{command}: exit status {status}\n{output}"),
        }
    };
    ensure!(
        answered(&mut vm, "10.0.0.100")?,
        "without the module the VIP is not answered for"
    );
    vm.shell("insmod /signed.ko && sysctl net.ipv4.conf.all.hidden=1 net.ipv4.conf.lo.hidden=1")?;
    ensure!(
        !answered(&mut vm, "10.0.0.100")?,
        "with the module and its flags the VIP is answered for"
    );
    ensure!(
        answered(&mut vm, "10.0.0.11")?,
        "the host's own address is not answered for"
    );
    let complaints = vm.finish()?;
    ensure!(
        complaints.is_empty(),
        "the kernel complained:\n{}",
        complaints.join("\n")
    );
    Ok(
        "Debian's shim, GRUB and kernel, locked down: refuses the unsigned module and a stranger's, takes the owner's"
            .to_owned(),
    )
}

/// Makes a key and signs a copy of the module with it, both as Documentation/install.md says. Returns the key's
/// certificate, as text.
fn sign(lab: &Lab, dir: &Path, who: &str, signed: &Path) -> Result<PathBuf> {
    let [key, der, pem] = ["key", "der", "pem"].map(|kind| dir.join(format!("{who}.{kind}")));
    run(Command::new("openssl")
        .args([
            "req", "-new", "-x509", "-newkey", "rsa:2048", "-sha256", "-nodes", "-quiet",
        ])
        .args(["-days", "3650", "-subj", &format!("/CN={who}/")])
        .args(["-addext", "extendedKeyUsage=codeSigning", "-outform", "DER"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&der)
        // It draws lines there.
        .stderr(fs::File::create(dir.join("openssl.log"))?))?;
    run(Command::new("openssl")
        .args(["x509", "-inform", "DER"])
        .arg("-in")
        .arg(&der)
        .arg("-out")
        .arg(&pem))?;
    run(Command::new(lab.kernel.sign_file())
        .arg("sha256")
        .args([&key, &der, &lab.module])
        .arg(signed))?;
    Ok(pem)
}

/// The system partition, as Debian lays it out.
fn partition(lab: &Lab, dir: &Path) -> Result<PathBuf> {
    let partition = dir.join("partition");
    let [boot, debian] = ["EFI/BOOT", "EFI/debian"].map(|folder| partition.join(folder));
    fs::create_dir_all(&boot)?;
    fs::create_dir_all(&debian)?;
    for (from, to) in [
        (
            Path::new("/usr/lib/shim/shimx64.efi.signed"),
            boot.join("BOOTX64.EFI"),
        ),
        (
            Path::new("/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed"),
            boot.join("grubx64.efi"),
        ),
        (&lab.kernel.binary, partition.join("vmlinuz")),
        (&lab.initramfs, partition.join("initrd")),
        (&dir.join("modules.cpio"), partition.join("modules")),
    ] {
        fs::copy(from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    // A real-time kernel does not ask the firmware for variables, such as MokList, unless it is told to.
    let efi = if lab.kernel.is_real_time() {
        "efi=runtime"
    } else {
        ""
    };
    fs::write(
        debian.join("grub.cfg"),
        format!(
            "linux /vmlinuz {} {OUR_INIT} {efi}\ninitrd /initrd /modules\nboot\n",
            command_line(Arch::Amd64)
        ),
    )?;
    Ok(partition)
}
