//! What the steady state allocates, counted exactly: nothing for a packet, next to nothing for a request.

use benches::Certificate;
use benches::counting::Counting;
use benches::ours::Ours;
use benches::workloads::{bulk, requests};
use std::net::SocketAddr;
use std::sync::Mutex;

#[global_allocator]
static COUNTING: Counting = Counting;

/// The counts are those of the whole program: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn ends() -> [Ours; 2] {
    let client = SocketAddr::from(([192, 0, 2, 1], 1000));
    let server = SocketAddr::from(([192, 0, 2, 2], 443));
    [Ours::client(server), Ours::server(client, &Certificate::new())]
}

#[test]
fn a_packet_costs_no_allocation_on_either_side() {
    let _alone = ALONE.lock();
    let cost = bulk(ends(), 32 << 20);
    assert!(cost.datagrams[0] > 20_000, "three quarters of the transfer are counted");
    // A queue may still double when it becomes longer than it ever was. What a packet costs would show twenty thousand times.
    assert!(cost.allocations < 10, "{} for {} packets", cost.allocations, cost.datagrams[0]);
}

#[test]
fn a_request_costs_less_than_one_allocation_on_both_sides_together() {
    const REQUESTS: u64 = 8_000;
    let _alone = ALONE.lock();
    let cost = requests(ends(), REQUESTS);
    let counted = REQUESTS - REQUESTS / 4;
    assert!(cost.allocations <= counted, "{} for {counted} requests", cost.allocations);
}
