//! Aligned tables of text.

use comfy_table::{CellAlignment, Table, presets};

/// To which side the cells of a column go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Renders a table without borders: a head, a rule and the rows, without trailing blanks.
pub fn render(head: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(head.iter().map(|(title, _)| *title));
    table.add_rows(rows);
    let last = head.len().saturating_sub(1);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if index == last { 0 } else { 2 }));
        column.set_cell_alignment(match head.get(index) {
            Some((_, Align::Right)) => CellAlignment::Right,
            _ => CellAlignment::Left,
        });
    }
    let text = table.to_string();
    let mut lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let width = lines
        .iter()
        .map(|line| line.chars().count())
        .max()
        .unwrap_or(0);
    let rule = "─".repeat(width);
    lines.insert(lines.len().min(1), &rule);
    lines.join("\n")
}
