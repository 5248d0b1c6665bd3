// SPDX-License-Identifier: GPL-2.0

//! Pages that name their server, for recipes that [`Cluster::works`] does not fit.

use crate::cluster::Cluster;
use anyhow::{ensure, Result};
use std::collections::BTreeMap;

/// Stands for the server of a failed request.
const NOBODY: &str = "nobody";

/// Gives each web server a page with its name.
pub(super) fn name_servers(cluster: &mut Cluster<'_>, names: &[&str]) -> Result<()> {
    for name in names {
        cluster.shell(name, &format!("echo {name} >/www/name\n"))?;
    }
    Ok(())
}

/// Makes the client request that page, with an empty neighbour table each time. Returns how many requests each server
/// served.
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

/// Fails unless all of these servers, and no others, serve requests.
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
