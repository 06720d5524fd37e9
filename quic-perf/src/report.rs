//! What a run comes to, for people and for programs.
//!
//! Owns [`Report`], a client's, and [`ServerReport`]. Invariant: the JSON has every field that the text is made of, and programs read it
//! back into the same types. Timers: none.

use crate::{Datagrams, Latency, Waited, units};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

const GIB: f64 = (1_u64 << 30) as f64;

/// A client's report.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// What was done.
    pub workload: String,
    /// How long it took.
    pub seconds: f64,
    /// What it cost this process.
    pub cpu_seconds: f64,
    /// Connections made.
    pub connections: u64,
    /// Streams asked and answered.
    pub exchanges: u64,
    /// Bytes sent on streams.
    pub sent_bytes: u64,
    /// Bytes received on streams.
    pub received_bytes: u64,
    /// What each connection that was kept idle holds of this process's memory.
    pub bytes_per_connection: Option<u64>,
    /// How long requests or handshakes took.
    pub latency: Option<Latency>,
    /// The socket's work since the process began.
    pub datagrams: Option<Datagrams>,
    /// What the connections waited for when they could have sent; empty if the stack does not tell.
    #[serde(default)]
    pub waited: Waited,
}

/// A server's report.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ServerReport {
    /// Since the first client came.
    pub seconds: f64,
    /// What it cost this process since then.
    pub cpu_seconds: f64,
    /// Clients that came.
    pub connections: u64,
    /// Streams that were answered in full.
    pub exchanges: u64,
    /// Bytes sent on streams.
    pub sent_bytes: u64,
    /// Bytes received on streams.
    pub received_bytes: u64,
    /// This process's memory.
    pub resident_bytes: Option<u64>,
    /// The socket's work since the process began.
    pub datagrams: Option<Datagrams>,
    /// What the connections that are over waited for when they could have sent; empty if the stack does not tell.
    #[serde(default)]
    pub waited: Waited,
}

impl Report {
    /// As a line of JSON.
    pub fn to_json(&self) -> String {
        json(self)
    }
}

impl ServerReport {
    /// As a line of JSON.
    pub fn to_json(&self) -> String {
        json(self)
    }
}

fn json(report: &impl Serialize) -> String {
    serde_json::to_string(report).expect("invariant: the reports have string keys and numbers only")
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = Duration::from_secs_f64(self.seconds);
        writeln!(f, "{:<11}{time:.2?}", self.workload)?;
        moved(f, "sent", self.sent_bytes, time)?;
        moved(f, "received", self.received_bytes, time)?;
        if self.exchanges > 0 && self.latency.is_some() {
            rate(f, "requests", self.exchanges, self.seconds)?;
        }
        if self.workload == "handshake" {
            rate(f, "handshakes", self.connections, self.seconds)?;
        }
        if let Some(bytes) = self.bytes_per_connection {
            writeln!(f, "{:<11}{bytes} bytes for each of {} connections", "memory", self.connections)?;
        }
        if let Some(latency) = &self.latency {
            latency.fmt(f)?;
        }
        cost(f, self.cpu_seconds, self.seconds, self.sent_bytes + self.received_bytes)?;
        self.waited.fmt(f)?;
        self.datagrams.as_ref().map_or(Ok(()), |datagrams| datagrams.fmt(f))
    }
}

impl fmt::Display for ServerReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = Duration::from_secs_f64(self.seconds);
        writeln!(
            f,
            "{:<11}{} connections, {} streams in {time:.2?}",
            "served", self.connections, self.exchanges
        )?;
        moved(f, "sent", self.sent_bytes, time)?;
        moved(f, "received", self.received_bytes, time)?;
        cost(f, self.cpu_seconds, self.seconds, self.sent_bytes + self.received_bytes)?;
        if let Some(bytes) = self.resident_bytes {
            writeln!(f, "{:<11}{}", "memory", units::bytes(bytes))?;
        }
        self.waited.fmt(f)?;
        self.datagrams.as_ref().map_or(Ok(()), |datagrams| datagrams.fmt(f))
    }
}

fn moved(f: &mut fmt::Formatter<'_>, what: &str, bytes: u64, time: Duration) -> fmt::Result {
    if bytes == 0 {
        return Ok(());
    }
    writeln!(f, "{what:<11}{}, {}", units::bytes(bytes), units::throughput(bytes, time))
}

fn rate(f: &mut fmt::Formatter<'_>, what: &str, count: u64, seconds: f64) -> fmt::Result {
    writeln!(f, "{what:<11}{count}, {:.0} a second", count as f64 / seconds.max(1e-9))
}

/// Processor time; by GiB where there is enough to say so.
fn cost(f: &mut fmt::Formatter<'_>, cpu: f64, seconds: f64, bytes: u64) -> fmt::Result {
    write!(f, "{:<11}{cpu:.3} s, {:.0} % of a core", "cpu", 100.0 * cpu / seconds.max(1e-9))?;
    if bytes as f64 > GIB / 64.0 {
        write!(f, ", {:.3} s for a GiB", cpu * GIB / bytes as f64)?;
    }
    writeln!(f)
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<11}min {}, p50 {}, p90 {}, p99 {}, p99.9 {}, max {}",
            "latency",
            us(self.min_us),
            us(self.p50_us),
            us(self.p90_us),
            us(self.p99_us),
            us(self.p999_us),
            us(self.max_us),
        )?;
        const WIDTH: f64 = 40.0;
        let most = self.buckets.iter().map(|(_, count)| *count).max().unwrap_or(1).max(1);
        for (bound, count) in &self.buckets {
            let bar = "#".repeat((WIDTH * *count as f64 / most as f64).ceil() as usize);
            writeln!(f, "{:>11}  {bar:<40} {count}", format!("<{}", us(*bound)))?;
        }
        Ok(())
    }
}

impl fmt::Display for Datagrams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<11}{:.1} datagrams a system call sent, {:.1} received",
            "sockets",
            self.per_send(),
            self.per_receive()
        )
    }
}

impl fmt::Display for Waited {
    /// What is worth a thought: nothing below half a per cent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(shares) = self.shares() else { return Ok(()) };
        let told = shares.iter().filter(|(_, share)| *share >= 0.005);
        let told: Vec<String> = told.map(|(what, share)| format!("{what} {:.0} %", 100.0 * share)).collect();
        writeln!(f, "{:<11}{}", "waited for", told.join(", "))
    }
}

/// Microseconds for a person to read.
fn us(us: f64) -> String {
    match us {
        us if us < 1e3 => format!("{us:.0}µs"),
        us if us < 1e6 => format!("{:.1}ms", us / 1e3),
        us => format!("{:.1}s", us / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut waited = Waited::default();
        for (what, ms) in [("congestion", 1500), ("application", 497), ("pacer", 3)] {
            waited.add(what, Duration::from_millis(ms));
        }
        let datagrams = Datagrams { sent: 40, send_calls: 2, received: 30, receive_calls: 4 };
        Report {
            workload: "rr".into(),
            seconds: 2.0,
            cpu_seconds: 0.5,
            connections: 1,
            exchanges: 3,
            sent_bytes: 216,
            received_bytes: 1 << 30,
            bytes_per_connection: None,
            latency: Some(Latency {
                min_us: 90.0,
                p50_us: 100.0,
                p90_us: 150.0,
                p99_us: 1500.0,
                p999_us: 1500.0,
                max_us: 2e6,
                mean_us: 600.0,
                buckets: vec![(128.0, 2), (256.0, 0), (512.0, 1)],
            }),
            datagrams: Some(datagrams),
            waited,
        }
    }

    #[test]
    fn the_text_reads_well() {
        let text = report().to_string();
        let expected = [
            "rr         2.00s",
            "sent       216 B, 1 kbit/s",
            "received   1.00 GiB, 4.29 Gbit/s",
            "requests   3, 2 a second",
            "latency    min 90µs, p50 100µs, p90 150µs, p99 1.5ms, p99.9 1.5ms, max 2.0s",
            "     <128µs  ######################################## 2",
            "     <256µs                                           0",
            "     <512µs  ####################                     1",
            "cpu        0.500 s, 25 % of a core, 0.500 s for a GiB",
            "waited for congestion 75 %, application 25 %",
            "sockets    20.0 datagrams a system call sent, 7.5 received",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn programs_read_it_back() {
        assert_eq!(serde_json::from_str::<Report>(&report().to_json()).unwrap(), report());
    }
}
