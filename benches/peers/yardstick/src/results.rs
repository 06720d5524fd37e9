//! The tables.

use crate::impaired::{CONTROLLERS, Impaired, PATHS};
use crate::plot::{self, Bar, Panel};
use crate::stacks::{Kind, Stack};
use crate::workloads::{Figures, Row, Workload};
use quic_perf::Error;
use std::fmt::Write;
use std::path::Path;

/// All that was measured.
pub(crate) struct Results {
    stacks: Vec<Stack>,
    workloads: Vec<(&'static Workload, Vec<Figures>)>,
    pub(crate) impaired: Option<Impaired>,
}

/// What was set and how, said beside the figures.
const SETTINGS: &str = "\
Server and client are two processes on the loopback interface, each pinned to a core; on each workload the stacks take turns, round after
round, and the median of the rounds counts. Processor time is that of both processes, kernel included. All stacks have the same UDP payload
of at most 1452 bytes (8900 where that is said, which does not concern TCP), receive windows of 8 MiB for streams and connections, and send
buffers of as much where they can be set; 256 streams; TLS 1.3 with a P-256 certificate from an authority that the client trusts; no resumption; CUBIC,
TCP's too, whatever the system's default. GSO, GRO, pacing, cipher suites and delays of acknowledgements are as each library has them by
default. quic, quinn, noq and TCP use rustls with ring; quic is there a second time with its feature `aws-lc-rs`, which puts AWS-LC in ring's
place, as s2n-quic has it below s2n-tls; quiche uses BoringSSL. All but quiche bring their own sockets; quiche is driven over tokio with GSO
and GRO by `quiche/src/endpoint.rs`, without pacing. quic stays awake for the next answer of a peer that has answered at once (its option
`busy_poll`, at its default); the others, as they are by default, sleep. TCP has a connection for each stream. The last columns are the figures of the two builds
of quic against the best of the other QUIC stacks: above 1 is better where more is, below 1 where less is.
";

impl Results {
    pub(crate) fn new(stacks: &[Stack]) -> Self {
        Self { stacks: stacks.to_vec(), workloads: Vec::new(), impaired: None }
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
        let names: Vec<&str> = self.stacks.iter().map(|stack| stack.name).collect();
        let ours = || self.stacks.iter().enumerate().filter(|(_, stack)| stack.kind.is_ours());
        let ratios: Vec<String> = ours().map(|(_, stack)| format!("{} / best", stack.name)).collect();
        heading(
            text,
            workload.title,
            workload.name,
            &format!("{} | {}", names.join(" | "), ratios.join(" | ")),
        );
        line(text, &vec!["---:"; names.len() + ratios.len()], "---");
        for (at, row) in workload.rows.iter().enumerate() {
            let values: Vec<Option<f64>> =
                figures.iter().map(|figures| *figures.as_ref().ok()?.get(at)?).collect();
            let mut cells: Vec<String> = values.iter().map(|value| cell(*value, row)).collect();
            let best = self.best_peer(&values, row);
            cells.extend(ours().map(|(ours, _)| match (values[ours], best) {
                (Some(ours), Some(best)) => format!("{:.2}", ours / best),
                _ => "–".to_owned(),
            }));
            line(text, &cells, row.title);
        }
        let failures = self
            .stacks
            .iter()
            .zip(figures)
            .filter_map(|(stack, figures)| Some((stack.name, figures.as_ref().err()?)));
        for (name, error) in failures {
            text.push_str(&format!("\n{name} failed: {error}\n"));
        }
    }

    /// The best of the other QUIC stacks.
    fn best_peer(&self, values: &[Option<f64>], row: &Row) -> Option<f64> {
        let peers = self.stacks.iter().zip(values).filter(|(stack, _)| stack.kind == Kind::Peer);
        let values = peers.filter_map(|(_, value)| *value);
        if row.more_is_better { values.reduce(f64::max) } else { values.reduce(f64::min) }
    }

    fn impaired_table(&self, text: &mut String, impaired: &Impaired) {
        let titles: Vec<&str> = PATHS.iter().map(|path| path.title).collect();
        heading(text, "Goodput on impaired paths, Mbit/s", "impaired", &titles.join(" | "));
        line(text, &vec!["---:"; PATHS.len()], "---");
        let mut failures = String::new();
        for family in CONTROLLERS {
            for goodputs in impaired.rows(family) {
                let cells: Vec<String> = goodputs
                    .iter()
                    .map(|goodput| match &goodput.mbit {
                        Ok(mbit) => format!("{mbit:.1}"),
                        Err(error) => {
                            let path = PATHS[goodput.path].title;
                            // Text into a string does not fail.
                            let _ = writeln!(failures, "\n{} on {path}: {error}", goodput.title());
                            "**failed**".to_owned()
                        }
                    })
                    .collect();
                line(text, &cells, &goodputs[0].title());
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
             listed with a controller that it does not have. What quiche calls CUBIC takes a reduction back if less than a fifth of the window \
             was lost; so it is listed beside the controller of ours that tolerates losses, and not with those that follow RFC 9438.\n",
        );
    }

    /// A picture of each workload.
    pub(crate) fn plot(&self, folder: &Path) -> Result<(), Error> {
        for (workload, figures) in &self.workloads {
            let panel = |(at, row): (usize, &Row)| Panel {
                title: row.title.to_owned(),
                digits: row.digits,
                bars: (self.stacks.iter().zip(figures))
                    .map(|(stack, figures)| Bar {
                        name: stack.name.to_owned(),
                        ours: stack.kind.is_ours(),
                        value: figures.as_ref().ok().and_then(|all| all[at]),
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
            bars: (CONTROLLERS.iter().flat_map(|family| impaired.rows(family)))
                .map(|goodputs| Bar {
                    name: goodputs[path].title(),
                    ours: goodputs[path].stack == self.stacks[0].name,
                    value: goodputs[path].mbit.as_ref().ok().copied(),
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
