// SPDX-License-Identifier: GPL-2.0

//! `fault.md`: without a remedy, all three hosts reply for the VIP.

use crate::{
    cluster::{told, Cluster, VIP},
    recipe::Recipe,
    traffic::{connections, questions},
};
use anyhow::{ensure, Result};
use std::{collections::BTreeMap, thread::sleep, time::Duration};

pub(super) fn story(cluster: &mut Cluster<'_>, recipe: &Recipe) -> Result<String> {
    const REQUESTS: usize = 30;
    let names = cluster.names().to_vec();
    cluster.set_up(recipe, &names)?;
    cluster.follow(&recipe.parts[0])?;
    let first = cluster.passed();
    cluster.shell(
        "client",
        &format!(
            "for request in $(seq {REQUESTS}); do
                ip neigh flush to {VIP}
                wget -q -T 5 -O /dev/null http://{VIP}/data || true
            done\n"
        ),
    )?;
    sleep(Duration::from_millis(300));
    let frames = cluster.frames_since(first);
    let questions = questions(&frames, "client", VIP);
    let mut answers: BTreeMap<&str, usize> = BTreeMap::new();
    for name in questions.iter().flat_map(|question| &question.answered_by) {
        *answers.entry(name).or_default() += 1;
    }
    for name in ["director", "rs1", "rs2"] {
        // A reply may be lost, or come after the next request.
        ensure!(
            answers.get(name).copied().unwrap_or(0) > questions.len() / 2,
            "{name} does not reply: {answers:?} to {} requests",
            questions.len()
        );
    }
    let connections = connections(&frames, "client", &names);
    let begun: Vec<&str> = connections.iter().map(|c| &*c.path[0]).collect();
    let wandered = begun.windows(2).filter(|two| two[0] != two[1]).count();
    let mut straight: BTreeMap<&str, usize> = BTreeMap::new();
    for name in &begun {
        *straight.entry(name).or_default() += 1;
    }
    Ok(format!(
        "{} requests, replies: {}; {} connections went to: {}; the entry changed {wandered} times",
        questions.len(),
        told(&answers),
        begun.len(),
        told(&straight)
    ))
}
