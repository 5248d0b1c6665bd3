// SPDX-License-Identifier: GPL-2.0

//! Tracing: the module's events, and dropped packets.

use crate::{
    lab::{
        case::cases,
        real_server::{real_server, unnumbered_with_dummy, ELSEWHERE, HOST, NEIGHBOUR, VIP},
        Host, Lab, Way,
    },
    wire::who_has,
};
use anyhow::{bail, ensure, Context, Result};
use protocol::TRACE_BUFFER;
use std::{fs, net::Ipv4Addr, os::unix::fs::MetadataExt};

cases![
    see_trace_request_unanswered,
    see_trace_announcement_rewritten,
    see_trace_source_redirected,
    see_drop: alone,
];

/// Traces a tracepoint through tracefs, in a buffer of its own.
struct Trace;

impl Trace {
    fn on(event: &str) -> Result<Self> {
        fs::create_dir(TRACE_BUFFER)?;
        let trace = Self;
        let file = format!("{}/events/{event}/enable", TRACE_BUFFER);
        fs::write(&file, "1").context(file)?;
        Ok(trace)
    }

    /// Returns the events so far, each from its name on.
    fn lines(&self) -> Result<Vec<String>> {
        let text = fs::read_to_string(format!("{}/trace", TRACE_BUFFER))?;
        let events = text.lines().filter(|line| !line.starts_with('#'));
        events
            .map(|line| {
                let (_, event) = line.split_once(": ").context("no event")?;
                Ok(event.to_owned())
            })
            .collect()
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        drop(fs::remove_dir(TRACE_BUFFER));
    }
}

/// Returns the number that tracepoints show for a host's namespace.
fn number(host: &Host) -> Result<u64> {
    Ok(fs::metadata(format!("/run/netns/{host}"))?.ino())
}

/// Fails unless these events were traced.
fn traced(trace: &Trace, wanted: &[String]) -> Result<()> {
    let lines = trace.lines()?;
    ensure!(lines == wanted, "{lines:#?}\nexpected:\n{wanted:#?}");
    Ok(())
}

fn see_trace_request_unanswered(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    host.conceal("lo", Way::Strict)?;
    wire.silent(who_has(VIP))?;
    let trace = Trace::on("arp_hidden/request_unanswered")?;
    wire.silent(who_has(VIP))?;
    wire.silent(who_has(VIP).unicast())?;
    wire.silent(who_has(VIP).dad())?;
    wire.answered(who_has(HOST))?;
    host.reveal("lo", Way::Strict)?;
    wire.answered(who_has(VIP))?;
    host.conceal("lo", Way::Invisible)?;
    wire.silent(who_has(VIP).multicast())?;
    let net = number(&host)?;
    let line = |kind, sip, flags| {
        format!(
            "request_unanswered: net={net} dev=eth0 kind={kind} sha=020000000002 sip={sip} tip={VIP} owner=lo {flags}"
        )
    };
    traced(
        &trace,
        &[
            line("broadcast", "10.0.0.2", "hidden=2 arp_invisible=0"),
            line("unicast", "10.0.0.2", "hidden=2 arp_invisible=0"),
            line("dad", "0.0.0.0", "hidden=2 arp_invisible=0"),
            line("broadcast", "10.0.0.2", "hidden=0 arp_invisible=1"),
        ],
    )
}

fn see_trace_announcement_rewritten(lab: &mut Lab) -> Result<()> {
    let (host, neighbour, wire) = real_server(lab)?;
    neighbour.ip("addr add 10.0.0.3/24 dev eth0")?;
    host.conceal("lo", Way::Hidden)?;
    let trace = Trace::on("arp_hidden/announcement_rewritten")?;
    host.say(VIP, NEIGHBOUR)?;
    host.say(HOST, Ipv4Addr::new(10, 0, 0, 3))?;
    ensure!(wire.announced(NEIGHBOUR)? == HOST);
    let net = number(&host)?;
    traced(
        &trace,
        &[format!(
            "announcement_rewritten: net={net} dev=eth0 sha=020000000001 tip={NEIGHBOUR} sip={VIP} announced={HOST} \
             owner=lo hidden=1 arp_invisible=0"
        )],
    )
}

fn see_trace_source_redirected(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = unnumbered_with_dummy(lab)?;
    host.conceal("lo", Way::Strict)?;
    host.conf("eth0", "arp_announce", 2)?;
    // The route selects for the first packet to a destination, ARP for each request.
    host.say(VIP, NEIGHBOUR)?;
    ensure!(wire.announced(NEIGHBOUR)? == ELSEWHERE);
    host.ip("neigh flush dev eth0")?;
    let trace = Trace::on("arp_hidden/source_redirected")?;
    host.say(VIP, NEIGHBOUR)?;
    ensure!(wire.announced(NEIGHBOUR)? == ELSEWHERE);
    let net = number(&host)?;
    traced(
        &trace,
        &[format!(
            "source_redirected: net={net} dev=eth0 dst={NEIGHBOUR} scope=253 saddr={VIP} selected={ELSEWHERE} owner=lo \
             hidden=2"
        )],
    )
}

fn see_drop(lab: &mut Lab) -> Result<()> {
    let (host, _, wire) = real_server(lab)?;
    host.conceal("lo", Way::Hidden)?;
    wire.heard()?;
    let trace = Trace::on("skb/kfree_skb")?;
    wire.silent(who_has(VIP))?;
    wire.answered(who_has(HOST))?;
    let mut lines = trace.lines()?;
    lines.retain(|line| line.contains("protocol=2054"));
    let [line] = &lines[..] else {
        bail!("{} drops of ARP: {lines:#?}", lines.len());
    };
    ensure!(line.ends_with("reason: NETFILTER_DROP"), "{line}");
    // 6.1 prints a hash of the place where it was dropped.
    let format = fs::read_to_string(format!("{TRACE_BUFFER}/events/skb/kfree_skb/format"))?;
    if format.contains("location=%pS") {
        ensure!(
            line.contains("location=arp_hidden_unanswered+") && line.contains("[arp_hidden]"),
            "{line}"
        );
    } else {
        lab.note = Some("this kernel does not say where it dropped".to_owned());
    }
    Ok(())
}
