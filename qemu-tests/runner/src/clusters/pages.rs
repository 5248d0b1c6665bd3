// SPDX-License-Identifier: GPL-2.0

//! Pages that name their server, for stories in which [`Cluster::works`] sees too little or expects too much.

use crate::cluster::Cluster;
use anyhow::{ensure, Result};
use std::collections::BTreeMap;

/// What a request yields that is not served.
const NOBODY: &str = "nobody";

/// Gives web servers a page of their own.
pub(super) fn name_servers(cluster: &mut Cluster<'_>, names: &[&str]) -> Result<()> {
    for name in names {
        cluster.shell(name, &format!("echo {name} >/www/name\n"))?;
    }
    Ok(())
}

/// Lets the client ask for that page, and who has the address anew each time: how many requests each server served.
pub(super) fn ask(
    cluster: &mut Cluster<'_>,
    address: &str,
    requests: usize,
) -> Result<BTreeMap<String, usize>> {
    let output = cluster.shell(
        "client",
        &format!(
            "for request in $(seq {requests}); do
                ip neigh flush dev eth0
                wget -q -T 3 -O - http://{address}/name 2>/dev/null || echo {NOBODY}
            done\n"
        ),
    )?;
    let mut served = BTreeMap::new();
    for name in output.lines() {
        *served.entry(name.to_owned()).or_default() += 1;
    }
    Ok(served)
}

/// Every request must be served, by all of these servers and by no other.
pub(super) fn served_by(
    cluster: &mut Cluster<'_>,
    address: &str,
    servers: &[&str],
) -> Result<BTreeMap<String, usize>> {
    const EACH: usize = 8;
    let served = ask(cluster, address, EACH * servers.len())?;
    ensure!(
        served.keys().eq(servers),
        "requests are served by {served:?}, not by {servers:?}"
    );
    Ok(served)
}
