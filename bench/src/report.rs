//! The tables.

use comfy_table::{CellAlignment, Table, presets};

use crate::figure::{Comparison, Figure, Measured, Side};

/// Less than this much over the limit counts as reached: less is not resolved.
const RESOLUTION: f64 = 1.1;

/// What of a comparison is to be noticed.
fn verdict(comparison: &Comparison) -> &'static str {
    match comparison.ratio() {
        Some(ratio) if ratio > RESOLUTION => "behind",
        Some(ratio) if ratio > comparison.at_most * RESOLUTION => "over",
        _ => "",
    }
}

fn number(value: f64) -> String {
    if value < 100.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

/// Ours beside the best peer of each row, in this unit.
pub fn comparisons(figures: &[Figure], unit: &str) -> String {
    let mut rows = Vec::new();
    for figure in figures {
        for comparison in figure.comparisons() {
            let (peer, peer_ns) = match comparison.peer {
                Some((name, value)) => (name, number(value)),
                None => ("none", String::new()),
            };
            let ratio = comparison.ratio();
            rows.push(vec![
                figure.key.clone(),
                comparison.name.into(),
                number(comparison.ours),
                peer.into(),
                peer_ns,
                ratio.map_or(String::new(), |ratio| format!("{ratio:.2}")),
                format!("{:.2}", comparison.at_most),
                verdict(&comparison).into(),
            ]);
        }
    }
    let head = [
        "what",
        "ours",
        unit,
        "best peer",
        unit,
        "ratio",
        "at most",
        "",
    ];
    render(&head, &[2, 4, 5, 6], rows)
}

/// Everybody in a row, from the quickest on.
pub fn everybody(figure: &Figure) -> String {
    let mut measured: Vec<_> = figure.measured.iter().collect();
    let place = |one: &Measured| one.figure().unwrap_or(f64::INFINITY);
    measured.sort_by(|one, other| place(one).total_cmp(&place(other)));
    let rows = measured.iter().map(|one| {
        let of = |part| one.quantile(part).map_or("disturbed".into(), number);
        let mark = match one.side {
            Side::Ours(_) => "*",
            Side::Peer => " ",
        };
        let name = format!("{mark} {}", one.name);
        vec![name, of(0.25), of(0.5), of(0.75)]
    });
    let head = [&figure.key, "quarter", "median", "three quarters"];
    render(&head, &[1, 2, 3], rows.collect())
}

/// Lines the cells up; the columns in `right` hold numbers.
fn render(head: &[&str], right: &[usize], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(head.to_vec());
    table.add_rows(rows);
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if right.contains(&at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let text = table.to_string();
    let mut lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let width = lines.iter().map(|line| line.chars().count()).max();
    let rule = "─".repeat(width.unwrap_or(0));
    lines.insert(lines.len().min(1), &rule);
    lines.join("\n")
}
