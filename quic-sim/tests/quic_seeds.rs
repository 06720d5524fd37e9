//! Thousands of random networks, hosts and applications. `QUIC_SIM_SEEDS=0..10000 cargo test -p quic-sim --test quic_seeds` tries more.

use quic_sim::quic::Plan;

/// What the seeds must not find again: each found a defect once.
const REGRESSIONS: &[u64] = &[
    245, 1350, // the path before a migration was given up too early
    2086, 6565,  // a probe of the MTU to an address that is not validated
    12035, // Q044: a client moved before the server knew that the handshake was over
    12007, // Q044: a stream that the client knew to be over still had its place at the server
    3302, 5266, // old keys' timer came back to a closing connection
];

#[test]
fn random_plans_succeed() {
    quic_sim::sweep(0..2_000, |seed| {
        let plan = Plan::from_seed(seed);
        plan.judge(&plan.run())
    });
}

#[test]
fn regressions_stay_fixed() {
    for seed in REGRESSIONS {
        let plan = Plan::from_seed(*seed);
        let report = plan.run();
        if let Err(what) = plan.judge(&report) {
            panic!("seed {seed}: {what}\n{:?}", report.outcome);
        }
    }
}

/// The same plan gives the same trace: seeds that fail can be brought back.
#[test]
fn plans_repeat() {
    for seed in 10_000..10_050 {
        Plan::from_seed(seed).scenario().run_twice(seed);
    }
}
