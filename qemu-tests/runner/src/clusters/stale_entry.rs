// SPDX-License-Identifier: GPL-2.0

//! A router's stale entry, which a real server keeps alive or lets heal.

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
    // So that a router asks again after a second, not after five, and does not wait as long for the answer.
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
        // The connection that the router moves to the director as the entry heals is one that IPVS does not know.
        let moved = connections.iter().filter(|c| c.path.len() > 1).count();
        ensure!(
            served + moved >= REQUESTS,
            "{served} of {REQUESTS} requests served, {moved} moved on their way"
        );
        let begun: Vec<&str> = connections.iter().map(|c| &*c.path[0]).collect();
        let claims = claims(&frames, VIP);
        let probes = arp(&frames)
            .filter(|(name, arp)| *name == "router" && arp.tip == VIP && arp.to != [0xff; 6])
            .count();
        ensure!(probes > 0, "the router did not ask rs1: {begun:?}");
        let straight = begun.iter().filter(|name| **name == "rs1").count();
        let end = begun.last().copied();
        if heals {
            ensure!(
                end == Some("director") && claims.keys().eq(["director"]),
                "it does not heal: requests go to {begun:?}, answers come from {claims:?}"
            );
        } else {
            ensure!(
                straight == REQUESTS && claims.keys().eq(["rs1"]),
                "rs1 does not keep the entry: requests go to {begun:?}, answers come from {claims:?}"
            );
        }
        notes.push(format!(
            "{straight} of {REQUESTS} requests straight to rs1, {probes} unicast probes, answers: {}",
            told(&claims)
        ));
    }
    cluster.works("director")?;
    Ok(notes.join("; healed: "))
}
