// SPDX-License-Identifier: GPL-2.0

//! The figures of the demonstration's two runs, and their table.

use crate::{
    cluster::VIP,
    traffic::{asked, claims, Connection}, //
};
use protocol::Frame;
use std::{cell::RefCell, ops::RangeInclusive};

/// Pages that the client requests.
pub(super) const PAGES: usize = 30;
/// Downloads that the client starts, and how often it resolves the VIP again during each.
pub(super) const DOWNLOADS: usize = 6;
pub(super) const RENEWALS: usize = 3;

/// The results of the client's requests.
pub(super) struct Requests {
    pub(super) by_rs1: usize,
    pub(super) by_rs2: usize,
    pub(super) failed: usize,
    pub(super) connections: Vec<Connection>,
}

impl Requests {
    /// Counts the connections whose first packet went to a machine.
    fn began_at(&self, name: &str) -> usize {
        self.connections
            .iter()
            .filter(|connection| connection.path[0] == name)
            .count()
    }

    /// Counts the connections with packets to more than one machine.
    fn wandered(&self) -> usize {
        self.connections
            .iter()
            .filter(|connection| connection.path.len() > 1)
            .count()
    }
}

/// What was measured in one run.
pub(super) struct Half {
    /// With both real servers in service.
    pub(super) pages: Requests,
    /// The same, but the client resolves the VIP again during each request.
    pub(super) downloads: Requests,
    /// With rs2 out of service.
    pub(super) maintenance: Requests,
    /// What the switch recorded.
    pub(super) frames: Vec<Frame>,
}

impl Half {
    /// Counts the client's requests for the VIP.
    fn asked(&self) -> usize {
        asked(&self.frames, "client", VIP)
    }

    /// Counts the ARP packets with the VIP as their sender that a machine sent, replies and requests.
    fn claimed(&self, name: &str) -> usize {
        claims(&self.frames, VIP).remove(name).unwrap_or(0)
    }

    /// Sums up over all requests.
    fn total(&self, count: impl Fn(&Requests) -> usize) -> usize {
        count(&self.pages) + count(&self.downloads) + count(&self.maintenance)
    }

    /// Counts all connections.
    fn connections(&self) -> usize {
        self.total(|requests| requests.connections.len())
    }

    /// Counts the connections whose first packet did not go to the director.
    fn past_director(&self) -> usize {
        self.connections() - self.total(|requests| requests.began_at("director"))
    }

    /// Counts the failed requests.
    fn failed(&self) -> usize {
        self.total(|requests| requests.failed)
    }
}

/// Returns a table of both runs, and how many numbers of the second are wrong.
pub(super) fn compare(without: &Half, with: &Half) -> (String, usize) {
    const NONE: RangeInclusive<usize> = 0..=0;
    const SOME: RangeInclusive<usize> = 1..=usize::MAX;

    let mut broken = 0;
    let text = RefCell::new(String::new());
    let say = |line: &str| {
        let mut text = text.borrow_mut();
        text.push_str(line.trim_end());
        text.push('\n');
    };
    let mut row = |what: &str, count: &dyn Fn(&Half) -> usize, promised: RangeInclusive<usize>| {
        let (before, after) = (count(without), count(with));
        let kept = promised.contains(&after);
        broken += usize::from(!kept);
        let verdict = if kept { "" } else { "  WRONG" };
        say(&format!("    {what:<56}{before:>12}{after:>12}{verdict}"));
    };

    say(&format!(
        "\n{:60}{:>12}{:>12}",
        "", "without the", "with the"
    ));
    say(&format!("{:60}{:>12}{:>12}", "", "module", "module"));
    say("  ARP");
    row("client asked \"who has 10.0.0.100?\"", &Half::asked, SOME);
    row(
        "director claimed it",
        &|half| half.claimed("director"),
        SOME,
    );
    row("rs1 claimed it", &|half| half.claimed("rs1"), NONE);
    row("rs2 claimed it", &|half| half.claimed("rs2"), NONE);

    say(&format!(
        "  {PAGES} pages, the VIP resolved anew before each"
    ));
    row(
        "connections to the director",
        &|half| half.pages.began_at("director"),
        PAGES..=PAGES,
    );
    row(
        "connections straight to rs1",
        &|half| half.pages.began_at("rs1"),
        NONE,
    );
    row(
        "connections straight to rs2",
        &|half| half.pages.began_at("rs2"),
        NONE,
    );
    row("served by rs1", &|half| half.pages.by_rs1, SOME);
    row("served by rs2", &|half| half.pages.by_rs2, SOME);
    row("failed", &|half| half.pages.failed, NONE);

    say(&format!(
        "  {DOWNLOADS} long downloads, the VIP resolved anew {RENEWALS} times during each"
    ));
    row(
        "moved to another host midway",
        &|half| half.downloads.wandered(),
        NONE,
    );
    row("broken", &|half| half.downloads.failed, NONE);

    say(&format!(
        "  {PAGES} pages, rs2 stopped and removed from the director"
    ));
    row(
        "connections to rs2 nevertheless",
        &|half| half.maintenance.began_at("rs2"),
        NONE,
    );
    row("failed", &|half| half.maintenance.failed, NONE);

    say("  Total");
    row("connections", &Half::connections, SOME);
    row(
        "connections that bypassed the director",
        &Half::past_director,
        NONE,
    );
    row("failed requests", &Half::failed, NONE);
    if without.past_director() + without.failed() == 0 {
        say("\n  Nothing went wrong without the module this time: which host wins is chance. Run it again.");
    }
    (text.into_inner(), broken)
}
