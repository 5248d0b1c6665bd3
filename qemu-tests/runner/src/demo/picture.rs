// SPDX-License-Identifier: GPL-2.0

//! The picture of the demonstration: who claimed the VIP, and when.

use crate::{cluster::VIP, traffic::claims};
use protocol::Frame;
use std::fmt::Write;

/// Width of a line in the terminal.
const COLUMNS: usize = 64;

/// One run of the demonstration, on its own clock.
pub(super) struct Half {
    title: &'static str,
    microseconds: u64,
    /// When each machine claimed the VIP.
    answers: Vec<(&'static str, Vec<u64>)>,
}

impl Half {
    /// Reads from the frames of a run when these machines claimed the VIP.
    pub(super) fn of(title: &'static str, frames: &[Frame], names: &[&'static str]) -> Self {
        let start = frames.first().map_or(0, |frame| frame.microseconds);
        let end = frames.last().map_or(0, |frame| frame.microseconds);
        let by = |name: &str| -> Vec<u64> {
            let says_so = |frame: &&Frame| {
                frame.wire == name && !claims(std::slice::from_ref(*frame), VIP).is_empty()
            };
            let frames = frames.iter().filter(says_so);
            frames.map(|frame| frame.microseconds - start).collect()
        };
        Self {
            title,
            microseconds: end - start,
            answers: names.iter().map(|name| (*name, by(name))).collect(),
        }
    }

    fn caption(&self) -> String {
        format!(
            "Who said \"I have {VIP}\" when, {}: {} s",
            self.title,
            self.microseconds / 1_000_000
        )
    }
}

/// Draws the picture for a terminal.
pub(super) fn text(halves: &[Half]) -> String {
    let mut text = String::new();
    for half in halves {
        let _ = writeln!(text, "\n  {}", half.caption());
        for (name, times) in &half.answers {
            let mut line = vec![' '; COLUMNS];
            for time in times {
                line[(*time as usize * COLUMNS / (half.microseconds as usize + 1))
                    .min(COLUMNS - 1)] = '|';
            }
            let line: String = line.into_iter().collect();
            let _ = writeln!(text, "    {name:<9}{line}{:>4}", times.len());
        }
    }
    text
}

/// Draws the picture as SVG, on a scale that both runs share.
pub(super) fn svg(halves: &[Half]) -> String {
    const LEFT: u64 = 80;
    const WIDTH: u64 = 680;
    const ROW: u64 = 22;
    const COLOURS: [&str; 3] = ["#228833", "#ee6677", "#4477aa"];
    let longest = halves.iter().map(|half| half.microseconds).max();
    let longest = longest.unwrap_or(0).max(1);
    let rows = halves.first().map_or(0, |half| half.answers.len());
    let panel = ROW * (rows as u64 + 2);
    let height = panel * halves.len() as u64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        LEFT + WIDTH + 60
    );
    for (number, half) in halves.iter().enumerate() {
        let top = panel * number as u64 + ROW;
        let caption = half.caption().replace('"', "&quot;");
        let _ = writeln!(
            svg,
            "<text x=\"8\" y=\"{}\" font-weight=\"bold\">{caption}</text>",
            top - 6
        );
        for (row, ((name, times), colour)) in half.answers.iter().zip(COLOURS).enumerate() {
            let y = top + ROW * row as u64;
            let width = WIDTH * half.microseconds / longest;
            let _ = writeln!(
                svg,
                "<text x=\"8\" y=\"{base}\">{name}</text>\n\
                 <rect x=\"{LEFT}\" y=\"{y}\" width=\"{width}\" height=\"18\" fill=\"#f2f2f2\"/>\n\
                 <text x=\"{}\" y=\"{base}\">{}</text>",
                LEFT + WIDTH + 8,
                times.len(),
                base = y + 14
            );
            for time in times {
                let x = LEFT + WIDTH * time / longest;
                let _ = writeln!(
                    svg,
                    "<rect x=\"{x}\" y=\"{y}\" width=\"2\" height=\"18\" fill=\"{colour}\"/>"
                );
            }
        }
    }
    svg + "</svg>\n"
}
