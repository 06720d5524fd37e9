//! An allocator that counts, and says for whom.
//!
//! A run has one thread, so that who allocates is whoever was named last by [`charge`].

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};

/// Who allocates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Account {
    /// The wires, the applications and the measurement itself.
    Rest = 0,
    /// The library at the client's end.
    Client = 1,
    /// The library at the server's end.
    Server = 2,
}

static CURRENT: AtomicUsize = AtomicUsize::new(Account::Rest as usize);
static ALLOCATIONS: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];
static LIVE: [AtomicI64; 3] = [const { AtomicI64::new(0) }; 3];

/// The system's allocator, with a count of what it was asked for: allocations and reallocations, and the bytes that are in use.
#[derive(Debug)]
pub struct Counting;

/// Charges `account` for what `run` allocates, and credits it for what it frees.
pub fn charge<T>(account: Account, run: impl FnOnce() -> T) -> T {
    let before = CURRENT.swap(account as usize, Ordering::Relaxed);
    let result = run();
    CURRENT.store(before, Ordering::Relaxed);
    result
}

/// How often both libraries allocated so far, if [`Counting`] is the global allocator.
pub fn allocations() -> u64 {
    [Account::Client, Account::Server].map(allocations_of).iter().sum()
}

/// How often `account` allocated so far.
pub fn allocations_of(account: Account) -> u64 {
    ALLOCATIONS[account as usize].load(Ordering::Relaxed)
}

/// Bytes that `account` has allocated and not freed.
pub fn live_bytes(account: Account) -> i64 {
    LIVE[account as usize].load(Ordering::Relaxed)
}

fn count(allocations: u64, bytes: i64) {
    let account = CURRENT.load(Ordering::Relaxed);
    ALLOCATIONS[account].fetch_add(allocations, Ordering::Relaxed);
    LIVE[account].fetch_add(bytes, Ordering::Relaxed);
}

// SAFETY: all calls are passed on as they come.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as i64);
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as i64);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(1, new_size as i64 - layout.size() as i64);
        // SAFETY: as above.
        unsafe { System.realloc(ptr, layout, new_size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(0, -(layout.size() as i64));
        // SAFETY: as above.
        unsafe { System.dealloc(ptr, layout) }
    }
}
