// SPDX-License-Identifier: GPL-2.0

//! Whether a cluster works: what its client receives, and what passes on the wire.

use super::{address, told, Cluster, CONTENTS, MACHINES, VIP};
use crate::traffic::{arp, asked, claims, connections, owner};
use anyhow::{bail, ensure, Context, Result};
use std::{
    collections::BTreeMap,
    net::SocketAddrV4,
    thread::sleep,
    time::Duration, //
};

/// The service that packets with mark 1 are for, where services are marks.
const MARKED: SocketAddrV4 = SocketAddrV4::new(VIP, 80);

/// How long the slowest answer to the last request takes.
const AFTERMATH: Duration = Duration::from_millis(300);

impl Cluster<'_> {
    /// Makes the client request the contents of each of the director's services, and checks what passes on the wire. Only
    /// the director may claim a VIP. Every request goes to the director and from there to one real server, which answers
    /// from the VIP. Every real server serves, and the client receives the right contents.
    pub(crate) fn works(&mut self, director: &str) -> Result<String> {
        // udev may still be configuring new interfaces. On a busy machine, udevd sometimes closes the connection by which
        // settle asks whether it is there ("Failed to wait for daemon to reply: Broken pipe").
        for name in self.names.clone() {
            self.shell(name, "udevadm settle || { sleep 1; udevadm settle; }\n")?;
        }
        let services = Service::read(&self.shell(director, "ipvsadm -S -n\n")?)?;
        let mut faults = Vec::new();
        let mut real_servers: Vec<&str> = Vec::new();
        for service in &services {
            for (name, _) in &service.real_servers {
                if !real_servers.contains(name) {
                    real_servers.push(name);
                }
            }
        }
        // Real servers that have forgotten their neighbours must ask, and their requests show a sender address.
        for name in &real_servers {
            self.order(name, "ip neigh flush dev eth0\n")?;
        }
        self.wait_for(&real_servers)?;
        let entry = self.entry();
        let mut forget = String::new();
        for service in &services {
            forget += &format!("ip neigh flush to {}\n", service.address.ip());
        }
        if entry != "client" {
            self.shell(entry, &forget)?;
            forget.clear();
        }
        let first = self.passed();
        let rounds = 2 * services
            .iter()
            .map(|s| s.real_servers.len())
            .max()
            .unwrap_or(0);
        let mut script = format!("for round in $(seq {rounds}); do\n{forget}");
        for service in &services {
            let url = service.address;
            script += &format!("wget -q -T 5 -O - http://{url}/data | md5sum\n");
        }
        script += &format!("done\n{CONTENTS} | md5sum\n");
        let output = self.shell("client", &script)?;
        sleep(AFTERMATH);
        let frames = self.frames_since(first);

        let mut sums: Vec<&str> = output.lines().collect();
        let right = sums.pop().context("the client prints nothing")?;
        let requests = rounds * services.len();
        let received = sums.iter().filter(|sum| **sum == right).count();
        if received != requests {
            faults.push(format!(
                "{requests} requests, {received} answers with the right contents"
            ));
        }

        let connections = connections(&frames, entry, &self.names);
        if connections.len() != requests {
            faults.push(format!(
                "{requests} requests, {} connections on the wire",
                connections.len()
            ));
        }
        let mut served: BTreeMap<&str, usize> = BTreeMap::new();
        for connection in &connections {
            let service = services.iter().find(|s| s.address == connection.to);
            let service = service.context("a connection with no service")?;
            let by = match &connection.answered_by[..] {
                [one] => service.real_servers.iter().find(|(name, _)| name == one),
                _ => None,
            };
            let right = by.is_some_and(|(name, tunnelled)| {
                let passed_on = [((*name).to_owned(), *tunnelled)];
                // The director does not forward what it serves itself.
                let passed_on = &passed_on[usize::from(*name == director)..];
                connection.path == [director] && connection.passed_on == passed_on
            });
            if !right {
                faults.push(format!("not through the director to one real server that answers as the VIP: {connection:?}"));
            }
            if let Some((name, _)) = by {
                *served.entry(name).or_default() += 1;
            }
        }
        for name in &real_servers {
            if !served.contains_key(name) {
                faults.push(format!("{name} serves nothing"));
            }
        }

        let mut answers = 0;
        for service in &services {
            let vip = *service.address.ip();
            if asked(&frames, entry, vip) == 0 {
                faults.push(format!("{entry} never asked who has {vip}"));
            }
            let mut claims = claims(&frames, vip);
            answers += claims.remove(director).unwrap_or(0);
            if !claims.is_empty() {
                faults.push(format!(
                    "other machines than the director claim {vip}: {claims:?}"
                ));
            }
            let strange = arp(&frames)
                .find(|(_, arp)| arp.sip == vip && owner(&arp.sha, &self.names) != Some(director));
            if let Some((sender, arp)) = strange {
                faults.push(format!("{sender} sends: {arp}"));
            }
        }
        ensure!(faults.is_empty(), "{}", faults.join("\n"));
        Ok(format!(
            "{requests} requests, served {}; {answers} replies for the VIP, all by {director}",
            told(&served)
        ))
    }
}

/// A service of a director.
struct Service {
    address: SocketAddrV4,
    /// The real servers, and whether packets reach them through a tunnel.
    real_servers: Vec<(&'static str, bool)>,
}

impl Service {
    /// Parses the output of `ipvsadm -S -n`.
    fn read(text: &str) -> Result<Vec<Self>> {
        let mut services: Vec<Self> = Vec::new();
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["-A", "-t", address, ..] => services.push(Self {
                    address: address.parse()?,
                    real_servers: Vec::new(),
                }),
                ["-A", "-f", "1", ..] => services.push(Self {
                    address: MARKED,
                    real_servers: Vec::new(),
                }),
                ["-a", _, _, "-r", real_server, method, ..] => {
                    let real: SocketAddrV4 = real_server.parse()?;
                    let name = MACHINES
                        .iter()
                        .find(|(name, _)| address(name).is_ok_and(|a| a == *real.ip()))
                        .with_context(|| format!("{real_server} is no machine"))?
                        .0;
                    let service = services.last_mut().context("a server of no service")?;
                    service.real_servers.push((name, method == "-i"));
                }
                _ => bail!("ipvsadm prints '{line}'"),
            }
        }
        ensure!(!services.is_empty(), "the director has no service");
        Ok(services)
    }
}
