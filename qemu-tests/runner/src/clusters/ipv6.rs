// SPDX-License-Identifier: GPL-2.0

//! `ipv6.md`: the same service on IPv6, which needs no flag.

use super::pages::{name_servers, served_by};
use crate::{
    cluster::{told, Cluster},
    recipe::Recipe,
    traffic::{advertised, sources}, //
};
use anyhow::{ensure, Result};
use std::net::Ipv6Addr;

const fn address(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last)
}

pub(super) fn story(cluster: &mut Cluster<'_>, recipe: &Recipe) -> Result<String> {
    let names = cluster.names().to_vec();
    let (vip, client) = (address(0x100), address(1));
    cluster.set_up(recipe, &names)?;
    name_servers(cluster, &["rs1", "rs2"])?;
    recipe
        .parts
        .iter()
        .try_for_each(|part| cluster.follow(part))?;
    let served = served_by(cluster, &format!("[{vip}]"), &["rs1", "rs2"])?;
    for (name, own) in [("rs1", address(0x11)), ("rs2", address(0x12))] {
        cluster.shell(
            name,
            &format!("wget -q -T 1 -O /dev/null http://[{client}]/ || true\n"),
        )?;
        let sources = sources(&cluster.frames(), name, client.into());
        ensure!(
            sources.iter().eq([&own]),
            "connections of {name} come from {sources:?}"
        );
    }
    let advertised = advertised(&cluster.frames(), vip);
    ensure!(
        advertised.keys().eq(["director"]),
        "who says that it has {vip}: {advertised:?}"
    );
    Ok(format!(
        "{}; {} advertisements, all of the director",
        told(&served),
        advertised["director"]
    ))
}
