// SPDX-License-Identifier: GPL-2.0

//! `health.md`: a director that checks its real servers.

use super::pages::{ask, name_servers, served_by};
use crate::{
    cluster::{told, Cluster, VIP},
    recipe::Recipe,
};
use anyhow::{bail, ensure, Context, Result};

/// A page that takes longer to load than a health check takes to notice a failure.
const DOWNLOAD: &str = "\
mkdir -p /www/cgi-bin
cat >/www/cgi-bin/download <<'end'
#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
for part in $(seq 20); do echo part $part; sleep 0.4; done
cat /www/name
end
chmod +x /www/cgi-bin/download
";

pub(super) fn story(cluster: &mut Cluster<'_>, recipe: &Recipe) -> Result<String> {
    let names = cluster.names().to_vec();
    let vip = VIP.to_string();
    let [both, maintained, back, died, restarted] = &recipe.parts[..] else {
        bail!("the recipe has other parts");
    };
    cluster.set_up(recipe, &names)?;
    name_servers(cluster, &["rs1", "rs2"])?;
    for name in ["rs1", "rs2"] {
        cluster.shell(name, DOWNLOAD)?;
    }
    cluster.follow(both)?;
    wait_for_weight(cluster, 1)?;
    served_by(cluster, &vip, &["rs1", "rs2"])?;

    // One download from each server.
    cluster.shell(
        "client",
        &format!(
            "for number in 1 2; do
                wget -q -T 10 -O /tmp/download$number http://{vip}/cgi-bin/download >/dev/null 2>&1 &
            done
            sleep 1\n"
        ),
    )?;
    cluster.follow(maintained)?;
    wait_for_weight(cluster, 0)?;
    served_by(cluster, &vip, &["rs1"]).with_context(|| maintained.title.clone())?;
    let ends = cluster.shell(
        "client",
        "while ps | grep -q '[c]gi-bin/download'; do sleep 1; done
        tail -q -n 1 /tmp/download1 /tmp/download2 | sort\n",
    )?;
    ensure!(ends == "rs1\nrs2\n", "the downloads end with {ends}");

    cluster.follow(back)?;
    wait_for_weight(cluster, 1)?;
    served_by(cluster, &vip, &["rs1", "rs2"]).with_context(|| back.title.clone())?;

    cluster.follow(died)?;
    let during = ask(cluster, &vip, 6)?;
    wait_for_weight(cluster, 0)?;
    served_by(cluster, &vip, &["rs1"]).with_context(|| died.title.clone())?;

    cluster.follow(restarted)?;
    wait_for_weight(cluster, 1)?;
    let served = served_by(cluster, &vip, &["rs1", "rs2"]);
    let served = served.with_context(|| restarted.title.clone())?;
    Ok(format!(
        "no request is lost in maintenance; as the server dies, of 6 requests: {}; back: {}",
        told(&during),
        told(&served)
    ))
}

/// Waits until IPVS has given rs2 this weight.
fn wait_for_weight(cluster: &mut Cluster<'_>, weight: u8) -> Result<()> {
    let look = format!(
        "for try in $(seq 200); do
            ipvsadm -S -n | grep -q -e '-r 10.0.0.12:80 -g -w {weight}$' && exit 0
            usleep 100000
        done
        ipvsadm -S -n
        exit 1\n"
    );
    cluster.shell("director", &look).map(drop)
}
