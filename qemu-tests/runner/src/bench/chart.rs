// SPDX-License-Identifier: GPL-2.0

//! The chart of the documentation: an unanswered request, by the number of addresses.

use super::{figures::Figures, names::setup_name};
use anyhow::{anyhow, Result};
use plotters::prelude::*;
use protocol::bench::{Event, Setup};
use std::path::Path;

const LINES: &[(Setup, RGBColor)] = &[
    (Setup::Without, RGBColor(0x88, 0x88, 0x88)),
    (Setup::ArptablesDrop, RGBColor(0xaa, 0x33, 0x77)),
    (Setup::NftRules, RGBColor(0xcc, 0xbb, 0x44)),
    (Setup::NftSet, RGBColor(0x22, 0x88, 0x33)),
    (Setup::ArpIgnore, RGBColor(0x44, 0x77, 0xaa)),
    (Setup::Hidden, RGBColor(0xee, 0x66, 0x77)),
];

/// Draws it.
pub(super) fn draw(figures: &Figures, to: &Path) -> Result<()> {
    paint(figures, to).map_err(|error| anyhow!("the chart: {error}"))
}

fn paint(figures: &Figures, to: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let sizes = figures.sizes();
    let interfaces = sizes.first().map_or(0, |size| size.interfaces);
    let line = |setup| -> Vec<(f64, f64)> {
        sizes
            .iter()
            .filter(|size| size.interfaces == interfaces)
            .filter_map(|&size| {
                let cost = figures.get(size, Event::ArpVip, setup)?;
                Some((f64::from(size.vips), cost))
            })
            .collect()
    };
    let area = SVGBackend::new(to, (860, 480)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(
            "A broadcast ARP request for an address on lo",
            ("sans-serif", 20),
        )
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(84)
        .build_cartesian_2d((0.9f64..11_000.0).log_scale(), (3e3f64..3e6).log_scale())?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("addresses on lo")
        .y_desc("instructions, sending included")
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.0}"))
        .draw()?;
    for &(setup, color) in LINES {
        let points = line(setup);
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(3)).point_size(4))?
            .label(match setup {
                Setup::Without => "answered: no module, no rules",
                setup => setup_name(setup),
            })
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(3)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.9))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    area.present()?;
    Ok(())
}
