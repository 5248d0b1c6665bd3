// SPDX-License-Identifier: GPL-2.0

//! QEMU's monitor, by which a machine's state is kept and put back.

use anyhow::{bail, ensure, Context, Result};
use nix::fcntl::{fcntl, FcntlArg, FdFlag};
use serde_json::{json, Value};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::{fd::AsRawFd, unix::net::UnixStream},
    path::PathBuf,
    process::Command,
    time::Duration,
};

/// The name of the state that is kept.
const KEPT: &str = "kept";

/// A line to QEMU, and the image that holds the machine's state.
pub(super) struct Monitor {
    line: BufReader<UnixStream>,
    image: PathBuf,
}

impl Monitor {
    /// Creates the image and the line. Returns QEMU's end too, which QEMU inherits if it is started while that is open.
    pub(super) fn new(image: PathBuf, patience: Duration) -> Result<(Self, UnixStream)> {
        let (line, far) = UnixStream::pair()?;
        line.set_read_timeout(Some(patience))?;
        fcntl(&far, FcntlArg::F_SETFD(FdFlag::empty()))?;
        let created = Command::new("qemu-img")
            .args(["create", "-q", "-f", "qcow2"])
            .arg(&image)
            .arg("1M")
            .status();
        let created = created.context("cannot run qemu-img")?;
        ensure!(
            created.success(),
            "qemu-img cannot create {}",
            image.display()
        );
        let line = BufReader::new(line);
        Ok((Self { line, image }, far))
    }

    /// Returns the arguments with which QEMU takes its end of the line, and the image.
    pub(super) fn arguments(&self, far: &UnixStream) -> [String; 6] {
        [
            "-chardev".to_owned(),
            format!("socket,id=monitor,fd={}", far.as_raw_fd()),
            "-mon".to_owned(),
            "chardev=monitor,mode=control".to_owned(),
            "-drive".to_owned(),
            format!(
                "if=none,id=state,format=qcow2,cache=unsafe,file={}",
                self.image.display()
            ),
        ]
    }

    /// Saves the machine's state, for [`Self::put_back`].
    pub(super) fn keep(&mut self) -> Result<()> {
        self.execute("qmp_capabilities", &json!({}))?;
        self.type_in(&format!("savevm {KEPT}"))?;
        // QEMU has the image open. Nothing is left behind, however it ends.
        Ok(fs::remove_file(&self.image)?)
    }

    /// Stops the machine.
    pub(super) fn halt(&mut self) -> Result<()> {
        self.type_in("stop")
    }

    /// Restores the state that was saved, and lets the machine run.
    pub(super) fn put_back(&mut self) -> Result<()> {
        self.type_in(&format!("loadvm {KEPT}"))?;
        self.type_in("cont")
    }

    /// Executes a command of the QEMU Machine Protocol and returns its result.
    fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        let order = json!({ "execute": command, "arguments": arguments });
        self.line
            .get_mut()
            .write_all(format!("{order}\n").as_bytes())?;
        loop {
            let mut line = String::new();
            let length = self.line.read_line(&mut line)?;
            ensure!(length != 0, "QEMU's monitor closed");
            // QEMU's greeting and its events come in between.
            let mut answer: Value = serde_json::from_str(&line)?;
            if let Some(error) = answer.get("error") {
                bail!("QEMU's monitor: {command}: {error}");
            }
            if let Some(result) = answer.get_mut("return") {
                return Ok(result.take());
            }
        }
    }

    /// Executes a line of the human monitor, which prints something only if it fails.
    fn type_in(&mut self, line: &str) -> Result<()> {
        let arguments = json!({ "command-line": line });
        let said = self.execute("human-monitor-command", &arguments)?;
        let said = said.as_str().unwrap_or_default().trim();
        ensure!(said.is_empty(), "QEMU's monitor: {line}: {said}");
        Ok(())
    }
}
