//! A drawing of the ratios: how long ours takes by how long the best peer takes.

use std::path::{Path, PathBuf};

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::figure::{Comparison, Figure};

const FILE: &str = "docs/rings.svg";
const WIDTH: u32 = 960;
const BAR: i32 = 16;
const TOP: i32 = 56;
const LEFT: i32 = 300;
/// So many pixels are a ratio of one.
const SCALE: f64 = 300.0;
/// Where bars end that are longer.
const LONGEST: f64 = 2.0;
const FONT: &str = "sans-serif";
const AHEAD: RGBColor = RGBColor(0, 114, 178);
const BEHIND: RGBColor = RGBColor(213, 94, 0);
const GRID: RGBColor = RGBColor(225, 225, 225);
const TITLE: &str =
    "Time of Handover's rings by that of the best peer, the same work in the same run";

/// Draws the figures.
///
/// # Errors
/// Words of the drawing library.
pub fn draw(figures: &[Figure]) -> Result<String, String> {
    let bars: Vec<_> = figures
        .iter()
        .flat_map(|figure| {
            let bars = figure.comparisons().into_iter();
            bars.map(|comparison| (figure.key.as_str(), comparison))
        })
        .filter(|(_, comparison)| comparison.ratio().is_some())
        .collect();
    let mut text = String::new();
    {
        let height = TOP + BAR * bars.len() as i32 + 24;
        let root = SVGBackend::with_string(&mut text, (WIDTH, height as u32));
        let root = root.into_drawing_area();
        root.fill(&WHITE).map_err(|error| error.to_string())?;
        draw_bars(&root, &bars, height).map_err(|error| error.to_string())?;
        root.present().map_err(|error| error.to_string())?;
    }
    // Readers who see no picture get a line.
    Ok(text.replacen('>', &format!(" role=\"img\">\n<title>{TITLE}</title>"), 1))
}

fn draw_bars<'a>(
    root: &DrawingArea<SVGBackend<'a>, Shift>,
    bars: &[(&str, Comparison)],
    height: i32,
) -> Result<(), Box<dyn std::error::Error + 'a>> {
    let place = |ratio: f64| LEFT + (ratio.min(LONGEST) * SCALE) as i32;
    let words = (FONT, 12).into_font();
    root.draw(&Text::new(TITLE, (16, 10), (FONT, 16).into_font()))?;
    for ratio in [0.0, 0.5, 1.0, 1.5, 2.0] {
        let line = vec![(place(ratio), TOP - 4), (place(ratio), height - 20)];
        let style = if ratio == 1.0 { BLACK } else { GRID };
        root.draw(&PathElement::new(line, style))?;
        let at = (place(ratio) - 8, TOP - 20);
        root.draw(&Text::new(format!("{ratio:.1}"), at, words.clone()))?;
    }
    for (number, (key, comparison)) in bars.iter().enumerate() {
        let top = TOP + BAR * number as i32;
        let Some(ratio) = comparison.ratio() else {
            continue;
        };
        let colour = if ratio <= 1.0 { AHEAD } else { BEHIND };
        let corners = [(LEFT, top + 2), (place(ratio), top + BAR - 2)];
        root.draw(&Rectangle::new(corners, colour.filled()))?;
        let name = format!("{key} {}", comparison.name);
        root.draw(&Text::new(name, (16, top + 2), words.clone()))?;
        let peer = comparison.peer.map_or("", |(name, _)| name);
        let label = format!("{ratio:.2} of {peer}");
        root.draw(&Text::new(
            label,
            (place(ratio) + 6, top + 2),
            words.clone(),
        ))?;
    }
    Ok(())
}

/// Writes `docs/rings.svg` and answers where it is.
///
/// # Errors
/// In words, when it can't be drawn or written.
pub fn write(figures: &[Figure]) -> Result<PathBuf, String> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = draw(figures)?;
    let written = std::fs::write(repository.join(FILE), text);
    written.map_err(|error| format!("{FILE} can't be written: {error}"))?;
    Ok(PathBuf::from(FILE))
}
