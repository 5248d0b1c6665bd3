// SPDX-License-Identifier: GPL-2.0

//! `directors.md`: the VIP moves between two directors.

use crate::{
    cluster::{Cluster, VIP},
    recipe::{Part, Recipe},
    traffic::{questions, Question},
};
use anyhow::{bail, ensure, Context, Result};
use std::{thread::sleep, time::Duration};

/// The VIP moves from one director to the other and back. Only the director that has it replies, except during a fail-over.
/// VRRP allows 3.6 s for that: three missed advertisements, and less than one more for the lower priority. Whatever exceeds
/// that is due to the machine that runs the test.
pub(super) fn story(cluster: &mut Cluster<'_>, recipe: &Recipe) -> Result<String> {
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
            "{}: {} ms, {} requests without a reply, {} with two",
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

/// The master's keepalived is killed and leaves the VIP behind: both directors reply, until somebody cleans up.
fn kill_master(cluster: &mut Cluster<'_>, killed: &Part, cleaned: &Part) -> Result<String> {
    const QUESTIONS: usize = 12;
    let begin = cluster.passed();
    cluster.begin_asking(VIP)?;
    cluster.follow(killed)?;
    wait_until_directs(cluster, "lb2")?;
    cluster.wait_for_questions(cluster.passed(), QUESTIONS)?;
    let end = cluster.passed();
    cluster.follow(cleaned)?;
    let after = cluster.passed();
    cluster.wait_for_questions(after, QUESTIONS)?;
    cluster.end_asking()?;
    sleep(Duration::from_millis(300));

    let frames = cluster.frames();
    let both = questions(&frames[begin..end], "client", VIP);
    let start = both.first().context("no request")?.microseconds;
    let answers = |question: &&Question, name| question.answered_by.iter().any(|by| by == name);
    let taken = both.iter().find(|question| answers(question, "lb2"));
    let taken = taken.context("lb2 does not reply")?.microseconds - start;
    let twice = both
        .iter()
        .filter(|question| answers(question, "lb1") && answers(question, "lb2"))
        .count();
    ensure!(twice > 0, "lb1 has lost the VIP: {both:?}");
    let healed = questions(&frames[after..], "client", VIP);
    if let Some(wrong) = healed
        .iter()
        .find(|question| question.answered_by != ["lb2"])
    {
        bail!(
            "{}: not exactly one reply, by lb2: {wrong:?}",
            cleaned.title
        );
    }
    Ok(format!(
        "{}: lb2 replies after {} ms, {twice} requests with two replies",
        killed.title,
        taken / 1000
    ))
}

/// The result of a fail-over.
struct FailOver {
    /// From the command to the last request that was not answered by the new director alone.
    took: Duration,
    unanswered: usize,
    doubly_answered: usize,
}

/// Follows a part of the recipe that moves the VIP, while the client asks who has it.
fn move_vip(cluster: &mut Cluster<'_>, part: &Part, from: &str, to: &str) -> Result<FailOver> {
    /// At least this many requests before and after it get one reply each.
    const STEADY: usize = 6;
    let before = cluster.passed();
    cluster.begin_asking(VIP)?;
    cluster.wait_for_questions(before, STEADY)?;
    let begin = cluster.passed();
    cluster.follow(part)?;
    wait_until_directs(cluster, to)?;
    let after = cluster.passed();
    cluster.wait_for_questions(after, 2 * STEADY)?;
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
    // The last one may already be affected.
    let former = &former[..former.len() - 1];
    let not_by = |name: &str, question: &Question| question.answered_by != [name];
    if let Some(wrong) = former.iter().find(|question| not_by(from, question)) {
        bail!("before the move: not exactly one reply, by {from}: {wrong:?}");
    }
    let last = latter.iter().rposition(|question| not_by(to, question));
    let during = &latter[..last.map_or(0, |last| last + 1)];
    ensure!(
        latter.len() - during.len() >= STEADY,
        "the move does not end: of {} requests, the last {} get one reply, by {to}",
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

/// Waits until a machine is the director: eth0 has the VIP and IPVS the service. Two processes of keepalived add them.
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
