//! Two ends and the network between them, against a model: frames are lost, doubled and reordered, and all bytes arrive in order.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug)]
enum Op {
    Open(Dir),
    Write(usize, usize, bool),
    Finish(usize),
    Send(usize),
    Deliver(usize, bool),
    Lose(usize),
    Read(usize, usize, bool),
}

fn op() -> impl Strategy<Value = (bool, Op)> {
    let at = any::<usize>;
    let op = prop_oneof![
        1 => prop_oneof![Just(Dir::Bi), Just(Dir::Uni)].prop_map(Op::Open),
        4 => (at(), 1..9000usize, any::<bool>()).prop_map(|(at, len, copy)| Op::Write(at, len, copy)),
        1 => at().prop_map(Op::Finish),
        6 => (1..1400usize).prop_map(Op::Send),
        6 => (at(), any::<bool>()).prop_map(|(at, twice)| Op::Deliver(at, twice)),
        2 => at().prop_map(Op::Lose),
        4 => (at(), 1..9000usize, any::<bool>()).prop_map(|(at, len, copy)| Op::Read(at, len, copy)),
    ];
    (any::<bool>(), op)
}

/// What the model knows of one end.
#[derive(Default)]
struct Model {
    /// Streams that this end sends on: bytes written, and whether it finished.
    sending: BTreeMap<StreamId, (u64, bool)>,
    /// Streams that it receives on: bytes read, and whether the end came.
    receiving: BTreeMap<StreamId, (u64, bool)>,
    flight: Vec<(Frame, Token)>,
}

struct World {
    ends: [Streams; 2],
    models: [Model; 2],
    now: Instant,
}

impl World {
    fn pick<T: Clone>(map: &BTreeMap<StreamId, T>, at: usize) -> Option<StreamId> {
        (!map.is_empty()).then(|| *map.keys().nth(at % map.len()).unwrap())
    }

    fn write(&mut self, side: usize, id: StreamId, len: usize, copy: bool) {
        let written = &mut self.models[side].sending.get_mut(&id).unwrap().0;
        let mut data: bytes::Bytes = (*written..*written + len as u64).map(|at| byte(id, at)).collect();
        let Ok(mut stream) = self.ends[side].send_stream(id) else { return };
        let result = if copy { stream.write(&data) } else { stream.write_bytes(&mut data) };
        *written += result.unwrap_or(0) as u64;
    }

    fn read(&mut self, side: usize, id: StreamId, max: usize, copy: bool) {
        let (at, ended) = self.models[side].receiving.get_mut(&id).unwrap();
        let Ok(mut stream) = self.ends[side].recv_stream(id) else { return };
        let mut out = vec![0; max];
        let (data, fin) = if copy {
            let Ok(Read { len, fin }) = stream.read(&mut out) else { return };
            (bytes::Bytes::from(out).slice(..len), fin)
        } else {
            match stream.read_bytes(max) {
                Ok(Some(data)) => (data, false),
                Ok(None) => (bytes::Bytes::new(), true),
                Err(_) => return,
            }
        };
        assert!(data.iter().zip(*at..).all(|(got, at)| *got == byte(id, at)));
        *at += data.len() as u64;
        *ended |= fin;
    }

    fn send(&mut self, side: usize, max: usize) -> bool {
        let could = self.ends[side].can_send();
        let intent = self.ends[side].peek_intent().is_some();
        let frame = next_frame(&mut self.ends[side], max);
        assert_eq!(frame.is_some(), could || intent);
        let sent = frame.is_some();
        self.models[side].flight.extend(frame);
        sent
    }

    fn deliver(&mut self, side: usize, at: usize, twice: bool) {
        if self.models[side].flight.is_empty() {
            return;
        }
        let at = at % self.models[side].flight.len();
        let (frame, token) = self.models[side].flight.swap_remove(at);
        for _ in 0..1 + usize::from(twice) {
            assert_eq!(deliver(&mut self.ends[1 - side], self.now, &frame), Ok(Received::Stored));
        }
        self.ends[side].on_acked(token);
        self.adopt(1 - side);
    }

    fn adopt(&mut self, side: usize) {
        for dir in Dir::ALL {
            while let Some(id) = self.ends[side].accept(dir) {
                self.models[side].receiving.insert(id, (0, false));
                if dir == Dir::Bi {
                    self.models[side].sending.insert(id, (0, false));
                }
            }
        }
    }

    fn step(&mut self, side: usize, op: Op) {
        self.now += Duration::from_millis(3);
        match op {
            Op::Open(dir) => {
                if let Ok(id) = self.ends[side].open(dir) {
                    self.models[side].sending.insert(id, (0, false));
                    if dir == Dir::Bi {
                        self.models[side].receiving.insert(id, (0, false));
                    }
                }
            }
            Op::Write(at, len, copy) => {
                if let Some(id) = Self::pick(&self.models[side].sending, at) {
                    self.write(side, id, len, copy);
                }
            }
            Op::Finish(at) => {
                if let Some(id) = Self::pick(&self.models[side].sending, at) {
                    self.finish(side, id);
                }
            }
            Op::Send(max) => {
                self.send(side, max);
            }
            Op::Deliver(at, twice) => self.deliver(side, at, twice),
            Op::Lose(at) => {
                let flight = &mut self.models[side].flight;
                if !flight.is_empty() {
                    let (_, token) = flight.swap_remove(at % flight.len());
                    self.ends[side].on_lost(token);
                }
            }
            Op::Read(at, max, copy) => {
                if let Some(id) = Self::pick(&self.models[side].receiving, at) {
                    self.read(side, id, max, copy);
                }
            }
        }
        assert!(self.ends[side].buffered() <= 30_000);
    }

    fn finish(&mut self, side: usize, id: StreamId) {
        if let Ok(mut stream) = self.ends[side].send_stream(id)
            && stream.finish().is_ok()
        {
            self.models[side].sending.get_mut(&id).unwrap().1 = true;
        }
    }

    /// Finishes, sends, delivers and reads everything.
    fn finish_all(&mut self) {
        for _ in 0..200 {
            for side in 0..2 {
                for id in self.models[side].sending.keys().copied().collect::<Vec<_>>() {
                    self.finish(side, id);
                }
                while self.send(side, 1200) {}
                while !self.models[side].flight.is_empty() {
                    self.deliver(side, 0, false);
                }
                for id in self.models[1 - side].receiving.keys().copied().collect::<Vec<_>>() {
                    self.read(1 - side, id, 100_000, true);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn all_bytes_arrive_in_order_whatever_is_lost(ops in prop::collection::vec(op(), 1..300)) {
        let mut world = World { ends: pair(), models: Default::default(), now: Instant::EPOCH };
        for (side, op) in ops {
            world.step(usize::from(side), op);
        }
        world.finish_all();
        for side in 0..2 {
            for (id, (written, finished)) in &world.models[side].sending {
                prop_assert!(*finished);
                let received = world.models[1 - side].receiving.get(id);
                prop_assert_eq!(received, Some(&(*written, true)));
            }
            let end = &world.ends[side];
            prop_assert!(end.is_empty() && end.all_sent_acked() && !end.can_send());
            prop_assert_eq!((end.pool.bytes_in_use(), end.buffered()), (0, 0));
        }
    }
}
