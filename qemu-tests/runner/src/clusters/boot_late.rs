// SPDX-License-Identifier: GPL-2.0

//! `boot.md`: VIPs that are added before their flag is set.

use crate::{
    cluster::{told, Cluster, VIP},
    recipe::Recipe,
    traffic::{claims, questions},
};
use anyhow::{bail, ensure, Result};
use std::{thread::sleep, time::Duration};

pub(super) fn story(cluster: &mut Cluster<'_>, recipe: &Recipe) -> Result<String> {
    const QUESTIONS: usize = 10;
    let names = cluster.names().to_vec();
    let [early, late] = &recipe.parts[..] else {
        bail!("the recipe has other parts");
    };
    cluster.set_up(recipe, &names)?;
    cluster.follow(early)?;
    cluster.begin_asking(VIP)?;
    cluster.wait_for_questions(0, QUESTIONS)?;
    cluster.follow(late)?;
    let after = cluster.passed();
    cluster.wait_for_questions(after, QUESTIONS)?;
    cluster.end_asking()?;
    sleep(Duration::from_millis(300));
    let frames = cluster.frames();
    let before = claims(&frames[..after], VIP);
    for name in ["rs1", "rs2"] {
        ensure!(
            before.contains_key(name),
            "{name} does not reply without the flag: {before:?}"
        );
    }
    // A late reply to an earlier request is not counted.
    let questions = questions(&frames[after..], "client", VIP);
    let wrong = questions
        .iter()
        .find(|question| question.answered_by != ["director"]);
    if let Some(wrong) = wrong {
        bail!("with the flag: not exactly one reply, by the director: {wrong:?}");
    }
    let note = cluster.works("director")?;
    Ok(format!("before the flags: {}; then {note}", told(&before)))
}
