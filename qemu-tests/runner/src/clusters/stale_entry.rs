// SPDX-License-Identifier: GPL-2.0

//! `router.md`: a router has a stale entry, which a real server confirms or leaves to expire.

use crate::{
    cluster::{told, Cluster, VIP},
    recipe::Recipe,
    traffic::{arp, claims, connections},
};
use anyhow::{bail, ensure, Result};
use std::{thread::sleep, time::Duration};

pub(super) fn story(cluster: &mut Cluster<'_>, recipe: &Recipe) -> Result<String> {
    const REQUESTS: usize = 12;
    let names = cluster.names().to_vec();
    let [classic, healing] = &recipe.parts[..] else {
        bail!("the recipe has other parts");
    };
    cluster.set_up(recipe, &names)?;
    // The router probes a stale entry after a second instead of five, and gives up sooner.
    cluster.shell(
        "router",
        "sysctl net.ipv4.neigh.eth0.delay_first_probe_time=1 net.ipv4.neigh.eth0.retrans_time_ms=300\n",
    )?;
    let mut notes = Vec::new();
    for (part, heals) in [(classic, false), (healing, true)] {
        cluster.follow(part)?;
        let first = cluster.passed();
        let rs1 = cluster.hardware_address("rs1")?;
        cluster.shell(
            "router",
            &format!("ip neigh replace {VIP} lladdr {rs1} dev eth0 nud stale\n"),
        )?;
        let served = cluster.shell(
            "client",
            &format!(
                "for request in $(seq {REQUESTS}); do
                    wget -q -T 5 -O /dev/null http://{VIP}/data && echo served
                    usleep 250000
                done\n"
            ),
        )?;
        sleep(Duration::from_millis(300));
        let frames = cluster.frames_since(first);
        let served = served.lines().filter(|line| *line == "served").count();
        let connections = connections(&frames, "router", &names);
        // A connection that moves to the director when the entry is updated breaks: IPVS does not know it.
        let moved = connections.iter().filter(|c| c.path.len() > 1).count();
        ensure!(
            served + moved >= REQUESTS,
            "{served} of {REQUESTS} requests served, {moved} moved midway"
        );
        let begun: Vec<&str> = connections.iter().map(|c| &*c.path[0]).collect();
        let claims = claims(&frames, VIP);
        let probes = arp(&frames)
            .filter(|(name, arp)| *name == "router" && arp.tip == VIP && arp.to != [0xff; 6])
            .count();
        ensure!(probes > 0, "the router did not probe rs1: {begun:?}");
        let straight = begun.iter().filter(|name| **name == "rs1").count();
        let end = begun.last().copied();
        if heals {
            ensure!(
                end == Some("director") && claims.keys().eq(["director"]),
                "the entry is not updated: requests go to {begun:?}, replies come from {claims:?}"
            );
        } else {
            ensure!(
                straight == REQUESTS && claims.keys().eq(["rs1"]),
                "the entry does not stay: requests go to {begun:?}, replies come from {claims:?}"
            );
        }
        notes.push(format!(
            "{straight} of {REQUESTS} requests straight to rs1, {probes} unicast probes, replies: {}",
            told(&claims)
        ));
    }
    cluster.works("director")?;
    Ok(notes.join("; with hidden=2: "))
}
