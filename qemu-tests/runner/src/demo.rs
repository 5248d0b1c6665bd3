// SPDX-License-Identifier: GPL-2.0

//! `make demo`: runs the same experiment twice on a cluster of virtual machines: with the stock kernel alone, then
//! with the module in the real servers. Every number is counted from the switch's recording or from what the client
//! received.

mod figures;
mod picture;

use crate::{
    cluster::{names, Cluster, Machines},
    lab::Lab, //
    pcap,
    recipe::{Block, Recipe},
    traffic::{connections, Connection},
};
use anyhow::{Context, Result};
use figures::{compare, Half, Requests, DOWNLOADS, PAGES, RENEWALS};
use std::{
    fs,
    io::{stdout, IsTerminal, Write},
    path::Path,
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
    thread::{scope, sleep},
    time::{Duration, Instant},
};

/// A page that loads slowly. Its last line is the server's name, as on the other page.
const DOWNLOAD: &str = "\
#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
for part in 1 2 3 4 5 6 7 8; do echo part $part; sleep 0.2; done
cat /www/index.html
";

/// The cluster's machines.
const MACHINES: [&str; 4] = ["client", "director", "rs1", "rs2"];

const ARP_PROBLEM: &str = "
  The client should reach the director, which forwards its connections to the real servers rs1 and
  rs2 in turn. They reply to the client directly, with the VIP as the source, so they must own the
  VIP too. This is the ARP problem: when the client asks \"who has 10.0.0.100?\", Linux replies for
  any address it owns, on any interface. Three hosts reply, and the client takes one of them.
";

/// Runs the demonstration with the first recipe that can be shown and whose case's name contains `pattern`. Succeeds if the
/// second run is as the module promises. Writes the session and the picture to `readme` and its Documentation/, if given.
pub(crate) fn run(lab: &Lab, pattern: &str, readme: Option<&Path>) -> Result<ExitCode> {
    let start = Instant::now();
    let mut session = Session::default();
    let recipes = Recipe::all()?;
    let mut fitting = recipes.iter().filter(|recipe| can_be_shown(recipe));
    let recipe = fitting.clone().find(|recipe| recipe.case.contains(pattern));
    let recipe = recipe.with_context(|| {
        let names: Vec<&str> = fitting.by_ref().map(|recipe| &*recipe.case).collect();
        format!(
            "no cluster '{pattern}' to show; there are {}",
            names.join(", ")
        )
    })?;
    session.say(&format!("\n  {}\n\n", recipe.title))?;
    for line in recipe.picture.lines() {
        session.say(&format!("    {line}\n"))?;
    }
    session.say(ARP_PROBLEM)?;
    session.say("\n")?;
    let mut machines = session.step(
        &format!(
            "Booting four virtual machines, stock kernel {}, {}",
            lab.kernel.release,
            lab.kernel.arch().accelerator()
        ),
        || Machines::boot(lab, &MACHINES.map(str::to_owned)),
    )?;
    let mut cluster = machines.renew(&MACHINES)?;
    let told = story(&mut session, &mut cluster, recipe);
    let path = lab.logs.join("demo.pcapng");
    pcap::write(&path, &cluster.frames())?;
    let Told { halves, kept } = told?;
    let picture = picture::svg(&halves);
    fs::write(lab.logs.join("demo.svg"), &picture)?;
    session.say(&format!("  Total time: {} s\n", start.elapsed().as_secs()))?;
    println!(
        "  All frames: {} (opens in Wireshark); the picture: demo.svg beside it",
        path.display()
    );
    if let Some(readme) = readme {
        fs::write(readme.with_file_name("Documentation/demo.svg"), picture)?;
        record(readme, &session.text)?;
    }
    Ok(if kept {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Replaces the session in the README.
fn record(readme: &Path, session: &str) -> Result<()> {
    const BEGIN: &str = "<!-- recorded session of make demo -->\n";
    const END: &str = "<!-- end of the session -->\n";
    let text = fs::read_to_string(readme)?;
    let (before, rest) = text.split_once(BEGIN).context("the README has no mark")?;
    let (_, after) = rest.split_once(END).context("the README has no end mark")?;
    let text = format!(
        "{before}{BEGIN}```text\n$ make demo\n{}\n```\n{END}{after}",
        session.trim_end()
    );
    Ok(fs::write(readme, text)?)
}

/// What the user has been told.
#[derive(Default)]
struct Session {
    text: String,
}

impl Session {
    fn say(&mut self, text: &str) -> Result<()> {
        print!("{text}");
        self.text += text;
        Ok(stdout().flush()?)
    }

    /// Prints what is being done, does it, and prints how long it took.
    fn step<T>(&mut self, what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let start = Instant::now();
        self.say(&format!("{what} ... "))?;
        let result = work().inspect_err(|_| println!("failed"))?;
        self.say(&format!("{} s\n", start.elapsed().as_secs()))?;
        Ok(result)
    }
}

/// Whether a recipe has the demonstration's machines, and the module as its only remedy.
fn can_be_shown(recipe: &Recipe) -> bool {
    ["dr.md", "tun.md"].contains(&recipe.file)
        && names(recipe) == MACHINES
        && recipe.parts.len() == 1
}

/// Whether a command of a recipe belongs to the remedy.
fn cures(line: &str) -> bool {
    ["arp_hidden", ".hidden=", ".arp_invisible="]
        .iter()
        .any(|word| line.contains(word))
}

/// Returns the remedy of a recipe: its commands for the module.
fn cure(recipe: &Recipe) -> Vec<Block> {
    only(recipe, cures)
}

/// Returns the chosen commands of a recipe.
fn only(recipe: &Recipe, chosen: impl Fn(&str) -> bool) -> Vec<Block> {
    let blocks = recipe.parts.iter().flat_map(|part| &part.blocks);
    blocks
        .filter_map(|block| {
            let lines = block.commands.split_inclusive('\n');
            let commands: String = lines.filter(|line| chosen(line)).collect();
            (!commands.is_empty()).then(|| Block {
                machines: block.machines.clone(),
                commands,
            })
        })
        .collect()
}

/// The result of the demonstration.
struct Told {
    halves: [picture::Half; 2],
    /// Whether the second run was as promised and no kernel complained.
    kept: bool,
}

/// Runs the experiment twice.
fn story(session: &mut Session, cluster: &mut Cluster<'_>, recipe: &Recipe) -> Result<Told> {
    session.step("Setting up the cluster, without the module", || {
        cluster.set_up(recipe, &MACHINES)?;
        set_up_pages(cluster)?;
        only(recipe, |line| !cures(line))
            .iter()
            .try_for_each(|block| cluster.run(block))
    })?;
    session.say("First run: the stock kernel alone\n")?;
    let without = experiment(session, cluster)?;
    for block in cure(recipe) {
        for line in block.commands.lines() {
            let block = Block {
                machines: block.machines.clone(),
                commands: format!("{line}\n"),
            };
            session.step(
                &format!("On {}: {line}", block.machines.join(" and ")),
                || cluster.run(&block),
            )?;
        }
    }
    session.say("Second run: with the module\n")?;
    let with = experiment(session, cluster)?;
    let complaints = cluster.complaints();

    let (table, broken) = compare(&without, &with);
    session.say(&table)?;
    let halves = [
        picture::Half::of("without the module", &without.frames, &MACHINES[1..]),
        picture::Half::of("with the module", &with.frames, &MACHINES[1..]),
    ];
    session.say(&picture::text(&halves))?;
    if !complaints.is_empty() {
        println!("\n  FAILED: a kernel complained:");
        complaints.iter().for_each(|line| println!("  {line}"));
    }
    if broken > 0 {
        println!("\n  FAILED: {broken} of these numbers are wrong with the module, see above.");
    }
    session.say("\n")?;
    Ok(Told {
        halves,
        kept: broken == 0 && complaints.is_empty(),
    })
}

/// Gives the real servers two pages with their names.
fn set_up_pages(cluster: &mut Cluster<'_>) -> Result<()> {
    for name in ["rs1", "rs2"] {
        cluster.shell(
            name,
            &format!(
                "mkdir -p /www/cgi-bin\necho {name} >/www/index.html\n\
                 cat >/www/cgi-bin/download <<'end'\n{DOWNLOAD}end\nchmod +x /www/cgi-bin/download\n"
            ),
        )?;
    }
    Ok(())
}

/// Runs the experiment once.
fn experiment(session: &mut Session, cluster: &mut Cluster<'_>) -> Result<Half> {
    let first = cluster.passed();
    // A client that has not talked to the VIP for a minute must resolve it again. This one forgets it at once.
    let ask_for_pages = format!(
        "for page in $(seq {PAGES}); do
            ip neigh flush to 10.0.0.100
            wget -q -T 10 -O - http://10.0.0.100/ 2>/dev/null || true
        done"
    );
    let pages = requests(session, cluster, (PAGES, "pages"), &ask_for_pages)?;
    let downloads = requests(
        session,
        cluster,
        (DOWNLOADS, "long downloads"),
        &format!(
            "for download in $(seq {DOWNLOADS}); do
                ip neigh flush to 10.0.0.100
                wget -q -T 10 -O - http://10.0.0.100/cgi-bin/download 2>/dev/null | tail -n 1 &
                for renewal in $(seq {RENEWALS}); do sleep 0.4; ip neigh flush to 10.0.0.100; done
                wait
            done"
        ),
    )?;
    cluster.shell(
        "director",
        "ipvsadm -S -n | grep -e '10.0.0.100:80 -r 10.0.0.12:80' >/tmp/rs2\nipvsadm -d -t 10.0.0.100:80 -r 10.0.0.12",
    )?;
    cluster.shell("rs2", "killall httpd")?;
    let maintenance = requests(
        session,
        cluster,
        (PAGES, "pages, rs2 out of service"),
        &ask_for_pages,
    )?;
    cluster.shell("rs2", "httpd -h /www")?;
    cluster.shell("director", "ipvsadm -R </tmp/rs2")?;
    // The slowest reply to the last request may still be on its way.
    sleep(Duration::from_millis(500));
    Ok(Half {
        pages,
        downloads,
        maintenance,
        frames: cluster.frames_since(first),
    })
}

/// Makes the client send requests, with a script that prints the server's name for each that succeeds. Prints the
/// progress on a terminal.
fn requests(
    session: &mut Session,
    cluster: &mut Cluster<'_>,
    (number, what): (usize, &str),
    script: &str,
) -> Result<Requests> {
    // The real servers forget their neighbours too: they must ask for the client, and their requests show a sender address.
    for name in ["rs1", "rs2"] {
        cluster.shell(name, "ip neigh flush dev eth0")?;
    }
    let start = Instant::now();
    let first = cluster.passed();
    let watcher = cluster.watcher();
    let so_far = || {
        let connections = connections(&watcher.since(first), "client", &MACHINES);
        let began: Vec<String> = MACHINES[1..]
            .iter()
            .map(|name| {
                let there = |connection: &&Connection| connection.path[0] == *name;
                format!("{name} {:2}", connections.iter().filter(there).count())
            })
            .collect();
        format!(
            "  {:2} of {number} {what:<26} went to {}",
            connections.len(),
            began.join(", ")
        )
    };
    let ended = AtomicBool::new(false);
    let output = scope(|scope| {
        if stdout().is_terminal() {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    print!("\r{}", so_far());
                    drop(stdout().flush());
                    sleep(Duration::from_millis(250));
                }
                print!("\r");
            });
        }
        let output = cluster.shell("client", script);
        ended.store(true, Ordering::Relaxed);
        output
    })?;
    session.say(&format!("{}, {} s\n", so_far(), start.elapsed().as_secs()))?;
    let connections = connections(&cluster.frames_since(first), "client", &MACHINES);
    let served = |name| output.lines().filter(|line| *line == name).count();
    let (by_rs1, by_rs2) = (served("rs1"), served("rs2"));
    Ok(Requests {
        by_rs1,
        by_rs2,
        failed: number - by_rs1 - by_rs2,
        connections,
    })
}
