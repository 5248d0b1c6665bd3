// SPDX-License-Identifier: GPL-2.0

//! The table in `/proc/net/arp_hidden`.

use crate::{
    lab::{
        case::cases,
        real_server::real_server,
        table::{lines, shows, TABLE},
        Lab, Way,
    },
    machine,
    wire::PATIENCE,
};
use anyhow::{ensure, Context, Result};
use std::{
    fs::{self, File},
    io::Read,
    os::unix::{fs::MetadataExt, process::CommandExt},
    process::Command,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::Instant,
};

cases![
    see_table,
    see_table_of_others: alone,
    see_table_while_devices_come_and_go,
];

fn see_table(lab: &mut Lab) -> Result<()> {
    let (host, _, _) = real_server(lab)?;
    shows(&host, &[])?;
    // `all` was forgotten.
    host.conf("lo", "hidden", 2)?;
    shows(&host, &["lo 2 0 0 0 0 0 0 0 0 0 all/hidden=0"])?;
    host.conf("lo", "arp_invisible", 1)?;
    host.conf("all", "arp_invisible", 1)?;
    shows(&host, &["lo 2 0 1 1 1 0 0 0 0 0 all/hidden=0"])?;
    host.conf("all", "hidden", 1)?;
    shows(&host, &["lo 2 2 1 1 1 0 0 0 0 0 -"])?;
    host.conf("all", "arp_invisible", 0)?;
    shows(&host, &["lo 2 2 1 0 1 0 0 0 0 0 all/arp_invisible=0"])?;
    host.conf("all", "hidden", 0)?;
    let both = "lo 2 0 1 0 0 0 0 0 0 0 all/hidden=0,all/arp_invisible=0";
    shows(&host, &[both])?;
    host.conf("lo", "arp_invisible", 0)?;
    host.conceal("lo", Way::Hidden)?;
    // An address that is visible elsewhere is not concealed.
    host.ip("addr add 10.0.0.101/32 dev lo")?;
    shows(&host, &["lo 1 1 0 0 2 0 0 0 0 0 -"])?;
    host.ip("addr add 10.0.0.101/32 dev eth0")?;
    shows(&host, &["lo 1 1 0 0 1 0 0 0 0 0 -"])?;
    // Devices are listed in the order of their indexes, with their current names.
    host.ip("link add name dummy0 type dummy")?;
    host.conf("dummy0", "hidden", 1)?;
    let dummy = "dummy0 1 1 0 0 0 0 0 0 0 0 -";
    shows(&host, &["lo 1 1 0 0 1 0 0 0 0 0 -", dummy])?;
    host.ip("link set dummy0 name fifteen_letters")?;
    let long = "fifteen_letters 1 1 0 0 0 0 0 0 0 0 -";
    shows(&host, &["lo 1 1 0 0 1 0 0 0 0 0 -", long])?;
    host.ip("link del fifteen_letters")?;
    host.reveal("lo", Way::Hidden)?;
    shows(&host, &[])
}

fn see_table_of_others(lab: &mut Lab) -> Result<()> {
    let (host, neighbour, _) = real_server(lab)?;
    host.conceal("lo", Way::Hidden)?;
    shows(&neighbour, &[])?;
    ensure!(lines(&fs::read_to_string(TABLE)?)?.is_empty());
    // The table is readable for whoever may read /proc/net/arp.
    host.enter(|| {
        let (table, arp) = (fs::metadata(TABLE)?, fs::metadata("/proc/net/arp")?);
        let of = |file: &fs::Metadata| (file.mode(), file.uid(), file.gid());
        ensure!(of(&table) == of(&arp), "{:?} {:?}", of(&table), of(&arp));
        Ok(())
    })??;
    let mut nobody = Command::new("/bin/busybox");
    nobody.args(["cat", TABLE]).uid(65534).gid(65534);
    let output = host.enter(|| nobody.output())??;
    ensure!(lines(&String::from_utf8(output.stdout)?)?.len() == 1);
    // An open table does not prevent unloading.
    let mut open = host.enter(|| File::open(TABLE))??;
    open.read_exact(&mut [0; 6])?;
    lab.run("rmmod arp_hidden")?;
    ensure!(open.read(&mut [0; 6]).is_err(), "read without the module");
    ensure!(
        host.enter(|| fs::metadata(TABLE))?.is_err(),
        "a file is left"
    );
    Ok(())
}

fn see_table_while_devices_come_and_go(lab: &mut Lab) -> Result<()> {
    const ROUNDS: u32 = 8;
    let host = lab.host("host")?;
    host.conf("default", "hidden", 1)?;
    for number in 0..20 {
        host.ip(&format!("link add stays{number} type dummy"))?;
    }
    let stop = AtomicBool::new(false);
    let rounds = AtomicU32::new(0);
    thread::scope(|scope| {
        let churn = || -> Result<()> {
            while !stop.load(Ordering::Relaxed) {
                let (status, text) = machine::shell(
                    "for n in 1 2 3 4; do ip link add goes$n type dummy || exit; done; \
                     for n in 1 2 3 4; do ip link del goes$n || exit; done",
                )?;
                ensure!(status == 0, "{text}");
                rounds.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        };
        let churn = host.enter(|| scope.spawn(churn))?;
        let wanted: Vec<String> = (0..20).map(|number| format!("stays{number}")).collect();
        let look = |step: usize| -> Result<()> {
            // Read in small pieces, so that the table changes meanwhile.
            let mut file = host.enter(|| File::open(TABLE))??;
            let mut text = Vec::new();
            let mut piece = vec![0; step];
            loop {
                match file.read(&mut piece)? {
                    0 => break,
                    len => text.extend_from_slice(&piece[..len]),
                }
            }
            let text = String::from_utf8(text)?;
            let table = lines(&text)?;
            let names = table.iter().map(|line| line[0].as_str());
            let stay = names.filter(|name| name.starts_with("stays"));
            ensure!(stay.eq(wanted.iter()), "{text}");
            Ok(())
        };
        let deadline = Instant::now() + 6 * PATIENCE;
        let mut steps = (7..400).step_by(13).cycle();
        let mut looked = Ok(());
        while looked.is_ok() && rounds.load(Ordering::Relaxed) < ROUNDS && Instant::now() < deadline
        {
            looked = look(steps.next().context("no end")?);
        }
        stop.store(true, Ordering::Relaxed);
        churn.join().unwrap()?;
        let rounds = rounds.load(Ordering::Relaxed);
        ensure!(looked.is_err() || rounds >= ROUNDS, "{rounds} rounds");
        looked
    })
}
