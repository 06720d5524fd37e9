//! Pictures: a panel of bars for each figure of a workload.

use crate::results::number;
use plotters::prelude::*;
use quic_perf::Error;
use std::path::Path;

/// Bars that are compared with each other.
pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) digits: usize,
    pub(crate) bars: Vec<Bar>,
}

/// What a stack reached.
pub(crate) struct Bar {
    pub(crate) name: String,
    /// It stands out.
    pub(crate) ours: bool,
    /// `None` is a failure.
    pub(crate) value: Option<f64>,
}

const WIDTH: i32 = 360;
const LABEL: i32 = 130;
const BAR: i32 = 22;
const HEAD: i32 = 62;

/// Draws the panels side by side.
pub(crate) fn draw(path: &Path, title: &str, panels: &[Panel]) -> Result<(), Error> {
    let most = panels.iter().map(|panel| panel.bars.len()).max().unwrap_or(0) as i32;
    let size = ((WIDTH * panels.len() as i32 + 20) as u32, (HEAD + BAR * most + 14) as u32);
    let area = SVGBackend::new(path, size).into_drawing_area();
    area.fill(&WHITE)?;
    area.draw(&Text::new(title.to_owned(), (16, 10), ("sans-serif", 18)))?;
    for (at, panel) in panels.iter().enumerate() {
        let left = 16 + WIDTH * at as i32;
        area.draw(&Text::new(panel.title.clone(), (left, 38), ("sans-serif", 13)))?;
        let longest = panel.bars.iter().filter_map(|bar| bar.value).fold(f64::MIN_POSITIVE, f64::max);
        for (row, Bar { name, ours, value }) in panel.bars.iter().enumerate() {
            let top = HEAD + BAR * row as i32;
            area.draw(&Text::new(name.clone(), (left, top + 4), ("sans-serif", 12)))?;
            let length = value.map_or(0, |value| (f64::from(WIDTH - LABEL - 90) * value / longest) as i32);
            let bar = [(left + LABEL, top + 2), (left + LABEL + length, top + BAR - 4)];
            let colour = if *ours { RGBColor(31, 119, 180) } else { RGBColor(174, 184, 196) };
            area.draw(&Rectangle::new(bar, colour.filled()))?;
            let text = value.map_or("failed".to_owned(), |value| number(value, panel.digits));
            area.draw(&Text::new(text, (left + LABEL + length + 6, top + 4), ("sans-serif", 12)))?;
        }
    }
    area.present()?;
    Ok(())
}
