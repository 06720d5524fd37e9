//! What happened to every datagram, in order: the thing to compare when two runs should be the same.
//!
//! Owns [`Trace`]. Invariant: entries are in the order in which they happened, so times never decrease; the digest covers all of
//! them even where only the first ones are kept. No timers.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use quic_proto::net::Ecn;
use quic_proto::time::Instant;

/// What became of a datagram.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Fate {
    /// A node sent it. Each sent datagram gets at least one more entry, unless the run ends before.
    Sent,
    /// It arrived as it was sent.
    Delivered,
    /// It arrived with some bits changed.
    Corrupted,
    /// A copy arrived that the network made.
    Duplicated,
    /// The link's loss model took it.
    Lost,
    /// The queue had no room.
    QueueFull,
    /// `CoDel` dropped it.
    CoDel,
    /// It was longer than the link's MTU.
    TooBig,
    /// The link was blacked out.
    BlackedOut,
    /// The NAT had forgotten the address that it was sent to.
    NoMapping,
    /// No node has the address, or no links lead there, or the sender does not own the address that it sent from.
    NoRoute,
}

impl Fate {
    /// Whether a node received it, in whatever shape.
    pub const fn arrived(self) -> bool {
        matches!(self, Self::Delivered | Self::Corrupted | Self::Duplicated)
    }
}

/// One thing that happened to one datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// When.
    pub time: Instant,
    /// Where it came from, as seen outside of any NAT.
    pub from: SocketAddr,
    /// Where it went to, as seen outside of any NAT.
    pub to: SocketAddr,
    /// Length of the UDP payload in bytes.
    pub len: usize,
    /// What happened.
    pub fate: Fate,
    /// Its ECN codepoint at that moment.
    pub ecn: Option<Ecn>,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { time, from, to, len, fate, ecn } = self;
        write!(f, "{time:?} {from} -> {to} {len:5} B {fate:?}")?;
        ecn.map_or(Ok(()), |ecn| write!(f, " {ecn:?}"))
    }
}

/// The record of a run.
#[derive(Clone, Debug)]
pub struct Trace {
    kept: Vec<Entry>,
    limit: usize,
    total: u64,
    digest: u64,
}

/// FNV-1a's offset basis and prime. Speed and stability matter here; nobody attacks a trace.
const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

impl Default for Trace {
    /// A trace that keeps a million entries.
    fn default() -> Self {
        Self::keeping(1_000_000)
    }
}

impl Trace {
    /// An empty trace that keeps the first `limit` entries and only counts and digests those after them.
    pub const fn keeping(limit: usize) -> Self {
        Self { kept: Vec::new(), limit, total: 0, digest: FNV_BASIS }
    }

    /// The entries kept.
    pub fn entries(&self) -> &[Entry] {
        &self.kept
    }

    /// How many things happened, whether kept or not.
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// A number that differs, as good as surely, between traces that differ; the same on every machine.
    pub const fn digest(&self) -> u64 {
        self.digest
    }

    /// How many kept entries have this fate.
    pub fn count(&self, fate: Fate) -> usize {
        self.kept.iter().filter(|entry| entry.fate == fate).count()
    }

    /// The first difference between two traces, or `None` if they are the same. Its `Display` shows what led there.
    pub fn difference(&self, other: &Self) -> Option<Difference> {
        if self.total == other.total && self.digest == other.digest && self.kept == other.kept {
            return None;
        }
        let at = self.kept.iter().zip(&other.kept).take_while(|(a, b)| a == b).count();
        let after = |trace: &Self| trace.kept.iter().skip(at).take(Difference::AFTER).copied().collect();
        Some(Difference {
            at,
            before: self.kept[at.saturating_sub(Difference::BEFORE)..at].to_vec(),
            left: after(self),
            right: after(other),
            totals: (self.total, other.total),
        })
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        self.total += 1;
        self.digest = digest(self.digest, &entry);
        if self.kept.len() < self.limit {
            self.kept.push(entry);
        }
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kept.iter().try_for_each(|entry| writeln!(f, "{entry}"))?;
        match self.total - self.kept.len() as u64 {
            0 => Ok(()),
            more => writeln!(f, "… and {more} more"),
        }
    }
}

fn digest(mut hash: u64, entry: &Entry) -> u64 {
    let mut feed = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME);
        }
    };
    feed(&entry.time.as_nanos().to_le_bytes());
    for address in [entry.from, entry.to] {
        match address.ip() {
            IpAddr::V4(ip) => feed(&ip.octets()),
            IpAddr::V6(ip) => feed(&ip.octets()),
        }
        feed(&address.port().to_le_bytes());
    }
    feed(&(entry.len as u64).to_le_bytes());
    feed(&[entry.fate as u8, entry.ecn.map_or(0, |ecn| ecn as u8)]);
    hash
}

/// Where two traces part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// The number of the first entry that differs, counted from zero.
    pub at: usize,
    /// Up to five entries before it, which both have.
    pub before: Vec<Entry>,
    /// Up to five entries from there in the one trace.
    pub left: Vec<Entry>,
    /// Up to five entries from there in the other.
    pub right: Vec<Entry>,
    /// How many entries each has.
    pub totals: (u64, u64),
}

impl Difference {
    const BEFORE: usize = 5;
    const AFTER: usize = 5;
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "traces differ from entry {} (of {} and {})", self.at, self.totals.0, self.totals.1)?;
        for (sign, entries) in [(' ', &self.before), ('-', &self.left), ('+', &self.right)] {
            entries.iter().try_for_each(|entry| writeln!(f, "{sign} {entry}"))?;
        }
        if self.left.is_empty() && self.right.is_empty() {
            writeln!(f, "  (beyond the entries that were kept; keep more of them to see)")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(millis: u64, len: usize) -> Entry {
        let address = |port| SocketAddr::from(([10, 0, 0, 1], port));
        let time = Instant::from_millis(millis);
        Entry { time, from: address(1), to: address(2), len, fate: Fate::Delivered, ecn: Some(Ecn::Ect0) }
    }

    fn trace(limit: usize, entries: &[Entry]) -> Trace {
        let mut trace = Trace::keeping(limit);
        entries.iter().for_each(|entry| trace.push(*entry));
        trace
    }

    #[test]
    fn difference_names_the_first_entry_and_its_context() {
        let a: Vec<_> = (0..10).map(|n| entry(n, 100)).collect();
        let mut b = a.clone();
        b[7].len = 101;
        let found = trace(100, &a).difference(&trace(100, &b)).expect("differs");
        assert_eq!((found.at, found.before.len(), found.left[0], found.right[0]), (7, 5, a[7], b[7]));
        let text = found.to_string();
        assert!(text.contains("- 0.007000000s 10.0.0.1:1 -> 10.0.0.1:2   100 B Delivered Ect0"), "{text}");
        assert!(text.contains("+ 0.007000000s 10.0.0.1:1 -> 10.0.0.1:2   101 B"), "{text}");
        assert_eq!(trace(100, &a).difference(&trace(100, &a)), None);
    }

    #[test]
    fn one_trace_may_be_the_beginning_of_the_other() {
        let all: Vec<_> = (0..3).map(|n| entry(n, 1)).collect();
        let found = trace(9, &all[..2]).difference(&trace(9, &all)).expect("differs");
        assert_eq!((found.at, found.left.len(), found.right.len(), found.totals), (2, 0, 1, (2, 3)));
    }

    #[test]
    fn digest_sees_what_is_not_kept() {
        let (a, b) = ([entry(0, 1), entry(1, 1)], [entry(0, 1), entry(1, 2)]);
        let found = trace(1, &a).difference(&trace(1, &b)).expect("differs");
        assert_eq!(found.at, 1);
        assert!(found.to_string().contains("beyond the entries that were kept"));
    }

    #[test]
    fn digest_sees_every_field() {
        let base = entry(1, 1);
        let other = SocketAddr::from(([10, 0, 0, 1], 9));
        let changed = [
            Entry { time: Instant::from_millis(2), ..base },
            Entry { from: other, ..base },
            Entry { to: other, ..base },
            Entry { len: 2, ..base },
            Entry { fate: Fate::Lost, ..base },
            Entry { ecn: None, ..base },
        ];
        let digest = |entry| trace(0, &[entry]).digest();
        assert!(changed.iter().all(|entry| digest(*entry) != digest(base)));
    }
}
