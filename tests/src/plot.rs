//! A drawing of how costs grow with pages, ours and those of others where they are known.

use std::path::{Path, PathBuf};

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::build;
use crate::failure::Failure;
use crate::growth::Growth;
use crate::targets::TARGETS;

const FILE: &str = "docs/growth.svg";
const SIZE: (u32, u32) = (960, 720);
const FONT: &str = "sans-serif";
/// Colours that people who see few colours can tell apart.
const COLOURS: [RGBColor; 4] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
];
/// Peers by the names that they have in [`TARGETS`].
const PEERS: [(&str, &str); 2] = [("linux_lean", "Linux 6.1, leanest"), ("sel4", "seL4 16")];
/// Operations that others have, one panel each.
const COMPARED: [&str; 3] = ["map", "unmap", "protect"];
/// Operations that only we have, in one panel.
const OWN: [(&str, &str); 4] = [
    ("share", "Share"),
    ("move", "Move"),
    ("copy", "CopyOnWrite"),
    ("revoke", "revoke"),
];

const TITLE: &str =
    "Instructions of each operation by pages, of Handover and of others where known";

struct Costs {
    name: &'static str,
    points: Vec<(u64, u64)>,
    /// Whether what lies between the points is known to lie between their costs.
    joined: bool,
}

/// What a peer needs, from the keys `operation_pages` of the targets.
fn of_peer(operation: &str, peer: &str) -> Vec<(u64, u64)> {
    let points = TARGETS.iter().filter_map(|target| {
        let pages = target.key.strip_prefix(operation)?.strip_prefix('_')?;
        let (_, cost) = target.peers.iter().find(|(name, _)| *name == peer)?;
        Some((pages.parse().ok()?, *cost))
    });
    points.collect()
}

/// Draws the figures.
///
/// # Errors
/// Words of the drawing library.
pub fn draw(growth: &Growth) -> Result<String, String> {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(|error| error.to_string())?;
        let panels = root.split_evenly((2, 2));
        for (operation, place) in COMPARED.into_iter().zip(&panels) {
            let mut costs = vec![ours(growth, operation, "Handover")];
            costs.extend(PEERS.map(|(peer, name)| Costs {
                name,
                points: of_peer(operation, peer),
                // One large page may cost what a small one does, and 16 small ones more.
                joined: false,
            }));
            panel(place, operation, &costs)?;
        }
        let own = OWN.map(|(operation, name)| ours(growth, operation, name));
        if let Some(place) = panels.last() {
            panel(place, "Share, Move, CopyOnWrite and revoke: Handover", &own)?;
        }
        root.present().map_err(|error| error.to_string())?;
    }
    // Readers who see no picture get a line.
    Ok(text.replacen('>', &format!(" role=\"img\">\n<title>{TITLE}</title>"), 1))
}

fn ours(growth: &Growth, operation: &str, name: &'static str) -> Costs {
    Costs {
        name,
        points: growth.of_pages(operation),
        joined: true,
    }
}

fn panel(
    place: &DrawingArea<SVGBackend<'_>, Shift>,
    title: &str,
    all: &[Costs],
) -> Result<(), String> {
    let drawn = || -> Result<(), Box<dyn std::error::Error + '_>> {
        let mut chart = ChartBuilder::on(place)
            .caption(title, (FONT, 18))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(76)
            .build_cartesian_2d(
                (1.0..400_000.0_f64).log_scale(),
                (100.0..1e9_f64).log_scale(),
            )?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .max_light_lines(0)
            .bold_line_style(RGBColor(225, 225, 225))
            .x_desc("pages")
            .y_desc("instructions")
            .x_label_formatter(&|pages| short(*pages))
            .y_label_formatter(&|cost| short(*cost))
            .label_style((FONT, 13))
            .draw()?;
        for (costs, colour) in all.iter().zip(COLOURS) {
            let points = costs.points.iter();
            let points: Vec<_> = points.map(|&(x, y)| (x as f64, y as f64)).collect();
            if costs.joined {
                chart.draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)))?;
            }
            let dots = points
                .into_iter()
                .map(|point| Circle::new(point, 4, colour.filled()));
            chart
                .draw_series(dots)?
                .label(costs.name)
                .legend(move |(x, y)| Circle::new((x + 9, y), 4, colour.filled()));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .label_font((FONT, 13))
            .draw()?;
        Ok(())
    };
    drawn().map_err(|error| error.to_string())
}

/// A power of ten in few characters.
fn short(number: f64) -> String {
    match number {
        1e9.. => format!("{} G", number / 1e9),
        1e6.. => format!("{} M", number / 1e6),
        1e3.. => format!("{} k", number / 1e3),
        _ => number.to_string(),
    }
}

/// Writes `docs/growth.svg` and answers where it is.
///
/// # Errors
/// When it can't be drawn or written.
pub fn write(growth: &Growth) -> Result<PathBuf, Failure> {
    let path = build::repository().join(FILE);
    let failed = |why: String| Failure::failed(format!("{FILE} can't be drawn: {why}"));
    let text = draw(growth).map_err(failed)?;
    std::fs::write(&path, text).map_err(|error| failed(error.to_string()))?;
    Ok(Path::new(FILE).to_path_buf())
}
