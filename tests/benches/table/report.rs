//! The table: medians over the rounds.

use crate::Run;
use crate::rows::{Measured, Row};
use crate::system::System;

/// The median of one figure.
pub(crate) fn median(all: &[Measured], row: Row, system: System, figure: &str) -> Option<f64> {
    let mut values: Vec<f64> = all
        .iter()
        .filter(|measured| measured.row == row && measured.system == system)
        .filter_map(|measured| measured.figures.get(figure)?.as_f64())
        .collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Everything, in Markdown.
pub(crate) fn table(_run: &Run, all: &[Measured]) -> String {
    let mut text = String::new();
    for row in [Row::Chats1K, Row::Chats64K] {
        for system in System::PROXIES {
            if let Some(cpu) = median(all, row, system, "cpu_s") {
                text.push_str(&format!("{} {system} {cpu:.3}\n", row.name()));
            }
        }
    }
    text
}
