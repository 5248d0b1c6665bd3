// SPDX-License-Identifier: GPL-2.0

//! Sums up the runs of the cases on several kernels.

use anyhow::{Context, Result};
use std::{fmt, fs, iter::Sum, path::PathBuf, process::ExitCode};

/// How many cases ended how.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Counts {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Counts {
    /// Parses the last line of a run.
    fn read(line: &str) -> Option<Self> {
        let mut counts = line.split(", ").map(|count| count.split_once(' '));
        let mut next = |what| match counts.next()?? {
            (number, word) if word == what => number.parse().ok(),
            _ => None,
        };
        Some(Self {
            passed: next("passed")?,
            failed: next("failed")?,
            skipped: next("skipped")?,
        })
    }

    /// Parses the output of the kernel's own parser of KTAP: `Testing complete. Ran 9 tests: passed: 8, skipped: 1`. It omits
    /// zeros. Crashes and errors count as failures.
    fn read_kunit(text: &str) -> Option<Self> {
        let (_, list) = text
            .lines()
            .find_map(|line| line.split_once("Testing complete. Ran "))?;
        let (_, list) = list.split_once(": ")?;
        let mut counts = Self::default();
        for count in list.split(", ") {
            let (what, number) = count.split_once(": ")?;
            let number: usize = number.trim_end().parse().ok()?;
            match what {
                "passed" => counts.passed += number,
                "skipped" => counts.skipped += number,
                _ => counts.failed += number,
            }
        }
        Some(counts)
    }
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            passed: sum.passed + one.passed,
            failed: sum.failed + one.failed,
            skipped: sum.skipped + one.skipped,
        })
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

/// Counts the results of a kernel's run, and names the cases that failed or were skipped. `kunit` is the output of the
/// kernel's parser for `ktap`, and must agree.
fn count(kernel: &str, ktap: &str, kunit: &str) -> (Counts, String) {
    let counts = ktap.lines().find_map(Counts::read);
    // A run that has no end, or did not start, has failed.
    let mut sum = counts.unwrap_or(Counts {
        failed: 1,
        ..Counts::default()
    });
    let mut told = String::new();
    for line in ktap.lines() {
        let (verdict, rest) = line.split_once("ok ").unwrap_or_default();
        let (Some((_, rest)), "" | "not ") = (rest.split_once(' '), verdict) else {
            continue;
        };
        let (name, note) = rest.split_once(" # ").unwrap_or((rest, ""));
        if verdict == "not " {
            told += &format!("    failed: {name}\n");
        } else if let Some(why) = note.strip_prefix("SKIP ") {
            told += &format!("    skipped: {name}: {why}\n");
        }
    }
    let by_kunit = Counts::read_kunit(kunit);
    if counts.is_some() && by_kunit != counts {
        let other = by_kunit.map_or("nothing".to_owned(), |counts| counts.to_string());
        told += &format!("    failed: kunit.py counts {other}\n");
        sum.failed += 1;
    }
    (sum, format!("{kernel:<28} {sum}\n{told}"))
}

/// Prints the counts of each run, the cases that failed or were skipped, and the sum. A file `<kernel>.tap` has the output
/// of a run, and `<kernel>.kunit` that of the kernel's parser.
pub(crate) fn run(files: &[PathBuf]) -> Result<ExitCode> {
    let mut all = Vec::new();
    for file in files {
        let read = |file: PathBuf| {
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
        };
        // Not file_stem: a release has dots too.
        let kernel = file.file_name().context("no file")?.to_string_lossy();
        let kernel = kernel.trim_end_matches(".tap");
        let kunit = read(file.with_file_name(format!("{kernel}.kunit")))?;
        let (counts, text) = count(kernel, &read(file.clone())?, &kunit);
        print!("{text}");
        all.push(counts);
    }
    let sum: Counts = all.into_iter().sum();
    println!("{sum}");
    Ok(if sum.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{Ended, Outcome};

    fn ktap(outcomes: Vec<Outcome>) -> String {
        let names = ["row01", "row02", "row03"];
        let cases = outcomes.into_iter().zip(names).zip(1..);
        cases
            .map(|((outcome, name), number)| {
                let ended = Ended {
                    name: name.to_owned(),
                    outcome,
                    milliseconds: 5,
                    note: Some("2 of 3".to_owned()),
                };
                ended.ktap(number)
            })
            .collect()
    }

    fn skipped() -> Outcome {
        let why = "not ok # here".to_owned();
        Outcome::Skipped { why }
    }

    fn failed() -> Outcome {
        let why = "ok 1 is what it should say\nnot ok 2 is not".to_owned();
        Outcome::Failed { why }
    }

    #[test]
    fn a_run_names_what_failed_and_what_was_skipped() {
        let run = ktap(vec![Outcome::Passed, failed(), skipped()])
            + "# 1.2.3: 5 s; logs\n1 passed, 1 failed, 1 skipped\n";
        let kunit = "[12:00:01] Testing complete. Ran 3 tests: passed: 1, failed: 1, skipped: 1\n";
        let (counts, text) = count("1.2.3", &run, kunit);
        assert_eq!(counts.to_string(), "1 passed, 1 failed, 1 skipped");
        assert_eq!(
            text,
            "1.2.3                        1 passed, 1 failed, 1 skipped\n    failed: row02\n    skipped: row03: not ok # here\n"
        );
    }

    #[test]
    fn a_run_without_an_end_has_failed() {
        for run in ["", "KTAP version 1\n1..2\nok 1 row01 # 5 ms\n"] {
            assert_eq!(count("debug", run, "").0.failed, 1);
        }
    }

    #[test]
    fn the_kernels_parser_must_count_the_same() {
        let run = ktap(vec![Outcome::Passed, Outcome::Passed]) + "2 passed, 0 failed, 0 skipped\n";
        let right = "Testing complete. Ran 2 tests: passed: 2\n";
        assert_eq!(count("debug", &run, right).0.failed, 0);
        for wrong in [
            "Testing complete. Ran 1 tests: passed: 1\n",
            "Testing complete. Ran 2 tests: passed: 2, errors: 1\n",
            "Testing complete. Ran 3 tests: passed: 2, crashed: 1\n",
            "",
        ] {
            let (counts, text) = count("debug", &run, wrong);
            assert_eq!(counts.failed, 1, "{wrong}");
            assert!(text.contains("failed: kunit.py counts"), "{text}");
        }
    }
}
