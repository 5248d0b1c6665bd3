// SPDX-License-Identifier: GPL-2.0

//! `make shell`: opens a shell in the user's terminal, on a machine with a cluster as namespaces, or on one machine of a
//! whole cluster.

use crate::{
    cluster::{address, names, Machines},
    lab::Lab,
    recipe::Recipe,
    vm::{Config, Vm},
};
use anyhow::{Context, Result};
use nix::{
    fcntl::{fcntl, FcntlArg, FdFlag},
    sys::termios::{cfmakeraw, tcgetattr, tcsetattr, SetArg, Termios},
};
use std::{
    fmt::Write as _,
    io::{copy, stdin, stdout, IsTerminal, Read, Write},
    os::{fd::AsRawFd, unix::net::UnixStream},
    process::{Command, ExitCode, Stdio},
    thread,
    time::Duration,
};

/// The cluster that the namespaces form.
const NETWORK: &str = "cluster_dr_lo";

/// How long the user may be idle.
const PATIENCE: Duration = Duration::from_secs(30 * 24 * 3600);

/// The file that bash reads first.
const RC: &str = "/run/shellrc";

/// Returns the first recipe whose case's name contains a pattern.
fn recipe(pattern: &str) -> Result<Recipe> {
    let recipes = Recipe::all()?;
    let found = recipes
        .iter()
        .find(|recipe| recipe.case.contains(pattern))
        .cloned();
    found.with_context(|| {
        let names: Vec<&str> = recipes.iter().map(|recipe| &*recipe.case).collect();
        format!("no cluster '{pattern}'; there are {}", names.join(", "))
    })
}

/// Boots one machine with a cluster as namespaces, and connects the user to a shell on it.
pub(crate) fn namespaces(lab: &Lab) -> Result<ExitCode> {
    let recipe = recipe(NETWORK)?;
    let hosts = names(&recipe);
    let terminal = Terminal::new()?;
    let mut vm = Vm::start(&Config {
        name: "shell",
        boot: lab.boot(),
        logs: &lab.logs,
        cpus: 1,
        memory: 512,
        devices: terminal.device(),
        count_instructions: false,
        can_be_put_back: false,
    })?;
    vm.ready()?;
    vm.shell(&format!(
        "set -e\nmodprobe -q virtio_pci || true\n{}",
        network(&recipe, &hosts)?
    ))?;
    vm.shell(&rc(
        "lab",
        &format!(
            "\n  {}, as namespaces of one machine. Kernel {}, arp_hidden loaded.\n\n{}\n  \
             A command on a host:  client arping -c 1 -I eth0 10.0.0.100\n  \
             A shell on a host:    rs1\n  \
             Leave:                exit\n",
            recipe.title,
            lab.kernel.release,
            indented(&recipe.picture)
        ),
    ))?;
    vm.be_patient(PATIENCE);
    vm.begin(&session())?;
    let _raw = terminal.connect()?;
    vm.end()?;
    Ok(ExitCode::SUCCESS)
}

/// Boots a whole cluster, follows the first part of its recipe, and connects the user to a shell on one machine.
pub(crate) fn cluster(lab: &Lab, pattern: &str, on: &str) -> Result<ExitCode> {
    let recipe = recipe(pattern)?;
    let hosts = names(&recipe);
    let port = hosts.iter().position(|name| *name == on);
    let port =
        port.with_context(|| format!("{} has no {on}, but {}", recipe.case, hosts.join(", ")))?;
    let terminal = Terminal::new()?;
    let consoles: Vec<String> = hosts.iter().map(|name| format!("shell-{name}")).collect();
    let mut machines = Machines::boot_with(lab, &consoles, |number| {
        if number == port {
            terminal.device()
        } else {
            Vec::new()
        }
    })?;
    let mut cluster = machines.renew(&hosts)?;
    cluster.set_up(&recipe, &hosts)?;
    cluster.follow(&recipe.parts[0])?;
    cluster.shell(
        on,
        &rc(
            on,
            &format!(
                "\n  {} ({}): {}. Kernel {}.\n\n{}\n  Leave:  exit\n",
                on,
                recipe.title,
                recipe.parts[0].title,
                lab.kernel.release,
                indented(&recipe.picture)
            ),
        ),
    )?;
    cluster.vm(on)?.be_patient(PATIENCE);
    cluster.order(on, &session())?;
    let _raw = terminal.connect()?;
    cluster.wait_for(&[on])?;
    Ok(ExitCode::SUCCESS)
}

/// Returns a script that creates the hosts of a recipe as namespaces on one bridge, runs the recipe's commands in each, and
/// creates a command with each host's name.
fn network(recipe: &Recipe, hosts: &[&str]) -> Result<String> {
    let mut script = "ip link add lan type bridge\nip link set lan up\n".to_owned();
    for host in hosts {
        write!(
            script,
            "ip netns add {host}
             ip link add {host} type veth peer name eth0 netns {host}
             ip link set {host} master lan up
             ip -n {host} link set lo up
             ip -n {host} addr add {}/24 dev eth0
             ip -n {host} link set eth0 up
             cat >/bin/{host} <<'end'\n#!/bin/sh
[ $# != 0 ] || set -- env PS1='{host}# ' bash --norc\nexec ip netns exec {host} \"$@\"\nend
             chmod +x /bin/{host}\n",
            address(host)?
        )?;
    }
    let first = recipe.parts.first().context("the recipe has no part")?;
    for block in recipe.machines.iter().chain(&first.blocks) {
        for host in block
            .machines
            .iter()
            .filter(|name| hosts.contains(&&***name))
        {
            write!(
                script,
                "ip netns exec {host} sh -e >/dev/null <<'commands'\n{}commands\n",
                block.commands
            )?;
        }
    }
    Ok(script)
}

/// Returns a script that writes the file that bash reads first: a prompt and a banner.
fn rc(name: &str, banner: &str) -> String {
    format!(
        "echo 'set enable-bracketed-paste off' >/etc/inputrc
cat >{RC} <<'end'\nPS1='{name}# '\ncat <<'banner'\n{banner}\nbanner\nend\n"
    )
}

/// Returns the script of the session: bash on the machine's terminal, with the size of the user's.
fn session() -> String {
    let size = Command::new("stty")
        .arg("size")
        .stdin(Stdio::inherit())
        .stderr(Stdio::null())
        .output();
    let size = size.map_or_else(|_| Vec::new(), |output| output.stdout);
    let size = String::from_utf8_lossy(&size).into_owned();
    // A terminal that does not know its size reports 0.
    let size = size.trim().split_once(' ').filter(|(rows, _)| *rows != "0");
    let (rows, columns) = size.unwrap_or(("24", "80"));
    format!(
        "stty -F /dev/hvc0 rows {rows} cols {columns}
        cd /
        HOME=/run TERM=linux setsid -c bash --rcfile {RC} -i </dev/hvc0 >/dev/hvc0 2>&1 || true"
    )
}

fn indented(text: &str) -> String {
    format!("    {}\n", text.trim_end().replace('\n', "\n    "))
}

/// A line between the user's terminal and a terminal of a machine.
struct Terminal {
    near: UnixStream,
    far: UnixStream,
}

impl Terminal {
    fn new() -> Result<Self> {
        let (near, far) = UnixStream::pair()?;
        // QEMU inherits it.
        fcntl(&far, FcntlArg::F_SETFD(FdFlag::empty()))?;
        Ok(Self { near, far })
    }

    /// Returns QEMU's arguments for the machine's end, /dev/hvc0.
    fn device(&self) -> Vec<String> {
        let chardev = format!("socket,id=terminal,fd={}", self.far.as_raw_fd());
        ["-device", "virtio-serial-pci", "-chardev", &chardev]
            .into_iter()
            .chain(["-device", "virtconsole,chardev=terminal"])
            .map(str::to_owned)
            .collect()
    }

    /// Copies the user's input to the machine and its output to the user, until the program ends.
    fn connect(&self) -> Result<Option<Raw>> {
        let raw = Raw::new()?;
        let (mut to, mut from) = (self.near.try_clone()?, self.near.try_clone()?);
        thread::spawn(move || copy(&mut stdin(), &mut to));
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = from.read(&mut buffer) {
                let mut out = stdout();
                if out
                    .write_all(&buffer[..length])
                    .and_then(|()| out.flush())
                    .is_err()
                {
                    break;
                }
            }
        });
        Ok(raw)
    }
}

/// The user's terminal in raw mode. Dropping this restores its settings.
struct Raw(Termios);

impl Raw {
    fn new() -> Result<Option<Self>> {
        if !stdin().is_terminal() {
            return Ok(None);
        }
        let settings = tcgetattr(stdin())?;
        let mut raw = settings.clone();
        cfmakeraw(&mut raw);
        tcsetattr(stdin(), SetArg::TCSANOW, &raw)?;
        Ok(Some(Self(settings)))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin(), SetArg::TCSANOW, &self.0);
    }
}
