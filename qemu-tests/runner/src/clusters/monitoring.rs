// SPDX-License-Identifier: GPL-2.0

//! `monitoring.md`: the collector's output on a running kernel.

use crate::{cluster::Cluster, recipe::Recipe};
use anyhow::{bail, ensure, Context, Result};
use std::{
    io::Write,
    process::{Command, Stdio},
};

/// The collector, and the path at which the package installs it.
const COLLECTOR: &str = include_str!("../../../../dist/prometheus/metrics");
const INSTALLED: &str = "/usr/libexec/arp-hidden/metrics";

/// The samples that the metrics must contain after each part of the recipe.
const EXPECTED: &[&[&str]] = &[
    &["loaded 0", "concealed_addresses 0"],
    &[
        "loaded 1",
        "flag_set{device=\"lo\",flag=\"hidden\"} 1",
        "flag_in_effect{device=\"lo\",flag=\"hidden\"} 0",
        "concealed_addresses 0",
    ],
    &[
        "flag_in_effect{device=\"lo\",flag=\"hidden\"} 1",
        "flag_set{device=\"lo\",flag=\"arp_invisible\"} 0",
        "concealed_addresses 1",
        "source_selection_off 0",
        "requests_unanswered_total{device=\"lo\",kind=\"broadcast\"} 3",
        "requests_unanswered_total{device=\"lo\",kind=\"unicast\"} 0",
    ],
    &[
        "flag_in_effect{device=\"lo\",flag=\"hidden\"} 1",
        "concealed_addresses 0",
    ],
    &["loaded 1", "source_selection_off 1"],
];

pub(super) fn story(cluster: &mut Cluster<'_>, recipe: &Recipe) -> Result<String> {
    let names = cluster.names().to_vec();
    cluster.set_up(recipe, &names)?;
    ensure!(
        recipe.parts.len() == EXPECTED.len(),
        "the recipe has other parts"
    );
    let folder = INSTALLED.trim_end_matches("/metrics");
    let install = format!(
        "mkdir -p {folder}\ncat >{INSTALLED} <<'end'\n{COLLECTOR}end\nchmod +x {INSTALLED}\nuname -r\n"
    );
    let release = cluster.shell("rs1", &install)?;
    let available = format!("module_available{{release=\"{}\"}} 1", release.trim());
    let mut samples = 0;
    for (part, expected) in recipe.parts.iter().zip(EXPECTED) {
        cluster.follow(part)?;
        let metrics = cluster.shell("rs1", &format!("{INSTALLED}\n"))?;
        let lines = metrics.lines().filter(|line| !line.starts_with('#'));
        let found: Vec<&str> = lines
            .filter_map(|line| line.strip_prefix("arp_hidden_"))
            .collect();
        for sample in expected.iter().chain(&[&*available]) {
            ensure!(
                found.contains(sample),
                "{}: no {sample} in\n{metrics}",
                part.title
            );
        }
        samples += found.len();
        check(&metrics).with_context(|| format!("{}:\n{metrics}", part.title))?;
    }
    Ok(format!("{samples} samples, which promtool takes"))
}

/// Runs `promtool check metrics`, which checks the style too.
fn check(metrics: &str) -> Result<()> {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run promtool")?;
    let mut input = promtool.stdin.take().context("no input")?;
    input.write_all(metrics.as_bytes())?;
    drop(input);
    let output = promtool.wait_with_output()?;
    let said = [output.stdout, output.stderr].concat();
    if !output.status.success() {
        bail!("promtool: {}", String::from_utf8_lossy(&said));
    }
    Ok(())
}
