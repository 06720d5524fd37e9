//! What this process costs: its time on processors and its memory.
//!
//! Owns nothing; it asks the system. Timers: none.

use std::time::Duration;

/// The time that all threads of this process have spent on processors, in user space and in the kernel; zero where the system does not
/// tell (anything but Unix).
pub fn cpu_time() -> Duration {
    #[cfg(unix)]
    {
        use nix::sys::resource::{UsageWho, getrusage};
        use nix::sys::time::TimeVal;
        let time = |time: TimeVal| {
            // Neither is ever negative.
            Duration::new(time.tv_sec().unsigned_abs(), time.tv_usec().unsigned_abs() as u32 * 1000)
        };
        getrusage(UsageWho::RUSAGE_SELF)
            .map(|usage| time(usage.user_time()) + time(usage.system_time()))
            .unwrap_or_default()
    }
    #[cfg(not(unix))]
    Duration::ZERO
}

/// The memory of this process that is in RAM; `None` where the system does not tell (anything but Linux).
pub fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn work_and_memory_are_seen() {
        let (cpu, memory) = (cpu_time(), resident_bytes().unwrap());
        let mut block = vec![1_u8; 64 << 20];
        while cpu_time() - cpu < Duration::from_millis(20) {
            block.iter_mut().for_each(|byte| *byte = byte.wrapping_mul(3));
        }
        assert!(resident_bytes().unwrap() - memory > 32 << 20);
        assert_ne!(block[0], 0);
    }
}
