//! The tables.

use crate::impaired::{CONTROLLERS, Impaired, PATHS};
use crate::plot::{self, Panel};
use crate::stacks::Stack;
use crate::workloads::{Figures, Row, Workload};
use quic_perf::Error;
use std::fmt::Write;
use std::path::Path;

/// All that was measured.
pub(crate) struct Results {
    stacks: Vec<&'static str>,
    workloads: Vec<(&'static Workload, Vec<Figures>)>,
    pub(crate) impaired: Option<Impaired>,
}

/// What was set and how, said beside the figures.
const SETTINGS: &str = "\
Server and client are two processes on the loopback interface, each pinned to a core; on each workload the stacks take turns, round after
round, and the median of the rounds counts. Processor time is that of both processes, kernel included. All stacks have the same UDP payload
of at most 1452 bytes (8900 where that is said, which does not concern TCP), receive windows of 8 MiB for streams and connections, and send
buffers of as much where they can be set; 256 streams; TLS 1.3 with a P-256 certificate that the client verifies; no resumption; CUBIC,
TCP's too, whatever the system's default. GSO, GRO, pacing, cipher suites and delays of acknowledgements are as each library has them by
default. quic, quinn, noq and TCP use rustls with ring; s2n-quic uses s2n-tls with AWS-LC, quiche BoringSSL. All but quiche bring their own
sockets; quiche is driven over tokio with GSO and GRO by `quiche/src/endpoint.rs`, without pacing. TCP has a connection for each stream. The
last column is quic's figure against the best of the other QUIC stacks: above 1 is better where more is, below 1 where less is.
";

impl Results {
    pub(crate) fn new(stacks: &[Stack]) -> Self {
        let stacks = stacks.iter().map(|stack| stack.name).collect();
        Self { stacks, workloads: Vec::new(), impaired: None }
    }

    pub(crate) fn add(&mut self, workload: &'static Workload, figures: Vec<Figures>) {
        self.workloads.push((workload, figures));
    }

    pub(crate) fn to_markdown(&self, facts: &[String]) -> String {
        let mut text = String::from(
            "# Measured beside the peers\n\nWritten by a program; `peers/README.md` says how.\n\n",
        );
        for fact in facts {
            text.push_str(&format!("- {fact}\n"));
        }
        text.push('\n');
        text.push_str(SETTINGS);
        for (workload, figures) in &self.workloads {
            self.table(&mut text, workload, figures);
        }
        if let Some(impaired) = &self.impaired {
            self.impaired_table(&mut text, impaired);
        }
        text
    }

    fn table(&self, text: &mut String, workload: &Workload, figures: &[Figures]) {
        heading(
            text,
            workload.title,
            workload.name,
            &format!("{} | against the best", self.stacks.join(" | ")),
        );
        line(text, &vec!["---:"; self.stacks.len() + 1], "---");
        for (at, row) in workload.rows.iter().enumerate() {
            let values: Vec<Option<f64>> =
                figures.iter().map(|figures| *figures.as_ref().ok()?.get(at)?).collect();
            let mut cells: Vec<String> = values.iter().map(|value| cell(*value, row)).collect();
            cells.push(self.ratio(&values, row).map_or("–".to_owned(), |ratio| format!("{ratio:.2}")));
            line(text, &cells, row.title);
        }
        let failures = self
            .stacks
            .iter()
            .zip(figures)
            .filter_map(|(name, figures)| Some((name, figures.as_ref().err()?)));
        for (name, error) in failures {
            text.push_str(&format!("\n{name} failed: {error}\n"));
        }
    }

    /// Ours against the best of the other QUIC stacks.
    fn ratio(&self, values: &[Option<f64>], row: &Row) -> Option<f64> {
        let named = || self.stacks.iter().zip(values).filter_map(|(name, value)| Some((*name, (*value)?)));
        let ours = named().find(|(name, _)| *name == "quic")?.1;
        let others = named().filter(|(name, _)| !["quic", "tcp"].contains(name)).map(|(_, value)| value);
        let best = if row.more_is_better { others.reduce(f64::max) } else { others.reduce(f64::min) };
        Some(ours / best?)
    }

    fn impaired_table(&self, text: &mut String, impaired: &Impaired) {
        let titles: Vec<&str> = PATHS.iter().map(|path| path.title).collect();
        heading(text, "Goodput on impaired paths, Mbit/s", "impaired", &titles.join(" | "));
        line(text, &vec!["---:"; PATHS.len()], "---");
        let mut failures = String::new();
        for controller in CONTROLLERS {
            for stack in &self.stacks {
                let of = |path: usize| {
                    impaired
                        .all
                        .iter()
                        .find(|one| one.path == path && one.stack == *stack && one.controller == *controller)
                };
                if of(0).is_none() {
                    continue;
                }
                let cells: Vec<String> = (0..PATHS.len())
                    .map(|path| match of(path).map(|goodput| &goodput.mbit) {
                        Some(Ok(mbit)) => format!("{mbit:.1}"),
                        Some(Err(error)) => {
                            // Text into a string does not fail.
                            let _ = writeln!(
                                failures,
                                "\n{stack} with {controller} on {}: {error}",
                                PATHS[path].title
                            );
                            "**failed**".to_owned()
                        }
                        None => "–".to_owned(),
                    })
                    .collect();
                line(text, &cells, &format!("{controller}, {stack}"));
            }
        }
        text.push_str(&failures);
        if let Some(why) = &impaired.no_tcp {
            text.push_str(&format!(
                "\nTCP was not measured; the path for it needs Linux, root and iproute2: {why}\n"
            ));
        }
        text.push_str(
            "\nTCP has the kernel's controllers, and the same link between two TUN devices in network namespaces of their own. A stack is not \
             listed with a controller that it does not have.\n",
        );
    }

    /// A picture of each workload.
    pub(crate) fn plot(&self, folder: &Path) -> Result<(), Error> {
        for (workload, figures) in &self.workloads {
            let panel = |(at, row): (usize, &Row)| Panel {
                title: row.title.to_owned(),
                digits: row.digits,
                bars: (self.stacks.iter().zip(figures))
                    .map(|(name, figures)| {
                        ((*name).to_owned(), figures.as_ref().ok().and_then(|all| all[at]))
                    })
                    .collect(),
            };
            let panels: Vec<Panel> = workload.rows.iter().enumerate().map(panel).collect();
            plot::draw(&folder.join(format!("{}.svg", workload.name)), workload.title, &panels)?;
        }
        let Some(impaired) = &self.impaired else { return Ok(()) };
        let panel = |(path, title): (usize, &str)| Panel {
            title: title.to_owned(),
            digits: 1,
            bars: (impaired.all.iter().filter(|goodput| goodput.path == path))
                .map(|goodput| {
                    (
                        format!("{}, {}", goodput.controller, goodput.stack),
                        goodput.mbit.as_ref().ok().copied(),
                    )
                })
                .collect(),
        };
        let panels: Vec<Panel> = PATHS.iter().map(|path| path.title).enumerate().map(panel).collect();
        plot::draw(&folder.join("impaired.svg"), "Goodput on impaired paths, Mbit/s", &panels)
    }
}

fn heading(text: &mut String, title: &str, name: &str, columns: &str) {
    text.push_str(&format!("\n## {title}\n\n![{title}](plots/{name}.svg)\n\n| | {columns} |\n"));
}

fn line(text: &mut String, cells: &[impl AsRef<str>], title: &str) {
    let cells: Vec<&str> = cells.iter().map(AsRef::as_ref).collect();
    text.push_str(&format!("| {title} | {} |\n", cells.join(" | ")));
}

fn cell(value: Option<f64>, row: &Row) -> String {
    value.map_or("–".to_owned(), |value| number(value, row.digits))
}

/// With a comma between thousands.
pub(crate) fn number(value: f64, digits: usize) -> String {
    let plain = format!("{value:.digits$}");
    let (whole, rest) = plain.split_at(plain.find('.').unwrap_or(plain.len()));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_told_apart() {
        assert_eq!(number(1_234_567.891, 2), "1,234,567.89");
        assert_eq!(number(999.6, 0), "1,000");
        assert_eq!(number(0.5, 1), "0.5");
    }
}
