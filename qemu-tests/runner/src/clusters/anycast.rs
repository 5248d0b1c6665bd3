// SPDX-License-Identifier: GPL-2.0

//! `anycast.md`: servers that announce the VIP by BGP.

use super::pages::{name_servers, served_by};
use crate::{
    cluster::{address, told, Cluster, VIP},
    recipe::Recipe,
    traffic::{arp, asked, claims, sources}, //
};
use anyhow::{bail, ensure, Context, Result};

pub(super) fn story(cluster: &mut Cluster<'_>, recipe: &Recipe) -> Result<String> {
    let names = cluster.names().to_vec();
    let [both, withdrawn, back] = &recipe.parts[..] else {
        bail!("the recipe has other parts");
    };
    cluster.set_up(recipe, &names)?;
    name_servers(cluster, &["rs1", "rs2"])?;
    cluster.begin_asking(VIP)?;
    let mut notes = Vec::new();
    for (part, servers) in [
        (both, &["rs1", "rs2"][..]),
        (withdrawn, &["rs2"]),
        (back, &["rs1", "rs2"]),
    ] {
        cluster.follow(part)?;
        wait_for_next_hops(cluster, servers)?;
        let served = served_by(cluster, &VIP.to_string(), servers);
        let served = served.with_context(|| part.title.clone())?;
        notes.push(format!("{}: {}", part.title, told(&served)));
    }

    // Connections that the servers open.
    let client = address("client")?;
    for name in ["rs1", "rs2"] {
        cluster.shell(
            name,
            &format!(
                "ip neigh flush dev eth0\nwget -q -T 1 -O /dev/null http://{client}/ || true\n"
            ),
        )?;
    }
    cluster.end_asking()?;
    let frames = cluster.frames();
    for name in ["rs1", "rs2"] {
        let own = address(name)?;
        let sources = sources(&frames, name, client.into());
        ensure!(
            sources.iter().eq([&own]),
            "connections of {name} come from {sources:?}"
        );
        ensure!(
            arp(&frames).any(|(sender, arp)| sender == name && arp.is_request() && arp.sip == own),
            "{name} never asks as {own}"
        );
    }
    let claims = claims(&frames, VIP);
    ensure!(claims.is_empty(), "ARP shows {VIP}: {claims:?}");
    let questions = asked(&frames, "client", VIP);
    ensure!(questions > 0, "the client never asked who has {VIP}");
    Ok(format!(
        "{}; asked {questions} times, no answer",
        notes.join("; ")
    ))
}

/// Waits until the router's route to the VIP leads to exactly these servers.
fn wait_for_next_hops(cluster: &mut Cluster<'_>, servers: &[&str]) -> Result<()> {
    let mut wanted = String::new();
    for name in servers {
        wanted += &format!("via {}\n", address(name)?);
    }
    let look = format!(
        "for try in $(seq 300); do
            [ \"$(ip route show {VIP} | grep -o 'via [0-9.]*' | sort)\" = '{}' ] && exit 0
            usleep 200000
        done
        ip route show {VIP}
        birdcl show protocols
        exit 1\n",
        wanted.trim_end()
    );
    cluster.shell("router", &look).map(drop)
}
