//! Which paths a connection has, and which of them is active.

use super::{Path, PathConfig, Proof};
use crate::net::FourTuple;
use crate::time::{Duration, Instant};
use smallvec::SmallVec;

/// The most paths that are kept only because a probing packet came from there (RFC 9000 §9.1); the oldest makes room.
pub const MAX_PROBING: usize = 3;

/// The paths of a connection.
#[derive(Debug)]
pub struct PathSet {
    active: Path,
    /// The last validated path before the active one.
    previous: Option<Box<Path>>,
    probing: SmallVec<[Box<Path>; 1]>,
    generations: u32,
}

impl PathSet {
    /// Bytes of memory behind the paths.
    pub fn memory(&self) -> usize {
        let paths = usize::from(self.previous.is_some()) + self.probing.len();
        paths * size_of::<Path>()
    }

    /// A connection with its first path.
    pub fn new(first: Path) -> Self {
        let generations = first.generation;
        Self { active: first, previous: None, probing: SmallVec::new(), generations }
    }

    /// Whether there is no path but the active one.
    pub fn is_single(&self) -> bool {
        self.previous.is_none() && self.probing.is_empty()
    }

    /// The path that is in use.
    pub fn active(&self) -> &Path {
        &self.active
    }

    /// The path that is in use.
    pub fn active_mut(&mut self) -> &mut Path {
        &mut self.active
    }

    /// All paths, the active one first.
    pub fn iter(&self) -> impl Iterator<Item = &Path> {
        let others = self.previous.iter().chain(&self.probing);
        std::iter::once(&self.active).chain(others.map(|path| &**path))
    }

    /// All paths, the active one first.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Path> {
        let others = self.previous.iter_mut().chain(&mut self.probing);
        std::iter::once(&mut self.active).chain(others.map(|path| &mut **path))
    }

    /// The path between these addresses.
    pub fn find(&mut self, tuple: &FourTuple) -> Option<&mut Path> {
        self.iter_mut().find(|path| path.tuple.matches(tuple))
    }

    /// The path of this generation.
    pub fn get(&mut self, generation: u32) -> Option<&mut Path> {
        self.iter_mut().find(|path| path.generation == generation)
    }

    /// The path between these addresses, made anew if it is not known: a probing packet came from there.
    pub fn probe(&mut self, tuple: FourTuple, config: &PathConfig) -> &mut Path {
        let generation = match self.find(&tuple) {
            Some(path) => path.generation,
            None => self.add_probing(tuple, config),
        };
        match self.probing.iter().position(|path| path.generation == generation) {
            Some(at) => &mut self.probing[at],
            None => match &mut self.previous {
                Some(previous) if previous.generation == generation => previous,
                _ => &mut self.active,
            },
        }
    }

    /// The peer has migrated (§9.3): its newest non-probing packet came from here. The path becomes active; validation begins if it was
    /// not validated, and of the path before as well (§9.3.3: "endpoints MUST validate the previously active path"). `pto` is that of the
    /// path before. Does nothing if the path is active already; whether it was not.
    pub fn migrate(&mut self, now: Instant, tuple: FourTuple, config: &PathConfig, pto: Duration) -> bool {
        if self.active.tuple.matches(&tuple) {
            return false;
        }
        let mut next = self.take(&tuple).unwrap_or_else(|| {
            self.generations += 1;
            Box::new(self.active.sibling(tuple, self.generations, config))
        });
        hand_over(&mut self.active, &mut next);
        next.mtu.forget_probe();
        std::mem::swap(&mut self.active, &mut *next);
        let mut before = next;
        if !self.active.amplification.is_validated() {
            let pto = pto.max(self.active.rtt.pto_base());
            self.active.validate(now, pto);
        }
        // §9.3.2: "an endpoint MUST revert to using the last validated peer address when validation of a new peer address fails", so
        // that a path that was never validated is not worth keeping.
        if before.amplification.is_validated() {
            before.validate(now, pto);
            self.previous = Some(before);
        }
        true
    }

    /// A response to a challenge came, on whatever path. The generation of the path that it validates, if it does.
    pub fn on_response(&mut self, now: Instant, data: &[u8; 8], pto: Duration) -> Option<u32> {
        let path = self.iter_mut().find(|path| {
            path.validation.as_ref().is_some_and(|validation| validation.on_response(data).is_some())
        })?;
        let proof = path.validation.take()?.on_response(data)?;
        path.amplification.validate();
        if proof == Proof::Address {
            // §8.2.3: "the endpoint MUST initiate another path validation with an expanded datagram".
            path.validate(now, pto);
        }
        Some(path.generation)
    }

    /// The peer has shown that it receives what is sent on the active path: it need not be validated otherwise, and there is nothing to go
    /// back to.
    pub fn on_heard(&mut self) {
        if !self.active.amplification.is_validated() {
            self.active.amplification.validate();
            self.active.validation = None;
            self.previous = None;
        }
    }

    /// Drops what failed validation by `now`. If that is the active path, the last validated one becomes active again.
    ///
    /// # Errors
    /// [`NoPath`] if there is none: §9.3.2, "it MUST close the connection silently by discarding all connection state".
    pub fn on_timeout(&mut self, now: Instant) -> Result<TimedOut, NoPath> {
        let failed =
            |path: &Path| path.validation.as_ref().is_some_and(|validation| validation.has_failed(now));
        self.probing.retain(|path| !failed(path));
        // While the active path is not validated, the one before is what there is to go back to: when nothing gets through to either for a
        // while, the peer must still find us when that is over.
        match &mut self.previous {
            Some(previous) if failed(previous) && !self.active.amplification.is_validated() => {
                previous.validation = None;
            }
            Some(previous) if failed(previous) => self.previous = None,
            _ => {}
        }
        if !failed(&self.active) {
            return Ok(TimedOut::Nothing);
        }
        // An address that was validated once stays usable; only the larger datagrams were in question.
        if self.active.amplification.is_validated() {
            self.active.validation = None;
            return Ok(TimedOut::Nothing);
        }
        let mut previous = self.previous.take().ok_or(NoPath)?;
        hand_over(&mut self.active, &mut previous);
        previous.validation = None;
        previous.mtu.forget_probe();
        self.active = *previous;
        Ok(TimedOut::Reverted)
    }

    /// When a challenge is due or a validation fails. Paths on which nothing can be sent for now, as `sendable` says, only do the latter:
    /// their challenges are due when that changes, which is when a datagram comes.
    pub fn validation_deadline(&self, sendable: impl Fn(&Path) -> bool) -> Option<Instant> {
        let deadline = |path: &Path| {
            let validation = path.validation.as_ref()?;
            Some(if sendable(path) { validation.deadline() } else { validation.expires() })
        };
        self.iter().filter_map(deadline).min()
    }

    fn add_probing(&mut self, tuple: FourTuple, config: &PathConfig) -> u32 {
        self.generations += 1;
        if self.probing.len() == MAX_PROBING {
            self.probing.remove(0);
        }
        self.probing.push(Box::new(self.active.sibling(tuple, self.generations, config)));
        self.generations
    }

    fn take(&mut self, tuple: &FourTuple) -> Option<Box<Path>> {
        if self.previous.as_ref().is_some_and(|path| path.tuple.matches(tuple)) {
            return self.previous.take();
        }
        let at = self.probing.iter().position(|path| path.tuple.matches(tuple))?;
        Some(self.probing.remove(at))
    }
}

/// What a timeout brought about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimedOut {
    /// The active path stays.
    Nothing,
    /// The path before is active again.
    Reverted,
}

/// The only path failed validation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no validated path is left")]
pub struct NoPath;

/// RFC 9000 §9.4: the new path starts with initial values "unless the only change in the peer's address is its port number". Then a NAT
/// has most likely bound anew, and the network between is the same.
fn hand_over(from: &mut Path, to: &mut Path) {
    if from.tuple.remote.ip() != to.tuple.remote.ip() {
        return;
    }
    to.rtt = from.rtt;
    to.mtu = from.mtu.clone();
    let fresh = from.cc.fresh(from.mtu.current());
    to.cc = std::mem::replace(&mut from.cc, fresh);
    to.pacer = from.pacer.clone();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::congestion::Algorithm;
    use crate::rng::SeededRng;

    const CONFIG: PathConfig = PathConfig {
        initial_rtt: Duration::from_millis(333),
        mtu_ceiling: 1452,
        ecn: true,
        spin_bit: true,
        departure_times: false,
    };
    const PTO: Duration = Duration::from_millis(50);

    fn address(text: &str) -> FourTuple {
        FourTuple::to(text.parse().unwrap())
    }

    fn connected() -> PathSet {
        let cc = Algorithm::Cubic.build(1200, &mut SeededRng::from_u64(0));
        let mut paths = PathSet::new(Path::new(address("10.0.0.1:1"), 0, cc, &CONFIG, true));
        paths.active_mut().cc.on_mtu(1400);
        paths
    }

    #[test]
    fn a_migration_is_validated_both_ways() {
        let (mut paths, mut rng) = (connected(), SeededRng::from_u64(1));
        let now = Instant::EPOCH;
        assert!(!paths.migrate(now, address("10.0.0.1:1"), &CONFIG, PTO));
        assert!(paths.migrate(now, address("10.0.0.2:1"), &CONFIG, PTO));
        let active = paths.active_mut();
        assert_eq!((active.generation, active.amplification.budget(), active.cc.window()), (1, 0, 12_000));
        let data = active.validation.as_mut().unwrap().challenge(now, &mut rng, true);
        assert!(paths.get(0).unwrap().validation.is_some(), "the path before is challenged as well");
        assert_eq!(paths.on_response(now, &[0; 8], PTO), None);
        assert_eq!(paths.on_response(now, &data, PTO), Some(1));
        assert_eq!(paths.on_response(now, &data, PTO), None);
        assert!(paths.active().amplification.is_validated() && paths.active().validation.is_none());
        // The path before is silent and dropped.
        assert_eq!(paths.on_timeout(Instant::from_millis(10_000)), Ok(TimedOut::Nothing));
        assert!(paths.get(0).is_none());
    }

    #[test]
    fn who_is_heard_of_on_a_path_is_there() {
        let mut paths = connected();
        assert!(paths.migrate(Instant::EPOCH, address("10.0.0.2:1"), &CONFIG, PTO));
        assert!(!paths.active().amplification.is_validated());
        paths.on_heard();
        assert!(paths.active().amplification.is_validated());
        assert_eq!(paths.on_timeout(Instant::EPOCH + PTO * 100), Ok(TimedOut::Nothing));
        assert_eq!(paths.active().tuple, address("10.0.0.2:1"));
    }

    #[test]
    fn a_forged_address_is_reverted() {
        let mut paths = connected();
        paths.migrate(Instant::EPOCH, address("10.0.0.2:1"), &CONFIG, PTO);
        // A second forged address does not displace the last validated path.
        paths.migrate(Instant::EPOCH, address("10.0.0.3:1"), &CONFIG, PTO);
        assert_eq!(paths.on_timeout(Instant::from_millis(10_000)), Ok(TimedOut::Reverted));
        assert_eq!((paths.active().generation, paths.active().cc.window()), (0, 14_000));
        assert!(paths.active().validation.is_none());
    }

    /// Found by the simulator: nothing got through to either address for a while, and the connection was given up.
    #[test]
    fn the_path_before_outlives_its_own_validation_until_the_new_one_is_validated() {
        let mut paths = connected();
        paths.migrate(Instant::EPOCH, address("10.0.0.2:1"), &CONFIG, PTO);
        let first = paths.get(0).and_then(|path| path.validation.as_ref()).unwrap().expires();
        assert!(first < paths.active().validation.as_ref().unwrap().expires());
        assert_eq!(paths.on_timeout(first), Ok(TimedOut::Nothing));
        assert_eq!(paths.on_timeout(Instant::from_millis(10_000)), Ok(TimedOut::Reverted));
        assert_eq!(paths.active().generation, 0);
    }

    #[test]
    fn without_a_validated_path_the_connection_is_lost() {
        let cc = Algorithm::Cubic.build(1200, &mut SeededRng::from_u64(0));
        let mut paths = PathSet::new(Path::new(address("10.0.0.1:1"), 0, cc, &CONFIG, false));
        paths.migrate(Instant::EPOCH, address("10.0.0.2:1"), &CONFIG, PTO);
        assert_eq!(paths.on_timeout(Instant::from_millis(10_000)), Err(NoPath));
    }

    #[test]
    fn a_new_port_keeps_the_congestion_state_and_a_revert_gives_it_back() {
        let mut paths = connected();
        paths.migrate(Instant::EPOCH, address("10.0.0.1:2"), &CONFIG, PTO);
        assert_eq!(paths.active().cc.window(), 14_000);
        assert_eq!(paths.active().amplification.budget(), 0, "the address counts as new all the same");
        assert_eq!(paths.on_timeout(Instant::from_millis(10_000)), Ok(TimedOut::Reverted));
        assert_eq!(paths.active().cc.window(), 14_000);
    }

    #[test]
    fn a_challenge_that_was_not_expanded_calls_for_another() {
        let (mut paths, mut rng) = (connected(), SeededRng::from_u64(1));
        paths.migrate(Instant::EPOCH, address("10.0.0.2:1"), &CONFIG, PTO);
        let validation = paths.active_mut().validation.as_mut().unwrap();
        let data = validation.challenge(Instant::EPOCH, &mut rng, false);
        assert_eq!(paths.on_response(Instant::EPOCH, &data, PTO), Some(1));
        assert!(paths.active().amplification.is_validated());
        assert!(paths.active().validation.as_ref().unwrap().wants_challenge(Instant::EPOCH));
    }

    #[test]
    fn probing_is_bounded_and_does_not_migrate() {
        let mut paths = connected();
        for port in 2..100 {
            paths.probe(address(&format!("10.0.0.1:{port}")), &CONFIG).responses.owe([0; 8]);
        }
        assert_eq!(paths.iter_mut().count(), 1 + MAX_PROBING);
        assert_eq!(paths.active().generation, 0);
        let probed = paths.find(&address("10.0.0.1:99")).unwrap().generation;
        assert_eq!(paths.probe(address("10.0.0.1:99"), &CONFIG).generation, probed);
        paths.migrate(Instant::EPOCH, address("10.0.0.1:99"), &CONFIG, PTO);
        assert_eq!(paths.active().generation, probed);
        assert!(!paths.active().responses.is_empty());
    }
}
