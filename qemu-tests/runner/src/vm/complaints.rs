// SPDX-License-Identifier: GPL-2.0

//! The complaints in a kernel's log.

use std::{fs, path::Path};

/// What the kernel prints when something is wrong.
const SPLATS: &[&str] = &[
    "BUG:",
    "WARNING:",
    "INFO: possible",
    "INFO: rcu",
    "INFO: task",
    "INFO: trying to register non-static key",
    "INFO: suspicious",
    "Oops",
    "Call Trace",
    "kernel BUG",
    "Kernel panic",
    "general protection fault",
    "unregister_netdevice: waiting",
    "refcount_t:",
    "suspected memory leaks",
    "kmemleak: Kernel memory leak detector disabled",
    "ODEBUG:",
    "UBSAN:",
    "ref_tracker:",
    "lockdep is turned off",
    "turning off the locking correctness validator",
    "rcu_scheduler_active",
    "soft lockup",
    "scheduling while atomic",
    "suspicious RCU usage",
    "panicked at",
    "Unable to handle",
];

/// Whether a line of a log is a complaint.
pub(crate) fn is_splat(line: &str) -> bool {
    SPLATS.iter().any(|splat| line.contains(splat))
}

/// Returns the complaints in a console's log, each with the lines after it.
pub(crate) fn splats(console: &Path) -> Vec<String> {
    let log = fs::read(console).unwrap_or_default();
    splats_in(&String::from_utf8_lossy(&log))
}

/// Expected reports of the kernel, by their first and last lines. `fault_in_load` causes them: it lets allocations fail
/// for the module's file and for its tracepoints, and the kernel warns about both.
const NO_SPLATS: &[(&str, &str)] = &[
    ("vm_struct allocation failed", " </TASK>"),
    (" at event_define_fields+", "---[ end trace"),
];

/// Returns the complaints in a log, each with the lines after it.
pub(crate) fn splats_in(log: &str) -> Vec<String> {
    let mut until = None;
    let lines = log.lines().filter(|line| {
        let begins = NO_SPLATS.iter().find(|(begin, _)| line.contains(begin));
        until = until.or(begins.map(|(_, end)| end));
        let keep = until.is_none();
        until = until.filter(|end| !line.contains(*end));
        keep
    });
    let lines: Vec<&str> = lines.collect();
    let mut found = Vec::new();
    let mut until = 0;
    for (at, line) in lines.iter().enumerate() {
        if is_splat(line) {
            until = until.max(at + 30);
        }
        if at < until {
            found.push((*line).to_owned());
        }
    }
    found
}
