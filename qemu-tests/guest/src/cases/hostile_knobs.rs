// SPDX-License-Identifier: GPL-2.0

//! Misuse of the knobs. One of the kernel's own knobs shows how the kernel treats the same writes.

use crate::{
    lab::{
        case::cases,
        chance::pick,
        module::load,
        real_server::{real_server, VIP},
        Host, Lab, Way,
    },
    wire::{who_has, PATIENCE},
};
use anyhow::{anyhow, ensure, Result};
use fastrand::Rng;
use nix::errno::Errno;
use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    sync::{
        atomic::{AtomicBool, Ordering::Relaxed},
        Arc,
    },
    thread,
    time::Instant,
};

cases![hostile_writes: alone, hostile_writers_at_once, hostile_descriptors: alone,];

/// A knob of the kernel that resembles ours: an integer from 0 to 3.
const KERNELS: &str = "/proc/sys/net/core/devconf_inherit_init_net";

fn hostile_writes(lab: &mut Lab) -> Result<()> {
    let (host, _, _) = real_server(lab)?;
    let mut texts: Vec<Vec<u8>> = [
        "",
        "\n",
        " ",
        "\t\n",
        "0",
        "1",
        "2",
        "00",
        "01",
        "0x1",
        "0x2",
        "010",
        "-0",
        "+1",
        "-1",
        "--1",
        "1 2",
        "1\t0",
        "1,2",
        "1\n2",
        " 1",
        "1 ",
        "1\0",
        "\0",
        "1\x002",
        "1x",
        "x1",
        "x",
        "4",
        "255",
        "256",
        "65536",
        "65537",
        "2147483647",
        "2147483648",
        "4294967295",
        "4294967296",
        "4294967297",
        "18446744073709551616",
        "1e0",
        "1.0",
        "true",
        "%s%n",
        "\u{661}",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    texts.extend([
        b"1".repeat(100),
        b"9".repeat(5000),
        b"0".repeat(5000),
        b" ".repeat(5000),
        vec![0xff; 5000],
    ]);
    texts.push(b"1".repeat(1 << 20));
    let mut rng = Rng::with_seed(0x2214);
    for _ in 0..500 {
        let len = rng.usize(..8);
        texts.push(
            (0..len)
                .map(|_| pick(&mut rng, b"012-+x \n\t\0\xff"))
                .collect(),
        );
    }
    // None of the texts is a 3, which only the kernel's knob accepts.
    let open = |path: &str| OpenOptions::new().read(true).write(true).open(path);
    let before = fs::read_to_string(KERNELS)?;
    let result = (|| {
        let stock = open(KERNELS)?;
        let ours = host.enter(|| open("/proc/sys/net/ipv4/conf/lo/hidden"))??;
        for text in &texts {
            // At the beginning, and as the rest of a partial write.
            for offset in [0, 1, 4096] {
                for start in [b"0", b"1"] {
                    for file in [&ours, &stock] {
                        file.write_at(start, 0)?;
                    }
                    let outcome = |file: &File| -> Result<_> {
                        let written = file.write_at(text, offset);
                        let written = written.map_err(|error| error.raw_os_error());
                        let mut value = [0; 64];
                        let len = file.read_at(&mut value, 0)?;
                        Ok((written, value[..len].to_vec()))
                    };
                    let (ours, stock) = (outcome(&ours)?, outcome(&stock)?);
                    ensure!(
                        ours == stock,
                        "{:?} at {offset}: {ours:?}, but the kernel's own knob {stock:?}",
                        String::from_utf8_lossy(&text[..text.len().min(40)])
                    );
                }
            }
        }
        Ok(())
    })();
    fs::write(KERNELS, before.trim())?;
    lab.note = Some(format!("{} texts", texts.len()));
    result
}

/// Several threads write to the same knobs at once, and one reads.
fn hostile_writers_at_once(lab: &mut Lab) -> Result<()> {
    const ROUNDS: usize = 100;
    let (host, _, wire) = real_server(lab)?;
    host.conf("all", "hidden", 1)?;
    let knob = |name: &str| {
        let path = format!("/proc/sys/net/ipv4/conf/{name}/hidden");
        host.enter(|| OpenOptions::new().read(true).write(true).open(path))?
            .map_err(anyhow::Error::from)
    };
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for (number, name) in ["lo", "lo", "eth0", "default"].into_iter().enumerate() {
        let file = knob(name)?;
        writers.push(thread::spawn(move || -> Result<()> {
            let mut rng = Rng::with_seed(number as u64);
            for _ in 0..ROUNDS {
                let value = pick(&mut rng, &["0", "1", "2", "3", "-1", "x", ""]);
                let wrong = matches!(value, "3" | "-1" | "x");
                match file.write_at(value.as_bytes(), 0) {
                    Ok(_) => ensure!(!wrong, "{value} is accepted"),
                    Err(error) => ensure!(
                        wrong && error.raw_os_error() == Some(Errno::EINVAL as i32),
                        "'{value}': {error}"
                    ),
                }
            }
            Ok(())
        }));
    }
    let reader = thread::spawn({
        let (file, stop) = (knob("lo")?, stop.clone());
        move || -> Result<()> {
            while !stop.load(Relaxed) {
                let mut text = [0; 16];
                let len = file.read_at(&mut text, 0)?;
                ensure!(
                    [b"0\n", b"1\n", b"2\n"]
                        .iter()
                        .any(|value| **value == text[..len]),
                    "{text:?}"
                );
            }
            Ok(())
        }
    });
    let join = |thread: thread::JoinHandle<Result<()>>| {
        thread.join().map_err(|_| anyhow!("a writer panicked"))?
    };
    let ended: Vec<Result<()>> = writers.into_iter().map(join).collect();
    stop.store(true, Relaxed);
    join(reader)?;
    ended.into_iter().collect::<Result<()>>()?;
    // The last value written is in force.
    if host.get("net/ipv4/conf/lo/hidden")? == 0 {
        wire.answered(who_has(VIP))?;
    } else {
        wire.silent(who_has(VIP))?;
    }
    host.conceal("lo", Way::Strict)?;
    wire.silent(who_has(VIP).unicast())?;
    host.reveal("lo", Way::Strict)?;
    wire.answered(who_has(VIP))
}

/// Files that stay open: ours, and the kernel's own to compare with.
struct Kept {
    ours: File,
    kernels: File,
    table: File,
}

impl Kept {
    fn open(host: &Host, device: &str) -> Result<Self> {
        let knob = |name| {
            OpenOptions::new()
                .read(true)
                .write(true)
                .open(format!("/proc/sys/net/ipv4/conf/{device}/{name}"))
        };
        host.enter(|| {
            Ok(Self {
                ours: knob("hidden")?,
                kernels: knob("arp_ignore")?,
                table: File::open("/proc/thread-self/net/arp_hidden")?,
            })
        })?
    }

    /// Returns the errors of a read and a write, for our knob and for the kernel's.
    fn knobs(&self) -> [[Option<i32>; 2]; 2] {
        let error = |result: io::Result<usize>| result.err().and_then(|error| error.raw_os_error());
        [&self.ours, &self.kernels].map(|file| {
            [
                error(file.read_at(&mut [0; 16], 0)),
                error(file.write_at(b"1", 0)),
            ]
        })
    }

    /// Fails unless our knob returns the same errors as the kernel's.
    fn as_the_kernels(&self, when: &str) -> Result<()> {
        let [ours, kernels] = self.knobs();
        ensure!(
            ours == kernels && ours[0].is_some(),
            "{when}: {ours:?}, the kernel's own {kernels:?}"
        );
        Ok(())
    }
}

/// Descriptors that outlive their interface, their namespace and the module.
fn hostile_descriptors(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    host.ip("link add dummy0 up type dummy")?;
    let kept = Kept::open(&host, "dummy0")?;
    host.conceal("dummy0", Way::Hidden)?;
    host.ip("link del dummy0")?;
    kept.as_the_kernels("after the interface")?;
    // A new interface of the same name is another one.
    host.ip("link add dummy0 up type dummy")?;
    kept.as_the_kernels("after the interface, with another of its name")?;
    ensure!(
        host.get("net/ipv4/conf/dummy0/hidden")? == 0,
        "an old descriptor still writes"
    );
    let mut text = [0; 4096];
    ensure!(
        kept.table.read_at(&mut text, 0)? > 0,
        "the table is gone after a device has been deleted"
    );

    let gone = {
        let mut lab = Lab::new();
        let gone = lab.host("gone")?;
        gone.conceal("lo", Way::Hidden)?;
        Kept::open(&gone, "lo")?
    };
    // An open table keeps its namespace alive, as an open /proc/net/dev does.
    ensure!(
        gone.table.read_at(&mut text, 0)? > 0,
        "no table of a namespace without a name"
    );
    let Kept {
        ours,
        kernels,
        table,
    } = gone;
    drop(table);
    let kept_table = kept.table.try_clone()?;
    let gone = Kept {
        ours,
        kernels,
        table: kept_table,
    };
    let deadline = Instant::now() + PATIENCE;
    while gone.knobs()[1][0].is_none() {
        ensure!(Instant::now() < deadline, "the namespace is not freed");
        thread::yield_now();
    }
    gone.as_the_kernels("after the namespace")?;

    let outlived = Kept::open(&host, "lo")?;
    host.conceal("lo", Way::Hidden)?;
    lab.run("rmmod arp_hidden")?;
    for when in ["after the module", "after the module, loaded again"] {
        let [ours, kernels] = outlived.knobs();
        ensure!(
            ours == [Some(Errno::ENOENT as i32); 2] && kernels == [None; 2],
            "{when}: {ours:?}, {kernels:?}"
        );
        ensure!(
            outlived.table.read_at(&mut text, 0).is_err(),
            "{when}: the table can be read"
        );
        load()?;
    }
    ensure!(
        host.get("net/ipv4/conf/lo/hidden")? == 0,
        "an old descriptor still writes"
    );
    host.conf("lo", "arp_ignore", 0)?;
    wire.answered(who_has(VIP))
}
