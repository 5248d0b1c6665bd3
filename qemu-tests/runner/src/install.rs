// SPDX-License-Identifier: GPL-2.0

//! `make test-install`: the packages on a Debian system, with systemd, as a real server of a cluster has it.
//!
//! ```text
//!     rs1, a Debian          neighbour             client
//!   10.0.0.11 on eth0        10.0.0.1             10.0.0.2
//!  10.0.0.100 (VIP) on lo
//!         |                      |                    |
//!    -----+----------------------+--------------------+-----
//! ```
//!
//! The neighbour asks all the time, from before rs1 is switched on, who has the VIP, and who has 10.0.0.11: rs1 has
//! them both from systemd-networkd. That 10.0.0.11 is answered for shows when the network is up.
//!
//! A reboot is a shutdown and a start from the kernel and initramfs to which the system's /vmlinuz and /initrd.img
//! point, as a boot loader would start them.

use crate::{
    arch::Arch,
    initramfs::run as run_command,
    lab::{Lab, System}, //
    pcap,
    switch::{Beacon, Cable, Switch},
    test::{tell, Tally},
    traffic::{claims, mac},
    vm::{Boot, Config, Vm},
};
use anyhow::{bail, ensure, Context, Result};
use protocol::{
    asked_for,
    frame::{describe, Arp, Colons, BROADCAST},
    Ended,
    Frame,
    Outcome, //
};
use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// What is done, and what must come of it. Returns what is worth telling.
type Story = fn(&mut Site<'_>) -> Result<String>;

/// The cases.
const CASES: &[(&str, Story)] = &[
    ("install_running", running),
    ("install_boot", boot),
    ("install_upgrade", upgrade),
    ("install_kernel", kernel),
    ("install_purge", purge),
    ("install_dkms", dkms),
];

/// The machines at the switch's ports.
const MACHINES: [&str; 3] = ["rs1", "neighbour", "client"];

/// The address on lo, which others have too.
const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);

/// The address of rs1 alone, on eth0.
const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 11);

/// How long the neighbour pauses between questions.
const PAUSE: Duration = Duration::from_millis(20);

/// How many answers for rs1's own address show that the VIP's silence is none of the network's.
const ENOUGH: usize = 100;

/// The longest that one command may take: DKMS builds on an emulated processor.
const PATIENCE: Duration = Duration::from_secs(3600);

/// The beginning of a command line with apt.
const APT: &str = "DEBIAN_FRONTEND=noninteractive apt-get -y -q";

/// Runs the cases that the patterns ask for.
pub(crate) fn run(lab: &Lab, system: &System) -> Result<ExitCode> {
    let start = Instant::now();
    let cases = CASES
        .iter()
        .filter(|(name, _)| asked_for(name, &system.case));
    let mut site = Site::new(lab, system)?;
    println!("KTAP version 1");
    println!(
        "# {} to {}, {} in QEMU",
        site.older,
        site.newer,
        Arch::Amd64.accelerator()
    );
    let mut tally = Tally::default();
    tally.plan(cases.clone().count())?;
    for (name, story) in cases {
        let start = Instant::now();
        site.lan.record(&MACHINES);
        site.done.clear();
        let (outcome, note) = match story(&mut site) {
            Ok(note) => (Outcome::Passed, Some(note)),
            Err(error) => {
                let why = format!("{error:#}\n{}", site.tell());
                (Outcome::Failed { why }, None)
            }
        };
        let ended = Ended {
            name: (*name).to_owned(),
            outcome,
            milliseconds: start.elapsed().as_millis() as u64,
            note,
        };
        let again = format!("make test-install CASE={name}");
        let frames = site.lan.recording();
        pcap::write(&lab.logs.join(format!("{name}.pcapng")), &frames)?;
        tell(&ended, &mut tally, &frames, lab, &again)?;
    }
    Ok(tally.sum_up(lab, start))
}

/// On the running system: apt installs the packages from a local folder, the module is there at once and changes
/// nothing, the settings are made, and the VIP falls silent. Without the package the VIP was answered for from the
/// first moment: so the neighbour would see it in the other cases too.
fn running(site: &mut Site<'_>) -> Result<String> {
    site.installed = None;
    let (disk, note) = install(site)?;
    site.installed = Some(disk);
    Ok(note)
}

fn install(site: &mut Site<'_>) -> Result<(Disk, String)> {
    let disk = site.disk("installed", &site.system.system.clone())?;
    let from = site.lan.recorded();
    let mut rs1 = site.boot(&disk)?;
    let without = site.watch(from)?;
    ensure!(
        without.answered > 0,
        "without the package the VIP is not answered for: {without}"
    );

    let packages = format!(
        "/lab/packages/arp-hidden_*_all.deb /lab/packages/arp-hidden-modules-{}_*_amd64.deb",
        site.older
    );
    site.shell(&mut rs1, &format!("{APT} install {packages}"))?;
    site.shell(
        &mut rs1,
        "test -e /sys/module/arp_hidden && test $(cat /proc/sys/net/ipv4/conf/lo/hidden) = 0",
    )?;
    let from = site.lan.recorded();
    let installed = site.watch(from)?;
    ensure!(
        installed.answered > 0,
        "with the package and no flag the VIP is not answered for: {installed}"
    );

    site.shell(&mut rs1, CONFIGURE)?;
    let from = site.lan.recorded();
    let hidden = site.silent(from)?;
    site.shut_down(rs1, &disk)?;
    Ok((disk, format!("before, {without}; with the flags, {hidden}")))
}

/// The settings of a real server: what is an example in the package's file is made so.
const CONFIGURE: &str =
    "sed -i 's/^#\\(net.ipv4.conf.\\(all\\|lo\\).hidden\\)/\\1/' /etc/sysctl.d/arp_hidden.conf && \
     systemctl restart systemd-sysctl && test $(cat /proc/sys/net/ipv4/conf/lo/hidden) = 1";

/// At boot the flags are there before the network: systemd says so, and on the wire the VIP is never seen.
fn boot(site: &mut Site<'_>) -> Result<String> {
    let disk = site.installed("boot")?;
    let from = site.lan.recorded();
    let mut rs1 = site.boot(&disk)?;
    let seen = site.silent(from)?;
    let order = order(site, &mut rs1)?;
    site.shell(
        &mut rs1,
        &format!("ip addr show dev lo | grep -q 'inet {VIP}/32'"),
    )?;
    site.shut_down(rs1, &disk)?;
    Ok(format!("{order}; {seen}"))
}

/// In which order systemd came to the module, its flags and the network.
fn order(site: &mut Site<'_>, rs1: &mut Vm) -> Result<String> {
    let mut moments = Vec::new();
    for (unit, what) in [
        ("systemd-modules-load", "Exit"),
        ("systemd-sysctl", "Start"),
        ("systemd-sysctl", "Exit"),
        ("systemd-networkd", "Start"),
    ] {
        let command = format!("systemctl show -P ExecMain{what}TimestampMonotonic {unit}");
        let moment: u64 = site.shell(rs1, &command)?.trim().parse()?;
        ensure!(moment > 0, "{command}: it never did");
        moments.push(moment);
    }
    ensure!(
        moments.is_sorted(),
        "the module loaded, flags from, to, network from, in microseconds: {moments:?}"
    );
    Ok(format!(
        "flags set {} ms before systemd-networkd starts",
        (moments[3] - moments[2]) / 1000
    ))
}

/// A later version is installed while a client's connection to the VIP is in use. The connection goes on, the VIP
/// stays silent, and so it does through the reboot that takes the later version.
fn upgrade(site: &mut Site<'_>) -> Result<String> {
    let disk = site.installed("upgrade")?;
    let mut rs1 = site.boot(&disk)?;
    let before = site.shell(&mut rs1, "cat /sys/module/arp_hidden/version")?;
    site.shell(
        &mut rs1,
        "socat TCP-LISTEN:7,fork,reuseaddr EXEC:cat </dev/null >/dev/null 2>&1 &",
    )?;
    let mut client = site.client()?;
    let from = site.lan.recorded();
    let echoed = |site: &mut Site<'_>, client: &mut Vm| -> Result<usize> {
        // Each line once, in order, and the connection is there.
        let script =
            "pidof nc >/dev/null && awk 'NR != $1 { exit 1 } END { print NR }' /run/echoed";
        Ok(site.shell(client, script)?.trim().parse()?)
    };
    sleep(Duration::from_secs(1));
    let first = echoed(site, &mut client)?;
    ensure!(first > 0, "the connection to the VIP has no answer");

    let packages = format!(
        "/lab/later/arp-hidden_*_all.deb /lab/later/arp-hidden-modules-{}_*_amd64.deb",
        site.older
    );
    let said = site.shell(&mut rs1, &format!("{APT} install {packages}"))?;
    let during = echoed(site, &mut client)? - first;
    sleep(Duration::from_secs(1));
    let after = echoed(site, &mut client)? - first - during;
    ensure!(
        during > 0 && after > 0,
        "lines echoed: {first} before the upgrade, {during} during it, {after} after it"
    );
    ensure!(
        said.contains("stays loaded with its flags"),
        "apt does not say that the module stays:\n{said}"
    );
    let seen = site.silent(from)?;
    drop(client);
    site.shut_down(rs1, &disk)?;

    let from = site.lan.recorded();
    let mut rs1 = site.boot(&disk)?;
    let booted = site.silent(from)?;
    let later = site.shell(&mut rs1, "cat /sys/module/arp_hidden/version")?;
    ensure!(
        before != later,
        "after the reboot it is still version {later}"
    );
    site.shut_down(rs1, &disk)?;
    Ok(format!(
        "{} to {}; during the upgrade {during} lines on the connection; {seen}; reboot: {booted}",
        before.trim(),
        later.trim()
    ))
}

/// The newer kernel and its modules package are installed in one run of apt, and booted.
fn kernel(site: &mut Site<'_>) -> Result<String> {
    let disk = site.installed("kernel")?;
    let from = site.lan.recorded();
    let mut rs1 = site.boot(&disk)?;
    let install = format!(
        "apt-get -q update && {APT} install linux-image-{newer} /lab/packages/arp-hidden-modules-{newer}_*_amd64.deb",
        newer = site.newer
    );
    site.shell(&mut rs1, &install)?;
    let seen = site.silent(from)?;
    site.shut_down(rs1, &disk)?;
    boots_newer(site, &disk, seen)
}

/// As [`kernel`], with DKMS: it builds the module when it is installed, and again when the newer kernel is.
fn dkms(site: &mut Site<'_>) -> Result<String> {
    let disk = site.disk("dkms", &site.system.system.clone())?;
    let mut rs1 = site.boot(&disk)?;
    let start = Instant::now();
    site.shell(
        &mut rs1,
        &format!("{APT} install /lab/packages/arp-hidden_*_all.deb /lab/packages/arp-hidden-dkms_*_all.deb"),
    )?;
    let first = start.elapsed().as_secs();
    site.shell(&mut rs1, CONFIGURE)?;
    let from = site.lan.recorded();
    let start = Instant::now();
    let series: Vec<&str> = site.newer.splitn(3, '.').take(2).collect();
    let install = format!(
        "apt-get -q update && {APT} install linux-image-{newer} linux-headers-{newer} linux-source-{series}",
        newer = site.newer,
        series = series.join(".")
    );
    site.shell(&mut rs1, &install)?;
    let second = start.elapsed().as_secs();
    let seen = site.silent(from)?;
    site.shut_down(rs1, &disk)?;
    let note = boots_newer(site, &disk, seen)?;
    Ok(format!(
        "apt took {first} s, and {second} s for the newer kernel; {note}"
    ))
}

/// Boots what must be the newer kernel, with the VIP silent.
fn boots_newer(site: &mut Site<'_>, disk: &Disk, seen: Seen) -> Result<String> {
    let from = site.lan.recorded();
    let mut rs1 = site.boot(disk)?;
    let booted = site.silent(from)?;
    let release = site.shell(&mut rs1, "uname -r")?;
    ensure!(release.trim() == site.newer, "{release} was booted");
    let order = order(site, &mut rs1)?;
    site.shut_down(rs1, disk)?;
    Ok(format!("{seen}; reboot: {order}; {booted}"))
}

/// The packages are purged. The module that is loaded goes on until the reboot, as they say; after it nothing is left,
/// and the VIP is answered for.
fn purge(site: &mut Site<'_>) -> Result<String> {
    let disk = site.installed("purge")?;
    let mut rs1 = site.boot(&disk)?;
    let from = site.lan.recorded();
    site.shell(&mut rs1, &format!("{APT} purge 'arp-hidden*'"))?;
    let seen = site.silent(from)?;
    let left = site.shell(
        &mut rs1,
        "find / -xdev -path /var/log -prune -o -path '*arp[-_]hidden*' -print; \
         grep -l arp_hidden /lib/modules/*/modules.dep /var/lib/dpkg/status; true",
    )?;
    ensure!(left.is_empty(), "left behind:\n{left}");
    site.shut_down(rs1, &disk)?;

    let from = site.lan.recorded();
    let mut rs1 = site.boot(&disk)?;
    let booted = site.watch(from)?;
    ensure!(
        booted.answered > 0,
        "after the reboot the VIP is not answered for: {booted}"
    );
    site.shell(
        &mut rs1,
        "! test -e /sys/module/arp_hidden && ! test -e /proc/sys/net/ipv4/conf/lo/hidden",
    )?;
    site.shut_down(rs1, &disk)?;
    Ok(format!("{seen}; reboot: {booted}"))
}

/// What the machines are made of, and what passes between them.
struct Site<'a> {
    lab: &'a Lab,
    system: &'a System,
    /// The disk that rs1 has at /lab.
    shared: PathBuf,
    /// The kernels that rs1 has at first, and is upgraded to.
    older: String,
    newer: String,
    lan: Switch,
    cables: Vec<Cable>,
    /// The neighbour.
    _asks: Beacon,
    /// The disk with the packages installed, once it is there.
    installed: Option<Disk>,
    /// What was done so far, for those who look into a failure.
    done: String,
}

/// A disk of rs1's, and the folder with what its boot loader would load.
struct Disk {
    image: PathBuf,
    boot: PathBuf,
}

/// What the neighbour saw.
struct Seen {
    /// How often it asked who has the VIP since rs1's own address was first answered for.
    asked: usize,
    /// How often rs1 said that it has the VIP.
    answered: usize,
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { asked, answered } = self;
        write!(f, "asked for the VIP {asked} times, {answered} answers")
    }
}

impl Seen {
    fn of(frames: &[Frame]) -> Self {
        let is = |frame: &Frame, holds: fn(&Arp) -> bool| {
            Arp::read(&frame.bytes).is_some_and(|arp| holds(&arp))
        };
        let up = frames
            .iter()
            .position(|frame| frame.wire == MACHINES[0] && is(frame, |arp| arp.sip == OWN));
        let since = &frames[up.unwrap_or(frames.len())..];
        Self {
            asked: since
                .iter()
                .filter(|frame| frame.wire == MACHINES[1] && is(frame, |arp| arp.tip == VIP))
                .count(),
            answered: claims(frames, VIP).values().sum(),
        }
    }
}

impl<'a> Site<'a> {
    fn new(lab: &'a Lab, system: &'a System) -> Result<Self> {
        let shared = lab.logs.join("shared");
        if shared.exists() {
            fs::remove_dir_all(&shared)?;
        }
        for (from, to) in [(&system.packages, "packages"), (&system.later, "later")] {
            let to = shared.join(to);
            fs::create_dir_all(&to)?;
            for entry in fs::read_dir(from)? {
                let from = entry?.path();
                if from.extension().is_some_and(|kind| kind == "deb") {
                    fs::copy(&from, to.join(from.file_name().context("no file")?))?;
                }
            }
        }
        fs::copy(
            std::env::current_exe()?.with_file_name("guest"),
            shared.join("guest"),
        )?;
        let disk = shared.with_extension("img");
        run_command(
            Command::new("mke2fs")
                .args(["-q", "-F", "-t", "ext4", "-L", "lab", "-d"])
                .args([&shared, &disk])
                .arg("256M"),
        )?;
        let (lan, mut cables) = Switch::new(MACHINES.len())?;
        let ask = |who| {
            Arp {
                from: mac(1),
                to: BROADCAST,
                op: 1,
                sha: mac(1),
                sip: Ipv4Addr::new(10, 0, 0, 1),
                tha: [0; 6],
                tip: who,
            }
            .bytes()
        };
        let release = |which| -> Result<String> {
            let text = fs::read_to_string(system.system.join(which))?;
            Ok(text.trim().to_owned())
        };
        Ok(Self {
            lab,
            system,
            shared: disk,
            older: release("older")?,
            newer: release("newer")?,
            _asks: Beacon::new(cables.remove(1), vec![ask(VIP), ask(OWN)], PAUSE),
            lan,
            cables,
            installed: None,
            done: String::new(),
        })
    }

    /// A disk with what another one has, for changes; the boot loader has what is in `system`.
    fn disk(&self, name: &str, system: &Path) -> Result<Disk> {
        self.disk_on(name, &system.join("disk.img"), "raw", &system.join("boot"))
    }

    fn disk_on(&self, name: &str, backing: &Path, format: &str, boot: &Path) -> Result<Disk> {
        let image = self.lab.logs.join(format!("install-{name}.qcow2"));
        run_command(
            Command::new("qemu-img")
                .args(["create", "-q", "-f", "qcow2", "-F", format, "-b"])
                .arg(backing)
                .arg(&image),
        )?;
        let own = image.with_extension("boot");
        fs::create_dir_all(&own)?;
        for file in BOOT {
            fs::copy(boot.join(file), own.join(file))?;
        }
        Ok(Disk { image, boot: own })
    }

    /// A disk on which the packages are installed and configured.
    fn installed(&mut self, name: &str) -> Result<Disk> {
        if self.installed.is_none() {
            self.installed = Some(install(self)?.0);
            self.lan.record(&MACHINES);
        }
        let Disk { image, boot } = self.installed.as_ref().expect("just installed");
        self.disk_on(name, image, "qcow2", boot)
    }

    /// Boots rs1, and waits until systemd has.
    fn boot(&mut self, disk: &Disk) -> Result<Vm> {
        self.done += "rs1 boots\n";
        let plug = |name: &str, image: &Path, options: &str| {
            [
                "-drive".to_owned(),
                format!(
                    "if=none,id={name},cache=unsafe,file={},{options}",
                    image.display()
                ),
                "-device".to_owned(),
                format!("virtio-blk-pci,drive={name}"),
            ]
        };
        let mut devices = self.cables[0].card(mac(0));
        devices.extend(plug("disk", &disk.image, "format=qcow2"));
        devices.extend(plug("lab", &self.shared, "format=raw"));
        let archive = self.system.system.join("archive.img");
        devices.extend(plug("archive", &archive, "format=raw,readonly=on"));
        let mut rs1 = Vm::start(&Config {
            name: "install-rs1",
            boot: Boot::Kernel {
                arch: Arch::Amd64,
                binary: &disk.boot.join(BOOT[0]),
                initramfs: &disk.boot.join(BOOT[1]),
                options: "root=LABEL=system",
            },
            logs: &self.lab.logs,
            cpus: 2,
            memory: 3072,
            devices,
            count_instructions: false,
            can_be_put_back: false,
        })?;
        rs1.ready()?;
        rs1.be_patient(PATIENCE);
        let script = "until state=$(systemctl is-system-running); [ \"$state\" != starting ]; do sleep 0.2; done; \
                      echo $state; systemctl --failed --no-legend; [ $state = running ]";
        self.shell(&mut rs1, script)?;
        Ok(rs1)
    }

    /// Shuts rs1 down. Its kernel must not have complained.
    fn shut_down(&mut self, mut rs1: Vm, disk: &Disk) -> Result<()> {
        // A kernel's initramfs is what update-initramfs made last.
        self.shell(&mut rs1, "cp -L /vmlinuz /initrd.img /lab/")?;
        self.done += "rs1 shuts down\n";
        let complaints = rs1.finish()?;
        for file in BOOT {
            let to = disk.boot.join(file);
            run_command(
                Command::new("debugfs")
                    .args(["-R", &format!("dump /{file} {}", to.display())])
                    .arg(&self.shared)
                    .stderr(Stdio::null()), // its version
            )?;
        }
        ensure!(
            complaints.is_empty(),
            "the kernel complained:\n{}",
            complaints.join("\n")
        );
        Ok(())
    }

    /// Boots the client, and lets it send and receive lines on a connection to the VIP. It has rs1's hardware address
    /// for it, as if a director had passed its packets on.
    fn client(&mut self) -> Result<Vm> {
        let mut client = Vm::start(&Config {
            name: "install-client",
            boot: self.lab.boot(),
            logs: &self.lab.logs,
            cpus: 1,
            memory: 256,
            devices: self.cables[1].card(mac(2)),
            count_instructions: false,
            can_be_put_back: false,
        })?;
        client.ready()?;
        let script = format!(
            "set -e
             modprobe virtio_net
             ip addr add 10.0.0.2/24 dev eth0
             ip link set eth0 up
             ip neigh add {VIP} lladdr {} nud permanent dev eth0
             (n=0; while :; do n=$((n + 1)); echo $n; usleep 50000; done | nc {VIP} 7 >/run/echoed) \
                 </dev/null >/dev/null 2>&1 &",
            Colons(mac(0))
        );
        self.shell(&mut client, &script)?;
        Ok(client)
    }

    /// Runs a command line, which must succeed.
    fn shell(&mut self, vm: &mut Vm, command: &str) -> Result<String> {
        self.done += &format!("# {command}\n");
        vm.shell(command)
    }

    /// Waits until rs1's own address has been answered for often enough, and says what was seen since so many frames.
    fn watch(&self, from: usize) -> Result<Seen> {
        let start = Instant::now();
        loop {
            let frames = self.lan.recording_since(from);
            let own = claims(&frames, OWN).get(MACHINES[0]).copied();
            if own.unwrap_or(0) >= ENOUGH {
                return Ok(Seen::of(&frames));
            }
            ensure!(
                start.elapsed() < Duration::from_secs(60),
                "{OWN} is answered for {own:?} times only"
            );
            sleep(Duration::from_millis(200));
        }
    }

    /// As [`Self::watch`], and the VIP must not have been seen.
    fn silent(&self, from: usize) -> Result<Seen> {
        let seen = self.watch(from)?;
        if seen.answered > 0 {
            bail!("rs1 says that it has the VIP: {seen}");
        }
        Ok(seen)
    }

    /// What somebody who looks into a failure wants to know.
    fn tell(&self) -> String {
        let frames = self.lan.recording();
        let told = |frame: &Frame| {
            let seconds = frame.microseconds as f64 / 1e6;
            format!(
                "{seconds:10.6} {}: {}\n",
                frame.wire,
                describe(&frame.bytes)
            )
        };
        let about_vip = frames.iter().filter(|frame| {
            frame.wire == MACHINES[0] && Arp::read(&frame.bytes).is_some_and(|arp| arp.sip == VIP)
        });
        let about_vip: String = about_vip.take(10).map(told).collect();
        let last: String = frames[frames.len().saturating_sub(20)..]
            .iter()
            .map(told)
            .collect();
        let console = fs::read(self.lab.logs.join("install-rs1.console")).unwrap_or_default();
        let console = String::from_utf8_lossy(&console);
        let lines: Vec<&str> = console.lines().collect();
        let tail = lines[lines.len().saturating_sub(30)..].join("\n");
        format!(
            "--- what was done\n{}--- the first frames in the VIP's name\n{about_vip}--- the last frames\n{last}\
             --- the end of rs1's console\n{tail}",
            self.done
        )
    }
}

/// What a boot loader loads.
const BOOT: [&str; 2] = ["vmlinuz", "initrd.img"];
