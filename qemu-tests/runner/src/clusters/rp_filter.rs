// SPDX-License-Identifier: GPL-2.0

//! `tun.md`: all cells of the table of rp_filter.

use crate::{
    cluster::{Cluster, VIP},
    recipe::Recipe, //
};
use anyhow::{ensure, Result};

pub(super) fn story(cluster: &mut Cluster<'_>, recipe: &Recipe) -> Result<String> {
    const REQUESTS: usize = 2;
    let names = cluster.names().to_vec();
    cluster.set_up(recipe, &names)?;
    for (part, works_when_loose) in recipe.parts.iter().zip([false, true]) {
        cluster.follow(part)?;
        for (value, works) in [(0, true), (1, false), (2, works_when_loose)] {
            for name in ["rs1", "rs2"] {
                cluster.shell(
                    name,
                    &format!("sysctl net.ipv4.conf.tunl0.rp_filter={value}"),
                )?;
            }
            // A request that must fail need not wait long.
            let patience = if works { 5 } else { 1 };
            let output = cluster.shell(
                "client",
                &format!(
                    "for request in $(seq {REQUESTS}); do
                        (wget -q -T {patience} -O /dev/null http://{VIP}/data && echo served || true) &
                    done
                    wait"
                ),
            )?;
            let served = output.lines().filter(|line| *line == "served").count();
            let right = if works { REQUESTS } else { 0 };
            ensure!(
                served == right,
                "{}: tunl0.rp_filter={value}: {served} requests served of {REQUESTS}, {right} expected",
                part.title
            );
        }
    }
    Ok("6 cells of the table".to_owned())
}
