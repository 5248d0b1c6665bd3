// SPDX-License-Identifier: GPL-2.0

//! `kube-proxy.md`: all service addresses on every node, strictARP and the module side by side.

use super::pages::{name_servers, served_by};
use crate::{
    cluster::{address, told, Cluster, VIP},
    recipe::Recipe,
    traffic::claims,
};
use anyhow::{bail, ensure, Context, Result};

const NODES: [&str; 2] = ["rs1", "rs2"];

pub(super) fn story(cluster: &mut Cluster<'_>, recipe: &Recipe) -> Result<String> {
    let names = cluster.names().to_vec();
    let [neither, strict_arp, hidden, moved] = &recipe.parts[..] else {
        bail!("the recipe has other parts");
    };
    cluster.set_up(recipe, &names)?;
    name_servers(cluster, &NODES)?;
    let mut notes = Vec::new();
    for (part, answering, pods_reach_nodes) in [
        (neither, &NODES[..], true),
        (strict_arp, &["rs1"], false),
        (hidden, &["rs1"], true),
        (moved, &["rs2"], true),
    ] {
        cluster.follow(part)?;
        let first = cluster.passed();
        cluster.begin_asking(VIP)?;
        let served = served_by(cluster, &VIP.to_string(), &NODES);
        let served = served.with_context(|| part.title.clone())?;
        cluster.end_asking()?;
        let claims = claims(&cluster.frames_since(first), VIP);
        ensure!(
            claims.keys().eq(answering),
            "{}: these claim {VIP}: {claims:?}",
            part.title
        );
        for node in NODES {
            let node_address = address(node)?;
            let look = format!(
                "ip -n pod neigh flush all\nip netns exec pod ping -q -c 1 -W 1 {node_address} >/dev/null && echo yes || echo no\n"
            );
            let reaches = cluster.shell(node, &look)? == "yes\n";
            ensure!(
                reaches == pods_reach_nodes,
                "{}: the pod of {node} reaches it: {reaches}",
                part.title
            );
        }
        notes.push(format!(
            "{}: replies {}, served {}, pods reach their nodes: {pods_reach_nodes}",
            part.title,
            told(&claims),
            told(&served)
        ));
    }
    let addresses = cluster.shell("rs1", "ip -br addr show dev kube-ipvs0 | wc -w\n")?;
    let addresses: usize = addresses.trim().parse()?;
    // The line begins with name and state.
    ensure!(addresses == 1001 + 2, "kube-ipvs0 has {addresses} words");
    Ok(notes.join("; "))
}
