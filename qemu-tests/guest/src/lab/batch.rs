// SPDX-License-Identifier: GPL-2.0

//! Thousands of `ip` commands in one process: a process for each would take most of the time.

use crate::lab::Host;
use anyhow::{ensure, Context, Result};
use nix::{fcntl::OFlag, unistd::pipe2};
use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
};

/// A command that prints a line, which shows that the commands before it have been carried out.
const MARK: &str = "link show lo";
/// The beginning of that line: lo is always the first device.
const MARKED: &str = "1: lo:";

/// An `ip` process that keeps running on a host.
pub(crate) struct Batch {
    host: Host,
    ip: Child,
    commands: ChildStdin,
    output: BufReader<File>,
}

impl Batch {
    /// Starts the process.
    pub(crate) fn new(host: &Host) -> Result<Self> {
        let (output, stdout) = pipe2(OFlag::O_CLOEXEC)?;
        let stderr = stdout.try_clone()?;
        let mut ip = Command::new("ip")
            .args(["-n", &host.to_string(), "-oneline", "-force", "-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()?;
        Ok(Self {
            host: host.clone(),
            commands: ip.stdin.take().context("no input")?,
            ip,
            output: BufReader::new(output.into()),
        })
    }

    /// Carries out a command. Returns its error messages, which are empty if it succeeds.
    pub(crate) fn run(&mut self, command: &str) -> Result<String> {
        self.host.typed(format!("ip -n {} {command}", self.host));
        writeln!(self.commands, "{command}\n{MARK}")?;
        let mut complaints = String::new();
        loop {
            let mut line = String::new();
            let len = self.output.read_line(&mut line)?;
            ensure!(len != 0, "ip ended after '{command}': {complaints}");
            if line.starts_with(MARKED) {
                return Ok(complaints);
            }
            complaints += &line;
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        drop(self.ip.kill());
        drop(self.ip.wait());
    }
}

/// Makes a line of each item.
pub(crate) fn lines<T>(each: impl Iterator<Item = T>, line: impl Fn(T) -> String) -> String {
    each.fold(String::new(), |text, one| text + &line(one) + "\n")
}

/// Carries out a command for each item on a host, with one `ip` that reads them from a file.
pub(crate) fn at_once<T>(
    host: &Host,
    each: impl Iterator<Item = T>,
    command: impl Fn(T) -> String,
) -> Result<()> {
    fs::write("/tmp/batch", lines(each, command))?;
    host.ip("-batch /tmp/batch")?;
    Ok(())
}
