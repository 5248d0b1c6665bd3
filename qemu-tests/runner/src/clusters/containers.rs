// SPDX-License-Identifier: GPL-2.0

//! `containers.md`: containers as real servers, and containers on a real server.

use super::pages::{name_servers, served_by};
use crate::{
    cluster::{told, Cluster, VIP},
    recipe::Recipe,
    traffic::{asked, claims}, //
};
use anyhow::{bail, ensure, Context, Result};

/// What every host that runs containers has.
const CGROUPS: &str = "mkdir -p /sys/fs/cgroup\nmount -t cgroup2 cgroup2 /sys/fs/cgroup\n";

/// Each container has the VIP.
pub(super) fn macvlan(cluster: &mut Cluster<'_>, recipe: &Recipe) -> Result<String> {
    let names = cluster.names().to_vec();
    cluster.set_up(recipe, &names)?;
    cluster.shell("rs1", CGROUPS)?;
    cluster.begin_asking(VIP)?;
    recipe
        .parts
        .iter()
        .try_for_each(|part| cluster.follow(part))?;
    let served = served_by(cluster, &VIP.to_string(), &["web1", "web2"])?;
    cluster.end_asking()?;
    let questions = only_the_director_answers(cluster)?;
    let table = cluster.shell("rs1", "cat /proc/net/arp_hidden\n")?;
    ensure!(
        table.lines().count() == 1,
        "the host has a flag set:\n{table}"
    );
    let table = cluster.shell("rs1", "ip netns exec web1 cat /proc/net/arp_hidden\n")?;
    ensure!(table.contains("\nlo "), "web1 has no flag set:\n{table}");
    Ok(format!("{}; asked {questions} times", told(&served)))
}

/// The host has the VIP; its containers are unaffected.
pub(super) fn beside(cluster: &mut Cluster<'_>, recipe: &Recipe) -> Result<String> {
    let names = cluster.names().to_vec();
    let [before, arp_ignore, hidden] = &recipe.parts[..] else {
        bail!("the recipe has other parts");
    };
    cluster.set_up(recipe, &names)?;
    cluster.shell("rs1", CGROUPS)?;
    name_servers(cluster, &["rs1"])?;
    cluster.begin_asking(VIP)?;
    for (part, bridged, unnumbered, source) in [
        (before, true, true, "10.0.0.11"),
        (arp_ignore, true, false, "10.0.0.100"),
        (hidden, true, true, "10.0.0.11"),
    ] {
        cluster.follow(part)?;
        let expected = format!(
            "bridged reaches the host: {bridged}\nunnumbered reaches the host: {unnumbered}\nsource {source}\n"
        );
        let found = cluster.shell("rs1", REACH)?;
        ensure!(found == expected, "{}: {found}", part.title);
        if part.title != before.title {
            served_by(cluster, &VIP.to_string(), &["rs1"]).with_context(|| part.title.clone())?;
        }
    }
    let pages =
        "wget -q -T 3 -O - http://10.88.0.2/name\nwget -q -T 3 -O - http://10.88.1.2/name\n";
    let pages = cluster.shell("rs1", pages)?;
    ensure!(
        pages == "bridged\nunnumbered\n",
        "the containers serve {pages}"
    );
    cluster.end_asking()?;
    let questions = only_the_director_answers(cluster)?;
    Ok(format!(
        "arp_ignore cuts off the unnumbered container, hidden does not; asked {questions} times"
    ))
}

/// Checks who reaches whom on the host, with empty neighbour tables.
const REACH: &str = "
    ip neigh flush all
    for container in bridged unnumbered; do
        ip -n $container neigh flush all
        ip netns exec $container ping -q -c 1 -W 1 10.0.0.11 >/dev/null && reaches=true || reaches=false
        echo $container reaches the host: $reaches
    done
    ip route get 10.88.1.2 | grep -o 'src [0-9.]*' | sed s/src/source/
";

/// Fails if another machine claims the VIP. Returns how often the client asked.
fn only_the_director_answers(cluster: &Cluster<'_>) -> Result<usize> {
    let frames = cluster.frames();
    let claims = claims(&frames, VIP);
    ensure!(
        claims.keys().eq(["director"]),
        "who says that it has {VIP}: {claims:?}"
    );
    Ok(asked(&frames, "client", VIP))
}
