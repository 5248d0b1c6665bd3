// SPDX-License-Identifier: GPL-2.0

//! The cases with whole clusters: each follows a recipe of `Documentation/clusters/`, on machines that have just
//! booted, or that were put back to that moment.

mod anycast;
mod containers;
mod health;
mod ipv6;
mod kube_proxy;
mod monitoring;
mod pages;

use crate::{
    cluster::{names, told, Cluster, Machines, VIP},
    lab::Lab, //
    recipe::{Part, Recipe},
    traffic::{arp, asked, claims, connections, questions, Question},
};
use anyhow::{bail, ensure, Context, Result};
use protocol::{asked_for, Ended, Frame, Outcome};
use std::{
    collections::BTreeMap,
    thread::sleep,
    time::{Duration, Instant}, //
};

/// All cases of clusters have names that begin with this.
pub(crate) const PREFIX: &str = "cluster_";

/// What is done with a recipe, and what must come of it. Returns what is worth telling.
type Story = fn(&mut Cluster<'_>, &Recipe) -> Result<String>;

/// The recipes whose cluster has to do more than to work.
const STORIES: &[(&str, Story)] = &[
    ("cluster_tun_rp_filter", rp_filter),
    ("cluster_directors", directors),
    ("cluster_stale_entry", stale_entry),
    ("cluster_fault", fault),
    ("cluster_boot_late", boot_late),
    ("cluster_monitoring", monitoring::story),
    ("cluster_health_checks", health::story),
    ("cluster_anycast", anycast::story),
    ("cluster_containers", containers::macvlan),
    ("cluster_beside_containers", containers::beside),
    ("cluster_kube_proxy", kube_proxy::story),
    ("cluster_ipv6", ipv6::story),
];

/// The recipes of the cases that the patterns ask for.
pub(crate) fn matching(patterns: &str) -> Result<Vec<Recipe>> {
    let mut recipes = Recipe::all()?;
    recipes.retain(|recipe| asked_for(&recipe.case, patterns));
    Ok(recipes)
}

/// Runs cases; `tell` is told of each when it has ended, with the frames that passed.
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

/// What the recipe moves away from and this kernel never had: newer real-time kernels.
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

/// The recipe is followed, and the cluster works after each of its parts. From the moment that the director has
/// the VIP the client asks who has it, and never another machine says that it has.
fn works(cluster: &mut Cluster<'_>, recipe: &Recipe) -> Result<String> {
    let names = cluster.names().to_vec();
    cluster.set_up(recipe, &names)?;
    let (first, rest) = recipe.parts.split_first().expect("a recipe has a part");
    let mut blocks = first.blocks.iter();
    // The first thing in these recipes: the director gets the VIP.
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
        "others than the director said that they have {VIP}: {claims:?}"
    );
    let questions = asked(&frames, "client", VIP);
    Ok(format!("{note}; asked {questions} times in all"))
}

/// The VIP moves from one director to the other and back. Who has it answers, nobody else does, but for the time
/// that the fail-over takes: by VRRP at most 3.6 s (three advertisements are missed, and the lower priority waits for
/// less than one more), and how much more tells of the machine that the test runs on.
fn directors(cluster: &mut Cluster<'_>, recipe: &Recipe) -> Result<String> {
    let names = cluster.names().to_vec();
    let [first, out, back, cut, mended, killed, cleaned] = &recipe.parts[..] else {
        bail!("the recipe has other parts");
    };
    cluster.set_up(recipe, &names)?;
    cluster.follow(first)?;
    wait_until_directs(cluster, "lb1")?;
    let mut notes = Vec::new();
    cluster.works("lb1").context("at first")?;
    for (part, from, to, look_closer) in [
        (out, "lb1", "lb2", true),
        (back, "lb2", "lb1", false),
        (cut, "lb1", "lb2", false),
        (mended, "lb2", "lb1", true),
    ] {
        let fail_over = move_vip(cluster, part, from, to).with_context(|| part.title.clone())?;
        notes.push(format!(
            "{}: {} ms, {} questions without an answer, {} with two",
            part.title,
            fail_over.took.as_millis(),
            fail_over.unanswered,
            fail_over.doubly_answered
        ));
        if look_closer {
            cluster.works(to).with_context(|| part.title.clone())?;
        }
    }
    notes.push(kill_master(cluster, killed, cleaned)?);
    cluster
        .works("lb2")
        .with_context(|| cleaned.title.clone())?;
    Ok(notes.join("; "))
}

/// The master's keepalived is killed and leaves the VIP behind: both answer, until somebody cleans up.
fn kill_master(cluster: &mut Cluster<'_>, killed: &Part, cleaned: &Part) -> Result<String> {
    const QUESTIONS: usize = 12;
    let begin = cluster.passed();
    cluster.begin_asking(VIP)?;
    cluster.follow(killed)?;
    wait_until_directs(cluster, "lb2")?;
    wait_for_questions(cluster, cluster.passed(), QUESTIONS)?;
    let end = cluster.passed();
    cluster.follow(cleaned)?;
    let after = cluster.passed();
    wait_for_questions(cluster, after, QUESTIONS)?;
    cluster.end_asking()?;
    sleep(Duration::from_millis(300));

    let frames = cluster.frames();
    let both = questions(&frames[begin..end], "client", VIP);
    let start = both.first().context("no question")?.microseconds;
    let answers = |question: &&Question, name| question.answered_by.iter().any(|by| by == name);
    let taken = both.iter().find(|question| answers(question, "lb2"));
    let taken = taken.context("lb2 does not answer")?.microseconds - start;
    let twice = both
        .iter()
        .filter(|question| answers(question, "lb1") && answers(question, "lb2"))
        .count();
    ensure!(twice > 0, "lb1 does not keep the VIP: {both:?}");
    let healed = questions(&frames[after..], "client", VIP);
    if let Some(wrong) = healed
        .iter()
        .find(|question| question.answered_by != ["lb2"])
    {
        bail!("{}: not answered once by lb2: {wrong:?}", cleaned.title);
    }
    Ok(format!(
        "{}: lb2 answers after {} ms, {twice} questions with two answers",
        killed.title,
        taken / 1000
    ))
}

/// How a fail-over went.
struct FailOver {
    /// From the command on.
    took: Duration,
    unanswered: usize,
    doubly_answered: usize,
}

/// Follows a part of the recipe that moves the VIP, while the client asks who has it.
fn move_vip(cluster: &mut Cluster<'_>, part: &Part, from: &str, to: &str) -> Result<FailOver> {
    /// Before and after it, so many questions have one answer.
    const STEADY: usize = 6;
    let before = cluster.passed();
    cluster.begin_asking(VIP)?;
    wait_for_questions(cluster, before, STEADY)?;
    let begin = cluster.passed();
    cluster.follow(part)?;
    wait_until_directs(cluster, to)?;
    let after = cluster.passed();
    wait_for_questions(cluster, after, 2 * STEADY)?;
    cluster.end_asking()?;
    sleep(Duration::from_millis(300));

    let frames = cluster.frames_since(before);
    let begin = frames
        .get(begin - before)
        .map_or(0, |frame| frame.microseconds);
    let questions = questions(&frames, "client", VIP);
    let (former, latter): (Vec<_>, Vec<_>) = questions
        .iter()
        .partition(|question| question.microseconds < begin);
    // The last one before may see the beginning.
    let former = &former[..former.len() - 1];
    let not_by = |name: &str, question: &Question| question.answered_by != [name];
    if let Some(wrong) = former.iter().find(|question| not_by(from, question)) {
        bail!("before it, not answered once by {from}: {wrong:?}");
    }
    let last = latter.iter().rposition(|question| not_by(to, question));
    let during = &latter[..last.map_or(0, |last| last + 1)];
    ensure!(
        latter.len() - during.len() >= STEADY,
        "not over at the end: of {} questions, {} are answered once by {to}",
        latter.len(),
        latter.len() - during.len()
    );
    let took = during.last().map_or(0, |last| last.microseconds - begin);
    let with = |answers: fn(usize) -> bool| {
        let questions = during.iter();
        questions
            .filter(|question| answers(question.answered_by.len()))
            .count()
    };
    Ok(FailOver {
        took: Duration::from_micros(took),
        unanswered: with(|answers| answers == 0),
        doubly_answered: with(|answers| answers > 1),
    })
}

/// Waits until a machine is the director: eth0 has the VIP, and IPVS the service, which another process of keepalived's
/// brings.
fn wait_until_directs(cluster: &mut Cluster<'_>, name: &str) -> Result<()> {
    let look = format!(
        "for try in $(seq 100); do
            ip addr show dev eth0 to {VIP} | grep -q . && ipvsadm -S -n | grep -q ^-a && exit 0
            usleep 100000
        done
        exit 1\n"
    );
    let found = cluster.shell(name, &look).map(drop);
    found.with_context(|| format!("{name} does not become the director"))
}

/// Waits until the client has asked for the VIP so often since a frame.
fn wait_for_questions(cluster: &Cluster<'_>, first: usize, number: usize) -> Result<()> {
    let start = Instant::now();
    while asked(&cluster.frames_since(first), "client", VIP) < number {
        ensure!(
            start.elapsed() < Duration::from_secs(60),
            "the client does not ask for {VIP}"
        );
        sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// A router's stale entry, which a real server keeps alive or lets heal.
fn stale_entry(cluster: &mut Cluster<'_>, recipe: &Recipe) -> Result<String> {
    const REQUESTS: usize = 12;
    let names = cluster.names().to_vec();
    let [classic, healing] = &recipe.parts[..] else {
        bail!("the recipe has other parts");
    };
    cluster.set_up(recipe, &names)?;
    // So that a router asks again after a second, not after five, and does not wait as long for the answer.
    cluster.shell(
        "router",
        "sysctl net.ipv4.neigh.eth0.delay_first_probe_time=1 net.ipv4.neigh.eth0.retrans_time_ms=300\n",
    )?;
    let mut notes = Vec::new();
    for (part, heals) in [(classic, false), (healing, true)] {
        cluster.follow(part)?;
        let first = cluster.passed();
        let rs1 = cluster.hardware_address("rs1")?;
        cluster.shell(
            "router",
            &format!("ip neigh replace {VIP} lladdr {rs1} dev eth0 nud stale\n"),
        )?;
        let served = cluster.shell(
            "client",
            &format!(
                "for request in $(seq {REQUESTS}); do
                    wget -q -T 5 -O /dev/null http://{VIP}/data && echo served
                    usleep 250000
                done\n"
            ),
        )?;
        sleep(Duration::from_millis(300));
        let frames = cluster.frames_since(first);
        let served = served.lines().filter(|line| *line == "served").count();
        let connections = connections(&frames, "router", &names);
        // The connection that the router moves to the director as the entry heals is one that IPVS does not know.
        let moved = connections.iter().filter(|c| c.path.len() > 1).count();
        ensure!(
            served + moved >= REQUESTS,
            "{served} of {REQUESTS} requests served, {moved} moved on their way"
        );
        let begun: Vec<&str> = connections.iter().map(|c| &*c.path[0]).collect();
        let claims = claims(&frames, VIP);
        let probes = arp(&frames)
            .filter(|(name, arp)| *name == "router" && arp.tip == VIP && arp.to != [0xff; 6])
            .count();
        ensure!(probes > 0, "the router did not ask rs1: {begun:?}");
        let straight = begun.iter().filter(|name| **name == "rs1").count();
        let end = begun.last().copied();
        if heals {
            ensure!(
                end == Some("director") && claims.keys().eq(["director"]),
                "it does not heal: requests go to {begun:?}, answers come from {claims:?}"
            );
        } else {
            ensure!(
                straight == REQUESTS && claims.keys().eq(["rs1"]),
                "rs1 does not keep the entry: requests go to {begun:?}, answers come from {claims:?}"
            );
        }
        notes.push(format!(
            "{straight} of {REQUESTS} requests straight to rs1, {probes} unicast probes, answers: {}",
            told(&claims)
        ));
    }
    cluster.works("director")?;
    Ok(notes.join("; healed: "))
}

/// Without a cure, all say that they have the VIP.
fn fault(cluster: &mut Cluster<'_>, recipe: &Recipe) -> Result<String> {
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
        // An answer may be lost, or come after the next question.
        ensure!(
            answers.get(name).copied().unwrap_or(0) > questions.len() / 2,
            "{name} does not answer: {answers:?} to {} questions",
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
        "{} questions, answers: {}; {} connections went to: {}; the entry changed {wandered} times",
        questions.len(),
        told(&answers),
        begun.len(),
        told(&straight)
    ))
}

/// Addresses that are there before their flag.
fn boot_late(cluster: &mut Cluster<'_>, recipe: &Recipe) -> Result<String> {
    const QUESTIONS: usize = 10;
    let names = cluster.names().to_vec();
    let [early, late] = &recipe.parts[..] else {
        bail!("the recipe has other parts");
    };
    cluster.set_up(recipe, &names)?;
    cluster.follow(early)?;
    cluster.begin_asking(VIP)?;
    wait_for_questions(cluster, 0, QUESTIONS)?;
    cluster.follow(late)?;
    let after = cluster.passed();
    wait_for_questions(cluster, after, QUESTIONS)?;
    cluster.end_asking()?;
    sleep(Duration::from_millis(300));
    let frames = cluster.frames();
    let before = claims(&frames[..after], VIP);
    for name in ["rs1", "rs2"] {
        ensure!(
            before.contains_key(name),
            "{name} is silent without a flag: {before:?}"
        );
    }
    // An answer to a question of before may come late.
    let questions = questions(&frames[after..], "client", VIP);
    let wrong = questions
        .iter()
        .find(|question| question.answered_by != ["director"]);
    if let Some(wrong) = wrong {
        bail!("with the flag, not answered once by the director: {wrong:?}");
    }
    let note = cluster.works("director")?;
    Ok(format!("before the flags: {}; then {note}", told(&before)))
}

/// All cells of the table in tun.md.
fn rp_filter(cluster: &mut Cluster<'_>, recipe: &Recipe) -> Result<String> {
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
            // Not longer than one has to.
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
    fn every_case_has_the_prefix_by_which_it_is_asked_for() {
        let recipes = Recipe::all().unwrap();
        assert!(recipes.iter().all(|recipe| recipe.case.starts_with(PREFIX)));
    }
}
