// SPDX-License-Identifier: GPL-2.0

//! The cases with whole clusters. Each follows a recipe of `Documentation/clusters/`, on machines that have just booted or
//! were put back to that state.

mod anycast;
mod boot_late;
mod containers;
mod directors;
mod fault;
mod health;
mod ipv6;
mod kube_proxy;
mod monitoring;
mod pages;
mod rp_filter;
mod stale_entry;

use crate::{
    cluster::{names, Cluster, Machines, VIP},
    lab::Lab,
    recipe::Recipe,
    traffic::{asked, claims},
};
use anyhow::{bail, ensure, Context, Result};
use protocol::{asked_for, Ended, Frame, Outcome};
use std::time::Instant;

/// The names of all these cases begin with this.
pub(crate) const PREFIX: &str = "cluster_";

/// Follows a recipe and checks the cluster. Returns a note for the report.
type Story = fn(&mut Cluster<'_>, &Recipe) -> Result<String>;

/// The recipes with checks of their own. All others run [`works`].
const STORIES: &[(&str, Story)] = &[
    ("cluster_tun_rp_filter", rp_filter::story),
    ("cluster_directors", directors::story),
    ("cluster_stale_entry", stale_entry::story),
    ("cluster_fault", fault::story),
    ("cluster_boot_late", boot_late::story),
    ("cluster_monitoring", monitoring::story),
    ("cluster_health_checks", health::story),
    ("cluster_anycast", anycast::story),
    ("cluster_containers", containers::macvlan),
    ("cluster_beside_containers", containers::beside),
    ("cluster_kube_proxy", kube_proxy::story),
    ("cluster_ipv6", ipv6::story),
];

/// Returns the recipes whose cases match the patterns.
pub(crate) fn matching(patterns: &str) -> Result<Vec<Recipe>> {
    let mut recipes = Recipe::all()?;
    recipes.retain(|recipe| asked_for(&recipe.case, patterns));
    Ok(recipes)
}

/// Runs cases. Calls `tell` after each, with the frames of its recording.
pub(crate) fn run(
    lab: &Lab,
    recipes: &[Recipe],
    mut tell: impl FnMut(&Ended, &[Frame]) -> Result<()>,
) -> Result<()> {
    let most = recipes.iter().map(|recipe| names(recipe).len()).max();
    let consoles: Vec<String> = (1..=most.unwrap_or(0))
        .map(|number| format!("cluster{number}"))
        .collect();
    let mut machines = Machines::boot(lab, &consoles)?;
    for recipe in recipes {
        let start = Instant::now();
        if let Some(why) = lacking(lab, recipe) {
            let ended = Ended {
                name: recipe.case.clone(),
                outcome: Outcome::Skipped { why },
                milliseconds: 0,
                note: None,
            };
            tell(&ended, &[])?;
            continue;
        }
        let mut cluster = machines.renew(&names(recipe))?;
        let mut result = story(&mut cluster, recipe);
        let complaints = cluster.complaints();
        if !complaints.is_empty() {
            let lines = complaints.join("\n");
            result = result.and_then(|_| bail!("a kernel complained:\n{lines}"));
        }
        let (outcome, note) = match result {
            Ok(note) => (Outcome::Passed, Some(note)),
            Err(error) => {
                let state = cluster.tell();
                let file = recipe.file;
                let why = format!("{error:#}\n--- recipe: Documentation/clusters/{file}\n{state}");
                (Outcome::Failed { why }, None)
            }
        };
        let ended = Ended {
            name: recipe.case.clone(),
            outcome,
            milliseconds: start.elapsed().as_millis() as u64,
            note,
        };
        tell(&ended, &cluster.frames())?;
    }
    Ok(())
}

/// Returns why a recipe cannot run: newer real-time kernels lack legacy arptables, which a recipe replaces.
fn lacking(lab: &Lab, recipe: &Recipe) -> Option<String> {
    const ARPTABLES: &str = "CONFIG_IP_NF_ARPTABLES";
    let mut blocks = recipe.parts.iter().flat_map(|part| &part.blocks);
    (!lab.kernel.has(ARPTABLES) && blocks.any(|block| block.commands.contains("arptables")))
        .then(|| format!("this kernel has no legacy arptables ({ARPTABLES})"))
}

fn story(cluster: &mut Cluster<'_>, recipe: &Recipe) -> Result<String> {
    let special = STORIES.iter().find(|(name, _)| *name == recipe.case);
    special.map_or(works as Story, |(_, story)| *story)(cluster, recipe)
}

/// The cluster works after each part of the recipe. From the moment at which the director has the VIP, the client asks
/// who has it, and no other machine ever claims it.
fn works(cluster: &mut Cluster<'_>, recipe: &Recipe) -> Result<String> {
    let names = cluster.names().to_vec();
    cluster.set_up(recipe, &names)?;
    let (first, rest) = recipe.parts.split_first().expect("a recipe has a part");
    let mut blocks = first.blocks.iter();
    // In these recipes, the first block gives the director the VIP.
    blocks.next().map_or(Ok(()), |block| cluster.run(block))?;
    cluster.begin_asking(VIP)?;
    blocks.try_for_each(|block| cluster.run(block))?;
    let mut note = String::new();
    if rest.is_empty() {
        cluster.end_asking()?;
        note = cluster.works("director")?;
    }
    for part in rest {
        cluster.follow(part)?;
        note = cluster
            .works("director")
            .with_context(|| part.title.clone())?;
    }
    let frames = cluster.frames();
    let mut claims = claims(&frames, VIP);
    claims.remove("director");
    ensure!(
        claims.is_empty(),
        "other machines than the director claimed {VIP}: {claims:?}"
    );
    let questions = asked(&frames, "client", VIP);
    Ok(format!("{note}; the client asked {questions} times"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_story_has_its_recipe() {
        let recipes = Recipe::all().unwrap();
        for (name, _) in STORIES {
            assert!(recipes.iter().any(|recipe| recipe.case == *name), "{name}");
        }
    }

    #[test]
    fn every_case_has_the_prefix() {
        let recipes = Recipe::all().unwrap();
        assert!(recipes.iter().all(|recipe| recipe.case.starts_with(PREFIX)));
    }
}
