// SPDX-License-Identifier: GPL-2.0

//! A machine with Secure Boot, whose owner signs the module.
//!
//! Everything up to the module is as on a server: firmware with Microsoft's keys boots Debian's shim, GRUB and kernel, all
//! signed, and the kernel locks itself down. Only the owner's steps on the console (`mokutil --import`, and the question of
//! MokManager at the next boot) are replaced: the key is written to the firmware's variable MokList, where they store it.

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

/// The GUID of shim's variables, as the owner of the key.
const OWNER: &str = "605dab50-e046-4300-abb6-3dd810dd8b23";

/// A host with a VIP on lo, and a neighbour to ask for it.
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

/// Returns why the kernel cannot be booted this way, if it cannot.
fn lacking(lab: &Lab) -> Result<Option<&'static str>> {
    if lab.kernel.arch() != Arch::Amd64 {
        return Ok(Some("Secure Boot is tested on amd64 only"));
    }
    let signatures = Command::new("sbverify")
        .arg("--list")
        .arg(&lab.kernel.binary)
        .output()
        .context("cannot run sbverify")?;
    let signed = String::from_utf8_lossy(&signatures.stdout).contains("Debian Secure Boot");
    Ok((!signed)
        .then_some("Debian has not signed this kernel, so its boot loader does not start it"))
}

/// The kernel refuses the unsigned module and one that a stranger signed. It loads the one that the machine's owner signed,
/// which conceals the VIP. Returns a note for the report.
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
        "without the module there is no reply for the VIP"
    );
    vm.shell("insmod /signed.ko && sysctl net.ipv4.conf.all.hidden=1 net.ipv4.conf.lo.hidden=1")?;
    ensure!(
        !answered(&mut vm, "10.0.0.100")?,
        "with the module and its flags there is a reply for the VIP"
    );
    ensure!(
        answered(&mut vm, "10.0.0.11")?,
        "there is no reply for the host's own address"
    );
    let complaints = vm.finish()?;
    ensure!(
        complaints.is_empty(),
        "the kernel complained:\n{}",
        complaints.join("\n")
    );
    Ok(
        "Debian's shim, GRUB and kernel, locked down: refuses the unsigned module and a stranger's, loads the owner's"
            .to_owned(),
    )
}

/// Creates a key and signs a copy of the module with it, as Documentation/install.md says. Returns the path of the key's
/// certificate in PEM format.
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
        // Its progress.
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

/// Creates the system partition with Debian's layout.
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
    // A real-time kernel reads the firmware's variables, such as MokList, only with this option.
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
